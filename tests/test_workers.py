"""Several devices and several machines: they train as one, and say which of them is missing."""

import functools
import hashlib
import json
import shutil
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import data
import interrupted_runs
import train
from support import distribution
from support.cli import UserError
from support.tensorflow_setup import tf
from test_resume import eagerly, exit_code, processes, records  # noqa: F401  fixtures

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
    """Its exit code, and what it said on stderr."""
    process.join(seconds)
    return process.exitcode, (folder / "stderr").read_text()


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
    process, alone = start_one(interrupted_runs.alone_with_the_batches_of_two, *FLAGS,
                               f"--data_dir={photos}", "--name=one")
    assert end(process, alone) == (0, "")
    assert len(losses(alone)) == 24 and losses(chief) == losses(other)
    np.testing.assert_allclose(losses(chief), losses(alone), rtol=1e-5, atol=1e-9)
    for ours, expected in zip(records(run), records(alone / "runs/one"), strict=True):
        assert ours["pictures"] == expected["pictures"] == 16
        assert ours["mse"] == pytest.approx(expected["mse"], rel=1e-5)
        assert ours["accuracies"] == expected["accuracies"]
    test, expected = (json.loads((each / "test.json").read_text())
                      for each in (run, alone / "runs/one"))
    assert test == pytest.approx(expected, rel=1e-4)
    known, expected = (json.loads((each / "config.json").read_text())["data"]
                       for each in (run, alone / "runs/one"))
    assert known == expected  # the pictures' digest among them


def test_only_the_chief_prints_and_writes(two):
    run, (chief, other) = two
    assert f"2 replicas; the run is {run}/" in (chief / "stdout").read_text()
    assert (other / "stdout").read_text() == (
        "worker 1 of 2: worker 0 prints and writes the run\n")
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


def test_a_run_of_two_can_be_resumed_alone_and_says_what_that_means(
        two, eagerly, tmp_path, capsys):  # noqa: F811  a fixture
    run = tmp_path / "copy"
    shutil.copytree(two[0], run)
    assert exit_code(f"--resume={run}", "--epochs=5", "--strategy=single") == 0
    output = capsys.readouterr().out
    assert f"{run} resumes in epoch 5, after step 0" in output
    assert "from here on 1 replicas compute, not 2: the numbers will be those of neither" in output
    assert len(records(run)) == 5


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_a_batch_takes_as_many_pictures_from_each_workers_share(workers):
    drawn = list(train.batches(20, 6, 0, 1, workers))
    assert sorted(np.concatenate(drawn)) == list(range(20))
    assert [len(batch) for batch in drawn] == [6, 6, 6, 2]
    for batch in drawn[:-1]:
        assert np.bincount(batch % workers).tolist() == [6 // workers] * workers
    assert np.concatenate(drawn).tolist() != np.concatenate(
        list(train.batches(20, 6, 0, 2, workers))).tolist()


def test_the_order_of_one_worker_is_numpys():
    expected = np.random.default_rng([3, 2]).permutation(20)
    np.testing.assert_array_equal(np.concatenate(list(train.batches(20, 6, 3, 2))), expected)


# ---------------------------------------------------------------------------------------------
# Each computes its part
# ---------------------------------------------------------------------------------------------

def test_one_device_does_the_plain_thing():
    alone = distribution.SingleDevice()
    assert (alone.rank, alone.world_size, alone.count, alone.is_chief) == (0, 1, 1, True)
    assert list(range(5))[alone.shard] == [0, 1, 2, 3, 4]
    assert alone.local_rows(np.array([3, 1])).tolist() == [3, 1]
    assert alone.all_reduce_mean([1, 2], 3, 4) == ([1, 2], 3)
    assert alone.all_gather([0.5]) == [0.5] and alone.run_step(len) is len


def replicas_of(rank: int, world_size: int) -> distribution.Replicas:
    """Of so many workers the one with this rank, as far as it needs no other."""
    replicas = distribution.Replicas(tf.distribute.get_strategy(), ["a:1"], 0)
    replicas.rank, replicas.world_size = rank, world_size
    return replicas


def test_the_shards_make_up_all_images_and_a_batch_is_found_in_them():
    images = np.arange(100, 111)
    batch = np.array([7, 2, 10, 3, 0])
    found = []
    for rank in range(3):
        replicas = replicas_of(rank, 3)
        own = images[replicas.shard]
        assert own.tolist() == list(range(100 + rank, 111, 3))
        found += own[replicas.local_rows(batch)].tolist()
    assert sorted(found) == sorted(images[batch])


def test_gathered_predictions_come_in_the_order_of_the_images(monkeypatch):
    everything = np.arange(7, dtype=np.float32) / 10
    replicas = replicas_of(1, 3)
    monkeypatch.setattr(replicas, "gather", lambda values: np.concatenate(
        [everything[rank::3] for rank in range(3)]))
    np.testing.assert_array_equal(replicas.all_gather(everything[1::3]), everything)


@pytest.mark.parametrize("size, count, expected", [
    (5, 2, [[0, 2, 4], [1, 3]]), (1, 2, [[0], []]), (0, 1, [[]]), (4, 1, [[0, 1, 2, 3]])])
def test_a_batch_is_shared_out_and_a_part_without_images_gets_a_black_one(size, count, expected):
    images = np.arange(1, size + 1, dtype=np.uint8)[:, None, None, None] * np.ones(
        (1, 2, 2, 3), np.uint8)
    labels = np.arange(size, dtype=np.float32)
    for number, part in enumerate(expected):
        own, own_labels = distribution.shard_batch(tf.constant(images), tf.constant(labels),
                                                   number, count)
        assert own_labels.numpy().tolist() == part
        assert own[:, 0, 0, 0].numpy().tolist() == ([index + 1 for index in part] or [0])


def test_workers_that_see_different_pictures_are_told(as_worker):
    addresses = free_addresses(2)
    own = {"the cluster of TF_CONFIG": str(addresses), "--strategy": "multi_worker",
           "the digest of the file names in --data_dir": "0123456789ab"}
    with ThreadPoolExecutor(1) as pool:
        pool.submit(distribution.rendezvous, addresses, 1, {"alike": own, "run": ""})
        sentence = as_worker(0, addresses)
    assert sentence.startswith("the digest of the file names in --data_dir is ")
    assert "and 0123456789ab for worker 1: start all alike" in sentence


# ---------------------------------------------------------------------------------------------
# One is missing
# ---------------------------------------------------------------------------------------------

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
    assert f"saved; resume with {command}\n" in (workers[0][1] / "stdout").read_text()
    code, sentence = end(*workers[1])
    assert code == 1 and sentence.startswith(f"worker 0 ({addresses[0]}) died or lost touch")

    start_and_lose(victim=0, step=4)
    assert 0 < len(records(run)) < 4

    _, workers = start_two(*flags, then=(interrupted_runs.as_it_is, pressed))
    assert [end(*worker) for worker in workers] == [(0, "")] * 2  # and at another one says so
    assert "stop worker 0, which saves the run" in (workers[1][1] / "stdout").read_text()
    assert records(run) == records(whole)
    assert (run / "test.json").read_text() == (whole / "test.json").read_text()


@pytest.fixture
def as_worker(monkeypatch, declines, photos):
    """as_worker(number, addresses, *flags): the sentence of that worker's train.py."""
    def run(number, addresses, *flags):
        monkeypatch.setenv("TF_CONFIG", json.dumps({
            "cluster": {"worker": addresses}, "task": {"type": "worker", "index": number}}))
        return declines(train.main, "--strategy=multi_worker", f"--data_dir={photos}", *flags)

    return run


@pytest.mark.parametrize("number", [0, 1])
def test_a_worker_that_cannot_be_reached_is_named(number, as_worker, monkeypatch):
    monkeypatch.setattr(distribution, "STARTUP_TIMEOUT", 1)
    addresses = free_addresses(2)
    sentence = as_worker(number, addresses)
    assert sentence.startswith(f"worker {1 - number} ({addresses[1 - number]}) cannot be reached "
                               f"from worker {number}, 1 seconds long")


def test_everyone_learns_who_is_missing(monkeypatch):
    monkeypatch.setattr(distribution, "STARTUP_TIMEOUT", 2)
    addresses = free_addresses(3)

    def refusal(number):
        with pytest.raises(UserError) as error:
            distribution.rendezvous(addresses, number, {})
        return str(error.value)

    with ThreadPoolExecutor(2) as pool:
        for number, sentence in enumerate(pool.map(refusal, (0, 1))):
            assert sentence.startswith(f"worker 2 ({addresses[2]}) cannot be reached from worker "
                                       f"{number}, 2 seconds long")


def test_unequal_flags_are_named(as_worker, photos):
    addresses = free_addresses(3)
    names = repr([(path.name, label) for path, label in data.find_images(photos)])
    own = {"the cluster of TF_CONFIG": str(addresses), "--strategy": "multi_worker",
           "the digest of the file names in --data_dir": hashlib.sha256(
               names.encode()).hexdigest()[:12]}
    with ThreadPoolExecutor(2) as pool:
        others = [pool.submit(distribution.rendezvous, addresses, number,
                              {"alike": own | changes, "run": ""})
                  for number, changes in ((1, {"--lr": "0.5"}), (2, {"--lr": "0.001"}))]
        sentence = as_worker(0, addresses, "--lr=0.5")
        assert sentence == ("--lr is 0.5 here, for worker 0, and 0.001 for worker 2: start all "
                            "alike")
        for other in others:
            assert [each["alike"].get("--lr") for _, each in sorted(other.result().items())] == [
                "0.5", "0.5", "0.001"]


def test_an_unequal_cluster_is_named(as_worker):
    addresses = free_addresses(2)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(distribution.rendezvous, addresses, 1, {"run": "", "alike": {
            "the cluster of TF_CONFIG": "['another:1']", "--strategy": "multi_worker"}})
        assert "the cluster of TF_CONFIG is ['127.0.0.1:" in as_worker(0, addresses)


def test_strangers_that_call_the_chief_are_passed_over():
    addresses = free_addresses(2)
    host, port = addresses[0].split(":")

    def call(sent: bytes) -> socket.socket:
        while True:
            try:
                stranger = socket.create_connection((host, int(port)))
            except ConnectionRefusedError:  # the chief is not there yet
                time.sleep(0.01)
            else:
                stranger.sendall(sent)
                return stranger

    with ThreadPoolExecutor(1) as pool:
        chief = pool.submit(distribution.rendezvous, addresses, 0, {})
        for sent in (b"GET / HTTP/1.1\r\n\r\n", b"", b"[1]\n", b"1\n", b"[7, {}]\n"):
            call(sent).close()
        with call(b""):  # sends nothing, and stays
            met = distribution.rendezvous(addresses, 1, {"a": "b"})
            assert met == chief.result() == {0: {}, 1: {"a": "b"}}


def test_a_port_that_is_taken_is_named(as_worker):
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        assert as_worker(0, [f"127.0.0.1:{port}", "127.0.0.1:9"]) == (
            f"TF_CONFIG gives port {port} to this worker, 0, which cannot have it: Address "
            "already in use")


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
    for task, number in (({"type": "chief", "index": 0}, 0), ({"type": "worker", "index": 1}, 2)):
        monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": task}))
        assert distribution.cluster() == (["c:3", "a:1", "b:2"], number)
