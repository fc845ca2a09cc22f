"""The article's "Training our Neural Networks": one loop, from photographs to metrics.

    python train.py --arch=conv2_fc512 --lr=1e-5    # the article's best network
    python train.py --arch=mlp                      # its baseline, which learns nothing
    python train.py --arch=conv1 --data_dir=PHOTOS --epochs=3 --scaling=unit
    python train.py --resume=runs/conv1-1           # go on with a run that was interrupted
    python train.py --evaluate=runs/conv1-1 --data_dir=OTHERS    # measure a network, train nothing
    python train.py --strategy=multi_worker         # one of several machines, as TF_CONFIG says

Without photographs in data/ it trains on the drawn pictures in sample/. Each epoch prints a line:
the loss trained on, and on the validation pictures the mean squared error, the Pearson
correlation, and the best accuracy of ten thresholds. A run leaves its folder runs/NAME:
config.json, metrics.jsonl (an epoch a line), the same epochs for TensorBoard, of its best epoch
best/ (the weights), predictions.jsonl (what it answers to each validation picture) and model/ (the
network for predict.py and others), checkpoints/ (what --resume goes on from) and, with
--test_size, test.json. What the article does not have (--schedule, --flip, --shift, --dropout …)
is off unless asked for.
"""

import contextlib
import dataclasses
import fcntl
import functools
import hashlib
import json
import math
import os
import platform
import re
import shlex
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import data
import metrics
import models  # before tensorflow: it keeps the start-up chatter off the screen
import numpy as np
import PIL
import tensorflow as tf
from absl import app, flags, logging


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a network is trained unless a flag says otherwise."""

    lr: float
    batch_size: int
    epochs: int
    loss: str
    init: str


# The article's settings but for the convolutional networks' learning rate (the article: 1e-6),
# first weights (Glorot's), batch of 64 (for the last three) and epochs (5, 15, 19 and "about an
# hour"): with these they pass the article's figures. The README has them.
# Like the article's notebook, the MLP minimises the mean squared error, and the others binary
# cross-entropy.
SETTINGS = {
    "mlp":         Settings(lr=1e-5, batch_size=32, epochs=10, loss="mse", init="glorot"),
    "conv1":       Settings(lr=1e-5, batch_size=32, epochs=5, loss="bce", init="adapted"),
    "conv2_48":    Settings(lr=1e-5, batch_size=32, epochs=5, loss="bce", init="adapted"),
    "conv2_128":   Settings(lr=1e-5, batch_size=32, epochs=3, loss="bce", init="adapted"),
    "conv2_fc512": Settings(lr=1e-5, batch_size=32, epochs=6, loss="bce", init="adapted"),
}

ARCH = flags.DEFINE_enum("arch", "conv2_fc512", list(models.ARCHITECTURES), "the network")
LR = flags.DEFINE_float("lr", None, "Adam's learning rate [the network's, see SETTINGS]")
EPOCHS = flags.DEFINE_integer(
    "epochs", None, "how often every picture is seen [the network's, see SETTINGS]",
    lower_bound=1)
BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", None, "pictures per step [the network's, see SETTINGS]", lower_bound=1)
LOSS = flags.DEFINE_enum(
    "loss", None, ["mse", "bce"], "what is minimised: mean squared error or binary cross-entropy "
    "[the network's, see SETTINGS]")
SEED = flags.DEFINE_integer(
    "seed", 0, "what every draw follows from: the split, the first weights, the order of the "
    "pictures, their augmentation, dropout",
    lower_bound=0, upper_bound=2**31 - 1)
TRAIN_SIZE = flags.DEFINE_integer(
    "train_size", None, "pictures to train on, half of each class [4096, or what there is]")
VALID_SIZE = flags.DEFINE_integer(
    "valid_size", None, "pictures to validate on, half of each class [1024, or what there is]")
TEST_SIZE = flags.DEFINE_integer(
    "test_size", 0, "pictures set aside, half of each class: answered once, when all is chosen")
SCHEDULE = flags.DEFINE_enum(
    "schedule", "constant", ["constant", "onecycle"], "the learning rate is --lr throughout, as "
    "in the article; or it rises to --lr and falls to nothing")
FLIP = flags.DEFINE_bool(
    "flip", False, "mirror half of the training pictures, each epoch others")
SHIFT = flags.DEFINE_integer(
    "shift", 0, "move each training picture by up to so many pixels, each epoch differently",
    lower_bound=0)
ZOOM = flags.DEFINE_float(
    "zoom", 0.0, "enlarge or shrink each training picture by up to this share, each epoch "
    "differently: 0.2 is between 1/1.2 and 1.2 times as large")
DROPOUT = flags.DEFINE_float(
    "dropout", 0.0, "share of each hidden layer's inputs that a training step leaves out")
WEIGHT_DECAY = flags.DEFINE_float(
    "weight_decay", 0.0, "how much of themselves, times the learning rate, kernels lose in a step")
LABEL_SMOOTHING = flags.DEFINE_float(
    "label_smoothing", 0.0, "train towards labels so much nearer to 0.5: 0.1 makes 1 a 0.95")
TTA = flags.DEFINE_bool(
    "tta", False, "test-time augmentation: answer a picture with the mean of the probabilities of "
    "it and of its mirror image")
DTYPE = flags.DEFINE_enum(
    "dtype", "auto", ["auto", "float32", "bfloat16"], "what the network computes with; auto tries "
    "both on this machine and takes the faster")
NAME = flags.DEFINE_string("name", None, "the run's folder in --runs_dir [ARCH-1, ARCH-2 …]")
RUNS_DIR = flags.DEFINE_string("runs_dir", "runs", "where the folders of runs go")
RESUME = flags.DEFINE_string(
    "resume", None, "the folder of a run to go on with, from its newest checkpoint and as it was "
    "begun: only --epochs, --strategy and, if the pictures were moved, --data_dir can be given "
    "beside it")
EVALUATE = flags.DEFINE_string(
    "evaluate", None, "train nothing: the folder of a run whose network is measured on all "
    "pictures of --data_dir, at the threshold that its validation chose")
STRATEGY = flags.DEFINE_enum(
    "strategy", "single", ["single", "mirrored", "multi_worker"], "where to compute: on one "
    "device, on all graphics cards of this machine, or on all machines that TF_CONFIG names. They "
    "share each batch of --batch_size; the numbers differ a little from those of a single one")


@dataclasses.dataclass(frozen=True)
class Config:
    """What a run's numbers follow from, besides the pictures and how many replicas compute."""

    arch: str
    lr: float
    epochs: int
    batch_size: int
    loss: str
    init: str
    seed: int = 0
    input_size: tuple[int, int] = models.INPUT_SIZE
    kernel_size: int = 3
    stride: int = 1
    pooling: str = "max"
    scaling: str = "none"
    schedule: str = "constant"
    flip: bool = False
    shift: int = 0
    zoom: float = 0.0
    dropout: float = 0.0
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    tta: bool = False
    filters: tuple[int, ...] | None = None  # the network's
    hidden: tuple[int, ...] | None = None
    dtype: str = "float32"  # or bfloat16; "auto" until faster_dtype has told

    def make_network(self) -> models.Network:
        return models.network_of(dataclasses.asdict(self))


def config_from_flags() -> Config:
    """The flags, completed by SETTINGS. Raises ValueError for one that is wrong."""
    settings = SETTINGS[ARCH.value]
    lr = settings.lr if LR.value is None else LR.value
    if not (math.isfinite(lr) and lr > 0):
        raise ValueError(f"--lr={lr} must be a number above 0; the article's are 1e-5 and 1e-6")
    for flag in (DROPOUT, LABEL_SMOOTHING):
        if not 0 <= flag.value < 1:
            raise ValueError(f"--{flag.name}={flag.value} must be a share: at least 0, below 1")
    for flag in (WEIGHT_DECAY, ZOOM):
        if not (math.isfinite(flag.value) and flag.value >= 0):
            raise ValueError(f"--{flag.name}={flag.value} must be a number, at least 0")
    input_size = models.parse_size(models.INPUT_SIZE_FLAG.value)
    if SHIFT.value >= min(input_size):
        raise ValueError(f"--shift={SHIFT.value} moves pictures of --input_size="
                         f"{input_size[0]}x{input_size[1]} out of sight: use a smaller one")
    return Config(
        arch=ARCH.value, lr=lr, epochs=EPOCHS.value or settings.epochs,
        batch_size=BATCH_SIZE.value or settings.batch_size, loss=LOSS.value or settings.loss,
        init=models.INIT.value or settings.init, seed=SEED.value, input_size=input_size,
        kernel_size=models.KERNEL_SIZE.value, stride=models.STRIDE.value,
        pooling=models.POOLING.value, scaling=models.SCALING.value, schedule=SCHEDULE.value,
        flip=FLIP.value, shift=SHIFT.value, zoom=ZOOM.value, dropout=DROPOUT.value,
        weight_decay=WEIGHT_DECAY.value, label_smoothing=LABEL_SMOOTHING.value, tta=TTA.value,
        filters=models.parse_counts(models.FILTERS), hidden=models.parse_counts(models.HIDDEN),
        dtype=DTYPE.value)


# ---------------------------------------------------------------------------------------------
# Augmentation, loss, optimizer, step
# ---------------------------------------------------------------------------------------------

def augment(images, seed, flip: bool, shift: int, zoom: float):
    """Each picture moved, enlarged and mirrored, or not: (batch, height, width, 3) -> same.

    By up to `shift` pixels, and by a factor between 1 / (1 + zoom) and 1 + zoom. A mirrored cat is
    a cat, and so is one a little further left or nearer: a network that sees a picture differently
    every epoch cannot learn it by heart. Every pixel is fetched from a row and a column of the
    picture; what lies beyond its edge is fetched from the edge. seed: two integers.
    """
    batch, height, width = tf.shape(images)[0], images.shape[1], images.shape[2]
    draw = functools.partial(tf.random.stateless_uniform, alg="philox")
    down, right = tf.unstack(draw((2, batch, 1), tf.random.fold_in(seed, -1), -shift, shift + 1,
                                  tf.int32))
    rows, columns = tf.range(height) - down, tf.range(width) - right  # (batch, height or width)
    if zoom:
        factor = tf.exp(draw((batch, 1), tf.random.fold_in(seed, -3), -math.log1p(zoom),
                             math.log1p(zoom)))

        def nearer(places, middle: float):
            return tf.cast(tf.round(middle + (tf.cast(places, tf.float32) - middle) / factor),
                           tf.int32)

        rows, columns = nearer(rows, (height - 1) / 2), nearer(columns, (width - 1) / 2)
    rows = tf.clip_by_value(rows, 0, height - 1)
    columns = tf.clip_by_value(columns, 0, width - 1)
    if flip:
        mirrored = draw((batch, 1), tf.random.fold_in(seed, -2)) < 0.5
        columns = tf.where(mirrored, width - 1 - columns, columns)
    images = tf.gather(images, rows, axis=1, batch_dims=1)
    return tf.gather(images, columns, axis=2, batch_dims=1)


def mean_squared_error(labels, logits):
    """mean (sigmoid(logit) - label)^2 over a batch: float32 (batch,), (batch,) -> scalar."""
    return tf.reduce_mean((tf.sigmoid(logits) - labels) ** 2)


def binary_cross_entropy(labels, logits):
    """mean -[y log p + (1 - y) log(1 - p)], p = sigmoid(logit), over a batch -> scalar.

    Computed from the logit x as max(x, 0) - x y + log(1 + exp(-|x|)): the same value, without the
    logarithm of a p that has been rounded to 0 or 1 (tf.nn.sigmoid_cross_entropy_with_logits).
    """
    return tf.reduce_mean(tf.maximum(logits, 0.0) - logits * labels
                          + tf.math.log1p(tf.exp(-tf.abs(logits))))


LOSSES = {"mse": mean_squared_error, "bce": binary_cross_entropy}


class Adam(tf.Module):
    """Adam: each weight's step is its mean gradient over the root of its mean squared gradient.

    Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015: algorithm 1, in the order
    of operations that the end of section 2 gives. With weight_decay each kernel first shrinks by
    lr * weight_decay of itself: Loshchilov and Hutter, "Decoupled Weight Decay Regularization",
    2019, algorithm 2, with the decay in units of the rate as in Keras. Biases do not shrink; they
    are few and cannot learn anything by heart.
    """

    def __init__(self, variables, weight_decay: float = 0.0, beta1=0.9, beta2=0.999, epsilon=1e-7):
        super().__init__(name="adam")
        self.weights = variables
        self.weight_decay, self.beta1, self.beta2 = weight_decay, beta1, beta2
        self.epsilon = epsilon
        self.steps = tf.Variable(0, dtype=tf.int64)
        self.means = [tf.Variable(tf.zeros_like(variable)) for variable in variables]
        self.squares = [tf.Variable(tf.zeros_like(variable)) for variable in variables]

    def apply(self, gradients, lr) -> None:
        """One step, for each variable:

            mean     = beta1 * mean   + (1 - beta1) * gradient
            square   = beta2 * square + (1 - beta2) * gradient ** 2
            variable = variable - lr * correction * mean / (sqrt(square) + epsilon)
            correction = sqrt(1 - beta2 ** steps) / (1 - beta1 ** steps)

        The means start at zero; the correction makes up for that in the first steps. Written so
        in TensorFlow, every operation goes through all the weights once; ResourceApplyAdam
        does it all in one pass, in a third of the time.
        """
        # Through its handle a variable is this replica's own copy; assign_add wants all of them.
        tf.raw_ops.AssignAddVariableOp(resource=self.steps.handle, value=tf.constant(1, tf.int64))
        steps = tf.cast(self.steps, tf.float32)
        beta1_power, beta2_power = self.beta1 ** steps, self.beta2 ** steps
        # All gradients come first: TensorFlow would copy a weight that is still read to change it.
        with tf.control_dependencies(gradients):
            for variable, mean, square, gradient in zip(
                    self.weights, self.means, self.squares, gradients):
                if self.weight_decay and variable.shape.rank > 1:
                    tf.raw_ops.AssignSubVariableOp(
                        resource=variable.handle, value=lr * self.weight_decay * variable)
                tf.raw_ops.ResourceApplyAdam(
                    var=variable.handle, m=mean.handle, v=square.handle, lr=lr,
                    epsilon=self.epsilon, beta1=self.beta1, beta1_power=beta1_power,
                    beta2=self.beta2, beta2_power=beta2_power, grad=gradient)


WARM_UP = 0.2  # the share of all steps in which onecycle rises


def learning_rate(config: Config, progress: float) -> float:
    """The rate after a share `progress` of all steps, 0 to 1.

    constant: config.lr. onecycle: up to it in a straight line over the first fifth, while the
    means of Adam settle, then down to 0 along half a cosine, so that the last steps only polish.
    Source: Smith and Topin, "Super-Convergence", 2017, who come down in straight lines.
    """
    if config.schedule == "constant":
        return config.lr
    if progress < WARM_UP:
        return config.lr * progress / WARM_UP
    return config.lr * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP))) / 2


def compile_steps(network: models.Network, optimizer: Adam, config: Config, workers: int = 1):
    """The training step and the evaluation step, each compiled into one graph.

    The batch dimension is left open (None), so that the last, smaller batch needs no other graph.
    Pictures come as uint8, a quarter of what float32 would take: everything else happens inside.

    On one device replica_step comes down to four lines:

        with tf.GradientTape() as tape:                        # notes what is computed
            value = loss(labels, network(images, seed))        # how wrong the answers are
        gradients = tape.gradient(value, optimizer.weights)    # how each weight makes them worse
        optimizer.apply(gradients, lr)                         # a little the other way

    Several replicas (graphics cards, of this machine or of several `workers`) each have a copy of
    the weights and get a part of the batch; they add up their gradients, so that all copies make
    the same step. With one replica part_of_batch, part_of_mean and all_reduce (see "More than one
    machine") change nothing.
    """
    images_spec = tf.TensorSpec((None, *network.input_size, 3), tf.uint8)
    labels_spec = tf.TensorSpec((None,), tf.float32)
    loss = LOSSES[config.loss]
    strategy = tf.distribute.get_strategy()
    replicas = strategy.num_replicas_in_sync
    replicas_here = replicas // workers

    def replica_step(images, labels, lr):
        """Move every weight a little way down the loss; return the loss before the move."""
        replica = tf.distribute.get_replica_context()
        number = tf.cast(replica.replica_id_in_sync_group, tf.int64)
        images, labels = part_of_batch(images, labels, number % replicas_here, replicas_here)
        # What chance decides follows from seed, step and replica, not from how often it was called.
        seed = tf.stack([tf.constant(config.seed, tf.int64), optimizer.steps * replicas + number])
        if config.flip or config.shift or config.zoom:
            images = augment(images, seed, config.flip, config.shift, config.zoom)
        labels += config.label_smoothing * (0.5 - labels)
        with tf.GradientTape() as tape:
            logits = network(images, seed)[:tf.size(labels)]  # (batch,), see part_of_batch
            value = part_of_mean(loss(labels, logits), tf.size(labels))
        gradients = tape.gradient(value, optimizer.weights)
        *gradients, value = replica.all_reduce("SUM", [*gradients, value])
        optimizer.apply(gradients, lr)
        return value

    @tf.function(input_signature=[images_spec, labels_spec, tf.TensorSpec((), tf.float32)])
    def train_step(images, labels, lr):
        """replica_step in every replica at once; they all return the same."""
        losses = strategy.run(replica_step, (images, labels, lr))
        return strategy.experimental_local_results(losses)[0]

    @tf.function(input_signature=[images_spec])
    def eval_step(images):
        """The probability of a cat, float32 (batch,)."""
        return network.probability(images)

    return train_step, eval_step


# ---------------------------------------------------------------------------------------------
# The loop
# ---------------------------------------------------------------------------------------------

def batches(count: int, batch_size: int, seed: int, epoch: int,
            workers: int = 1) -> Iterator[np.ndarray]:
    """Indices of an epoch's batches, shuffled by (seed, epoch); the last may be smaller.

    The article: "I made sure to shuffle the training data, since I loaded it in order and that
    could've biased the model."

    A picture stays with the worker that holds it: worker i has the pictures i, i + workers … and
    these places of the order. So each has as much to do in a batch as the others.
    """
    generator, order = np.random.default_rng([seed, epoch]), np.arange(count)
    for worker in range(workers):
        generator.shuffle(order[worker::workers])
    for start in range(0, count, batch_size):
        yield order[start:start + batch_size]


def predict(eval_step: Callable, images: np.ndarray, batch_size: int) -> np.ndarray:
    """The probability of a cat for each picture, float32 (n,)."""
    return np.concatenate([np.empty(0, np.float32),  # of several workers one may have none
                           *(eval_step(images[start:start + batch_size])
                             for start in range(0, len(images), batch_size))])


class TrainingError(ArithmeticError):
    """The numbers ran away; as one sentence that says where, and what to try."""


@dataclasses.dataclass(eq=False)
class Progress(tf.train.experimental.PythonState):
    """How far a run has come: what its checkpoints hold besides the network and Adam's variables.

    With the configuration, the pictures and the number of replicas it decides all that follows:
    order, augmentation and dropout are functions of seed, step and replica.
    """

    seed: int
    epoch: int = 1         # the one under way
    step: int = 0          # how many of its steps are done
    loss_sum: float = 0.0  # over the pictures of these steps
    seconds: float = 0.0   # that these steps took
    history: list[dict] = dataclasses.field(default_factory=list)  # a record for each epoch before

    def serialize(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    def deserialize(self, text: bytes) -> None:
        vars(self).update(json.loads(text))

    @property
    def best(self) -> dict | None:
        """The record of the best epoch, the first of equal ones."""
        return max(self.history, key=metrics.rank, default=None)


def train_epoch(train_step: Callable, dataset: data.Dataset, config: Config,
                progress: Progress) -> Iterator[None]:
    """What `progress` leaves to do of its epoch, over the training pictures (a tensor).

    Where several workers share them, this one takes its part of every batch.

    Yields after each step, when progress counts it: then it can be saved, or left. Raises
    TrainingError for a loss that is not finite.
    """
    epoch, count, share = progress.epoch, len(dataset.train_labels), dataset.share
    steps = math.ceil(count / config.batch_size)
    with data.progress_bar(f"epoch {epoch}/{config.epochs}", count) as advance:
        for step, batch in enumerate(
                batches(count, config.batch_size, config.seed, epoch, share.of), 1):
            if step > progress.step:
                part = batch[batch % share.of == share.number]  # of all pictures
                rows = part // share.of if len(part) else [0]   # of those here; see part_of_batch
                lr = learning_rate(config, ((epoch - 1) * steps + step - 0.5)
                                   / (config.epochs * steps))
                loss = float(train_step(tf.gather(dataset.train_images, rows),
                                        tf.gather(dataset.train_labels, part), lr))
                if not math.isfinite(loss):
                    raise TrainingError(f"the loss is {loss} at epoch {epoch}, step {step}: "
                                        f"{what_to_try(config)}")
                progress.loss_sum += loss * len(batch)
                progress.step = step
                yield
            advance(len(batch))


def train_and_evaluate(config: Config, dataset: data.Dataset,
                       run: Path) -> tuple[dict | None, int | None]:
    """Train for config.epochs, validating after each; from the folder's newest checkpoint on.

    Returns the best epoch's record, and the signal that ended the training before its time, if
    one did. Writes into the folder `run`: a line an epoch to metrics.jsonl, a record an epoch for
    TensorBoard, the weights of the best epoch to best/ and its answers to predictions.jsonl, and
    all it takes to go on to checkpoints/. With the best weights the test pictures, if any, are
    answered in the end, at the threshold that validation chose: "test" of the record, and
    test.json. Of several workers, each answers its share of the pictures, and the chief alone reads
    and writes files. Raises TrainingError when the numbers are not finite, and ValueError for
    checkpoints that cannot be used.
    """
    share = dataset.share
    network = config.make_network()
    network.scale.measure(np.asarray(dataset.train_images), share.together)
    # A tensor, so that gathering a batch is the only copying a step needs; instead of the array,
    # not beside it.
    dataset.train_images = tf.constant(dataset.train_images)
    optimizer = Adam(network.trainable_variables, config.weight_decay)
    train_step, eval_step = compile_steps(network, optimizer, config, share.of)
    progress = Progress(config.seed)
    best_weights = tf.train.Checkpoint(network=network)
    everything = tf.train.Checkpoint(network=network, adam=optimizer, progress=progress)
    if share.chief:
        restore(everything, run, config)
        (run / "metrics.jsonl").touch()
        events = EventFile(run, progress.epoch)
    progress.deserialize(share.exchange(progress.serialize())[0])
    take_from_chief([*network.variables, *optimizer.means, *optimizer.squares, optimizer.steps])
    end_due, step_due = 0.0, time.perf_counter() + FIRST_SAVE  # the first end, and step, to save

    def save_and_pause() -> None:
        nonlocal end_due, step_due
        took = save(everything, run)
        step_due = time.perf_counter() + PAUSE * took
        end_due = step_due if took > QUICK else 0.0

    def answers(images) -> np.ndarray:
        own = predict(eval_step, images, config.batch_size)
        return np.array(share.together(own.tolist()), np.float32)

    with heed_signals(share.chief) as received:
        while progress.epoch <= config.epochs and not received:
            epoch, started = progress.epoch, time.perf_counter() - progress.seconds
            for _ in train_epoch(train_step, dataset, config, progress):
                if received or (share.chief and time.perf_counter() > step_due):
                    progress.seconds = time.perf_counter() - started
                    save_and_pause()
                if received:
                    return progress.best, received[0]
            trained = time.perf_counter()
            predictions = answers(dataset.valid_images)
            if not np.isfinite(predictions).all():
                raise TrainingError(f"the predictions after epoch {epoch} are not finite: "
                                    f"{what_to_try(config)}")
            seen = len(dataset.train_labels)
            record = {
                "epoch": epoch, "pictures": seen, "train_loss": progress.loss_sum / seen,
                **metrics.measure(predictions, dataset.valid_labels),
                "seconds": round(time.perf_counter() - started, 2),
                "pictures_per_second": round(seen / (trained - started), 1),
            }
            progress.epoch, progress.step = epoch + 1, 0
            progress.loss_sum = progress.seconds = 0.0
            progress.history.append(record)
            if share.chief:
                # In this order: whenever it is cut short, what the checkpoint tells of is there.
                if progress.best is record:
                    write_checkpoint(best_weights, best_folder(run, record))
                    write_predictions(predictions, dataset, run)
                lines = (run / "metrics.jsonl").read_text().splitlines()
                lines[epoch - 1:epoch] = [json.dumps(record)]  # after a kill it may be there
                write_text(run / "metrics.jsonl", "\n".join(lines) + "\n")
                events.write(epoch, summary=epoch_summary(
                    record, learning_rate(config, epoch / config.epochs), predictions, dataset,
                    network.kernels[0].numpy()))
                if received or epoch == config.epochs or time.perf_counter() >= end_due:
                    save_and_pause()
            print(epoch_line(record, config.epochs), flush=True)

    if received:
        return progress.best, received[0]
    best = dict(progress.best)
    if len(dataset.test_labels):
        if share.chief:
            best_weights.read(str(best_folder(run, best) / "checkpoint")).assert_consumed()
        take_from_chief(network.variables)
        predictions = answers(dataset.test_images)
        best["test"] = metrics.measure_at(best["threshold"], predictions, dataset.test_labels)
        if share.chief:
            write_text(run / "test.json", json.dumps(best["test"]) + "\n")
    return best, None


def what_to_try(config: Config) -> str:
    other = "" if config.scaling == "standard" else ", or --scaling=standard"
    return f"try a smaller --lr than {config.lr:g}{other}"


@contextlib.contextmanager
def heed_signals(chief: bool = True) -> Iterator[list[int]]:
    """Yields a list that gets the first Ctrl-C or SIGTERM; a second ends the program at once.

    Of several workers, only the chief stops and saves: if all did, none could finish its step.
    """
    received = []

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
# Checkpoints: what survives
#
# A run may be killed at any moment, also while it writes. So whatever is written first gets
# another name, and its own when it is whole: the system renames at once or not at all. (tf.train.
# CheckpointManager also keeps the newest few; but it leaves what a killed process had begun, and
# would keep a damaged newest checkpoint and delete the whole one before it.)
# ---------------------------------------------------------------------------------------------

# Saving costs about 1% of the time: what took s seconds to save is followed by PAUSE * s seconds
# without. If that was QUICK, every epoch's end is saved all the same. The first end always is, and
# a step of a first epoch that takes longer than FIRST_SAVE seconds.
FIRST_SAVE, PAUSE, QUICK = 60, 80, 0.1


def save(everything: tf.train.Checkpoint, run: Path) -> float:
    """Write a checkpoint of a run; returns the seconds that it took.

    The one before is kept, in case that this one gets damaged; older ones go.
    """
    started = time.perf_counter()
    progress = everything.progress
    folder = run / "checkpoints" / f"epoch-{progress.epoch:06}-step-{progress.step:06}"
    write_checkpoint(everything, folder)
    others = sorted(run.glob("checkpoints/epoch-*"))
    before = [other for other in others if other < folder][-1:]  # what is after it was damaged
    best = progress.best and best_folder(run, progress.best)
    others += [other for other in run.glob("best/epoch-*")  # a killed run's may be ahead
               if other != best and other < run / "best" / f"epoch-{progress.epoch:06}"]
    for other in others:
        if other not in (folder, *before):
            shutil.rmtree(other)
    return time.perf_counter() - started


def best_folder(run: Path, record: dict) -> Path:
    return run / "best" / f"epoch-{record['epoch']:06}"


def write_checkpoint(checkpoint: tf.train.Checkpoint, folder: Path) -> None:
    """Write a checkpoint into `folder`, whole or not at all."""
    unfinished = folder.parent / "unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)  # a killed process's
    try:
        checkpoint.write(str(unfinished / "checkpoint"))
        shutil.rmtree(folder, ignore_errors=True)  # of the same step, but damaged or outdated
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)  # a full disk needs the room


def write_text(file: Path, text: str) -> None:
    """Write a file, whole or not at all."""
    unfinished = file.with_name(file.name + ".unfinished")
    unfinished.write_text(text)
    unfinished.replace(file)


def restore(everything: tf.train.Checkpoint, run: Path, config: Config) -> None:
    """Read the run's newest whole checkpoint, if it has any, and say so.

    TensorFlow compares what it reads with a checksum for every variable: damage is noticed, and
    the checkpoint before is taken. Raises ValueError if that is of no use either, or if the
    checkpoints are of another run.
    """
    folders = sorted(run.glob("checkpoints/epoch-*"), reverse=True)
    for folder in folders:
        try:
            status = everything.read(str(folder / "checkpoint"))
            status.expect_partial()  # complaints come from here, not from TensorFlow's log
            status.assert_consumed()
            progress = everything.progress
            if progress.seed != config.seed:
                raise ValueError
        except (tf.errors.OpError, IndexError):
            print(f"{folder} is damaged" + ": trying the one before" * (folder != folders[-1]))
        except (ValueError, AssertionError) as error:
            raise ValueError(f"{folder} is of another run: it does not fit the {config.arch} with "
                             f"--seed={config.seed} of {run}/config.json; put the right one back"
                             ) from error
        else:
            if progress.epoch > config.epochs:
                print(f"{run} is finished: its {config.epochs} epochs are trained; a larger "
                      "--epochs adds to them", flush=True)
            else:
                print(f"{run} goes on in epoch {progress.epoch}, after step {progress.step}",
                      flush=True)
            return
    if folders:
        raise ValueError(f"{run} cannot go on: none of its checkpoints can be read; the weights "
                         "of its best epoch are in its best/")


def write_predictions(predictions: np.ndarray, dataset: data.Dataset, run: Path) -> None:
    """run/predictions.jsonl: each validation picture, its label, and the probability of a cat.

    JSON, because the name of a file may hold anything: quotes, new lines, bytes that are no text.
    """
    records = ({"file": str(file.absolute()), "label": int(label), "probability": float(cat)}
               for file, label, cat in zip(dataset.valid_files, dataset.valid_labels, predictions))
    write_text(run / "predictions.jsonl", "".join(json.dumps(row) + "\n" for row in records))


# ---------------------------------------------------------------------------------------------
# Watching it train: what TensorBoard shows of a run
# ---------------------------------------------------------------------------------------------

class EventFile:
    """A file in the run's folder that TensorBoard reads; a record an epoch.

    tf.summary.scalar and its siblings refuse to work where TensorBoard is not installed. What they
    write is a TFRecord file of Event messages, and TensorFlow alone can write that: TensorBoard
    may come when the run is over.
    """

    def __init__(self, run: Path, first_epoch: int):
        # TensorBoard reads all files with "tfevents" in their name, in the order of the names.
        self.file = tf.io.TFRecordWriter(str(run / f"events.out.tfevents.{time.time_ns()}"))
        self.write(0, file_version="brain.Event:2")
        # To TensorBoard: what an earlier start of this run told of these epochs no longer counts.
        start = tf.compat.v1.SessionLog(status=tf.compat.v1.SessionLog.START)
        self.write(first_epoch, session_log=start)

    def write(self, epoch: int, **content) -> None:
        event = tf.compat.v1.Event(wall_time=time.time(), step=epoch, **content)
        self.file.write(event.SerializeToString())
        self.file.flush()


def epoch_summary(record: dict, lr: float, predictions: np.ndarray, dataset: data.Dataset,
                  first_kernel: np.ndarray) -> tf.compat.v1.Summary:
    """What TensorBoard shows of an epoch, under names that it groups by their first word.

    record: the epoch's line of metrics.jsonl; predictions: for the validation pictures, (n,);
    first_kernel: of the network's first layer with weights. The formats are those of TensorBoard's
    plugins/{scalar,histogram,image}/summary_v2.py.
    """
    labels = dataset.valid_labels
    summary = tf.compat.v1.Summary()

    def add(plugin: str, tag: str, content) -> None:
        value = summary.value.add(tag=tag, tensor=tf.make_tensor_proto(content))
        value.metadata.plugin_data.plugin_name = plugin

    scalars = {"training/loss": record["train_loss"], "training/learning_rate": lr,
               "training/pictures_per_second": record["pictures_per_second"]}
    scalars |= {f"validation/{name}": record[name]
                for name in ("mse", "pearson", "best_accuracy", "threshold")}
    for tag, value in scalars.items():
        if value is not None:  # an undefined Pearson
            add("scalars", tag, value)

    wrong = metrics.mistakes(predictions, labels, record["threshold"])
    pictures = {}
    for name, label, mistake in (("cats", data.CAT, "cats_called_dogs"),
                                 ("dogs", data.DOG, "dogs_called_cats")):
        counts, edges = np.histogram(predictions[labels == label], 20, (0, 1))
        add("histograms", f"predictions/{name}", np.stack([edges[:-1], edges[1:], counts], axis=1))
        # Of several workers, the chief shows those of its own share.
        own = wrong[(labels[wrong] == label) & (wrong % dataset.share.of == dataset.share.number)]
        pictures[f"mistakes/{mistake}"] = dataset.valid_images[own[:9] // dataset.share.of]
    if first_kernel.ndim == 4:  # of a convolution: (size, size, 3, filters)
        # A weight of 0 is half bright; one scale for all, up to the largest weight either way.
        brightness = 127.5 + 127.5 * first_kernel / np.abs(first_kernel).max()
        pictures["kernels/first_layer"] = brightness.round().astype(np.uint8).transpose(3, 0, 1, 2)
    for tag, images in pictures.items():
        if len(images):
            page = sheet(images)
            height, width, _ = page.shape
            png = tf.io.encode_png(page, compression=1).numpy()  # 4 times faster, 6% larger
            add("images", tag, [b"%d" % width, b"%d" % height, png])
    return summary


def sheet(images: np.ndarray) -> np.ndarray:
    """uint8 (n, height, width, 3) as one picture: in rows, small ones enlarged, white between."""
    count, height, _, _ = images.shape
    times = max(1, 64 // height)  # so that each of a kernel's numbers is a square one can see
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    images = images.repeat(times, axis=1).repeat(times, axis=2)
    images = np.pad(images, ((0, rows * columns - count), (0, 4), (0, 4), (0, 0)),
                    constant_values=255)
    _, height, width, _ = images.shape
    images = images.reshape(rows, columns, height, width, 3).swapaxes(1, 2)
    return images.reshape(rows * height, columns * width, 3)


# ---------------------------------------------------------------------------------------------
# More than one machine
#
# Every worker runs this file, on its share of the pictures. TensorFlow sums their gradients in
# each step and watches over them: when one dies, the others' next sum raises an error.
# ---------------------------------------------------------------------------------------------

PATIENCE = 300  # seconds in which all workers must have been started


def cluster() -> tuple[list[str], int]:
    """HOST:PORT of every worker, the chief's first, and which of them this is: from TF_CONFIG.

    Raises ValueError for a TF_CONFIG that does not say it.
    """
    text = os.environ.get("TF_CONFIG", "")
    try:
        record = json.loads(text)
        workers = {(job, number): address for job in ("chief", "worker")
                   for number, address in enumerate(record["cluster"].get(job, []))}
        for address in workers.values():
            host, _, port = address.rpartition(":")
            if not (host and 0 < int(port) < 65536):
                raise ValueError(f"{address} is not HOST:PORT")
        task = record["task"]["type"], int(record["task"]["index"])
        if task not in workers:
            raise ValueError(f"its task, {task[0]} {task[1]}, is not in its cluster")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"TF_CONFIG={text!r} is not what --strategy=multi_worker needs ({error!r}): make it "
            'like {"cluster": {"worker": ["HOST:PORT", "HOST:PORT"]}, '
            '"task": {"type": "worker", "index": 0}}') from error
    return list(workers.values()), list(workers).index(task)


def meet(addresses: list[str], number: int, hello: dict) -> dict[int, dict]:
    """The hello of every worker, by its number, as soon as all are there: they all ask the chief.

    TensorFlow waits for them as well, but for an hour, deaf to Ctrl-C, and without saying for
    whom. Raises ValueError, which does, after PATIENCE seconds.
    """
    until = time.monotonic() + PATIENCE
    (host, _, port), own_port = addresses[0].rpartition(":"), addresses[number].rpartition(":")[2]
    try:
        server = socket.create_server(("", int(own_port)))
    except OSError as error:
        raise ValueError(f"TF_CONFIG gives port {own_port} to this worker, {number}, which cannot "
                         f"have it: {os.strerror(error.errno)}") from error
    hellos, callers = {}, {}
    with server, contextlib.ExitStack() as stack:
        if number:
            server.close()  # it was only tried
            while not hellos and time.monotonic() < until:
                with (contextlib.suppress(OSError, ValueError),
                      socket.create_connection((host, int(port)), 10) as chief):
                    chief.settimeout(PATIENCE + 10)  # the chief may have begun later
                    chief.sendall(json.dumps([number, hello]).encode() + b"\n")
                    hellos = dict(json.loads(chief.makefile().readline()))
                time.sleep(0.1)
        else:
            hellos[0] = hello
            server.settimeout(1)
            while len(hellos) < len(addresses) and time.monotonic() < until:
                with contextlib.suppress(OSError, ValueError, TypeError):  # nobody yet; a stranger
                    caller = stack.enter_context(server.accept()[0])
                    caller.settimeout(1)
                    other, its_hello = json.loads(caller.makefile().readline())
                    if other in range(1, len(addresses)):
                        hellos[other], callers[other] = its_hello, caller
            for caller in callers.values():  # also when some are missing: all can say who
                with contextlib.suppress(OSError):
                    caller.sendall(json.dumps(list(hellos.items())).encode() + b"\n")
    missing = sorted(set(range(len(addresses))) - set(hellos)) if hellos else [0]
    if not missing:
        return hellos
    raise ValueError(f"{name_workers(addresses, missing)} cannot be reached from worker {number}, "
                     f"{PATIENCE} seconds long: see that all are started, and TF_CONFIG's "
                     "addresses")


def count_workers() -> int:
    return len(cluster()[0]) if STRATEGY.value == "multi_worker" else 1


def name_workers(addresses: list[str], numbers: list[int]) -> str:
    return " and ".join(f"worker {number} ({addresses[number]})" for number in numbers)


@contextlib.contextmanager
def computed_where_asked() -> Iterator[tuple[tf.distribute.Strategy, data.Share]]:
    """The strategy that --strategy names, and this process's share of the pictures.

    Inside, only the chief prints. Raises ValueError if the workers cannot be reached or were
    started with other flags.
    """
    if STRATEGY.value == "single":
        yield tf.distribute.get_strategy(), data.Share()
    elif STRATEGY.value == "mirrored":
        strategy = tf.distribute.MirroredStrategy()
        yield strategy, data.Share(replicas=strategy.num_replicas_in_sync)
    else:
        addresses, number = cluster()
        own = {"the cluster of TF_CONFIG": str(addresses)} | {
            f"--{name}": str(flags.FLAGS[name].value) for name in flags.FLAGS
            if flags.FLAGS[name].value != flags.FLAGS[name].default
            and name not in ("data_dir", "runs_dir", "flagfile")}
        for other, its in sorted(meet(addresses, number, own).items()):
            for what in sorted(own.keys() | its.keys()):
                if own.get(what) != its.get(what):
                    raise ValueError(
                        f"{what} is {own.get(what, 'not given')} here, for worker {number}, and "
                        f"{its.get(what, 'not given')} for worker {other}: start all alike")
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
        # TensorFlow has taken the signal for itself.
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
        with contextlib.ExitStack() as stack:
            if number:
                print(f"worker {number} of {len(addresses)}: worker 0 prints and writes the run",
                      flush=True)
                nowhere = stack.enter_context(open(os.devnull, "w", errors="replace"))
                stack.enter_context(contextlib.redirect_stdout(nowhere))
            yield strategy, data.Share(number, len(addresses), exchange_in(strategy),
                                       strategy.num_replicas_in_sync)


def part_of_batch(images, labels, number, of: int):
    """One of so many replicas' part of a batch: every of-th picture and label.

    A replica to which a last, small batch leaves nothing is given some picture without a label:
    TensorFlow cannot convolve none.
    """
    if of == 1:
        return images, labels
    size = tf.shape(images, tf.int64)[0]
    places = tf.range(number, tf.maximum(number + 1, size), of)
    return tf.gather(images, places % size), labels[number::of]


def part_of_mean(mean, count):
    """What a replica's mean over `count` numbers, which can be none, adds to that over all."""
    count = tf.cast(count, tf.float32)
    everything = tf.distribute.get_replica_context().all_reduce("SUM", count)
    return tf.math.multiply_no_nan(mean, count / everything)


def exchange_in(strategy: tf.distribute.Strategy) -> Callable[[Any], list]:
    """The function that tells every worker what each has called it with: as lines of JSON."""
    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32)])
    def gather(line):
        return strategy.experimental_local_results(strategy.run(
            lambda: tf.distribute.get_replica_context().all_gather(tf.identity(line), axis=0)))

    def exchange(value) -> list:
        lines = gather(np.frombuffer(json.dumps(value).encode() + b"\n", np.uint8).astype(np.int32))
        texts = bytes(lines[0].numpy().astype(np.uint8)).splitlines()
        return [json.loads(text) for text in texts[::len(lines)]]  # each of its replicas said it

    return exchange


def take_from_chief(variables: list[tf.Variable]) -> None:
    """Give every worker the values that the chief has: theirs plus nothing but zeros."""
    strategy = tf.distribute.get_strategy()

    @tf.function
    def take():
        replica = tf.distribute.get_replica_context()
        for variable in variables:
            own = tf.where(replica.replica_id_in_sync_group == 0, variable, tf.zeros_like(variable))
            tf.raw_ops.AssignVariableOp(resource=variable.handle,
                                        value=replica.all_reduce("SUM", own))

    if strategy.num_replicas_in_sync > 1:
        strategy.run(take)


def who_is_gone(error: tf.errors.OpError) -> str | None:
    """The workers that TensorFlow complains of, in a phrase; None if it is about something else."""
    if STRATEGY.value != "multi_worker":
        return None
    addresses, own = cluster()
    chiefs = len(json.loads(os.environ["TF_CONFIG"])["cluster"].get("chief", []))
    numbers = {int(task) + (job == "worker") * chiefs for job, task in
               re.findall(r"/job:(chief|worker)/(?:replica:0/)?task:([0-9]+)", error.message)}
    if "CoordinationService" in error.message:  # the chief's
        numbers.add(0)
    numbers.discard(own)
    return f"{name_workers(addresses, sorted(numbers))} died or lost touch" if numbers else None


# ---------------------------------------------------------------------------------------------
# The run: its folder, what is printed
# ---------------------------------------------------------------------------------------------

def make_run_folder(runs_dir: Path, name: str | None, arch: str) -> Path:
    """A new folder for a run; never one that is there already. Raises ValueError, OSError."""
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
        raise ValueError(f"--name={name!r} must be the name of one folder, without slashes")
    try:
        (runs_dir / name).mkdir()
    except FileExistsError:
        raise ValueError(f"--name={name}: {runs_dir / name} exists, and a run is never "
                         "overwritten; choose another name or remove it") from None
    return runs_dir / name


@contextlib.contextmanager
def alone_in(run: Path) -> Iterator[None]:
    """Keeps every other train.py out of the run's folder, as long as this one lives.

    Raises ValueError if one is in it, or if nothing can be written there.
    """
    try:
        file = open(run / ".lock", "w")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the system lets go of a dead one's
    except BlockingIOError:
        raise ValueError(f"{run} is in use: another train.py is at work in it; wait until it has "
                         "ended, or interrupt it") from None
    except OSError as error:
        raise ValueError(f"{run} cannot be written to ({error.strerror}): make it writable, or go "
                         "on with a copy of it") from error
    with file:
        yield


def digest(dataset: data.Dataset) -> str:
    """A number that only the same pictures in the same order and the same parts have."""
    share, total = dataset.share, 0
    for part in ("train", "valid", "test"):
        images, labels = getattr(dataset, f"{part}_images"), getattr(dataset, f"{part}_labels")
        for place, image in zip(share.places([range(len(labels))]), images):
            sha256 = hashlib.sha256(f"{part} {place} {labels[place]} {image.shape}".encode())
            sha256.update(image)
            total += int(sha256.hexdigest(), 16)  # a sum, to which each worker can add its share
    return f"{sum(share.exchange(total)) % 2**256:064x}"


def write_config(run: Path, config: Config, folder: Path, dataset: data.Dataset,
                 sizes: tuple[int | None, int | None, int]) -> None:
    """config.json: what the run's numbers follow from.

    sizes: as asked for with --train_size, --valid_size and --test_size.
    """
    record = {
        "config": dataclasses.asdict(config),
        "data": {
            "folder": str(folder.resolve()),
            "bundled_sample": folder.resolve() == data.SAMPLE.resolve(),
            "train_size": len(dataset.train_files), "valid_size": len(dataset.valid_files),
            "test_size": len(dataset.test_files),
            "sizes_asked_for": sizes,
            "digest": digest(dataset),
            "skipped": [{"file": str(file), "reason": reason} for file, reason in dataset.skipped],
        },
        "command": sys.argv,
        "versions": {"python": platform.python_version(), "tensorflow": tf.__version__,
                     "numpy": np.__version__, "pillow": PIL.__version__},
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(),
                    "replicas": dataset.share.replicas},
    }
    if dataset.share.chief:
        write_text(run / "config.json", json.dumps(record, indent=2) + "\n")


def faster_dtype() -> str:
    """float32, or bfloat16 if this machine takes clearly less time in it for a small convolution.

    bfloat16 keeps 8 of float32's 24 significant bits. Where the processor has instructions for
    it, it is twice as fast; where it has none, many times slower.
    """
    seconds = {}
    for dtype in ("float32", "bfloat16"):
        x, kernel = tf.ones((4, 24, 32, 64), dtype), tf.ones((3, 3, 64, 64), dtype)

        @tf.function
        def step(x, kernel):
            with tf.GradientTape() as tape:
                tape.watch([x, kernel])
                y = models.convolve(x, kernel, 1)
            return tape.gradient(y, [x, kernel])

        times = []
        for _ in range(5):  # the first one compiles; the fastest was disturbed least
            started = time.perf_counter()
            step(x, kernel)[1].numpy()
            times.append(time.perf_counter() - started)
        seconds[dtype] = min(times)
    # Clearly: the choice must be the same the next time, or a run could not be repeated.
    return "bfloat16" if 1.2 * seconds["bfloat16"] < seconds["float32"] else "float32"


def check_memory(network: models.Network, config: Config, count: int, workers: int = 1) -> None:
    """Refuse what this machine cannot hold, before it tries. Raises ValueError.

    Training keeps a byte per colour of each of `count` pictures; four numbers per weight (the
    weight, its gradient, Adam's two means); and, for each picture of a batch, every layer's
    output and its gradient. The pictures are shared among the workers.
    """
    outputs = (min(config.batch_size, count)
               * sum(math.prod(layer.output_shape) for layer in network.layers))
    needed = (count * math.prod(network.layers[0].output_shape) // workers
              + 4 * (4 * network.weight_count + 2 * outputs // workers))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > memory:
        raise ValueError(
            f"training this {config.arch} takes about {needed / 1e9:.0f} GB and the machine has "
            f"{memory / 1e9:.0f} GB: use a smaller --input_size, --batch_size or --train_size, "
            "a larger --stride, or pooling")


def print_start(config: Config, network: models.Network, folder: Path, dataset: data.Dataset,
                run: Path) -> None:
    """What is about to be trained, on what."""
    if folder != Path(data.DATA_DIR.value):
        print("=" * 88)
        print(f"NO PHOTOGRAPHS in {data.DATA_DIR.value}/: training on the drawn pictures of sample/"
              "\nGet the 25,000 photographs:  python data.py --download")
        print("=" * 88)
    train, valid = len(dataset.train_files), len(dataset.valid_files)
    weights = network.weight_count
    print(f"{config.arch}: {weights:,} weights ({weights * 4 / 1e6:.0f} MB), "
          f"{network.multiply_adds:,} multiply-adds a picture")
    test = f", {len(dataset.test_files)} to test on" if dataset.test_files else ""
    print(f"{folder}: {train} pictures to train on, {valid} to validate on{test}, "
          "half of them cats")
    wanted = TRAIN_SIZE.value or data.TRAIN_SIZE, VALID_SIZE.value or data.VALID_SIZE
    if (train, valid) != wanted:
        print(f"  (fewer than {wanted[0]} and {wanted[1]}: there are no more)")
    for file, reason in dataset.skipped[:10]:
        print(f"  skipped {file}: {reason}")
    if len(dataset.skipped) > 10:
        print(f"  … {len(dataset.skipped)} skipped in all: config.json lists them")
    extras = [f"{field.name} {getattr(config, field.name)}" for field in dataclasses.fields(config)
              if field.default not in (dataclasses.MISSING, getattr(config, field.name))
              and field.name not in ("seed", "dtype")]
    replicas = dataset.share.replicas
    print(", ".join([f"Adam, lr {config.lr:g}", config.loss, f"batch {config.batch_size}",
                     f"{config.epochs} epochs", f"init {config.init}", f"seed {config.seed}",
                     config.dtype, *extras, *[f"{replicas} replicas"] * (replicas > 1)])
          + f"; the run is {run}/", flush=True)


def epoch_line(record: dict, epochs: int) -> str:
    return (f"epoch {record['epoch']:>{len(str(epochs))}}/{epochs}  "
            f"loss {record['train_loss']:.4f}  validation: MSE {record['mse']:.4f}  "
            f"Pearson {metrics.pearson_text(record['pearson'])}  "
            f"accuracy {record['best_accuracy']:.1%} at t = {record['threshold']:.1f}  "
            f"({record['seconds']:.1f} s, {record['pictures_per_second']:.0f} pictures/s)")


def print_end(best: dict, run: Path) -> None:
    """The best epoch's metrics, and where everything is."""
    print(f"\nbest epoch: {best['epoch']}, validation MSE {best['mse']:.4f}, "
          f"Pearson {metrics.pearson_text(best['pearson'])}")
    print_accuracies(best)
    print(f"best accuracy {best['best_accuracy']:.1%} at t = {best['threshold']:.1f}")
    if "test" in best:
        test = best["test"]
        print(f"on {test['pictures']} pictures that nothing was chosen on, at that threshold: "
              f"accuracy {test['accuracy']:.1%}, MSE {test['mse']:.4f}, "
              f"Pearson {metrics.pearson_text(test['pearson'])}")
    files = ["config.json", "metrics.jsonl", "predictions.jsonl"] + ["test.json"] * ("test" in best)
    print(f"{run}/: {', '.join(files)}, best/ and model/ (the best epoch's weights and network), "
          "checkpoints/")


def print_accuracies(record: dict) -> None:
    print("cat if above  " + "".join(f"{threshold:7.1f}" for threshold in metrics.THRESHOLDS))
    print("accuracy      " + "".join(f"{accuracy:7.1%}" for accuracy in record["accuracies"]))


def run_from_flags() -> None:
    """From the flags to a finished run; every flag is checked before anything slow starts."""
    config = config_from_flags()
    with tf.Graph().as_default():  # shapes only: nothing is computed, no memory is taken
        sketch = config.make_network()
    typed = not flags.FLAGS["data_dir"].using_default_value
    folder, pictures = data.choose_pictures(data.DATA_DIR.value, typed)
    sizes = TRAIN_SIZE.value, VALID_SIZE.value, TEST_SIZE.value
    count = data.check_sizes(pictures, *sizes)
    check_memory(sketch, config, count, count_workers())
    with computed_where_asked() as (strategy, share):
        if config.dtype == "auto":  # float32 if it is the faster one for any of the workers
            config = dataclasses.replace(config, dtype=max(share.exchange(faster_dtype())))
        own = share.chief and str(make_run_folder(Path(RUNS_DIR.value), NAME.value, config.arch))
        run = Path(share.exchange(own)[0])  # the chief's
        with alone_in(run) if share.chief else contextlib.nullcontext():
            try:
                dataset = data.load_dataset(pictures, TRAIN_SIZE.value, VALID_SIZE.value,
                                            config.seed, config.input_size, TEST_SIZE.value, share)
                write_config(run, config, folder, dataset, sizes)
            except BaseException:
                if share.chief:
                    shutil.rmtree(run)  # a run that never began leaves no folder behind
                raise
            print_start(config, sketch, folder, dataset, run)
            finish(config, dataset, run, strategy)


def resume(run: Path) -> None:
    """From the folder of a run that was interrupted to a finished run.

    Its configuration and its pictures are the run's own. Raises ValueError, with the reason and
    before anything is changed, when they are not to be had or another flag was given.
    """
    others = [f"--{name}" for name in flags.FLAGS
              if flags.FLAGS[name].present
              and name not in ("resume", "epochs", "data_dir", "strategy")]
    if others:
        raise ValueError(f"{', '.join(others)} cannot be given with --resume: a run goes on as it "
                         "was begun; only --epochs can change, --strategy, and --data_dir if its "
                         "pictures were moved")
    try:
        record = json.loads((run / "config.json").read_text())
        begun = Config(**{**record["config"], "input_size": tuple(record["config"]["input_size"])})
        known = record["data"]
        train_size, valid_size, test_size = known["sizes_asked_for"]
        folder = data.SAMPLE if known["bundled_sample"] else Path(known["folder"])
        skipped = [(Path(file["file"]).name, file["reason"]) for file in known["skipped"]]
        pictures_digest, replicas = known["digest"], record["machine"]["replicas"]
        with tf.Graph().as_default():  # shapes only
            sketch = begun.make_network()
    except OSError as error:
        raise ValueError(f"--resume={run} is not the folder of a run: {error.filename}: "
                         f"{error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"--resume={run} is damaged: its config.json is not what train.py writes "
                         f"({type(error).__name__}: {error})") from error

    history = run / "metrics.jsonl"
    epochs = len(history.read_text().splitlines()) if history.exists() else 0
    config = dataclasses.replace(begun, epochs=EPOCHS.value or begun.epochs)
    if config.epochs < epochs:
        raise ValueError(f"--epochs={config.epochs}: {run} has {epochs} behind it already; give a "
                         "larger number, or none")
    workers = count_workers()
    with (computed_where_asked() as (strategy, share),
          alone_in(run) if share.chief else contextlib.nullcontext()):
        begins_again = share.chief and not list(run.glob("checkpoints/epoch-*"))
        if begins_again and (epochs > 1 or (run / "model").exists()):  # more than a kill explains
            raise ValueError(f"{run} cannot go on: its checkpoints were deleted, and to begin "
                             "again would overwrite what it has; train a new run")
        if not flags.FLAGS["data_dir"].using_default_value:
            folder = Path(data.DATA_DIR.value)
        try:
            _, pictures = data.choose_pictures(str(folder), typed=True)
            count = data.check_sizes(pictures, train_size, valid_size, test_size)
            check_memory(sketch, config, count, workers)
            dataset = data.load_dataset(pictures, train_size, valid_size, config.seed,
                                        config.input_size, test_size, share)
        except data.DataError as error:
            raise ValueError(f"{run} cannot go on: {error}; if its pictures were moved, say where "
                             "with --data_dir") from error
        if digest(dataset) != pictures_digest:
            broken = [f"{file} is broken ({reason}); " for file, reason in dataset.skipped
                      if (file.name, reason) not in skipped]
            raise ValueError(
                f"{run} cannot go on: the pictures in {folder} are not those it was begun with; "
                f"{''.join(broken[:1])}put them back, or say with --data_dir where they are")
        record["config"]["epochs"], known["folder"] = config.epochs, str(folder.resolve())
        if share.replicas != replicas:
            print(f"from here on {share.replicas} replicas compute, not {replicas}: the numbers "
                  "will be those of neither")
            record["machine"]["replicas"] = share.replicas
        if share.chief:
            write_text(run / "config.json", json.dumps(record, indent=2) + "\n")
        if config.epochs != begun.epochs and config.schedule == "onecycle":
            print(f"from here on the learning rate follows the cycle of {config.epochs} epochs, "
                  f"not of {begun.epochs}: a run begun with --epochs={config.epochs} would have "
                  "other numbers")
        if begins_again:
            print(f"{run} has no checkpoint: it begins again")
        finish(config, dataset, run, strategy)


def finish(config: Config, dataset: data.Dataset, run: Path, strategy: tf.distribute.Strategy
           ) -> None:
    """Train from where the run is to its end; whatever gets in the way, say how to go on."""
    go_on = f"python train.py --resume={shlex.quote(str(run))}"
    if STRATEGY.value != "single":
        go_on += f" --strategy={STRATEGY.value}"
    try:
        with strategy.scope():
            best, received = train_and_evaluate(config, dataset, run)
        if dataset.share.chief and not received:
            models.export(models.load_network(run), best["threshold"], run / "model")
    except (OSError, tf.errors.OpError) as error:
        raise OSError(f"{what_happened(error)}; all that was saved before is whole: put that "
                      f"right and go on with {go_on}") from error
    if received:
        print(f"saved; go on with {go_on}")
        sys.exit(128 + received)
    print_end(best, run)


def what_happened(error: OSError | tf.errors.OpError) -> str:
    """One phrase for what the system or TensorFlow said."""
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error)
    if gone := who_is_gone(error):
        return gone
    # No memory for a step, no room for a checkpoint … without the names of TensorFlow's insides.
    return "TensorFlow gave up: " + re.sub(r"^\{\{.*?\}\} | \[Op:\w+\]$", "",
                                           error.message.splitlines()[0])


def evaluate(run: Path) -> None:
    """Print the metrics of a run's network on all pictures of --data_dir.

    Raises ValueError, with the reason, for a folder that is not a whole run's, for pictures that
    are not there, and for any other flag: the network is what it is.
    """
    others = [f"--{name}" for name in flags.FLAGS
              if flags.FLAGS[name].present and name not in ("evaluate", "data_dir")]
    if others:
        raise ValueError(f"{', '.join(others)} cannot be given with --evaluate: the network and "
                         "its threshold are the run's; only --data_dir says on what")
    network = models.load_network(run)
    try:
        epochs = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        threshold = max(epochs, key=metrics.rank)["threshold"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{run} is damaged: its metrics.jsonl is missing or not what train.py "
                         "writes; train it again") from error
    typed = not flags.FLAGS["data_dir"].using_default_value
    folder, pictures = data.choose_pictures(data.DATA_DIR.value, typed)

    eval_step = tf.function(network.probability)
    label_of, labels, predictions = dict(pictures), [], []
    with data.progress_bar("evaluating", len(pictures)) as advance:
        for files, images, skipped in data.load_batches(list(label_of), network.input_size):
            if files:  # no picture at all is more than a convolution can take
                predictions += [*eval_step(tf.constant(images)).numpy()]
                labels += [label_of[file] for file in files]
            for file, reason in skipped:
                print(f"skipped {file}: {reason}")
            advance(len(files) + len(skipped))
    if not labels:
        raise ValueError(f"none of the {len(pictures)} pictures of {folder} can be read")
    record = metrics.measure(predictions, labels)
    at_threshold = metrics.measure_at(threshold, predictions, labels)
    print(f"{run} ({network.name}) on {len(labels)} pictures of {folder}, {sum(labels)} of cats: "
          f"MSE {record['mse']:.4f}, Pearson {metrics.pearson_text(record['pearson'])}")
    print_accuracies(record)
    print(f"accuracy {at_threshold['accuracy']:.1%} at t = {threshold:.1f}, which the run's "
          "validation chose")


def main(argv: list[str]) -> None:
    logging.set_verbosity(logging.WARNING)  # TensorFlow reports each checkpoint's timing
    if argv[1:]:
        sys.exit(f"train.py takes flags only, not {argv[1]!r}: see python train.py --help")
    sys.stdout.reconfigure(errors="backslashreplace")  # a file's name need not be Unicode
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # tidies up, as Ctrl-C does
    try:
        if RESUME.value is not None:
            resume(Path(RESUME.value))
        elif EVALUATE.value is not None:
            evaluate(Path(EVALUATE.value))
        else:
            run_from_flags()
    except (ValueError, TrainingError) as error:
        sys.exit(str(error))
    except (OSError, tf.errors.OpError) as error:
        sys.exit(what_happened(error))
    except MemoryError as error:
        sys.exit(f"this machine's memory does not suffice: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def parse_flags(argv: list[str]) -> list[str]:
    """absl's parser; --help shows the flags of the pictures and the network as well as ours."""
    if "--help" in argv:
        print(__doc__, *(flags.FLAGS.module_help(module) for module in (argv[0], "data", "models")),
              sep="\n")
        sys.exit(0)
    return app.parse_flags_with_usage(argv)


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
