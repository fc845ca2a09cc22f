"""A script in a process forked from one that has imported what takes long, but none of ours."""

import os
import runpy
import sys
from pathlib import Path

import PIL.Image  # noqa: F401
import rich.progress  # noqa: F401
import rich.table  # noqa: F401
import tensorflow  # noqa: F401


def redirect_output(folder: Path) -> None:
    """Send stdout and stderr into files of these names."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        file = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
        os.close(file)


def run_script(script: Path, arguments: list[str], folder: Path, environment: dict[str, str],
               output: Path) -> None:
    """python SCRIPT ARGUMENTS in `folder`; its output goes into files in the folder `output`."""
    redirect_output(output)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [str(script), *arguments]
    sys.path[0] = str(script.parent)
    runpy.run_path(str(script), run_name="__main__")
