"""Checkpoints: written whole or not at all, restored from the newest whole one, pruned."""

import shutil
from pathlib import Path

from support.cli import UserError
from support.tensorflow_setup import tf


def write(checkpoint: tf.train.Checkpoint, folder: Path) -> None:
    """Write a checkpoint into `folder`, whole or not at all."""
    unfinished = folder.parent / "unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)  # a killed process's
    try:
        checkpoint.write(str(unfinished / "checkpoint"))
        shutil.rmtree(folder, ignore_errors=True)  # of the same step, but damaged or outdated
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)  # a full disk needs the room


def read_best_weights(run: Path, network: tf.Module) -> None:
    """Give the network the weights of the run's best epoch.

    Raises UserError if they are not there, damaged, or of another network.
    """
    best = max(run.glob("best/epoch-*"), default=run / "best")  # two while one is replaced
    try:
        status = tf.train.Checkpoint(network=network).read(str(best / "checkpoint"))
        status.expect_partial()  # complaints come from here, not from TensorFlow's log
        status.assert_consumed()
    except (tf.errors.OpError, IndexError, ValueError, AssertionError) as error:
        raise UserError(f"{run} is damaged: its weights are missing or not of this "
                        f"{network.name}; train it again") from error
