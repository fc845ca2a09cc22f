"""Losses and Adam against Keras, the loop's promises, and train.py as a user runs it."""

import contextlib
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from absl import flags

import data
import metrics
import models
import needs
import train
from conftest import ROOT, draw_photos, eagerly, make_network, write_config
from support import (
    checkpoints,
    cli,
    fast_convolution,
    run_folder,
    runs,
    saved_model,
    settings,
    summary,
    used_pictures,
)
from support.class_folders import LabeledImage, Source
from support.cli import UserError
from support.settings import Config
from support.tensorflow_setup import tf
from test_models import weights_in_keras_order

GENERATOR = np.random.default_rng(0)
SMALL = ("--arch=conv1", "--input_size=24x32", "--scaling=unit", "--lr=1e-3", "--epochs=3",
         "--batch_size=5", "--dtype=float32")


# ---------------------------------------------------------------------------------------------
# Losses and Adam
# ---------------------------------------------------------------------------------------------

def test_losses_equal_kerass():
    logits = GENERATOR.normal(0, 5, 50).astype(np.float32)
    labels = GENERATOR.integers(0, 2, 50).astype(np.float32)
    np.testing.assert_allclose(
        train.cross_entropy_loss(labels, logits),
        tf.keras.losses.BinaryCrossentropy(from_logits=True)(labels, logits), rtol=1e-5)
    np.testing.assert_allclose(
        train.squared_error_loss(labels, logits),
        tf.keras.losses.MeanSquaredError()(labels, tf.sigmoid(logits)), rtol=1e-5)


def test_losses_by_hand():
    zero = np.zeros(1, np.float32)
    assert float(train.cross_entropy_loss(zero + 1, zero)) == pytest.approx(np.log(2))
    assert float(train.squared_error_loss(zero + 1, zero)) == 0.25
    # Far out, where log(sigmoid) would be log(0): the loss is the logit itself.
    assert float(train.cross_entropy_loss(zero, zero + 1000)) == 1000


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
    adam = train.Adam([ours])
    keras_adam = tf.keras.optimizers.Adam(0.01, epsilon=1e-7)
    for _ in range(20):
        gradient = tf.constant(GENERATOR.normal(size=(6, 4)).astype(np.float32))
        adam.apply([gradient], 0.01)
        keras_adam.apply_gradients([(gradient, theirs)])
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_adam_equals_the_textbooks_formulas():
    start, gradients = GENERATOR.normal(size=(3, 2)), GENERATOR.normal(size=(9, 3, 2))
    variable = tf.Variable(start, dtype=tf.float32)
    adam = train.Adam([variable])
    weight, mean, square = start, 0.0, 0.0
    for steps, gradient in enumerate(gradients, 1):
        adam.apply([tf.constant(gradient, tf.float32)], 0.02)
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient ** 2
        correction = np.sqrt(1 - 0.999 ** steps) / (1 - 0.9 ** steps)
        weight = weight - 0.02 * correction * mean / (np.sqrt(square) + 1e-7)
    np.testing.assert_allclose(variable, weight, rtol=1e-4)
    np.testing.assert_allclose(adam.m[0], mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(adam.v[0], square, rtol=1e-3)


def test_adam_by_hand_equals_the_fused_operation():
    weights = [tf.Variable(GENERATOR.normal(size=shape).astype(np.float32))
               for shape in ((6, 4), (5,))]
    fused, by_hand = train.Adam(weights), train.Adam([tf.Variable(each) for each in weights])
    by_hand.update = by_hand.update_by_hand
    for rate in np.linspace(0.001, 0.02, 20):
        gradients = [tf.constant(GENERATOR.normal(size=weight.shape).astype(np.float32))
                     for weight in weights]
        for adam in (fused, by_hand):
            adam.apply(gradients, tf.constant(rate, tf.float32))
        for ours, expected in zip(by_hand.variables, fused.variables, strict=True):
            np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-7)


def test_adams_first_step_is_the_learning_rate_against_the_gradients_sign():
    variable = tf.Variable([1.0, 1.0])
    train.Adam([variable]).apply([tf.constant([3.0, -0.2])], 0.1)
    np.testing.assert_allclose(variable, [0.9, 1.1], rtol=1e-4)


def test_weight_decay_equals_kerass_adamw_and_spares_biases():
    start = GENERATOR.normal(size=(6, 4)).astype(np.float32)
    ours, theirs, bias = tf.Variable(start), tf.Variable(start), tf.Variable(start[0])
    adam = train.Adam([ours, bias], weight_decay=0.3)
    keras_adam = tf.keras.optimizers.AdamW(0.01, weight_decay=0.3, epsilon=1e-7)
    for _ in range(10):
        gradient = tf.constant(GENERATOR.normal(size=(6, 4)).astype(np.float32))
        adam.apply([gradient, tf.zeros(4)], 0.01)
        keras_adam.apply_gradients([(gradient, theirs)])
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(bias, start[0])


def test_the_learning_rate_is_constant_or_rises_and_falls_to_nothing():
    assert {train.learning_rate(tiny_config(), share / 10) for share in range(11)} == {1e-3}
    config = tiny_config(schedule="onecycle")
    # Up a straight line to 0.2, then half a wave: its middle at 0.6 is half the height.
    rates = [train.learning_rate(config, progress) for progress in (0, 0.1, 0.2, 0.6, 1)]
    np.testing.assert_allclose(rates, [0, 0.5e-3, 1e-3, 0.5e-3, 0], atol=1e-12)


# ---------------------------------------------------------------------------------------------
# The step and the loop
# ---------------------------------------------------------------------------------------------

def config_of(**chosen) -> Config:
    """The settings of a run without any flag, but for these."""
    defaults = {flag.name: flag.default
                for flag in settings.flags_of(flags.FLAGS, *train.SETTINGS)}
    return Config(**defaults | train.DEFAULTS[chosen["arch"]] | chosen)


def tiny_config(**changes) -> Config:
    return config_of(**dict(arch="conv1", lr=1e-3, epochs=2, batch_size=4, init="glorot",
                            input_size=(12, 14), scaling="unit") | changes)


def run_of(config: Config, dataset: data.Dataset, folder: Path) -> runs.Run:
    """A run in this folder whose images are found."""
    run = runs.Run(folder, Config(**vars(config) | {"classes": ["cat", "dog"]}),
                   contextlib.ExitStack(), is_new=not (folder / "config.json").exists())
    run.network, run.no_photographs = models.shapes_only(config), False
    files = [*dataset.train.files, *dataset.valid.files, *dataset.test.files]
    run.source = Source(files[0].parent, [LabeledImage(file, 1) for file in files], ("cat", "dog"))
    return run


def train_run(config: Config, dataset: data.Dataset, folder: Path) -> dict:
    """Train a run in this folder and test it; returns the best epoch's record, with "test"."""
    run = run_of(config, dataset, folder)
    with run.stack, eagerly(), pytest.MonkeyPatch.context() as monkeypatch:
        run.start(dataset)
        begins = config.start_from and run.begins()
        trained = models.load(Path(config.start_from)) if begins else None
        with run.training():
            train.train_and_evaluate(config, dataset, run, trained)
        monkeypatch.setattr(saved_model, "export", lambda *_: None)  # it is tested elsewhere
        train.finish(config, dataset, run)
    return run.best | ({"test": run_folder.read_test(folder)} if len(dataset.test.labels) else {})


def dataset_of(train, valid, test) -> data.Dataset:
    """A dataset of three pairs of images and labels, without files."""
    parts = [data.Part(images, labels, [Path(f"{name}{row}.jpg") for row in range(len(labels))])
             for name, (images, labels) in (("train", train), ("valid", valid), ("test", test))]
    return data.Dataset(*parts, skipped=[], class_names=("cat", "dog"))


def tiny_dataset(count=10) -> data.Dataset:
    """`count` images to train on and as many others to validate on, of tiny_config's size."""
    images = np.random.default_rng(count).integers(0, 256, (2 * count, 12, 14, 3), dtype=np.uint8)
    labels = np.resize([1, 0], 2 * count).astype(np.float32)
    return dataset_of((images[count:], labels[count:]), (images[:count], labels[:count]),
                      (images[:0], labels[:0]))


def steps_of(config: Config):
    """A network, and step(images, labels, learning_rate), whose seeds count the steps."""
    network = models.Network(config, fast_convolution.conv2d)
    train_step, _ = train.compile_steps(network, train.Adam(network.trainable_variables,
                                                            config.weight_decay), config)
    seeds = itertools.count()

    def step(images, labels, learning_rate):
        return train_step(images, labels, learning_rate, (config.seed, next(seeds)))

    return network, step


def weights_of(run: Path) -> str:
    """The checkpoint of its best epoch."""
    folder, = run.glob("best/*")
    return str(folder / "checkpoint")


def test_each_step_augments_by_a_seed_of_its_own_and_a_run_repeats_them():
    """Nothing is learned (lr 1e-30) and all pictures are one batch: only chance moves the loss."""
    config = tiny_config(arch="mlp", hidden=(4,), lr=1e-30, batch_size=20, epochs=4)
    dataset = tiny_dataset(20)

    def losses(**changes):
        _, step = steps_of(Config(**vars(config) | changes))
        with eagerly():
            return [float(step(dataset.train.images, dataset.train.labels, config.lr))
                    for _ in range(4)]

    assert len(set(losses())) == 1
    for changes in ({"flip": True}, {"shift": 3}, {"zoom": 0.5}, {"dropout": 0.5}):
        assert len(set(losses(**changes))) == 4
        assert losses(**changes) == losses(**changes)


def test_a_training_step_moves_the_weights_as_keras_does():
    network, step = steps_of(tiny_config())
    twin = tf.keras.Sequential([
        tf.keras.Input((12, 14, 3)), tf.keras.layers.Rescaling(1 / 255),
        tf.keras.layers.Conv2D(24, 3, activation="relu"), tf.keras.layers.MaxPooling2D(),
        tf.keras.layers.Flatten(), tf.keras.layers.Dense(128, activation="relu"),
        tf.keras.layers.Dense(128, activation="relu"), tf.keras.layers.Dense(1)])
    weights = weights_in_keras_order(network)
    twin.set_weights([weight.numpy() for weight in weights])
    twin.compile(tf.keras.optimizers.Adam(1e-3), tf.keras.losses.BinaryCrossentropy(True))
    dataset = tiny_dataset(16)
    for _ in range(3):
        ours = step(dataset.train.images, dataset.train.labels, 1e-3)
        theirs = twin.train_on_batch(dataset.train.images.astype(np.float32),
                                     dataset.train.labels)
        twin.reset_metrics()
        np.testing.assert_allclose(ours, theirs, rtol=1e-4)
    for weight, expected in zip(weights, twin.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, atol=2e-5)


def test_each_step_is_traced_once_also_for_the_smaller_last_batch():
    network = models.Network(tiny_config())
    train_step, eval_step = train.compile_steps(
        network, train.Adam(network.trainable_variables), tiny_config())
    dataset = tiny_dataset(10)
    for size in (4, 4, 2, 1):
        train_step(dataset.train.images[:size], dataset.train.labels[:size], 1e-3 / size,
                   (0, size))
        eval_step(dataset.valid.images[:size])
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


def test_predictions_are_sigmoids_of_the_networks_logits():
    network = models.Network(tiny_config())
    _, eval_step = train.compile_steps(network, train.Adam([]), tiny_config())
    images = tiny_dataset(10).valid.images
    expected = 1 / (1 + np.exp(-network(images).numpy()))
    np.testing.assert_allclose(train.predict_batches(eval_step, images, 4), expected, rtol=1e-5)


def test_the_saved_weights_give_the_best_epochs_metrics_again(tmp_path):
    config, dataset = tiny_config(epochs=4), tiny_dataset(20)
    best = train_run(config, dataset, tmp_path)
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in records] == [1, 2, 3, 4] and best in records
    assert best["best_accuracy"] == max(record["best_accuracy"] for record in records)

    network = models.Network(tiny_config(seed=99))
    tf.train.Checkpoint(network=network).read(weights_of(tmp_path)).assert_consumed()
    predictions = 1 / (1 + np.exp(-network(dataset.valid.images).numpy()))
    mse = np.mean((predictions - dataset.valid.labels) ** 2)
    assert mse == pytest.approx(best["mse"], rel=1e-4)


@needs.byte_names
def test_the_best_epochs_predictions_are_kept_under_any_name_of_a_file(tmp_path):
    dataset = tiny_dataset(20)
    names = ['a "quoted",\nname.jpg', "katze ä猫.jpg", os.fsdecode(b"no text \xff.jpg"), "\\.jpg"]
    dataset.valid.files = [tmp_path / f"{number}{names[number % 4]}" for number in range(20)]
    dataset.train.files = [tmp_path / file for file in dataset.train.files]
    best = train_run(tiny_config(epochs=4), dataset, tmp_path)
    lines = (tmp_path / "predictions.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert [Path(record["file"]) for record in records] == dataset.valid.files
    assert [record["label"] for record in records] == dataset.valid.labels.tolist()
    errors = [(record["probability"] - record["label"]) ** 2 for record in records]
    assert np.mean(errors) == pytest.approx(best["mse"], rel=1e-6)


def test_standard_scaling_takes_the_mean_and_the_std_of_all_training_pixels_of_a_colour(tmp_path):
    dataset = tiny_dataset(12)
    pixels = dataset.train.images
    train_run(tiny_config(epochs=1, scaling="standard"), dataset, tmp_path)
    scale = models.load(tmp_path).scale
    np.testing.assert_allclose(scale.mean, pixels.mean(axis=(0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(scale.std, pixels.std(axis=(0, 1, 2)), rtol=1e-6)


@pytest.mark.parametrize("scaling, mean, std", [("none", 0, 1), ("unit", 0, 255)])
def test_only_standard_scaling_takes_a_mean_and_a_std(scaling, mean, std, tmp_path):
    train_run(tiny_config(epochs=1, scaling=scaling), tiny_dataset(12), tmp_path)
    scale = models.load(tmp_path).scale
    assert scale.mean.numpy().tolist() == [mean] * 3
    assert scale.std.numpy().tolist() == [std] * 3


def test_a_runs_network_is_loaded_from_its_folder(tmp_path):
    config, dataset = tiny_config(epochs=2, dropout=0.5), tiny_dataset(20)
    best = train_run(config, dataset, tmp_path)
    network = models.load(tmp_path)
    predictions = 1 / (1 + np.exp(-network(dataset.valid.images).numpy()))
    assert np.mean((predictions - dataset.valid.labels) ** 2) == pytest.approx(best["mse"],
                                                                               rel=1e-4)
    first = models.Network(models.saved_options(tmp_path))
    for variable, expected in zip(first.trainable_variables,
                                  models.Network(config).trainable_variables, strict=True):
        np.testing.assert_array_equal(variable, expected)

    later = checkpoints.best_folder(tmp_path, {"epoch": 3})  # of an epoch that was not finished
    shutil.copytree(checkpoints.best_folder(tmp_path, best), later)
    for file in later.iterdir():
        file.write_text("torn")
    np.testing.assert_array_equal(models.load(tmp_path).kernels[0], network.kernels[0])
    shutil.rmtree(later)
    Path(weights_of(tmp_path)).with_suffix(".index").unlink()
    with pytest.raises(ValueError, match="weights are missing or not of this conv1"):
        models.load(tmp_path)
    (tmp_path / "config.json").write_text('{"format": 5}')
    with pytest.raises(ValueError, match="is damaged: its config.json is not what train.py"):
        models.load(tmp_path)
    with pytest.raises(ValueError, match="nowhere is not the folder of a run: .*No such file"):
        models.load(tmp_path / "nowhere")


def folders(parent: Path, *names: str) -> list[Path]:
    for name in names:
        (parent / name).mkdir()
    return [parent / name for name in names]


def test_a_run_begins_with_the_convolutions_of_another_one(tmp_path):
    dataset = tiny_dataset(20)
    first, second = folders(tmp_path, "first", "second")
    train_run(tiny_config(epochs=2), dataset, first)
    config = tiny_config(epochs=1, lr=1e-30, seed=1, start_from=str(first))
    train_run(config, dataset, second)
    trained, ours = models.load(first), models.load(second)
    np.testing.assert_array_equal(  # these are what the run began with
        run_folder.read_first_kernels(second)[0], trained.kernels[0].numpy().astype(np.float16))
    for mine, expected in zip(ours.trainable_variables[:2], trained.trainable_variables[:2],
                               strict=True):
        np.testing.assert_allclose(mine, expected, atol=1e-20)
    # The fully connected layers are those of the random seed.
    for mine, expected in zip(ours.trainable_variables[2:],
                               models.Network(config).trainable_variables[2:], strict=True):
        np.testing.assert_allclose(mine, expected, atol=1e-20)


def test_a_resumed_run_does_not_begin_again_with_the_convolutions_of_another_one(tmp_path):
    dataset = tiny_dataset(20)
    first, second, third = folders(tmp_path, "first", "second", "third")
    train_run(tiny_config(epochs=1), dataset, first)
    config = tiny_config(epochs=1, start_from=str(first))
    train_run(config, dataset, second)
    shutil.rmtree(first)  # it is needed no more
    config.epochs = 3
    train_run(config, dataset, second)
    first.mkdir()
    train_run(tiny_config(epochs=1), dataset, first)
    train_run(config, dataset, third)
    for one, other in zip(models.load(second).trainable_variables,
                          models.load(third).trainable_variables, strict=True):
        np.testing.assert_array_equal(one, other)


def test_convolutions_that_do_not_fit_are_refused_with_the_flags_that_help(tmp_path):
    first, = folders(tmp_path, "first")
    train_run(tiny_config(epochs=1), tiny_dataset(), first)
    models.check_convolutions(first, tiny_config(hidden=[7], input_size=(20, 30)))
    with pytest.raises(UserError) as error:
        models.check_convolutions(first, tiny_config(
            arch="conv2_48", kernel_size=5, pooling="average", scaling="none", stride=1))
    assert str(error.value) == (
        f"--start_from={first} has other convolutions than this network: add "
        "--kernel_size=3 --pooling=max --scaling=unit --filters=24")


def test_two_runs_with_one_seed_are_equal_and_with_two_are_not(tmp_path):
    dataset = tiny_dataset(20)

    def losses(name, seed):
        (tmp_path / name).mkdir()
        train_run(tiny_config(seed=seed), dataset, tmp_path / name)
        records = map(json.loads, (tmp_path / name / "metrics.jsonl").read_text().splitlines())
        return [(record["train_loss"], record["mse"], record["accuracies"]) for record in records]

    assert losses("a", 0) == losses("b", 0)
    assert losses("a2", 0) != losses("c", 1)


def test_an_epoch_records_the_rate_at_its_end(tmp_path):
    train_run(tiny_config(epochs=4, schedule="onecycle", lr=1e-3), tiny_dataset(20), tmp_path)
    # Half a wave from 0.2 of all steps on: at 0.25, 0.5, 0.75 and 1 a 16th, 6, 11 and 16 16ths.
    rates = 1e-3 * (1 + np.cos(np.pi * np.array([1, 6, 11, 16]) / 16)) / 2
    assert [record["learning_rate"] for record in run_folder.read_history(tmp_path)
            ] == pytest.approx(rates, abs=1e-9)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    with pytest.raises(cli.UserError,
                       match="step [12] in epoch 1 is not finite.*smaller --lr than 1e"):
        train_run(tiny_config(lr=1e38), tiny_dataset(10), tmp_path)


def test_predictions_that_are_not_finite_stop_the_run(tmp_path):
    # One step in the epoch: its loss is still that of the initial weights.
    with pytest.raises(cli.UserError, match="a prediction after epoch 1 is not finite"):
        train_run(tiny_config(lr=1e38, batch_size=10), tiny_dataset(10), tmp_path)


def test_the_test_images_are_predicted_by_the_best_weights_at_validations_threshold(tmp_path):
    dataset = tiny_dataset(20)
    dataset.test = data.Part(dataset.train.images[:10], dataset.train.labels[:10],
                             [Path(f"test{row}.jpg") for row in range(10)])
    best = train_run(tiny_config(epochs=4), dataset, tmp_path)
    network = models.Network(tiny_config(seed=99))
    tf.train.Checkpoint(network=network).read(weights_of(tmp_path)).expect_partial()
    predictions = 1 / (1 + np.exp(-network(dataset.test.images).numpy()))
    right = (predictions > best["threshold"]) == (dataset.test.labels == 1)
    record = json.loads((tmp_path / "test.json").read_text())
    assert record == best["test"] and record["pictures"] == 10
    assert record["accuracy"] == right.mean() and record["threshold"] == best["threshold"]
    assert record["mse"] == pytest.approx(np.mean((predictions - dataset.test.labels) ** 2),
                                          rel=1e-4)


@pytest.mark.parametrize("options", [
    {}, {"stride": 2}, {"pooling": "average"}, {"pooling": "none", "kernel_size": 5}])
def test_a_step_in_bfloat16_moves_the_weights_about_as_in_float32(options):
    dataset, losses = tiny_dataset(16), {}
    for dtype in ("float32", "bfloat16"):
        config = tiny_config(dtype=dtype, **options)
        _, step = steps_of(config)
        losses[dtype] = [float(step(dataset.train.images, dataset.train.labels, 1e-3))
                         for _ in range(6)]
    assert losses["float32"][-1] < losses["float32"][0]
    np.testing.assert_allclose(losses["bfloat16"], losses["float32"], rtol=0.02)
    assert losses["bfloat16"] != losses["float32"]


@pytest.mark.parametrize("arch", ["mlp", "conv2_48"])
def test_bfloat16_predicts_like_float32_to_its_eight_bits(arch):
    exact = make_network(arch, (40, 51), init="he")
    rounded = make_network(arch, (40, 51), init="he", dtype="bfloat16")
    images = GENERATOR.integers(0, 256, (4, 40, 51, 3), dtype=np.uint8)
    logits = rounded(images)
    assert logits.dtype == tf.float32
    assert all(weight.dtype == tf.float32 for weight in rounded.trainable_variables)
    expected = exact(images).numpy()
    np.testing.assert_allclose(logits, expected, atol=0.05 * np.abs(expected).max())
    assert (logits.numpy() != expected).any()


def test_the_learning_rate_and_the_decay_reach_the_optimizer(tmp_path, monkeypatch):
    """Where the loss has no gradient, only the decay moves a kernel: by lr * decay a step."""
    monkeypatch.setitem(train.LOSSES, "bce", lambda labels, logits: 0.0 * tf.reduce_sum(logits))
    config = tiny_config(schedule="onecycle", lr=1e-2, weight_decay=2.0, epochs=1, batch_size=4)
    train_run(config, tiny_dataset(10), tmp_path)  # 4, 4 and 2 pictures
    shrunk = np.prod([1 - 2.0 * train.learning_rate(config, (step + 0.5) / 3)
                      for step in range(3)])
    network = models.Network(tiny_config(seed=99))
    tf.train.Checkpoint(network=network).read(weights_of(tmp_path)).expect_partial()
    np.testing.assert_allclose(network.kernels[0], shrunk * models.Network(config).kernels[0],
                               rtol=1e-4, atol=1e-7)


def test_a_network_of_other_filters_and_units_comes_back_from_its_run(tmp_path):
    config, dataset = tiny_config(filters=(5, 7), hidden=(9,)), tiny_dataset(10)
    train_run(config, dataset, tmp_path)
    assert [kernel.shape for kernel in models.load(tmp_path).kernels] == [
        (3, 3, 3, 5), (3, 3, 5, 7), (14, 9), (9, 1)]  # 12x14 -> 10x12 -> 5x6 -> 3x4 -> 1x2, of 7


def test_the_defaults_are_named_for_every_network():
    assert train.DEFAULTS.keys() == models.NETWORKS.keys()
    options = {frozenset(defaults) for defaults in train.DEFAULTS.values()}
    assert options == {frozenset(["lr", "batch_size", "epochs", "loss", "init"])}


# ---------------------------------------------------------------------------------------------
# A run, as a user starts it
# ---------------------------------------------------------------------------------------------

def test_a_run_prints_its_story_and_leaves_its_record_and_a_second_one_its_numbers(
        run_alone, run_script, photos, tmp_path):
    result = run_alone("train.py", *SMALL, f"--data_dir={photos}")
    assert result.returncode == 0
    assert result.stderr == ""  # none of TensorFlow's start-up chatter
    assert f"{photos}: 18 pictures to train on, 6 to validate on" in result.stdout
    assert result.stdout.count("validation: loss") == 3
    assert "best accuracy" in result.stdout and "runs/conv1-1/" in result.stdout

    run = tmp_path / "runs/conv1-1"
    record = json.loads((run / "config.json").read_text())
    assert record["config"] == {
        "arch": "conv1", "lr": 1e-3, "epochs": 3, "batch_size": 5, "loss": "bce", "seed": 0,
        "input_size": [24, 32], "kernel_size": 3, "stride": 1, "pooling": "max",
        "scaling": "unit", "init": "adapted", "schedule": "constant", "flip": False, "shift": 0,
        "zoom": 0, "dropout": 0, "weight_decay": 0, "start_from": None, "tta": False,
        "filters": None, "hidden": None, "dtype": "float32", "data_dir": str(photos),
        "classes": ["cat", "dog"], "train_size": None, "valid_size": None, "test_size": 0}
    assert record["format"] == 5
    assert record["data"] == {"bundled_sample": False, "train_size": 18, "valid_size": 6,
                              "test_size": 0}
    assert record["versions"]["tensorflow"] == tf.__version__
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 3
    names = {file.name.rstrip("0123456789") for file in run.iterdir()}
    assert names == {"config.json", "pictures.jsonl", "metrics.jsonl", "predictions.jsonl", "best",
                     "first_kernels.npy", "checkpoints", "model", ".lock", "curves.png"}

    records = [json.loads(line) for line in (run / "metrics.jsonl").open()]
    best = max(records, key=lambda record: (record["best_accuracy"], -record["mse"]))
    model = tf.saved_model.load(str(run / "model"))
    assert model.threshold.numpy() == np.float32(best["threshold"])
    images = GENERATOR.integers(0, 256, (4, 24, 32, 3), dtype=np.uint8)
    expected = 1 / (1 + np.exp(-models.load(run)(images).numpy()))
    np.testing.assert_allclose(
        model.signatures["pixels"](images=tf.constant(images))["probability"], expected, rtol=1e-4)

    # Another process with the same flags prints identical numbers.
    assert run_script("train.py", *SMALL, f"--data_dir={photos}").returncode == 0
    first, second = ([{**json.loads(line), "seconds": 0, "pictures_per_second": 0}
                      for line in (tmp_path / f"runs/conv1-{n}/metrics.jsonl").open()]
                     for n in (1, 2))
    assert first == second


@pytest.fixture(scope="module")
def mine(run_in, tmp_path_factory):
    """A folder with runs/mine, whose flags come from a file, and what train.py printed."""
    folder = tmp_path_factory.mktemp("mine")
    (draw_photos(folder / "photos") / "cat.0.png").write_bytes(b"")
    (folder / "mine.flags").write_text("--flip\n--schedule=onecycle\n--epochs=2\n")
    return folder, run_in(folder, "train.py", *SMALL, "--flagfile=mine.flags",
                          f"--data_dir={folder}/photos", "--train_size=10", "--valid_size=4",
                          "--test_size=6", "--name=mine")


def test_flags_come_from_a_file_and_the_test_is_told_and_recorded(mine):
    folder, result = mine
    assert result.returncode == 0
    assert "10 pictures to train on, 4 to validate on, 6 to test on" in result.stdout
    assert "float32, scaling unit, schedule onecycle, flip True" in result.stdout.replace(
        "input_size (24, 32), ", "")
    assert "on 6 held-out test pictures, at that threshold: accuracy" in result.stdout
    record = json.loads((folder / "runs/mine/test.json").read_text())
    assert record["pictures"] == 6 and f"{record['accuracy']:.1%}" in result.stdout
    config = json.loads((folder / "runs/mine/config.json").read_text())
    assert config["data"]["test_size"] == 6 and config["config"]["flip"] is True


@pytest.mark.parametrize("recipe", [file.name for file in ROOT.glob("recipes/*")])
def test_a_recipe_trains_and_its_flags_can_be_overridden(recipe, run_script, photos):
    result = run_script("train.py", f"--flagfile={ROOT / 'recipes' / recipe}", "--epochs=1",
                        f"--data_dir={photos}")
    assert result.returncode == 0 and result.stderr == ""
    assert ", 1 epochs, " in result.stdout and "best accuracy" in result.stdout


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


def test_broken_pictures_are_named_and_recorded(mine):
    folder, result = mine
    assert f"skipped {folder}/photos/cat.0.png: empty file" in result.stdout
    records = used_pictures.read(folder / "runs/mine")
    assert [record for record in records if "reason" in record] == [
        {"file": "cat.0.png", "reason": "empty file"}]


def test_copies_in_two_parts_are_told_before_the_training(run_script, photos, tmp_path):
    for number in range(12):  # all cats are one
        (photos / f"cat.{number}.png").write_bytes((photos / "cat.0.png").read_bytes())
    output = run_script("train.py", *SMALL, f"--data_dir={photos}", "--epochs=1").stdout
    records = used_pictures.read(tmp_path / "runs/conv1-1")
    cats = [record["file"] for record in records
            if record["part"] == "validation" and record["file"].startswith("cat")]
    for name in cats:
        assert f"  {name} (validation) has the same pixels as cat." in output
    assert (f"  {len(cats)} of the pictures that measure the network are in two parts: the "
            "accuracy will be too good; remove the copies\n") in output


@pytest.mark.parametrize("size, threshold, at_half, told", [
    (50, 0.7, 0.76, ["On so few, the 76.0% at t = 0.5 are no real difference: for other "
                     "pictures 0.5 is the better choice"]),
    (50, 0.7, 0.6, []), (50, 0.5, 0.8, []), (200, 0.7, 0.79, [])])
def test_what_little_data_means_is_told(size, threshold, at_half, told, capsys):
    best = {"epoch": 1, "mse": 0.1, "pearson": 0.5, "best_accuracy": 0.8, "threshold": threshold,
            "accuracies": [0.5] * 5 + [at_half] * 5,
            "accuracy_interval": metrics.wilson_interval(0.8, size)}
    summary.print_end(best, [best], Path("runs/a"), size, ("cat", "dog"))
    lines = capsys.readouterr().out.splitlines()
    few = ": 50 validation pictures are few)" if size == 50 else "%)"
    assert lines[4].startswith(f"best accuracy 80.0% at t = {threshold} (95% interval ")
    assert lines[4].endswith(few)
    assert lines[5:-2] == told
    assert lines[-2] == ("The epoch and the threshold were chosen on these pictures, which makes "
                         "the accuracy too good: --test_size holds out others")
    test = {"pictures": 100, "accuracy": 0.7, "accuracy_interval": (0.604, 0.781), "mse": 0.2,
            "pearson": 0.4}
    summary.print_end(best | {"test": test}, [best], Path("runs/a"), size, ("cat", "dog"))
    assert capsys.readouterr().out.splitlines()[-2] == (
        "on 100 held-out test pictures, at that threshold: accuracy 70.0% (95% interval 60.4 to "
        "78.1%), MSE 0.2000, Pearson 0.400")


LEARNED = [{"epoch": epoch, "train_loss": 0.8 - 0.1 * epoch, "mse": mse, "best_accuracy": 0.5,
            "pearson": None} for epoch, mse in enumerate((0.3, 0.1, 0.2, 0.2, 0.2, 0.2), start=1)]


def test_the_end_of_a_run_shows_its_curves_and_names_overfitting(capsys):
    summary.print_curves(LEARNED, LEARNED[1])
    assert capsys.readouterr().out.splitlines() == [
        "", "training loss        █▇▅▄▂▁  0.700 to 0.200",
        "validation MSE       █▁▅▅▅▅  0.300 to 0.200",
        "accuracy             ▁▁▁▁▁▁  0.500 to 0.500",
        "The network overfits after epoch 2: the training loss still falls (0.600 to 0.200), "
        "validation does not improve."]
    summary.print_curves(LEARNED[:1], LEARNED[0])
    assert capsys.readouterr().out == ""
    summary.print_curves(LEARNED * 50, LEARNED[1])
    assert len(capsys.readouterr().out.splitlines()[1].split()[2]) == 60


@pytest.mark.parametrize("history, best", [
    (LEARNED[:5], 2),                                            # too few epochs to tell
    (LEARNED, 5),                                                # it has just improved
    ([*LEARNED[:5], LEARNED[5] | {"train_loss": 0.7}], 2)])      # it does not learn any more
def test_what_is_not_overfitting_is_not_called_so(history, best):
    assert summary.overfitting_text(history, history[best - 1]) is None


@pytest.mark.parametrize("encoding, bars", [("utf-8", "▁▅█"), ("cp437", "_=#"), ("ascii", "_=#")])
def test_a_terminal_without_eighths_gets_plain_characters(monkeypatch, encoding, bars):
    with open(os.devnull, "w", encoding=encoding) as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        assert summary.line_of_eighths([0.0, 0.5, 1.0]) == bars


def test_an_eager_run_computes_what_a_compiled_one_does_and_shows_its_numbers(
        run_script, photos, tmp_path):
    flags = [*SMALL, f"--data_dir={photos}", "--epochs=2", "--flip", "--dropout=0.3"]
    run_script("train.py", *flags, "--name=compiled")
    result = run_script("train.py", *flags, "--name=eager", "--eager")
    assert result.returncode == 0, result.stderr
    compiled, eager = (run_folder.read_history(tmp_path / "runs" / name)
                       for name in ("compiled", "eager"))
    for key in ("train_loss", "valid_loss", "mse"):
        assert [each[key] for each in eager] == pytest.approx(
            [each[key] for each in compiled], rel=1e-4)


def test_print_in_the_step_shows_numbers_when_it_is_eager(run_script, tmp_path):
    shutil.copytree(ROOT, tmp_path / "code", ignore=shutil.ignore_patterns(
        "tests", "runs", "docs", "pretrained", ".*"))
    code = (tmp_path / "code/train.py").read_text(encoding="utf-8")
    line = "        optimizer.apply(gradients, lr) "
    assert code.count(line) == 1
    (tmp_path / "code/train.py").write_text(code.replace(
        line, "        print('loss is', loss)\n" + line), encoding="utf-8")
    shown = [subprocess.run(
        [sys.executable, tmp_path / "code/train.py", "--arch=mlp", "--hidden=4", "--epochs=1",
         "--input_size=8x8", *flag], cwd=tmp_path / "code", capture_output=True, text=True,
        check=True).stdout for flag in ([], ["--eager"])]
    assert "loss is Tensor(" in shown[0] and "loss is tf.Tensor(0." in shown[1]


def test_the_validation_loss_is_the_training_loss_of_the_validation_images(tmp_path):
    for loss, expected in (("mse", train.squared_error_loss), ("bce", train.cross_entropy_loss)):
        config, dataset = tiny_config(loss=loss, epochs=1), tiny_dataset()
        (tmp_path / loss).mkdir()
        record = train_run(config, dataset, tmp_path / loss)
        network = models.Network(config)
        checkpoints.read_best_weights(tmp_path / loss, network)
        assert record["valid_loss"] == pytest.approx(
            float(expected(dataset.valid.labels, network(dataset.valid.images))), rel=1e-5)


def test_a_run_is_never_overwritten(mine, refuses):
    folder, _ = mine
    before = (folder / "runs/mine/metrics.jsonl").read_bytes()
    assert "runs/mine exists, and a run is never overwritten" in refuses(
        "train.py", *SMALL, f"--data_dir={folder}/photos", f"--runs_dir={folder}/runs",
        "--epochs=1", "--name=mine")
    assert (folder / "runs/mine/metrics.jsonl").read_bytes() == before


def test_a_loss_that_runs_away_ends_in_one_sentence(refuses, photos):
    assert "try a smaller --lr" in refuses("train.py", *SMALL, "--lr=1e38",
                                           f"--data_dir={photos}")


def test_help_shows_every_flag_in_its_group(run_script):
    result = run_script("train.py", "--help")
    assert result.returncode == 0
    groups = re.split(r"^(network|training|images|augmentation|run):$", result.stdout,
                      flags=re.MULTILINE)
    assert groups[1::2] == ["network", "training", "images", "augmentation", "run"]
    names = {group: set(re.findall(r"^  --(?:\[no\])?(\w+):", text, re.MULTILINE))
             for group, text in zip(groups[1::2], groups[2::2], strict=True)}
    assert names["images"] == {"data_dir", "classes", "train_size", "valid_size", "test_size"}
    assert names["run"] == {"name", "runs_dir", "resume", "strategy", "eager"}
    in_groups = set.union(*(names[group] for group in train.SETTINGS))
    assert in_groups == vars(tiny_config()).keys()


def test_a_run_of_an_older_version_is_refused_in_one_sentence(tmp_path, declines):
    write_config(tmp_path, tiny_config())
    record = json.loads((tmp_path / "config.json").read_text())
    for older in ({"format": 2}, {}):
        (tmp_path / "config.json").write_text(json.dumps(
            {name: value for name, value in record.items() if name != "format"} | older))
        assert declines(train.main, f"--resume={tmp_path}") == (
            f"{tmp_path} was written by another version of train.py, which this one cannot "
            "read: train it again, or use the version that wrote it")


def test_flags_that_went_to_another_script_are_told_where(refuses):
    assert refuses("train.py", "--evaluate=runs/x", "--data_dir=photos") == (
        "Unknown command line flag 'evaluate': use python predict.py --run=runs/NAME "
        "--evaluate=PHOTOS")


def test_a_run_that_fails_before_it_begins_leaves_no_folder(refuses, tmp_path, photos):
    assert "use a smaller --input_size" in refuses(
        "train.py", "--input_size=9000x9000", f"--data_dir={photos}", "--name=mine")
    assert not list((tmp_path / "runs").iterdir())


def test_a_file_for_which_there_is_no_room_is_named(tmp_path, monkeypatch):
    def write(*_, **__):
        raise OSError(28, "No space left on device")  # of a `write`: it names no file

    monkeypatch.setattr(Path, "write_bytes", write)
    with pytest.raises(OSError) as raised:
        run_folder.write_text(tmp_path / "config.json", "{}")
    assert cli.one_sentence(raised.value) == (
        f"{tmp_path}/config.json.unfinished: No space left on device; make room there")


@needs.permissions
def test_a_folder_of_runs_that_may_not_be_entered_is_named(monkeypatch):
    def mkdir(path, **_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "mkdir", mkdir)
    with pytest.raises(PermissionError) as raised:
        with run_folder.new(Path("shut/runs"), None, "mlp"):
            pass
    assert cli.one_sentence(raised.value).startswith("shut/runs: Permission denied; choose")
