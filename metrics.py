"""How good are the predictions? The article's three measures, and its table of networks.

    python metrics.py runs/*    # every run beside the article's figures

Mean squared error, the Pearson correlation of predictions and labels, and the accuracy at ten
thresholds, on NumPy arrays: predictions (n,), the probability of a cat; labels (n,), 1 for a cat
and 0 for a dog.
"""

import json
import sys
from pathlib import Path

import numpy as np
from absl import app
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


def accuracies(predictions: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The share that is right at each of THRESHOLDS, float64 (10,).

    The article's rule: "If the model predicts a value higher than some threshold t, then predict
    cat. Else predict dog."
    """
    predictions, labels = checked(predictions, labels)
    # In float32, as a network answers: its 0.1 is a little more than the 0.1 of float64.
    says_cat = predictions.astype(np.float32)[:, None] > THRESHOLDS.astype(np.float32)  # (n, 10)
    return np.mean(says_cat == (labels == 1)[:, None], axis=0)


def best_accuracy(predictions: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """The highest of the ten accuracies, and its threshold (the lowest of equal ones)."""
    accuracy = accuracies(predictions, labels)
    return float(accuracy.max()), float(THRESHOLDS[accuracy.argmax()])


def measure(predictions: np.ndarray, labels: np.ndarray) -> dict:
    """All of the above as one record of plain numbers; an undefined Pearson is None."""
    correlation = pearson(predictions, labels)
    accuracy, threshold = best_accuracy(predictions, labels)
    return {"mse": mean_squared_error(predictions, labels),
            "pearson": None if np.isnan(correlation) else correlation,
            "best_accuracy": accuracy, "threshold": threshold,
            "accuracies": accuracies(predictions, labels).tolist()}


def rank(record: dict) -> tuple[float, float]:
    """What makes one epoch better than another: its best accuracy, then a lower error."""
    return record["best_accuracy"], -record["mse"]


def pearson_text(pearson: float | None) -> str:
    return "undefined (all predictions are equal)" if pearson is None else f"{pearson:.3f}"


# ---------------------------------------------------------------------------------------------
# The table of runs
# ---------------------------------------------------------------------------------------------

def read_run(run: Path) -> tuple[dict, list[dict]]:
    """A run's config.json, and its epochs' records. Raises ValueError if either is not whole."""
    try:
        settings = json.loads((run / "config.json").read_text())
        lines = (run / "metrics.jsonl").read_text().splitlines()
        records = [json.loads(line) for line in lines]
        settings["config"]["arch"], [rank(record) for record in records]
    except OSError as error:
        raise ValueError(f"{run} is not the folder of a run: {error.filename}: "
                         f"{error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{run} is damaged: its config.json or metrics.jsonl is not what "
                         f"train.py writes ({error})") from error
    if not records:
        raise ValueError(f"{run} has no finished epoch yet")
    return settings, records


def runs_table(runs: list[Path]) -> Table:
    """One row a run, its best epoch beside the article's figures for the network."""
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("run", "network", "lr", "epoch", "MSE", "article", "Pearson", "article",
                   "accuracy", "article", "time"):
        table.add_column(column, justify="left" if column in ("run", "network") else "right",
                         style="dim" if column == "article" else None, no_wrap=True)
    for run in runs:
        settings, records = read_run(run)
        config, best = settings["config"], max(records, key=rank)
        mse, correlation, accuracy = ARTICLE[config["arch"]]
        drawn = " (drawn sample)" if settings["data"]["bundled_sample"] else ""
        table.add_row(
            Text(run.name + drawn), config["arch"], f"{config['lr']:g}",
            f"{best['epoch']}/{len(records)}", f"{best['mse']:.3f}", either(mse, "{:.3f}"),
            either(best["pearson"], "{:.3f}"), either(correlation, "{:.3f}"),
            f"{best['best_accuracy']:.1%}", either(accuracy, "{:.0%}"),
            f"{sum(record['seconds'] for record in records):.0f} s")
    return table


def either(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)


def main(argv: list[str]) -> None:
    if not argv[1:]:
        sys.exit("name the folders of runs: python metrics.py runs/*")
    try:
        table = runs_table([Path(run) for run in argv[1:]])
    except ValueError as error:
        sys.exit(str(error))
    # Off a terminal, rich would take 80 columns and cut the figures.
    Console(width=None if sys.stdout.isatty() else 160).print(table)


if __name__ == "__main__":
    app.run(main)
