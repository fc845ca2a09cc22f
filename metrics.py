"""How good are the predictions? The article's three measures, and its table of networks.

    python metrics.py runs/*                        # every run beside the article's figures
    python metrics.py --run=runs/NAME --pictures    # and where it goes wrong, as two pictures

Mean squared error, the Pearson correlation of predictions and labels, and the accuracy at ten
thresholds, on NumPy arrays: predictions (n,), the probability of a cat; labels (n,), 1 for a cat
and 0 for a dog.
"""

import json
import sys
from pathlib import Path

import numpy as np
from absl import app, flags
from PIL import Image, ImageDraw, ImageFont, ImageOps
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

THRESHOLDS = np.arange(10) / 10  # 0.0, 0.1 … 0.9

# What the article reports: validation MSE, Pearson, accuracy. The 61% it gives for conv2_48 is the
# share of cats among the pictures predicted cat at threshold 0.9, not an accuracy.
ARTICLE = {
    "mlp":         (0.50, None, 0.50),
    "conv1":       (0.36, 0.152, None),
    "conv2_48":    (0.33, 0.21, None),
    "conv2_128":   (0.247, 0.30, 0.67),
    "conv2_fc512": (None, 0.42, 0.75),
}


def checked(predictions: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 (n,). Raises ValueError for anything that no metric could mean."""
    predictions, labels = np.asarray(predictions, float), np.asarray(labels, float)
    if predictions.ndim != 1 or predictions.shape != labels.shape:
        raise ValueError(f"predictions {predictions.shape} and labels {labels.shape} must be two "
                         "vectors of one length")
    if not len(labels):
        raise ValueError("there are no predictions to measure")
    if not np.isfinite(predictions).all():
        raise ValueError(f"{np.count_nonzero(~np.isfinite(predictions))} predictions are not "
                         "finite numbers")
    if not np.isin(labels, (0, 1)).all():
        wrong = labels[~np.isin(labels, (0, 1))][0]
        raise ValueError(f"a label is {wrong:g}: labels are 1 for a cat and 0 for a dog")
    return predictions, labels


def mean_squared_error(predictions: np.ndarray, labels: np.ndarray) -> float:
    """The mean of (prediction - label)^2. Always answering 0.5 gives 0.25."""
    predictions, labels = checked(predictions, labels)
    return float(np.mean((predictions - labels) ** 2))


def pearson(predictions: np.ndarray, labels: np.ndarray) -> float:
    """Pearson's correlation: covariance over the product of the standard deviations, -1 to 1.

    NaN where it is undefined: predictions, or labels, that are all the same have no deviation.
    """
    predictions, labels = checked(predictions, labels)
    if np.ptp(predictions) == 0 or np.ptp(labels) == 0:
        return float("nan")
    p, y = predictions - predictions.mean(), labels - labels.mean()
    return float(p @ y / np.sqrt((p @ p) * (y @ y)))


def says_cat(predictions: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """The article's rule, as bools: "If the model predicts a value higher than some threshold t,
    then predict cat. Else predict dog."

    In float32, as a network answers: its 0.1 is a little more than the 0.1 of float64.
    """
    return np.asarray(predictions, np.float32) > np.asarray(thresholds, np.float32)


def accuracies(predictions: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The share that is right at each of THRESHOLDS, float64 (10,)."""
    predictions, labels = checked(predictions, labels)
    cat = says_cat(predictions[:, None], THRESHOLDS)  # (n, 10)
    return np.mean(cat == (labels == 1)[:, None], axis=0)


def best_accuracy(predictions: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """The highest of the ten accuracies, and its threshold (the lowest of equal ones)."""
    accuracy = accuracies(predictions, labels)
    return float(accuracy.max()), float(THRESHOLDS[accuracy.argmax()])


def mistakes(predictions: np.ndarray, labels: np.ndarray, threshold: float) -> np.ndarray:
    """Which pictures are answered wrongly at the threshold: their indices, the surest first."""
    predictions, labels = checked(predictions, labels)
    wrong = np.flatnonzero(says_cat(predictions, threshold) != labels)
    return wrong[np.argsort(-np.abs(predictions - labels)[wrong], kind="stable")]


def measure(predictions: np.ndarray, labels: np.ndarray) -> dict:
    """All of the above as one record of plain numbers; an undefined Pearson is None."""
    correlation = pearson(predictions, labels)
    accuracy, threshold = best_accuracy(predictions, labels)
    return {"mse": mean_squared_error(predictions, labels),
            "pearson": None if np.isnan(correlation) else correlation,
            "best_accuracy": accuracy, "threshold": threshold,
            "accuracies": accuracies(predictions, labels).tolist()}


def measure_at(threshold: float, predictions: np.ndarray, labels: np.ndarray) -> dict:
    """The measures of pictures that nothing was chosen on, at a threshold chosen elsewhere."""
    record = measure(predictions, labels)
    return {"pictures": len(labels), "mse": record["mse"], "pearson": record["pearson"],
            "threshold": threshold, "accuracy": record["accuracies"][round(10 * threshold)]}


def rank(record: dict) -> tuple[float, float]:
    """What makes one epoch better than another: its best accuracy, then a lower error."""
    return record["best_accuracy"], -record["mse"]


def pearson_text(pearson: float | None) -> str:
    return "undefined (all predictions are equal)" if pearson is None else f"{pearson:.3f}"


def read_predictions(run: Path) -> tuple[list[Path], np.ndarray, np.ndarray]:
    """A run's validation pictures: their files, predictions (n,) and labels (n,).

    Raises ValueError, with the reason, for a folder that is not a whole run's.
    """
    try:
        lines = (run / "predictions.jsonl").read_text().splitlines()
        records = [json.loads(line) for line in lines]
        files = [Path(record["file"]) for record in records]
        return files, *checked([record["probability"] for record in records],
                               [record["label"] for record in records])
    except OSError as error:
        raise ValueError(f"{run} is not the folder of a run: {error.filename}: "
                         f"{error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{run} is damaged: its predictions.jsonl is not what train.py writes "
                         f"({type(error).__name__}: {error})") from error


# ---------------------------------------------------------------------------------------------
# The table of runs
# ---------------------------------------------------------------------------------------------

COLUMNS = ("run", "network", "lr", "epoch", "MSE", "article", "Pearson", "article", "accuracy",
           "article", "test", "time", "pictures")


# What in a configuration makes the layers, and what it is for the article's networks.
LAYERS = {"input_size": [94, 125], "kernel_size": 3, "stride": 1, "pooling": "max",
          "filters": None, "hidden": None}


def as_typed(flag: str, value: int | str | list[int]) -> str:
    """("hidden", [512, 64]) -> "--hidden=512,64"."""
    if isinstance(value, list):
        value = ("x" if flag == "input_size" else ",").join(map(str, value))
    return f"--{flag}={value}"


def row(run: Path) -> list[str]:
    """A run's best epoch beside the article's figures. Raises ValueError unless it is whole."""
    try:
        record = json.loads((run / "config.json").read_text())
        epochs = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        if not epochs:
            raise ValueError(f"{run} has no finished epoch yet")
        best = max(epochs, key=rank)
        test_file = run / "test.json"
        tested = json.loads(test_file.read_text())["accuracy"] if test_file.exists() else None
        config = record["config"]
        mse, correlation, accuracy = ARTICLE[config["arch"]]
        others = [as_typed(flag, config[flag]) for flag, usual in LAYERS.items()
                  if config.get(flag, usual) != usual]
        return [
            run.name, " ".join([config["arch"], *others]), f"{config['lr']:g}",
            f"{best['epoch']}/{len(epochs)}", f"{best['mse']:.3f}", either(mse, ".3f"),
            "undefined" if best["pearson"] is None else f"{best['pearson']:.3f}",
            either(correlation, ".3f"), f"{best['best_accuracy']:.1%}", either(accuracy, ".0%"),
            either(tested, ".1%"),
            f"{sum(epoch['seconds'] for epoch in epochs):.0f} s",
            "drawn" if record["data"]["bundled_sample"] else "photographs"]
    except OSError as error:
        raise ValueError(f"{run} is not the folder of a run: {error.filename}: "
                         f"{error.strerror}") from error
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{run} is damaged: its config.json, metrics.jsonl or test.json is not "
                         f"what train.py writes ({type(error).__name__}: {error})") from error


def either(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


# ---------------------------------------------------------------------------------------------
# The pictures of a run
# ---------------------------------------------------------------------------------------------

def most_undecided(predictions: np.ndarray) -> np.ndarray:
    """Indices of all predictions, the one nearest to a half first."""
    return np.argsort(np.abs(predictions - 0.5), kind="stable")


def write(page: Image.Image, x: int, y: int, words: str, size: int, anchor: str = "la") -> None:
    ImageDraw.Draw(page).text((x, y), words, "black", ImageFont.load_default(size), anchor)


def short_name(file: Path) -> str:
    """The name in letters that the font has, at most 190 pixels wide: shortened in its middle."""
    name = short = ascii(file.name)[1:-1]
    while ImageFont.load_default(17).getlength(short) > 190:
        name = name[:-1]
        short = f"{name}…{short[-9:]}"
    return short


def thumbnail(file: Path) -> Image.Image:
    """192x144, grey where the picture has another shape; one that is gone or broken says so."""
    try:
        with Image.open(file) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
        return ImageOps.pad(upright, (192, 144), color="lightgrey")
    except Exception:  # a broken file can make a decoder raise nearly anything
        page = Image.new("RGB", (192, 144), "lightgrey")
        write(page, 96, 72, "can't be read now", 17, "mm")
        return page


def mistakes_sheet(name: str, files: list[Path], predictions: np.ndarray,
                   labels: np.ndarray) -> Image.Image:
    """The surest mistakes and the most undecided pictures, twelve of each."""
    _, threshold = best_accuracy(predictions, labels)
    wrong = mistakes(predictions, labels, threshold)
    page = Image.new("RGB", (1200, 1000), "white")
    write(page, 4, 14, f"Where {name} goes wrong", 30)
    write(page, 4, 64, f"Surest, and wrong (of {len(wrong)} mistakes in {len(files)} validation "
          f"pictures; it says cat above {threshold:.1f})", 22)
    write(page, 4, 540, "Most undecided", 22)
    for top, chosen in ((100, wrong), (576, most_undecided(predictions))):
        for place, index in enumerate(chosen[:12]):
            x, y = place % 6 * 202, top + place // 6 * 210
            cat, animal = predictions[index], "cat" if labels[index] else "dog"
            says = f"{cat:.1%} cat" if says_cat(cat, threshold) else f"{1 - cat:.1%} dog"
            page.paste(thumbnail(files[index]), (x, y))
            write(page, x + 2, y + 148, short_name(files[index]), 17)
            write(page, x + 2, y + 170, f"a {animal}; it says {says}", 17)
    return page


def histogram(name: str, predictions: np.ndarray, labels: np.ndarray) -> Image.Image:
    """How often each probability is answered, to cats and to dogs: two histograms.

    The notebook plots the same numbers as points, predictions against labels.
    """
    record = measure(predictions, labels)
    threshold = record["threshold"]
    page = Image.new("RGB", (1200, 750), "white")
    draw = ImageDraw.Draw(page)
    write(page, 4, 14, f"What {name} answers to cats, and to dogs", 30)
    write(page, 4, 60, "Each bar: how many pictures got this probability. Right of the line, at "
          f"{threshold:.1f}, it says cat. Accuracy {record['best_accuracy']:.1%}, Pearson "
          f"{pearson_text(record['pearson'])}, MSE {record['mse']:.3f}.", 17)
    right = says_cat(predictions, threshold) == labels
    counts = [[np.histogram(predictions[(labels == label) & (right == side)], 20, (0, 1))[0]
               for side in (True, False)] for label in (1, 0)]  # [cats, dogs][right, wrong][bar]
    highest = np.sum(counts, axis=1).max()
    line = 40 + round(1120 * threshold)
    for animal, floor, colours, bars in (("cats", 380, ("#ffb040", "#ffe3bd"), counts[0]),
                                         ("dogs", 680, ("#50a0ff", "#c5e0ff"), counts[1])):
        write(page, 4, floor - 268, f"{np.sum(bars)} {animal}: {bars[0].sum()} right, "
              f"{bars[1].sum()} wrong (pale)", 22)
        for number, parts in enumerate(zip(*bars)):
            x, y = 40 + 56 * number, floor
            for count, colour in zip(parts, colours):  # the wrong ones stand on the right ones
                if count:
                    draw.rectangle([x + 2, y - round(200 * count / highest), x + 53, y], colour)
                y -= round(200 * count / highest)
            write(page, x + 28, y - 4, str(sum(parts) or ""), 15, "mb")
        draw.line([40, floor, 1160, floor], "black", 2)
        draw.line([line, floor - 230, line, floor], "black", 2)
    for number in range(11):
        write(page, 40 + 112 * number, 690, f"{number / 10:.1f}", 17, "ma")
    write(page, 600, 718, "probability of a cat", 17, "ma")
    return page


def write_pictures(run: Path) -> list[Path]:
    """mistakes.png and histogram.png in the run's folder. Raises ValueError, OSError."""
    files, predictions, labels = read_predictions(run)
    name = ascii(run.resolve().name)[1:-1][:50]  # in letters that the font has
    mistakes_sheet(name, files, predictions, labels).save(run / "mistakes.png")
    histogram(name, predictions, labels).save(run / "histogram.png")
    return [run / "mistakes.png", run / "histogram.png"]


def main(argv: list[str]) -> None:
    runs = [*argv[1:], *([RUN.value] if RUN.value else [])]
    if not runs:
        sys.exit("name the folders of runs: python metrics.py runs/*")
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in COLUMNS:
        table.add_column(column, style="dim" if column == "article" else None, no_wrap=True,
                         justify="left" if column in ("run", "network", "pictures") else "right")
    unfit, written = False, []
    for run in map(Path, runs):
        try:
            table.add_row(*map(Text, row(run)))
            if PICTURES.value:
                written += write_pictures(run)
        except (ValueError, OSError) as error:  # the other runs are still worth their rows
            print(error, file=sys.stderr)
            unfit = True
    if table.rows:  # at its full width: a narrow terminal may wrap a line, never cut a figure
        Console(width=200).print(table)
    for file in written:
        print(file)
    sys.exit(int(unfit))


if __name__ == "__main__":
    RUN = flags.DEFINE_string("run", None, "the folder of a run, like those named without a flag")
    PICTURES = flags.DEFINE_bool(
        "pictures", False, "write each run's worst mistakes and the histogram of its predictions "
        "into its folder")
    app.run(main)
