"""A script in a process forked from one that has imported what takes long, but none of ours."""

import os
import runpy
import signal
import sys
import traceback
from pathlib import Path

import PIL.Image  # noqa: F401
import rich.progress  # noqa: F401
import rich.table  # noqa: F401
import tensorflow  # noqa: F401
from absl import app, flags
from absl.testing import flagsaver


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


def serve_commands(script: Path, folder: Path, environment: dict[str, str], output: Path,
                   connection) -> None:
    """Run a script again and again in one process: for every list of arguments that is received.

    The script is loaded once, as far as its app.run(main). Then each command goes through its own
    parser of flags and its own main, and an exit as Python's own does: flags and signal handlers
    are put back after each. Sends the exit code; the output is in files in the folder `output`.
    """
    loaded = {}
    app.run = lambda main, flags_parser=app.parse_flags_with_usage: loaded.update(
        main=main, parse=flags_parser)
    run_script(script, [], folder, environment, output)
    handlers = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    while True:
        arguments = connection.recv()
        redirect_output(output)
        sys.argv = [str(script), *arguments]
        code = 0
        with flagsaver.flagsaver():
            flags.FLAGS.unparse_flags()
            try:
                loaded["main"](loaded["parse"](sys.argv))
            except SystemExit as error:
                code = error.code or 0
                if isinstance(code, str):
                    print(code, file=sys.stderr)
                    code = 1
            except BaseException:
                traceback.print_exc()
                code = 1
        for each, handler in handlers.items():
            signal.signal(each, handler)
        sys.stdout.flush()
        sys.stderr.flush()
        connection.send(code)
