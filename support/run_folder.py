"""The folder of a run: what lies in it, how it is written, and what is said when it is damaged.

    config.json         what the numbers follow from: settings, versions
    pictures.jsonl      which picture was for what: see used_pictures.py
    metrics.jsonl       one line an epoch
    predictions.jsonl   the best epoch's prediction for every validation image, one a line
    first_kernels.npy   the first convolution's kernels, at the start and after every epoch
    test.json           the metrics of the held-out test images
    best/, checkpoints/ see checkpoints.py
    model/              see saved_model.py
    curves.png          see report.py

All but the pictures are written under another name first and renamed when whole: a process that is
killed while it writes leaves the old file or the new one, never half of one.
"""

import contextlib
import io
import itertools
import json
import os
import platform
import shutil
import sys
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import numpy as np
import PIL
from absl import flags

from support import class_folders, machine, settings
from support.cli import UserError, naming
from support.settings import Config

try:
    import fcntl
except ImportError:  # on Windows
    import msvcrt
    fcntl = None

FORMAT = 5  # of config.json, and of the checkpoints beside it

# The network of this repository: the folder of a run, without what only its training needs.
PRETRAINED = Path(__file__).resolve().parent.parent / "pretrained"


def chosen(run: str | None) -> Path:
    """The folder of the run that the flag --run names; without it PRETRAINED, and says so."""
    if run is None:
        print("without --run: the network in pretrained/", file=sys.stderr)
        return PRETRAINED
    return Path(run)


def remedy(run_dir: Path) -> str:
    """How to get back what is missing or damaged in a run's folder, where there is a way."""
    return "; git checkout pretrained gets it back" if run_dir.resolve() == PRETRAINED else ""


@contextlib.contextmanager
def new(runs_dir: Path, name: str | None, arch: str) -> Iterator[Path]:
    """Make and lock the folder of a new run: runs_dir/name, or runs_dir/ARCH-1, ARCH-2 ….

    At the end it is removed if it did not get a config.json. Raises UserError for a name that is
    none or is taken, OSError where there can be no such folder.
    """
    check_path(runs_dir / (name or ""))
    if name is not None and (name in ("", "..") or Path(name).name != name):
        raise UserError(f"--name={name!r} must be the name of one folder, without slashes")
    runs_dir.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        folder = runs_dir / (name or f"{arch}-{number}")
        try:
            folder.mkdir()  # it fails where the folder exists: two runs cannot take one name
            break
        except FileExistsError:
            if name is not None:
                raise UserError(f"--name={name}: {folder} exists, and a run is never overwritten; "
                                "choose another name or remove it") from None
    try:
        with locked(folder):
            yield folder
    finally:
        if not (folder / "config.json").exists():
            shutil.rmtree(folder, ignore_errors=True)


def check_path(run_dir: Path) -> None:
    """Raise UserError for a path that TensorFlow cannot read from."""
    path = run_dir.as_posix()  # [ and the like would be a pattern
    if set("[]\\") & set(path) or os.fsencode(path) != path.encode(errors="replace"):
        raise UserError(f"{run_dir}: TensorFlow reads no files where the path has [, ] or \\ in "
                        "it, or is not in UTF-8; use another name")


@contextlib.contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Keep every other train.py out of the run's folder. Raises UserError if one is in it.

    The lock ends with the file that is open, at the latest when the process ends.
    """
    with open(run_dir / ".lock", "a", encoding="utf-8") as file:
        try:
            if fcntl:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            else:
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except (BlockingIOError, PermissionError):  # what Unix and what Windows raise
            raise UserError(f"{run_dir} is in use: another train.py is at work in it; wait until "
                            "it has ended, or interrupt it") from None
        except OSError as error:
            print(f"{run_dir}: its file system has no locks ({error.strerror}): do not start "
                  "another train.py in it meanwhile", file=sys.stderr)
        yield


@contextlib.contextmanager
def resumed(run_dir: Path) -> Iterator[Path]:
    """Lock the folder of a run that is resumed.

    Raises UserError for one without a checkpoint that has more than a process leaves that was
    killed before it saved the first one.
    """
    with locked(run_dir):
        if not list(run_dir.glob("checkpoints/epoch-*")):
            if len(read_history(run_dir)) > 1 or (run_dir / "model").exists():
                raise UserError(f"{run_dir} cannot be resumed: its checkpoints were deleted, and "
                                "to start again would overwrite what it has; train a new run")
            print(f"{run_dir} has no checkpoint: it starts again")
        yield run_dir


@contextlib.contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Yield the name under which to write a folder that takes this one's place when it is whole."""
    unfinished, outdated = folder.with_name("unfinished"), folder.with_name("outdated")
    with contextlib.ExitStack() as stack:
        for leftover in (unfinished, outdated):
            shutil.rmtree(leftover, ignore_errors=True)  # a killed process's
            stack.callback(shutil.rmtree, leftover, ignore_errors=True)  # a full disk needs room
        yield unfinished
        if folder.exists():
            folder.rename(outdated)
        unfinished.rename(folder)


def write_text(file: Path, text: str) -> None:
    """Write a file, whole or not at all."""
    write_bytes(file, text.encode())


def write_bytes(file: Path, contents: bytes) -> None:
    unfinished = file.with_name(file.name + ".unfinished")
    with naming(unfinished):
        unfinished.write_bytes(contents)
    unfinished.replace(file)


def write_records(file: Path, records: Iterable[dict]) -> None:
    """One record a line, as JSON: a file name may hold quotes, new lines, any bytes."""
    write_text(file, "".join(json.dumps(record) + "\n" for record in records))


def read_records(file: Path) -> list[dict]:
    """What write_records wrote; see damage_told."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


@contextlib.contextmanager
def damage_told(run_dir: Path, file: str) -> Iterator[None]:
    """What reading run/file can raise, as a UserError that names the run."""
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        back = "" if file == "predictions.jsonl" else remedy(run_dir)  # pretrained/ has none
        raise UserError(f"{run_dir} is not the folder of a run: {error.filename}: "
                        f"{error.strerror}{back}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{run_dir} is damaged: its {file} is not what train.py writes "
                        f"({type(error).__name__}: {error}){remedy(run_dir)}") from error


# ---------------------------------------------------------------------------------------------
# config.json
# ---------------------------------------------------------------------------------------------

def write_config(run_dir: Path, config: Config, dataset, replicas: int, tensorflow_version: str
                 ) -> None:
    """Write config.json: all that a new run's numbers follow from. dataset: a data.Dataset."""
    record = {
        "format": FORMAT,
        "config": vars(config),
        "data": {"bundled_sample": config.data_dir == str(class_folders.SAMPLE.resolve()),
                 "train_size": len(dataset.train.labels), "valid_size": len(dataset.valid.labels),
                 "test_size": len(dataset.test.labels)},
        "command": sys.argv,
        "versions": {"python": platform.python_version(), "tensorflow": tensorflow_version,
                     "numpy": np.__version__, "pillow": PIL.__version__},
        "machine": {"processor": platform.machine(), "cores": machine.cores(),
                    "replicas": replicas}}
    write_text(run_dir / "config.json", json.dumps(record, indent=2) + "\n")


def update_config(run_dir: Path, config: Config, replicas: int) -> None:
    """Bring a resumed run's config.json up to date; print what changes its numbers from now on."""
    record = read_config(run_dir)
    before = record["machine"]["replicas"]
    if replicas != before:
        print(f"from here on {replicas} replicas compute, not {before}: the numbers will be those "
              "of neither")
    before = record["config"]["epochs"]
    if config.epochs != before and config.schedule == "onecycle":
        print(f"from here on the learning rate follows the cycle of {config.epochs} epochs, not of "
              f"{before}: a run started with --epochs={config.epochs} would have other numbers")
    record["config"], record["machine"]["replicas"] = vars(config), replicas
    text, file = json.dumps(record, indent=2) + "\n", run_dir / "config.json"
    if text != file.read_text(encoding="utf-8"):  # a run that is refused later stays as it was
        write_text(file, text)


def read_config(run_dir: Path) -> dict:
    """What write_config wrote. Raises UserError for a folder that is no run's, or is damaged."""
    with damage_told(run_dir, "config.json"):
        record = json.loads((run_dir / "config.json").read_text(encoding="utf-8"))
        if record.get("format", 1) != FORMAT:
            raise UserError(f"{run_dir} was written by another version of train.py, which this one "
                            "cannot read: train it again, or use the version that wrote it")
        # What is taken from it later, without asking whether it is there.
        positive, negative = map(str, record["config"]["classes"])
        record["config"] |= {"classes": [positive, negative], "arch": str(record["config"]["arch"])}
        record["data"]["bundled_sample"], record["versions"]["pillow"]
        int(record["machine"]["replicas"])
        return record


def read_class_names(run_dir: Path) -> tuple[str, str]:
    """The names of label 1 and of label 0. Raises UserError as read_config does."""
    return tuple(read_config(run_dir)["config"]["classes"])


def read_settings(run_dir: Path, values: flags.FlagValues, *groups: str,
                  never_none: Collection[str] = ()) -> Config:
    """A run's settings of these groups of flags, each checked by the parser of its flag.

    never_none: those that a run always has, though their flags have no default. Raises UserError
    as read_config does, and for a setting that is missing or that its flag would refuse.
    """
    check_path(run_dir)
    saved, config = read_config(run_dir)["config"], Config()
    with damage_told(run_dir, "config.json"):
        for flag in settings.flags_of(values, *groups):
            value = saved[flag.name]
            if value is not None or flag.default is not None or flag.name in never_none:
                value = flag.parser.parse(value)
                if not all(validator.checker(value) for validator in flag.validators
                           if hasattr(validator, "flag_name")):  # those of one flag alone
                    raise ValueError(f"{flag.name} is {value}")
            setattr(config, flag.name, value)
    return config


# ---------------------------------------------------------------------------------------------
# metrics.jsonl, predictions.jsonl, test.json
# ---------------------------------------------------------------------------------------------

def best_epoch(history: list[dict]) -> dict | None:
    """The first record with the best accuracy and, of these, the lowest MSE; None of no epoch."""
    return max(history, key=lambda record: (record["best_accuracy"], -record["mse"]), default=None)


def write_history(run_dir: Path, record: dict) -> None:
    """Write an epoch's line of metrics.jsonl; a killed run may have written it already."""
    history = read_history(run_dir)
    history[record["epoch"] - 1:record["epoch"]] = [record]
    write_records(run_dir / "metrics.jsonl", history)


def read_history(run_dir: Path) -> list[dict]:
    """One record an epoch. Raises UserError for a folder that is no run's, or is damaged."""
    if (run_dir / "config.json").exists() and not (run_dir / "metrics.jsonl").exists():
        return []  # stopped before it began to train
    with damage_told(run_dir, "metrics.jsonl"):
        history = read_records(run_dir / "metrics.jsonl")
        for record in history:
            low, high = record["accuracy_interval"]
            numbers = [low, high, *record["accuracies"], record["pearson"] or 0, *(
                record[key] for key in ("train_loss", "mse", "best_accuracy", "seconds"))]
            if not (len(numbers) == 17 and all(abs(number) < 1e300 for number in numbers)
                    and isinstance(record["epoch"], int) and 10 * record["threshold"] in range(10)):
                raise ValueError(f"a line is {record}")
        return history


def read_finished_epochs(run_dir: Path, count: int) -> list[dict]:
    """The records of the epochs that a checkpoint has ended.

    A killed run may have written the line of one more. Raises UserError if any are missing.
    """
    history = read_history(run_dir)[:count]
    if [record.get("epoch") for record in history] != [*range(1, count + 1)]:
        raise UserError(f"{run_dir} is damaged: epochs are missing in its metrics.jsonl; put it "
                        "back, or train a new run")
    return history


def read_best(run_dir: Path) -> dict:
    """The record of a run's best epoch. Raises UserError if there is none, or as read_history."""
    best = best_epoch(read_history(run_dir))
    if best is None:
        raise UserError(f"{run_dir} has no finished epoch yet: train it first, with --resume")
    return best


def write_predictions(run_dir: Path, files: list[Path], labels: np.ndarray,
                      predictions: np.ndarray) -> None:
    """One line an image."""
    records = ({"file": str(file.absolute()), "label": int(label), "probability": float(prediction)}
               for file, label, prediction in zip(files, labels, predictions, strict=True))
    write_records(run_dir / "predictions.jsonl", records)


def read_predictions(run_dir: Path) -> tuple[list[Path], np.ndarray, np.ndarray]:
    """The validation images: files, predictions float64 (n,) and labels float64 (n,).

    Raises UserError for a folder that is no run's, or is damaged.
    """
    with damage_told(run_dir, "predictions.jsonl"):
        records = read_records(run_dir / "predictions.jsonl")
        if not records:
            raise ValueError("there are no predictions")
        for record in records:
            if record["label"] not in (0, 1) or not 0 <= record["probability"] <= 1:
                raise ValueError(f"label {record['label']}, probability {record['probability']}")
        return ([Path(record["file"]) for record in records],
                np.array([record["probability"] for record in records], float),
                np.array([record["label"] for record in records], float))


def write_first_kernels(run_dir: Path, epoch: int, kernels: np.ndarray) -> None:
    """Keep the first layer's kernels after an epoch, or before the first one, which is epoch 0.

    kernels: (size, size, 3, n); those of a fully connected layer are not kept. As float16, which
    the page in the browser holds: a few kB an epoch. What a run lost is not made up.
    """
    kept = read_first_kernels(run_dir) if epoch else kernels[None][:0]
    if (kernels.ndim == 4 and kept is not None and kept.shape[1:] == kernels.shape
            and len(kept) >= epoch):
        file, largest = io.BytesIO(), np.finfo(np.float16).max
        np.save(file, [*kept[:epoch], kernels.clip(-largest, largest).astype(np.float16)])
        write_bytes(run_dir / "first_kernels.npy", file.getvalue())


def read_first_kernels(run_dir: Path) -> np.ndarray | None:
    """What write_first_kernels kept, (epochs + 1, size, size, 3, n); None if it is not there."""
    try:
        kept = np.load(run_dir / "first_kernels.npy")
        return kept if kept.ndim == 5 else None
    except Exception:  # nor if it is damaged: nothing else depends on it
        return None


def read_test(run_dir: Path) -> dict | None:
    """The metrics of the test images; None for a run that has none."""
    if not (run_dir / "test.json").exists():
        return None
    with damage_told(run_dir, "test.json"):
        return json.loads((run_dir / "test.json").read_text(encoding="utf-8"))
