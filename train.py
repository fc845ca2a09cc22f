"""The article's "Training our Neural Networks": one loop, from photographs to metrics.

    python train.py --arch=conv2_fc512 --lr=1e-5    # the article's best network
    python train.py --arch=mlp                      # its baseline, which learns nothing
    python train.py --arch=conv1 --data_dir=PHOTOS --epochs=3 --scaling=unit
    python train.py --resume=runs/conv1-1           # continue a run that was interrupted

In this order: the defaults; the losses, Adam and the learning rate; one step, with the
GradientTape; the loop over epochs and steps, with the validation. That is the whole lesson. Then
the flags, and `main`, which starts a run or resumes one.

Without photographs in data/ it trains on the drawn pictures in sample/. Each epoch prints a line:
the training loss, and on the validation images the same loss, the mean squared error, the Pearson
correlation, and the best accuracy of ten thresholds. A run leaves its folder runs/NAME:
support/run_folder.py says what lies in it. Augmentation, dropout, weight decay and schedules, which
the article does not have, are off by default.
"""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from absl import app, flags, logging

import data
import metrics
import models
import report
from support import (
    augmentation,
    checkpoints,
    cli,
    distribution,
    fast_convolution,
    image_files,
    run_folder,
    runs,
    saved_model,
    summary,
)
from support.cli import UserError
from support.settings import Config
from support.tensorflow_setup import tf

# How each network is trained where no flag says otherwise. mlp: the settings of the article. The
# convolutional networks have a learning rate of 1e-6 in its notebook (that of conv2_fc512 is not
# known), Glorot's initial weights, batches of 32 for conv1 and of 64 for the others, and, in this
# order, 5, 15 and 19 epochs and "about an hour". The article names the MSE as its loss; its
# notebook trains the convolutional networks on binary cross-entropy, as here.
DEFAULTS = {
    "mlp":         dict(lr=1e-5, batch_size=32, epochs=10, loss="mse", init="glorot"),
    "conv1":       dict(lr=1e-5, batch_size=32, epochs=5, loss="bce", init="adapted"),
    "conv2_48":    dict(lr=1e-5, batch_size=32, epochs=5, loss="bce", init="adapted"),
    "conv2_128":   dict(lr=1e-5, batch_size=32, epochs=3, loss="bce", init="adapted"),
    "conv2_fc512": dict(lr=1e-5, batch_size=32, epochs=6, loss="bce", init="adapted"),
}


# ---------------------------------------------------------------------------------------------
# Loss, optimizer, learning rate
# ---------------------------------------------------------------------------------------------

def squared_error_loss(labels, logits):
    """The mean squared error, mean (sigmoid(logit) - label)^2: float32 (n,), (n,) -> scalar."""
    return tf.reduce_mean((tf.sigmoid(logits) - labels) ** 2)


def cross_entropy_loss(labels, logits):
    """Binary cross-entropy, mean -[y log p + (1 - y) log(1 - p)]: float32 (n,), (n,) -> scalar.

    y is the label, and p = sigmoid(x) = 1 / (1 + exp(-x)) for the logit x. So -log p is
    log(1 + exp(-x)), and -log(1 - p) is x + log(1 + exp(-x)): the cross-entropy of an image is
    x - x y + log(1 + exp(-x)). For a large negative x, exp(-x) overflows. But log(1 + exp(-x)) is
    -x + log(1 + exp(x)), so the same is -x y + log(1 + exp(x)), which is safe there. Both in one:
    max(x, 0) - x y + log(1 + exp(-|x|)), as in tf.nn.sigmoid_cross_entropy_with_logits.
    """
    return tf.reduce_mean(tf.maximum(logits, 0.0) - logits * labels
                          + tf.math.log1p(tf.exp(-tf.abs(logits))))


LOSSES = {"mse": squared_error_loss, "bce": cross_entropy_loss}


class Adam(tf.Module):
    """The optimizer Adam: each weight moves by about the learning rate, against its gradient.

    It divides a moving average m of the gradient (first moment) by the square root of a moving
    average v of the squared gradient (second moment). Source: Kingma and Ba, "Adam: A Method for
    Stochastic Optimization", 2015: algorithm 1, in the order of operations that the end of section
    2 gives. With weight_decay each kernel first shrinks by lr * weight_decay of itself: Loshchilov
    and Hutter, "Decoupled Weight Decay Regularization", 2019, algorithm 2, with the decay in units
    of the rate as in Keras. Biases do not shrink: they are few and hardly overfit.
    """

    def __init__(self, weights, weight_decay: float = 0.0, beta1=0.9, beta2=0.999, epsilon=1e-7):
        super().__init__(name="adam")
        self.weights, self.weight_decay = weights, weight_decay
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon
        self.steps = tf.Variable(0, dtype=tf.int64)
        self.m = [tf.Variable(tf.zeros_like(weight)) for weight in weights]  # first moments
        self.v = [tf.Variable(tf.zeros_like(weight)) for weight in weights]  # second moments

    def update_by_hand(self, weight, m, v, gradient, lr, steps):
        """Adam in five lines. This is for reading: `update` computes the same, in one pass.

        steps: how many there are with this one, 1 in the first. The moments start at zero: the
        correction makes up for that in the first steps.
        """
        correction = tf.sqrt(1 - self.beta2 ** steps) / (1 - self.beta1 ** steps)
        m.assign(self.beta1 * m + (1 - self.beta1) * gradient)
        v.assign(self.beta2 * v + (1 - self.beta2) * gradient ** 2)
        change = lr * correction * m / (tf.sqrt(v) + self.epsilon)
        weight.assign_sub(change)

    def update(self, weight, m, v, gradient, lr, steps):
        """The same as one operation that goes through the weights once: a third of the time."""
        tf.raw_ops.ResourceApplyAdam(
            var=weight.handle, m=m.handle, v=v.handle, lr=lr, epsilon=self.epsilon,
            beta1=self.beta1, beta1_power=self.beta1 ** steps,
            beta2=self.beta2, beta2_power=self.beta2 ** steps, grad=gradient)

    def apply(self, gradients, lr) -> None:
        """One step of all weights."""
        # Several devices: the mean of their gradients. On one device this changes nothing.
        gradients = tf.distribute.get_replica_context().all_reduce("MEAN", gradients)
        self.steps.assign_add(1)
        steps = tf.cast(self.steps, tf.float32)
        # Wait for all gradients. An earlier update would make TensorFlow copy the weight, for the
        # layers whose gradients still need the old one.
        with tf.control_dependencies(gradients):
            for weight, m, v, gradient in zip(self.weights, self.m, self.v, gradients, strict=True):
                if self.weight_decay and weight.shape.rank > 1:
                    weight.assign_sub(lr * self.weight_decay * weight)
                self.update(weight, m, v, gradient, lr, steps)


WARM_UP = 0.2  # the fraction of all steps in which onecycle rises


def learning_rate(config: Config, fraction: float) -> float:
    """The learning rate after this fraction of all steps, 0 to 1.

    "constant" is config.lr throughout. "onecycle" rises to it in a straight line over the first
    fifth, while Adam's moments settle, and falls to 0 along a cosine.
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

def compile_steps(network: models.Network, optimizer: Adam, config: Config
                  ) -> tuple[Callable, Callable]:
    """The training step and the evaluation step, each compiled into one graph.

    train_step(images, labels, lr, seed) -> the loss before the step
    eval_step(images) -> the probability of the positive class, float32 (n,)

    images uint8 (n, height, width, 3), labels float32 (n,), seed int64 (2,): --seed and the number
    of the step, which decide its augmentation and dropout. The batch dimension is left open (None),
    so that the last, smaller batch needs no other graph. Images come as uint8, a quarter of what
    float32 would take: they become floats inside the network.
    """
    loss_function = LOSSES[config.loss]

    def train_step(images, labels, lr, seed):
        images = augmentation.augment(images, seed, config.flip, config.shift, config.zoom)
        with tf.GradientTape() as tape:                         # records what is computed
            logits = network(images, training=True, seed=seed)  # (n,)
            loss = loss_function(labels, logits)                # how wrong the predictions are
        gradients = tape.gradient(loss, network.trainable_variables)  # backpropagation: d loss / dw
        optimizer.apply(gradients, lr)                          # a little step against them
        return loss

    images_spec = tf.TensorSpec((None, *network.input_size, 3), tf.uint8)
    # No `if` here depends on a tensor, so there is nothing for autograph to translate: without it
    # the first step comes a second sooner.
    train_step = tf.function(
        distribution.on_all_devices(train_step),  # on one device: train_step itself
        autograph=False, input_signature=[images_spec, tf.TensorSpec((None,)), tf.TensorSpec(()),
                                          tf.TensorSpec((2,), tf.int64)])
    eval_step = tf.function(network.probability, autograph=False, input_signature=[images_spec])
    return train_step, eval_step


# ---------------------------------------------------------------------------------------------
# The loop: shuffle, step, validate, repeat
# ---------------------------------------------------------------------------------------------

def batches(count: int, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """The indices of an epoch's batches, shuffled by (seed, epoch); the last may be smaller.

    The article: "I made sure to shuffle the training data, since I loaded it in order and that
    could've biased the model."
    """
    order = np.random.default_rng([seed, epoch]).permutation(count)
    return [order[start:start + batch_size] for start in range(0, count, batch_size)]


def train_and_evaluate(config: Config, dataset: data.Dataset, run: runs.Run,
                       trained: models.Network | None = None) -> None:
    """Train epoch by epoch, up to config.epochs, and validate after each.

    config.epochs is the value of the flag --epochs, and so on. run restores and saves the state: a
    resumed run continues where it stopped. trained: the network of --start_from. Raises UserError
    when the loss diverges or checkpoints cannot be used, SystemExit after a Ctrl-C or SIGTERM.
    """
    network = models.Network(config, fast_convolution.conv2d)  # tf.nn.conv2d, faster on some CPUs
    if config.scaling == "standard":
        network.scale.fit(*data.mean_and_std(dataset.train.images))
    optimizer = Adam(network.trainable_variables, config.weight_decay)
    train_step, eval_step = compile_steps(network, optimizer, config)
    progress = checkpoints.TrainingState(config.seed)  # epoch 1, step 0
    state = tf.train.Checkpoint(network=network, optimizer=optimizer, progress=progress)
    if trained:
        models.copy_convolutions(trained, network)
    run.restore(state)                                 # a new run has nothing to restore

    labels, count = dataset.train.labels, len(dataset.train.labels)
    # Converted once, not in every step. It replaces the NumPy array, whose memory is freed.
    images = dataset.train.images = tf.constant(dataset.train.images)
    steps_per_epoch = math.ceil(count / config.batch_size)
    for epoch in range(progress.epoch, config.epochs + 1):
        epoch_batches = batches(count, config.batch_size, config.seed, epoch)
        left = epoch_batches[progress.step:]  # a resumed run has done some of these steps
        for batch in image_files.track(left, f"epoch {epoch}/{config.epochs}"):
            step = (epoch - 1) * steps_per_epoch + progress.step  # from 0, over all epochs
            # The middle of the step: at its beginning onecycle's first rate would be 0.
            lr = learning_rate(config, (step + 0.5) / (config.epochs * steps_per_epoch))
            loss = float(train_step(tf.gather(images, batch), labels[batch], lr,
                                    (config.seed, step)))
            progress.step += 1
            progress.loss_sum += loss * len(batch)
            check_finite(loss, f"the loss of step {progress.step} in epoch {epoch}", config)
            run.save_if_due(state)  # a checkpoint, at times; also ends the run on Ctrl-C

        predictions = predict_batches(eval_step, dataset.valid.images, config.batch_size)
        check_finite(predictions, f"a prediction after epoch {epoch}", config)
        record = {"epoch": epoch, "pictures": count, "train_loss": progress.loss_sum / count,
                  "valid_loss": metrics.LOSSES[config.loss](predictions, dataset.valid.labels),
                  **metrics.measure(predictions, dataset.valid.labels),
                  "learning_rate": learning_rate(config, epoch / config.epochs)}
        progress.epoch, progress.step, progress.loss_sum = epoch + 1, 0, 0.0
        run.finish_epoch(record, predictions, state)  # best weights, history, checkpoint
        summary.print_epoch(record, config.epochs)


def predict_batches(eval_step: Callable, images: np.ndarray, batch_size: int) -> np.ndarray:
    """eval_step, batch by batch: uint8 (n, height, width, 3) -> float32 (n,)."""
    return np.concatenate([eval_step(images[start:start + batch_size])
                           for start in range(0, len(images), batch_size)])


def check_finite(numbers: float | np.ndarray, what: str, config: Config) -> None:
    """Raise UserError if one of the numbers is infinite or NaN: the weights have grown too far."""
    if not np.isfinite(numbers).all():
        other = "" if config.scaling == "standard" else ", or --scaling=standard"
        raise UserError(f"{what} is not finite: training diverged; try a smaller --lr than "
                        f"{config.lr:g}{other}")


# ---------------------------------------------------------------------------------------------
# The command: its flags, group by group as --help shows them
# ---------------------------------------------------------------------------------------------

models.define_flags()  # the network's: its layers, scaling, initial weights, dropout, dtype, seed

flags.DEFINE_float("lr", None, "Adam's learning rate [the network's, see DEFAULTS]",
                   module_name="training")
flags.register_validator("lr", lambda lr: lr is None or 1e-37 < lr < 3e38,
                         "must be a number above 0, like 1e-5")
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
flags.register_validator("weight_decay", lambda decay: 0 <= decay < 3e38,
                         "must be a number, at least 0")
flags.DEFINE(cli.PATH, "start_from", None, "the folder of a run whose convolutions this one begins "
             "with, trained as they are; the fully connected layers begin anew",
             module_name="training")

data.define_flags()  # where the images are
flags.DEFINE_integer("train_size", None, "how many images to train on, equally many of each class "
                     "[4096, or what there is]", module_name="images")
flags.DEFINE_integer("valid_size", None, "how many images to validate on, equally many of each "
                     "class [1024, or what there is, or all of val/ in --data_dir]",
                     module_name="images")
flags.DEFINE_integer("test_size", 0, "how many images to hold out as a test set, equally many of "
                     "each class [or all of test/ in --data_dir]", module_name="images")

flags.DEFINE_bool("flip", False, "mirror half of the training images", module_name="augmentation")
flags.DEFINE_integer("shift", 0, "move each training image by up to so many pixels", lower_bound=0,
                     module_name="augmentation")
flags.register_multi_flags_validator(
    ["shift", "input_size"], lambda values: values["shift"] < min(values["input_size"]),
    "--shift moves images of this --input_size out of sight: use a smaller one")
flags.DEFINE_float("zoom", 0.0, "enlarge or shrink each training image by up to this fraction: "
                   "0.2 is between 1/1.2 and 1.2 times as large", module_name="augmentation")
flags.register_validator("zoom", lambda zoom: 0 <= zoom < 3e38, "must be a number, at least 0")

flags.DEFINE_string("name", None, "name of the run's folder [ARCH-1, ARCH-2 and so on]",
                    module_name="run")
flags.DEFINE(cli.PATH, "runs_dir", "runs", "where the folders of runs are", module_name="run")
flags.DEFINE(cli.PATH, "resume", None, "the folder of a run to continue from its newest "
             "checkpoint, with its own settings; only --epochs, --strategy, --data_dir and "
             "--eager can be given beside it", module_name="run")
flags.DEFINE_enum("strategy", "single", ["single", "mirrored", "multi_worker"], "train on one "
                  "device, on all graphics cards of this machine, or on all machines that "
                  "TF_CONFIG names", module_name="run")
flags.DEFINE_bool("eager", False, "run the step line by line instead of compiling it, so that "
                  "print() and breakpoint() in it show numbers; slower", module_name="run")

SETTINGS = ("network", "training", "images", "augmentation")  # the groups that decide the numbers


# ---------------------------------------------------------------------------------------------
# A run, started or resumed
# ---------------------------------------------------------------------------------------------

@cli.script(tf.errors.OpError)
def main(argv: list[str]) -> None:
    """Train a run. Every flag is checked before anything slow starts or anything is changed."""
    logging.set_verbosity(logging.WARNING)  # TensorFlow reports each checkpoint's timing
    with runs.opened(SETTINGS, DEFAULTS) as run:  # from the flags or, with --resume, its folder
        config, trained = run.config, None
        if config.start_from and (run.is_new or run.begins()):
            models.check_convolutions(Path(config.start_from), config)
            config.start_from = str(Path(config.start_from).resolve())
        source = run.find_images(models.shapes_only(config))
        dataset = data.load_dataset(source, config)
        run.start(dataset)
        if config.start_from and run.begins():
            trained = models.load(Path(config.start_from))
        if flags.FLAGS.eager:
            tf.config.run_functions_eagerly(True)
        with run.training():
            train_and_evaluate(config, dataset, run, trained)
        if run.is_chief:
            finish(config, dataset, run)


def finish(config: Config, dataset: data.Dataset, run: runs.Run) -> None:
    """Test the network of the run's best epoch, export it, draw and print how good it is."""
    network, best = models.load(run.folder), dict(run.best)
    if len(dataset.test.labels):
        eval_step = tf.function(network.probability, autograph=False)
        predictions = predict_batches(eval_step, dataset.test.images, config.batch_size)
        best["test"] = metrics.measure_at(best["threshold"], predictions, dataset.test.labels)
        run_folder.write_records(run.folder / "test.json", [best["test"]])
    saved_model.export(network, best["threshold"], dataset.class_names, run.folder / "model")
    report.write_curves([run.folder], run.folder / "curves.png")
    summary.print_end(best, run.history, run.folder, len(dataset.valid.labels), dataset.class_names)


if __name__ == "__main__":
    app.run(main, flags_parser=cli.flags_parser(__doc__, *SETTINGS, "run", moved={
        "evaluate": "use python predict.py --run=runs/NAME --evaluate=PHOTOS"}))
