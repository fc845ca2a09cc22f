"""Kernels made by hand: edge filters of any size, those that the page offers, and --kernel's."""

import zlib

import numpy as np

from support.cli import UserError


def edge_filters(size: int) -> dict[str, np.ndarray]:
    """V and H at any size, and the same turned by 45 degrees: {name: (size, size)} of -1, 0, 1.

    The names show along which line two sides are compared: "\\" upper left against lower right.
    """
    offset = np.arange(size) - (size - 1) / 2
    down, right = np.meshgrid(offset, offset, indexing="ij")
    return {"V": np.sign(down), "H": np.sign(right),
            "\\": np.sign(down + right), "/": np.sign(right - down)}


def preset_kernels(size: int) -> dict[str, np.ndarray]:
    """The kernels that the page offers, {name: float32 (size, size)}; size: 3 or 5."""
    edges = {name: np.float32(kernel) for name, kernel in edge_filters(size).items()}
    bell = np.float32([1, 2, 1] if size == 3 else [1, 4, 6, 4, 1])  # binomial coefficients

    def framed(*rows: list[int]) -> np.ndarray:  # a 3x3 kernel, with zeros around it
        return np.pad(np.float32(rows), size // 2 - 1)

    return {"identity": framed([0, 0, 0], [0, 1, 0], [0, 0, 0]),
            "V": edges["V"], "H": edges["H"],
            "diagonal \\": edges["\\"], "diagonal /": edges["/"],
            "blur": np.outer(bell, bell) / bell.sum() ** 2,
            "sharpen": framed([0, -1, 0], [-1, 5, -1], [0, -1, 0]),
            "emboss": framed([-2, -1, 0], [-1, 1, 1], [0, 1, 2]),
            "outline": framed([-1, -1, -1], [-1, 8, -1], [-1, -1, -1])}


def parse_kernel(text: str) -> np.ndarray:
    """'-1 0 1; -2 0 2; -1 0 1' -> float32 (3, 3). Raises UserError unless odd and square."""
    try:
        kernel = np.array([[float(number) for number in row.replace(",", " ").split()]
                           for row in text.strip().rstrip(";").split(";")])
    except ValueError:
        kernel = np.empty(0)
    size = len(kernel)
    if kernel.shape != (size, size) or size % 2 == 0 or not (abs(kernel) < 1e30).all():
        raise UserError(f"--kernel={text!r} is not an odd square of numbers, below 1e30 each: "
                        'write its rows like "-1 0 1; -2 0 2; -1 0 1"')
    return np.float32(kernel)


def name_of(kernel: np.ndarray) -> str:
    """'-1_0_1_-2_0_2_-1_0_1': a file name that tells kernels apart; shortened for large ones."""
    name = "_".join(f"{number:g}" for number in kernel.flat)
    if len(name) <= 60:
        return name
    return f"{len(kernel)}x{len(kernel)}-{zlib.crc32(name.encode()):08x}"
