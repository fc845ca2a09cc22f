"""tools/bench.py: variants take turns in processes, and measure what they say."""

import functools
import itertools
import os
import sys
import types

import pytest
from rich.console import Console

import models
import needs
import train
from conftest import ROOT
from support import machine
from support.cli import UserError

sys.path.insert(0, str(ROOT / "tools"))
import bench  # noqa: E402  when its folder is on the path
import bench_variants  # noqa: E402


def test_variants_take_turns_in_processes_of_their_own():
    figures = bench.interleave(
        {"a": bench_variants.process_and_time, "b": bench_variants.process_and_time}, 2)
    processes = [process for each in figures.values() for process, _ in each]
    assert len({os.getpid(), *processes}) == 5
    in_order = sorted((moment, name) for name, each in figures.items() for _, moment in each)
    assert [name for _, name in in_order] == ["a", "b"] * 2


def test_a_variant_that_fails_ends_the_comparison_with_its_reason():
    with pytest.raises(UserError, match="^a: ValueError: no such luck$"):
        bench.interleave({"a": bench_variants.failing}, 1)


@needs.sigkill
def test_a_variant_that_is_killed_ends_the_comparison_too():
    with pytest.raises(UserError, match="^a: BrokenProcessPool: A process .* terminated abruptly"):
        bench.interleave({"a": bench_variants.killed}, 1)


def test_every_network_is_measured_with_the_settings_that_train_py_gives_it():
    assert list(bench.STEPS) == list(train.DEFAULTS) == list(models.NETWORKS)
    for arch, defaults in train.DEFAULTS.items():
        config = vars(bench.config_of(arch, dtype="bfloat16", batch_size=64))
        assert config.items() >= {**defaults, "arch": arch, "dtype": "bfloat16",
                                  "batch_size": 64}.items()
        keras = bench.keras_network(arch)
        assert keras.loss == {"mse": "mse", "bce": "binary_crossentropy"}[defaults["loss"]]
        assert float(keras.optimizer.learning_rate) == pytest.approx(defaults["lr"])


@pytest.mark.parametrize("arch", models.NETWORKS)
def test_the_keras_network_has_the_same_weights_in_number(arch):
    weights = bench.keras_network(arch).count_params()
    assert weights == models.shapes_only(models.options(arch)).weight_count


@pytest.mark.parametrize("variant, ours", [
    (functools.partial(bench.our_training, "mlp", 32, "float32", 2), True),
    (functools.partial(bench.keras_training, "mlp", 32, "float32", 2, tuned=True), True),
    (functools.partial(bench.keras_training, "mlp", 32, "float32", 2, tuned=False), False)])
def test_our_settings_are_made_before_tensorflow_reads_them_but_not_for_untouched_keras(
        variant, ours):
    figures = bench.interleave(
        {"a": functools.partial(bench_variants.settings_before_tensorflow, variant)}, 1)
    assert figures == {"a": [ours]}


@pytest.fixture
def clock(monkeypatch):
    """A clock that moves by 2 seconds whenever it is looked at."""
    ticks = itertools.count(0.0, 2.0)
    monkeypatch.setattr(bench.time, "perf_counter", lambda: next(ticks))


def test_our_step_is_timed_by_the_images_it_saw(clock):
    # train.py looks at no clock within an epoch: 2 seconds for each of two steps
    assert bench.our_training("conv1", 32, "float32", steps=2) == 2 * 32 / 4


def test_keras_training_is_timed_over_its_second_epoch(clock):
    assert 0 < bench.keras_training("conv1", 8, "float32", steps=2, tuned=True) <= 2 * 8 / 2


def test_the_matrix_product_counts_its_multiply_adds(clock):
    images = bench.matrix_product("mlp", "float32", size=300)
    of_an_image = models.shapes_only(models.options("mlp")).training_multiply_adds
    assert images * of_an_image == pytest.approx(3 * 300 ** 3 / 2)


@pytest.fixture
def chosen(monkeypatch):
    """chosen(flag=value, …): the flags as if they had been given."""
    def choose(**values):
        monkeypatch.setattr(bench, "flags", types.SimpleNamespace(
            FLAGS=types.SimpleNamespace(**values)))

    return choose


def test_tables_name_every_variant_with_its_spread_and_median_ratio(monkeypatch, chosen, capsys):
    monkeypatch.setattr(bench, "interleave", lambda variants, count: {
        **{name: [10.0 * number, 30.0 * number, 20.0 * number]
           for number, name in enumerate(variants, start=1)}, "other": [5.0, 1.0, 10.0]})
    chosen(rounds=3, batch_size=32, dtype="float32")
    bench.compare(Console(width=120), "mlp")
    rows = [line.strip("│ ").split() for line in capsys.readouterr().out.splitlines()]
    assert "ours │ 20.0 │ 10.0 │ 30.0 │ 1.00 x".split() in rows
    assert "Keras fit │ 40.0 │ 20.0 │ 60.0 │ 0.50 x".split() in rows
    assert "as a matrix product │ 80.0 │ 40.0 │ 120.0 │ 0.25 x".split() in rows
    assert "other │ 5.0 │ 1.0 │ 10.0 │ 2.00 x".split() in rows  # of 2, 30 and 2


def test_the_command_prints_a_table(monkeypatch, chosen, capsys):
    """From its flags to its table, with processes, in which numbers take the place of training."""
    for name in ("our_training", "keras_training", "matrix_product"):
        monkeypatch.setattr(bench, name, bench_variants.eight_or_untuned_four)
    chosen(networks=["conv1"], rounds=1, batch_size=8, dtype="bfloat16")
    bench.main.__wrapped__(["bench.py"])
    output = capsys.readouterr().out
    assert f"{machine.cores()} cores of " in output
    assert f"tensorflow {train.tf.__version__}" in output
    assert "training conv1 in bfloat16, batch 8, images/s" in output
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in output.splitlines()
            if line.startswith("│")]
    assert [row[0] for row in rows] == ["ours", "Keras fit", "Keras fit, float32, untouched",
                                        "as a matrix product"]
    assert [(row[1], row[4]) for row in rows] == [
        ("8.0", "1.00 x"), ("8.0", "1.00 x"), ("4.0", "2.00 x"), ("8.0", "1.00 x")]
