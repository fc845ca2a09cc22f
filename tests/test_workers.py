"""Several devices and several machines: they train as one, and say which of them is missing."""

import functools
import json
import os
import re
import shutil
import signal
import socket
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import interrupted_runs
import needs
import train
from conftest import eagerly
from support import distribution
from test_resume import exit_code, processes, records, wait_for  # noqa: F401  a fixture

# 16 pictures in batches of 3: the last of an epoch is a single one, for one of two workers. The
# others are shared 2 to 1 and 1 to 2.
FLAGS = ("--arch=conv1", "--lr=1e-3", "--epochs=4", "--batch_size=3", "--input_size=12x14",
         "--scaling=standard", "--dtype=float32", "--train_size=16", "--valid_size=10",
         "--test_size=4")


def free_addresses(count: int) -> list[str]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    return addresses


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number in range(16):
        for name in ("cat", "dog"):
            noise = np.random.default_rng([number, ord(name[0])]).integers(0, 256, (12, 14, 3))
            Image.fromarray(noise.astype(np.uint8)).save(folder / f"{name}.{number}.png")
    return folder


@pytest.fixture(scope="module")
def start_one(processes, photos, tmp_path_factory):  # noqa: F811  a fixture
    """start_one(prepare, *flags): the process and the folder that it runs in, with its files."""
    def begin(prepare, *flags):
        folder = tmp_path_factory.mktemp("process")
        return processes(folder, *flags, prepare=prepare), folder

    return begin


@pytest.fixture(scope="module")
def start_two(start_one):
    """Two workers, both with these flags and each with a preparation of its own."""
    def begin(*flags, then=(interrupted_runs.as_it_is, interrupted_runs.as_it_is)):
        addresses = free_addresses(2)
        return addresses, [
            start_one(functools.partial(interrupted_runs.worker, addresses, number, then[number]),
                  "--strategy=multi_worker", *flags) for number in (0, 1)]

    return begin


def end(process, folder: Path, seconds=240) -> tuple[int, str]:
    """Its exit code, and what it said on stderr, but for TensorFlow's own notes."""
    process.join(seconds)  # 2.16 notes that the workers have met, whatever its log level
    return process.exitcode, re.sub(r"^(WARNING: All log messages before absl|I0000 ).*\n", "",
                                    (folder / "stderr").read_text(), flags=re.MULTILINE)


def losses(folder: Path) -> list[float]:
    return [float(line) for line in (folder / "losses").read_text().splitlines()]


@pytest.fixture(scope="module")
def two(start_two, photos, tmp_path_factory):
    """The run of two workers, and the folders of its processes."""
    runs = tmp_path_factory.mktemp("runs")
    _, workers = start_two(*FLAGS, f"--data_dir={photos}", f"--runs_dir={runs}", "--name=two")
    assert [end(*worker) for worker in workers] == [(0, "")] * 2
    return runs / "two", [folder for _, folder in workers]


# ---------------------------------------------------------------------------------------------
# They train as one
# ---------------------------------------------------------------------------------------------

def test_two_workers_follow_the_path_of_one_process_given_the_same_batches(two, start_one, photos):
    run, (chief, other) = two
    process, alone = start_one(interrupted_runs.compiled, *FLAGS, f"--data_dir={photos}",
                               "--name=one")
    assert end(process, alone) == (0, "")
    assert len(losses(alone)) == 24 and losses(chief) == losses(other)
    np.testing.assert_allclose(losses(chief), losses(alone), rtol=1e-5, atol=1e-9)
    for ours, expected in zip(records(run), records(alone / "runs/one"), strict=True):
        assert ours["pictures"] == expected["pictures"] == 16
        assert ours["mse"] == pytest.approx(expected["mse"], rel=1e-5)
        assert ours["accuracies"] == expected["accuracies"]
    test, expected = (json.loads((each / "test.json").read_text())
                      for each in (run, alone / "runs/one"))
    for name, value in expected.items():
        np.testing.assert_allclose(test[name], value, rtol=1e-4)
    known, expected = ((each / "pictures.jsonl").read_text() for each in (run, alone / "runs/one"))
    assert known == expected


def test_two_workers_begin_with_the_convolutions_of_a_trained_network(
        two, start_two, start_one, photos):
    flags = *FLAGS, "--epochs=1", f"--data_dir={photos}", f"--start_from={two[0]}", "--name=more"
    _, workers = start_two(*flags)
    process, alone = start_one(interrupted_runs.compiled, *flags)
    assert [end(*each) for each in (*workers, (process, alone))] == [(0, "")] * 3
    assert losses(workers[0][1])[0] != pytest.approx(losses(two[1][0])[0], rel=1e-3)
    for _, folder in workers:
        np.testing.assert_allclose(losses(folder), losses(alone), rtol=1e-5, atol=1e-9)


def test_only_the_chief_prints_and_writes(two):
    run, (chief, other) = two
    assert f"2 replicas; the run is {run}/" in (chief / "stdout").read_text()
    assert re.fullmatch(r"worker 1 of 2 waits for worker 0 \(127.0.0.1:[0-9]+\)\n"
                        "worker 0 prints and writes the run\n", (other / "stdout").read_text())
    assert re.match(r"worker 0 of 2 waits for worker 1 \(127.0.0.1:[0-9]+\)\n",
                    (chief / "stdout").read_text())
    for folder in (chief, other):
        assert {file.name for file in folder.iterdir()} == {"losses", "stderr", "stdout"}


def test_two_devices_follow_the_path_of_one(two, start_one, photos):
    mirrored, single = (
        start_one(prepare, *FLAGS, "--arch=mlp", f"--data_dir={photos}", *flags)
        for prepare, *flags in ((interrupted_runs.two_devices, "--strategy=mirrored", "--flip"),
                                (interrupted_runs.compiled, "--strategy=single")))
    assert end(*mirrored) == end(*single) == (0, "")
    assert len(losses(mirrored[1])) == 24
    np.testing.assert_allclose(losses(mirrored[1]), losses(single[1]), rtol=1e-5, atol=1e-9)
    assert ", 2 replicas; " in (mirrored[1] / "stdout").read_text()
    seeds = (mirrored[1] / "seeds").read_text().splitlines()
    assert sorted(seeds) == sorted(f"[0 {draw}]" for draw in range(48))  # each of each its own


def test_a_strategy_of_one_device_follows_the_path_of_none(start_one, photos):
    flags = *FLAGS[:-3], "--arch=mlp", "--epochs=1", f"--data_dir={photos}"
    mirrored, single = (start_one(interrupted_runs.compiled, *flags, f"--strategy={strategy}")
                        for strategy in ("mirrored", "single"))
    assert end(*mirrored) == end(*single) == (0, "")
    np.testing.assert_allclose(losses(mirrored[1]), losses(single[1]), rtol=1e-5, atol=1e-9)


def test_a_run_of_two_can_be_resumed_alone_and_says_what_that_means(
        two, tmp_path, capsys):
    run = tmp_path / "copy"
    shutil.copytree(two[0], run)
    with eagerly():
        assert exit_code(f"--resume={run}", "--epochs=5", "--strategy=single") == 0
    output = capsys.readouterr().out
    assert f"{run} resumes in epoch 5, after step 0" in output
    assert "from here on 1 replicas compute, not 2: the numbers will be those of neither" in output
    assert len(records(run)) == 5


def test_the_order_is_numpys():
    expected = np.random.default_rng([3, 2]).permutation(20)
    np.testing.assert_array_equal(np.concatenate(list(train.batches(20, 6, 3, 2))), expected)


# ---------------------------------------------------------------------------------------------
# Each computes its part
# ---------------------------------------------------------------------------------------------

def test_one_device_does_the_plain_thing():
    def step(images, labels, learning_rate, seed):
        pytest.fail("it is not called yet")

    assert distribution.on_all_devices(step) is step


def test_a_batch_is_shared_out_or_computed_whole_by_all_if_it_cannot_be(start, tmp_path):
    process = start(interrupted_runs.parts_of_batches, tmp_path, [4, 5, 1])
    assert end(process, tmp_path) == (0, "")
    parts = (tmp_path / "parts").read_text().splitlines()
    assert sorted(parts[:2]) == ["[0 2] [0 20]", "[1 3] [10 30]"]  # labels, and red of the images
    assert parts[2:4] == 2 * ["[0 1 2 3 4] [0 10 20 30 40]"] and parts[4:] == 2 * ["[0] [0]"]
    assert (tmp_path / "stdout").read_text().split() == ["1.5", "2.0", "0.0"]  # the means


# ---------------------------------------------------------------------------------------------
# One is missing
# ---------------------------------------------------------------------------------------------

@needs.sigkill
def test_whoever_dies_or_is_interrupted_the_run_ends_with_its_numbers(two, start_two, photos,
                                                                      tmp_path):
    """Four pairs of workers, each of which resumes the run of the one before."""
    whole, run = two[0], tmp_path / "mine"
    flags = (*FLAGS, f"--data_dir={photos}", f"--runs_dir={tmp_path}", "--name=mine")
    command = f"python train.py --resume={run} --strategy=multi_worker"

    def start_and_lose(victim, step):
        """One dies; the other one ends soon after, and names it."""
        then = [interrupted_runs.save_at_every_step] * 2
        then[victim] = functools.partial(interrupted_runs.die_at_step, step)
        addresses, workers = start_two(*flags, then=then)
        assert end(*workers[victim])[0] == -9
        died = time.monotonic()
        code, sentence = end(*workers[1 - victim])
        assert time.monotonic() - died < 60
        assert code == 1
        assert sentence == (
            f"worker {victim} ({addresses[victim]}) died or lost touch; all that was saved before "
            f"is whole: put that right and resume with {command}\n")

    start_and_lose(victim=1, step=9)
    flags = (f"--resume={run}",)

    pressed = functools.partial(interrupted_runs.ctrl_c_at_step, 3)
    addresses, workers = start_two(*flags, then=(pressed, interrupted_runs.as_it_is))
    assert end(*workers[0]) == (130, "")  # Ctrl-C at the chief saves
    assert f"interrupted; resume with {command}\n" in (workers[0][1] / "stdout").read_text()
    code, sentence = end(*workers[1])
    assert code == 1 and sentence.startswith(f"worker 0 ({addresses[0]}) died or lost touch")

    start_and_lose(victim=0, step=4)
    assert 0 < len(records(run)) < 4

    _, workers = start_two(*flags, then=(interrupted_runs.as_it_is, pressed))
    assert [end(*worker) for worker in workers] == [(0, "")] * 2  # and at another one says so
    assert "stop worker 0, which saves the run" in (workers[1][1] / "stdout").read_text()
    assert records(run) == records(whole)
    assert (run / "test.json").read_text() == (whole / "test.json").read_text()


@needs.sigkill
def test_a_worker_says_whom_it_waits_for_and_ctrl_c_ends_it(start_one, photos):
    addresses = free_addresses(3)
    process, folder = start_one(
        functools.partial(interrupted_runs.worker, addresses, 1), "--strategy=multi_worker",
        "--name=mine", *FLAGS, f"--data_dir={photos}")
    said = f"worker 1 of 3 waits for worker 0 ({addresses[0]}) and worker 2 ({addresses[2]})\n"
    wait_for(lambda: (folder / "stdout").exists() and said in (folder / "stdout").read_text(),
             process)
    time.sleep(1)
    os.kill(process.pid, signal.SIGINT)
    assert end(process, folder, seconds=20) == (-signal.SIGINT, "")


def test_workers_need_the_name_of_the_run(monkeypatch, declines, photos):
    monkeypatch.setenv("TF_CONFIG", json.dumps({
        "cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 1}}))
    assert declines(train.main, "--strategy=multi_worker", f"--data_dir={photos}") == (
        "--strategy=multi_worker needs a --name, the same for all workers")


@pytest.mark.parametrize("text, reason", [
    (None, "JSONDecodeError"), ("", "JSONDecodeError"), ("{", "JSONDecodeError"),
    ("[]", "TypeError"), ("{}", "KeyError('cluster')"),
    ('{"cluster": {"worker": ["a:1"]}}', "KeyError('task')"),
    ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
     "its task, worker 1, is not in its cluster"),
    ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "ps", "index": 0}}',
     "its task, ps 0, is not in its cluster"),
    ('{"cluster": {"worker": ["a"]}, "task": {"type": "worker", "index": 0}}',
     "ValueError"),
    ('{"cluster": {"worker": ["a:99999"]}, "task": {"type": "worker", "index": 0}}',
     "a:99999 is not HOST:PORT"),
    ('{"cluster": {"worker": 3}, "task": {"type": "worker", "index": 0}}', "TypeError"),
])
def test_a_malformed_tf_config_is_refused_in_one_sentence(text, reason, declines, photos,
                                                           monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if text is not None:
        monkeypatch.setenv("TF_CONFIG", text)
    sentence = declines(train.main, "--strategy=multi_worker", f"--data_dir={photos}")
    assert sentence.startswith(
        f"TF_CONFIG={text or ''!r} is not what --strategy=multi_worker needs")
    assert reason in sentence and 'make it like {"cluster": {"worker": ["HOST:PORT"' in sentence


def test_the_chief_comes_before_the_workers(monkeypatch):
    cluster = {"worker": ["a:1", "b:2"], "chief": ["c:3"]}
    for task, own in (({"type": "chief", "index": 0}, "chief 0"),
                      ({"type": "worker", "index": 1}, "worker 1")):
        monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": task}))
        workers, this = distribution.cluster()
        assert [*workers.items()] == [("chief 0", "c:3"), ("worker 0", "a:1"), ("worker 1", "b:2")]
        assert this == own and distribution.is_chief("multi_worker") == (own == "chief 0")
