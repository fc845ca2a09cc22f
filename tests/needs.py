"""What tests need that not every system has: @needs.sigkill skips its test elsewhere, by name."""

import importlib.util
import os
import signal
from pathlib import Path

import pytest


def needs(what: str, is_there: bool) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not is_there, reason=f"this system has no {what}")


proc = needs("/proc", Path("/proc").exists())
fork = needs("fork to start processes", hasattr(os, "fork"))
terminal = needs("pseudo-terminal", importlib.util.find_spec("termios") is not None)
sigkill = needs("SIGKILL, nor signals to other processes", hasattr(signal, "SIGKILL"))
limits = needs("limits for a process", importlib.util.find_spec("resource") is not None)
permissions = needs("permissions of Unix", hasattr(os, "setuid"))
byte_names = needs("file names of any bytes, or in upper and lower case", os.name != "nt")
