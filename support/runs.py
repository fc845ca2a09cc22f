"""A run from its start to its end: what keeps it alive around the training loop.

    with runs.opened(SETTINGS, DEFAULTS) as run:    # its folder is locked
        source = run.find_images(network)
        …                                           # load them
        run.start(dataset)                          # its config.json, all devices
        with run.training():                        # signals are caught
            run.restore(state)                      # before the loop
            run.save_if_due(state)                  # after each step
            run.finish_epoch(record, predictions, state)

Of several workers only the chief writes files, and reads checkpoints.
"""

import contextlib
import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from absl import flags

from support import (
    checkpoints,
    class_folders,
    cli,
    distribution,
    machine,
    run_folder,
    settings,
    split_sizes,
    summary,
    used_pictures,
)
from support.cli import UserError
from support.settings import Config
from support.tensorflow_setup import tf

# What took s seconds to save is followed by PAUSE * s seconds without saving, so that checkpoints
# cost about 1% of the time; the first one is due after FIRST_SAVE seconds. The ends of the first
# and the last epoch are saved in any case.
FIRST_SAVE, PAUSE = 60, 80


@contextlib.contextmanager
def opened(groups: Sequence[str], defaults: dict[str, dict]) -> Iterator["Run"]:
    """The run that the flags ask for: a new one or, with --resume, that one, locked.

    groups: of the flags that are settings; defaults: of each network. Raises UserError for a run
    that cannot be trained, SystemExit when a signal ended the training.
    """
    values, strategy = flags.FLAGS, flags.FLAGS.strategy
    is_new, is_chief = values.resume is None, distribution.is_chief(strategy)
    if is_new:
        config = settings.from_flags(values, *groups, defaults=defaults)
        if strategy == "multi_worker" and values.name is None:
            raise UserError("--strategy=multi_worker needs a --name, the same for all workers")
        folder = Path(values.runs_dir, values.name or "")
        locked = run_folder.new(Path(values.runs_dir), values.name, config.arch)
    else:
        folder = Path(values.resume)
        config = saved_settings(folder, groups, defaults)
        locked = run_folder.resumed(folder)
    with contextlib.ExitStack() as stack:
        if is_chief:
            folder = stack.enter_context(locked)
        run = Run(folder, config, stack, strategy, is_new)
        try:
            yield run
        except (KeyboardInterrupt, SystemExit):
            if run.started:
                print(f"interrupted; resume with {run.resume_command}")
            raise
        except UserError as error:
            if is_new or run.started:
                raise
            raise UserError(f"{folder} cannot be resumed: {error}; if its pictures were moved, say "
                            "where with --data_dir") from error
        except (OSError, tf.errors.OpError) as error:  # the disk, the memory, another worker
            if not run.started:
                raise
            failed = distribution.failed_workers(error) if strategy == "multi_worker" else None
            raise UserError(f"{failed or cli.one_sentence(error)}; all that was saved before is "
                            f"whole: put that right and resume with {run.resume_command}"
                            ) from error


def saved_settings(resumed: Path, groups: Sequence[str], defaults: dict[str, dict]) -> Config:
    """The settings of a run that is resumed: its own, but for --epochs and --data_dir.

    Raises UserError for other flags, for a config.json that is damaged, and for fewer epochs than
    are trained.
    """
    others = [f"--{name}" for name in flags.FLAGS if flags.FLAGS[name].present
              and name not in ("resume", "epochs", "strategy", "data_dir", "eager")]
    if others:
        raise UserError(f"{', '.join(others)} cannot be given with --resume: a run keeps the "
                        "settings it was started with; beside it only --epochs, --strategy, "
                        "--data_dir, --eager can be given")
    config = run_folder.read_settings(resumed, flags.FLAGS, *groups,
                                      never_none=set().union(*defaults.values()))
    config.epochs = flags.FLAGS.epochs or config.epochs
    config.data_dir = flags.FLAGS.data_dir or config.data_dir
    trained = len(run_folder.read_history(resumed))
    if config.epochs < trained:
        raise UserError(f"--epochs={config.epochs}: {resumed} has trained {trained} already; give "
                        "a larger number, or none")
    return config


class Run:
    """A run that is trained: its folder is kept up to date, so that it can be resumed.

    stack: of what is closed with the run; is_new: whether its folder is to get a config.json.
    """

    def __init__(self, folder: Path, config: Config, stack: contextlib.ExitStack,
                 strategy: str = "single", is_new: bool = False):
        self.folder, self.config, self.stack = folder, config, stack
        self.strategy_name, self.is_new = strategy, is_new
        self.is_chief = distribution.is_chief(strategy)
        self.started = False
        self.history: list[dict] = []  # a record for each finished epoch

    @property
    def best(self) -> dict | None:
        """The record of the best epoch."""
        return run_folder.best_epoch(self.history)

    @property
    def resume_command(self) -> str:
        strategy = "" if self.strategy_name == "single" else f" --strategy={self.strategy_name}"
        return f"python train.py --resume={shlex.quote(self.folder.as_posix())}{strategy}"

    def find_images(self, network) -> class_folders.Source:
        """The images that the settings ask for, and how many are for which part.

        network: a models.Network, for its shapes. From then on the settings name the folder and the
        classes that were found. Raises UserError for images that are not there, and for a training
        that this machine's memory cannot hold.
        """
        config = self.config
        source = class_folders.choose(config.data_dir, config.classes)
        if self.is_chief and not self.is_new:
            used_pictures.check(self.folder, used_pictures.names_in(source), source.folder)
        source = split_sizes.with_sizes(source, config)
        machine.check_memory(network, config.batch_size, 2 * sum(source.sizes)
                             + sum(len(part.images) for part in source.whole.values()))
        self.network, self.source = network, source
        self.no_photographs = source.folder == class_folders.SAMPLE and config.data_dir is None
        config.data_dir, config.classes = str(source.folder.resolve()), list(source.class_names)
        return source

    def start(self, dataset) -> None:
        """Wait for all devices; write a new run's config.json, and say what it is.

        dataset: a data.Dataset of the images that were found. Raises UserError if a resumed run's
        images are not those it was started with.
        """
        self.dataset, config, records = dataset, self.config, []
        self.strategy = self.stack.enter_context(distribution.setup(self.strategy_name))
        replicas = self.strategy.num_replicas_in_sync
        if self.is_chief:
            records = used_pictures.records_of(dataset, self.source)
            if self.is_new:
                run_folder.write_records(self.folder / used_pictures.FILE, records)
                run_folder.write_config(self.folder, config, dataset, replicas, tf.__version__)
            else:
                used_pictures.check(self.folder, records, self.source.folder)
        self.started = True
        if self.is_new:
            summary.print_start(self.network, self.source, dataset, config, self.no_photographs,
                                used_pictures.in_two_parts(records))
            print(f"{summary.settings_line(config, replicas)}; the run is {self.folder}/",
                  flush=True)

    @contextlib.contextmanager
    def training(self) -> Iterator[None]:
        """Variables made inside have a copy on every device; a Ctrl-C or so ends the training.

        SystemExit is raised then: by save_if_due or, during the last validation, at the end.
        """
        with self.strategy.scope(), catch_signals(self.is_chief) as self.received:
            yield
        self._exit_if_asked()

    def begins(self) -> bool:
        """Whether the run has no checkpoint; what the chief begins with, it gives the others."""
        return self.is_chief and not any(self.folder.glob("checkpoints/epoch-*"))

    def restore(self, state: tf.train.Checkpoint) -> None:
        """Continue from the newest checkpoint; a new run has none, and its state stays as it is.

        state: tf.train.Checkpoint(network=…, optimizer=…, progress=TrainingState(…)). Raises
        UserError for checkpoints that cannot be used.
        """
        progress = state.progress
        if self.is_chief:
            resumed = checkpoints.restore(state, self.folder)
            self.history = run_folder.read_finished_epochs(self.folder, progress.epoch - 1)
            checkpoints.prune_best(self.folder, progress.epoch - 1, self.best)
            run_folder.update_config(self.folder, self.config, self.strategy.num_replicas_in_sync)
            if resumed and progress.epoch > self.config.epochs:
                print(f"{self.folder} is finished: its {self.config.epochs} epochs are trained; a "
                      "larger --epochs adds to them", flush=True)
            elif resumed:
                print(f"{self.folder} resumes in epoch {progress.epoch}, after step "
                      f"{progress.step}", flush=True)
            else:
                run_folder.write_first_kernels(self.folder, 0, state.network.kernels[0].numpy())
        distribution.broadcast(state)
        self.saved_best = self.best  # that of the newest checkpoint
        self.stepped = time.perf_counter()
        self.began, self.due = self.stepped - progress.seconds, self.stepped + FIRST_SAVE

    def save_if_due(self, state: tf.train.Checkpoint) -> None:
        """After each step: save if it is time, and end the training if a signal asks for it."""
        self.stepped = time.perf_counter()
        if self.received or (self.is_chief and self.stepped > self.due):
            state.progress.seconds = self.stepped - self.began
            self._save(state)
        self._exit_if_asked()

    def finish_epoch(self, record: dict, predictions: np.ndarray, state: tf.train.Checkpoint
                     ) -> None:
        """Write what an epoch leaves behind.

        record: its line of metrics.jsonl, to which its time is added; predictions: for the
        validation images, float32 (n,); state: that of the next epoch's start. In this order:
        whenever it is cut short, all that the checkpoint refers to is there.
        """
        record["seconds"] = round(time.perf_counter() - self.began, 2)
        record["pictures_per_second"] = round(record["pictures"] / (self.stepped - self.began), 1)
        state.progress.seconds = 0.0
        self.history.append(record)
        if self.is_chief:
            valid = self.dataset.valid
            if self.best is record:
                checkpoints.write(tf.train.Checkpoint(network=state.network),
                                  checkpoints.best_folder(self.folder, record))
                run_folder.write_predictions(self.folder, valid.files, valid.labels, predictions)
            run_folder.write_history(self.folder, record)
            run_folder.write_first_kernels(self.folder, record["epoch"],
                                           state.network.kernels[0].numpy())
            if (self.received or record["epoch"] in (1, self.config.epochs)
                    or time.perf_counter() >= self.due):
                self._save(state)
            checkpoints.prune_best(self.folder, record["epoch"], self.best, self.saved_best)
        self.began = self.stepped = time.perf_counter()

    def _save(self, state: tf.train.Checkpoint) -> None:
        started = time.perf_counter()
        checkpoints.save(state, self.folder)
        self.due = time.perf_counter() + PAUSE * (time.perf_counter() - started)
        self.saved_best = self.best

    def _exit_if_asked(self) -> None:
        if self.received:
            sys.exit(128 + self.received[0])


@contextlib.contextmanager
def catch_signals(chief: bool = True) -> Iterator[list[int]]:
    """Yield a list that gets the first of cli.ending_signals; the next ends the program at once.

    Not a SIGHUP: a terminal that is closed may send more than one. Of several workers only the
    chief stops and saves: if all did, none could finish its step.
    """
    received: list[int] = []

    def handle(number, frame):
        for each in before:
            urgent = each in (signal.SIGINT, signal.SIGTERM)
            signal.signal(each, signal.SIG_DFL if urgent else signal.SIG_IGN)
        text = b"\nstop worker 0, which saves the run (or this one at once, once more)\n"
        if chief:
            received.append(number)
            text = b"\nfinishing the step and saving (once more to stop at once)\n"
        with contextlib.suppress(OSError):  # its reader may have ended, too
            os.write(1, text)  # not print, which could have been interrupted within a line
            if sys.stderr.isatty():
                os.write(2, b"\x1b[?25h")  # the cursor, which the bar hides

    before = {each: signal.signal(each, handle) for each in cli.ending_signals()}
    try:
        yield received
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
