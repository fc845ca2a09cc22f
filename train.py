"""The article's "Training our Neural Networks": one loop, from photographs to metrics.

    python train.py --arch=conv2_fc512 --lr=1e-5    # the article's best network
    python train.py --arch=mlp                      # its baseline, which learns nothing
    python train.py --arch=conv1 --data_dir=PHOTOS --epochs=3 --scaling=unit

Without photographs in data/ it trains on the drawn pictures in sample/. Each epoch prints a line:
the loss trained on, and on the validation pictures the mean squared error, the Pearson
correlation, and the best accuracy of ten thresholds. A run leaves its folder runs/NAME:
config.json, metrics.jsonl (an epoch a line) and the weights of its best epoch.
"""

import contextlib
import dataclasses
import json
import math
import os
import platform
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

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
# first weights (Glorot's), batch of 64 and epochs (15, 19 and "about an hour" for the last three):
# with these, conv1 to conv2_128 pass the article's figures. The README has them.
# Like the article's notebook, the MLP minimises the mean squared error, and the others binary
# cross-entropy.
SETTINGS = {
    "mlp":         Settings(lr=1e-5, batch_size=32, epochs=10, loss="mse", init="glorot"),
    "conv1":       Settings(lr=1e-5, batch_size=32, epochs=5, loss="bce", init="he"),
    "conv2_48":    Settings(lr=1e-5, batch_size=32, epochs=6, loss="bce", init="he"),
    "conv2_128":   Settings(lr=1e-5, batch_size=32, epochs=4, loss="bce", init="he"),
    "conv2_fc512": Settings(lr=1e-5, batch_size=32, epochs=9, loss="bce", init="he"),
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
    "seed", 0, "what the split, the first weights and the order of the pictures follow from",
    lower_bound=0, upper_bound=2**31 - 1)
TRAIN_SIZE = flags.DEFINE_integer(
    "train_size", None, "pictures to train on, half of each class [4096, or what there is]")
VALID_SIZE = flags.DEFINE_integer(
    "valid_size", None, "pictures to validate on, half of each class [1024, or what there is]")
NAME = flags.DEFINE_string("name", None, "the run's folder in --runs_dir [ARCH-1, ARCH-2 …]")
RUNS_DIR = flags.DEFINE_string("runs_dir", "runs", "where the folders of runs go")


@dataclasses.dataclass(frozen=True)
class Config:
    """What a run's numbers follow from, besides the pictures and how many there are."""

    arch: str
    lr: float
    epochs: int
    batch_size: int
    loss: str
    seed: int
    input_size: tuple[int, int]
    kernel_size: int
    stride: int
    pooling: str
    scaling: str
    init: str

    def make_network(self) -> models.Network:
        return models.Network(self.arch, self.input_size, self.kernel_size, self.stride,
                              self.pooling, self.scaling, self.init, self.seed)


def config_from_flags() -> Config:
    """The flags, completed by SETTINGS. Raises ValueError for one that is wrong."""
    settings = SETTINGS[ARCH.value]
    lr = settings.lr if LR.value is None else LR.value
    if not (math.isfinite(lr) and lr > 0):
        raise ValueError(f"--lr={lr} must be a number above 0; the article's are 1e-5 and 1e-6")
    return Config(
        arch=ARCH.value, lr=lr, epochs=EPOCHS.value or settings.epochs,
        batch_size=BATCH_SIZE.value or settings.batch_size, loss=LOSS.value or settings.loss,
        seed=SEED.value, input_size=models.parse_size(models.INPUT_SIZE_FLAG.value),
        kernel_size=models.KERNEL_SIZE.value, stride=models.STRIDE.value,
        pooling=models.POOLING.value, scaling=models.SCALING.value,
        init=models.INIT.value or settings.init)


# ---------------------------------------------------------------------------------------------
# Loss, optimizer, step
# ---------------------------------------------------------------------------------------------

def mean_squared_error(labels, logits):
    """mean (sigmoid(logit) - label)^2 over a batch: float32 (batch,), (batch,) -> scalar."""
    return tf.reduce_mean((tf.sigmoid(logits) - labels) ** 2)


def binary_cross_entropy(labels, logits):
    """mean -[y log p + (1 - y) log(1 - p)], p = sigmoid(logit), over a batch -> scalar.

    Computed from the logit x as max(x, 0) - x y + log(1 + exp(-|x|)): the same value, without the
    logarithm of a p that has been rounded to 0 or 1.
    """
    return tf.reduce_mean(tf.maximum(logits, 0.0) - logits * labels
                          + tf.math.log1p(tf.exp(-tf.abs(logits))))


LOSSES = {"mse": mean_squared_error, "bce": binary_cross_entropy}


class Adam(tf.Module):
    """Adam: each weight's step is its mean gradient over the root of its mean squared gradient.

    Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015: algorithm 1, in the order
    of operations that the end of section 2 gives.
    """

    def __init__(self, variables, lr: float, beta1=0.9, beta2=0.999, epsilon=1e-7):
        super().__init__(name="adam")
        self.weights = variables
        self.lr, self.beta1, self.beta2, self.epsilon = lr, beta1, beta2, epsilon
        self.steps = tf.Variable(0.0)
        self.means = [tf.Variable(tf.zeros_like(variable)) for variable in variables]
        self.squares = [tf.Variable(tf.zeros_like(variable)) for variable in variables]

    def apply(self, gradients) -> None:
        self.steps.assign_add(1.0)
        # The running means start at zero; this makes up for it in the first steps.
        lr = (self.lr * tf.sqrt(1 - self.beta2 ** self.steps) / (1 - self.beta1 ** self.steps))
        for variable, mean, square, gradient in zip(
                self.weights, self.means, self.squares, gradients):
            mean.assign(self.beta1 * mean + (1 - self.beta1) * gradient)
            square.assign(self.beta2 * square + (1 - self.beta2) * gradient ** 2)
            variable.assign_sub(lr * mean / (tf.sqrt(square) + self.epsilon))


def compile_steps(network: models.Network, optimizer: Adam, loss: Callable):
    """The training step and the evaluation step, each compiled into one graph.

    The batch dimension is left open (None), so that the last, smaller batch needs no other graph.
    """
    images_spec = tf.TensorSpec((None, *network.input_size, 3), tf.uint8)
    labels_spec = tf.TensorSpec((None,), tf.float32)

    @tf.function(input_signature=[images_spec, labels_spec])
    def train_step(images, labels):
        """Move every weight a little way down the loss; return the loss before the move."""
        with tf.GradientTape() as tape:
            logits = network(images)  # (batch,)
            value = loss(labels, logits)
        optimizer.apply(tape.gradient(value, optimizer.weights))
        return value

    @tf.function(input_signature=[images_spec])
    def eval_step(images):
        """The probability of a cat, float32 (batch,)."""
        return tf.sigmoid(network(images))

    return train_step, eval_step


# ---------------------------------------------------------------------------------------------
# The loop
# ---------------------------------------------------------------------------------------------

def batches(count: int, batch_size: int, seed: int, epoch: int) -> Iterator[np.ndarray]:
    """Indices of an epoch's batches, shuffled by (seed, epoch); the last may be smaller.

    The article: "I made sure to shuffle the training data, since I loaded it in order and that
    could've biased the model."
    """
    order = np.random.default_rng([seed, epoch]).permutation(count)
    for start in range(0, count, batch_size):
        yield order[start:start + batch_size]


def predict(eval_step: Callable, images: np.ndarray, batch_size: int) -> np.ndarray:
    """The probability of a cat for each picture, float32 (n,)."""
    return np.concatenate([eval_step(images[start:start + batch_size])
                           for start in range(0, len(images), batch_size)])


class TrainingError(ArithmeticError):
    """The numbers ran away; as one sentence that says where, and what to try."""


def train_epoch(train_step: Callable, dataset: data.Dataset, config: Config, epoch: int,
                stop: threading.Event) -> tuple[float, int]:
    """One pass over the training pictures, or the part of it until `stop` is set.

    Returns the mean loss and the number of pictures seen. Raises TrainingError for a loss that is
    not finite.
    """
    count = len(dataset.train_images)
    loss_sum, seen = 0.0, 0
    with data.progress_bar(f"epoch {epoch}/{config.epochs}", count) as advance:
        for step, batch in enumerate(batches(count, config.batch_size, config.seed, epoch), 1):
            loss = float(train_step(dataset.train_images[batch], dataset.train_labels[batch]))
            if not math.isfinite(loss):
                raise TrainingError(f"the loss is {loss} at epoch {epoch}, step {step}: "
                                    f"{what_to_try(config)}")
            loss_sum += loss * len(batch)
            seen += len(batch)
            advance(len(batch))
            if stop.is_set():
                break
    return loss_sum / seen, seen


def train_and_evaluate(config: Config, dataset: data.Dataset, run: Path) -> tuple[dict, bool]:
    """Train for config.epochs, validating after each.

    Returns the best epoch's record, and whether Ctrl-C ended the training before its time.
    Writes into the folder `run`: a line an epoch to metrics.jsonl, and the weights whenever an
    epoch is the best so far. Ctrl-C ends the epoch at the next step; what was reached by then is
    validated and kept like any epoch. Raises TrainingError when the numbers are not finite.
    """
    network = config.make_network()
    network.scale.measure(dataset.train_images)
    optimizer = Adam(network.trainable_variables, config.lr)
    train_step, eval_step = compile_steps(network, optimizer, LOSSES[config.loss])
    checkpoint = tf.train.Checkpoint(network=network)
    best = None

    with stop_on_ctrl_c() as stop, open(run / "metrics.jsonl", "w") as history:
        for epoch in range(1, config.epochs + 1):
            started = time.perf_counter()
            loss, seen = train_epoch(train_step, dataset, config, epoch, stop)
            trained = time.perf_counter()
            predictions = predict(eval_step, dataset.valid_images, config.batch_size)
            if not np.isfinite(predictions).all():
                raise TrainingError(f"the predictions after epoch {epoch} are not finite: "
                                    f"{what_to_try(config)}")
            record = {
                "epoch": epoch, "pictures": seen, "train_loss": loss,
                **metrics.measure(predictions, dataset.valid_labels),
                "seconds": round(time.perf_counter() - started, 2),
                "pictures_per_second": round(seen / (trained - started), 1),
            }
            history.write(json.dumps(record) + "\n")
            history.flush()
            print(epoch_line(record, config.epochs), flush=True)
            if best is None or metrics.rank(record) > metrics.rank(best):
                best = record
                write_weights(checkpoint, run)
            if stop.is_set():
                break
    return best, stop.is_set()


def what_to_try(config: Config) -> str:
    return f"try a smaller --lr than {config.lr:g}, or --scaling=standard"


@contextlib.contextmanager
def stop_on_ctrl_c() -> Iterator[threading.Event]:
    """Yields an event that the first Ctrl-C sets; a second one stops the program at once."""
    stop = threading.Event()

    def handle(signum, frame):
        stop.set()
        signal.signal(signal.SIGINT, before)
        print("\nCtrl-C: finishing with what was reached (once more to stop at once)", flush=True)

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def write_weights(checkpoint: tf.train.Checkpoint, run: Path) -> None:
    """The network's variables to run/weights.*; the old ones stay until the new are written."""
    for file in Path(checkpoint.write(str(run / "new-weights"))).parent.glob("new-weights.*"):
        file.replace(run / file.name.removeprefix("new-"))


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


def write_config(run: Path, config: Config, folder: Path, dataset: data.Dataset) -> None:
    """config.json: what the run's numbers follow from."""
    record = {
        "config": dataclasses.asdict(config),
        "data": {
            "folder": str(folder.resolve()),
            "bundled_sample": folder.resolve() == data.SAMPLE.resolve(),
            "train_size": len(dataset.train_files), "valid_size": len(dataset.valid_files),
            "skipped": [{"file": str(file), "reason": reason} for file, reason in dataset.skipped],
        },
        "command": sys.argv,
        "versions": {"python": platform.python_version(), "tensorflow": tf.__version__,
                     "numpy": np.__version__, "pillow": PIL.__version__},
        "machine": {"processor": platform.machine(), "cores": os.cpu_count()},
    }
    (run / "config.json").write_text(json.dumps(record, indent=2) + "\n")


def check_memory(network: models.Network, config: Config, count: int) -> None:
    """Refuse what this machine cannot hold, before it tries. Raises ValueError.

    Training keeps a byte per colour of each of `count` pictures; four numbers per weight (the
    weight, its gradient, Adam's two means); and, for each picture of a batch, every layer's
    output and its gradient.
    """
    outputs = sum(math.prod(layer.output_shape) for layer in network.layers)
    needed = (count * math.prod(network.layers[0].output_shape)
              + 4 * (4 * network.weights + 2 * min(config.batch_size, count) * outputs))
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
    print(f"{config.arch}: {network.weights:,} weights ({network.weights * 4 / 1e6:.0f} MB), "
          f"{network.multiply_adds:,} multiply-adds a picture")
    print(f"{folder}: {train} pictures to train on, {valid} to validate on, half of them cats")
    wanted = TRAIN_SIZE.value or data.TRAIN_SIZE, VALID_SIZE.value or data.VALID_SIZE
    if (train, valid) != wanted:
        print(f"  (fewer than {wanted[0]} and {wanted[1]}: there are no more)")
    for file, reason in dataset.skipped[:10]:
        print(f"  skipped {file}: {reason}")
    if len(dataset.skipped) > 10:
        print(f"  … {len(dataset.skipped)} skipped in all: config.json lists them")
    print(f"Adam, lr {config.lr:g}, {config.loss}, batch {config.batch_size}, {config.epochs} "
          f"epochs, seed {config.seed}; the run is {run}/", flush=True)


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
    print("cat if above  " + "".join(f"{threshold:7.1f}" for threshold in metrics.THRESHOLDS))
    print("accuracy      " + "".join(f"{accuracy:7.1%}" for accuracy in best["accuracies"]))
    print(f"best accuracy {best['best_accuracy']:.1%} at t = {best['threshold']:.1f}")
    print(f"{run}/: config.json, metrics.jsonl, weights (of the best epoch)")


def run_from_flags() -> None:
    """From the flags to a finished run; every flag is checked before anything slow starts."""
    config = config_from_flags()
    with tf.Graph().as_default():  # shapes only: nothing is computed, no memory is taken
        sketch = config.make_network()
    typed = not flags.FLAGS["data_dir"].using_default_value
    folder, pictures = data.choose_pictures(data.DATA_DIR.value, typed)
    count = data.check_sizes(pictures, TRAIN_SIZE.value, VALID_SIZE.value)
    check_memory(sketch, config, count)
    run = make_run_folder(Path(RUNS_DIR.value), NAME.value, config.arch)
    try:
        dataset = data.load_dataset(pictures, TRAIN_SIZE.value, VALID_SIZE.value, config.seed,
                                    config.input_size)
        write_config(run, config, folder, dataset)
    except BaseException:
        shutil.rmtree(run)  # a run that never began leaves no folder behind
        raise

    print_start(config, sketch, folder, dataset, run)
    best, interrupted = train_and_evaluate(config, dataset, run)
    print_end(best, run)
    if interrupted:
        sys.exit(130)


def main(argv: list[str]) -> None:
    logging.set_verbosity(logging.WARNING)  # TensorFlow reports each checkpoint's timing
    if argv[1:]:
        sys.exit(f"train.py takes flags only, not {argv[1]!r}: see python train.py --help")
    sys.stdout.reconfigure(errors="backslashreplace")  # a file's name need not be Unicode
    try:
        run_from_flags()
    except (ValueError, TrainingError) as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except MemoryError as error:
        sys.exit(f"this machine's memory does not suffice: {error}")
    except tf.errors.OpError as error:  # no memory for a step, no room for the weights
        sys.exit(f"TensorFlow gave up: {error.message.splitlines()[0]}")
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
