"""The article's "Convolutions by example": an image, filtered by two hand-made kernels.

    python filters.py --image kittens.jpg                                    # by V and by H
    python filters.py --image kittens.jpg --kernel="-1 0 1; -2 0 2; -1 0 1"  # by a kernel of yours
    python filters.py --image kittens.jpg --page      # a page for the browser, to play around on

Writes each filtered image and a grid of all of them side by side to filtered/, and prints their
paths; the same command writes the same files again. Black is a response of zero, orange a positive
one, blue a negative one.

With --page it writes one HTML file instead, filtered/kittens.html, in which kernels can be edited
and any picture filtered. What the kernels of a trained network respond to, explain.py shows.
"""

from pathlib import Path

import numpy as np
from absl import app, flags
from PIL import Image

from page import compose
from support import cli, drawing, image_files
from support.cli import UserError
from support.kernels import name_of, parse_kernel
from support.tensorflow_setup import tf

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

def convolve_by_hand(A: np.ndarray, K: np.ndarray, padding: str) -> np.ndarray:
    """A filtered image, as the article words it: take the submatrix, multiply, add, slide.

    A: float32 (height, width); K, the kernel: float32 (C, C), C odd. With padding "same" all that
    lies outside A counts as 0 and B is as large as A; with "valid" the kernel never leaves A, and B
    has C - 1 rows and columns less. This is for reading: `convolve` computes the same.

    (In mathematics a convolution turns K by 180 degrees first; without that it is called a
    cross-correlation. The article, and every network, means the latter.)
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


def convolve(image: np.ndarray, kernel: np.ndarray, padding: str) -> np.ndarray:
    """The same in one call of TensorFlow: the kernel's response at every pixel of the image."""
    return tf.nn.conv2d(image[None, :, :, None],    # (1, height, width, 1): a batch of one
                        kernel[:, :, None, None],   # (C, C, 1, 1): one channel in, one out
                        strides=1, padding=padding.upper())[0, :, :, 0].numpy()


# ---------------------------------------------------------------------------------------------
# Filtering an image
# ---------------------------------------------------------------------------------------------

def filter_image(path: Path, kernels: dict[str, np.ndarray], padding: str) -> list[Path]:
    """Make the image grey, filter it by each of the named kernels, and draw the responses.

    They share one scale: the colour is full where a response, positive or negative, is as large as
    the larger of their 98th percentiles. Returns the files written: one for each kernel, and a grid
    of the image and all of them. Raises UserError for a file that is no image and, with padding
    "valid", for an image smaller than a kernel.
    """
    image = image_files.read_checked(path)
    if padding == "valid" and min(image.size) < max(map(len, kernels.values())):
        raise UserError(f"--image={path} is {image.height}x{image.width} (height x width), smaller "
                        "than the kernel: use --padding=same or a larger picture")
    grey = brightness(image)
    responses = {name: convolve(grey, kernel, padding) for name, kernel in kernels.items()}
    limit = max(np.percentile(np.abs(response), 98) for response in responses.values()) or 1.0
    images = {name: drawing.colourize(response, limit) for name, response in responses.items()}
    captions = {"V": "V: vertical edges, above against below",
                "H": "H: horizontal edges, left against right"}
    panels = [(captions.get(name, name), drawn) for name, drawn in images.items()]
    images["-".join(kernels) + "-sheet"] = drawing.image_grid([("the picture", image), *panels])
    suffix = "" if padding == "same" else "-valid"
    return [drawing.save(f"{path.stem}-{name}{suffix}", drawn) for name, drawn in images.items()]


def brightness(image: Image.Image) -> np.ndarray:
    """float32 (height, width), 0 to 255: the image's grey values."""
    return np.asarray(image.convert("L"), np.float32)


# ---------------------------------------------------------------------------------------------
# The command
# ---------------------------------------------------------------------------------------------

@cli.script(tf.errors.OpError)
def main(argv: list[str]) -> None:
    path, padding = Path(flags.FLAGS.image), flags.FLAGS.padding
    kernels = {"V": V, "H": H}
    if flags.FLAGS.kernel is not None:
        kernel = parse_kernel(flags.FLAGS.kernel)
        kernels = {name_of(kernel): kernel}
    if flags.FLAGS.page:
        files = [compose.write_kernel_page(path, next(iter(kernels.values())), padding)]
    else:
        files = filter_image(path, kernels, padding)
    for file in files:
        print(file)


if __name__ == "__main__":
    flags.DEFINE(cli.PATH, "image", None, "the picture to filter", required=True)
    flags.DEFINE_string(
        "kernel", None, 'an odd square kernel instead of V and H, like "-1 0 1; -2 0 2; -1 0 1"')
    flags.DEFINE_enum(
        "padding", "same", ["same", "valid"], "beyond the edge of the picture: zeros, so that the "
        "size stays, or nothing, so that it shrinks")
    flags.DEFINE_bool(
        "page", False, "write a page for the browser, to edit kernels and filter any picture")
    app.run(main, flags_parser=cli.flags_parser(__doc__, moved={
        "run": "use python explain.py --image=PICTURE --run=runs/NAME"}))
