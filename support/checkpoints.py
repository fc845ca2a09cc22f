"""Checkpoints: written whole or not at all, restored from the newest whole one, pruned.

A run may be killed at any moment, also while it writes. So a checkpoint is written under another
name and renamed when it is whole: the system renames at once or not at all.
(tf.train.CheckpointManager also keeps the newest few; but it leaves what a killed process had
begun, and would keep a damaged newest checkpoint and delete the whole one before it.)
"""

import dataclasses
import json
import shutil
import time
from pathlib import Path

from support import run_folder
from support.cli import UserError
from support.tensorflow_setup import tf


@dataclasses.dataclass(eq=False)
class TrainingState(tf.train.experimental.PythonState):
    """How far a run has come: with the variables of network and optimizer, all a checkpoint holds.

    With the configuration, the images and the number of replicas it decides all that follows:
    order, augmentation and dropout are functions of random seed, step and replica.
    """

    seed: int
    epoch: int = 1         # the current one
    step: int = 0          # how many of its steps are done
    loss_sum: float = 0.0  # over the images of these steps
    seconds: float = 0.0   # that these steps took

    def serialize(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    def deserialize(self, text: bytes) -> None:
        vars(self).update(json.loads(text))


def save(state: tf.train.Checkpoint, run_dir: Path, best: dict | None) -> float:
    """Write a checkpoint of a run; return the seconds that it took.

    best: the record of the best epoch, whose weights are kept. The checkpoint before is kept as
    well, in case this one gets damaged; older ones are deleted.
    """
    started = time.perf_counter()
    progress = state.progress
    folder = run_dir / "checkpoints" / f"epoch-{progress.epoch:06}-step-{progress.step:06}"
    write(state, folder)
    others = sorted(run_dir.glob("checkpoints/epoch-*"))
    before = [other for other in others if other < folder][-1:]  # what is after it was damaged
    others += [other for other in run_dir.glob("best/epoch-*")  # a killed run's may be ahead
               if other != (best and best_folder(run_dir, best))
               and other < run_dir / "best" / f"epoch-{progress.epoch:06}"]
    for other in others:
        if other not in (folder, *before):
            shutil.rmtree(other)
    return time.perf_counter() - started


def best_folder(run_dir: Path, record: dict) -> Path:
    return run_dir / "best" / f"epoch-{record['epoch']:06}"


def write(checkpoint: tf.train.Checkpoint, folder: Path) -> None:
    """Write a checkpoint into `folder`, whole or not at all."""
    unfinished, outdated = folder.parent / "unfinished", folder.parent / "outdated"
    for leftover in (unfinished, outdated):  # a killed process's
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        checkpoint.write((unfinished / "checkpoint").as_posix())
        if folder.exists():  # one of the same step, damaged or written before a kill
            folder.rename(outdated)
        unfinished.rename(folder)
    finally:
        for leftover in (unfinished, outdated):  # a full disk needs the room
            shutil.rmtree(leftover, ignore_errors=True)


def restore(state: tf.train.Checkpoint, run_dir: Path) -> bool:
    """Read the run's newest whole checkpoint; return whether it has one.

    TensorFlow compares what it reads with a checksum for every variable: damage is noticed, and
    the checkpoint before is taken. Raises UserError if that is of no use either, or if the
    checkpoints are of another run.
    """
    seed, folders = state.progress.seed, sorted(run_dir.glob("checkpoints/epoch-*"), reverse=True)
    for folder in folders:
        try:
            status = state.read((folder / "checkpoint").as_posix())
            status.expect_partial()  # complaints come from here, not from TensorFlow's log
            status.assert_consumed()
            if state.progress.seed != seed:
                raise ValueError
        except (tf.errors.OpError, IndexError):
            older = "" if folder == folders[-1] else ": trying the one before"
            print(f"{folder} is damaged{older}")
        except (ValueError, AssertionError) as error:
            raise UserError(f"{folder} is of another run: it does not fit the "
                            f"{state.network.name} with --seed={seed} of {run_dir}/config.json; "
                            "put the right one back") from error
        else:
            return True
    if folders:
        raise UserError(f"{run_dir} cannot be resumed: none of its checkpoints can be read; the "
                        "weights of its best epoch are in its best/")
    return False


def read_finished_epochs(run_dir: Path, count: int) -> list[dict]:
    """The records of the epochs that a checkpoint has ended, from metrics.jsonl.

    A killed run may have written the line of one more. Raises UserError if any are missing.
    """
    if not count:
        (run_dir / "metrics.jsonl").touch()
    history = run_folder.read_history(run_dir)[:count]
    if [record.get("epoch") for record in history] != [*range(1, count + 1)]:
        raise UserError(f"{run_dir} is damaged: epochs are missing in its metrics.jsonl; put it "
                        "back, or train a new run")
    return history


def read_best_weights(run_dir: Path, network: tf.Module) -> None:
    """Give the network the weights of the run's best epoch.

    Raises UserError if they are not there, damaged, or of another network.
    """
    best = max(run_dir.glob("best/epoch-*"), default=run_dir / "best")  # two while one is replaced
    try:
        status = tf.train.Checkpoint(network=network).read((best / "checkpoint").as_posix())
        status.expect_partial()  # complaints come from here, not from TensorFlow's log
        status.assert_consumed()
    except (tf.errors.OpError, IndexError, ValueError, AssertionError) as error:
        remedy = run_folder.remedy(run_dir) or "; train it again"
        raise UserError(f"{run_dir} is damaged: its weights are missing or not of this "
                        f"{network.name}{remedy}") from error
