"""What this process may use of the machine: its cores and its memory.

A container limits both by cgroups, whose files are not those of the machine.
"""

import contextlib
import ctypes
import itertools
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
    else:  # on Windows
        kilobytes = ctypes.c_ulonglong()
        ctypes.windll.kernel32.GetPhysicallyInstalledSystemMemory(ctypes.byref(kilobytes))
        installed = 1024 * kilobytes.value or math.inf
    return min([installed, *(limit for [limit] in cgroup_numbers(
        "memory.max", "memory/memory.limit_in_bytes"))])


def cores() -> int:
    """The number of processor cores that this process may use."""
    counts = [os.cpu_count() or 1]
    if hasattr(os, "sched_getaffinity"):
        counts.append(len(os.sched_getaffinity(0)))
    counts += [math.ceil(quota / period) for quota, period in cgroup_numbers("cpu.max")]
    return min(counts)


def cgroup_numbers(*files: str) -> Iterator[list[int]]:
    """The numbers in these files of each cgroup that this process is in, and of those around it.

    A cgroup without a limit is left out: its file holds the word "max", or there is none. A file of
    version 1 is named with the folder of its controller before it. Source: cgroups(7).
    """
    groups = []
    with contextlib.suppress(OSError):  # only Linux has it
        groups = [line.split(":", 2)[2].strip("/") for line in
                  Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()]
    for file, group in itertools.product(map(PurePosixPath, files), groups):
        for place in (PurePosixPath(group), *PurePosixPath(group).parents):
            with contextlib.suppress(OSError, ValueError):
                text = Path("/sys/fs/cgroup", file.parent, place, file.name).read_text("utf-8")
                yield [int(number) for number in text.split()]
