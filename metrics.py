"""How good are the predictions? The article's three measures, and its table of networks.

    python metrics.py runs/*                        # every run beside the article's figures
    python metrics.py --run=runs/NAME --pictures    # and where it goes wrong, as two pictures

Mean squared error, the Pearson correlation of predictions and labels, and the accuracy at ten
thresholds, on NumPy arrays: predictions (n,), the probability of the positive class (cat); labels
(n,), 1 for that class and 0 for the other (dog).
"""

import sys
from pathlib import Path

import numpy as np
from absl import app, flags
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from support import cli, drawing, report, run_folder, run_pages
from support.cli import UserError

THRESHOLDS = np.arange(10) / 10  # 0.0, 0.1 … 0.9

# What the article reports, or, for mlp and the MSE of conv2_128, its notebook: validation MSE,
# Pearson, accuracy. The 61% that it gives for conv2_48 is no accuracy but the precision at
# threshold 0.9: how many of the images predicted cat are cats.
ARTICLE = {
    "mlp":         (0.50, None, 0.50),
    "conv1":       (0.36, 0.152, None),
    "conv2_48":    (0.33, 0.21, None),
    "conv2_128":   (0.247, 0.30, 0.67),
    "conv2_fc512": (None, 0.42, 0.75),
}


# ---------------------------------------------------------------------------------------------
# The measures
# ---------------------------------------------------------------------------------------------

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
        raise ValueError(f"a label is {wrong:g}: labels are 1 for the positive class, 0 for the "
                         "other")
    return predictions, labels


def mean_squared_error(predictions: np.ndarray, labels: np.ndarray) -> float:
    """The mean of (prediction - label)^2. Predicting 0.5 always gives 0.25."""
    predictions, labels = checked(predictions, labels)
    return float(np.mean((predictions - labels) ** 2))


def pearson(predictions: np.ndarray, labels: np.ndarray) -> float:
    """Pearson's correlation: covariance over the product of the standard deviations, -1 to 1.

    NaN where it is undefined: where all predictions, or all labels, are the same, a standard
    deviation is 0.
    """
    predictions, labels = checked(predictions, labels)
    if np.ptp(predictions) == 0 or np.ptp(labels) == 0:
        return float("nan")
    p, y = predictions - predictions.mean(), labels - labels.mean()
    return float(p @ y / np.sqrt((p @ p) * (y @ y)))


def predicted_labels(predictions: np.ndarray, thresholds: np.ndarray | float) -> np.ndarray:
    """The article's rule: "If the model predicts a value higher than some threshold t, then
    predict cat. Else predict dog." As bools, True for cat, the positive class.

    Compared in float32, the precision of a network's output: its 0.1 is a little more than the
    0.1 of float64.
    """
    return np.asarray(predictions, np.float32) > np.asarray(thresholds, np.float32)


def accuracies(predictions: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The share that is right at each of THRESHOLDS, float64 (10,)."""
    predictions, labels = checked(predictions, labels)
    predicted = predicted_labels(predictions[:, None], THRESHOLDS)  # (n, 10)
    return np.mean(predicted == labels[:, None], axis=0)


def best_accuracy(predictions: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """The highest of the ten accuracies, and its threshold (the lowest of equal ones)."""
    accuracy = accuracies(predictions, labels)
    return float(accuracy.max()), float(THRESHOLDS[accuracy.argmax()])


def mistakes(predictions: np.ndarray, labels: np.ndarray, threshold: float) -> np.ndarray:
    """The indices of what is predicted wrongly at the threshold, the most confident first."""
    predictions, labels = checked(predictions, labels)
    wrong = np.flatnonzero(predicted_labels(predictions, threshold) != labels)
    return wrong[np.argsort(-np.abs(predictions - labels)[wrong], kind="stable")]


def measure(predictions: np.ndarray, labels: np.ndarray) -> dict:
    """MSE, Pearson and accuracies as one record of plain numbers; an undefined Pearson is None."""
    correlation = pearson(predictions, labels)
    accuracy, threshold = best_accuracy(predictions, labels)
    return {"mse": mean_squared_error(predictions, labels),
            "pearson": None if np.isnan(correlation) else correlation,
            "best_accuracy": accuracy, "threshold": threshold,
            "accuracies": accuracies(predictions, labels).tolist()}


def measure_at(threshold: float, predictions: np.ndarray, labels: np.ndarray) -> dict:
    """The measures of held-out images, at a threshold that validation chose: 0.0, 0.1 … 0.9."""
    record = measure(predictions, labels)
    return {"pictures": len(labels), "mse": record["mse"], "pearson": record["pearson"],
            "threshold": threshold, "accuracy": record["accuracies"][round(10 * threshold)]}


# ---------------------------------------------------------------------------------------------
# The table of runs
# ---------------------------------------------------------------------------------------------

COLUMNS = ("run", "network", "lr", "epoch", "MSE", "article", "Pearson", "article", "accuracy",
           "article", "test", "time", "pictures")

# The settings that change the layers, as they are in the article: a row names those that differ.
LAYERS = {"input_size": [94, 125], "kernel_size": 3, "stride": 1, "pooling": "max",
          "filters": None, "hidden": None}


def row(run: Path) -> list[str]:
    """A run's best epoch beside the article's figures. Raises UserError unless it is whole."""
    record, history = run_folder.read_config(run), run_folder.read_history(run)
    test, best = run_folder.read_test(run), run_folder.best_epoch(history)
    if best is None:
        raise UserError(f"{run} has no finished epoch yet")
    with run_folder.damage_told(run, "config.json, metrics.jsonl or test.json"):
        config = record["config"]
        class_names = run_folder.class_names_of(record)
        as_in_article = {*class_names} == {"cat", "dog"}
        mse, correlation, accuracy = ARTICLE[config["arch"]] if as_in_article else 3 * (None,)
        changed = [as_flag(name, config[name]) for name, usual in LAYERS.items()
                   if config[name] != usual]
        return [
            run.name, " ".join([config["arch"], *changed]), f"{config['lr']:g}",
            f"{best['epoch']}/{len(history)}", f"{best['mse']:.3f}", or_dash(mse, ".3f"),
            "undefined" if best["pearson"] is None else f"{best['pearson']:.3f}",
            or_dash(correlation, ".3f"), f"{best['best_accuracy']:.1%}", or_dash(accuracy, ".0%"),
            or_dash(test and test["accuracy"], ".1%"),
            f"{sum(epoch['seconds'] for epoch in history):.0f} s",
            "drawn" if record["data"]["bundled_sample"]
            else "photographs" if as_in_article else ", ".join(class_names)]


def as_flag(name: str, value: int | str | list[int]) -> str:
    """("hidden", [512, 64]) -> "--hidden=512,64"."""
    if isinstance(value, list):
        value = ("x" if name == "input_size" else ",").join(map(str, value))
    return f"--{name}={value}"


def or_dash(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def write_pages(run: Path) -> list[Path]:
    """mistakes.png and histogram.png in the run's folder. Raises UserError, OSError."""
    files, predictions, labels = run_folder.read_predictions(run)
    class_names = run_folder.read_class_names(run)
    record = measure(predictions, labels)
    threshold = record["threshold"]
    summary = (f"Accuracy {record['best_accuracy']:.1%}, Pearson "
               f"{report.pearson_text(record['pearson'])}, MSE {record['mse']:.3f}.")
    run_name = drawing.printable(run.resolve().name)[:50]
    predicted = predicted_labels(predictions, threshold)
    pages = {
        "mistakes.png": run_pages.mistakes_page(
            files, predictions, labels, predicted, mistakes(predictions, labels, threshold),
            threshold, run_name, class_names),
        "histogram.png": run_pages.histogram_page(
            predictions, labels, predicted, threshold, summary, run_name, class_names)}
    for name, page in pages.items():
        page.save(run / name)
    return [run / name for name in pages]


# ---------------------------------------------------------------------------------------------
# The command
# ---------------------------------------------------------------------------------------------

def define_flags() -> None:
    flags.DEFINE_string("run", None, "the folder of a run, like those named without a flag")
    flags.DEFINE_bool(
        "pictures", False, "write each run's worst mistakes and the histogram of its predictions "
        "into its folder")


@cli.script(arguments=True)
def main(argv: list[str]) -> None:
    runs = [*argv[1:], *([flags.FLAGS.run] if flags.FLAGS.run else [])]
    if not runs:
        raise UserError("name the folders of runs: python metrics.py runs/*")
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in COLUMNS:
        table.add_column(column, style="dim" if column == "article" else None, no_wrap=True,
                         justify="left" if column in ("run", "network", "pictures") else "right")
    complete, written = True, []
    for run in map(Path, runs):
        try:
            table.add_row(*map(Text, row(run)))
            if flags.FLAGS.pictures:
                written += write_pages(run)
        except (UserError, OSError) as error:  # the other runs are still worth their rows
            print(cli.one_sentence(error), file=sys.stderr)
            complete = False
    if table.rows:  # at its full width: a narrow terminal may wrap a line, never cut a figure
        Console(width=1000).print(table)
    for file in written:
        print(file)
    sys.exit(0 if complete else 1)


if __name__ == "__main__":
    define_flags()
    app.run(main)
