"""A trained network looked into: its kernels, its feature maps, and why it predicts what it does.

    python explain.py --image kittens.jpg                       # the network in pretrained/
    python explain.py --image kittens.jpg --run=runs/NAME       # one that you trained
    python explain.py --image kittens.jpg --page                # a page for the browser

Three pages, written to filtered/, show the kernels that the network learned, beside V and H of
filters.py, their feature maps of the image, and which parts of the image carry its prediction. A
table tells how many of the kernels are edge filters like V and H.

With --page it writes one HTML file instead, filtered/kittens-pretrained.html, which computes the
network in the browser, for any picture.
"""

import functools
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import app, flags
from PIL import Image
from rich.console import Console

import data
import metrics
import models
from page import compose
from support import class_folders, cli, drawing, image_files, network_pages, run_folder
from support.cli import UserError
from support.kernels import edge_filters
from support.tensorflow_setup import tf

# ---------------------------------------------------------------------------------------------
# The kernels that a network learned
# ---------------------------------------------------------------------------------------------

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
    """The responses of each convolution's kernels, and what ReLU and pooling make of them.

    image: uint8 (height, width, 3). Returns a pair for each convolution, responses and activations,
    both float32 (rows, columns, n): a matrix, or feature map, for each kernel.
    """
    x, pairs = image[None], []
    for layer in network.layers:
        if len(layer.output_shape) != 3:  # flattened: matrices no more
            break
        x = layer(x)
        if isinstance(layer, models.Conv2D):
            pairs.append((x, x))
        elif pairs:  # BiasRelu and pooling, in either order: the later one's output stays
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

    It slides by half of its size: by a quarter the map is no clearer, for four times the work.
    Source: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2014.
    """
    height, width, _ = image.shape
    step = max(1, size // 2)
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

    The gradient of the logit with respect to the pixel. Red, green and blue have one each: it is
    the largest of the three absolute values. In training, the tape takes the gradient of the loss,
    with respect to the weights.
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

def look_into(path: Path, run_dir: Path) -> list[Path]:
    """Draw the pages of a run's network and the image; returns the files written.

    Prints the probability of the positive class, and the table of edge filters. A network without
    convolutions has no kernels to show: only which parts of the image carry its prediction. Raises
    UserError for a file that is no image, and for a folder that is not a whole run's.
    """
    network = models.load(run_dir)
    photo = image_files.read_checked(path)
    load = functools.partial(data.load_image, size=network.input_size)
    image = load(path)
    names = [drawing.printable(each.name) for each in (path, run_dir.resolve())]
    probability = network.probability(image[None]).numpy()[0]
    class_names = run_folder.read_class_names(run_dir)
    print(f"{names[0]}: {class_names[0]} with probability {probability:.1%}")

    pages = {}
    if isinstance(network.layers[1], models.Conv2D):  # the layer after Scale
        files = (run_folder.read_predictions(run_dir)[0]  # of the validation images
                 if (run_dir / "predictions.jsonl").exists() else [])
        others = [other for other in image_files.in_threads(load, files[:100])
                  if not isinstance(other, image_files.Skipped)]  # they may be gone by now
        order = mean_activations(network, [image, *others]).argsort()[::-1]  # the strongest first
        pages["kernels"] = compare_kernels(network, models.load(run_dir, trained=False), order,
                                           1 + len(others), names[1])
        pages["maps"] = show_feature_maps(network, image, order, *names)
    else:
        print(f"{network.name} has no convolution: there are no kernels and no maps to show")
    pages["why"] = explain_prediction(network, image, photo, *names, class_names)
    return drawing.save({f"{path.stem}-{run_dir.resolve().name}-{kind}": page
                         for kind, page in pages.items()})


def compare_kernels(network: models.Network, untrained: models.Network, order: np.ndarray,
                    image_count: int, run_name: str) -> Image.Image:
    """The page of the first layer's kernels beside V and H; prints the table of edge filters."""
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
# A page that computes the network in the browser
# ---------------------------------------------------------------------------------------------

def write_page(path: Path, run_dir: Path) -> Path:
    """Write the page of a run's network, shown on the image; returns the file.

    Raises UserError for a file that is no image, for a folder that is not a whole run's, and for a
    network that is too large for a page.
    """
    image, kernel = image_files.read_checked(path), edge_filters(3)["V"]
    page = compose.page(image, path.name, kernel, "same", describe_network(path, run_dir))
    return compose.write(f"{path.stem}-{run_dir.resolve().name}", page)


def describe_network(path: Path, run_dir: Path) -> dict:
    """The run's network and its input for this image, for the page.

    Prints the probability of the first class, and by how much it changes when the kernels are
    rounded to float16, as the page holds them.
    """
    compose.fits_whole(models.shapes_only(models.saved_options(run_dir)), f"--run={run_dir}")
    network = models.load(run_dir)
    class_names = run_folder.read_class_names(run_dir)
    image = data.load_image(path, network.input_size)
    probability = float(network.probability(image[None])[0])
    best = run_folder.read_best(run_dir)
    record = compose.describe(network, run_dir.resolve().name, image, probability,
                              best["threshold"], class_names, best.get("pictures"),
                              run_folder.read_test(run_dir), learning_of(network, run_dir),
                              examples_of(network, run_dir))
    for kernel in network.kernels:
        kernel.assign(kernel.numpy().astype(np.float16))
    change = float(network.probability(image[None])[0]) - probability
    print(f"{drawing.printable(path.name)}: {class_names[0]} with probability {probability:.1%}; "
          f"rounding the kernels to float16 changes it by {change:.6f}")
    return record


def learning_of(network: models.Network, run_dir: Path) -> dict | None:
    """The kernels of a first convolution, from the initial ones to the network's.

    Of a run that has not kept them, only those two. Raises UserError as `load` does.
    """
    if not isinstance(network.layers[1], models.Conv2D):
        return None
    best, trained = run_folder.read_best(run_dir), network.kernels[0].numpy()
    kept = run_folder.read_first_kernels(run_dir)
    if kept is not None and kept.shape == (len(kept), *trained.shape) and len(kept) > best["epoch"]:
        kernels, epochs = kept[:best["epoch"] + 1].astype(np.float32), [*range(best["epoch"] + 1)]
        kernels[-1] = trained
    else:
        initial = models.load(run_dir, trained=False).kernels[0].numpy()
        kernels, epochs = np.stack([initial, trained]), [0, best["epoch"]]
    accuracies = {record["epoch"]: record["best_accuracy"]
                  for record in run_folder.read_history(run_dir)}
    return compose.describe_learning(kernels, epochs, [accuracies.get(epoch) for epoch in epochs],
                                     run_dir.name)


def examples_of(network: models.Network, run_dir: Path, count: int = 6) -> list[dict]:
    """Pictures to click: the worst mistakes, and the surest of those that are right, half each.

    They are the run's validation images or, where it names none, drawings of sample/.
    """
    class_names = run_folder.read_class_names(run_dir)
    if (run_dir / "predictions.jsonl").exists():
        try:
            files, probabilities, labels = run_folder.read_predictions(run_dir)
        except UserError:
            return []  # the page is the same without them
    elif set(class_names) == {"cat", "dog"}:
        files = sorted(class_folders.SAMPLE.glob("*.jpg"))[::10]
        labels = np.array([file.name.startswith(class_names[0]) for file in files], float)
        probabilities = network.probability(np.stack(
            [data.load_image(file, network.input_size) for file in files])).numpy()
    else:
        return []
    mistakes = metrics.mistakes(probabilities, labels, run_folder.read_best(run_dir)["threshold"])
    surest = np.abs(probabilities - labels).argsort()
    cats, dogs = ([index for index in surest if labels[index] == label and index not in mistakes]
                  for label in (1, 0))
    examples = []
    for index in [*mistakes[:count // 2], *chain(*zip(cats, dogs, strict=False)),
                  *mistakes[count // 2:]]:
        if len(examples) < count and files[index].exists():  # it may be gone by now
            examples.append({"name": files[index].name, "label": int(1 - labels[index]),
                             "probability": float(probabilities[index]),
                             "jpeg": compose.small_jpeg(image_files.read_checked(files[index]))})
    return examples


# ---------------------------------------------------------------------------------------------
# The command
# ---------------------------------------------------------------------------------------------

def define_flags() -> None:
    flags.DEFINE(cli.PATH, "image", None, "the picture to show the network", required=True)
    flags.DEFINE(cli.PATH, "run", None, "the folder of the network's run [pretrained/]")
    flags.DEFINE_bool("page", False, "write a page for the browser that computes the network")


@cli.script(tf.errors.OpError)
def main(argv: list[str]) -> None:
    path, run_dir = Path(flags.FLAGS.image), run_folder.chosen(flags.FLAGS.run)
    files = [write_page(path, run_dir)] if flags.FLAGS.page else look_into(path, run_dir)
    for file in files:
        print(file)


if __name__ == "__main__":
    define_flags()
    app.run(main)
