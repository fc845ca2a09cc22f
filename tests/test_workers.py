"""Several devices and several machines: they train as one, and say which of them is missing."""

import functools
import json
import shutil
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import data
import mortal
import numpy as np
import pytest
import tensorflow as tf
import train
from PIL import Image
from test_resume import answer, eagerly, processes, records  # noqa: F401

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
def start_one(processes, photos, tmp_path_factory):  # noqa: F811
    """start_one(prepare, *flags): the process and the folder that it runs in, with its files."""
    def begin(prepare, *flags):
        folder = tmp_path_factory.mktemp("process")
        return processes(folder, *flags, prepare=prepare), folder

    return begin


@pytest.fixture(scope="module")
def start_two(start_one):
    """Two workers, both with these flags and each with a preparation of its own."""
    def begin(*flags, then=(mortal.as_it_is, mortal.as_it_is)):
        addresses = free_addresses(2)
        return addresses, [
            start_one(functools.partial(mortal.worker, addresses, number, then[number]),
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
    process, alone = start_one(mortal.alone_with_the_batches_of_two, *FLAGS, f"--data_dir={photos}",
                           "--name=one")
    assert end(process, alone) == (0, "")
    assert len(losses(alone)) == 24 and losses(chief) == losses(other)
    np.testing.assert_allclose(losses(chief), losses(alone), rtol=1e-5)
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


def test_two_devices_follow_the_path_of_one(start_one, photos):
    mirrored, single = (
        start_one(prepare, *FLAGS, "--arch=mlp", f"--data_dir={photos}", *flags)
        for prepare, *flags in ((mortal.two_devices, "--strategy=mirrored", "--flip"),
                                (mortal.compiled, "--strategy=single")))
    assert end(*mirrored) == end(*single) == (0, "")
    assert len(losses(mirrored[1])) == 24
    np.testing.assert_allclose(losses(mirrored[1]), losses(single[1]), rtol=1e-5)
    assert ", 2 replicas; " in (mirrored[1] / "stdout").read_text()
    seeds = (mirrored[1] / "seeds").read_text().splitlines()
    assert sorted(seeds) == sorted(f"[0 {draw}]" for draw in range(48))  # each of each its own


def test_a_run_of_two_can_be_gone_on_with_alone_and_says_what_that_means(
        two, eagerly, tmp_path, capsys):  # noqa: F811
    run = tmp_path / "copy"
    shutil.copytree(two[0], run)
    assert answer(f"--resume={run}", "--epochs=5", "--strategy=single") == 0
    output = capsys.readouterr().out
    assert f"{run} goes on in epoch 5, after step 0" in output
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
# Each holds its share of the pictures
# ---------------------------------------------------------------------------------------------

def in_shares(count: int, work) -> list:
    """work(share) of each of so many workers, in threads that exchange what they have."""
    barrier, said = threading.Barrier(count), [None] * count

    def of_one(number):
        def exchange(value):
            said[number] = json.dumps(value)
            barrier.wait(60)
            everything = [json.loads(text) for text in said]
            barrier.wait(60)
            return everything

        return work(data.Share(number, count, exchange))

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(of_one, range(count)))


@pytest.fixture
def some_photos(photos, tmp_path) -> Path:
    for file in photos.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


@pytest.mark.parametrize("workers", [2, 3])
@pytest.mark.parametrize("train_size, broken, left", [
    (None, [], 24),
    (16, ["cat.3", "dog.5", "cat.7", "cat.8"], 16),  # others take their places
    (None, ["cat.3", "dog.5", "cat.7", "cat.8"], 18),  # there are no others: three pairs go
])
def test_the_workers_shares_make_up_the_pictures_of_one(workers, train_size, broken, left,
                                                        some_photos):
    for name in broken:
        (some_photos / f"{name}.png").write_bytes(b"")
    pictures = data.find_pictures(some_photos)
    sizes = (train_size, 6, 0, (12, 14), 2)
    whole = data.load_dataset(pictures, *sizes)
    shares = in_shares(workers, lambda share: data.load_dataset(pictures, *sizes, share))
    assert len(whole.train_images) == left
    for part in ("train", "valid", "test"):
        images = getattr(whole, f"{part}_images")
        for number, own in enumerate(shares):
            np.testing.assert_array_equal(getattr(own, f"{part}_images"), images[number::workers])
            assert getattr(own, f"{part}_images").dtype == np.uint8
            np.testing.assert_array_equal(getattr(own, f"{part}_labels"),
                                          getattr(whole, f"{part}_labels"))
            assert getattr(own, f"{part}_files") == getattr(whole, f"{part}_files")
            assert own.skipped == whole.skipped


def test_a_worker_reads_no_other_pictures_than_its_share(photos, monkeypatch):
    read = []
    load = data.load_picture
    monkeypatch.setattr(data, "load_picture",
                        lambda path, size: (read.append(path), load(path, size))[1])
    shares = in_shares(4, lambda share: data.load_dataset(
        data.find_pictures(photos), 16, 8, 0, (12, 14), 8, share))
    assert len(read) == len(set(read)) == 32
    for own in shares:
        assert (len(own.train_images), len(own.valid_images), len(own.test_images)) == (4, 2, 2)


def test_workers_that_see_different_pictures_are_told(photos, some_photos):
    (some_photos / "cat.0.png").unlink()
    folders = photos, some_photos

    def load(share):
        with pytest.raises(data.DataError) as error:
            data.load_dataset(data.find_pictures(folders[share.number]), 8, 8, 0, (12, 14), 0,
                              share)
        return str(error.value)

    assert all("the workers' folders do not hold the same pictures" in sentence
               for sentence in in_shares(2, load))


def test_shares_have_one_digest_and_one_scale(photos):
    def digest_and_scale(share):
        dataset = data.load_dataset(data.find_pictures(photos), 16, 8, 0, (12, 14), 2, share)
        scale = train.models.Scale((12, 14, 3), "standard")
        scale.measure(dataset.train_images, share.together)
        return train.digest(dataset), [*scale.mean.numpy(), *scale.deviation.numpy()]

    whole = digest_and_scale(data.Share())
    assert in_shares(3, digest_and_scale) == [whole] * 3


# ---------------------------------------------------------------------------------------------
# One is missing
# ---------------------------------------------------------------------------------------------

def test_a_worker_that_dies_is_named_and_the_run_goes_on_with_its_numbers(two, start_two, photos,
                                                                          tmp_path):
    whole, _ = two
    flags = (*FLAGS, f"--data_dir={photos}", f"--runs_dir={tmp_path}", "--name=mine")
    dies = functools.partial(mortal.die_at_step, 9)
    for victim in (1, 0):
        then = [mortal.save_at_every_step] * 2
        then[victim] = dies
        addresses, workers = start_two(*flags, then=then)
        assert end(*workers[victim])[0] == -9
        died = time.monotonic()
        code, sentence = end(*workers[1 - victim])
        assert time.monotonic() - died < 60
        assert code == 1
        assert sentence == (
            f"worker {victim} ({addresses[victim]}) died or lost touch; all that was saved before "
            f"is whole: put that right and go on with python train.py --resume={tmp_path}/mine "
            "--strategy=multi_worker\n")
        flags = (f"--resume={tmp_path}/mine",)
    assert 0 < len(records(tmp_path / "mine")) < 4
    _, workers = start_two(*flags)
    assert [end(*worker) for worker in workers] == [(0, "")] * 2
    assert records(tmp_path / "mine") == records(whole)
    assert (tmp_path / "mine/test.json").read_text() == (whole / "test.json").read_text()


def test_ctrl_c_at_the_chief_saves_and_at_another_worker_says_so(two, start_two, photos, tmp_path):
    whole, _ = two
    pressed = functools.partial(mortal.ctrl_c_at_step, 5)
    addresses, workers = start_two(*FLAGS, f"--data_dir={photos}", f"--runs_dir={tmp_path}",
                                   "--name=mine", then=(pressed, mortal.as_it_is))
    assert end(*workers[0]) == (130, "")
    go_on = f"python train.py --resume={tmp_path}/mine --strategy=multi_worker"
    assert f"saved; go on with {go_on}\n" in (workers[0][1] / "stdout").read_text()
    code, sentence = end(*workers[1])
    assert code == 1 and sentence.startswith(f"worker 0 ({addresses[0]}) died or lost touch")

    _, workers = start_two(f"--resume={tmp_path}/mine", then=(mortal.as_it_is, pressed))
    assert [end(*worker) for worker in workers] == [(0, "")] * 2
    assert "stop worker 0, which saves the run" in (workers[1][1] / "stdout").read_text()
    assert records(tmp_path / "mine") == records(whole)


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
    monkeypatch.setattr(train, "PATIENCE", 1)
    addresses = free_addresses(2)
    sentence = as_worker(number, addresses)
    assert sentence.startswith(f"worker {1 - number} ({addresses[1 - number]}) cannot be reached "
                               f"from worker {number}, 1 seconds long")


def test_everyone_learns_who_is_missing(monkeypatch):
    monkeypatch.setattr(train, "PATIENCE", 2)
    addresses = free_addresses(3)

    def answer(number):
        with pytest.raises(ValueError) as error:
            train.meet(addresses, number, {})
        return str(error.value)

    with ThreadPoolExecutor(2) as pool:
        for number, sentence in enumerate(pool.map(answer, (0, 1))):
            assert sentence.startswith(f"worker 2 ({addresses[2]}) cannot be reached from worker "
                                       f"{number}, 2 seconds long")


def test_unequal_flags_are_named(as_worker):
    addresses = free_addresses(3)
    own = {"the cluster of TF_CONFIG": str(addresses), "--strategy": "multi_worker"}
    with ThreadPoolExecutor(2) as pool:
        others = [pool.submit(train.meet, addresses, number, own | changes)
                  for number, changes in ((1, {"--lr": "0.5"}), (2, {"--lr": "0.001"}))]
        sentence = as_worker(0, addresses, "--lr=0.5")
        assert sentence == ("--lr is 0.5 here, for worker 0, and 0.001 for worker 2: start all "
                            "alike")
        for other in others:
            assert [hello.get("--lr") for _, hello in sorted(other.result().items())] == [
                "0.5", "0.5", "0.001"]


def test_an_unequal_cluster_is_named(as_worker):
    addresses = free_addresses(2)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(train.meet, addresses, 1, {"the cluster of TF_CONFIG": "['another:1']",
                                                "--strategy": "multi_worker"})
        assert "the cluster of TF_CONFIG is ['127.0.0.1:" in as_worker(0, addresses)


def test_strangers_that_call_the_chief_are_passed_over():
    addresses = free_addresses(2)
    host, port = addresses[0].split(":")

    def call(said: bytes) -> socket.socket:
        while True:
            try:
                stranger = socket.create_connection((host, int(port)))
            except ConnectionRefusedError:  # the chief is not there yet
                time.sleep(0.01)
            else:
                stranger.sendall(said)
                return stranger

    with ThreadPoolExecutor(1) as pool:
        chief = pool.submit(train.meet, addresses, 0, {})
        for said in (b"GET / HTTP/1.1\r\n\r\n", b"", b"[1]\n", b"1\n", b"[7, {}]\n"):
            call(said).close()
        with call(b""):  # says nothing, and stays
            met = train.meet(addresses, 1, {"a": "b"})
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
def test_a_malformed_tf_config_is_answered_in_one_sentence(text, reason, declines, photos,
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
        assert train.cluster() == (["c:3", "a:1", "b:2"], number)
