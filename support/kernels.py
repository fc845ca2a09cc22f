"""Kernels made by hand: edge filters of any size, and those that the page offers."""

import numpy as np


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
