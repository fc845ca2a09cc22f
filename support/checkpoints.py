"""Checkpoints: written whole or not at all, restored from the newest whole one, pruned.

A run may be killed at any moment, also while it writes. So a checkpoint is written under another
name and renamed when it is whole: the system renames at once or not at all.
(tf.train.CheckpointManager also keeps the newest few; but it leaves what a killed process had
begun, and would keep a damaged newest checkpoint and delete the whole one before it.)

`Recorder` is what the training loop talks to: it restores, saves, and ends a run on a signal.
"""

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from support import event_file, run_folder
from support.cli import UserError
from support.tensorflow_setup import tf

# What took s seconds to save is followed by PAUSE * s seconds without saving, so that checkpoints
# cost about 1% of the time; the first one is due after FIRST_SAVE seconds. The ends of the first
# and the last epoch are saved in any case.
FIRST_SAVE, PAUSE = 60, 80


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


class Interrupted(Exception):
    """Ctrl-C or SIGTERM ended the training, after a checkpoint was saved."""

    def __init__(self, signal_number: int):
        super().__init__(signal_number)
        self.signal_number = signal_number


class Recorder:
    """Keeps a run's folder up to date while a network trains; resumes where the run stands.

    state: tf.train.Checkpoint(network=…, optimizer=…, progress=TrainingState(…)). replicas: see
    distribution.py; of several workers only the chief reads and writes files. valid: the
    validation images, with the fields images, labels and files of data.Part. class_names: those of
    labels 1 and 0.

    Raises UserError for checkpoints that cannot be used, and Interrupted, from `epochs` or
    `step_done`, after a Ctrl-C or SIGTERM.
    """

    def __init__(self, run: Path, state: tf.train.Checkpoint, replicas, valid,
                 class_names: tuple[str, str]):
        self.run, self.state, self.replicas, self.valid = run, state, replicas, valid
        self.class_names = class_names
        self.progress: TrainingState = state.progress
        self.history: list[dict] = []  # a record for each finished epoch

    def __enter__(self) -> "Recorder":
        self.resumed = self.replicas.is_chief and restore(self.state, self.run)
        if self.replicas.is_chief:
            done = self.progress.epoch - 1
            if not done:
                (self.run / "metrics.jsonl").touch()
            # A killed run may have written the line of an epoch that its checkpoint has not ended.
            self.history = run_folder.read_history(self.run)[:done]
            if [record.get("epoch") for record in self.history] != [*range(1, done + 1)]:
                raise UserError(f"{self.run} is damaged: epochs are missing in its "
                                "metrics.jsonl; put it back, or train a new run")
            self.events = event_file.EventFile(self.run, self.progress.epoch)
        self._broadcast_state()
        self.due = time.perf_counter() + FIRST_SAVE
        self.stack = contextlib.ExitStack()
        self.received = self.stack.enter_context(catch_signals(self.replicas.is_chief))
        return self

    def __exit__(self, *error) -> None:
        self.stack.close()

    @property
    def best(self) -> dict | None:
        """The record of the best epoch."""
        return run_folder.best_epoch(self.history)

    def epochs(self, total: int) -> Iterator[int]:
        """The numbers of the epochs that are left to train, up to `total`."""
        self.total = total
        if self.resumed and self.progress.epoch > total:
            print(f"{self.run} is finished: its {total} epochs are trained; a larger --epochs adds "
                  "to them", flush=True)
        elif self.resumed:
            print(f"{self.run} resumes in epoch {self.progress.epoch}, after step "
                  f"{self.progress.step}", flush=True)
        while True:
            if self.received:  # at the end of the epoch before, which is saved
                raise Interrupted(self.received[0])
            if self.progress.epoch > total:
                return
            self.started = time.perf_counter() - self.progress.seconds
            self.stepped = time.perf_counter()
            yield self.progress.epoch

    def step_done(self) -> None:
        """After each step: save if it is time, and end the training if a signal asks for it."""
        self.stepped = time.perf_counter()
        if self.received or (self.replicas.is_chief and self.stepped > self.due):
            self.progress.seconds = self.stepped - self.started
            self._save()
        if self.received:
            raise Interrupted(self.received[0])

    def timing(self, count: int) -> dict:
        """Seconds of this epoch, and of its `count` images how many were trained on a second."""
        return {"seconds": round(time.perf_counter() - self.started, 2),
                "pictures_per_second": round(count / (self.stepped - self.started), 1)}

    def epoch_done(self, record: dict, predictions: np.ndarray, mistakes: np.ndarray) -> None:
        """Write what an epoch leaves behind.

        record: its line of metrics.jsonl; predictions: of the validation images, float32 (n,);
        mistakes: the indices of those that are wrong, the most confident ones first.

        In this order: whenever it is cut short, all that the checkpoint refers to is there.
        """
        self.progress.epoch, self.progress.step = record["epoch"] + 1, 0
        self.progress.loss_sum = self.progress.seconds = 0.0
        self.history.append(record)
        if not self.replicas.is_chief:
            return
        if self.best is record:
            write(tf.train.Checkpoint(network=self.state.network), best_folder(self.run, record))
            run_folder.write_predictions(self.run, self.valid.files, self.valid.labels, predictions)
        run_folder.write_history(self.run, record)
        self.events.write(record["epoch"], summary=event_file.epoch_summary(
            record, predictions, self.valid.labels, self._mistaken_images(mistakes),
            self.state.network.kernels[0].numpy(), self.class_names))
        if (self.received or record["epoch"] in (1, self.total)
                or time.perf_counter() >= self.due):
            self._save()

    def restore_best_weights(self) -> None:
        """Give the network, in all workers, the weights of the best epoch."""
        if self.replicas.is_chief:
            read_best_weights(self.run, self.state.network)
        self.replicas.broadcast_variables(self.state.network.variables)

    def _mistaken_images(self, mistakes: np.ndarray) -> list[np.ndarray]:
        """The first nine mistakes of each class; of several workers, those that the chief holds."""
        return [self.valid.images[self.replicas.local_rows(
            mistakes[self.valid.labels[mistakes] == label])[:9]] for label in (1, 0)]

    def _save(self) -> None:
        took = save(self.state, self.run, self.best)
        self.due = time.perf_counter() + PAUSE * took

    def _broadcast_state(self) -> None:
        progress = self.progress
        numbers = tf.Variable([progress.epoch, progress.step, progress.loss_sum, progress.seconds],
                              dtype=tf.float64)
        network, optimizer = self.state.network, self.state.optimizer
        self.replicas.broadcast_variables([*network.variables, *optimizer.variables, numbers])
        epoch, step, progress.loss_sum, progress.seconds = numbers.numpy().tolist()
        progress.epoch, progress.step = int(epoch), int(step)


@contextlib.contextmanager
def catch_signals(chief: bool = True) -> Iterator[list[int]]:
    """Yield a list that gets the first Ctrl-C or SIGTERM; a second one ends the program at once.

    Of several workers only the chief stops and saves: if all did, none could finish its step.
    """
    received: list[int] = []

    def handle(signum, frame):
        for each in before:
            signal.signal(each, signal.SIG_DFL)
        # Not print, which could have been interrupted in the middle of a line.
        if chief:
            received.append(signum)
            os.write(1, b"\nfinishing the step and saving (once more to stop at once)\n")
        else:
            os.write(1, b"\nstop worker 0, which saves the run (or this one at once, once more)\n")

    before = {each: signal.signal(each, handle) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


# ---------------------------------------------------------------------------------------------
# On the disk
# ---------------------------------------------------------------------------------------------

def save(state: tf.train.Checkpoint, run: Path, best: dict | None) -> float:
    """Write a checkpoint of a run; return the seconds that it took.

    best: the record of the best epoch, whose weights are kept. The checkpoint before is kept as
    well, in case this one gets damaged; older ones are deleted.
    """
    started = time.perf_counter()
    progress = state.progress
    folder = run / "checkpoints" / f"epoch-{progress.epoch:06}-step-{progress.step:06}"
    write(state, folder)
    others = sorted(run.glob("checkpoints/epoch-*"))
    before = [other for other in others if other < folder][-1:]  # what is after it was damaged
    others += [other for other in run.glob("best/epoch-*")  # a killed run's may be ahead
               if other != (best and best_folder(run, best))
               and other < run / "best" / f"epoch-{progress.epoch:06}"]
    for other in others:
        if other not in (folder, *before):
            shutil.rmtree(other)
    return time.perf_counter() - started


def best_folder(run: Path, record: dict) -> Path:
    return run / "best" / f"epoch-{record['epoch']:06}"


def write(checkpoint: tf.train.Checkpoint, folder: Path) -> None:
    """Write a checkpoint into `folder`, whole or not at all."""
    unfinished, outdated = folder.parent / "unfinished", folder.parent / "outdated"
    for leftover in (unfinished, outdated):  # a killed process's
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        checkpoint.write(str(unfinished / "checkpoint"))
        if folder.exists():  # one of the same step, damaged or written before a kill
            folder.rename(outdated)
        unfinished.rename(folder)
    finally:
        for leftover in (unfinished, outdated):  # a full disk needs the room
            shutil.rmtree(leftover, ignore_errors=True)


def restore(state: tf.train.Checkpoint, run: Path) -> bool:
    """Read the run's newest whole checkpoint; return whether it has one.

    TensorFlow compares what it reads with a checksum for every variable: damage is noticed, and
    the checkpoint before is taken. Raises UserError if that is of no use either, or if the
    checkpoints are of another run.
    """
    seed, folders = state.progress.seed, sorted(run.glob("checkpoints/epoch-*"), reverse=True)
    for folder in folders:
        try:
            status = state.read(str(folder / "checkpoint"))
            status.expect_partial()  # complaints come from here, not from TensorFlow's log
            status.assert_consumed()
            if state.progress.seed != seed:
                raise ValueError
        except (tf.errors.OpError, IndexError):
            print(f"{folder} is damaged" + ": trying the one before" * (folder != folders[-1]))
        except (ValueError, AssertionError) as error:
            raise UserError(f"{folder} is of another run: it does not fit the "
                            f"{state.network.name} with --seed={seed} of {run}/config.json; put "
                            "the right one back") from error
        else:
            return True
    if folders:
        raise UserError(f"{run} cannot be resumed: none of its checkpoints can be read; the "
                        "weights of its best epoch are in its best/")
    return False


def check_present(run: Path) -> None:
    """Refuse a run whose checkpoints were deleted: starting again would overwrite what it has.

    Raises UserError if there is more than a process leaves that was killed before its first one.
    """
    if not list(run.glob("checkpoints/epoch-*")):
        history = run_folder.read_history(run)
        if len(history) > 1 or (run / "model").exists():
            raise UserError(f"{run} cannot be resumed: its checkpoints were deleted, and to start "
                            "again would overwrite what it has; train a new run")
        print(f"{run} has no checkpoint: it starts again")


def read_best_weights(run: Path, network: tf.Module) -> None:
    """Give the network the weights of the run's best epoch.

    Raises UserError if they are not there, damaged, or of another network.
    """
    run_folder.check_path(run)
    best = max(run.glob("best/epoch-*"), default=run / "best")  # two while one is replaced
    try:
        status = tf.train.Checkpoint(network=network).read(str(best / "checkpoint"))
        status.expect_partial()  # complaints come from here, not from TensorFlow's log
        status.assert_consumed()
    except (tf.errors.OpError, IndexError, ValueError, AssertionError) as error:
        raise UserError(f"{run} is damaged: its weights are missing or not of this "
                        f"{network.name}; train it again") from error
