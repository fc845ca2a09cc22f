"""Cats or dogs? A trained network's predictions for any pictures, and how good they are.

    python predict.py photo.jpg holiday/                   # a line a picture
    python predict.py --run=runs/NAME photo.jpg            # by a network that you trained
    python predict.py --json holiday/ > holiday.jsonl
    python predict.py --run=runs/NAME --evaluate=PHOTOS    # how many are right

prints lines like "photo.jpg: cat (93.1%)", for every picture of a folder and of its subfolders.
Without --run the network in pretrained/ predicts: see docs/recipes.md. A picture is a cat, or of
whatever class is the positive one, if the probability of that is above the threshold that the run's
validation chose. If something cannot be read, it is named on stderr, and the exit code is 1.

--evaluate takes a folder of labeled pictures like train.py, and leaves out those that the run was
trained or validated on, whatever their names.
"""

import json
import math
import os
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import PIL
from absl import app, flags

import data
import metrics
import models
from support import class_folders, cli, image_files, run_folder, summary, used_pictures
from support.cli import UserError
from support.tensorflow_setup import tf


def predictions(network: models.Network, paths: list[Path], what: str, batch_size: int = 32
                ) -> Iterator[tuple[Path, np.ndarray | image_files.Skipped, float]]:
    """Yield every file in order with its image, uint8 (height, width, 3), and its probability.

    For a file that cannot be loaded, a Skipped takes the place of the image and NaN that of the
    probability. Meanwhile a bar shows `what` is done, and how far it is.
    """
    eval_step = tf.function(network.probability, autograph=False, input_signature=[
        tf.TensorSpec((None, *network.input_size, 3), tf.uint8)])
    loaded = zip(paths, image_files.in_threads(
        lambda path: data.load_image(path, network.input_size), paths), strict=True)
    with image_files.progress_bar(what, len(paths)) as advance:
        while batch := list(islice(loaded, batch_size)):
            images = [image for _, image in batch if not isinstance(image, image_files.Skipped)]
            # A convolution of no image at all is an error.
            probabilities = iter(eval_step(np.array(images)).numpy().tolist() if images else [])
            for path, image in batch:
                is_image = not isinstance(image, image_files.Skipped)
                yield path, image, next(probabilities) if is_image else math.nan
            advance(len(batch))


# ---------------------------------------------------------------------------------------------
# A line a picture
# ---------------------------------------------------------------------------------------------

def print_predictions(run_dir: Path, names: list[str], as_json: bool) -> bool:
    """Print a line for every image; True if all could be read.

    photo.jpg: cat (93.1%), with the probability of the label, or, as JSON, with that of the
    positive class: {"file": "photo.jpg", "label": "cat", "probability": 0.930912}. Raises UserError
    for a folder that is not a whole run's.
    """
    network, threshold = models.load(run_dir), run_folder.read_best(run_dir)["threshold"]
    class_names = run_folder.read_class_names(run_dir)
    paths, problems, passed_over = list_files(names)
    if passed_over:
        print(f"passed over: {', '.join(passed_over)}", file=sys.stderr)
    for file, image, probability in predictions(network, paths, "predicting"):
        if isinstance(image, image_files.Skipped):
            problems.append(image)
            continue
        positive = metrics.predicted_labels(probability, threshold)
        label = class_names[0 if positive else 1]
        if as_json:
            print(json.dumps({"file": str(file), "label": label,
                              "probability": round(probability, 6)}))
        else:
            of_label = probability if positive else 1 - probability
            print(f"{cli.printable(file)}: {label} ({of_label:.1%})")
    for path, reason in problems:
        print(f"{cli.printable(path)}: {reason}", file=sys.stderr)
    return not problems


def list_files(names: list[str]) -> tuple[list[Path], list[image_files.Skipped], list[str]]:
    """The files among the names, and the images in the folders among them, sorted by path.

    The second list names the folders that cannot be read or hold no image; the third counts what
    else is in the folders, links to others among it. What is hidden below a folder is left out.
    """
    paths, problems, others = [], [], []
    for name in map(Path, names):
        if not os.path.isdir(name):  # unlike Path's, False if the name cannot even be looked up
            paths.append(name)
            continue
        found, errors = [], []
        for folder, subfolders, files in os.walk(name, onerror=errors.append):
            subfolders[:] = [each for each in subfolders if not image_files.is_hidden(each)]
            links = [each for each in subfolders if os.path.islink(os.path.join(folder, each))]
            found += [Path(folder, file) for file in files + links]  # a link may lead back
        images = image_files.images_among(found)
        paths += sorted(images)
        others += {*found} - {*images}
        problems += [image_files.Skipped(Path(error.filename), error.strerror.lower())
                     for error in errors]
        if not images and not errors:
            problems.append(image_files.Skipped(name, "no pictures in this folder"))
    return paths, problems, image_files.count_endings(others)


# ---------------------------------------------------------------------------------------------
# How many are right
# ---------------------------------------------------------------------------------------------

def evaluate(run_dir: Path, folder: Path, as_json: bool) -> None:
    """Print the metrics of a run's network on the images of a folder that it does not know.

    as_json: only the metrics at the run's own threshold, as one line of JSON. Raises UserError for
    a folder that is not a whole run's, and for images that are not there.
    """
    network, threshold = models.load(run_dir), run_folder.read_best(run_dir)["threshold"]
    source = class_folders.find(folder, run_folder.read_class_names(run_dir), flag="evaluate",
                                one_suffices=True)
    if source.passed_over:
        print(f"passed over: {', '.join(source.passed_over)}", file=sys.stderr)
    known = used_pictures.parts_by_digest(run_dir, "training", "validation")
    label_of = dict(source.all_images())
    labels, probabilities, left_out = predict_unknown(network, label_of, known or {})
    known_ones = (f"{left_out['training']} from the training and {left_out['validation']} from the "
                  f"validation of {run_dir}")
    if not labels:
        raise UserError(f"none of the {len(label_of)} pictures of {folder} is left to measure, "
                        f"with {known_ones} among them: give a folder of others that can be read")
    if known is None:
        print(f"{run_dir} has no {used_pictures.FILE}: it may have been trained on some of these "
              "pictures, which would make the accuracy too good", file=sys.stderr)
    else:
        if left_out:
            print(f"left out: {known_ones}", file=sys.stderr)
        pillow = run_folder.read_config(run_dir)["versions"]["pillow"]
        if pillow != PIL.__version__:
            print(f"Pillow {PIL.__version__} may decode a picture otherwise than Pillow {pillow}, "
                  f"with which {run_dir} was trained, and not recognise it", file=sys.stderr)
    at_threshold = metrics.measure_at(threshold, probabilities, labels)
    if as_json:
        print(json.dumps(at_threshold | {"left_out": left_out.total()}))
        return
    positive, negative = source.class_names
    summary.print_evaluation(
        metrics.measure(probabilities, labels), at_threshold,
        f"{run_dir} ({network.name}) on {len(labels)} pictures of {folder}, {sum(labels)} "
        f"{positive} and {len(labels) - sum(labels)} {negative}", source.class_names)


def predict_unknown(network: models.Network, label_of: dict[Path, int], known: dict[str, str]
                    ) -> tuple[list[int], list[float], Counter]:
    """Labels and probabilities of the images that are not known, and how many of each part are.

    known: parts, "training" or "validation", by used_pictures.digest. What cannot be read is named.
    """
    labels, probabilities, left_out = [], [], Counter()
    for file, image, probability in predictions(network, [*label_of], "evaluating"):
        if isinstance(image, image_files.Skipped):
            print(f"skipped {cli.printable(file)}: {image.reason}", file=sys.stderr)
        elif known and (part := known.get(used_pictures.digest(image))):
            left_out[part] += 1
        else:
            labels.append(label_of[file])
            probabilities.append(probability)
    return labels, probabilities, left_out


# ---------------------------------------------------------------------------------------------
# The command
# ---------------------------------------------------------------------------------------------

@cli.script(tf.errors.OpError, arguments=True)
def main(argv: list[str]) -> None:
    names, folder = argv[1:], flags.FLAGS.evaluate
    if folder is not None and names:
        raise UserError(f"--evaluate={folder} measures the pictures of that folder: leave "
                        f"{' '.join(names)} out")
    if folder is None and not names:
        raise UserError("name pictures or folders: python predict.py photo.jpg holiday/")
    run_dir = run_folder.chosen(flags.FLAGS.run)
    if folder is not None:
        evaluate(run_dir, Path(folder), flags.FLAGS.json)
    elif not print_predictions(run_dir, names, flags.FLAGS.json):
        sys.exit(1)


def define_flags() -> None:
    flags.DEFINE(cli.PATH, "run", None, "the folder of a run [the network in pretrained/]")
    flags.DEFINE_bool("json", False, "print lines of JSON: file, label, and the probability of "
                      "the class with label 1; with --evaluate one line, the metrics")
    flags.DEFINE(cli.PATH, "evaluate", None, "a folder of labeled pictures, as for train.py: print "
                 "the metrics on those that the run was not trained or validated on")


if __name__ == "__main__":
    define_flags()
    app.run(main, flags_parser=cli.flags_parser(__doc__))
