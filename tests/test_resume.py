"""A run that is interrupted, killed, on a full disk or with damaged files loses nothing."""

import contextlib
import dataclasses
import functools
import itertools
import json
import os
import shutil
import signal
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver
from PIL import Image

import data
import interrupted_runs
import metrics
import models
import needs
import train
from conftest import ROOT, eagerly
from support import checkpoints, run_folder, runs, saved_model, split_sizes, summary
from support.settings import Config
from support.tensorflow_setup import tf
from test_train import config_of, dataset_of, run_of, train_run

# Everything that chance has a part in is on.
CONFIG = config_of(arch="conv1", lr=1e-3, epochs=3, batch_size=4, init="he", input_size=(12, 14),
                   scaling="standard", schedule="onecycle", flip=True, shift=2, dropout=0.3,
                   weight_decay=0.1)
FLAGS = ("--arch=mlp", "--lr=1e-3", "--epochs=3", "--batch_size=4", "--input_size=12x14",
         "--scaling=standard", "--flip", "--shift=2", "--dropout=0.3", "--dtype=float32",
         "--schedule=onecycle", "--train_size=10", "--valid_size=10", "--test_size=4",
         "--data_dir=photos", "--name=mine")


def make_dataset() -> data.Dataset:
    generator = np.random.default_rng(1)
    return dataset_of(*(  # three steps an epoch
        (generator.integers(0, 256, (count, 12, 14, 3), dtype=np.uint8),
         np.resize([1, 0], count).astype(np.float32)) for count in (10, 10, 6)))


def changed(config: Config, **changes) -> Config:
    return Config(**vars(config) | changes)


def train_until_interrupted(config: Config, run: Path) -> int | None:
    """Train a run; the signal that ended it, if one did."""
    try:
        train_run(config, make_dataset(), run)
    except SystemExit as interrupted:
        return interrupted.code - 128
    return None


def records(run: Path) -> list[dict]:
    """metrics.jsonl, if there is one yet, but for the time it took."""
    history = run / "metrics.jsonl"
    lines = history.read_text().splitlines() if history.exists() else []
    return [{**json.loads(line), "seconds": 0, "pictures_per_second": 0} for line in lines]


def numbers(folder: Path) -> dict[str, bytes]:
    """Every variable of the newest checkpoint in `folder`, to the last bit."""
    reader = tf.train.load_checkpoint(str(max(folder.glob("epoch-*")) / "checkpoint"))
    return {name: reader.get_tensor(name).tobytes()
            for name, dtype in reader.get_variable_to_dtype_map().items() if dtype != tf.string}


def assert_equal_runs(run: Path, other: Path):
    assert records(run) == records(other)
    for folder in ("checkpoints", "best"):
        assert numbers(run / folder) == numbers(other / folder) != {}
    assert (run / "test.json").read_text() == (other / "test.json").read_text()


def call_at_steps(monkeypatch, calls: dict):
    """Calls calls[n] in the n-th step from now on."""
    learning_rate, steps = train.learning_rate, iter(range(1, 1000))

    def counted(config, progress):
        if config.epochs * progress % 1:  # a step's; an epoch's record has that at its end
            calls.get(next(steps), lambda: None)()
        return learning_rate(config, progress)

    monkeypatch.setattr(train, "learning_rate", counted)


def ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


def exit_code(*arguments: str):
    """What python train.py ARGUMENTS exits with, run in this process: a number or a sentence."""
    with flagsaver.flagsaver():
        flags.FLAGS.unparse_flags()
        try:
            train.main(flags.FLAGS(["train.py", *arguments]))
            return 0
        except SystemExit as error:
            return error.code


def checkpoint_of(config: Config) -> tf.train.Checkpoint:
    network = models.Network(config)
    return tf.train.Checkpoint(network=network,
                               optimizer=train.Adam(network.trainable_variables),
                               progress=checkpoints.TrainingState(config.seed))


@pytest.fixture(scope="module", autouse=True)
def all_eagerly():
    with eagerly():
        yield


@pytest.fixture(autouse=True)
def tiny_export(monkeypatch):
    """The export of a finished run, done in no time: what it writes is tested elsewhere."""
    def export(*arguments):
        with run_folder.replacing(arguments[-1]) as unfinished:
            unfinished.mkdir()

    monkeypatch.setattr(saved_model, "export", export)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A run of CONFIG that nothing disturbed."""
    run = tmp_path_factory.mktemp("whole")
    train_run(CONFIG, make_dataset(), run)
    return run


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory) -> Path:
    """A folder with photos/, runs/whole and runs/mine, which ends in the second of its epochs."""
    folder = tmp_path_factory.mktemp("interrupted")
    (folder / "photos").mkdir()
    for number in range(16):
        for name in ("cat", "dog"):
            noise = np.random.default_rng([number, ord(name[0])]).integers(0, 256, (12, 14, 3))
            Image.fromarray(noise.astype(np.uint8)).save(folder / f"photos/{name}.{number}.png")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        assert exit_code(*FLAGS[:-1], "--name=whole") == 0
        call_at_steps(monkeypatch, {5: ctrl_c})
        assert exit_code(*FLAGS) == 130
    return folder


@pytest.fixture
def folder(interrupted, tmp_path, monkeypatch) -> Path:
    """A copy of `interrupted`, and the folder that train.py runs in."""
    copy = tmp_path / "copy"
    shutil.copytree(interrupted, copy)
    for file in copy.glob("runs/*/config.json"):
        file.write_text(file.read_text().replace(str(interrupted), str(copy)))
    monkeypatch.chdir(copy)
    return copy


@pytest.fixture(scope="module")
def processes(start):
    """processes(folder, *arguments, prepare=…): train.py in a process of its own."""
    def begin(folder: Path, *arguments: str, prepare=interrupted_runs.as_it_is):
        return start(interrupted_runs.run, folder, arguments, prepare)

    return begin


def wait_for(what, process):
    deadline = time.monotonic() + 240
    while not what():
        assert process.is_alive() and time.monotonic() < deadline
        time.sleep(0.01)


# ---------------------------------------------------------------------------------------------
# Interrupted and resumed
# ---------------------------------------------------------------------------------------------

def test_a_run_that_was_interrupted_ends_like_one_that_was_not(whole, tmp_path, monkeypatch):
    for step in (2, 1, 1):  # within an epoch of three steps, at its end, in the next one
        with monkeypatch.context() as patch:
            call_at_steps(patch, {step: ctrl_c})
            assert train_until_interrupted(CONFIG, tmp_path) == signal.SIGINT
    best = train_run(CONFIG, make_dataset(), tmp_path)
    assert best["test"] == json.loads((whole / "test.json").read_text())
    assert_equal_runs(tmp_path, whole)


def test_checkpoints_within_an_epoch_change_nothing_and_the_newest_two_stay(whole, tmp_path,
                                                                           monkeypatch):
    monkeypatch.setattr(runs, "FIRST_SAVE", 0)
    monkeypatch.setattr(runs, "PAUSE", 0)
    train_run(CONFIG, make_dataset(), tmp_path)
    assert_equal_runs(tmp_path, whole)
    assert sorted(folder.name for folder in tmp_path.glob("checkpoints/*")) == [
        "epoch-000003-step-000003", "epoch-000004-step-000000"]
    best = max(records(tmp_path), key=lambda record: (record["best_accuracy"], -record["mse"]))
    assert [folder.name for folder in tmp_path.glob("best/*")] == [f"epoch-{best['epoch']:06}"]


def test_the_weights_of_two_epochs_are_kept_and_at_the_end_those_of_the_best(tmp_path, monkeypatch):
    """Each epoch is better than the one before, and the end of the first one alone is saved."""
    accuracy, seen = itertools.count(1), []
    monkeypatch.setattr(metrics, "measure", lambda *_: {
        "best_accuracy": next(accuracy), "mse": 0.1, "pearson": None, "threshold": 0.5,
        "accuracies": [0.5] * 10, "accuracy_interval": [0, 1]})

    def look(record, epochs):
        seen.append(sorted(int(folder.name[-6:]) for folder in tmp_path.glob("best/*")))
        if record["epoch"] == 5 and len(seen) == 5:
            raise MemoryError

    monkeypatch.setattr(summary, "print_epoch", look)
    config = changed(CONFIG, arch="mlp", epochs=6)
    for error in (pytest.raises(MemoryError), contextlib.nullcontext()):
        run = run_of(config, make_dataset(), tmp_path)
        run.start(make_dataset())
        with error, run.stack, run.training():
            train.train_and_evaluate(config, run.dataset, run)
    assert seen == [[1], [1, 2], [1, 3], [1, 4], [1, 5],  # and resumed, from the end of the first
                    [1, 2, 5], [1, 3, 5], [1, 4, 5], [1, 5], [6]]


@pytest.mark.parametrize("step, took, saved", [
    # Epochs of 30 s, and 1 s to save: the first end, more than 80 s after that, and the last end.
    (10, 1, [(2, 0), (4, 3), (6, 0)]),
    # Epochs of 9 s, and 0.1 s to save: the first step that ends more than 8 s after that.
    (3, 0.1, [(2, 0), (2, 3), (3, 3), (4, 3), (5, 3), (6, 0)]),
    # Steps of 25 s: the first after 60 s, the others 80 s after what was saved before.
    (25, 1, [(1, 3), (2, 0), (3, 1), (4, 2), (5, 3), (6, 0)])])
def test_saving_takes_about_a_percent_of_the_time(step, took, saved, tmp_path, monkeypatch):
    now, moments = [0.0], []

    def save(state, run):
        now[0] += took
        moments.append((state.progress.epoch, state.progress.step))

    def learning_rate(config, progress):
        if config.epochs * progress % 1:  # a step's; an epoch's record has that at its end
            now[0] += step
        return 1e-3

    monkeypatch.setattr(runs.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(checkpoints, "save", save)
    monkeypatch.setattr(train, "learning_rate", learning_rate)
    train_run(changed(CONFIG, arch="mlp", epochs=5, flip=False, shift=0, dropout=0),
              make_dataset(), tmp_path)
    assert moments == saved


def test_a_checkpoint_gives_its_numbers_back_to_the_last_digit(tmp_path):
    progress = checkpoints.TrainingState(7, 3, 2, 0.1 + 0.2, 1 / 3)
    checkpoints.write(tf.train.Checkpoint(progress=progress), tmp_path / "a")
    read = checkpoints.TrainingState(0)
    tf.train.Checkpoint(progress=read).read(str(tmp_path / "a/checkpoint"))
    assert dataclasses.asdict(read) == dataclasses.asdict(progress)


def test_train_py_goes_on_with_the_runs_own_configuration(folder, capsys):
    before = json.loads(Path("runs/mine/config.json").read_text())
    assert exit_code("--resume=runs/mine") == 0
    assert "runs/mine resumes in epoch 2, after step 2" in capsys.readouterr().out
    assert_equal_runs(Path("runs/mine"), Path("runs/whole"))
    assert json.loads(Path("runs/mine/config.json").read_text()) == before


def test_a_run_without_a_checkpoint_begins_again(folder, capsys):
    shutil.rmtree("runs/mine/checkpoints")
    assert exit_code("--resume=runs/mine") == 0
    assert "runs/mine has no checkpoint: it starts again" in capsys.readouterr().out
    assert_equal_runs(Path("runs/mine"), Path("runs/whole"))


def test_a_finished_run_says_so_and_keeps_its_numbers(folder, capsys):
    shutil.copytree("runs/whole", "runs/copy")
    assert exit_code("--resume=runs/copy") == 0
    output = capsys.readouterr().out
    assert "runs/copy is finished: its 3 epochs are trained" in output
    assert "best accuracy" in output
    assert_equal_runs(Path("runs/copy"), Path("runs/whole"))


def test_more_epochs_can_be_asked_for_and_move_the_cycle(folder, capsys, monkeypatch):
    progress = []
    monkeypatch.setattr(train, "learning_rate", lambda config, share: progress.append(share) or 0)
    assert exit_code("--resume=runs/mine", "--epochs=4") == 0
    output = capsys.readouterr().out
    assert "follows the cycle of 4 epochs, not of 3: a run started with --epochs=4 would" in output
    # Steps of 4, 4 and 2 pictures: 12 in all, 5 of them done, and each counts by its middle.
    steps = [share for share in progress if 4 * share % 1]  # not at an epoch's end, for its record
    np.testing.assert_allclose(steps, (np.arange(5, 12) + 0.5) / 12)
    assert len(records(Path("runs/mine"))) == 4
    assert json.loads(Path("runs/mine/config.json").read_text())["config"]["epochs"] == 4


def test_pictures_that_were_moved_are_found_with_data_dir(folder):
    Path("photos").rename("elsewhere")
    assert exit_code("--resume=runs/mine", "--data_dir=elsewhere") == 0
    assert_equal_runs(Path("runs/mine"), Path("runs/whole"))
    known = json.loads(Path("runs/mine/config.json").read_text())["config"]
    assert known["data_dir"] == str(folder / "elsewhere")


# ---------------------------------------------------------------------------------------------
# Refused, in one sentence
# ---------------------------------------------------------------------------------------------

def refused(*arguments: str) -> str:
    """The sentence, after which nothing of runs/ has changed."""
    before = contents()
    sentence = exit_code(*arguments)
    assert isinstance(sentence, str) and len(sentence.splitlines()) == 1
    assert contents() == before
    return sentence


def contents(folder=Path("runs")) -> dict[Path, bytes | bool]:
    """What is in each file below, and which folders there are."""
    return {path.relative_to(folder): path.is_file() and path.read_bytes()
            for path in folder.rglob("*") if path.name != ".lock"}


def test_a_run_whose_checkpoints_were_deleted_is_not_trained_over(folder):
    shutil.rmtree("runs/whole/checkpoints")
    sentence = refused("--resume=runs/whole", "--epochs=9")
    assert sentence == ("runs/whole cannot be resumed: its checkpoints were deleted, and to start "
                        "again would overwrite what it has; train a new run")
    shutil.rmtree("runs/whole/model")  # not finished, but past the epoch that is saved for sure
    assert refused("--resume=runs/whole") == sentence


@pytest.mark.parametrize("given, names", [
    (["--lr=1e-3"], "--lr"), (["--noflip"], "--flip"), (["--name=mine"], "--name"),
    (["--seed=0", "--train_size=10", "--kernel_size=3"], "--train_size, --kernel_size, --seed")])
def test_any_other_flag_is_refused_by_name(given, names, folder):
    sentence = refused("--resume=runs/mine", *given)
    refusal = (" cannot be given with --resume: a run keeps the settings it was started with; "
               "beside it only --epochs, --strategy, --data_dir, --eager can be given")
    assert refusal in sentence and set(sentence.partition(refusal)[0].split(", ")) == set(
        names.split(", "))


def test_a_recipe_beside_resume_is_refused(folder):
    sentence = refused("--resume=runs/mine", f"--flagfile={ROOT}/recipes/ten-seconds.flags")
    assert "--schedule" in sentence and "cannot be given with --resume" in sentence


def test_what_is_no_run_is_refused(folder):
    assert "runs/no is not the folder of a run: runs/no/config.json: No such file" in refused(
        "--resume=runs/no")
    for damage in ("", "[]", '{"format": 5}', '{"format": 5, "config": {}}',
                   '{"format": 5, "config": {"input_size": 3}}', "\0"):
        Path("runs/mine/config.json").write_text(damage)
        assert "runs/mine is damaged: its config.json is not what train.py writes (" in refused(
            "--resume=runs/mine")


def test_fewer_epochs_than_there_are_is_refused(folder):
    assert refused("--resume=runs/whole", "--epochs=2") == (
        "--epochs=2: runs/whole has trained 3 already; give a larger number, or none")


@pytest.mark.parametrize("change, sentence", [
    (lambda: Path("photos/cat.3.png").unlink(),
     "are not those it was started with: cat.3.png vanished; put them back"),
    (lambda: shutil.copy("photos/cat.3.png", "photos/cat.99.png"),
     "are not those it was started with: cat.99.png appeared; put them back, and take out what"),
    (lambda: Path("photos/cat.3.png").rename("photos/cat.99.png"),
     "it was started with: cat.3.png vanished; cat.99.png appeared; put"),
    (lambda: shutil.copy("photos/cat.3.png", "photos/cat.4.png"),
     "it was started with: cat.4.png changed; put"),
    (lambda: Path("photos/cat.3.png").write_bytes(b""),
     "it was started with: cat.3.png (empty file) cannot be read; put"),
    (lambda: [file.unlink() for file in Path("photos").glob("dog.?.png")],
     "with: dog.0.png, dog.1.png, dog.2.png and 7 others vanished; put"),
    (lambda: shutil.rmtree("photos"), "photos is not a folder; if its pictures were moved, say"),
])
def test_other_pictures_than_before_are_noticed(change, sentence, folder):
    change()
    told = refused("--resume=runs/mine")
    assert told.startswith("runs/mine cannot be resumed: ") and sentence in told
    assert "--data_dir" in told


@pytest.mark.parametrize("change", [
    {"arch": "conv1"}, {"arch": "conv2_48"}, {"input_size": (14, 14)}, {"seed": 1}])
def test_checkpoints_of_another_network_are_refused(change, folder):
    config = changed(CONFIG, **{"arch": "mlp", **change})
    with pytest.raises(ValueError, match="is of another run: it does not fit the "
                                         f"{config.arch} with --seed={config.seed} of runs/mine"):
        checkpoints.restore(checkpoint_of(config), Path("runs/mine"))


def test_a_run_that_was_given_anothers_checkpoints_is_refused_and_keeps_them(folder):
    config = Path("runs/mine/config.json")
    config.write_text(config.read_text().replace('"arch": "mlp"', '"arch": "conv1"'))
    assert "of another run: it does not fit the conv1 with --seed=0 of runs/mine/config.json" in (
        refused("--resume=runs/mine"))


# ---------------------------------------------------------------------------------------------
# Damage
# ---------------------------------------------------------------------------------------------

def flip_a_bit(file: Path):
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 16
    file.write_bytes(content)


def cut_off(file: Path):
    file.write_bytes(file.read_bytes()[:-100])


def empty(file: Path):
    file.write_bytes(b"")


@pytest.mark.parametrize("damage", [flip_a_bit, cut_off, empty, Path.unlink])
@pytest.mark.parametrize("ending", ["index", "data-00000-of-00001"])
def test_a_damaged_newest_checkpoint_is_noticed(damage, ending, folder, capsys):
    older, newest = sorted(Path("runs/mine/checkpoints").glob("epoch-*"))
    damage(newest / f"checkpoint.{ending}")
    config = changed(CONFIG, arch="mlp")
    state = checkpoint_of(config)
    assert checkpoints.restore(state, Path("runs/mine"))
    assert f"{newest} is damaged\n" in capsys.readouterr().out
    progress = state.progress
    assert (progress.epoch, progress.step) == (2, 0) and older.name == "epoch-000002-step-000000"

    damage(older / f"checkpoint.{ending}")
    with pytest.raises(ValueError, match="none of its checkpoints can be read"):
        checkpoints.restore(state, Path("runs/mine"))
    models.load(Path("runs/mine"))  # the best epoch's weights are still there


def test_from_the_checkpoint_before_a_damaged_one_a_run_ends_with_its_numbers(folder, capsys):
    newest = max(Path("runs/mine/checkpoints").glob("epoch-*"))
    flip_a_bit(newest / "checkpoint.data-00000-of-00001")
    assert exit_code("--resume=runs/mine") == 0
    assert f"{newest} is damaged" in capsys.readouterr().out
    assert_equal_runs(Path("runs/mine"), Path("runs/whole"))


def test_a_damaged_checkpoint_does_not_push_out_the_good_one_before_it(tmp_path):
    state = tf.train.Checkpoint(progress=checkpoints.TrainingState(0))
    for step in (1, 2, 3):
        state.progress.step = step
        checkpoints.save(state, tmp_path)
    state.progress.step = 2  # 3 was damaged: the run has continued from 2
    checkpoints.save(state, tmp_path)
    state.progress.step = 1
    checkpoints.save(state, tmp_path)
    assert [folder.name for folder in tmp_path.glob("checkpoints/*")] == [
        "epoch-000001-step-000001"]


# ---------------------------------------------------------------------------------------------
# Signals, and two processes
# ---------------------------------------------------------------------------------------------

@needs.sigkill
@pytest.mark.parametrize("sent, code", [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_ends_the_run_after_the_step_with_everything_saved(sent, code, folder, processes):
    process = processes(folder, *FLAGS[:-1], "--name=long", "--epochs=100000")
    run = folder / "runs/long"
    wait_for(lambda: list(run.glob("checkpoints/epoch-*")), process)
    os.kill(process.pid, getattr(signal, sent))
    process.join(60)
    assert process.exitcode == code and (folder / "stderr").read_text() == ""
    output = (folder / "stdout").read_text()
    assert "finishing the step and saving (once more to stop at once)" in output
    assert output.endswith("interrupted; resume with python train.py --resume=runs/long\n")
    assert [record["epoch"] for record in records(run)] == list(range(1, len(records(run)) + 1))
    assert int(max(run.glob("checkpoints/epoch-*")).name[6:12]) == len(records(run)) + 1


@pytest.mark.parametrize("error, code", [(KeyboardInterrupt(), 130), (SystemExit(143), 143)])
def test_a_signal_after_the_last_step_says_how_to_resume(error, code, folder, monkeypatch, capsys):
    def export(*_):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(train.saved_model, "export", export)
        assert exit_code("--resume=runs/mine") == code
    assert capsys.readouterr().out.endswith(
        "interrupted; resume with python train.py --resume=runs/mine\n")
    assert exit_code("--resume=runs/mine") == 0 and Path("runs/mine/model").is_dir()


@needs.sigkill
def test_a_second_ctrl_c_ends_at_once_and_loses_nothing_saved(folder, processes):
    process = processes(folder, "--resume=runs/mine", "--epochs=100000",
                        prepare=interrupted_runs.slow_disk)
    wait_for(lambda: len(records(Path("runs/mine"))) > 2, process)
    Path("slow").touch()
    wait_for(Path("writing").exists, process)
    os.kill(process.pid, signal.SIGINT)
    wait_for(lambda: "finishing the step" in Path("stdout").read_text(), process)
    started = time.monotonic()
    os.kill(process.pid, signal.SIGINT)
    process.join(60)
    assert time.monotonic() - started < 20  # the disk would take a minute
    assert process.exitcode == -signal.SIGINT  # which a shell calls 130
    epochs = len(records(Path("runs/mine")))
    assert epochs > 2 and exit_code("--resume=runs/mine", f"--epochs={epochs + 1}") == 0
    assert len(records(Path("runs/mine"))) == epochs + 1


def test_a_run_that_is_in_use_is_refused_to_a_second_process(folder, processes):
    process = processes(folder, "--resume=runs/mine", "--epochs=100000",
                        prepare=interrupted_runs.save_at_every_step)
    wait_for(lambda: len(records(Path("runs/mine"))) > 2, process)
    assert exit_code("--resume=runs/mine") == (
        "runs/mine is in use: another train.py is at work in it; wait until it has ended, or "
        "interrupt it")
    assert process.is_alive()
    process.kill()
    process.join(60)
    epochs = len(records(Path("runs/mine")))  # the lock died with it
    assert exit_code("--resume=runs/mine", f"--epochs={epochs + 1}") == 0


# ---------------------------------------------------------------------------------------------
# Faults
# ---------------------------------------------------------------------------------------------

@needs.limits
@pytest.mark.parametrize("arguments, size, where", [
    ((*FLAGS[:-1], "--name=new"), 500_000, "runs/new/best/"),
    ((*FLAGS[:-1], "--name=new"), 2_000_000, "runs/new/checkpoints/"),
    (("--resume=runs/mine",), 2_000_000, "runs/mine/checkpoints/")])
def test_a_full_disk_is_reported_and_costs_nothing_that_was_saved(arguments, size, where, folder,
                                                              processes):
    """A file may have so many bytes; the weights take a million and a checkpoint three."""
    before = contents()
    process = processes(folder, *arguments,
                        prepare=functools.partial(interrupted_runs.small_files, size))
    process.join(240)
    sentence, run = (folder / "stderr").read_text(), Path(where).parent
    assert process.exitcode == 1 and len(sentence.splitlines()) == 1
    assert "File too large" in sentence and f"{where}unfinished" in sentence
    assert f"resume with python train.py --resume={run}" in sentence
    assert not list(Path("runs").rglob("unfinished"))  # it takes no room
    assert all(contents()[file] == content for file, content in before.items()
               if "checkpoints" in file.parts or "best" in file.parts)
    assert exit_code(f"--resume={run}") == 0
    assert_equal_runs(run, Path("runs/whole"))


@needs.permissions
def test_a_folder_that_cannot_be_written_to_is_reported(interrupted, processes):
    with tempfile.TemporaryDirectory() as made:  # where nobody may look: not so in tmp_path
        folder = Path(made)
        folder.chmod(0o777)
        shutil.copytree(interrupted / "photos", folder / "photos")
        shutil.copytree(interrupted / "runs", folder / "runs")
        (folder / "runs/mine/.lock").chmod(0o444)
        (folder / "runs/mine").chmod(0o555)
        process = processes(folder, "--resume=runs/mine", "--data_dir=photos",
                            prepare=interrupted_runs.nobody)
        process.join(240)
        assert process.exitcode == 1
        assert (folder / "stderr").read_text().startswith(
            "runs/mine/.lock: Permission denied; choose another place")
        (folder / "runs/mine").chmod(0o755)


def test_a_file_in_the_way_is_reported(folder):
    Path("runs/mine/checkpoints/unfinished").touch()
    sentence = exit_code("--resume=runs/mine")
    assert len(sentence.splitlines()) == 1
    assert "runs/mine/checkpoints/unfinished is not a directory" in sentence
    assert "put that right and resume with python train.py --resume=runs/mine" in sentence
    Path("runs/mine/checkpoints/unfinished").unlink()
    assert exit_code("--resume=runs/mine") == 0
    assert_equal_runs(Path("runs/mine"), Path("runs/whole"))


@pytest.fixture
def after_scanning(monkeypatch):
    """Something happens to the pictures between their being found and their being read."""
    def arrange(happens):
        with_sizes = split_sizes.with_sizes
        monkeypatch.setattr(split_sizes, "with_sizes",
                            lambda *arguments: (with_sizes(*arguments), happens())[0])
    return arrange


def test_pictures_that_vanish_or_break_after_they_were_found_are_replaced(folder, after_scanning,
                                                                          capsys):
    def happens():
        Path("photos/cat.3.png").unlink(missing_ok=True)  # the sizes are worked out twice
        Path("photos/cat.4.png").write_bytes(b"not a picture")

    after_scanning(happens)
    assert exit_code("--arch=mlp", "--input_size=12x14", "--epochs=1", "--dtype=float32",
                  "--data_dir=photos", "--name=new") == 0
    output = capsys.readouterr().out
    assert "skipped photos/cat.3.png: no such file or directory" in output
    assert "skipped photos/cat.4.png: not an image" in output


def test_a_folder_that_vanishes_after_its_pictures_were_found_is_reported(folder, after_scanning):
    after_scanning(lambda: shutil.rmtree("photos"))
    sentence = exit_code(*FLAGS[:-1], "--name=new")
    assert isinstance(sentence, str) and len(sentence.splitlines()) == 1
    assert not Path("runs/new").exists()


TINY = ("--arch=mlp", "--hidden=4", "--lr=1e-3", "--epochs=2", "--batch_size=4",
        "--input_size=12x14", "--scaling=standard", "--train_size=10", "--valid_size=10",
        "--name=mine")


@needs.sigkill
def test_killed_before_any_change_of_the_disk_a_run_resumes(folder, processes):
    """A run, and one that resumes it, copied before each of their changes, as kill -9 leaves it.

    Every copy holds a whole part of the run's history and weights, and can be restored; resumed,
    as every sixth is, it ends like a run that nothing disturbed. A copy that is like the one
    before it is left out.
    """
    first, second, copies = folder / "first", folder / "second", []
    for each in (first, second):
        (each / "copies").mkdir(parents=True)
        process = processes(each, *((*TINY, "--batch_size=6") if each == first else
                                    ["--resume=runs/mine"]),
                            f"--data_dir={folder / 'photos'}",
                            prepare=functools.partial(interrupted_runs.copy_at_every_change,
                                                      each / "copies"))
        process.join(240)
        assert process.exitcode == 0
        these = sorted((each / "copies").iterdir())
        if each == first:  # the second one resumes where a copy from the middle stands
            shutil.copytree(these[len(these) // 2], second / "runs")
        assert len(these) > 30
        copies.append([copy for copy, before in zip(these, [each, *these], strict=False)
                       if contents(copy) != contents(before)])
    whole = first / "runs/mine"
    expected = records(whole)
    assert len(expected) == 2

    state = checkpoint_of(models.saved_options(whole))
    for these in copies:
        seen = 0
        for number, copy in enumerate(these):
            run = copy / "mine"
            assert len(records(run)) >= seen and records(run) == expected[:len(records(run))]
            seen = len(records(run))
            assert checkpoints.restore(state, run) or not seen
            if seen:
                models.load(run)
            if number % 6 == 0 and (run / "config.json").exists():
                assert exit_code(f"--resume={run}") == 0
                assert records(run) == expected
                for part in ("checkpoints", "best"):
                    assert numbers(run / part) == numbers(whole / part)
                assert not list(run.rglob("unfinished"))


@needs.sigkill
@pytest.mark.parametrize("moments", [
    # Killed at one moment, resumed and killed at the next, as often as there are moments: in a
    # step, between two changes, and in the middle of TensorFlow's own writing.
    [functools.partial(interrupted_runs.die_while_writing, 1, 0),
     functools.partial(interrupted_runs.die_at_step, 3),
     functools.partial(interrupted_runs.die_while_writing, 2, 0.001),
     functools.partial(interrupted_runs.die_at_change, 9)]])
def test_kill_9_again_and_again_loses_nothing(moments, folder, processes):
    process = processes(folder, *TINY[:-1], "--name=undisturbed", f"--data_dir={folder / 'photos'}")
    process.join(240)
    assert process.exitcode == 0
    expected, run, seen, within = records(folder / "runs/undisturbed"), folder / "runs/killed", 0, 0
    for moment in moments:
        if not (run / "config.json").exists():  # killed before it could be resumed
            shutil.rmtree(run, ignore_errors=True)
        process = processes(folder, *(["--resume=runs/killed"] if run.exists() else
                                      [*TINY[:-1], "--name=killed"]),
                            f"--data_dir={folder / 'photos'}", prepare=moment)
        process.join(240)
        assert process.exitcode == -signal.SIGKILL
        within += bool(list(run.glob("*/unfinished/*_temp")))
        assert len(records(run)) >= seen and records(run) == expected[:len(records(run))]
        seen = len(records(run))
        if seen:
            models.load(run)
    assert within >= 1  # in the middle of a file
    assert exit_code(f"--resume={run}") == 0
    assert records(run) == expected and not list(run.rglob("unfinished"))
    for part in ("checkpoints", "best"):
        assert numbers(run / part) == numbers(folder / "runs/undisturbed" / part)
