"""What holds the scripts up. A reader of the article may skip all of it.

This file makes the standard streams as every script needs them, wherever they lead. It is the first
of ours to be imported, before a file is opened that could take the number of a closed stream.
"""

import errno
import io
import os
import sys


class Terminal(io.FileIO):
    """A terminal that may be closed while the program goes on: what is printed then is lost."""

    def write(self, data) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return len(data)


# A Ctrl-C during the imports ends a script without a traceback.
sys.excepthook = lambda kind, *more: kind is KeyboardInterrupt or sys.__excepthook__(kind, *more)

for _number, _name in enumerate(("stdin", "stdout", "stderr")):
    if getattr(sys, _name) is None:  # closed, as by a shell's 2>&-; this file gets its number
        setattr(sys, _name, open(os.devnull, "w" if _number else "r", encoding="utf-8"))
for _name in ("stdout", "stderr"):
    _stream = getattr(sys, _name)
    if isinstance(_stream, io.TextIOWrapper):  # not what a notebook or a test put in its place
        _stream.reconfigure(errors="backslashreplace")  # a file name need not be Unicode
        if _stream.isatty() and os.name != "nt":
            _raw = io.BufferedWriter(Terminal(_stream.fileno(), "w", closefd=False))
            setattr(sys, _name, io.TextIOWrapper(_raw, _stream.encoding, _stream.errors,
                                                 line_buffering=True))
