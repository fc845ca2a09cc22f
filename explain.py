"""A trained network looked into: why it predicts what it does, its feature maps, its kernels.

    python explain.py --image kittens.jpg                       # the network in pretrained/
    python explain.py --image kittens.jpg --run=runs/NAME       # one that you trained
    python explain.py --image kittens.jpg --page                # a page for the browser

Draws one picture, filtered/kittens-pretrained.png: which parts of the image the prediction depends
on, the feature maps of each convolution, and the kernels that the first one learned, beside V and H
of filters.py. A table tells how many of the kernels are edge filters like V and H.

With --page it writes one HTML file instead, filtered/kittens-pretrained.html, which computes the
network in the browser, for any picture.
"""

from itertools import chain, islice
from pathlib import Path

import numpy as np
from absl import app, flags
from rich.console import Console
from rich.table import Table

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


def similarity_table(kernels: np.ndarray, initial: np.ndarray) -> Table:
    """How many of a first layer's kernels are edge filters, after training and before it.

    Both (size, size, 3, n). A kernel counts as the edge filter that it is most similar to. The last
    column is the length of what training added to the kernels, as a share of their own.
    """
    table = Table(title="kernels of the first layer that are edge filters: V, H, \\ or / to "
                  f"{EDGE_SIMILARITY} or more", title_justify="left")
    for column in ("network", "kernels", "edge filters", *edge_filters(len(kernels)),
                   "median similarity", "largest", "change"):
        table.add_column(column, justify="left" if column == "network" else "right")
    for network, each in (("trained", kernels), ("untrained", initial)):
        similarities = edge_similarities(each)
        best = similarities.max(axis=1)  # (n,)
        counts = np.bincount(similarities.argmax(axis=1)[best >= EDGE_SIMILARITY], minlength=4)
        change = np.linalg.norm(each - initial) / np.linalg.norm(initial)
        table.add_row(network, str(len(best)), str(counts.sum()), *map(str, counts),
                      f"{np.median(best):.2f}", f"{best.max():.2f}", f"{change:.1%}")
    return table


def feature_maps(network: models.Network, image: np.ndarray) -> list[np.ndarray]:
    """The responses of each convolution's kernels to a uint8 image (height, width, 3).

    Returns for each convolution float32 (rows, columns, n): a matrix, or feature map, for each
    kernel.
    """
    x, maps = image[None], []
    for layer in network.layers:
        if len(layer.output_shape) != 3:  # flattened: matrices no more
            break
        x = layer(x)
        if isinstance(layer, models.Conv2D):
            maps.append(tf.cast(x[0], tf.float32).numpy())
    return maps


# ---------------------------------------------------------------------------------------------
# Which parts of the image the prediction depends on
# ---------------------------------------------------------------------------------------------

def occlude(network: models.Network, image: np.ndarray, size: int
            ) -> list[tuple[int, int, float]]:
    """The predictions while a grey square of this size slides over the uint8 image.

    Returns each square's row and column, and the positive class's probability that remains. It
    slides by half of its size: by a quarter the map is no clearer, for four times the work.
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
        occlusions += zip([row] * len(columns), columns, probabilities, strict=True)
    return occlusions


def occlusion_map(shape: tuple[int, int], size: int, probability: float,
                  occlusions: list[tuple[int, int, float]]) -> np.ndarray:
    """By how much the probability falls when a pixel is covered: float32 `shape` (height, width).

    The mean over all squares that cover it: positive where the image is evidence for the positive
    class (cat), negative where it is evidence against it.
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
# One picture of all of it
# ---------------------------------------------------------------------------------------------

def look_into(path: Path, run_dir: Path) -> Path:
    """Draw what a run's network makes of the image; returns the file written.

    Prints the probability of the positive class, and the table of edge filters. A network without
    convolutions has no maps and no kernels to show. Raises UserError for a file that is no image,
    and for a folder that is not a whole run's.
    """
    network, class_names = models.load(run_dir), run_folder.read_class_names(run_dir)
    image_files.read_checked(path)
    image = data.load_image(path, network.input_size)
    probability = float(network.probability(image[None])[0])
    names = [drawing.printable(name) for name in (path.name, run_dir.resolve().name)]
    print(f"{names[0]}: {class_names[0]} with probability {probability:.1%}")

    side = max(1, min(network.input_size) // 5)
    occlusions = occlude(network, image, side)
    strips = [drawing.paragraph(f"{names[1]} on {names[0]}: probability of "
                                f"{drawing.printable(class_names[0])} {probability:.1%}", 30),
              network_pages.evidence_strip(
                  image, probability, occlusions, side,
                  occlusion_map(network.input_size, side, probability, occlusions),
                  saliency_map(network, image), class_names)]
    if isinstance(network.layers[1], models.Conv2D):  # the layer after Scale
        kernels = network.kernels[0].numpy()
        initial = learning_of(network, run_dir)["kernels"][0]
        Console(width=150).print(similarity_table(kernels, initial))
        strips += [network_pages.maps_strip(feature_maps(network, image)),
                   network_pages.kernels_strip(kernels, edge_similarities(kernels))]
    else:
        print(f"{network.name} has no convolution: there are no kernels and no maps to show")
    return drawing.save(f"{path.stem}-{run_dir.resolve().name}", drawing.stack(strips))


# ---------------------------------------------------------------------------------------------
# A page that computes the network in the browser
# ---------------------------------------------------------------------------------------------

def write_page(path: Path, run_dir: Path) -> Path:
    """Write the page of a run's network, shown on the image; returns the file.

    Raises UserError for a file that is no image, for a folder that is not a whole run's, and for a
    network that is too large for a page.
    """
    photo = image_files.read_checked(path)
    compose.check_size(models.shapes_only(models.saved_options(run_dir)), f"--run={run_dir}")
    network, class_names = models.load(run_dir), run_folder.read_class_names(run_dir)
    image = data.load_image(path, network.input_size)
    probability = float(network.probability(image[None])[0])
    best = run_folder.read_best(run_dir)
    record = compose.describe(network, run_dir.resolve().name, image, probability,
                              best["threshold"], class_names, best.get("pictures"),
                              run_folder.read_test(run_dir), learning_of(network, run_dir),
                              examples_of(network, run_dir))
    print(f"{drawing.printable(path.name)}: {class_names[0]} with probability {probability:.1%}")
    return compose.write(f"{path.stem}-{run_dir.resolve().name}", compose.page(
        photo, path.name, edge_filters(3)["V"], "same", record))


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
        initial = models.Network(models.saved_options(run_dir)).kernels[0].numpy()
        kernels, epochs = np.stack([initial, trained]), [0, best["epoch"]]
    accuracies = {record["epoch"]: record["best_accuracy"]
                  for record in run_folder.read_history(run_dir)}
    return {"epochs": epochs, "accuracies": [accuracies.get(epoch) for epoch in epochs],
            "kernels": kernels}


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
    wanted = [*mistakes[:count // 2], *chain(*zip(cats, dogs, strict=False)),
              *mistakes[count // 2:]][:4 * count]  # some may be gone, or damaged
    images = image_files.in_threads(image_files.read, [files[index] for index in wanted])
    there = ((index, image) for index, image in zip(wanted, images, strict=True)
             if not isinstance(image, image_files.Skipped))
    return [{"name": files[index].name, "label": int(1 - labels[index]),
             "probability": float(probabilities[index]), "jpeg": compose.small_jpeg(image)}
            for index, image in islice(there, count)]


# ---------------------------------------------------------------------------------------------
# The command
# ---------------------------------------------------------------------------------------------

@cli.script(tf.errors.OpError)
def main(argv: list[str]) -> None:
    path, run_dir = Path(flags.FLAGS.image), run_folder.chosen(flags.FLAGS.run)
    write = write_page if flags.FLAGS.page else look_into
    print(write(path, run_dir))


if __name__ == "__main__":
    flags.DEFINE(cli.PATH, "image", None, "the picture to show the network", required=True)
    flags.DEFINE(cli.PATH, "run", None, "the folder of the network's run [pretrained/]")
    flags.DEFINE_bool("page", False, "write a page for the browser that computes the network")
    app.run(main, flags_parser=cli.flags_parser(__doc__))
