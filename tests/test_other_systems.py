"""What only one system has is done without: Unix's modules, signals, functions, and slashes."""

import contextlib
import errno
import os
import types
from pathlib import Path, PureWindowsPath

import pytest

import needs
import without_unix
from conftest import ROOT
from support import cli, machine, run_folder, runs
from support.settings import Config

SMALL = ("--arch=conv1", "--hidden=8", "--input_size=16x20", "--train_size=16", "--valid_size=8")


@pytest.fixture
def run_without_unix(start, tmp_path):
    """run_without_unix("train.py", "--arch=mlp", …) -> what it printed; fails="" what it says."""

    def run(script: str, *arguments: str, fails: str = "") -> str:
        process = start(without_unix.run_script, ROOT / script, arguments, tmp_path,
                        {**os.environ, "COLUMNS": "100"}, tmp_path)
        process.join(240)
        assert (process.exitcode, (tmp_path / "stderr").read_text()) == (bool(fails), fails)
        return (tmp_path / "stdout").read_text()

    return run


@needs.fork
def test_a_run_is_trained_resumed_and_used_without_unix(run_without_unix, tmp_path):
    printed = run_without_unix("train.py", *SMALL, "--epochs=1", "--test_size=4")
    assert "the run is runs\\conv1-1" in printed and "on 4 held-out test pictures" in printed
    assert run_without_unix("train.py", "--resume=runs\\conv1-1", "--epochs=2").startswith(
        "runs\\conv1-1 resumes in epoch 2, after step 0")
    printed = run_without_unix("predict.py", "--run=runs\\conv1-1",
                               f"{ROOT}/sample/dog.24?.jpg")
    assert [line.partition(":")[0] for line in printed.splitlines()] == [
        str(ROOT / f"sample/dog.24{last}.jpg").replace("/", "\\") for last in range(10)]
    assert "conv1-1" in run_without_unix("report.py", "runs/*")
    run_without_unix("report.py", "runs\\conv1-1", "--pictures")
    run_without_unix("explain.py", "--run=runs\\conv1-1", "--page",
                     f"--image={ROOT}/sample/cat.1.jpg")
    assert {file.name for file in (tmp_path / "runs/conv1-1").iterdir()} >= {
        "best", "checkpoints", "config.json", "model", "mistakes.png", "histogram.png"}
    assert b"\r" not in (tmp_path / "runs/conv1-1/config.json").read_bytes()


@needs.fork
def test_a_run_that_cannot_begin_leaves_no_folder_without_unix(run_without_unix, tmp_path):
    run_without_unix("train.py", "--data_dir=nowhere", "--name=mine",
                     fails="--data_dir=nowhere is not a folder\n")
    assert not [*(tmp_path / "runs").iterdir()]


@needs.fork
@pytest.mark.parametrize("command, error", [
    ("data.py", ""), ("models.py", ""), (f"filters.py --image={ROOT}/kittens.jpg --page", ""),
    ("tools/bench.py stray", "bench.py takes flags only, not 'stray': see python "
                             f"{ROOT}/tools/bench.py --help\n"),
    ("tools/claims.py --claims=0", "--claims=0 is none of the claims: they are 1 to 11\n")])
def test_every_other_script_starts_without_unix(run_without_unix, command, error):
    run_without_unix(*command.split(), fails=error)


def test_a_path_of_windows_is_no_pattern_to_tensorflow():
    run_folder.check_path(PureWindowsPath(r"C:\Users\me\runs\conv1-1"))
    with pytest.raises(cli.UserError, match=r"^C:\\runs\\\[1\]: TensorFlow reads no files where"):
        run_folder.check_path(PureWindowsPath(r"C:\runs\[1]"))


def test_the_command_to_resume_can_be_typed_on_windows():
    run = runs.Run(PureWindowsPath(r"C:\My runs\conv1-1"), Config(), contextlib.ExitStack())
    assert run.resume_command == "python train.py --resume='C:/My runs/conv1-1'"


def test_patterns_are_expanded_where_the_shell_does_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b.jpg", "a.jpg", "[1].jpg", "a.png"):
        Path(name).touch()
    names = ["*.jpg", "[1].jpg", "no*", "a.pn?"]
    assert cli.expanded(names) == ["[1].jpg", "a.jpg", "b.jpg", "[1].jpg", "no*", "a.png"]
    received = []
    script = cli.script(arguments=True)(received.append)
    for expands in (True, False):
        monkeypatch.setattr(cli, "SHELL_EXPANDS_PATTERNS", expands)
        script(["predict.py", "a.*"])
    assert received == [["predict.py", "a.*"], ["predict.py", "a.jpg", "a.png"]]


def test_a_broken_pipe_of_windows_ends_a_script_as_that_of_unix(monkeypatch):
    monkeypatch.setattr(cli, "BROKEN_PIPE", errno.EINVAL)
    monkeypatch.setattr(os, "dup2", lambda *_: None)  # the output of this process stays

    @cli.script()
    def main(_):
        raise OSError(errno.EINVAL, "Invalid argument")

    with pytest.raises(SystemExit) as exited:
        main(["train.py"])
    assert exited.value.code == 128 + 13


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_where_a_file_system_has_no_locks_a_run_is_trained_with_a_warning(
        tmp_path, monkeypatch, capsys, code):
    def no_locks(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(run_folder, "fcntl", types.SimpleNamespace(
        flock=no_locks, LOCK_EX=2, LOCK_NB=4))
    with run_folder.locked(tmp_path):
        assert capsys.readouterr().err == (
            f"{tmp_path}: its file system has no locks ({os.strerror(code)}): do not start another "
            "train.py in it meanwhile\n")


# ---------------------------------------------------------------------------------------------
# Containers
# ---------------------------------------------------------------------------------------------

@pytest.fixture
def cgroup_files(tmp_path, monkeypatch):
    """cgroup_files({"/proc/self/cgroup": "0::/", …}): the files that Path then finds there."""
    def make(files: dict[str, str]) -> None:
        for name, text in files.items():
            file = tmp_path / name.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        monkeypatch.setattr(machine, "Path", lambda *parts: tmp_path / "/".join(
            map(str, parts)).lstrip("/"))
    return make


@needs.limits
@pytest.mark.parametrize("files, expected", [
    ({}, None),
    ({"/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/memory.max": "1500000000\n"}, 1.5e9),
    ({"/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/memory.max": "max\n"}, None),
    ({"/proc/self/cgroup": "0::/user/job\n", "/sys/fs/cgroup/user/job/memory.max": "max\n",
      "/sys/fs/cgroup/user/memory.max": "1600000000\n"}, 1.6e9),
    ({"/proc/self/cgroup": "4:cpu,memory:/docker/1\n1:name=systemd:/\n0::/\n",
      "/sys/fs/cgroup/memory/memory.limit_in_bytes": "1700000000\n"}, 1.7e9),
    ({"/proc/self/cgroup": "4:memory:/\n",
      "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, None)])
def test_memory_is_what_the_container_may_use(cgroup_files, files, expected):
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cgroup_files(files)
    assert machine.memory() == (expected or installed)


def test_cores_are_those_that_this_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3, 7}, raising=False)
    assert machine.cores() == 5
    monkeypatch.delattr(os, "sched_getaffinity")
    assert machine.cores() == 64


def test_converting_many_images_takes_their_memory_three_times(monkeypatch):
    import models
    network = models.shapes_only(models.options("conv1", hidden=[4], filters=[4], stride=8))
    images = 100_000 * 94 * 125 * 3
    monkeypatch.setattr(machine, "memory", lambda: machine.TENSORFLOW_MEMORY + 3 * images)
    machine.check_memory(network, 4, 100_000)
    with pytest.raises(cli.UserError, match="takes about 10.98 GB of memory"):
        machine.check_memory(network, 4, 100_001)


def test_a_training_that_a_container_would_kill_is_refused(monkeypatch, declines):
    import train
    monkeypatch.setattr(machine, "memory", lambda: 1.4e9)  # where Linux killed it
    assert declines(train.main, "--arch=conv2_fc512") == (
        "training this conv2_fc512 takes about 1.53 GB of memory, and there are 1.40 GB: use a "
        "smaller --input_size, --batch_size or --train_size, a larger --stride, or pooling")
