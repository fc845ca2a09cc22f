"""The five networks of the article's "Training our Neural Networks", layer by layer.

    python models.py                    # what each network is made of, and what it costs
    python models.py --kernel_size=5    # the same with other layers: see the flags below

For every network the command prints its layers, their output shapes, their weights, and how many
multiply-adds one picture costs. It is the article's argument in numbers: "each neuron's value in
B won't depend on N*M weights, but only on C*C (much less) of them".

A layer is a `tf.Module`: it makes its `tf.Variable`s from the shape of its input, and computes
its output when called. A network is the list of its layers. Nothing here knows of training.
"""

import functools
import itertools
import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

# TensorFlow reads these when it is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # no log on the screen
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # its default on some processors only
os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "1")  # keep memory between steps, do not give
#                                                         it back and fetch it anew each time
# A few start-up lines no setting hides: while TensorFlow is imported, stderr leads nowhere.
_stderr = os.dup(2)
with open(os.devnull, "w") as _nowhere:
    os.dup2(_nowhere.fileno(), 2)
try:
    import tensorflow as tf
finally:
    os.dup2(_stderr, 2)
    os.close(_stderr)

import numpy as np
from absl import app, flags
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Architecture:
    """What tells the article's networks apart: filters per convolution, units per hidden layer."""

    filters: tuple[int, ...]
    hidden: tuple[int, ...]


ARCHITECTURES = {
    "mlp":         Architecture(filters=(),         hidden=(512,)),
    "conv1":       Architecture(filters=(24,),      hidden=(128, 128)),
    "conv2_48":    Architecture(filters=(48, 48),   hidden=(256, 256)),
    "conv2_128":   Architecture(filters=(128, 128), hidden=(256, 256)),
    "conv2_fc512": Architecture(filters=(64, 128),  hidden=(512, 512)),
}

INPUT_SIZE = (94, 125)  # height, width: a quarter of the photographs' most common shape

# "MLPs with more layers", "bigger and bigger models": other numbers of filters and units. And the
# article closes by proposing "different pooling layers, filter sizes, striding and a different
# preprocessing". These flags make each of them a run.
FILTERS = flags.DEFINE_list(
    "filters", None, "filters of each convolution, as in 64,128 [the network's]")
HIDDEN = flags.DEFINE_list(
    "hidden", None, "units of each hidden layer, as in 512,512 [the network's]")
KERNEL_SIZE = flags.DEFINE_integer(
    "kernel_size", 3, "height and width of the convolutions' kernels", lower_bound=1)
STRIDE = flags.DEFINE_integer(
    "stride", 1, "how far a kernel slides from one output to the next", lower_bound=1)
POOLING = flags.DEFINE_enum(
    "pooling", "max", ["max", "average", "none"], "what a 2x2 block becomes after each "
    "convolution: its largest value, its mean, or no pooling at all")
SCALING = flags.DEFINE_enum(
    "scaling", "none", ["none", "unit", "standard"], "what the first layer is given: raw 0..255 as "
    "in the article, 0..1, or each colour with mean 0 and standard deviation 1 over the training "
    "pictures")
INIT = flags.DEFINE_enum(
    "init", None, ["glorot", "he", "adapted"], "the first weights: Glorot's, as in the article; "
    "He's, which are made for ReLU; or these, adapted to raw pixels [see SETTINGS in train.py]")
INPUT_SIZE_FLAG = flags.DEFINE_string(
    "input_size", "94x125", "HEIGHTxWIDTH that every picture is resized to")


def parse_counts(flag: flags.FlagHolder) -> tuple[int, ...] | None:
    """--filters=64,128 -> (64, 128), not given -> None. Raises ValueError on anything else."""
    if flag.value is None:
        return None
    if not all(count.isdecimal() and int(count) for count in flag.value):
        raise ValueError(f"--{flag.name}={','.join(flag.value)} is not a list of numbers above 0: "
                         "write it like 64,128")
    return tuple(map(int, flag.value))


def parse_size(text: str) -> tuple[int, int]:
    """'94x125' -> (94, 125), height first. Raises ValueError on anything else."""
    height, x, width = text.lower().partition("x")
    if not (x and height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise ValueError(f"--input_size={text} is not HEIGHTxWIDTH: write it like 94x125")
    return int(height), int(width)


# ---------------------------------------------------------------------------------------------
# Layers
# ---------------------------------------------------------------------------------------------

def uniform(shape: tuple[int, ...], limit: float, seed: tuple[int, int]):
    """Random first weights, uniform in [-limit, limit]; a function of the seed on any device."""
    return tf.random.stateless_uniform(shape, seed, -limit, limit, alg="philox")


def glorot(fan_in: int, fan_out: int) -> float:
    """The limit sqrt(6 / (fan_in + fan_out)): the article's, and Keras's unless told otherwise.

    fan_in is how many inputs one output sums, fan_out how many outputs one input reaches. A sum
    of fan_in terms has fan_in times the variance of one, so weights of variance 1 / fan_in keep a
    signal's size on its way forward, and 1 / fan_out a gradient's on its way back. In between is
    2 / (fan_in + fan_out); numbers uniform in [-limit, limit] have the variance limit^2 / 3.
    Source: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural
    networks", 2010, equation 16.
    """
    return (6 / (fan_in + fan_out)) ** 0.5


def he(fan_in: int, fan_out: int) -> float:
    """The limit sqrt(6 / fan_in), which keeps a signal's size forward through layers with ReLU.

    ReLU throws half of the signal away: it takes twice the variance of 1 / fan_in to make up for
    it. Source: He et al., "Delving Deep into Rectifiers", 2015, equation 10.
    """
    return (6 / fan_in) ** 0.5


LIMITS = {"glorot": glorot, "he": he, "adapted": he}

# Both take a layer's inputs to be about 1, around 0. The pixels are this far from their mean:
PIXEL_DEVIATION = {"none": 50.0, "unit": 0.2, "standard": 1.0}


class Layer(tf.Module):
    """What every layer tells of itself; shapes leave out the batch dimension.

    output_shape: the shape of what it returns for one picture.
    multiply_adds: how many a forward pass of one picture takes.
    """

    output_shape: tuple[int, ...]
    multiply_adds: int = 0

    @property
    def weight_count(self) -> int:
        """How many numbers the layer learns."""
        return sum(variable.shape.num_elements() for variable in self.trainable_variables)


class Scale(Layer):
    """uint8 pixels to the numbers the network computes with: (pixel - mean) / deviation.

    Both are one number per colour. `none` leaves the pixels at 0..255 as the article does, `unit`
    divides them by 255, `standard` takes the values that `measure` finds.
    """

    def __init__(self, input_shape: tuple[int, int, int], scaling: str, dtype: str = "float32"):
        super().__init__(name="scale")
        self.scaling, self.dtype = scaling, dtype
        self.output_shape = input_shape
        self.mean = tf.Variable(tf.zeros(3), trainable=False)
        self.deviation = tf.Variable(tf.fill([3], 255.0 if scaling == "unit" else 1.0),
                                     trainable=False)

    def measure(self, images, together: Callable[[list], list] = list) -> None:
        """Take mean and deviation from training pictures, uint8 (n, height, width, 3).

        together: where several processes hold some of the pictures each, turns the list of what
        one found in its own into that for all pictures (data.Share.together).

        Picture by picture, to need no float copy of them all: the variance over everything is
        the mean of the pictures' variances plus the variance of their means.
        """
        if self.scaling == "standard":
            means, variances = (np.array(together([moment(image, axis=(0, 1)).tolist()
                                                   for image in images]))
                                for moment in (np.mean, np.var))  # both (n, 3)
            deviation = np.sqrt(variances.mean(axis=0) + means.var(axis=0))
            self.mean.assign(means.mean(axis=0))
            self.deviation.assign(deviation.clip(min=1))  # pictures of one colour have none

    def __call__(self, images):
        # A row at a time: TensorFlow is slow to repeat three numbers, and fast to repeat many.
        height, width, channels = self.output_shape
        rows = tf.reshape(tf.cast(images, tf.float32), [-1, height, width * channels])
        rows = (rows - tf.tile(self.mean, [width])) / tf.tile(self.deviation, [width])
        return tf.cast(tf.reshape(rows, [-1, height, width, channels]), self.dtype)


def convolve(x, kernel, stride: int):
    """Slide every kernel over the input, one output per place; 'valid' padding.

    x (n, height, width, channels), kernel (size, size, channels, filters) -> (n, rows, columns,
    filters): the article's "submatrix times kernel, added up", for every place and every filter.

    All of this is the one line tf.nn.conv2d. The rest replaces the gradient that TensorFlow would
    find unasked by the same numbers, found faster: see kernel_gradient.
    """
    @tf.custom_gradient
    def convolution(x, kernel):
        y = tf.nn.conv2d(x, kernel, stride, "VALID")

        def gradients(dy):
            # Back through the kernel, to the inputs that each output was summed from.
            dx = tf.nn.conv2d_transpose(dy, kernel, tf.shape(x), stride, "VALID")
            return dx, kernel_gradient(x, dy, kernel.shape, stride)

        return y, gradients

    return convolution(x, kernel)


def kernel_gradient(x, dy, kernel_shape: tuple[int, int, int, int], stride: int):
    """The gradient of a convolution's kernel, from its input x and its output's gradient dy.

    Each number of a kernel was multiplied by one shifted copy of the input, so its gradient is
    that copy times dy, summed over all places of all pictures: for all channels and filters at
    once a matrix product per shift and picture, then the sum over the pictures. TensorFlow would
    find the same gradient unasked; but on the processor this was measured on (AVX2, no AVX-512)
    its own way takes more than twice the time for conv2_128.
    """
    size, _, channels, filters = kernel_shape
    _, rows, columns, _ = dy.shape

    dy = tf.reshape(dy, [-1, rows * columns, filters])

    def shifted(row: int, column: int):  # what the kernel's number at (row, column) multiplied
        return x[:, row:row + stride * (rows - 1) + 1:stride,
                 column:column + stride * (columns - 1) + 1:stride]

    def product(copy):
        copy = tf.reshape(copy, [-1, rows * columns, copy.shape[-1]])
        sums = tf.matmul(copy, dy, transpose_a=True)  # (batch, channels, filters)
        return tf.reduce_sum(tf.cast(sums, tf.float32), axis=0)

    places = list(itertools.product(range(size), repeat=2))
    window = size * size * channels
    if window <= 32:  # a narrow product is a slow one: lay the copies side by side, as below, but
        # faster by a convolution, each of whose kernels is a single 1 at one place of the window
        picks = tf.reshape(tf.eye(window, dtype=x.dtype), (size, size, channels, window))
        gradients = [product(tf.nn.conv2d(x, picks, stride, "VALID"))]
    elif channels < 16:
        gradients = [product(tf.concat([shifted(*place) for place in places], axis=-1))]
    else:
        gradients = []
        for place in places:
            # A copy waits for the product before the last: all at once would take much memory.
            with tf.control_dependencies(gradients[-2:-1]):
                gradients.append(product(shifted(*place)))
    return tf.cast(tf.reshape(tf.concat(gradients, axis=0), kernel_shape), x.dtype)


class Conv2D(Layer):
    """A convolution; its bias and its ReLU are a layer of their own, `BiasRelu`.

    Padding is 'valid', the article's "start with our kernel centered" so that it never leaves the
    input: a 3x3 kernel makes the output two rows and two columns smaller.
    """

    def __init__(self, input_shape: tuple[int, int, int], filters: int, kernel_size: int,
                 stride: int, init: str, seed: tuple[int, int]):
        super().__init__(name="conv")
        height, width, channels = input_shape
        self.stride = stride
        self.output_shape = ((height - kernel_size) // stride + 1,
                             (width - kernel_size) // stride + 1, filters)
        window = kernel_size * kernel_size
        self.kernel = tf.Variable(uniform(
            (kernel_size, kernel_size, channels, filters),
            LIMITS[init](window * channels, window * filters), seed), name="kernel")
        rows, columns, _ = self.output_shape
        self.multiply_adds = rows * columns * window * channels * filters
        self.convolve = convolve  # `export` puts TensorFlow's own in its place

    def __call__(self, x):
        return self.convolve(x, tf.cast(self.kernel, x.dtype), self.stride)


class BiasRelu(Layer):
    """Add a number per channel, then replace what is negative by 0."""

    def __init__(self, input_shape: tuple[int, int, int]):
        super().__init__(name="bias_relu")
        self.output_shape = input_shape
        self.bias = tf.Variable(tf.zeros(input_shape[-1]), name="bias")

    def __call__(self, x):
        return tf.nn.relu(tf.nn.bias_add(x, tf.cast(self.bias, x.dtype)))


class Pool(Layer):
    """Halve height and width: each 2x2 block becomes its largest value (or its mean).

    An odd last row or column belongs to no block and is dropped.
    """

    def __init__(self, input_shape: tuple[int, int, int], pooling: str):
        super().__init__(name=f"{pooling}_pool")
        height, width, channels = input_shape
        self.output_shape = (height // 2, width // 2, channels)
        self.pool = tf.nn.max_pool2d if pooling == "max" else tf.nn.avg_pool2d

    def __call__(self, x):
        return self.pool(x, ksize=2, strides=2, padding="VALID")


class Flatten(Layer):
    """Lay the stack of matrices out as one vector, which is what a fully connected layer takes."""

    def __init__(self, input_shape: tuple[int, int, int]):
        super().__init__(name="flatten")
        height, width, channels = input_shape
        self.output_shape = (height * width * channels,)

    def __call__(self, x):
        return tf.reshape(x, [-1, *self.output_shape])


class Dropout(Layer):
    """In training, a share `rate` of the numbers becomes 0; the rest is divided by 1 - rate,
    so that what the next layer sums stays as large as before in the mean.

    Which ones is drawn anew for every picture and step, so that no weight can rely on another.
    Source: Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from
    Overfitting", 2014; enlarging in training instead of shrinking afterwards is in its section 10.
    """

    def __init__(self, input_shape: tuple[int], rate: float):
        super().__init__(name="dropout")
        self.rate = rate
        self.output_shape = input_shape

    def __call__(self, x, seed=None):
        """seed: two integers that the draw follows from; without them nothing is dropped."""
        if seed is None:
            return x
        kept = tf.random.stateless_uniform(tf.shape(x), seed, alg="philox") >= self.rate
        return tf.where(kept, x / (1 - self.rate), tf.zeros_like(x))


class Dense(Layer):
    """A fully connected layer: every output is a weighted sum of all inputs, plus a bias.

    Its matrix of weights is called its kernel as in Keras, though nothing slides here.
    """

    def __init__(self, input_shape: tuple[int], units: int, relu: bool, init: str,
                 seed: tuple[int, int]):
        super().__init__(name="dense")
        self.relu = relu
        self.output_shape = (units,)
        inputs, = input_shape
        self.kernel = tf.Variable(
            uniform((inputs, units), LIMITS[init](inputs, units), seed), name="kernel")
        self.bias = tf.Variable(tf.zeros(units), name="bias")
        self.multiply_adds = inputs * units

    def __call__(self, x):
        x = x @ tf.cast(self.kernel, x.dtype) + tf.cast(self.bias, x.dtype)
        return tf.nn.relu(x) if self.relu else x


# ---------------------------------------------------------------------------------------------
# Networks
# ---------------------------------------------------------------------------------------------

class Network(tf.Module):
    """One of the article's networks: uint8 pictures in, one number a picture out.

    (convolution, ReLU, pooling) for each of `filters`, flatten, (fully connected, ReLU) for each
    of `hidden`, one output. The output is the logit: its sigmoid is the probability of a cat. It
    stops short of the sigmoid because the loss is more exact when computed from the logit.

    dropout: the share of each hidden layer's inputs that a training step leaves out.
    dtype: what it computes with, float32 or bfloat16; the weights, and the last layer in full, are
    float32 always.
    tta: whether it answers a picture by looking at its mirror image, too (test-time augmentation).
    filters, hidden: how many filters and units, if not as many as in the article's network.

    Raises ValueError, with the reason, for options that cannot work together.
    """

    def __init__(self, arch: str, input_size: tuple[int, int] = INPUT_SIZE, kernel_size: int = 3,
                 stride: int = 1, pooling: str = "max", scaling: str = "none", init: str = "glorot",
                 seed: int = 0, dropout: float = 0.0, dtype: str = "float32", tta: bool = False,
                 filters: Sequence[int] | None = None, hidden: Sequence[int] | None = None):
        super().__init__(name=arch)
        if arch not in ARCHITECTURES:
            raise ValueError(f"--arch={arch} is none of the networks: {', '.join(ARCHITECTURES)}")
        filters = ARCHITECTURES[arch].filters if filters is None else filters
        hidden = ARCHITECTURES[arch].hidden if hidden is None else hidden
        if not filters and (kernel_size, stride, pooling) != (3, 1, "max"):
            raise ValueError(f"--arch={arch} has no convolution: --kernel_size, --stride and "
                             "--pooling have nothing to change in it; leave them out")

        self.input_size, self.tta = input_size, tta
        self.scale = Scale((*input_size, 3), scaling, dtype)
        self.layers = [self.scale]
        for channels in filters:
            height, width, _ = self.layers[-1].output_shape
            if min(height, width) < kernel_size:
                raise ValueError(
                    f"--input_size={input_size[0]}x{input_size[1]} is too small for {arch}: its "
                    f"{kernel_size}x{kernel_size} kernels do not fit into the {height}x{width} "
                    "that is left; use a larger --input_size, or a smaller --kernel_size or "
                    "--stride")
            self.add(Conv2D, channels, kernel_size, stride, init, (seed, len(self.kernels)))
            # The textbook's order is bias, ReLU, pooling. Adding the same number to a block and
            # cutting it off at 0 leaves its largest value the largest: pooled first, the result
            # is the same and three quarters of the additions are saved. A mean does change.
            if pooling == "max":
                self.add(Pool, pooling)
            self.add(BiasRelu)
            if pooling == "average":
                self.add(Pool, pooling)
        if 0 in self.layers[-1].output_shape:
            raise ValueError(f"--input_size={input_size[0]}x{input_size[1]} is too small for "
                             f"{arch}: nothing is left after its last pooling; use a larger one, "
                             "or a smaller --stride")
        self.add(Flatten)
        for units in hidden:
            if dropout:
                self.add(Dropout, dropout)
            self.add(Dense, units, True, init, (seed, len(self.kernels)))
        self.add(Dense, 1, False, init, (seed, len(self.kernels)))

        if init == "adapted":
            self.adapt_to_pixels(PIXEL_DEVIATION[scaling])

    def adapt_to_pixels(self, deviation: float) -> None:
        """Change He's first weights so that pixels of this deviation can be learned from.

        The first kernels are made to sum to zero, as V and H do: an even grey area gets no answer
        however bright it is. The two layers after them are made smaller, until the network's
        answers are a twentieth of what standardised pixels would get. Adam moves every weight by
        about the learning rate, so small weights learn soon and large ones late: soon where
        features are put together; late in the first kernels, where every change multiplies the
        pixels' brightness. The twentieth was chosen by validation, among 1, 1/3 and 1/20.
        """
        first, *others = self.kernels
        inputs = tuple(range(len(first.shape) - 1))  # every axis but the outputs'
        first.assign(first - tf.reduce_mean(first, inputs))
        for kernel in others[:2]:
            kernel.assign(kernel / (20 * deviation) ** (1 / len(others[:2])))

    def add(self, layer_type, *options) -> None:
        self.layers.append(layer_type(self.layers[-1].output_shape, *options))

    def __call__(self, images, seed=None):
        """uint8 (batch, height, width, 3) -> float32 (batch,), the logits.

        seed: in training, two integers that the draws of dropout follow from; without them nothing
        is dropped.
        """
        x = images
        for index, layer in enumerate(self.layers):
            if layer is self.layers[-1]:
                x = tf.cast(x, tf.float32)
            if isinstance(layer, Dropout) and seed is not None:
                x = layer(x, tf.random.fold_in(seed, index))  # its own draw for each of them
            else:
                x = layer(x)  # conv2_fc512: (batch, 46, 61, 64), (batch, 22, 29, 128), …
        return tf.squeeze(x, axis=1)

    def probability(self, images):
        """Of a cat: uint8 (batch, height, width, 3) -> float32 (batch,)."""
        probability = tf.sigmoid(self(images))
        if self.tta:  # what it sees from one side only counts half
            probability = (probability + tf.sigmoid(self(images[:, :, ::-1]))) / 2
        return probability

    @property
    def kernels(self) -> list[tf.Variable]:
        """Of each layer that has one, from the first to the last."""
        return [layer.kernel for layer in self.layers if hasattr(layer, "kernel")]

    @property
    def weight_count(self) -> int:
        return sum(layer.weight_count for layer in self.layers)

    @property
    def multiply_adds(self) -> int:
        """Of one picture, forward."""
        return sum(layer.multiply_adds for layer in self.layers)

    @property
    def training_multiply_adds(self) -> int:
        """Of one picture, forward and backward.

        The backward pass multiplies as often as the forward pass for the gradient of the weights,
        and once more for the gradient of the layer's input, which the first layer does not need.
        """
        first = next(layer for layer in self.layers if layer.multiply_adds)
        return 3 * self.multiply_adds - first.multiply_adds


def network_of(config: dict) -> Network:
    """The network that a run's configuration describes: config.json's, or train.Config's fields."""
    options = ("kernel_size", "stride", "pooling", "scaling", "init", "seed", "dropout", "dtype",
               "tta", "filters", "hidden")
    return Network(config["arch"], tuple(config["input_size"]),
                   **{option: config[option] for option in options})


def untrained_network(run: Path) -> Network:
    """The network of a run with its first weights, as it was before the first step.

    Raises ValueError, with the reason, for a folder that is not a run's.
    """
    try:
        return network_of(json.loads((run / "config.json").read_text())["config"])
    except OSError as error:
        raise ValueError(f"{run} is not the folder of a run: {error.filename}: "
                         f"{error.strerror}") from error
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{run} is damaged: its config.json is not what train.py writes "
                         f"({type(error).__name__}: {error})") from error


def load_network(run: Path) -> Network:
    """The network of a run's best epoch, as train.py left it in the folder `run`.

    Raises ValueError, with the reason, for a folder that is not a whole run's.
    """
    network = untrained_network(run)
    try:
        best = max(run.glob("best/epoch-*"), default=run / "best")  # two while one is replaced
        status = tf.train.Checkpoint(network=network).read(str(best / "checkpoint"))
        status.expect_partial()  # complaints come from here, not from TensorFlow's log
        status.assert_consumed()
    except (tf.errors.OpError, IndexError, ValueError, AssertionError) as error:
        raise ValueError(f"{run} is damaged: its weights are missing or not of this "
                         f"{network.name}; train it again") from error
    return network


# ---------------------------------------------------------------------------------------------
# A network that leaves home
# ---------------------------------------------------------------------------------------------

def export(network: Network, threshold: float, folder: Path) -> None:
    """Write `folder`, a SavedModel of the network that TensorFlow runs without this code.

    Its signatures: `pixels`, uint8 (n, height, width, 3) to the probability of a cat, float32
    (n,); and `serving_default`, the contents of n files to that and the label, "cat" above the
    threshold. What is loaded has a variable `threshold`. The folder appears whole or not at all;
    one that was there stays until then. The network's gradients are TensorFlow's from now on:
    ours would have to be written out for those without this code.
    """
    for layer in network.layers:
        if isinstance(layer, Conv2D):
            layer.convolve = functools.partial(tf.nn.conv2d, padding="VALID")
    module = tf.Module()
    module.network = network
    module.threshold = tf.Variable(threshold, dtype=tf.float32, trainable=False)
    picture = tf.TensorSpec((*network.input_size, 3), tf.uint8)

    # Nothing here needs autograph, which would take a second to read it.
    @tf.function(input_signature=[tf.TensorSpec((None, *picture.shape), tf.uint8)], autograph=False)
    def pixels(images):
        return {"probability": network.probability(images)}  # float32 (n,)

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)], autograph=False)
    def serve(image_bytes):
        images = tf.map_fn(lambda contents: decode_picture(contents, network.input_size),
                           image_bytes, fn_output_signature=picture)
        probability = network.probability(images)
        label = tf.where(probability > module.threshold, "cat", "dog")
        return {"probability": probability, "label": label}

    new, old = folder.with_name(f"new-{folder.name}"), folder.with_name(f"old-{folder.name}")
    for rest in (new, old):  # of an export that was interrupted
        shutil.rmtree(rest, ignore_errors=True)
    tf.saved_model.save(module, str(new), {"pixels": pixels, "serving_default": serve})
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def decode_picture(contents, size: tuple[int, int]):
    """A file's contents -> uint8 (height, width, 3): data.load_picture in TensorFlow's operations.

    JPEG, PNG, BMP (of 8 bits a pixel or more) or GIF. Of 255 levels the two differ by one at most:
    Pillow rounds between its passes over rows and columns. Only where one single colour stands
    for transparency (in a GIF, or a PNG without a palette) that is not heeded. Raises
    InvalidArgumentError for what cannot be decoded.
    """
    orientation = exif_orientation(contents)
    turned = tf.reduce_any(orientation == [5, 6, 7, 8])

    def jpeg():  # at full size, a half, a quarter or an eighth, as in load_picture
        least = tf.where(turned, size[::-1], size) * 3 // 2
        times = tf.reduce_min(tf.io.extract_jpeg_shape(contents)[:2] // least)
        decoders = [functools.partial(tf.io.decode_jpeg, contents, channels=3, ratio=ratio,
                                      dct_method="INTEGER_ACCURATE") for ratio in (1, 2, 4, 8)]
        image = tf.switch_case(tf.reduce_sum(tf.cast(times >= [2, 4, 8], tf.int32)), decoders)
        return tf.cast(image, tf.float32)

    def bmp():
        image = tf.io.decode_bmp(contents)
        image = tf.cond(tf.shape(image)[2] == 1, lambda: palette_colours(contents, image),
                        lambda: image[:, :, :3])
        return tf.cast(image, tf.float32)

    def png_or_gif():  # of 1 to 4 channels: with an even number the last one is opacity
        image = tf.io.decode_image(contents, expand_animations=False)
        image = tf.cast(tf.ensure_shape(image, (None, None, None)), tf.float32)
        opacity = image[:, :, -1:] / 255
        return tf.cond(tf.shape(image)[2] % 2 == 0,
                       lambda: image[:, :, :-1] * opacity + 255 * (1 - opacity),  # on white
                       lambda: image) * tf.ones(3)  # grey becomes three equal channels

    kind = tf.strings.substr(contents, 0, 2)
    image = tf.case([(kind == b"\xff\xd8", jpeg), (kind == b"BM", bmp)], png_or_gif)
    image = tf.transpose(image, tf.where(turned, [1, 0, 2], [0, 1, 2]))
    image = tf.image.resize(image, size, antialias=True)  # (height, width, 3)
    image = tf.where(tf.reduce_any(orientation == [2, 3, 6, 7]), image[:, ::-1], image)
    image = tf.where(tf.reduce_any(orientation == [3, 4, 7, 8]), image[::-1], image)
    return tf.cast(tf.round(image), tf.uint8)


def exif_orientation(contents):
    """How the camera was held, 1 (upright) to 8, says EXIF's tag 0x0112; or any other number."""
    # The tag, its type (a short), count (one) and value, each with its low byte or high one first.
    # What does not match stays as it is: no picture's first byte is 1 to 8.
    found = tf.strings.regex_replace(
        tf.strings.substr(contents, 0, 4096),
        r"^\C*?Exif\x00\x00\C*?(?:\x12\x01\x03\x00\x01\x00\x00\x00"
        r"|\x01\x12\x00\x03\x00\x00\x00\x01\x00)([\x01-\x08])\C*$", r"\1")
    return tf.cast(tf.io.decode_raw(found, tf.uint8)[0], tf.int32)


def palette_colours(contents, image):
    """uint8 (rows, columns, 3) of a BMP whose pixels, (rows, columns, 1), number its colours."""
    start, header = tf.unstack(tf.io.decode_raw(tf.strings.substr(contents, 10, 8), tf.int32), 2)
    palette = tf.strings.substr(contents, 14 + header, start - 14 - header)
    palette = tf.reshape(tf.io.decode_raw(palette, tf.uint8), (-1, 4))  # blue, green, red, nothing
    return tf.gather(palette[:, 2::-1], tf.cast(image[:, :, 0], tf.int32))


# ---------------------------------------------------------------------------------------------
# The table
# ---------------------------------------------------------------------------------------------

def layer_table(network: Network) -> Table:
    table = Table(title=network.name, title_justify="left")
    for column in ("layer", "output shape", "weights", "MB", "multiply-adds"):
        table.add_column(column, justify="left" if column == "layer" else "right")
    for layer in network.layers:
        table.add_row(layer.name, " x ".join(map(str, layer.output_shape)),
                      f"{layer.weight_count:,}", f"{layer.weight_count * 4 / 1e6:.1f}",
                      f"{layer.multiply_adds:,}")
    table.add_section()
    table.add_row("forward", "", f"{network.weight_count:,}",
                  f"{network.weight_count * 4 / 1e6:.1f}", f"{network.multiply_adds:,}")
    table.add_row("training", "", "", "", f"{network.training_multiply_adds:,}")
    return table


def main(argv: list[str]) -> None:
    if argv[1:]:
        sys.exit(f"models.py takes flags only, not {argv[1]!r}: see python models.py --help")
    console = Console()
    try:
        asked, hidden = parse_counts(FILTERS), parse_counts(HIDDEN)
        for arch, architecture in ARCHITECTURES.items():
            filters = architecture.filters if asked is None else asked
            options = dict(kernel_size=KERNEL_SIZE.value, stride=STRIDE.value,
                           pooling=POOLING.value) if filters else {}
            with tf.Graph().as_default():  # shapes only: nothing is computed, no memory is taken
                network = Network(arch, parse_size(INPUT_SIZE_FLAG.value), filters=filters,
                                  hidden=hidden, **options)
            console.print(layer_table(network))
    except ValueError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    app.run(main)
