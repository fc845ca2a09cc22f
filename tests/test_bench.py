"""bench.py: sides take turns in processes of their own, and measure what they say."""

import functools
import itertools
import json
import os
import time

import bench
import data
import models
import numpy as np
import pytest
from rich.console import Console


def process_and_time():
    """A side that tells which process it is in, and when its turn was."""
    while True:
        yield os.getpid(), time.time()


def bench_itself():
    yield bench.peak_memory()


def half_a_gigabyte():
    block = np.ones(500_000_000, np.uint8)
    yield bench.peak_memory() * int(block[-1])


def failing():
    raise ValueError("no such luck")
    yield


def test_sides_take_turns_in_processes_of_their_own():
    figures = bench.take_turns({"a": process_and_time, "b": process_and_time}, rounds=3)
    processes = {name: {process for process, _ in turns} for name, turns in figures.items()}
    assert len(processes["a"]) == len(processes["b"]) == 1
    assert len({os.getpid()} | processes["a"] | processes["b"]) == 3
    in_order = sorted((moment, name) for name, turns in figures.items() for _, moment in turns)
    assert [name for _, name in in_order] == ["a", "b"] * 3


def test_a_side_that_fails_ends_the_comparison_with_its_reason():
    with pytest.raises(RuntimeError, match="no such luck"):
        bench.take_turns({"a": failing}, rounds=1)


def test_a_ratio_is_the_median_of_the_turns():
    assert bench.ratio([2.0, 30.0, 6.0], [1.0, 1.0, 2.0]) == 3.0


@pytest.mark.parametrize("arch", models.ARCHITECTURES)
def test_the_keras_network_has_the_same_weights_in_number(arch):
    assert bench.keras_network(arch, 1e-5, "bce").count_params() == models.Network(arch).weights


@pytest.fixture
def two_steps(monkeypatch):
    monkeypatch.setattr(bench, "STEPS", dict.fromkeys(bench.STEPS, 2))


@pytest.mark.parametrize("side", [bench.our_training, bench.our_bare_step])
def test_our_training_is_timed(two_steps, side):
    assert all(figure > 0 for figure in itertools.islice(side("conv1", "float32"), 2))


def test_keras_training_is_timed(two_steps):
    settings = {"lr": 1e-5, "batch_size": 8, "loss": "bce"}
    assert next(bench.keras_training("conv1", "float32", settings, tuned=True)) > 0


def test_the_matrix_product_counts_its_multiply_adds():
    started = time.perf_counter()
    rate = next(bench.matrix_product("float32"))
    assert rate >= 3 * 4096 ** 3 / (time.perf_counter() - started)


def test_loading_is_timed_on_the_same_files(tmp_path):
    bench.make_jpegs(tmp_path, 20)
    assert len(data.find_pictures(tmp_path)) == 20
    for side in (bench.our_loading, bench.article_loading, bench.keras_loading):
        assert next(side(str(tmp_path))) > 0


def test_memory_counts_bytes_and_traces():
    difference = bench.once(half_a_gigabyte) - bench.once(bench_itself)
    assert difference == pytest.approx(500e6, rel=0.1)
    after = next(bench.our_memory("mlp", "float32"))
    assert after[2]["bytes"] <= after[10]["bytes"] and after[2]["traces"] == after[10]["traces"] == 2


def test_a_table_names_every_side_with_its_spread(capsys):
    facts = {"dtype": "float32", "settings": {}, "multiply_adds": {}}
    assert bench.bench_training(Console(), facts, 1) == {}
    assert "of the limit" in capsys.readouterr().out
    assert bench.spread([3.0, 1.0, 2.0]) == ["2.0", "1.0", "3.0"]


def test_bench_prints_and_keeps_its_figures(run_script, tmp_path):
    result = run_script("bench.py", "--part=start", "--rounds=1", "--json=figures.json")
    assert result.returncode == 0 and result.stderr == ""
    assert "python train.py" in result.stdout and "lowest" in result.stdout
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert 0 < figures["start"]["python train.py"][0] < 240
    assert figures["machine"]["cores"] == os.cpu_count()


def test_bench_refuses_in_one_sentence(refuses):
    assert "--networks=vgg is none of the networks: mlp, " in refuses("bench.py", "--networks=vgg")
    assert "--data_dir=nowhere is not a folder" in refuses("bench.py", "--data_dir=nowhere")
    assert "--json=no/file: there is no folder no" in refuses("bench.py", "--json=no/file")
    assert "takes flags only, not 'fast'" in refuses("bench.py", "fast")
    assert "should be one of <training|loading|" in refuses("bench.py", "--part=speed")


def test_a_sides_process_makes_no_flags_of_its_own():
    # Otherwise train.py, imported there, would find --networks' neighbours defined twice.
    assert bench.once(functools.partial(bench.facts_of_train, ["mlp"]))["settings"]["mlp"]["lr"] > 0
