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


def mistakes(predictions: np.ndarray, labels: np.ndarray, threshold: float) -> np.ndarray:
    """Which pictures are answered wrongly at the threshold: their indices, the surest first."""
    predictions, labels = checked(predictions, labels)
    says_cat = predictions.astype(np.float32) > np.float32(threshold)
    wrong = np.flatnonzero(says_cat != (labels == 1))
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


# ---------------------------------------------------------------------------------------------
# The table of runs
# ---------------------------------------------------------------------------------------------

COLUMNS = ("run", "network", "lr", "epoch", "MSE", "article", "Pearson", "article", "accuracy",
           "article", "test", "time", "pictures")


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
        mse, correlation, accuracy = ARTICLE[record["config"]["arch"]]
        return [
            run.name, record["config"]["arch"], f"{record['config']['lr']:g}",
            f"{best['epoch']}/{len(epochs)}", f"{best['mse']:.3f}", either(mse, ".3f"),
            "undefined" if best["pearson"] is None else f"{best['pearson']:.3f}",
            either(correlation, ".3f"), f"{best['best_accuracy']:.1%}", either(accuracy, ".0%"),
            either(tested, ".1%"),
            f"{sum(epoch['seconds'] for epoch in epochs):.0f} s",
            "drawn" if record["data"]["bundled_sample"] else "photographs"]
    except OSError as error:
        raise ValueError(f"{run} is not the folder of a run: {error.filename}: "
                         f"{error.strerror}") from error
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{run} is damaged: its config.json, metrics.jsonl or test.json is not "
                         f"what train.py writes ({type(error).__name__}: {error})") from error


def either(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def main(argv: list[str]) -> None:
    if not argv[1:]:
        sys.exit("name the folders of runs: python metrics.py runs/*")
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in COLUMNS:
        table.add_column(column, style="dim" if column == "article" else None, no_wrap=True,
                         justify="left" if column in ("run", "network", "pictures") else "right")
    unfit = False
    for run in argv[1:]:
        try:
            table.add_row(*map(Text, row(Path(run))))
        except ValueError as error:  # the other runs are still worth their rows
            print(error, file=sys.stderr)
            unfit = True
    if table.rows:  # at its full width: a narrow terminal may wrap a line, never cut a figure
        Console(width=200).print(table)
    sys.exit(int(unfit))


if __name__ == "__main__":
    app.run(main)
