"""What this process may use of the machine: its cores and its memory.

A container limits both by cgroups, whose files are not those of the machine.
"""

import contextlib
import ctypes
import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from support.cli import UserError

TENSORFLOW_MEMORY = 0.4e9  # bytes that TensorFlow itself takes


def check_memory(network, batch_size: int, count: int) -> None:
    """Refuse a training for which the memory does not suffice, before it starts. Raises UserError.

    Training keeps a byte per colour of each of `count` images; four numbers per weight (the
    weight, its gradient, Adam's two moments); and, for each image of a batch, every layer's
    output and its gradient. Before it, the images become a tensor: two more copies, for a moment.
    """
    images = count * math.prod(network.layers[0].output_shape)
    outputs = (min(batch_size, count)
               * sum(math.prod(layer.output_shape) for layer in network.layers))
    training = 4 * (4 * network.weight_count + 2 * outputs)
    needed, available = TENSORFLOW_MEMORY + images + max(2 * images, training), memory()
    if needed > available:
        raise UserError(
            f"training this {network.name} takes about {needed / 1e9:.2f} GB of memory, and there "
            f"are {available / 1e9:.2f} GB: use a smaller --input_size, --batch_size or "
            "--train_size, a larger --stride, or pooling")


def memory() -> float:
    """The bytes of memory that this process may use, infinity where no system tells."""
    if hasattr(os, "sysconf"):
        installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    else:
        installed = installed_on_windows()
    limits = (limit for [limit] in cgroup_numbers("memory", "memory.max", "memory.limit_in_bytes"))
    return min([installed, *limits])


def installed_on_windows() -> float:
    """The bytes of memory of a machine with Windows."""
    kilobytes = ctypes.c_ulonglong()
    ctypes.windll.kernel32.GetPhysicallyInstalledSystemMemory(ctypes.byref(kilobytes))
    return 1024 * kilobytes.value or math.inf


def cores() -> int:
    """The number of processor cores that this process may use."""
    counts = [os.cpu_count() or 1]
    if hasattr(os, "sched_getaffinity"):
        counts.append(len(os.sched_getaffinity(0)))
    counts += [math.ceil(quota / period) for quota, period in cgroup_numbers(
        "cpu", "cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us") if quota > 0]
    return min(counts)


def cgroup_numbers(controller: str, in_version_2: str, *in_version_1: str
                   ) -> Iterator[list[int]]:
    """The numbers of each cgroup that this process is in, from its own one outwards.

    in_version_2, in_version_1: the files that hold them. A cgroup without a limit is left out: its
    file holds the word "max", or there is none. Source: cgroups(7).
    """
    lines = []
    with contextlib.suppress(OSError):  # only Linux has it
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = Path("/sys/fs/cgroup", controller if controllers else "")
        own = PurePosixPath(group.lstrip("/"))
        for place in (own, *own.parents):
            with contextlib.suppress(OSError, ValueError):
                yield [int(number) for file in (in_version_1 if controllers else [in_version_2])
                       for number in (root / place / file).read_text(encoding="utf-8").split()]
