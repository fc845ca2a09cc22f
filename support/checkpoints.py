"""Checkpoints: written whole or not at all, restored from the newest whole one, pruned.

(tf.train.CheckpointManager also keeps the newest few; but it leaves what a killed process had
begun, and would keep a damaged newest checkpoint and delete the whole one before it.)
"""

import dataclasses
import json
import shutil
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


def save(state: tf.train.Checkpoint, run_dir: Path) -> None:
    """Write a checkpoint, keep the one before in case it gets damaged, and delete all others."""
    progress = state.progress
    folder = run_dir / "checkpoints" / f"epoch-{progress.epoch:06}-step-{progress.step:06}"
    write(state, folder)
    others = sorted(run_dir.glob("checkpoints/epoch-*"))
    before = [other for other in others if other < folder][-1:]  # what is after it was damaged
    for other in {*others} - {folder, *before}:
        shutil.rmtree(other)


def best_folder(run_dir: Path, record: dict) -> Path:
    return run_dir / "best" / f"epoch-{record['epoch']:06}"


def prune_best(run_dir: Path, epoch: int, *kept: dict | None) -> None:
    """Delete the weights of all epochs up to this one, but for those of the records `kept`.

    Those of later epochs are a killed run's, which its metrics.jsonl still speaks of.
    """
    keep = [best_folder(run_dir, record) for record in kept if record]
    for folder in run_dir.glob("best/epoch-*"):
        if folder not in keep and folder <= best_folder(run_dir, {"epoch": epoch}):
            shutil.rmtree(folder)


def write(checkpoint: tf.train.Checkpoint, folder: Path) -> None:
    """Write a checkpoint into `folder`, whole or not at all."""
    with run_folder.replacing(folder) as unfinished:
        checkpoint.write((unfinished / "checkpoint").as_posix())


DAMAGE = tf.errors.OpError, IndexError
OF_ANOTHER_NETWORK = ValueError, AssertionError


def read(checkpoint: tf.train.Checkpoint, folder: Path) -> None:
    """Read all of what `write` wrote. Raises one of DAMAGE or of OF_ANOTHER_NETWORK.

    TensorFlow compares what it reads with a checksum for every variable: damage is noticed.
    """
    status = checkpoint.read((folder / "checkpoint").as_posix())
    status.expect_partial()  # complaints come from here, not from TensorFlow's log
    status.assert_consumed()


def restore(state: tf.train.Checkpoint, run_dir: Path) -> bool:
    """Read the run's newest whole checkpoint; return whether it has one.

    Raises UserError if none is whole, or if the checkpoints are of another run.
    """
    seed, folders = state.progress.seed, sorted(run_dir.glob("checkpoints/epoch-*"), reverse=True)
    for folder in folders:
        try:
            read(state, folder)
            if state.progress.seed != seed:
                raise ValueError
            return True
        except DAMAGE:
            print(f"{folder} is damaged")
        except OF_ANOTHER_NETWORK as error:
            raise UserError(f"{folder} is of another run: it does not fit the "
                            f"{state.network.name} with --seed={seed} of {run_dir}/config.json; "
                            "put the right one back") from error
    if folders:
        raise UserError(f"{run_dir} cannot be resumed: none of its checkpoints can be read; the "
                        "weights of its best epoch are in its best/")
    return False


def read_best_weights(run_dir: Path, network: tf.Module) -> None:
    """Give the network the weights of the run's best epoch.

    Raises UserError if they are not there, damaged, or of another network.
    """
    known = best_folder(run_dir, run_folder.read_best(run_dir))
    # Those of a later epoch are a killed run's; while the best ones are replaced, there are others.
    best = max((each for each in run_dir.glob("best/epoch-*") if each <= known), default=known)
    try:
        read(tf.train.Checkpoint(network=network), best)
    except (*DAMAGE, *OF_ANOTHER_NETWORK) as error:
        remedy = run_folder.remedy(run_dir) or "; train it again"
        raise UserError(f"{run_dir} is damaged: its weights are missing or not of this "
                        f"{network.name}{remedy}") from error
