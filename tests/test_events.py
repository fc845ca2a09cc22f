"""What TensorBoard reads: read back with TensorFlow, beside metrics.jsonl and NumPy."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from support import event_file, summary
from support.tensorflow_setup import tf
from test_train import tiny_config, tiny_dataset, train_run

FIGURES = {"training/loss": "train_loss", "training/pictures_per_second": "pictures_per_second",
           "validation/loss": "valid_loss",
           "validation/mse": "mse", "validation/pearson": "pearson",
           "validation/best_accuracy": "best_accuracy", "validation/threshold": "threshold"}


def read_events(run: Path) -> list:
    """All events of a run, in the order in which TensorBoard reads them."""
    return [event for file in sorted(run.glob("*tfevents*"))
            for event in tf.compat.v1.train.summary_iterator(str(file))]


def shown(summary) -> dict:
    """{(plugin, tag): its array}."""
    values = {(value.metadata.plugin_data.plugin_name, value.tag): tf.make_ndarray(value.tensor)
              for value in summary.value}
    assert len(values) == len(summary.value)
    return values


def summary_of(predictions, labels) -> dict:
    """What is shown of made predictions."""
    labels = np.array(labels, np.float32)
    record = {"train_loss": 0.5, "valid_loss": 0.6, "learning_rate": 1e-3,
              "pictures_per_second": 9.0, "mse": 0.25, "pearson": None, "best_accuracy": 0.5,
              "threshold": 0.5}
    predictions = np.array(predictions, np.float32)
    return shown(event_file.epoch_summary(record, predictions, labels, ("cat", "dog")))


def test_a_runs_figures_are_those_of_metrics_jsonl_an_epoch_a_step(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)  # to import it would be an error
    config = tiny_config(epochs=4, schedule="onecycle", lr=1e-3)
    train_run(config, tiny_dataset(20), tmp_path)
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    version, start, *epochs = read_events(tmp_path)
    assert version.file_version == "brain.Event:2"
    assert [event.step for event in epochs] == [record["epoch"] for record in records]
    # Half a wave from 0.2 of all steps on: at 0.25, 0.5, 0.75 and 1 a 16th, 6, 11 and 16 16ths.
    rates = 1e-3 * (1 + np.cos(np.pi * np.array([1, 6, 11, 16]) / 16)) / 2
    for event, record, rate in zip(epochs, records, rates, strict=True):
        values = shown(event.summary)
        figures = {tag: value for (plugin, tag), value in values.items() if plugin == "scalars"}
        assert figures.pop("training/learning_rate") == pytest.approx(rate, abs=1e-9)
        assert figures == {tag: np.float32(record[name]) for tag, name in FIGURES.items()}
        assert all(value.shape == () for value in figures.values())


def test_an_epoch_can_be_seen_as_soon_as_it_is_over(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(summary, "print_epoch", lambda record, epochs: seen.append(
        [event.step for event in read_events(tmp_path) if event.HasField("summary")]))
    train_run(tiny_config(epochs=3), tiny_dataset(10), tmp_path)
    assert seen == [[1], [1, 2], [1, 2, 3]]


def test_a_second_start_has_a_file_of_its_own_and_marks_its_epochs_as_outdated(tmp_path):
    for first_epoch in (1, 3):
        with event_file.start(tmp_path, first_epoch) as file:
            event_file.write(file, first_epoch, summary=tf.compat.v1.Summary())
    assert len(list(tmp_path.glob("events.out.tfevents.*"))) == 2
    events = read_events(tmp_path)
    assert [event.WhichOneof("what") for event in events] == [
        "file_version", "session_log", "summary"] * 2
    assert [event.step for event in events] == [0, 1, 1, 0, 3, 3]
    assert all(event.session_log.status == tf.compat.v1.SessionLog.START for event in events[1::3])


def test_the_distributions_count_every_prediction_by_its_class():
    generator = np.random.default_rng(0)
    predictions = np.append(generator.random(300), [0, 1, 1]).astype(np.float32)
    labels = np.append(generator.integers(0, 2, 300), [0, 0, 1])
    values = summary_of(predictions, labels)
    for tag, label in (("predictions/cats", 1), ("predictions/dogs", 0)):
        low, high, counts = values["histograms", tag].T  # (20, 3)
        np.testing.assert_allclose(low, np.arange(20) / 20)
        np.testing.assert_allclose(high, np.arange(1, 21) / 20)
        by_hand = np.zeros(20)
        for prediction in predictions[labels == label]:
            by_hand[min(int(prediction * 20), 19)] += 1  # 1 itself belongs to the last
        np.testing.assert_array_equal(counts, by_hand)


def test_an_undefined_pearson_is_left_out():
    values = summary_of([0.5] * 4, [1, 0, 1, 0])
    assert {tag for plugin, tag in values if plugin == "scalars"} == {
        *FIGURES, "training/learning_rate"} - {"validation/pearson"}
