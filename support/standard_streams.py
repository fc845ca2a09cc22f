"""Standard output and error as every script needs them, wherever they lead."""

import errno
import io
import os
import sys


def prepare() -> None:
    """Open those of the three that are closed, and let nothing that is printed be an error.

    Called when support/ is first imported, before a file is opened that could take their numbers.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:  # closed, as by a shell's 2>&-
            file = os.open(os.devnull, os.O_RDWR)
            if file != number:
                os.dup2(file, number)
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8"))
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):  # not what a notebook or a test put in its place
            stream.reconfigure(errors="backslashreplace")  # a file name need not be Unicode
            if stream.isatty() and os.name != "nt":
                raw = io.BufferedWriter(Terminal(stream.fileno(), "w", closefd=False))
                setattr(sys, name, io.TextIOWrapper(raw, stream.encoding, stream.errors,
                                                    line_buffering=True))


class Terminal(io.FileIO):
    """A terminal that may be closed while the program goes on: what is printed then is lost."""

    def write(self, data) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return len(data)
