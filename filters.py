"""The article's "Convolutions by example": an image, filtered by two hand-made kernels.

    python filters.py --image kittens.jpg                                    # by V and by H
    python filters.py --image kittens.jpg --kernel="-1 0 1; -2 0 2; -1 0 1"  # by a kernel of yours
    python filters.py --image kittens.jpg --run=runs/NAME                    # by a trained network
    python filters.py --image kittens.jpg --page      # a page for the browser, to play around on

Writes each filtered image and a page with all of them side by side to filtered/, and prints their
paths; the same command writes the same files again. Black is a response of zero, orange a positive
one, blue a negative one.

With --run the network's own kernels take the place of V and H. Three pages show the kernels it
learned, their feature maps of the image, and which parts of the image carry its prediction. A
table tells how many of the kernels are edge filters like V and H.

With --page it writes one HTML file instead, filtered/kittens.html, in which kernels can be edited
and any picture filtered; together with --run that page computes the network, too.
"""

import functools
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import app, flags
from PIL import Image
from rich.console import Console

import data
import models
from support import cli, drawing, images, interactive_page, network_pages, run_folder
from support.cli import UserError
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

OUTPUT = Path("filtered")
LABELS = {"V": "V: vertical edges, above against below",
          "H": "H: horizontal edges, left against right"}


def filter_image(path: Path, kernels: dict[str, np.ndarray], padding: str) -> list[Path]:
    """Filter the image by each of the named kernels; returns the files written.

    All responses are shown on one scale, full colour at the strongest two percent of them.
    Raises UserError for a file that is no image, or an image smaller than a kernel.
    """
    image = read_image(path)
    if padding == "valid" and min(image.size) < max(map(len, kernels.values())):
        raise UserError(f"--image={path} is {image.width}x{image.height}, smaller than the "
                        "kernel: use --padding=same or a larger picture")
    responses = {name: convolve(brightness(image), kernel, padding)
                 for name, kernel in kernels.items()}
    limit = max(np.percentile(np.abs(response), 98) for response in responses.values()) or 1.0
    filtered = {name: drawing.colourize(response, limit) for name, response in responses.items()}

    panels = [("the picture", image)]
    panels += [(LABELS.get(name, name), panel) for name, panel in filtered.items()]
    filtered["-".join(kernels) + "-sheet"] = drawing.image_grid(panels)
    suffix = "" if padding == "same" else "-valid"
    return save({f"{path.stem}-{name}{suffix}": panel for name, panel in filtered.items()})


def read_image(path: Path) -> Image.Image:
    """The image at full size, upright. Raises UserError for a file that is none."""
    try:
        return images.read(path)
    except Exception as error:  # a broken file can make a decoder raise nearly anything
        raise UserError(f"--image={path}: {images.why_unreadable(path, error)}") from error


def brightness(image: Image.Image) -> np.ndarray:
    """float32 (height, width), 0 to 255: the image's grey values."""
    return np.asarray(image.convert("L"), np.float32)


def save(pages: dict[str, Image.Image]) -> list[Path]:
    """Write each image to filtered/NAME.png; returns the files."""
    OUTPUT.mkdir(exist_ok=True)
    files = []
    for name, page in pages.items():
        files.append(OUTPUT / f"{name}.png")
        page.save(files[-1])
    return files


def parse_kernel(text: str) -> np.ndarray:
    """'-1 0 1; -2 0 2; -1 0 1' -> float32 (3, 3). Raises UserError unless odd and square."""
    try:
        rows = [[float(number) for number in row.replace(",", " ").split()]
                for row in text.strip().rstrip(";").split(";")]
        kernel = np.array(rows, np.float32)
    except ValueError:
        kernel = np.empty(0)
    size = len(kernel)
    if kernel.shape != (size, size) or size % 2 == 0 or not np.isfinite(kernel).all():
        raise UserError(f"--kernel={text!r} is not an odd square of numbers: write its rows like "
                        '"-1 0 1; -2 0 2; -1 0 1"')
    return kernel


def name_of(kernel: np.ndarray) -> str:
    """'-1_0_1_-2_0_2_-1_0_1': a file name that tells kernels apart; shortened for large ones."""
    name = "_".join(f"{number:g}" for number in kernel.flat)
    if len(name) <= 60:
        return name
    return f"{len(kernel)}x{len(kernel)}-{zlib.crc32(name.encode()):08x}"


# ---------------------------------------------------------------------------------------------
# The kernels that a network learned
# ---------------------------------------------------------------------------------------------

def edge_filters(size: int) -> dict[str, np.ndarray]:
    """V and H at any size, and the same turned by 45 degrees: {name: (size, size)} of -1, 0, 1.

    The names show along which line two sides are compared: "\\" upper left against lower right.
    """
    offset = np.arange(size) - (size - 1) / 2
    down, right = np.meshgrid(offset, offset, indexing="ij")
    return {"V": np.sign(down), "H": np.sign(right),
            "\\": np.sign(down + right), "/": np.sign(right - down)}


def edge_similarities(kernels: np.ndarray) -> np.ndarray:
    """How similar each kernel is to each of edge_filters: (size, size, 3, n) -> (n, 4), 0 to 1.

    V and H filter grey values, so a kernel is taken as it responds to grey: its weights for red,
    green and blue added up. The similarity is the cosine of the angle between the two as vectors,
    whichever side of the edge is the bright one: 1 where they differ by a factor only, 0 where
    they have nothing in common.
    """
    by_hand = np.reshape(list(edge_filters(len(kernels)).values()), (4, -1))  # (4, size * size)
    grey = kernels.sum(axis=2).reshape(by_hand.shape[1], -1).T                # (n, size * size)
    lengths = np.outer(np.linalg.norm(grey, axis=1), np.linalg.norm(by_hand, axis=1))
    return np.abs(grey @ by_hand.T) / np.maximum(lengths, 1e-30)


# A kernel as similar as this counts as an edge filter. Of random 3x3 kernels 2% do, 4% if they sum
# to zero as those of --init=adapted do; of random 5x5 ones hardly any.
EDGE_SIMILARITY = 0.8


def relative_change(kernels: np.ndarray, initial: np.ndarray) -> float:
    """The length of what training added to the initial kernels, as a share of their own."""
    return np.linalg.norm(kernels - initial) / np.linalg.norm(initial)


def mean_activations(network: models.Network, inputs: list[np.ndarray]) -> np.ndarray:
    """The mean |response| of each of the first layer's kernels to uint8 images: (n,)."""
    scale, convolution = network.layers[:2]
    responses = (tf.cast(convolution(scale(image[None])), tf.float32) for image in inputs)
    return np.mean([np.abs(response).mean(axis=(0, 1, 2)) for response in responses], axis=0)


def feature_maps(network: models.Network, image: np.ndarray
                 ) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of each convolution: its kernels' responses, and the activations after ReLU and pooling.

    image: uint8 (height, width, 3); both float32 (rows, columns, n), a matrix, or feature map,
    per kernel.
    """
    x, pairs = image[None], []
    for layer in network.layers:
        if isinstance(layer, models.Flatten):
            break
        x = layer(x)
        if isinstance(layer, models.Conv2D):
            pairs.append((x, x))
        elif pairs:  # pooling, bias and ReLU, in the network's order: the last one counts
            pairs[-1] = pairs[-1][0], x
    return [tuple(tf.cast(maps[0], tf.float32).numpy() for maps in pair) for pair in pairs]


# ---------------------------------------------------------------------------------------------
# Which parts of the image carry the prediction
# ---------------------------------------------------------------------------------------------

class Occlusion(NamedTuple):
    """A grey square on an image: where, and the positive class's probability that remains."""

    row: int
    column: int
    probability: float


def occlude(network: models.Network, image: np.ndarray, size: int) -> list[Occlusion]:
    """The predictions while a grey square of this size slides over the uint8 image.

    Source: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2014.
    """
    height, width, _ = image.shape
    step = max(1, size // 4)
    rows, columns = ([*range(0, length - size, step), length - size] for length in (height, width))
    occlusions = []
    for row in rows:
        batch = np.repeat(image[None], len(columns), axis=0)  # (columns, height, width, 3)
        for covered, column in zip(batch, columns, strict=True):
            covered[row:row + size, column:column + size] = drawing.GREY
        probabilities = network.probability(batch).numpy()
        occlusions += map(Occlusion, [row] * len(columns), columns, probabilities)
    return occlusions


def occlusion_map(shape: tuple[int, int], size: int, probability: float,
                  occlusions: list[Occlusion]) -> np.ndarray:
    """How much of the probability each pixel carries, float32 `shape` (height, width).

    The probability lost when it is covered, in the mean over all squares that cover it: positive
    where the image is evidence for the positive class (cat), negative where it is evidence
    against it.
    """
    lost, times = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for row, column, remaining in occlusions:
        lost[row:row + size, column:column + size] += probability - remaining
        times[row:row + size, column:column + size] += 1
    return lost / times


def saliency_map(network: models.Network, image: np.ndarray) -> np.ndarray:
    """How much the logit changes with each pixel: uint8 (height, width, 3) -> (height, width).

    |the gradient of the logit with respect to the pixel|, of red, green and blue the largest. The
    tape that trains takes the gradient with respect to the weights: this is all the difference.
    Source: Simonyan et al., "Deep Inside Convolutional Networks", 2013.
    """
    pixels = tf.constant(image[None], tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        logit = network(pixels)
    return np.abs(tape.gradient(logit, pixels)[0]).max(axis=2)


# ---------------------------------------------------------------------------------------------
# The pages of a network
# ---------------------------------------------------------------------------------------------

def look_into(path: Path, run: Path) -> list[Path]:
    """Draw the pages of a run's network and the image; returns the files written.

    Prints the probability of the positive class, and the table of edge filters. A network without
    convolutions has no kernels to show: only which parts of the image carry its prediction. Raises
    UserError for a file that is no image, and for a folder that is not a whole run's.
    """
    network = models.load(run)
    photo = read_image(path)
    load = functools.partial(data.load_image, size=network.input_size)
    image = load(path)
    names = [drawing.printable(each.name) for each in (path, run.resolve())]
    probability = network.probability(image[None]).numpy()[0]
    class_names = run_folder.read_class_names(run)
    print(f"{names[0]}: {class_names[0]} with probability {probability:.1%}")

    pages = {}
    if isinstance(network.layers[1], models.Conv2D):  # the layer after Scale
        files, _, _ = run_folder.read_predictions(run)
        others = [other for other in images.in_threads(load, files[:100])
                  if not isinstance(other, images.Skipped)]  # they may be gone by now
        order = mean_activations(network, [image, *others]).argsort()[::-1]  # the strongest first
        pages["kernels"] = compare_kernels(network, models.load(run, trained=False), order,
                                           1 + len(others), names[1])
        pages["maps"] = show_feature_maps(network, image, order, *names)
    else:
        print(f"{network.name} has no convolution: there are no kernels and no maps to show")
    pages["why"] = explain_prediction(network, image, photo, *names, class_names)
    return save({f"{path.stem}-{run.resolve().name}-{kind}": page for kind, page in pages.items()})


def compare_kernels(network: models.Network, untrained: models.Network, order: np.ndarray,
                    image_count: int, run_name: str) -> Image.Image:
    """the page of the first layer's kernels beside V and H; prints the table of edge filters."""
    kernels, initial = network.kernels[0].numpy(), untrained.kernels[0].numpy()
    similarities, before = edge_similarities(kernels), edge_similarities(initial)
    made_by_hand = edge_filters(len(kernels))
    Console(width=150).print(network_pages.similarity_table(
        similarities, before, relative_change(kernels, initial), list(made_by_hand),
        EDGE_SIMILARITY))
    return network_pages.kernels_page(kernels, order, similarities, before, made_by_hand,
                                      EDGE_SIMILARITY, image_count, run_name)


def show_feature_maps(network: models.Network, image: np.ndarray, order: np.ndarray,
                      image_name: str, run_name: str) -> Image.Image:
    """The page of all convolutions' feature maps; order: that of the first layer's kernels."""
    maps = feature_maps(network, image)
    orders = [order, *(activations.mean(axis=(0, 1)).argsort()[::-1]
                       for _, activations in maps[1:])]
    pooled = any(isinstance(layer, models.MaxPool) for layer in network.layers)
    return network_pages.maps_page(image, network.kernels[0].numpy(), maps, orders, pooled,
                                   image_name, run_name)


def explain_prediction(network: models.Network, image: np.ndarray, photo: Image.Image,
                       image_name: str, run_name: str,
                       class_names: tuple[str, str]) -> Image.Image:
    """The page of which parts of the image carry the prediction. photo: the image at full size."""
    height, width, _ = image.shape
    probability = network.probability(image[None]).numpy()[0]
    size = max(1, min(height, width) // 5)
    occlusions = occlude(network, image, size)
    strongest = max(occlusions, key=lambda each: abs(each.probability - probability))
    return network_pages.why_page(
        photo, probability, strongest, size,
        occlusion_map((height, width), size, probability, occlusions),
        saliency_map(network, image), image_name, run_name, class_names)


# ---------------------------------------------------------------------------------------------
# "I strongly recommend you play around on this website": a page of that kind
# ---------------------------------------------------------------------------------------------

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


def write_page(path: Path, kernel: np.ndarray, padding: str, run: Path | None = None) -> Path:
    """Write the page of the image and, if there is one, of a run's network; returns the file.

    kernel, (3, 3) or (5, 5), and padding: what the page begins with. Raises UserError for a file
    that is no image, for a kernel of another size, for a folder that is not a whole run's, and for
    a network that is too large for a page.
    """
    if len(kernel) not in (3, 5):
        raise UserError(f"--kernel is {len(kernel)}x{len(kernel)}, and the page takes 3x3 and 5x5: "
                        "leave --page out, or use one of these sizes")
    image, name, network = read_image(path), path.stem, None
    if run is not None:
        name += f"-{run.resolve().name}"
        network = describe_network(path, run)
    presets = {size: preset_kernels(size) for size in (3, 5)}
    page = interactive_page.compose(image, path.name, presets, kernel, padding, network)
    OUTPUT.mkdir(exist_ok=True)
    run_folder.write_text(OUTPUT / f"{name}.html", page)
    return OUTPUT / f"{name}.html"


def describe_network(path: Path, run: Path) -> dict:
    """The run's network and its input for this image, for the page.

    Prints the probability of the first class, and by how much it changes when the kernels are
    rounded to float16, as the page holds them.
    """
    with tf.Graph().as_default():  # shapes only: nothing is computed, no memory is taken
        weight_count = models.load(run, trained=False).weight_count
    if weight_count > interactive_page.MAX_WEIGHTS:
        raise UserError(f"--run={run} has {weight_count:,} weights, and the page holds "
                        f"{interactive_page.MAX_WEIGHTS:,}: train a network with a smaller "
                        "--input_size, or that of recipes/minute.flags")
    network = models.load(run)
    best = run_folder.best_epoch(run_folder.read_history(run))
    class_names = run_folder.read_class_names(run)
    image = data.load_image(path, network.input_size)
    probability = float(network.probability(image[None])[0])
    record = interactive_page.describe(network, run.resolve().name, image, probability,
                                       best["threshold"], class_names)
    for kernel in network.kernels:
        kernel.assign(kernel.numpy().astype(np.float16))
    change = float(network.probability(image[None])[0]) - probability
    print(f"{drawing.printable(path.name)}: {class_names[0]} with probability {probability:.1%}; "
          f"rounding the kernels to float16 changes it by {change:.6f}")
    return record


# ---------------------------------------------------------------------------------------------
# The command
# ---------------------------------------------------------------------------------------------

def define_flags() -> None:
    flags.DEFINE_string("image", None, "the picture to filter", required=True)
    flags.DEFINE_string(
        "kernel", None, 'an odd square kernel instead of V and H, like "-1 0 1; -2 0 2; -1 0 1"')
    flags.DEFINE_enum(
        "padding", "same", ["same", "valid"], "beyond the edge of the picture: zeros, so that the "
        "size stays, or nothing, so that it shrinks")
    flags.DEFINE_string(
        "run", None, "the folder of a run: by its network's kernels instead of V and H")
    flags.DEFINE_bool(
        "page", False, "write a page for the browser, to edit kernels and filter any picture; with "
        "--run it holds that network, too")


@cli.script(tf.errors.OpError)
def main(argv: list[str]) -> None:
    values = flags.FLAGS
    path, run = Path(values.image), None if values.run is None else Path(values.run)
    if run is not None and (values["kernel"].present or values["padding"].present):
        raise UserError("--run brings its own kernels: leave --kernel and --padding out")
    kernels = {"V": V, "H": H}
    if values.kernel is not None:
        kernel = parse_kernel(values.kernel)
        kernels = {name_of(kernel): kernel}
    if values.page:
        files = [write_page(path, next(iter(kernels.values())), values.padding, run)]
    elif run is not None:
        files = look_into(path, run)
    else:
        files = filter_image(path, kernels, values.padding)
    for file in files:
        print(file)


if __name__ == "__main__":
    define_flags()
    app.run(main)
