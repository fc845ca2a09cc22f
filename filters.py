"""The article's "Convolutions by example": a picture, filtered by two hand-made kernels.

    python filters.py --image kittens.jpg                                    # by V and by H
    python filters.py --image kittens.jpg --kernel="-1 0 1; -2 0 2; -1 0 1"  # by a kernel of yours

Writes each filtered picture and a sheet with all of them side by side to filtered/, and prints
their paths; the same command writes the same files again. Black is no answer, orange a positive
one, blue a negative one.
"""

import sys
import zlib
from pathlib import Path

import data
import models  # before tensorflow: it keeps the start-up chatter off the screen
import numpy as np
import tensorflow as tf
from absl import app, flags
from PIL import Image, ImageDraw, ImageFont

# In the article's words, "V filters vertical edges (where colors above are very different from
# colors below), whereas H filters horizontal edges. Notice how one is the transposed version of
# the other." So V compares what is above a pixel with what is below it, and H what is to its left
# with what is to its right. (Elsewhere you may find the two names swapped: an edge between above
# and below runs horizontally.)
V = np.array([[-1, -1, -1],
              [ 0,  0,  0],
              [ 1,  1,  1]], np.float32)
H = V.T


# ---------------------------------------------------------------------------------------------
# The convolution, twice
# ---------------------------------------------------------------------------------------------

def convolve(picture: np.ndarray, kernel: np.ndarray, padding: str) -> np.ndarray:
    """A filtered picture: float32 (height, width), the kernel's answer at every pixel.

    picture: float32 (height, width); kernel: float32 (C, C), C odd. With padding "same" all that
    lies outside the picture counts as 0 and the size stays; with "valid" the kernel never leaves
    the picture, which loses C - 1 rows and columns.
    """
    return tf.nn.conv2d(picture[None, :, :, None],    # (1, height, width, 1): a batch of one
                        kernel[:, :, None, None],     # (C, C, 1, 1): one channel in, one out
                        strides=1, padding=padding.upper())[0, :, :, 0].numpy()


def convolve_by_hand(A: np.ndarray, K: np.ndarray, padding: str) -> np.ndarray:
    """The same, as the article words it: take the submatrix, multiply, add, slide.

    (K is not turned around first, as the word's older meaning in mathematics would have it:
    neither the article nor any network does that.)
    """
    C = len(K)
    if padding == "same":
        A = np.pad(A, C // 2)  # "assume all elements outside A have a certain default value"
    rows, columns = A.shape[0] - C + 1, A.shape[1] - C + 1
    B = np.empty((rows, columns), np.float32)
    for row in range(rows):
        for column in range(columns):  # "We then slide K to the right to get the next element"
            submatrix = A[row:row + C, column:column + C]
            B[row, column] = np.sum(submatrix * K)
    return B


# ---------------------------------------------------------------------------------------------
# Pictures
# ---------------------------------------------------------------------------------------------

def parse_kernel(text: str) -> np.ndarray:
    """'-1 0 1; -2 0 2; -1 0 1' -> float32 (3, 3). Raises ValueError unless odd and square."""
    try:
        rows = [[float(number) for number in row.replace(",", " ").split()]
                for row in text.strip().rstrip(";").split(";")]
        kernel = np.array(rows, np.float32)
    except ValueError:
        kernel = np.empty(0)
    size = len(kernel)
    if kernel.shape != (size, size) or size % 2 == 0 or not np.isfinite(kernel).all():
        raise ValueError(f"--kernel={text!r} is not an odd square of numbers: write its rows like "
                         '"-1 0 1; -2 0 2; -1 0 1"')
    return kernel


def name_of(kernel: np.ndarray) -> str:
    """'-1_0_1_-2_0_2_-1_0_1': a file name that tells kernels apart; shortened for large ones."""
    name = "_".join(f"{number:g}" for number in kernel.flat)
    if len(name) <= 60:
        return name
    return f"{len(kernel)}x{len(kernel)}-{zlib.crc32(name.encode()):08x}"


def brightness(picture: Image.Image) -> np.ndarray:
    """float32 (height, width), 0 to 255: the picture's grey values."""
    return np.asarray(picture.convert("L"), np.float32)


def show(response: np.ndarray, limit: float) -> Image.Image:
    """Black where there is no answer, orange where it is positive, blue where it is negative.

    A response of `limit` or more, either way, gets the full colour.
    """
    strength = (response / limit).clip(-1, 1)[:, :, None]  # (height, width, 1)
    colours = np.where(strength > 0, ORANGE, BLUE)         # (height, width, 3)
    return Image.fromarray((np.abs(strength) * colours).round().astype(np.uint8))


ORANGE, BLUE = (255, 176, 64), (80, 160, 255)


def sheet(panels: list[tuple[str, Image.Image]]) -> Image.Image:
    """The panels side by side, each under its label; 1,200 pixels wide."""
    gap, label_height = 8, 30
    width = (1200 + gap) // len(panels) - gap
    height = round(width * panels[0][1].height / panels[0][1].width)
    page = Image.new("RGB", (1200, label_height + height), "white")
    draw = ImageDraw.Draw(page)
    for number, (label, picture) in enumerate(panels):
        x = number * (width + gap)
        draw.text((x + 4, label_height // 2), label, "black", ImageFont.load_default(17), "lm")
        page.paste(picture.resize((width, height), Image.Resampling.LANCZOS), (x, label_height))
    return page


def filter_picture(path: Path, kernels: dict[str, np.ndarray], padding: str) -> list[Path]:
    """Filter the picture by each of the named kernels; returns the files written.

    All answers are shown on one scale, full colour at the strongest two percent of them.
    Raises ValueError for a file that is no picture, or a picture smaller than a kernel.
    """
    try:
        picture = data.read_picture(path)
    except Exception as error:  # a broken file can make a decoder raise nearly anything
        raise ValueError(f"--image={path}: {data.why_unreadable(path, error)}") from error
    if padding == "valid" and min(picture.size) < max(map(len, kernels.values())):
        raise ValueError(f"--image={path} is {picture.width}x{picture.height}, smaller than the "
                         "kernel: use --padding=same or a larger picture")
    responses = {name: convolve(brightness(picture), kernel, padding)
                 for name, kernel in kernels.items()}
    limit = max(np.percentile(np.abs(response), 98) for response in responses.values()) or 1.0
    shown = {name: show(response, limit) for name, response in responses.items()}

    suffix = "" if padding == "same" else "-valid"
    OUTPUT.mkdir(exist_ok=True)
    panels = [("the picture", picture)]
    panels += [(LABELS.get(name, name), image) for name, image in shown.items()]
    written = []
    for name, image in [*shown.items(), ("-".join(shown) + "-sheet", sheet(panels))]:
        written.append(OUTPUT / f"{path.stem}-{name}{suffix}.png")
        image.save(written[-1])
    return written


OUTPUT = Path("filtered")
LABELS = {"V": "V: vertical edges, above against below",
          "H": "H: horizontal edges, left against right"}


def main(argv: list[str]) -> None:
    if argv[1:]:
        sys.exit(f"filters.py takes flags only, not {argv[1]!r}: see python filters.py --help")
    for module in ("data", "models"):  # their flags are known here, but change nothing
        for flag in flags.FLAGS.flags_by_module_dict()[module]:
            if flag.present:
                sys.exit(f"filters.py has no --{flag.name}: see python filters.py --help")
    try:
        kernels = {"V": V, "H": H}
        if KERNEL.value is not None:
            kernel = parse_kernel(KERNEL.value)
            kernels = {name_of(kernel): kernel}
        for file in filter_picture(Path(IMAGE.value), kernels, PADDING.value):
            print(file)
    except (ValueError, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    IMAGE = flags.DEFINE_string("image", None, "the picture to filter", required=True)
    KERNEL = flags.DEFINE_string(
        "kernel", None, 'an odd square kernel instead of V and H, like "-1 0 1; -2 0 2; -1 0 1"')
    PADDING = flags.DEFINE_enum(
        "padding", "same", ["same", "valid"], "beyond the edge of the picture: zeros, so that the "
        "size stays, or nothing, so that it shrinks")
    app.run(main)
