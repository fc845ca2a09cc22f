"""Losses and Adam against Keras, the loop's promises, and train.py as a user runs it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import data
import models
import numpy as np
import pytest
import tensorflow as tf
import train
from absl import flags
from absl.testing import flagsaver
from conftest import ROOT

GENERATOR = np.random.default_rng(0)
SMALL = ("--arch=conv1", "--input_size=24x32", "--scaling=unit", "--lr=1e-3", "--epochs=3",
         "--batch_size=5")


# ---------------------------------------------------------------------------------------------
# Losses and Adam
# ---------------------------------------------------------------------------------------------

def test_losses_equal_kerass():
    logits = GENERATOR.normal(0, 5, 50).astype(np.float32)
    labels = GENERATOR.integers(0, 2, 50).astype(np.float32)
    np.testing.assert_allclose(
        train.binary_cross_entropy(labels, logits),
        tf.keras.losses.BinaryCrossentropy(from_logits=True)(labels, logits), rtol=1e-5)
    np.testing.assert_allclose(
        train.mean_squared_error(labels, logits),
        tf.keras.losses.MeanSquaredError()(labels, tf.sigmoid(logits)), rtol=1e-5)


def test_losses_by_hand():
    zero = np.zeros(1, np.float32)
    assert float(train.binary_cross_entropy(zero + 1, zero)) == pytest.approx(np.log(2))
    assert float(train.mean_squared_error(zero + 1, zero)) == 0.25
    # Far out, where log(sigmoid) would be log(0): the loss is the logit itself.
    assert float(train.binary_cross_entropy(zero, zero + 1000)) == 1000


@pytest.mark.parametrize("loss", train.LOSSES)
def test_gradients_of_the_losses_equal_kerass(loss):
    labels = GENERATOR.integers(0, 2, 20).astype(np.float32)
    logits = tf.Variable(GENERATOR.normal(0, 3, 20).astype(np.float32))
    with tf.GradientTape(persistent=True) as tape:
        ours = train.LOSSES[loss](labels, logits)
        theirs = (tf.keras.losses.BinaryCrossentropy(from_logits=True)(labels, logits)
                  if loss == "bce" else
                  tf.keras.losses.MeanSquaredError()(labels, tf.sigmoid(logits)))
    np.testing.assert_allclose(tape.gradient(ours, logits), tape.gradient(theirs, logits),
                               rtol=1e-4, atol=1e-7)


def test_adam_equals_kerass_over_twenty_steps():
    start = GENERATOR.normal(size=(6, 4)).astype(np.float32)
    ours, theirs = tf.Variable(start), tf.Variable(start)
    adam = train.Adam([ours], lr=0.01)
    keras_adam = tf.keras.optimizers.Adam(0.01, epsilon=1e-7)
    for _ in range(20):
        gradient = tf.constant(GENERATOR.normal(size=(6, 4)).astype(np.float32))
        adam.apply([gradient])
        keras_adam.apply_gradients([(gradient, theirs)])
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_adams_first_step_is_the_learning_rate_against_the_gradients_sign():
    variable = tf.Variable([1.0, 1.0])
    train.Adam([variable], lr=0.1).apply([tf.constant([3.0, -0.2])])
    np.testing.assert_allclose(variable, [0.9, 1.1], rtol=1e-4)


# ---------------------------------------------------------------------------------------------
# The step and the loop
# ---------------------------------------------------------------------------------------------

def tiny_config(**changes) -> train.Config:
    return train.Config(**{**dict(arch="conv1", lr=1e-3, epochs=2, batch_size=4, loss="bce",
                                  seed=0, input_size=(12, 14), kernel_size=3, stride=1,
                                  pooling="max", scaling="unit", init="glorot"),
                           **changes})


def tiny_dataset(count=10) -> data.Dataset:
    images = GENERATOR.integers(0, 256, (2 * count, 12, 14, 3), dtype=np.uint8)
    labels = np.resize([1, 0], 2 * count).astype(np.float32)
    return data.Dataset(images[count:], labels[count:], [], images[:count], labels[:count], [], [])


def test_a_training_step_moves_the_weights_as_keras_does():
    network = tiny_config().make_network()
    twin = tf.keras.Sequential([
        tf.keras.Input((12, 14, 3)), tf.keras.layers.Rescaling(1 / 255),
        tf.keras.layers.Conv2D(24, 3, activation="relu"), tf.keras.layers.MaxPooling2D(),
        tf.keras.layers.Flatten(), tf.keras.layers.Dense(128, activation="relu"),
        tf.keras.layers.Dense(128, activation="relu"), tf.keras.layers.Dense(1)])
    weights = [part for layer in network.layers if layer.weights
               for part in (layer.kernel, layer.bias)]
    twin.set_weights([weight.numpy() for weight in weights])
    twin.compile(tf.keras.optimizers.Adam(1e-3), tf.keras.losses.BinaryCrossentropy(True))
    step, _ = train.compile_steps(network, train.Adam(network.trainable_variables, 1e-3),
                                  train.binary_cross_entropy)
    dataset = tiny_dataset(16)
    for _ in range(3):
        ours = step(dataset.train_images, dataset.train_labels)
        theirs = twin.train_on_batch(dataset.train_images.astype(np.float32),
                                     dataset.train_labels)
        twin.reset_metrics()
        np.testing.assert_allclose(ours, theirs, rtol=1e-4)
    for weight, expected in zip(weights, twin.get_weights()):
        np.testing.assert_allclose(weight, expected, atol=2e-5)


def test_each_step_is_traced_once_also_for_the_smaller_last_batch():
    network = tiny_config().make_network()
    train_step, eval_step = train.compile_steps(
        network, train.Adam(network.trainable_variables, 1e-3), train.mean_squared_error)
    dataset = tiny_dataset(10)
    for size in (4, 4, 2, 1):
        train_step(dataset.train_images[:size], dataset.train_labels[:size])
        eval_step(dataset.valid_images[:size])
    assert train_step.experimental_get_tracing_count() == 1
    assert eval_step.experimental_get_tracing_count() == 1


@pytest.mark.parametrize("count, batch_size", [(10, 4), (8, 4), (3, 64), (1, 1)])
def test_an_epochs_batches_hold_every_picture_once(count, batch_size):
    drawn = list(train.batches(count, batch_size, seed=0, epoch=1))
    assert sorted(np.concatenate(drawn)) == list(range(count))
    assert [len(batch) for batch in drawn[:-1]] == [batch_size] * (len(drawn) - 1)


def test_the_order_follows_from_seed_and_epoch():
    def order(seed, epoch):
        return np.concatenate(list(train.batches(100, 10, seed, epoch))).tolist()

    assert order(0, 1) == order(0, 1)
    assert order(0, 1) != order(0, 2) and order(0, 1) != order(1, 1)
    assert order(0, 1) != list(range(100))


def test_predictions_are_sigmoids_of_the_networks_answers():
    network = tiny_config().make_network()
    _, eval_step = train.compile_steps(network, train.Adam([], 1.0), train.mean_squared_error)
    images = tiny_dataset(10).valid_images
    expected = 1 / (1 + np.exp(-network(images).numpy()))
    np.testing.assert_allclose(train.predict(eval_step, images, 4), expected, rtol=1e-5)


def test_the_saved_weights_give_the_best_epochs_metrics_again(tmp_path):
    config, dataset = tiny_config(epochs=4), tiny_dataset(20)
    best, interrupted = train.train_and_evaluate(config, dataset, tmp_path)
    assert not interrupted
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in records] == [1, 2, 3, 4] and best in records
    assert best["best_accuracy"] == max(record["best_accuracy"] for record in records)

    network = tiny_config(seed=99).make_network()
    tf.train.Checkpoint(network=network).read(str(tmp_path / "weights")).assert_consumed()
    predictions = 1 / (1 + np.exp(-network(dataset.valid_images).numpy()))
    assert np.mean((predictions - dataset.valid_labels) ** 2) == pytest.approx(best["mse"], rel=1e-4)


def test_two_runs_with_one_seed_are_equal_and_with_two_are_not(tmp_path):
    dataset = tiny_dataset(20)

    def losses(name, seed):
        (tmp_path / name).mkdir()
        train.train_and_evaluate(tiny_config(seed=seed), dataset, tmp_path / name)
        records = map(json.loads, (tmp_path / name / "metrics.jsonl").read_text().splitlines())
        return [(record["train_loss"], record["mse"], record["accuracies"]) for record in records]

    assert losses("a", 0) == losses("b", 0)
    assert losses("a2", 0) != losses("c", 1)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    with pytest.raises(train.TrainingError, match="epoch 1, step [12].*smaller --lr than 1e"):
        train.train_and_evaluate(tiny_config(lr=1e38), tiny_dataset(10), tmp_path)


def test_predictions_that_are_not_finite_stop_the_run(tmp_path):
    # One step in the epoch: its loss is still that of the first weights.
    with pytest.raises(train.TrainingError, match="predictions after epoch 1 are not finite"):
        train.train_and_evaluate(tiny_config(lr=1e38, batch_size=10), tiny_dataset(10), tmp_path)


def test_the_defaults_are_named_for_every_network():
    assert list(train.SETTINGS) == list(models.ARCHITECTURES)


# ---------------------------------------------------------------------------------------------
# A run, as a user starts it
# ---------------------------------------------------------------------------------------------

def test_a_run_prints_its_story_and_leaves_its_record(run_script, photos, tmp_path):
    result = run_script("train.py", *SMALL, f"--data_dir={photos}")
    assert result.returncode == 0
    assert result.stderr == ""  # none of TensorFlow's start-up chatter
    assert f"{photos}: 18 pictures to train on, 6 to validate on" in result.stdout
    assert result.stdout.count("validation: MSE") == 3
    assert "best accuracy" in result.stdout and "runs/conv1-1/" in result.stdout

    run = tmp_path / "runs/conv1-1"
    record = json.loads((run / "config.json").read_text())
    assert record["config"] == {
        "arch": "conv1", "lr": 1e-3, "epochs": 3, "batch_size": 5, "loss": "bce", "seed": 0,
        "input_size": [24, 32], "kernel_size": 3, "stride": 1, "pooling": "max",
        "scaling": "unit", "init": "he"}
    assert record["data"] == {"folder": str(photos), "bundled_sample": False, "train_size": 18,
                              "valid_size": 6, "skipped": []}
    assert record["versions"]["tensorflow"] == tf.__version__
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 3
    assert {file.name for file in run.iterdir()} == {
        "config.json", "metrics.jsonl", "weights.index", "weights.data-00000-of-00001"}


def test_two_runs_on_one_machine_print_identical_numbers(run_script, photos, tmp_path):
    for _ in range(2):
        assert run_script("train.py", *SMALL, f"--data_dir={photos}").returncode == 0
    first, second = ([{**json.loads(line), "seconds": 0, "pictures_per_second": 0}
                      for line in (tmp_path / f"runs/conv1-{n}/metrics.jsonl").open()]
                     for n in (1, 2))
    assert first == second


def test_it_learns_what_can_be_learned(run_script, photos):
    result = run_script("train.py", *SMALL, f"--data_dir={photos}", "--epochs=12")
    assert "best accuracy 100.0%" in result.stdout


def test_without_photographs_it_says_that_it_trains_on_the_sample(run_script, tmp_path):
    result = run_script("train.py", "--arch=mlp", "--epochs=1", "--train_size=20",
                        "--valid_size=10", "--input_size=12x16")
    assert result.returncode == 0
    assert "NO PHOTOGRAPHS in data/: training on the drawn pictures of sample/" in result.stdout
    assert "python data.py --download" in result.stdout
    assert "20 pictures to train on, 10 to validate on" in result.stdout
    record = json.loads((tmp_path / "runs/mlp-1/config.json").read_text())
    assert record["data"]["bundled_sample"]


def test_broken_pictures_are_named_and_recorded(run_script, photos, tmp_path):
    (photos / "cat.0.png").write_bytes(b"")
    result = run_script("train.py", *SMALL, f"--data_dir={photos}", "--epochs=1")
    assert f"skipped {photos / 'cat.0.png'}: empty file" in result.stdout
    record = json.loads((tmp_path / "runs/conv1-1/config.json").read_text())
    assert record["data"]["skipped"] == [{"file": str(photos / "cat.0.png"),
                                          "reason": "empty file"}]


def test_a_run_is_never_overwritten(run_script, refuses, photos, tmp_path):
    arguments = (*SMALL, f"--data_dir={photos}", "--epochs=1", "--name=mine")
    assert run_script("train.py", *arguments).returncode == 0
    before = (tmp_path / "runs/mine/metrics.jsonl").read_bytes()
    assert "runs/mine exists, and a run is never overwritten" in refuses("train.py", *arguments)
    assert (tmp_path / "runs/mine/metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize("flag, sentence", [
    ("--arch=resnet", "should be one of <mlp|conv1|conv2_48|conv2_128|conv2_fc512>"),
    ("--lr=-1", "--lr=-1.0 must be a number above 0"),
    ("--lr=0", "--lr=0.0 must be a number above 0"),
    ("--lr=nan", "--lr=nan must be a number above 0"),
    ("--lr=fast", "flag --lr=fast"),
    ("--epochs=0", "flag --epochs=0"),
    ("--batch_size=-3", "flag --batch_size=-3"),
    ("--seed=-1", "flag --seed=-1"),
    ("--loss=mae", "should be one of <mse|bce>"),
    ("--train_size=7", "--train_size=7 must be an even number of at least 2"),
    ("--train_size=1000", "12 of each class can be used"),
    ("--valid_size=0", "--valid_size=0 must be an even number of at least 2"),
    ("--input_size=100", "--input_size=100 is not HEIGHTxWIDTH"),
    ("--input_size=9000x9000", "use a smaller --input_size"),
    ("--kernel_size=200", "do not fit"),
    ("--name=a/b", "must be the name of one folder"),
    ("--name=..", "must be the name of one folder"),
    ("--data_dir=nowhere", "--data_dir=nowhere is not a folder"),
    ("--runs_dir=photos/cat.0.png", "photos/cat.0.png"),
    ("stray", "takes flags only, not 'stray'"),
    ("--no_such_flag", "no_such_flag"),
])
def test_a_wrong_flag_is_answered_in_one_sentence(flag, sentence, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with flagsaver.flagsaver():
        flags.FLAGS.unparse_flags()
        with pytest.raises((SystemExit, flags.Error)) as answer:  # app.run prints flags.Error
            train.main(flags.FLAGS(["train.py", f"--data_dir={photos}", flag]))
    assert sentence in str(answer.value)
    assert len(str(answer.value).splitlines()) == 1
    assert not list(tmp_path.glob("runs/*"))  # nothing is left behind


def test_wrong_flags_exit_with_1_and_no_traceback(refuses, photos):
    assert "should be one of <mlp|conv1|" in refuses("train.py", "--arch=resnet")
    assert "must be a number above 0" in refuses("train.py", "--lr=-1")
    assert "mlp has no convolution" in refuses("train.py", "--arch=mlp", "--stride=2",
                                               f"--data_dir={photos}")


def test_a_loss_that_runs_away_ends_in_one_sentence(refuses, photos):
    assert "try a smaller --lr" in refuses("train.py", *SMALL, "--lr=1e38",
                                           f"--data_dir={photos}")


def test_help_shows_three_groups_of_flags(run_script):
    result = run_script("train.py", "--help")
    assert result.returncode == 0
    groups = [result.stdout.index(f"\n{name}:\n") for name in ("data", "models")]
    assert result.stdout.index("--arch") < groups[0] < result.stdout.index("--data_dir:")
    assert groups[1] < result.stdout.index("--kernel_size:")


def start_long_run(folder: Path, photos: Path) -> subprocess.Popen:
    """A run of very many epochs, after its first."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *SMALL, f"--data_dir={photos}",
         "--epochs=100000", "--name=long"], cwd=folder, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    history = folder / "runs/long/metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (history.exists() and history.stat().st_size):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    return process


def test_ctrl_c_ends_cleanly_with_what_was_reached(photos, tmp_path):
    process = start_long_run(tmp_path, photos)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and errors == ""
    assert "Ctrl-C: finishing with what was reached" in output and "best epoch" in output
    records = (tmp_path / "runs/long/metrics.jsonl").read_text().splitlines()
    assert all(json.loads(record)["epoch"] == number
               for number, record in enumerate(records, start=1))
    assert (tmp_path / "runs/long/weights.index").exists()
