"""Cats or dogs? A trained network's answers to any pictures.

    python predict.py --run=runs/NAME photo.jpg holiday/              # a line a picture
    python predict.py --run=runs/NAME --json holiday/ > answers.jsonl

Of a folder every picture is answered, those in its subfolders included. A picture is a cat's if
the network's probability for that is above the threshold that the run's validation chose. What
cannot be read is named on stderr with the reason; then the exit code is 1.

Of the run only model/ is used, a SavedModel: there is no network in this file. It could decode
the files as well (its signature serving_default). They are loaded as in training instead, in
threads by data.load_picture: that reads WebP, too, and one bad file does not cost the others of
its batch their answers.
"""

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import data
import numpy as np
from absl import app, flags

# As in models.py, which is not needed here: no log, and no start-up lines, on the screen.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
_stderr = os.dup(2)
with open(os.devnull, "w") as _nowhere:
    os.dup2(_nowhere.fileno(), 2)
try:
    import tensorflow as tf
finally:
    os.dup2(_stderr, 2)
    os.close(_stderr)


def load_model(run: Path):
    """The SavedModel in a finished run's folder. Raises ValueError, with the reason, without one.

    Its signature `pixels` takes uint8 (n, height, width, 3) to the probability of a cat, float32
    (n,); its variable `threshold` is where a cat begins.
    """
    if not (run / "model").is_dir():
        raise ValueError(f"--run={run} holds no model/: name the folder of a run that has ended, "
                         "like runs/conv1-1")
    try:
        model = tf.saved_model.load(str(run / "model"))
        model.threshold, model.signatures["pixels"]
    except Exception as error:  # a damaged file can make TensorFlow raise nearly anything
        raise ValueError(f"{run / 'model'} is damaged, or not what train.py writes "
                         f"({type(error).__name__})") from error
    return model


def find_pictures(names: list[str]) -> tuple[list[Path], list[data.Skipped]]:
    """The files among the names, and the pictures in the folders among them, by path; problems."""
    paths, problems = [], []
    for name in map(Path, names):
        if not name.is_dir():
            paths.append(name)
            continue
        errors: list[OSError] = []
        found = [path for folder, _, files in os.walk(name, onerror=errors.append)
                 for path in map(Path(folder).joinpath, files) if data.is_picture(path)]
        paths += sorted(found)
        problems += [data.Skipped(Path(error.filename), error.strerror.lower()) for error in errors]
        if not found and not errors:
            problems.append(data.Skipped(name, "no pictures in this folder"))
    return paths, problems


def answers(model, paths: list[Path]
            ) -> Iterator[tuple[list[Path], np.ndarray, list[data.Skipped]]]:
    """Batch by batch: files, their probabilities of a cat, float32 (n,); and what is no picture."""
    pixels = model.signatures["pixels"]
    size = tuple(pixels.structured_input_signature[1]["images"].shape[1:3])
    for files, images, skipped in data.load_batches(paths, size):
        if files:  # no picture at all is more than a convolution can take
            yield files, pixels(images=tf.constant(images))["probability"].numpy(), skipped
        else:
            yield files, np.empty(0, np.float32), skipped


def as_line(file: Path, label: str, probability: float) -> str:
    sure = probability if label == "cat" else 1 - probability
    return f"{on_one_line(file)}: {label} ({sure:.1%})"


def as_json(file: Path, label: str, probability: float) -> str:
    return json.dumps({"file": str(file), "label": label, "probability": round(probability, 6)})


def on_one_line(path: Path) -> str:
    return str(path).replace("\n", "\\n").replace("\r", "\\r")


def print_answers(run: Path, names: list[str], form) -> bool:
    """Print form(file, label, probability) of every picture; whether all could be answered."""
    model = load_model(run)
    threshold = model.threshold.numpy()
    paths, problems = find_pictures(names)
    for path, reason in problems:
        print(f"{on_one_line(path)}: {reason}", file=sys.stderr)
    with data.progress_bar("answering", len(paths)) as advance:
        for files, probabilities, skipped in answers(model, paths):
            for file, probability in zip(files, probabilities):
                label = "cat" if probability > threshold else "dog"
                print(form(file, label, float(probability)))
            for path, reason in skipped:
                print(f"{on_one_line(path)}: {reason}", file=sys.stderr)
            problems += skipped
            advance(len(files) + len(skipped))
    return not problems


def main(argv: list[str]) -> None:
    if not argv[1:]:
        sys.exit("name pictures or folders: python predict.py --run=runs/NAME photo.jpg holiday/")
    if flags.FLAGS["data_dir"].present:  # data.py's: known here, but without a meaning
        sys.exit("predict.py has no --data_dir: name the folder without it")
    sys.stdout.reconfigure(errors="backslashreplace")  # a file's name need not be Unicode
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # … | head ends it, without a word
    try:
        complete = print_answers(Path(RUN.value), argv[1:], as_json if JSON.value else as_line)
    except (ValueError, OSError) as error:
        sys.exit(str(error))
    except tf.errors.OpError as error:  # no memory
        sys.exit(f"TensorFlow gave up: {error.message.splitlines()[0]}")
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(0 if complete else 1)


if __name__ == "__main__":
    RUN = flags.DEFINE_string("run", None, "the folder of the run to ask", required=True)
    JSON = flags.DEFINE_bool("json", False, "answer in lines of JSON: file, label, and the "
                             "probability of a cat")
    app.run(main)
