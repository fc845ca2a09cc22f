"""The article's "Training our Neural Networks": one loop, from photographs to metrics.

    python train.py --arch=conv2_fc512 --lr=1e-5    # the article's best network
    python train.py --arch=mlp                      # its baseline, which learns nothing
    python train.py --arch=conv1 --data_dir=PHOTOS --epochs=3 --scaling=unit
    python train.py --resume=runs/conv1-1           # continue a run that was interrupted
    python train.py --evaluate=runs/conv1-1 --data_dir=PHOTOS    # measure a network, train nothing

In this order: the settings of a training; the losses, Adam and the learning rate; one step, with
the GradientTape; the loop over steps and epochs, with the validation; then the command, its flags
and what starts or resumes a run.

Without photographs in data/ it trains on the drawn pictures in sample/. Each epoch prints a line:
the training loss, and on the validation images the mean squared error, the Pearson correlation,
and the best accuracy of ten thresholds. A run leaves its folder runs/NAME: support/run_folder.py
says what lies in it. Augmentation, dropout, weight decay and schedules, which the article does not
have, are off by default; DEFAULTS says where else our defaults differ from the article's.
"""

import contextlib
import dataclasses
import math
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from absl import app, flags, logging

import data
import metrics
import models
from support import (
    augmentation,
    checkpoints,
    cli,
    distribution,
    fast_convolution,
    images,
    memory,
    run_folder,
    saved_model,
    summary,
)
from support.cli import UserError
from support.tensorflow_setup import tf

# ---------------------------------------------------------------------------------------------
# Settings
# ---------------------------------------------------------------------------------------------

@dataclasses.dataclass(frozen=True)
class Defaults:
    """How a network is trained where no flag says otherwise."""

    lr: float
    batch_size: int
    epochs: int
    loss: str
    init: str


# For mlp, the settings of the article and its notebook. For the convolutional networks the notebook
# has a learning rate of 1e-6 (that of conv2_fc512 is not known) and Glorot's initial weights; for
# the last three, batches of 64 and 15, 19 and "about an hour" of epochs. The article names the MSE
# as its loss; its notebook trains the convolutional networks on binary cross-entropy, as here.
DEFAULTS = {
    "mlp":         Defaults(lr=1e-5, batch_size=32, epochs=10, loss="mse", init="glorot"),
    "conv1":       Defaults(lr=1e-5, batch_size=32, epochs=5, loss="bce", init="adapted"),
    "conv2_48":    Defaults(lr=1e-5, batch_size=32, epochs=5, loss="bce", init="adapted"),
    "conv2_128":   Defaults(lr=1e-5, batch_size=32, epochs=3, loss="bce", init="adapted"),
    "conv2_fc512": Defaults(lr=1e-5, batch_size=32, epochs=6, loss="bce", init="adapted"),
}


@dataclasses.dataclass(frozen=True)
class Config:
    """The settings of a training; every field has a flag of its name.

    With the images and the number of replicas they decide all numbers of a run.
    """

    arch: str
    lr: float
    epochs: int
    batch_size: int
    loss: str
    init: str
    seed: int = 0
    input_size: tuple[int, int] = models.INPUT_SIZE
    filters: tuple[int, ...] | None = None  # the network's
    hidden: tuple[int, ...] | None = None
    kernel_size: int = 3
    stride: int = 1
    pooling: str = "max"
    scaling: str = "none"
    dropout: float = 0.0
    schedule: str = "constant"
    weight_decay: float = 0.0
    flip: bool = False
    shift: int = 0
    zoom: float = 0.0
    tta: bool = False
    dtype: str = "float32"

    def __post_init__(self):
        """Raises UserError for a value that is out of its range."""
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise UserError(f"--lr={self.lr} must be a number above 0; the article's are 1e-5 and "
                            "1e-6")
        if not 0 <= self.dropout < 1:
            raise UserError(f"--dropout={self.dropout} must be a share: at least 0, below 1")
        for name, value in (("weight_decay", self.weight_decay), ("zoom", self.zoom)):
            if not (math.isfinite(value) and value >= 0):
                raise UserError(f"--{name}={value} must be a number, at least 0")
        if self.shift >= min(self.input_size):
            raise UserError(f"--shift={self.shift} moves images of --input_size="
                            f"{self.input_size[0]}x{self.input_size[1]} out of sight: use a "
                            "smaller one")

    def __str__(self) -> str:
        """The settings that matter, and those of the others that are not the article's."""
        others = [f"{field.name} {getattr(self, field.name)}" for field in dataclasses.fields(self)
                  if field.default not in (dataclasses.MISSING, getattr(self, field.name))
                  and field.name not in ("seed", "dtype")]
        return ", ".join([f"Adam, lr {self.lr:g}", self.loss, f"batch {self.batch_size}",
                          f"{self.epochs} epochs", f"init {self.init}", f"seed {self.seed}",
                          self.dtype, *others])

    def make_network(self) -> models.Network:
        return models.from_config(dataclasses.asdict(self), fast_convolution.choose())


# ---------------------------------------------------------------------------------------------
# Loss, optimizer, learning rate
# ---------------------------------------------------------------------------------------------

def squared_error_loss(labels, logits):
    """The mean squared error, mean (sigmoid(logit) - label)^2: float32 (n,), (n,) -> scalar."""
    return tf.reduce_mean((tf.sigmoid(logits) - labels) ** 2)


def cross_entropy_loss(labels, logits):
    """Binary cross-entropy, mean -[y log p + (1 - y) log(1 - p)], p = sigmoid(logit) -> scalar.

    Computed from the logit x as max(x, 0) - x y + log(1 + exp(-|x|)): the same value, without the
    logarithm of a p that has been rounded to 0 or 1 (tf.nn.sigmoid_cross_entropy_with_logits).
    """
    return tf.reduce_mean(tf.maximum(logits, 0.0) - logits * labels
                          + tf.math.log1p(tf.exp(-tf.abs(logits))))


LOSSES = {"mse": squared_error_loss, "bce": cross_entropy_loss}

class Adam(tf.Module):
    """Adam: a moving average of the gradient over the root of one of its square, times the rate.

    Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015: algorithm 1, in the order
    of operations that the end of section 2 gives. With weight_decay each kernel first shrinks by
    lr * weight_decay of itself: Loshchilov and Hutter, "Decoupled Weight Decay Regularization",
    2019, algorithm 2, with the decay in units of the rate as in Keras. Biases do not shrink: they
    are few and hardly overfit.
    """

    def __init__(self, weights, weight_decay: float = 0.0, beta1=0.9, beta2=0.999, epsilon=1e-7):
        super().__init__(name="adam")
        self.weights = weights
        self.weight_decay, self.beta1, self.beta2 = weight_decay, beta1, beta2
        self.epsilon = epsilon
        self.steps = tf.Variable(0, dtype=tf.int64)
        self.m = [tf.Variable(tf.zeros_like(weight)) for weight in weights]  # first moments
        self.v = [tf.Variable(tf.zeros_like(weight)) for weight in weights]  # second moments

    def apply(self, gradients, lr) -> None:
        """One step, for each weight:

            steps      = steps + 1
            correction = sqrt(1 - beta2 ** steps) / (1 - beta1 ** steps)
            m          = beta1 * m + (1 - beta1) * gradient
            v          = beta2 * v + (1 - beta2) * gradient ** 2
            weight     = weight - lr * correction * m / (sqrt(v) + epsilon)

        The moments start at zero; the correction makes up for that in the first steps. Written so
        in TensorFlow, every operation goes through all the weights once; ResourceApplyAdam does
        it all in one pass, in a third of the time.
        """
        self.steps.assign_add(1)
        steps = tf.cast(self.steps, tf.float32)
        beta1_power, beta2_power = self.beta1 ** steps, self.beta2 ** steps
        # After all gradients: TensorFlow copies a weight that is changed while it is still read.
        with tf.control_dependencies(gradients):
            for weight, m, v, gradient in zip(self.weights, self.m, self.v, gradients, strict=True):
                if self.weight_decay and weight.shape.rank > 1:
                    weight.assign_sub(lr * self.weight_decay * weight)
                tf.raw_ops.ResourceApplyAdam(
                    var=weight.handle, m=m.handle, v=v.handle, lr=lr, epsilon=self.epsilon,
                    beta1=self.beta1, beta1_power=beta1_power,
                    beta2=self.beta2, beta2_power=beta2_power, grad=gradient)


WARM_UP = 0.2  # the fraction of all steps in which onecycle rises


def learning_rate(config: Config, fraction: float) -> float:
    """The learning rate after this fraction of all steps, 0 to 1.

    constant: config.lr. onecycle: a linear warm-up to it over the first fifth, while Adam's
    moments settle, then a cosine decay to 0.
    Source: Smith and Topin, "Super-Convergence", 2017, whose decay is linear.
    """
    if config.schedule == "constant":
        return config.lr
    if fraction < WARM_UP:
        return config.lr * fraction / WARM_UP
    return config.lr * (1 + math.cos(math.pi * (fraction - WARM_UP) / (1 - WARM_UP))) / 2


# ---------------------------------------------------------------------------------------------
# The step
# ---------------------------------------------------------------------------------------------

ONE_DEVICE = distribution.SingleDevice()


def compile_steps(network: models.Network, optimizer: Adam, config: Config, replicas=ONE_DEVICE):
    """The training step and the evaluation step, each compiled into one graph.

    train_step(images, labels, learning_rate, seed) -> the loss before the step
    eval_step(images) -> the probability of the positive class (cat), float32 (n,)

    images uint8 (n, height, width, 3), labels float32 (n,), seed int64 (2,). The batch dimension
    is left open (None), so that the last, smaller batch needs no other graph. Images come as
    uint8, a quarter of what float32 would take: everything else happens inside.
    """
    loss_function = LOSSES[config.loss]

    def train_step(images, labels, learning_rate, seed):
        images = augmentation.augment(images, seed, config.flip, config.shift, config.zoom)
        with tf.GradientTape() as tape:                         # records what is computed
            logits = network(images, training=True, seed=seed)  # (n,)
            loss = loss_function(labels, logits)                # how wrong the predictions are
        gradients = tape.gradient(loss, network.trainable_variables)  # d loss / d weight, for each
        gradients, loss = replicas.all_reduce_mean(gradients, loss, tf.size(labels))
        optimizer.apply(gradients, learning_rate)               # a little step the other way
        return loss

    images_spec = tf.TensorSpec((None, *network.input_size, 3), tf.uint8)
    # No `if` here depends on a tensor, so there is nothing for autograph to translate: without it
    # the first step comes a second sooner.
    train_step = tf.function(replicas.run_step(train_step), autograph=False, input_signature=[
        images_spec, tf.TensorSpec((None,)), tf.TensorSpec(()), tf.TensorSpec((2,), tf.int64)])
    eval_step = tf.function(network.probability, autograph=False, input_signature=[images_spec])
    return train_step, eval_step


# ---------------------------------------------------------------------------------------------
# The loop
# ---------------------------------------------------------------------------------------------

def batches(count: int, batch_size: int, seed: int, epoch: int,
            workers: int = 1) -> Iterator[np.ndarray]:
    """Indices of an epoch's batches, shuffled by (seed, epoch); the last may be smaller.

    The article: "I made sure to shuffle the training data, since I loaded it in order and that
    could've biased the model."

    Of several workers each shuffles the images that it holds, so that every batch has as many
    from each.
    """
    generator, order = np.random.default_rng([seed, epoch]), np.arange(count)
    for worker in range(workers):
        generator.shuffle(order[worker::workers])
    for start in range(0, count, batch_size):
        yield order[start:start + batch_size]


def train_epoch(train_step: Callable, train: data.Part, config: Config,
                progress: checkpoints.TrainingState, replicas=ONE_DEVICE) -> Iterator[None]:
    """Train for the rest of the current epoch; yields after each step, for the caller to save.

    train: the training images, as a tensor of those that this worker holds. progress: the epoch,
    and how many of its steps are done. Raises UserError for a loss that is not finite.
    """
    epoch, count, labels = progress.epoch, len(train.labels), train.labels[replicas.shard]
    steps = math.ceil(count / config.batch_size)
    order = batches(count, config.batch_size, config.seed, epoch, replicas.world_size)
    with images.progress_bar(f"epoch {epoch}/{config.epochs}", count) as advance:
        for step, batch in enumerate(order):
            if step >= progress.step:  # not done before the run was interrupted
                rows = replicas.local_rows(batch)
                done = (epoch - 1) * steps + step  # since the first epoch
                rate = learning_rate(config, (done + 0.5) / (config.epochs * steps))
                loss = float(train_step(tf.gather(train.images, rows), labels[rows], rate,
                                        (config.seed, done)))
                if not math.isfinite(loss):
                    raise diverged(f"the loss is {loss} at epoch {epoch}, step {step + 1}", config)
                progress.loss_sum += loss * len(batch)
                progress.step = step + 1
                yield
            advance(len(batch))


def predict(eval_step: Callable, images: np.ndarray, batch_size: int, replicas=ONE_DEVICE
            ) -> np.ndarray:
    """Each image's probability of the positive class: uint8 (n, height, width, 3) -> float32 (n,).

    Of several workers each predicts the images that it holds; all get the predictions of all.
    """
    predictions = [eval_step(images[start:start + batch_size])
                   for start in range(0, len(images), batch_size)]
    return replicas.all_gather(np.concatenate([np.empty(0, np.float32), *predictions]))


def train_and_evaluate(config: Config, dataset: data.Dataset, run: Path, replicas=ONE_DEVICE
                       ) -> dict | None:
    """Train up to config.epochs, validating after each, from the newest checkpoint if there is one.

    Returns the best epoch's record, with "test" if there are test images: their metrics by the
    best weights, at the threshold that validation chose. Raises UserError when the loss diverges
    or checkpoints cannot be used, checkpoints.Interrupted after a Ctrl-C or SIGTERM.
    """
    network = config.make_network()
    network.scale.fit(dataset.mean, dataset.std)
    optimizer = Adam(network.trainable_variables, config.weight_decay)
    train_step, eval_step = compile_steps(network, optimizer, config, replicas)
    progress = checkpoints.TrainingState(config.seed)
    state = tf.train.Checkpoint(network=network, optimizer=optimizer, progress=progress)

    train, valid, test = dataset.train, dataset.valid, dataset.test
    # Converted once to a tensor, instead of the array: then a step copies its batch only.
    train.images = tf.constant(train.images)
    count = len(train.labels)

    with checkpoints.Recorder(run, state, replicas, valid, dataset.class_names) as recorder:
        for epoch in recorder.epochs(config.epochs):
            for _ in train_epoch(train_step, train, config, progress, replicas):
                recorder.step_done()

            predictions = predict(eval_step, valid.images, config.batch_size, replicas)
            if not np.isfinite(predictions).all():
                raise diverged(f"the predictions after epoch {epoch} are not finite", config)
            record = {"epoch": epoch, "pictures": count, "train_loss": progress.loss_sum / count,
                      **metrics.measure(predictions, valid.labels), **recorder.timing(count),
                      "learning_rate": learning_rate(config, epoch / config.epochs)}
            mistakes = metrics.mistakes(predictions, valid.labels, record["threshold"])
            recorder.epoch_done(record, predictions, mistakes)
            summary.print_epoch(record, config.epochs)

    best = recorder.best and dict(recorder.best)
    if len(test.labels):
        recorder.restore_best_weights()
        predictions = predict(eval_step, test.images, config.batch_size, replicas)
        if replicas.is_chief:
            best["test"] = metrics.measure_at(best["threshold"], predictions, test.labels)
            run_folder.write_test(run, best["test"])
    return best


def diverged(what: str, config: Config) -> UserError:
    other = "" if config.scaling == "standard" else ", or --scaling=standard"
    return UserError(f"{what}: training diverged; try a smaller --lr than {config.lr:g}{other}")


# ---------------------------------------------------------------------------------------------
# The command: its flags, group by group as --help shows them
# ---------------------------------------------------------------------------------------------

flags.DEFINE_enum("arch", "conv2_fc512", models.ARCHITECTURES, "the network",
                  module_name="network")
models.define_flags()  # its input size, filters, hidden units, kernels, stride and pooling
flags.DEFINE_enum("scaling", "none", ["none", "unit", "standard"], "what the pixels become: raw "
                  "0..255 as in the article, 0..1, or mean 0 and standard deviation 1 for each "
                  "colour over the training images", module_name="network")
flags.DEFINE_enum("init", None, ["glorot", "he", "adapted"], "the initial weights: Glorot's, as in "
                  "the article; He's, which are made for ReLU; or these, adapted to raw pixels "
                  "[the network's, see DEFAULTS]", module_name="network")
flags.DEFINE_float("dropout", 0.0, "dropout rate before each hidden layer", module_name="network")

flags.DEFINE_float("lr", None, "Adam's learning rate [the network's, see DEFAULTS]",
                   module_name="training")
flags.DEFINE_integer("epochs", None, "how often every training image is seen [the network's]",
                     lower_bound=1, module_name="training")
flags.DEFINE_integer("batch_size", None, "images per step [the network's]", lower_bound=1,
                     module_name="training")
flags.DEFINE_enum("loss", None, ["mse", "bce"], "what is minimised: mean squared error or binary "
                  "cross-entropy [the network's]", module_name="training")
flags.DEFINE_enum("schedule", "constant", ["constant", "onecycle"], "the learning rate: --lr "
                  "throughout, as in the article; or rising to --lr and falling to zero",
                  module_name="training")
flags.DEFINE_float("weight_decay", 0.0, "weight decay of the kernels, in units of the learning "
                   "rate", module_name="training")
flags.DEFINE_integer("seed", 0, "random seed of the split, the initial weights, the order of the "
                     "images, augmentation and dropout", lower_bound=0, upper_bound=2**31 - 1,
                     module_name="training")

data.define_flags()  # where the images are
flags.DEFINE_integer("train_size", None, "how many images to train on, half of each class [4096, "
                     "or what there is]", module_name="images")
flags.DEFINE_integer("valid_size", None, "how many images to validate on, half of each class "
                     "[1024, or what there is]", module_name="images")
flags.DEFINE_integer("test_size", 0, "how many images to hold out as a test set, half of each "
                     "class", module_name="images")

flags.DEFINE_bool("flip", False, "mirror half of the training images", module_name="augmentation")
flags.DEFINE_integer("shift", 0, "move each training image by up to so many pixels", lower_bound=0,
                     module_name="augmentation")
flags.DEFINE_float("zoom", 0.0, "enlarge or shrink each training image by up to this share: 0.2 "
                   "is between 1/1.2 and 1.2 times as large", module_name="augmentation")
flags.DEFINE_bool("tta", False, "test-time augmentation: predict the mean of the probabilities of "
                  "an image and its mirror image", module_name="augmentation")

NAME = flags.DEFINE_string("name", None, "name of the run's folder [ARCH-1, ARCH-2 …]",
                           module_name="run")
RUNS_DIR = flags.DEFINE_string("runs_dir", "runs", "where the folders of runs are",
                               module_name="run")
RESUME = flags.DEFINE_string("resume", None, "the folder of a run to continue from its newest "
                             "checkpoint, with its own settings; only --epochs, --strategy and "
                             "--data_dir can be given beside it", module_name="run")
EVALUATE = flags.DEFINE_string("evaluate", None, "train nothing: the folder of a run whose network "
                               "is measured on all images of --data_dir", module_name="run")

flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "what the network computes in; "
                  "bfloat16 is faster on processors that have instructions for it, and much slower "
                  "on others", module_name="device")
STRATEGY = flags.DEFINE_enum("strategy", "single", ["single", "mirrored", "multi_worker"], "train "
                             "on one device, on all graphics cards of this machine, or on all "
                             "machines that TF_CONFIG names", module_name="device")


def config_from_flags() -> Config:
    """The flags, completed by DEFAULTS. Raises UserError for one that is wrong."""
    values = {field.name: flags.FLAGS[field.name].value for field in dataclasses.fields(Config)}
    for name, default in dataclasses.asdict(DEFAULTS[values["arch"]]).items():
        if values[name] is None:
            values[name] = default
    return Config(**values)


# ---------------------------------------------------------------------------------------------
# A run: started or resumed, and evaluated
# ---------------------------------------------------------------------------------------------

def start_or_resume(resumed: Path | None) -> None:
    """Train a new run, or continue one; every flag is checked before anything slow starts.

    Raises UserError, before anything is changed, for flags that are wrong, images that are not
    there, and a run that cannot be resumed.
    """
    if resumed is None:
        config, saved = config_from_flags(), None
        sizes = [flags.FLAGS[f"{part}_size"].value for part in ("train", "valid", "test")]
        data_dir, explicitly_set = flags.FLAGS.data_dir, cli.explicitly_set("data_dir")
        class_names = flags.FLAGS.classes
    else:
        cli.refuse_other_flags("resume", "epochs", "strategy", "data_dir")
        saved = run_folder.read_config(resumed)
        config, sizes, data_dir, class_names = saved_settings(resumed, saved)
        explicitly_set = True
    with tf.Graph().as_default():  # shapes only: nothing is computed, no memory is taken
        shapes = config.make_network()
    with run_folder.cannot_resume(resumed):
        source = data.choose_images(data_dir, explicitly_set, class_names)
        count = data.check_sizes(source, *sizes)
    memory.check(shapes, config.batch_size, count, distribution.world_size(STRATEGY.value))

    with contextlib.ExitStack() as stack:
        run = resumed
        if distribution.is_chief(STRATEGY.value):
            run = stack.enter_context(
                run_folder.new_run(Path(RUNS_DIR.value), NAME.value, config.arch)
                if resumed is None else run_folder.locked(resumed))
            if resumed is not None:
                checkpoints.check_present(resumed)
        replicas = stack.enter_context(
            distribution.setup(STRATEGY.value, run, cli.given_flags(), source.images))
        run = resumed or replicas.run
        with run_folder.cannot_resume(resumed):
            dataset = data.load_dataset(source.images, *sizes, config.seed, config.input_size,
                                        replicas.shard, source.class_names)
            record = run_folder.config_record(
                saved, dataclasses.asdict(config), source.folder,
                source.folder.samefile(data.SAMPLE), dataset, sizes, replicas.count)
        if replicas.is_chief:
            run_folder.write_config(run, record)
        if resumed is None:
            summary.print_start(shapes, source, flags.FLAGS.data_dir, dataset,
                               (sizes[0] or data.TRAIN_SIZE, sizes[1] or data.VALID_SIZE))
            print(f"{config}" + f", {replicas.count} replicas" * (replicas.count > 1)
                  + f"; the run is {run}/", flush=True)
        train_to_the_end(config, dataset, run, replicas)


def saved_settings(run: Path, saved: dict) -> tuple[Config, list, str, tuple[str, str]]:
    """A run's configuration, the sizes that were asked for, its images' folder and class names.

    Raises UserError for a config.json that is damaged, and for fewer epochs than are trained.
    """
    with run_folder.damage_told(run, "config.json"):
        config = Config(**{name: tuple(value) if isinstance(value, list) else value
                           for name, value in saved["config"].items()})
        known, _ = saved["data"], saved["machine"]["replicas"]  # all that is read later, too
        sizes, _, _ = known["sizes_asked_for"], known["digest"], known["skipped"]
        class_names = run_folder.class_names_of(saved)
        folder = data.SAMPLE if known["bundled_sample"] else known["folder"]
    config = dataclasses.replace(config, epochs=flags.FLAGS.epochs or config.epochs)
    trained = len(run_folder.read_history(run))
    if config.epochs < trained:
        raise UserError(f"--epochs={config.epochs}: {run} has trained {trained} already; give a "
                        "larger number, or none")
    data_dir = flags.FLAGS.data_dir if cli.explicitly_set("data_dir") else str(folder)
    return config, sizes, data_dir, class_names


def train_to_the_end(config: Config, dataset: data.Dataset, run: Path, replicas) -> None:
    """Train, test, export; whatever gets in the way, say how to resume."""
    command = f"python train.py --resume={shlex.quote(str(run))}"
    if STRATEGY.value != "single":
        command += f" --strategy={STRATEGY.value}"
    try:
        with replicas.scope():
            best = train_and_evaluate(config, dataset, run, replicas)
        if replicas.is_chief:
            saved_model.export(models.load(run), best["threshold"], dataset.class_names,
                               run / "model")
            summary.print_end(best, run, dataset.class_names)
    except checkpoints.Interrupted as interrupted:
        print(f"saved; resume with {command}")
        sys.exit(128 + interrupted.signal_number)
    except (KeyboardInterrupt, SystemExit):  # before the first step, or after the last one
        print(f"interrupted; resume with {command}")
        raise
    except (OSError, tf.errors.OpError) as error:  # the disk, the memory, another worker
        reason = replicas.failed_workers(error) or cli.one_sentence(error)
        raise UserError(f"{reason}; all that was saved before is whole: put that right and resume "
                        f"with {command}") from error


def evaluate(run: Path) -> None:
    """Print the metrics of a run's network on all images of --data_dir.

    Raises UserError for a folder that is not a whole run's, for images that are not there, and
    for any other flag: the network is what it is.
    """
    cli.refuse_other_flags("evaluate", "data_dir")
    network = models.load(run)
    best = run_folder.best_epoch(run_folder.read_history(run))
    source = data.choose_images(flags.FLAGS.data_dir, cli.explicitly_set("data_dir"),
                                run_folder.read_class_names(run))
    eval_step = tf.function(network.probability, autograph=False)
    label_of, labels, predictions = dict(source.images), [], []
    with images.progress_bar("evaluating", len(label_of)) as advance:
        for files, batch, skipped in images.load_batches(list(label_of), data.load_image,
                                                         network.input_size):
            if files:  # a convolution of no image at all is an error
                predictions += [*eval_step(tf.constant(batch)).numpy()]
                labels += [label_of[file] for file in files]
            for file, reason in skipped:
                print(f"skipped {file}: {reason}")
            advance(len(files) + len(skipped))
    if not labels:
        raise UserError(f"none of the {len(label_of)} pictures of {source.folder} can be read")
    positive, negative = source.class_names
    summary.print_evaluation(
        metrics.measure(predictions, labels),
        metrics.measure_at(best["threshold"], predictions, labels),
        f"{run} ({network.name}) on {len(labels)} pictures of {source.folder}, {sum(labels)} "
        f"{positive} and {len(labels) - sum(labels)} {negative}", source.class_names)


@cli.script(tf.errors.OpError)
def main(argv: list[str]) -> None:
    logging.set_verbosity(logging.WARNING)  # TensorFlow reports each checkpoint's timing
    if RESUME.value is None and EVALUATE.value is not None:
        evaluate(Path(EVALUATE.value))
    else:
        start_or_resume(Path(RESUME.value) if RESUME.value is not None else None)


if __name__ == "__main__":
    app.run(main, flags_parser=cli.flags_parser(
        __doc__, "network", "training", "images", "augmentation", "run", "device"))
