"""tools/bench.py and rounds.py: variants take turns in processes, and measure what they say."""

import functools
import itertools
import json
import multiprocessing
import os
import sys
import types

import pytest
from PIL import Image
from rich.console import Console

import models
import needs
from conftest import ROOT
from support import class_folders, machine

sys.path.insert(0, str(ROOT / "tools"))
import bench  # noqa: E402  when its folder is on the path
import bench_variants  # noqa: E402
import rounds  # noqa: E402


def facts_of(arch, batch_size=None, dtype="float32"):
    return next(bench.network_facts([arch], batch_size, dtype))[0][arch]


def config_of(arch):
    return facts_of(arch)[0]


def test_variants_take_turns_in_processes_of_their_own():
    figures = rounds.interleave(
        {"a": bench_variants.process_and_time, "b": bench_variants.process_and_time}, 3)
    processes = {name: {process for process, _ in each} for name, each in figures.items()}
    assert len(processes["a"]) == len(processes["b"]) == 1
    assert len({os.getpid()} | processes["a"] | processes["b"]) == 3
    in_order = sorted((moment, name) for name, each in figures.items() for _, moment in each)
    assert [name for _, name in in_order] == ["a", "b"] * 3


def test_a_variant_that_fails_ends_the_comparison_with_its_reason():
    with pytest.raises(rounds.VariantError, match="^a: ValueError: no such luck$"):
        rounds.interleave({"a": bench_variants.failing}, 1)


@needs.sigkill
def test_a_variant_that_is_killed_ends_the_comparison_too():
    with pytest.raises(rounds.VariantError, match="^a: it ended with exit code -9: out of memory"):
        rounds.interleave({"a": bench_variants.killed}, 1)


def test_a_variant_removes_its_temporary_files_after_its_last_round(tmp_path):
    rounds.interleave({"a": functools.partial(bench_variants.with_temporary_file,
                                              str(tmp_path / "file"))}, 1)
    assert (tmp_path / "file").read_text() == "removed"


def test_a_variant_may_have_several_figures():
    figures = rounds.interleave(
        {"a": bench_variants.two_figures, "b": bench_variants.process_and_time}, 2)
    assert figures["one"] == [2, 3] and figures["ten"] == [20, 30] and len(figures["b"]) == 2


def test_a_ratio_is_the_median_of_the_rounds():
    assert bench.ratio([2.0, 30.0, 6.0], [1.0, 1.0, 2.0]) == 3.0


def test_every_network_has_its_own_batch_size_or_the_one_asked_for():
    own, other = config_of("mlp"), facts_of("mlp", 64)[0]
    assert (own["batch_size"], other["batch_size"]) == (32, 64)
    assert {**own, "batch_size": 64} == other


def test_networks_are_measured_in_the_precision_asked_for():
    assert facts_of("mlp", dtype="bfloat16")[0] == {**config_of("mlp"), "dtype": "bfloat16"}


@pytest.mark.parametrize("arch", models.NETWORKS)
def test_the_keras_network_has_the_same_weights_in_number(arch):
    weights = bench.keras_network(arch).count_params()
    assert weights == models.shapes_only(models.options(arch)).weight_count


@pytest.mark.parametrize("variant, ours", [
    (functools.partial(bench.our_training, config_of("mlp"), 2), True),
    (functools.partial(bench.keras_training, config_of("mlp"), True, 2), True),
    (functools.partial(bench.keras_training, config_of("mlp"), False, 2), False)])
def test_our_settings_are_made_before_tensorflow_reads_them_but_not_for_untouched_keras(
        variant, ours):
    assert rounds.run_once(
        functools.partial(bench_variants.settings_before_tensorflow, variant)) is ours


@pytest.fixture
def clock(monkeypatch):
    """A clock that moves by 2 seconds whenever it is looked at."""
    ticks = itertools.count(0.0, 2.0)
    monkeypatch.setattr(bench.time, "perf_counter", lambda: next(ticks))


def test_our_step_is_timed_by_the_images_it_saw(clock):
    # train.py looks at no clock within an epoch: 2 seconds for each of two steps, and for each of
    # the two alone
    assert next(bench.our_training(config_of("conv1"), steps=2)) == {
        "ours": 2 * 32 / 4, "our step alone": 2 * 32 / 4}


def test_keras_training_is_timed_over_its_second_epoch(clock):
    config = {**config_of("conv1"), "batch_size": 8}
    assert 0 < next(bench.keras_training(config, tuned=True, steps=2)) <= 2 * 8 / 2


def test_the_matrix_product_counts_its_multiply_adds(clock):
    assert next(bench.matrix_product("float32", size=300)) == 3 * 300 ** 3 / 2


def test_loading_is_timed_on_the_same_files(tmp_path, clock):
    bench.write_jpegs(tmp_path, 20)
    assert len(class_folders.choose(str(tmp_path)).images) == 20
    assert next(bench.article_loading(str(tmp_path))) == 20 / 2
    assert 0 < next(bench.our_loading(str(tmp_path))) <= 20 / 2
    assert 0 < next(bench.keras_loading(str(tmp_path))) <= 20 / 2


def test_predicting_is_timed_on_the_same_files(tmp_path, clock, run_in, monkeypatch):
    monkeypatch.setattr(bench.subprocess, "run", lambda command, **_: run_in(
        tmp_path, *command[1:]))  # train.py is forked, not started anew
    folder, run = tmp_path / "images", tmp_path / "run"
    bench.write_jpegs((folder.mkdir(), folder)[1], 20)
    bench.train_network("conv1", str(run))
    assert next(bench.our_predicting(str(run), str(folder))) == 20 / 2
    assert 0 < next(bench.article_predicting("conv1", str(folder), count=6)) <= 6 / 2
    assert 0 < next(bench.keras_predicting("conv1", str(folder))) <= 20 / 2


def test_only_images_that_every_variant_can_read_are_loaded(tmp_path):
    source, folder = tmp_path / "source", tmp_path / "copies"
    bench.write_jpegs((source.mkdir(), source)[1], 20)
    (source / "cats/0.jpg").write_bytes(b"")
    Image.new("RGB", (20, 20)).save(source / "dogs/21.webp")
    folder.mkdir()
    assert bench.copy_images(str(source), folder) == 18
    assert len(list(folder.glob("cats/*.jpg"))) == len(list(folder.glob("dogs/*.jpg"))) == 9
    (tmp_path / "some").mkdir()
    assert bench.copy_images(str(source), tmp_path / "some", most=6) == 6


def test_tables_name_every_variant_with_its_spread_and_ratio(monkeypatch, capsys):
    monkeypatch.setattr(rounds, "interleave", lambda variants, count: {
        name: [10.0 * number, 30.0 * number, 20.0 * number]
        for number, name in enumerate(variants, start=1)})
    config = {"dtype": "float32", "batch_size": 32}
    bench.bench_training(Console(width=120), {"mlp": (config, 5)}, 3)  # 5 multiply-adds an image
    rows = [line.strip("│ ").split() for line in capsys.readouterr().out.splitlines()]
    assert "ours │ 20.0 │ 10.0 │ 30.0".split() in rows
    assert "Keras fit │ 40.0 │ 20.0 │ 60.0 │ 0.50 x".split() in rows
    assert "as a matrix product │ 16.0 │ 8.0 │ 24.0 │ 1.25 x".split() in rows  # 80 / 5


@needs.fork
def test_the_command_prints_a_table_and_keeps_the_figures(start, tmp_path, monkeypatch, capsys):
    """From its flags to its table and its file; variants are forked, not spawned."""
    forkserver = multiprocessing.get_context("forkserver")
    monkeypatch.setattr(bench.rounds.multiprocessing, "get_context", lambda method: forkserver)
    write_jpegs = bench.write_jpegs
    monkeypatch.setattr(bench, "write_jpegs", lambda folder, count: write_jpegs(folder, 20))
    monkeypatch.setattr(bench, "PREDICTIONS", 4)
    monkeypatch.setattr(bench, "flags", types.SimpleNamespace(FLAGS=types.SimpleNamespace(
        part=["predicting"], networks=["conv1"], batch_size=2, dtype="float32", rounds=1,
        data_dir=None, json=str(tmp_path / "figures.json"))))
    start(len, "").join()  # the process that all are forked from
    bench.main.__wrapped__(["bench.py"])
    assert "predictions of conv1 for 400 made JPEGs" in capsys.readouterr().out
    figures = json.loads((tmp_path / "figures.json").read_text())
    variants = figures["predicting"]["conv1"]
    assert list(variants) == ["ours", "one at a time through Model.predict",
                              "Keras predict of a dataset"]
    assert all(len(speeds) == 1 and speeds[0] > 0 for speeds in variants.values())
    assert figures["machine"]["cores"] == machine.cores()
    assert figures["machine"]["dtype"] == "float32"
