"""How good are the predictions? The article's three measures.

Mean squared error, the Pearson correlation of predictions and labels, and the accuracy at ten
thresholds, on NumPy arrays: predictions (n,), the probability of the positive class (cat); labels
(n,), 1 for that class and 0 for the other (dog). `report.py` shows them for whole runs.
"""

from math import sqrt

import numpy as np

THRESHOLDS = np.arange(10) / 10  # 0.0, 0.1 … 0.9; the article does not say which ten


def checked(predictions: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 (n,). Raises ValueError for input that no metric is defined for."""
    predictions, labels = np.asarray(predictions, float), np.asarray(labels, float)
    if not (predictions.ndim == 1 and predictions.shape == labels.shape and len(labels)
            and np.isfinite(predictions).all() and np.isin(labels, (0, 1)).all()):
        raise ValueError(f"predictions {predictions.shape} and labels {labels.shape} must be two "
                         "vectors of one length, which is not 0; predictions must be finite, and "
                         "labels 1 for the positive class, 0 for the other")
    return predictions, labels


def mean_squared_error(predictions: np.ndarray, labels: np.ndarray) -> float:
    """The mean of (prediction - label)^2. Predicting 0.5 always gives 0.25."""
    predictions, labels = checked(predictions, labels)
    return float(np.mean((predictions - labels) ** 2))


def cross_entropy(predictions: np.ndarray, labels: np.ndarray) -> float:
    """Binary cross-entropy, the mean of -[y log p + (1 - y) log(1 - p)] for label y, prediction p.

    It is what train.cross_entropy_loss computes of logits. A float32 prediction can be 0 or 1,
    whose logarithm is infinite: it is kept 1e-7 away from both, as in Keras.
    """
    predictions, labels = checked(predictions, labels)
    p = predictions.clip(1e-7, 1 - 1e-7)
    return float(-np.mean(labels * np.log(p) + (1 - labels) * np.log(1 - p)))


LOSSES = {"mse": mean_squared_error, "bce": cross_entropy}  # by the value of --loss


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

    Compared in float32, the precision of a network's output: otherwise a float32 prediction of 0.1
    would count as above 0.1.
    """
    return np.asarray(predictions, np.float32) > np.asarray(thresholds, np.float32)


def accuracies(predictions: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The accuracy at each of THRESHOLDS, float64 (10,)."""
    predictions, labels = checked(predictions, labels)
    predicted = predicted_labels(predictions[:, None], THRESHOLDS)  # (n, 10)
    return np.mean(predicted == labels[:, None], axis=0)


def best_accuracy(predictions: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """The highest of the ten accuracies, and the lowest threshold that has it."""
    accuracy = accuracies(predictions, labels)
    return float(accuracy.max()), float(THRESHOLDS[accuracy.argmax()])


Z = 1.96  # 95% of a normal distribution are within so many standard deviations of its mean


def wilson_interval(accuracy: float, count: int) -> tuple[float, float]:
    """The 95% interval of an accuracy that was measured on `count` images: its two ends, 0 to 1.

    Were each image right with the probability p, the measured accuracy would have the standard
    deviation sqrt(p (1 - p) / count). The interval holds every p that is at most Z of these away
    from the measured accuracy: its ends solve (accuracy - p)^2 = Z^2 p (1 - p) / count.
    Source: Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927.
    """
    z2 = Z ** 2 / count
    middle = (accuracy + z2 / 2) / (1 + z2)
    half = sqrt(z2 * accuracy * (1 - accuracy) + z2 ** 2 / 4) / (1 + z2)
    return middle - half, middle + half


def confusion_matrix(predictions: np.ndarray, labels: np.ndarray, threshold: float) -> np.ndarray:
    """How many images of each class are predicted as each class, int (2, 2).

    Row: the label, column: the prediction; first the positive class.
    """
    predictions, labels = checked(predictions, labels)
    positive, predicted = labels == 1, predicted_labels(predictions, threshold)
    return np.array([[np.sum(of_class & as_class) for as_class in (predicted, ~predicted)]
                     for of_class in (positive, ~positive)])


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
            "accuracy_interval": [*wilson_interval(accuracy, len(labels))],
            "accuracies": accuracies(predictions, labels).tolist()}


def measure_at(threshold: float, predictions: np.ndarray, labels: np.ndarray) -> dict:
    """The measures of held-out images, at a threshold that validation chose: 0.0, 0.1 … 0.9."""
    record = measure(predictions, labels)
    accuracy = record["accuracies"][round(10 * threshold)]
    return {"pictures": len(labels), "mse": record["mse"], "pearson": record["pearson"],
            "threshold": threshold, "accuracy": accuracy,
            "accuracy_interval": [*wilson_interval(accuracy, len(labels))],
            "confusion_matrix": confusion_matrix(predictions, labels, threshold).tolist()}
