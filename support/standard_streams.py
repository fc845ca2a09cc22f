"""Standard output and error as every script needs them, wherever they lead."""

import io
import os
import sys


def prepare() -> None:
    """Open those of the three that are closed, and let nothing that is printed be an error.

    Called when support/ is first imported, before a file is opened that could take their numbers.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:  # closed, as by a shell's 2>&-; this file gets its number
            setattr(sys, name, open(os.devnull, "w" if number else "r", encoding="utf-8"))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not what a notebook or a test put in its place
            stream.reconfigure(errors="backslashreplace")  # a file name need not be Unicode
