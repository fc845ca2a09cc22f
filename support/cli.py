"""What the scripts share on the command line: one sentence for an error, and two kinds of flags."""

import contextlib
import errno
import functools
import glob
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from absl import app, flags

# What is raised where the program that reads the output has ended.
BROKEN_PIPE = errno.EINVAL if os.name == "nt" else errno.EPIPE


class UserError(ValueError):
    """An error that the user can put right: one sentence with the wrong value and the remedy."""


def script(*also: type[Exception], arguments: bool = False) -> Callable:
    """Decorator for a script's main(argv): an error becomes one sentence on stderr and exit code 1.

    Such errors are UserError, OSError (a file, a disk), MemoryError and the types in `also`. Ctrl-C
    exits with 130 and SIGTERM with 143, both after temporary files are removed. arguments: whether
    the script takes names of files and folders besides flags. Patterns like *.jpg among them are
    expanded where the shell does not do so.
    """
    def decorate(main: Callable[[list[str]], None]) -> Callable[[list[str]], None]:
        @functools.wraps(main)
        def wrapped(argv: list[str]) -> None:
            if argv[1:] and not arguments:
                sys.exit(f"{Path(argv[0]).name} takes flags only, not {argv[1]!r}: see python "
                         f"{argv[0]} --help")
            for each in ending_signals()[1:]:
                signal.signal(each, lambda number, _: sys.exit(128 + number))
            try:
                names = [PATH.parse(name) for name in argv[1:]]
                main([argv[0], *(names if SHELL_EXPANDS_PATTERNS else expanded(names))])
                sys.stdout.flush()
            except (UserError, OSError, *also) as error:
                if getattr(error, "errno", None) == BROKEN_PIPE and not error.filename:
                    # "… | head" has seen enough.
                    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still to be flushed
                    sys.exit(141)  # what a shell says of a program that SIGPIPE ended
                sys.exit(one_sentence(error))
            except MemoryError as error:
                sys.exit(f"this machine's memory does not suffice: {error}")
            except KeyboardInterrupt:
                sys.exit(130)

        return wrapped

    return decorate


def ending_signals() -> list[signal.Signals]:
    """What asks a program to end: Ctrl-C, SIGTERM and, unless it is ignored (nohup), SIGHUP."""
    signals = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signals.append(signal.SIGHUP)
    return signals


SHELL_EXPANDS_PATTERNS = os.name != "nt"


def expanded(names: Sequence[str]) -> list[str]:
    """The names, and for each pattern with * or ? what matches it; itself if nothing does."""
    return [match for name in names  # to Windows [ is a letter
            for match in sorted(glob.glob(name.replace("[", "[[]"))) or [name]]


def printable(name: str | Path) -> str:
    """The name on one line, without anything that a terminal would obey."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in str(name))


@contextlib.contextmanager
def naming(file: Path) -> Iterator[None]:
    """An error that names no file, as that of a full disk in a `write`, gets this one's name."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(file)
        raise


def one_sentence(error: Exception) -> str:
    """What went wrong, in one line: of the system's errors the file and the reason."""
    if isinstance(error, OSError) and error.strerror:
        # What else is written, is written with `naming`.
        remedy = {errno.ENOSPC: "; make room there", errno.EACCES: "; choose another place, or get "
                  "the right to use this one"}.get(error.errno, "")
        return f"{error.filename or 'standard output'}: {error.strerror}{remedy}"
    text = str(getattr(error, "message", error)).partition("\n")[0] or type(error).__name__
    if hasattr(error, "error_code"):  # TensorFlow's: without the names of its internals
        text = "TensorFlow gave up: " + re.sub(r"^\{\{.*?\}\} | \[Op:\w+\]$", "", text)
    return text


def flags_parser(doc: str, *groups: str, moved: dict[str, str] | None = None
                 ) -> Callable[[list[str]], list[str]]:
    """absl's parser of flags, whose --help shows doc and then the flags, group by group.

    A flag's group is the module_name that it was defined with; without groups --help shows all
    flags of the script. moved: of each flag that the script had once, what to use instead, like
    {"run": "use python explain.py --run=runs/NAME"}; whoever types it is told that in one sentence.
    """
    def parse(argv: list[str]) -> list[str]:
        if "--help" in argv:
            helps = [*map(flags.FLAGS.module_help, groups)] or [flags.FLAGS.main_module_help()]
            script()(lambda _: print(doc, *helps, sep="\n"))(argv[:1])
            sys.exit(0)
        try:
            return flags.FLAGS(argv)
        except flags.Error as error:
            name = getattr(error, "flagname", None)  # of a flag that is unknown
            if moved and name in moved:
                sys.exit(f"Unknown command line flag '{name}': {moved[name]}")
            return app.parse_flags_with_usage(argv)  # meets it again, tells it as absl does, exits
        except UnicodeDecodeError as error:
            sys.exit(f"--flagfile is not a file of flags: {error}")

    return parse


class PathParser(flags.ArgumentParser):
    """A flag like --data_dir=~/photos: its value has the home folder for ~."""

    def parse(self, argument: str) -> str:
        """Raises UserError for a URL, and for no name at all, as of an empty variable."""
        if not argument:
            raise UserError("an empty name: name a file or folder")
        if re.match("[a-z][a-z0-9+.-]+://", argument, re.IGNORECASE):  # not C:// of Windows
            raise UserError(f"{argument} is a URL: name a file or folder on this computer")
        return os.path.expanduser(argument)


PATH = PathParser()

MOST = 10**6  # more than any network here has memory for, and less than TensorFlow can count


class NumbersParser(flags.ArgumentParser):
    """A flag whose value is a tuple of whole numbers above 0."""

    def __init__(self, separator: str, lengths: range, what: str, example: str):
        self.separator, self.lengths, self.what, self.example = separator, lengths, what, example
        self.syntactic_help = f"{what}, like {example}"

    def parse(self, argument: str | Sequence[int]) -> tuple[int, ...]:
        if not isinstance(argument, str):  # a default, or what a run's config.json holds
            argument = self.serialize(argument)
        numbers = argument.lower().split(self.separator) if argument else []
        if len(numbers) not in self.lengths or not all(
                number.isdecimal() and 0 < int(number) < MOST for number in numbers):
            raise ValueError(f"not {self.what}: write it like {self.example}")
        return tuple(map(int, numbers))

    def serialize(self, value: Sequence[int]) -> str:  # as --help shows the default
        return self.separator.join(map(str, value))


SIZE = NumbersParser("x", range(2, 3), "HEIGHTxWIDTH, below a million each", "94x125")
COUNTS = NumbersParser(",", range(MOST), "a list of numbers above 0, below a million", "64,128")
