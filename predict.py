"""Cats or dogs? A trained network's predictions for any pictures.

    python predict.py --run=runs/NAME photo.jpg holiday/              # a line a picture
    python predict.py --run=runs/NAME --json holiday/ > holiday.jsonl

prints lines like "photo.jpg: cat (93.1%)", for every picture of a folder and of its subfolders. A
picture is of the positive class (cat) if the network's probability for that is above the threshold
that the run's validation chose. What cannot be read is named on stderr with the reason; then the
exit code is 1.

Of the run only model/ is used, a SavedModel: there is no network in this file. It could decode
the files as well (its signature serving_default). They are loaded as in training instead, in
threads by data.load_image: that reads WebP, too, and a damaged file does not fail the others of
its batch.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import app, flags

import data
from support import cli, images, saved_model
from support.cli import UserError
from support.tensorflow_setup import tf


def image_files(names: list[str]) -> tuple[list[Path], list[images.Skipped]]:
    """The files among the names, and the images in the folders among them, sorted by path.

    The second list names the folders that cannot be read or hold no image.
    """
    paths, problems = [], []
    for name in map(Path, names):
        if not name.is_dir():
            paths.append(name)
            continue
        errors: list[OSError] = []
        found = [path for folder, _, files in os.walk(name, onerror=errors.append)
                 for path in map(Path(folder).joinpath, files) if images.is_image(path)]
        paths += sorted(found)
        problems += [images.Skipped(Path(error.filename), error.strerror.lower())
                     for error in errors]
        if not found and not errors:
            problems.append(images.Skipped(name, "no pictures in this folder"))
    return paths, problems


def predictions(model: saved_model.Exported, paths: list[Path]
                ) -> Iterator[tuple[list[Path], np.ndarray, list[images.Skipped]]]:
    """Yield batches: n files, their probabilities, float32 (n,), and what was skipped."""
    for loaded, batch, skipped in images.load_batches(paths, data.load_image, model.input_size):
        yield loaded, model.probability(batch), skipped


class Prediction(NamedTuple):
    """probability: that of the positive class; positive: whether it is above the threshold."""

    file: Path
    label: str
    probability: float
    positive: bool


def as_line(prediction: Prediction) -> str:
    """photo.jpg: cat (93.1%), with the probability of the label."""
    file, label, probability, positive = prediction
    return f"{on_one_line(file)}: {label} ({probability if positive else 1 - probability:.1%})"


def as_json(prediction: Prediction) -> str:
    """{"file": "photo.jpg", "label": "cat", "probability": 0.930912}"""
    file, label, probability, _ = prediction
    return json.dumps({"file": str(file), "label": label, "probability": round(probability, 6)})


def on_one_line(path: Path) -> str:
    return str(path).replace("\n", "\\n").replace("\r", "\\r")


def print_predictions(run: Path, names: list[str], form: Callable[[Prediction], str]) -> bool:
    """Print form(prediction) of every image; True if all could be read.

    Raises UserError for a run without a whole model/.
    """
    model = saved_model.load(run)
    paths, problems = image_files(names)
    for path, reason in problems:
        print(f"{on_one_line(path)}: {reason}", file=sys.stderr)
    with images.progress_bar("predicting", len(paths)) as advance:
        for files, probabilities, skipped in predictions(model, paths):
            for file, probability in zip(files, probabilities, strict=True):
                positive = bool(probability > model.threshold)
                label = model.class_names[0 if positive else 1]
                print(form(Prediction(file, label, float(probability), positive)))
            for path, reason in skipped:
                print(f"{on_one_line(path)}: {reason}", file=sys.stderr)
            problems += skipped
            advance(len(files) + len(skipped))
    return not problems


@cli.script(tf.errors.OpError, arguments=True)
def main(argv: list[str]) -> None:
    names = argv[1:]
    if not names:
        raise UserError("name pictures or folders: python predict.py --run=runs/NAME photo.jpg "
                        "holiday/")
    form = as_json if flags.FLAGS.json else as_line
    if not print_predictions(Path(flags.FLAGS.run), names, form):
        sys.exit(1)


if __name__ == "__main__":
    flags.DEFINE_string("run", None, "the folder of a run that has ended", required=True)
    flags.DEFINE_bool("json", False, "print lines of JSON: file, label, and the probability of "
                      "the class with label 1")
    app.run(main)
