"""The article's "Convolutions by example": a picture, filtered by two hand-made kernels.

    python filters.py --image kittens.jpg                                    # by V and by H
    python filters.py --image kittens.jpg --kernel="-1 0 1; -2 0 2; -1 0 1"  # by a kernel of yours
    python filters.py --image kittens.jpg --run=runs/NAME                    # by a trained network

Writes each filtered picture and a sheet with all of them side by side to filtered/, and prints
their paths; the same command writes the same files again. Black is no answer, orange a positive
one, blue a negative one.

With --run the network's own kernels take the place of V and H. Three sheets show the kernels it
learned, what they answer to the picture, and which parts of the picture made it say cat or dog. A
table tells how many of the kernels are edge filters like V and H.
"""

import functools
import sys
import textwrap
import zlib
from pathlib import Path
from typing import NamedTuple

import data
import metrics
import models  # before tensorflow: it keeps the start-up chatter off the screen
import numpy as np
import tensorflow as tf
from absl import app, flags
from PIL import Image, ImageDraw, ImageFont
from rich.console import Console
from rich.table import Table
from rich.text import Text

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


def sheet(panels: list[tuple[str, Image.Image]], columns: int | None = None) -> Image.Image:
    """The panels, each under its label, `columns` (all) side by side; 1,200 pixels wide."""
    columns = columns or len(panels)
    gap, label_height = 8, 8 + 22 * max(len(label.split("\n")) for label, _ in panels)
    width = (1200 + gap) // columns - gap
    height = round(width * panels[0][1].height / panels[0][1].width)
    rows = -(-len(panels) // columns)
    page = Image.new("RGB", (1200, rows * (label_height + height + gap) - gap), "white")
    draw = ImageDraw.Draw(page)
    for number, (label, picture) in enumerate(panels):
        x = number % columns * (width + gap)
        y = number // columns * (label_height + height + gap)
        draw.text((x + 4, y + label_height // 2), label, "black", ImageFont.load_default(17), "lm")
        page.paste(picture.resize((width, height), Image.Resampling.LANCZOS), (x, y + label_height))
    return page


def read_image(path: Path) -> Image.Image:
    """The picture at full size. Raises ValueError for a file that is none."""
    try:
        return data.read_picture(path)
    except Exception as error:  # a broken file can make a decoder raise nearly anything
        raise ValueError(f"--image={path}: {data.why_unreadable(path, error)}") from error


def filter_picture(path: Path, kernels: dict[str, np.ndarray], padding: str) -> list[Path]:
    """Filter the picture by each of the named kernels; returns the files written.

    All answers are shown on one scale, full colour at the strongest two percent of them.
    Raises ValueError for a file that is no picture, or a picture smaller than a kernel.
    """
    picture = read_image(path)
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
    """How much each kernel is like each of edge_filters: (size, size, 3, n) -> (n, 4), 0 to 1.

    V and H filter grey values, so a kernel is taken as it answers to grey: its weights for red,
    green and blue added up. The similarity is the cosine of the angle between the two as vectors,
    whichever side of the edge is the bright one: 1 where they differ by a factor only, 0 where
    they have nothing in common.
    """
    by_hand = np.reshape(list(edge_filters(len(kernels)).values()), (4, -1))  # (4, size * size)
    grey = kernels.sum(axis=2).reshape(by_hand.shape[1], -1).T                # (n, size * size)
    lengths = np.outer(np.linalg.norm(grey, axis=1), np.linalg.norm(by_hand, axis=1))
    return np.abs(grey @ by_hand.T) / np.maximum(lengths, 1e-30)


# A kernel as similar as this is called an edge filter. Of random 3x3 kernels 2% are, 4% if they sum
# to zero as those of --init=adapted do; of random 5x5 ones hardly any.
EDGE = 0.8


def similarity_table(trained: models.Network, untrained: models.Network) -> Table:
    """How many of the first kernels are edge filters, after training and before it."""
    table = Table(title=f"first kernels that are edge filters: V, H, \\ or / to {EDGE} or more",
                  title_justify="left")
    for column in ("network", "kernels", "edge filters", *edge_filters(3), "median similarity",
                   "largest", "change"):
        table.add_column(column, justify="left" if column == "network" else "right")
    first = untrained.kernels[0].numpy()
    for name, network in (("trained", trained), ("untrained", untrained)):
        kernels = network.kernels[0].numpy()
        similarities = edge_similarities(kernels)  # (n, 4)
        best = similarities.max(axis=1)
        counts = np.bincount(similarities.argmax(axis=1)[best >= EDGE], minlength=4)
        table.add_row(name, str(len(best)), str(counts.sum()), *map(str, counts),
                      f"{np.median(best):.2f}", f"{best.max():.2f}",
                      f"{np.linalg.norm(kernels - first) / np.linalg.norm(first):.1%}")
    return table


def strengths(network: models.Network, pictures: list[np.ndarray]) -> np.ndarray:
    """How strongly each first kernel answers to uint8 pictures: the mean of |answer|, (n,)."""
    scale, convolution = network.layers[:2]
    answers = (tf.cast(convolution(scale(picture[None])), tf.float32) for picture in pictures)
    return np.mean([np.abs(answer).mean(axis=(0, 1, 2)) for answer in answers], axis=0)


def blocks(network: models.Network, picture: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of each convolution: what its kernels answer, and what is left after ReLU and pooling.

    picture: uint8 (height, width, 3); both float32 (rows, columns, n), a matrix, or feature map,
    per kernel.
    """
    x, found = picture[None], []
    for layer in network.layers:
        if isinstance(layer, models.Flatten):
            break
        x = layer(x)
        if isinstance(layer, models.Conv2D):
            found.append((x, x))
        elif found:  # pooling, bias and ReLU, in the network's order: the last one counts
            found[-1] = found[-1][0], x
    return [tuple(tf.cast(x[0], tf.float32).numpy() for x in block) for block in found]


# ---------------------------------------------------------------------------------------------
# Which parts of the picture carry the answer
# ---------------------------------------------------------------------------------------------

class Covered(NamedTuple):
    """A picture with a grey square on it: where, and the probability of a cat that is left."""

    row: int
    column: int
    probability: float


GREY = (128, 128, 128)


def occlude(network: models.Network, picture: np.ndarray, size: int) -> list[Covered]:
    """The network's answers while a grey square of this size slides over the uint8 picture.

    Source: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2014.
    """
    height, width, _ = picture.shape
    step = max(1, size // 4)
    rows, columns = ([*range(0, length - size, step), length - size] for length in (height, width))
    answers = []
    for row in rows:
        images = np.repeat(picture[None], len(columns), axis=0)  # (columns, height, width, 3)
        for image, column in zip(images, columns):
            image[row:row + size, column:column + size] = GREY
        answers += map(Covered, [row] * len(columns), columns, network.probability(images).numpy())
    return answers


def evidence(shape: tuple[int, int], size: int, before: float,
             answers: list[Covered]) -> np.ndarray:
    """How much of the cat's probability each pixel carries, float32 `shape` (height, width).

    The probability lost when it is covered, in the mean over all squares that cover it: positive
    where the picture speaks for a cat, negative where it speaks for a dog.
    """
    lost, times = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for row, column, after in answers:
        lost[row:row + size, column:column + size] += before - after
        times[row:row + size, column:column + size] += 1
    return lost / times


def sensitivity(network: models.Network, picture: np.ndarray) -> np.ndarray:
    """How much the answer changes with each pixel: uint8 (height, width, 3) -> (height, width).

    |the gradient of the logit with respect to the pixel|, of red, green and blue the largest: a
    saliency map. The tape that trains takes the gradient with respect to the weights: this is all
    the difference. Source: Simonyan et al., "Deep Inside Convolutional Networks", 2013.
    """
    pixels = tf.constant(picture[None], tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        logit = network(pixels)
    return np.abs(tape.gradient(logit, pixels)[0]).max(axis=2)


# ---------------------------------------------------------------------------------------------
# The sheets of a network
# ---------------------------------------------------------------------------------------------

def words(text: str, size: int = 17) -> Image.Image:
    """A paragraph or, larger, a heading; 1,200 pixels wide."""
    lines = textwrap.wrap(text, 2250 // size)
    page = Image.new("RGB", (1200, 18 + len(lines) * size * 4 // 3), "white")
    for number, line in enumerate(lines):
        ImageDraw.Draw(page).text((4, 14 + number * size * 4 // 3), line, "black",
                                  ImageFont.load_default(size))
    return page


def legend(left: str, right: str) -> Image.Image:
    """The colours from blue to orange and what their ends mean; 1,200 pixels wide."""
    page = Image.new("RGB", (1200, 36), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(17)
    page.paste(show(np.linspace(-1, 1, 240)[None], limit=1).resize((240, 18)), (480, 12))
    draw.text((470, 21), left, "black", font, "rm")
    draw.text((730, 21), right, "black", font, "lm")
    return page


def below(pictures: list[Image.Image], gap: int = 0) -> Image.Image:
    """One below the other."""
    height = sum(picture.height + gap for picture in pictures) - gap
    page = Image.new("RGB", (max(picture.width for picture in pictures), height), "white")
    y = 0
    for picture in pictures:
        page.paste(picture, (0, y))
        y += picture.height + gap
    return page


def beside(pictures: list[Image.Image], gap: int) -> Image.Image:
    """One beside the other: `below`, with the axes exchanged before and after."""
    turned = [picture.transpose(Image.Transpose.TRANSPOSE) for picture in pictures]
    return below(turned, gap).transpose(Image.Transpose.TRANSPOSE)


def enlarge(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """To (width, height), every number still a block of one colour."""
    return picture.resize(size, Image.Resampling.NEAREST)


def colour_squares(kernel: np.ndarray, limit: float, side: int) -> Image.Image:
    """A (size, size, 3) kernel's weights for red, green and blue, each over a bar of its colour."""
    squares = []
    for channel, colour in enumerate(("red", "green", "blue")):
        squares.append(Image.new("RGB", (side, side + 4), colour))
        squares[-1].paste(enlarge(show(kernel[:, :, channel], limit), (side, side)))
    return below(squares, 3)


def kernels_sheet(trained: models.Network, untrained: models.Network, order: np.ndarray,
                  pictures: int, name: str) -> Image.Image:
    """The first layer's kernels, in the given order, below those made by hand."""
    def squares(kernel: np.ndarray, grey_limit: float, limit: float) -> Image.Image:
        grey = enlarge(show(kernel.sum(axis=2), grey_limit), (108, 108))
        return beside([grey, colour_squares(kernel, limit, 32)], 3)

    kernels = trained.kernels[0].numpy()  # (size, size, 3, n)
    limits = [np.percentile(np.abs(weights), 99) for weights in (kernels.sum(axis=2), kernels)]
    by_hand = edge_filters(len(kernels))
    similarities, before = (edge_similarities(each.kernels[0].numpy())
                            for each in (trained, untrained))
    edges, edges_before = (np.sum(each.max(axis=1) >= EDGE) for each in (similarities, before))
    learned = []
    for number, index in enumerate(order, start=1):
        like = list(by_hand)[similarities[index].argmax()]
        learned.append((f"#{number}   {like} {similarities[index].max():.2f}",
                        squares(kernels[:, :, :, index], *limits)))
    return below([
        words(f"The {len(order)} filters that {name} learned", 30),
        words("A filter slides over the picture; at every place it multiplies the pixels by its "
              "weights and adds up. The small squares are its weights for red, green and blue, the "
              "large one is their sum: what it does to grey."),
        legend("the darker here, the stronger its answer",
               "the brighter here, the stronger its answer"),
        words("Made by hand: edge filters", 22),
        sheet([(label, squares(np.dstack([kernel] * 3), 3, 1))
               for label, kernel in by_hand.items()], columns=8),
        words("Learned, the one with the strongest answers first", 22),
        words(f"(Answers to {pictures} pictures.) \"V 0.93\": on grey, V is most like it of those "
              "made by hand; 1.00 would be V, or V with its sides exchanged, 0.00 nothing in "
              f"common. From {EDGE} on it is called an edge filter: {edges} of {len(order)} are, "
              f"{edges_before} were before training."),
        sheet(learned, columns=8)])


def maps_sheet(network: models.Network, picture: np.ndarray, order: np.ndarray, image: str,
               name: str) -> Image.Image:
    """What the kernels answer to the picture, and what ReLU and pooling leave of it."""
    height, width, _ = picture.shape
    kernels = network.kernels[0].numpy()
    limit = np.percentile(np.abs(kernels), 99)
    pools = any(isinstance(layer, models.Pool) for layer in network.layers)
    after = "after ReLU and pooling" if pools else "after ReLU"

    def size(columns: int) -> tuple[int, int]:
        return columns, max(21, round(columns * height / width))

    def maps(block: tuple[np.ndarray, np.ndarray], index: int, columns: int) -> list[Image.Image]:
        return [enlarge(show(answers[:, :, index], limit=1), size(columns)) for answers in block]

    layers = []
    for answers, left in blocks(network, picture):
        strong = np.percentile(np.abs(answers), 95) or 1.0  # full colour, in the whole layer
        layers.append((answers / strong, left / strong))
    first, *others = layers
    example = Image.new("RGB", size(294), "white")
    squares = colour_squares(kernels[:, :, :, order[0]], limit, (example.height - 18) // 3)
    example.paste(squares, ((example.width - squares.width) // 2, 0))
    strips = [
        words(f"What {name} sees in {image}", 30),
        sheet([(f"the picture, in {height} x {width} pixels",
                enlarge(Image.fromarray(picture), size(294))), ("filter #1", example),
               *zip(("its answer", after), maps(first, order[0], 294))]),
        legend("the opposite of what a filter looks for", "what a filter looks for"),
        words(f"Convolution 1: filter, answer, and {after}", 22),
        sheet([(f"#{number}",
                beside([colour_squares(kernels[:, :, :, index], limit, (size(129)[1] - 18) // 3),
                        *maps(first, index, 129)], 3))
               for number, index in enumerate(order, start=1)], columns=4)]
    for number, block in enumerate(others, start=2):
        strongest = block[1].mean(axis=(0, 1)).argsort()[::-1][:12]
        strips += [
            words(f"Convolution {number}, the {len(strongest)} strongest of {block[0].shape[2]} "
                  f"filters: answer, and {after}", 22),
            sheet([(f"#{place}", beside(maps(block, index, 145), 4))
                   for place, index in enumerate(strongest, start=1)], columns=4)]
    return below(strips)


def heat(photo: Image.Image, strength: np.ndarray) -> Image.Image:
    """The photo darkened and grey, in orange where strength is 1 and in blue where it is -1."""
    # Bilinear: what fits smoother swings over beside an edge, into the other colour.
    strength = Image.fromarray(strength).resize(photo.size, Image.Resampling.BILINEAR)
    strength = np.asarray(strength)[:, :, None]  # (height, width, 1)
    grey = brightness(photo)[:, :, None] / 2
    colours = np.where(strength > 0, ORANGE, BLUE)
    pixels = grey * (1 - np.abs(strength)) + colours * np.abs(strength)
    return Image.fromarray(pixels.round().astype(np.uint8))


def why_sheet(network: models.Network, picture: np.ndarray, photo: Image.Image, image: str,
              name: str) -> Image.Image:
    """Which parts of the picture carry the answer: what covering them changes, and the gradient."""
    height, width, _ = picture.shape
    before = network.probability(picture[None]).numpy()[0]
    size = max(1, min(height, width) // 5)
    answers = occlude(network, picture, size)
    carried = evidence((height, width), size, before, answers)
    most = max(answers, key=lambda covered: abs(covered.probability - before))
    changes = sensitivity(network, picture)

    photo = photo.resize((394, round(394 * height / width)), Image.Resampling.LANCZOS)
    covered, zoom = photo.copy(), photo.width / width
    ImageDraw.Draw(covered).rectangle(
        [zoom * most.column, zoom * most.row,
         zoom * (most.column + size), zoom * (most.row + size)], GREY, "white", width=3)
    limit = np.abs(carried).max()
    whites = changes / (np.percentile(changes, 99) or 1.0) * 255
    gradient = Image.fromarray(whites.clip(0, 255).astype(np.uint8)).convert("RGB")
    return below([
        words(f"{name} says: {image} is a cat with probability {before:.1%}", 30),
        sheet([("The place that matters most: covered with\n"
                f"grey, {before:.1%} becomes {most.probability:.1%}", covered),
               ("Cover every place in turn:\norange speaks for a cat, blue for a dog",
                heat(photo, carried / (limit or 1.0))),
               ("Or change a pixel (the gradient): the\nbrighter here, the more it matters",
                enlarge(gradient, photo.size))]),
        legend(f"covered, a cat is {100 * limit:.1f} points likelier",
               f"covered, a cat is {100 * limit:.1f} points less likely")])


def network_pictures(path: Path, run: Path) -> list[Path]:
    """The sheets of a run's network and the picture; returns the files written.

    Prints the probability of a cat, and the table of edge filters. A network without convolutions
    has no kernels to show: only why it answers so. Raises ValueError for a file that is no
    picture, and for a folder that is not a whole run's.
    """
    network = models.load_network(run)
    photo = read_image(path)
    load = functools.partial(data.load_picture, size=network.input_size)
    picture = load(path)
    image, name = (ascii(each.name)[1:-1] for each in (path, run.resolve()))  # the font's letters
    print(f"{image}: a cat with probability {network.probability(picture[None]).numpy()[0]:.1%}")
    sheets = {}
    if len(network.kernels[0].shape) == 4:
        untrained = models.untrained_network(run)
        Console(width=150).print(similarity_table(network, untrained))
        files, _, _ = metrics.read_predictions(run)
        others = [other for other in data.in_threads(load, files[:100])
                  if not isinstance(other, data.Skipped)]  # they may be gone by now
        order = strengths(network, [picture, *others]).argsort()[::-1]
        sheets["kernels"] = kernels_sheet(network, untrained, order, 1 + len(others), name)
        sheets["maps"] = maps_sheet(network, picture, order, image, name)
    else:
        print(f"{network.name} has no convolution: there are no kernels and no maps to show")
    sheets["why"] = why_sheet(network, picture, photo, image, name)

    OUTPUT.mkdir(exist_ok=True)
    written = []
    for kind, page in sheets.items():
        written.append(OUTPUT / f"{path.stem}-{run.resolve().name}-{kind}.png")
        page.save(written[-1])
    return written


def main(argv: list[str]) -> None:
    if argv[1:]:
        sys.exit(f"filters.py takes flags only, not {argv[1]!r}: see python filters.py --help")
    for module in ("data", "models"):  # their flags are known here, but change nothing
        for flag in flags.FLAGS.flags_by_module_dict()[module]:
            if flag.present:
                sys.exit(f"filters.py has no --{flag.name}: see python filters.py --help")
    try:
        if RUN.value is not None:
            if KERNEL.present or PADDING.present:
                raise ValueError("--run brings its own kernels: leave --kernel and --padding out")
            written = network_pictures(Path(IMAGE.value), Path(RUN.value))
        else:
            kernels = {"V": V, "H": H}
            if KERNEL.present:
                kernel = parse_kernel(KERNEL.value)
                kernels = {name_of(kernel): kernel}
            written = filter_picture(Path(IMAGE.value), kernels, PADDING.value)
        for file in written:
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
    RUN = flags.DEFINE_string(
        "run", None, "the folder of a run: by its network's kernels instead of V and H")
    app.run(main)
