"""The folder of a run: what lies in it, how it is written, and what is said when it is damaged.

    config.json         what the numbers follow from: flags, images, versions
    metrics.jsonl       one line an epoch
    predictions.jsonl   the best epoch's prediction for every validation image, one a line
    test.json           the metrics of the held-out test images
    best/, checkpoints/ see checkpoints.py
    model/              see saved_model.py

Every file is written under another name first and renamed when it is whole, so that a process
that is killed while it writes leaves the old file or the new one, never half of one.
"""

import contextlib
import fcntl
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import numpy as np

from support.cli import UserError

FORMAT = 2  # of config.json, and of the checkpoints beside it


@contextlib.contextmanager
def new_run(runs_dir: Path, name: str | None, arch: str) -> Iterator[Path]:
    """The folder of a new run, locked: runs_dir/name, or runs_dir/ARCH-1, ARCH-2 … without a name.

    It is removed again if the run fails before it has its config.json. Raises UserError for a name
    that is taken or is not the name of a folder.
    """
    run = create(runs_dir, name, arch)
    try:
        with locked(run):
            yield run
    except BaseException:
        if not (run / "config.json").exists():
            shutil.rmtree(run)
        raise


def create(runs_dir: Path, name: str | None, arch: str) -> Path:
    """Make the folder of a new run; see new_run."""
    check_path(runs_dir / (name or ""))
    runs_dir.mkdir(parents=True, exist_ok=True)
    if name is None:
        number = 1
        while True:  # mkdir fails where the folder exists: two runs cannot take one name
            try:
                (runs_dir / f"{arch}-{number}").mkdir()
                return runs_dir / f"{arch}-{number}"
            except FileExistsError:
                number += 1
    if name in ("", ".", "..") or Path(name).name != name:
        raise UserError(f"--name={name!r} must be the name of one folder, without slashes")
    try:
        (runs_dir / name).mkdir()
    except FileExistsError:
        raise UserError(f"--name={name}: {runs_dir / name} exists, and a run is never "
                        "overwritten; choose another name or remove it") from None
    return runs_dir / name


def check_path(run: Path) -> None:
    """Refuse a path that TensorFlow does not find when it reads: it takes it for a pattern.

    Raises UserError.
    """
    if set("[]\\") & set(str(run)):
        raise UserError(f"{run}: TensorFlow reads no files where the path has [, ] or \\ in it; "
                        "use another name")


@contextlib.contextmanager
def locked(run: Path) -> Iterator[Path]:
    """Keep every other train.py out of the run's folder.

    Raises UserError if another one is in it, or if nothing can be written there.
    """
    try:
        file = open(run / ".lock", "w")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # released when the process ends
    except BlockingIOError:
        raise UserError(f"{run} is in use: another train.py is at work in it; wait until it has "
                        "ended, or interrupt it") from None
    except OSError as error:
        raise UserError(f"{run} cannot be written to ({error.strerror}): make it writable, or "
                        "continue with a copy of it") from error
    with file:
        yield run


def write_text(file: Path, text: str) -> None:
    """Write a file, whole or not at all."""
    unfinished = file.with_name(file.name + ".unfinished")
    unfinished.write_text(text)
    unfinished.replace(file)


@contextlib.contextmanager
def damage_told(run: Path, file: str) -> Iterator[None]:
    """What reading run/file can raise, as a UserError that names the run."""
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{run} is not the folder of a run: {error.filename}: "
                        f"{error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{run} is damaged: its {file} is not what train.py writes "
                        f"({type(error).__name__}: {error})") from error


# ---------------------------------------------------------------------------------------------
# config.json
# ---------------------------------------------------------------------------------------------

def config_record(saved: dict | None, config: dict, folder: Path, bundled_sample: bool, dataset,
                  sizes: list, replicas: int) -> dict:
    """What config.json holds: all that a run's numbers follow from.

    saved: the record of a run that is resumed; of it only the number of epochs, the folder of the
    images and the number of replicas may change. bundled_sample: whether the images
    are those of sample/; dataset: a data.Dataset; sizes: those asked for.
    Raises UserError if a resumed run's images are not those it was started with.
    """
    if saved is None:
        versions = {name: metadata.version(name) for name in ("tensorflow", "numpy", "pillow")}
        return {
            "config": config,
            "data": {"folder": str(folder.resolve()), "bundled_sample": bundled_sample,
                     "class_names": dataset.class_names,
                     "train_size": len(dataset.train.labels),
                     "valid_size": len(dataset.valid.labels),
                     "test_size": len(dataset.test.labels),
                     "sizes_asked_for": sizes, "digest": dataset.digest,
                     "skipped": [{"file": str(file), "reason": reason}
                                 for file, reason in dataset.skipped]},
            "command": sys.argv,
            "versions": {"python": platform.python_version(), **versions},
            "machine": {"processor": platform.machine(), "cores": os.cpu_count(),
                        "replicas": replicas}}

    known, machine, epochs = saved["data"], saved["machine"], saved["config"]["epochs"]
    if dataset.digest != known["digest"]:
        skipped = [(Path(file["file"]).name, file["reason"]) for file in known["skipped"]]
        broken = [f"{file} is broken ({reason}); " for file, reason in dataset.skipped
                  if (file.name, reason) not in skipped]
        raise UserError(f"the pictures in {folder} are not those it was started with; "
                        f"{''.join(broken[:1])}put them back, and take out what was added")
    if replicas != machine["replicas"]:
        print(f"from here on {replicas} replicas compute, not {machine['replicas']}: the numbers "
              "will be those of neither")
    if config["epochs"] != epochs and config["schedule"] == "onecycle":
        print(f"from here on the learning rate follows the cycle of {config['epochs']} epochs, "
              f"not of {epochs}: a run started with --epochs={config['epochs']} would have other "
              "numbers")
    return saved | {"config": config, "data": known | {"folder": str(folder.resolve())},
                    "machine": machine | {"replicas": replicas}}


@contextlib.contextmanager
def cannot_resume(run: Path | None) -> Iterator[None]:
    """Say of an error with the images of a run that is resumed that this is why it cannot be."""
    try:
        yield
    except UserError as error:
        if run is None:
            raise
        raise UserError(f"{run} cannot be resumed: {error}; if its pictures were moved, say where "
                        "with --data_dir") from error


def write_config(run: Path, record: dict) -> None:
    """record: what config_record returned. A file that holds just this is left alone."""
    file, text = run / "config.json", json.dumps({"format": FORMAT, **record}, indent=2) + "\n"
    if not file.exists() or file.read_text() != text:
        write_text(file, text)


def read_config(run: Path) -> dict:
    """What write_config wrote. Raises UserError for a folder that is no run's, or is damaged."""
    with damage_told(run, "config.json"):
        record = json.loads((run / "config.json").read_text())
        if record.get("format", 1) != FORMAT:
            raise UserError(f"{run} was written by another version of train.py, which this one "
                            "cannot read: train it again, or use the version that wrote it")
        return record


def class_names_of(record: dict) -> tuple[str, str]:
    """The names of label 1 and of label 0 in what read_config returned; see damage_told."""
    # Earlier runs name none: there were only these.
    positive, negative = record["data"].get("class_names", ("cat", "dog"))
    return str(positive), str(negative)


def read_class_names(run: Path) -> tuple[str, str]:
    """The names of label 1 and of label 0. Raises UserError as read_config does."""
    record = read_config(run)
    with damage_told(run, "config.json"):
        return class_names_of(record)


# ---------------------------------------------------------------------------------------------
# metrics.jsonl, predictions.jsonl, test.json
# ---------------------------------------------------------------------------------------------

def selection_key(record: dict) -> tuple[float, float]:
    """What makes one epoch better than another: its best accuracy, then the lower MSE."""
    return record["best_accuracy"], -record["mse"]


def best_epoch(history: list[dict]) -> dict | None:
    """The record of the best epoch, the first of equal ones; None before the first epoch ends."""
    return max(history, key=selection_key, default=None)


def write_history(run: Path, record: dict) -> None:
    """Write an epoch's record as its line of metrics.jsonl.

    A killed run may have written this line already, and is about to write it again.
    """
    lines = (run / "metrics.jsonl").read_text().splitlines()
    lines[record["epoch"] - 1:record["epoch"]] = [json.dumps(record)]
    write_text(run / "metrics.jsonl", "\n".join(lines) + "\n")


def read_history(run: Path) -> list[dict]:
    """One record an epoch. Raises UserError for a folder that is no run's, or is damaged."""
    if (run / "config.json").exists() and not (run / "metrics.jsonl").exists():
        return []  # stopped before it began to train
    with damage_told(run, "metrics.jsonl"):
        history = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        for record in history:
            selection_key(record)
        return history


def write_predictions(run: Path, files: list[Path], labels: np.ndarray,
                      predictions: np.ndarray) -> None:
    """One line an image, as JSON: a file name may hold quotes, new lines, any bytes."""
    records = ({"file": str(file.absolute()), "label": int(label), "probability": float(prediction)}
               for file, label, prediction in zip(files, labels, predictions, strict=True))
    write_text(run / "predictions.jsonl", "".join(json.dumps(row) + "\n" for row in records))


def read_predictions(run: Path) -> tuple[list[Path], np.ndarray, np.ndarray]:
    """The validation images: files, predictions float64 (n,) and labels float64 (n,).

    Raises UserError for a folder that is no run's, or is damaged.
    """
    with damage_told(run, "predictions.jsonl"):
        lines = (run / "predictions.jsonl").read_text().splitlines()
        records = [json.loads(line) for line in lines]
        if not records:
            raise ValueError("there are no predictions")
        for record in records:
            if record["label"] not in (0, 1) or not 0 <= record["probability"] <= 1:
                raise ValueError(f"label {record['label']}, probability {record['probability']}")
        return ([Path(record["file"]) for record in records],
                np.array([record["probability"] for record in records], float),
                np.array([record["label"] for record in records], float))


def write_test(run: Path, record: dict) -> None:
    write_text(run / "test.json", json.dumps(record) + "\n")


def read_test(run: Path) -> dict | None:
    """The metrics of the test images; None for a run that has none."""
    if not (run / "test.json").exists():
        return None
    with damage_told(run, "test.json"):
        return json.loads((run / "test.json").read_text())
