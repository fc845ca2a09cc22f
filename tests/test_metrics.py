"""The metrics against NumPy and by hand, what they refuse, and the table of runs."""

import json
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import metrics
from support import report, run_folder
from support.cli import UserError


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
    assert report.pearson_text(None) == "undefined (all predictions are equal)"
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
    ([], [], "no predictions to measure"),
    ([0.1, np.nan, np.inf], [1, 0, 1], "2 predictions are not finite"),
    ([0.1, 0.2], [1, 2], "a label is 2"),
    ([0.1, 0.2], [np.nan, 0], "a label is nan"),
])
def test_what_no_metric_could_mean_is_refused(predictions, labels, reason):
    for metric in (metrics.mean_squared_error, metrics.pearson, metrics.accuracies,
                   metrics.best_accuracy, metrics.measure):
        with pytest.raises(ValueError, match=reason):
            metric(np.array(predictions), np.array(labels))


def test_selection_key_prefers_accuracy_then_the_lower_error():
    good, better, best = ({"best_accuracy": 0.6, "mse": 0.2}, {"best_accuracy": 0.7, "mse": 0.3},
                          {"best_accuracy": 0.7, "mse": 0.25})
    assert sorted([best, good, better], key=run_folder.selection_key) == [good, better, best]


ARTICLES_LAYERS = {"input_size": [94, 125], "kernel_size": 3, "stride": 1, "pooling": "max",
                   "filters": None, "hidden": None}


def make_run(folder, arch, epochs, sample=False, **options):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({
        "format": run_folder.FORMAT,
        "config": {"arch": arch, "lr": 1e-5} | ARTICLES_LAYERS | options,
        "data": {"bundled_sample": sample}}))
    (folder / "metrics.jsonl").write_text("".join(
        json.dumps({"epoch": number, "mse": mse, "pearson": pearson, "best_accuracy": accuracy,
                    "seconds": 10.0}) + "\n"
        for number, (mse, pearson, accuracy) in enumerate(epochs, start=1)))
    return folder


def test_the_table_shows_each_runs_best_epoch_beside_the_article(run_script, tmp_path):
    make_run(tmp_path / "runs" / "a", "conv2_128", [(0.3, 0.2, 0.61), (0.2, 0.5, 0.731),
                                                    (0.21, 0.45, 0.729)])
    (tmp_path / "runs" / "a" / "test.json").write_text(json.dumps({"accuracy": 0.712}))
    make_run(tmp_path / "runs" / "b", "mlp", [(0.5, None, 0.5)], sample=True)
    result = run_script("metrics.py", "runs/a", "runs/b")
    assert result.returncode == 0
    a, b = [line.split() for line in result.stdout.splitlines() if "conv2" in line or "mlp" in line]
    assert a == ["a", "conv2_128", "1e-05", "2/3", "0.200", "0.247", "0.500", "0.300", "73.1%",
                 "67%", "71.2%", "30", "s", "photographs"]
    assert b == ["b", "mlp", "1e-05", "1/1", "0.500", "0.500", "undefined", "–", "50.0%", "50%",
                 "–", "10", "s", "drawn"]


@pytest.mark.parametrize("config, network", [
    ({"filters": None, "hidden": None, "pooling": "max", "input_size": [94, 125]}, "conv1"),
    ({"filters": None, "hidden": [512, 64]}, "conv1 --hidden=512,64"),
    ({"filters": [], "hidden": None}, "conv1 --filters="),
    ({"input_size": [32, 43], "kernel_size": 5, "stride": 2, "pooling": "average"},
     "conv1 --input_size=32x43 --kernel_size=5 --stride=2 --pooling=average")])
def test_a_network_of_other_layers_is_not_given_out_as_the_articles(config, network, tmp_path):
    assert metrics.row(make_run(tmp_path / "a", "conv1", [(0.3, 0.2, 0.6)], **config))[1] == network


def test_a_long_name_cuts_no_figure(run_script, tmp_path):
    make_run(tmp_path / "runs" / ("long " * 40), "conv1", [(0.3, 0.2, 0.61)])
    assert "61.0%" in run_script("metrics.py", "runs/" + "long " * 40).stdout


def test_a_run_that_is_not_whole_costs_the_others_nothing(run_script, tmp_path):
    make_run(tmp_path / "runs" / "good", "conv1", [(0.3, 0.2, 0.61)])
    make_run(tmp_path / "runs" / "young", "conv1", [])
    result = run_script("metrics.py", "runs/good", "runs/young")
    assert result.returncode == 1
    assert "61.0%" in result.stdout
    assert result.stderr == "runs/young has no finished epoch yet\n"


def test_a_run_of_another_version_is_refused(run_script, tmp_path):
    make_run(tmp_path / "runs/good", "conv1", [(0.3, 0.2, 0.61)])
    config = make_run(tmp_path / "runs/old", "conv1", [(0.3, 0.2, 0.61)]) / "config.json"
    record = json.loads(config.read_text())
    del record["format"]  # as before there was one
    config.write_text(json.dumps(record))
    result = run_script("metrics.py", "runs/old", "runs/good")
    assert result.returncode == 1 and "61.0%" in result.stdout
    assert result.stderr == ("runs/old was written by another version of train.py, which this one "
                             "cannot read: train it again, or use the version that wrote it\n")


def test_measures_at_a_threshold_by_hand():
    record = metrics.measure_at(0.3, np.array([0.9, 0.35, 0.2, 0.1]), np.array([1, 0, 1, 0]))
    assert record["pictures"] == 4 and record["threshold"] == 0.3 and record["accuracy"] == 0.5
    assert record["mse"] == pytest.approx((0.01 + 0.1225 + 0.64 + 0.01) / 4)
    assert metrics.measure_at(0.1, np.ones(4), np.array([1, 0, 1, 0]))["pearson"] is None


# ---------------------------------------------------------------------------------------------
# Predictions, and the pages drawn of them
# ---------------------------------------------------------------------------------------------

def add_predictions(run, files, predictions, labels):
    (run / "predictions.jsonl").write_text("".join(
        json.dumps({"file": str(file), "label": label, "probability": probability}) + "\n"
        for file, probability, label in zip(files, predictions, labels, strict=True)))


def test_the_pages_of_a_run_from_the_command_line(run_script, tmp_path):
    run = make_run(tmp_path / "runs" / "mine", "conv1", [(0.3, 0.2, 0.61)])
    files = [tmp_path / f"{number}.png" for number in range(6)]
    for file in files:
        Image.new("RGB", (20, 15), "red").save(file)
    add_predictions(run, files, [0.9, 0.97, 0.05, 0.35, 0.52, 0.1], [1, 0, 1, 0, 1, 0])
    result = run_script("metrics.py", "--run=runs/mine", "--pictures")
    assert result.returncode == 0 and result.stderr == "" and "61.0%" in result.stdout
    assert result.stdout.split()[-2:] == ["runs/mine/mistakes.png", "runs/mine/histogram.png"]
    for name in ("mistakes", "histogram"):
        with Image.open(run / f"{name}.png") as page:
            assert page.width == 1200


def test_predictions_come_back_as_they_were_written(tmp_path):
    names = ["a.jpg", 'quoted "\n" name.jpg', "猫.jpg", os.fsdecode(b"\xff.jpg")]
    add_predictions(tmp_path, names, [0.25, 0.5, 0.75, 1.0], [1, 0, 1, 0])
    files, predictions, labels = run_folder.read_predictions(tmp_path)
    assert files == [Path(name) for name in names]
    assert predictions.tolist() == [0.25, 0.5, 0.75, 1.0] and labels.tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize("text, reason", [
    ("", "there are no predictions"), ("{", "JSONDecodeError"), ("3", "TypeError"),
    ('{"file": "a"}', "KeyError"),
    ('{"file": "a", "label": 2, "probability": 0.5}', "label 2, probability 0.5"),
    ('{"file": "a", "label": 1, "probability": NaN}', "label 1, probability nan")])
def test_damaged_predictions_are_refused(text, reason, tmp_path):
    with pytest.raises(UserError, match="is not the folder of a run: .*No such file"):
        metrics.write_pages(tmp_path)
    (tmp_path / "predictions.jsonl").write_text(text)
    with pytest.raises(UserError, match=f"predictions.jsonl is not what train.py.*{reason}"):
        metrics.write_pages(tmp_path)
