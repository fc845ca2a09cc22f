"""The metrics against NumPy and by hand, and what they refuse."""

import itertools
import warnings

import numpy as np
import pytest

import metrics
import train
from support import run_folder, summary
from support.tensorflow_setup import tf


@pytest.fixture(params=range(5))
def pair(request):
    generator = np.random.default_rng(request.param)
    return generator.random(200, np.float32), generator.integers(0, 2, 200).astype(np.float32)


def test_mean_squared_error_by_hand():
    assert metrics.mean_squared_error([1.0, 0.5, 0.0, 0.25], [1, 1, 1, 0]) == pytest.approx(
        (0 + 0.25 + 1 + 0.0625) / 4)


@pytest.mark.parametrize("constant, mse", [(0, 0.5), (1, 0.5), (0.5, 0.25)])
def test_the_mse_of_a_constant_on_balanced_classes(constant, mse):
    assert metrics.mean_squared_error(np.full(8, constant), [0, 1] * 4) == mse


def test_pearson_equals_numpys(pair):
    assert metrics.pearson(*pair) == pytest.approx(np.corrcoef(*pair)[0, 1], rel=1e-5)


def test_pearson_is_one_for_any_rising_line_and_minus_one_for_a_falling_one():
    labels = np.array([0, 1, 1, 0, 1])
    assert metrics.pearson(0.2 + 0.1 * labels, labels) == pytest.approx(1)
    assert metrics.pearson(0.9 - 0.3 * labels, labels) == pytest.approx(-1)


@pytest.mark.parametrize("constant", [0.0, 1.0, 0.1, np.float32(1e-30)])
def test_constant_predictions_have_no_pearson_and_cause_no_warning(constant):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        measured = metrics.measure(np.full(10, constant), [0, 1] * 5)
    assert np.isnan(metrics.pearson(np.full(10, constant), [0, 1] * 5))
    assert measured["pearson"] is None
    assert summary.pearson_text(None) == "undefined (all predictions or all labels are equal)"
    assert measured["accuracies"] == [0.5] * 10


def test_accuracy_counts_as_cat_what_exceeds_the_threshold():
    predictions, labels = [0.0, 0.35, 0.65, 0.95], [0, 1, 0, 1]
    #   t = 0.0: all but the first are cats -> right, right, wrong, right …
    by_hand = [3, 3, 3, 3, 2, 2, 2, 3, 3, 3]
    np.testing.assert_allclose(metrics.accuracies(predictions, labels), np.array(by_hand) / 4)
    assert metrics.best_accuracy(predictions, labels) == (0.75, 0.0)


def test_mistakes_are_what_the_threshold_gets_wrong_the_most_confident_first():
    predictions = [0.9, 0.45, 0.2, 0.1, 0.6, 0.35, 0.45]
    labels = [0, 0, 0, 1, 1, 1, 0]
    # At 0.4: wrong are three dogs, by 0.9, 0.45 and 0.45, and two cats, by 0.9 and 0.65.
    assert metrics.mistakes(predictions, labels, 0.4).tolist() == [0, 3, 5, 1, 6]
    assert metrics.mistakes(predictions, labels, 0.9).tolist() == [3, 5, 4]
    assert metrics.mistakes([0.9, 0.2], [1, 0], 0.5).tolist() == []


def test_mistakes_are_as_many_as_the_accuracy_leaves(pair):
    for threshold, accuracy in zip(metrics.THRESHOLDS, metrics.accuracies(*pair), strict=True):
        assert len(metrics.mistakes(*pair, threshold)) == round(200 * (1 - accuracy))


def test_a_prediction_on_the_threshold_is_a_dog():
    assert metrics.accuracies([0.5], [0])[5] == 1
    assert metrics.accuracies([0.5], [0])[4] == 0
    for step, threshold in enumerate(np.arange(10, dtype=np.float32) / 10):
        assert metrics.accuracies(np.array([threshold], np.float32), [0])[step] == 1


def test_accuracy_equals_a_loop(pair):
    predictions, labels = pair
    for step, accuracy in enumerate(metrics.accuracies(predictions, labels)):
        right = sum((p > np.float32(step / 10)) == (y == 1)
                    for p, y in zip(predictions, labels, strict=True))
        assert accuracy == pytest.approx(right / 200)


def test_metrics_do_not_depend_on_the_order(pair):
    order = np.random.default_rng(9).permutation(200)
    shuffled = metrics.measure(pair[0][order], pair[1][order])
    for name, value in metrics.measure(*pair).items():
        assert shuffled[name] == pytest.approx(value)


@pytest.mark.parametrize("predictions, labels, reason", [
    ([0.1, 0.2], [1], "two vectors of one length"),
    ([[0.1, 0.2]], [[1, 0]], "two vectors of one length"),
    ([], [], "one length, which is not 0"),
    ([0.1, np.nan, np.inf], [1, 0, 1], "predictions must be finite"),
    ([0.1, 0.2], [1, 2], "labels 1 for the positive class, 0 for the other"),
    ([0.1, 0.2], [np.nan, 0], "labels 1 for the positive class, 0 for the other"),
])
def test_what_no_metric_is_defined_for_is_refused(predictions, labels, reason):
    for metric in (metrics.mean_squared_error, metrics.pearson, metrics.accuracies,
                   metrics.best_accuracy, metrics.measure):
        with pytest.raises(ValueError, match=reason):
            metric(np.array(predictions), np.array(labels))


def test_the_best_epoch_is_that_of_the_best_accuracy_then_of_the_lower_error_then_the_first():
    good, better, best = ({"best_accuracy": 0.6, "mse": 0.2}, {"best_accuracy": 0.7, "mse": 0.3},
                          {"best_accuracy": 0.7, "mse": 0.25})
    for history in itertools.permutations([best, good, better]):
        assert run_folder.best_epoch(list(history)) is best
    assert run_folder.best_epoch([good, better]) is run_folder.best_epoch([better, good]) is better
    assert run_folder.best_epoch([good, best, {**best}]) is best


def test_measures_at_a_threshold_by_hand():
    record = metrics.measure_at(0.3, np.array([0.9, 0.35, 0.2, 0.1]), np.array([1, 0, 1, 0]))
    assert record["pictures"] == 4 and record["threshold"] == 0.3 and record["accuracy"] == 0.5
    assert record["mse"] == pytest.approx((0.01 + 0.1225 + 0.64 + 0.01) / 4)
    assert metrics.measure_at(0.1, np.ones(4), np.array([1, 0, 1, 0]))["pearson"] is None


@pytest.mark.parametrize("right, count, low, high", [
    (40, 50, 0.6696, 0.8876),   # prop.test(40, 50, correct = FALSE) of R
    (1, 2, 0.0945, 0.9055), (10, 10, 0.7225, 1.0), (0, 10, 0.0, 0.2775),
    (9325, 10000, 0.9274, 0.9373)])
def test_wilsons_interval(right, count, low, high):
    assert metrics.wilson_interval(right / count, count) == pytest.approx((low, high), abs=1e-4)
    low, high = metrics.wilson_interval(right / count, count)
    for p in (low, high):  # both ends are 1.96 standard deviations away
        assert abs(right / count - p) == pytest.approx(1.96 * (p * (1 - p) / count) ** 0.5)


def test_cross_entropy_is_kerass_and_that_of_the_logits():
    logits, labels = np.array([-30, -2, 0.5, 3, 30], np.float32), np.array([1, 0, 1, 0, 1.0])
    probabilities = tf.sigmoid(logits).numpy()
    assert metrics.cross_entropy(probabilities, labels) == pytest.approx(
        float(tf.keras.losses.binary_crossentropy(labels, probabilities)), rel=1e-4)
    assert metrics.cross_entropy(probabilities[1:], labels[1:]) == pytest.approx(
        float(train.cross_entropy_loss(labels[1:].astype(np.float32), logits[1:])), rel=1e-5)
    assert metrics.cross_entropy([1.0], [0]) == pytest.approx(-np.log(1e-7), rel=1e-6)


def test_the_confusion_matrix_by_hand():
    predictions, labels = np.array([0.9, 0.4, 0.6, 0.2, 0.7]), np.array([1, 1, 0, 0, 0])
    assert metrics.confusion_matrix(predictions, labels, 0.5).tolist() == [[1, 1], [2, 1]]
    assert metrics.confusion_matrix(predictions[:2], labels[:2], 0.5).tolist() == [[1, 1], [0, 0]]
