"""What this process may use of the machine: its memory, which a container may limit; its cores."""

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
    else:  # on Windows
        kilobytes = ctypes.c_ulonglong()
        ctypes.windll.kernel32.GetPhysicallyInstalledSystemMemory(ctypes.byref(kilobytes))
        installed = 1024 * kilobytes.value or math.inf
    return min([installed, *cgroup_limits()])


def cgroup_limits() -> Iterator[int]:
    """The bytes of memory of each cgroup that this process is in, and of those around it.

    A cgroup without a limit is left out: its file holds the word "max", or there is none. Source:
    cgroups(7).
    """
    groups = []
    with contextlib.suppress(OSError):  # only Linux has it
        groups = [PurePosixPath(line.split(":", 2)[2].strip("/")) for line in
                  Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()]
    for place in {place for group in groups for place in (group, *group.parents)}:
        for controller, file in (("", "memory.max"), ("memory", "memory.limit_in_bytes")):  # 2, 1
            with contextlib.suppress(OSError, ValueError):
                yield int(Path("/sys/fs/cgroup", controller, place, file).read_text("utf-8"))


def cores() -> int:
    """The number of processor cores that this process may use."""
    has_affinity = hasattr(os, "sched_getaffinity")  # Linux
    return len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
