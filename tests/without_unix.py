"""What Windows does not have is taken away, for test_other_systems.py.

Done in a process of its own, when Python's and other people's modules are imported: those know
Windows themselves.
"""

import ctypes
import glob
import os
import pathlib
import shutil
import signal
import sys
import types

import script_process

UNIX_MODULES = ("fcntl", "grp", "posix", "pty", "pwd", "resource", "termios", "tty")
UNIX_SIGNALS = ("SIGALRM", "SIGCHLD", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGUSR1", "SIGUSR2")
UNIX_FUNCTIONS = ("fork", "getuid", "geteuid", "mkfifo", "nice", "pathconf", "sched_getaffinity",
                  "setuid", "sysconf", "uname")
UNIX_FOLDERS = ("/proc/", "/sys/")
locked = set()


class NoUnixModules:
    def find_spec(self, name, path=None, target=None):
        if name in UNIX_MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}")


def lock_region(file: int, mode: int, length: int) -> None:
    """msvcrt.locking, for the locks of one process; Windows's refusal is a PermissionError."""
    assert mode == 1 and length == 1
    identity = os.fstat(file).st_ino
    if identity in locked:
        raise PermissionError(13, "Permission denied")
    locked.add(identity)


def watch(event: str, arguments: tuple) -> None:
    """As Windows does: no file is renamed or removed while it, or a file of it, is open."""
    if event == "open" and str(arguments[0]).startswith(UNIX_FOLDERS):
        raise FileNotFoundError(2, "No such file or directory", arguments[0])
    if event in ("os.rename", "os.remove", "os.rmdir"):
        path = os.path.abspath(os.fsdecode(arguments[0]))
        for number in os.listdir("/proc/self/fd"):
            try:
                target = os.readlink(f"/proc/self/fd/{number}")
            except OSError:  # the listing's own
                continue
            if os.path.isfile(target) and f"{target}/".startswith(f"{path}/"):
                raise PermissionError(13, f"is open: {target}", path)


def with_slashes(part):
    return part.replace("\\", "/") if isinstance(part, str) else part


class WindowsPath(pathlib.PosixPath):
    """A path of this system that is written with backslashes, as str(path) is on Windows."""

    def __new__(cls, *parts):
        return super().__new__(cls, *map(with_slashes, parts))

    if sys.version_info >= (3, 12):
        def __init__(self, *parts):
            super().__init__(*map(with_slashes, parts))

    def __str__(self) -> str:
        return super().__str__().replace("/", "\\")

    def __fspath__(self) -> str:
        return super().__str__()

    def as_posix(self) -> str:
        return super().__str__()

    def iterdir(self):  # Python 3.13 takes str(self) for these two
        return (self / name for name in os.listdir(self))

    def glob(self, pattern: str):
        return (self / name for name in glob.glob(pattern, root_dir=self))


def take_away() -> None:
    for name in UNIX_MODULES:
        sys.modules.pop(name, None)
    sys.meta_path.insert(0, NoUnixModules())
    sys.modules["msvcrt"] = types.SimpleNamespace(locking=lock_region, LK_NBLCK=1)
    ctypes.windll = types.SimpleNamespace(kernel32=types.SimpleNamespace(
        GetPhysicallyInstalledSystemMemory=lambda kilobytes: setattr(
            kilobytes._obj, "value", 16 * 2**20)))
    for module, names in ((signal, UNIX_SIGNALS), (os, UNIX_FUNCTIONS)):
        for name in names:
            delattr(module, name)
    shutil._use_fd_functions = False  # rmtree names each file by its whole path, as it does there
    pathlib.Path = pathlib.PosixPath = WindowsPath
    sys.addaudithook(watch)


def run_script(*arguments) -> None:
    take_away()
    from support import cli
    cli.SHELL_EXPANDS_PATTERNS = False
    script_process.run_script(*arguments)
