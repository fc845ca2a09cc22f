"""The five networks of the article's "Training our Neural Networks", layer by layer.

    python models.py                    # what each network is made of, and what it costs
    python models.py --arch=conv1       # one of them
    python models.py --kernel_size=5    # the same with other layers: see python models.py --help

For every network the command prints its layers, their output shapes, their weights, and how many
multiply-adds one image costs. In its column of weights, compare conv2d with dense: in the article's
words, "each neuron's value in B won't depend on N*M weights, but only on C*C (much less) of them".

A layer is a `tf.Module`: `build` makes its `tf.Variable`s for the shape of its input, calling it
computes its output. How a network is trained is in train.py.
"""

import math
from collections.abc import Callable
from pathlib import Path

from absl import app, flags
from rich.console import Console

from support import checkpoints, cli, network_pages, run_folder, settings
from support.cli import UserError
from support.settings import Config
from support.tensorflow_setup import tf

# ---------------------------------------------------------------------------------------------
# Initial weights
# ---------------------------------------------------------------------------------------------

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

    ReLU sets half of the signal to zero: twice the variance of 1 / fan_in makes up for it.
    Source: He et al., "Delving Deep into Rectifiers", 2015, equation 10.
    """
    return (6 / fan_in) ** 0.5


# The limit of each kind of initial weights. "adapted" is this project's own: He's weights, which
# Network.adapt_to_pixels changes.
INITIALIZERS = {"glorot": glorot, "he": he, "adapted": he}

# Glorot's and He's expect inputs of mean 0 and standard deviation 1. The pixels' is about this,
# after each --scaling; raw ones have 50 in sample/, and some 65 in photographs:
PIXEL_STD = {"none": 50.0, "unit": 0.2, "standard": 1.0}


def initial_weights(shape: tuple[int, ...], init: str, seed: tuple[int, int]):
    """Random numbers, float32 `shape` (…, inputs, outputs); the same for one seed on any device.

    init: one of INITIALIZERS. What precedes inputs and outputs is a kernel's height and width.
    """
    *size, inputs, outputs = shape
    pixels = math.prod(size)  # that one output sees: 1 in a fully connected layer
    limit = INITIALIZERS[init](pixels * inputs, pixels * outputs)
    return tf.random.stateless_uniform(shape, seed, -limit, limit, alg="philox")


# ---------------------------------------------------------------------------------------------
# Layers
# ---------------------------------------------------------------------------------------------

class Layer(tf.Module):
    """What all layers have in common; shapes leave out the batch dimension."""

    output_shape: tuple[int, ...]  # of one image
    multiply_adds: int = 0         # of one image, forward

    def build(self, input_shape: tuple[int, ...], init: str, seed: tuple[int, int]) -> None:
        """Make the variables, for inputs of this shape. init: one of INITIALIZERS."""
        self.output_shape = input_shape

    @property
    def weight_count(self) -> int:
        """How many numbers the layer learns."""
        return sum(variable.shape.num_elements() for variable in self.trainable_variables)


class Scale(Layer):
    """uint8 pixels to the numbers the network computes with: (pixel - mean) / std, per colour.

    "none" leaves the pixels at 0..255 as the article does, "unit" divides them by 255, "standard"
    takes mean and standard deviation of the training images: see `fit`.
    """

    def __init__(self, scaling: str = "none", dtype: str = "float32"):
        super().__init__()
        self.scaling, self.dtype = scaling, dtype

    def build(self, input_shape: tuple[int, int, int], init: str, seed: tuple[int, int]) -> None:
        self.output_shape = input_shape
        self.mean = tf.Variable(tf.zeros(3), trainable=False)
        std = 255.0 if self.scaling == "unit" else 1.0
        self.std = tf.Variable(tf.fill([3], std), trainable=False)

    def fit(self, mean, std) -> None:
        """Take the training images' mean and standard deviation, both (3,)."""
        self.mean.assign(mean)
        self.std.assign(std)

    def __call__(self, images):
        # A row at a time: TensorFlow is slow to repeat three numbers, and fast to repeat many.
        height, width, channels = self.output_shape
        rows = tf.reshape(tf.cast(images, tf.float32), [-1, height, width * channels])
        rows = (rows - tf.tile(self.mean, [width])) / tf.tile(self.std, [width])
        return tf.cast(tf.reshape(rows, [-1, height, width, channels]), self.dtype)


class Conv2D(Layer):
    """A convolution: every kernel slides over the input and gives one output at each place.

    Padding is 'valid', the article's "start with our kernel centered" so that it never leaves the
    input: a 3x3 kernel makes the output two rows and two columns smaller. The bias and the ReLU
    are a layer of their own, `BiasRelu`.
    """

    def __init__(self, filters: int, kernel_size: int = 3, stride: int = 1,
                 conv2d: Callable = tf.nn.conv2d):
        super().__init__(name="conv2d")
        self.filters, self.kernel_size, self.stride = filters, kernel_size, stride
        self.conv2d = conv2d  # or support.fast_convolution's: the same, faster on some CPUs

    def build(self, input_shape: tuple[int, int, int], init: str, seed: tuple[int, int]) -> None:
        height, width, channels = input_shape
        rows = (height - self.kernel_size) // self.stride + 1
        columns = (width - self.kernel_size) // self.stride + 1
        shape = (self.kernel_size, self.kernel_size, channels, self.filters)
        self.kernel = tf.Variable(initial_weights(shape, init, seed))
        self.output_shape = (rows, columns, self.filters)
        self.multiply_adds = rows * columns * math.prod(shape)

    def __call__(self, x):
        kernel = tf.cast(self.kernel, x.dtype)
        return self.conv2d(x, kernel, strides=self.stride, padding="VALID")


class BiasRelu(Layer):
    """Add a number per channel, then replace what is negative by 0."""

    def build(self, input_shape: tuple[int, int, int], init: str, seed: tuple[int, int]) -> None:
        self.output_shape = input_shape
        self.bias = tf.Variable(tf.zeros(input_shape[-1]))

    def __call__(self, x):
        return tf.nn.relu(tf.nn.bias_add(x, tf.cast(self.bias, x.dtype)))


class MaxPool(Layer):
    """Halve height and width "by picking the max values over 2x2 blocks".

    An odd last row or column belongs to no block and is dropped. In these networks it stands
    before BiasRelu: see `layers_of`.
    """

    def build(self, input_shape: tuple[int, int, int], init: str, seed: tuple[int, int]) -> None:
        height, width, channels = input_shape
        self.output_shape = (height // 2, width // 2, channels)

    def __call__(self, x):
        return tf.nn.max_pool2d(x, ksize=2, strides=2, padding="VALID")


class AveragePool(MaxPool):
    """The same with the mean of each block; it stands after BiasRelu."""

    def __call__(self, x):
        return tf.nn.avg_pool2d(x, ksize=2, strides=2, padding="VALID")


class Flatten(Layer):
    """Lay the stack of matrices out as one vector, which is what a fully connected layer takes."""

    def build(self, input_shape: tuple[int, int, int], init: str, seed: tuple[int, int]) -> None:
        height, width, channels = input_shape
        self.output_shape = (height * width * channels,)

    def __call__(self, x):
        return tf.reshape(x, [-1, *self.output_shape])


class Dropout(Layer):
    """Set a fraction `rate` of the inputs to 0, divide the others by 1 - rate; in training only.

    So the next layer's sums keep their mean size. Which inputs are dropped is random for every
    image and step, so that no weight can rely on another one.
    Source: Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from
    Overfitting", 2014; dividing in training instead of shrinking afterwards is in its section 10.
    """

    def __init__(self, rate: float):
        super().__init__()
        self.rate = rate

    def __call__(self, x, seed):
        """seed: two integers that decide which inputs are dropped."""
        kept = tf.random.stateless_uniform(tf.shape(x), seed, alg="philox") >= self.rate
        return tf.where(kept, x / (1 - self.rate), tf.zeros_like(x))


class Dense(Layer):
    """A fully connected layer: every output is a weighted sum of all inputs, plus a bias.

    Its matrix of weights is called its kernel as in Keras, though nothing slides here.
    """

    def __init__(self, units: int, relu: bool = True):
        super().__init__()
        self.units, self.relu = units, relu

    def build(self, input_shape: tuple[int], init: str, seed: tuple[int, int]) -> None:
        shape = (*input_shape, self.units)
        self.kernel = tf.Variable(initial_weights(shape, init, seed))
        self.bias = tf.Variable(tf.zeros(self.units))
        self.output_shape = (self.units,)
        self.multiply_adds = math.prod(shape)

    def __call__(self, x):
        x = x @ tf.cast(self.kernel, x.dtype) + tf.cast(self.bias, x.dtype)
        return tf.nn.relu(x) if self.relu else x


# ---------------------------------------------------------------------------------------------
# The five networks
# ---------------------------------------------------------------------------------------------

# The filters of each convolution, and the units of each hidden fully connected layer.
NETWORKS = {
    # "a single hidden layer fully connected neural network"
    "mlp":         ([], [512]),
    # "a single convolutional layer (with 24 kernels), followed by 2 fully connected layers"
    "conv1":       ([24], [128, 128]),
    # "I added another convolutional layer, and made both a lot bigger (48 kernels each)"
    "conv2_48":    ([48, 48], [256, 256]),
    # "both convolutional layers a lot bigger, with 128 filters each"
    "conv2_128":   ([128, 128], [256, 256]),
    # "double the fully connected layers' size", "just 64 filters" in the first convolution
    "conv2_fc512": ([64, 128], [512, 512]),
}


def layers_of(config: Config, conv2d: Callable = tf.nn.conv2d) -> list[Layer]:
    """A network's layers, not built yet: one of NETWORKS, changed by its options."""
    filters, hidden = NETWORKS[config.arch]
    layers: list[Layer] = [Scale(config.scaling, config.dtype)]
    for count in filters if config.filters is None else config.filters:
        convolution = Conv2D(count, config.kernel_size, config.stride, conv2d)
        # The textbook's order is bias, ReLU, pooling. But relu(max(x) + b) = max(relu(x + b)), so
        # pooling may come first, for a quarter of the additions; of a mean this is not true.
        layers += {"max": [convolution, MaxPool(), BiasRelu()],
                   "average": [convolution, BiasRelu(), AveragePool()],
                   "none": [convolution, BiasRelu()]}[config.pooling]
    layers.append(Flatten())
    for units in hidden if config.hidden is None else config.hidden:
        layers += [Dropout(config.dropout), Dense(units)] if config.dropout else [Dense(units)]
    return [*layers, Dense(1, relu=False)]


class Network(tf.Module):
    """A network: uint8 images in, one number an image out.

    The output is the logit: its sigmoid is the probability of the positive class (cat). It stops
    short of the sigmoid because the loss is more exact when computed from the logit. Weights and
    the last layer are float32 whatever --dtype says.

    config: its options, see define_flags. conv2d: tf.nn.conv2d, or a faster one that computes the
    same. Raises UserError, with the reason, for options that cannot work together.
    """

    def __init__(self, config: Config, conv2d: Callable = tf.nn.conv2d):
        super().__init__(name=config.arch)
        self.input_size, self.tta = config.input_size, config.tta
        self.layers = layers_of(config, conv2d)
        self.scale = self.layers[0]
        if not any(isinstance(layer, Conv2D) for layer in self.layers) and (
                config.kernel_size, config.stride, config.pooling) != (3, 1, "max"):
            raise UserError(f"--arch={config.arch} has no convolution: --kernel_size, --stride and "
                            "--pooling have nothing to change in it; leave them out")

        shape = (*config.input_size, 3)
        for layer in self.layers:  # each is built for the output of the one before it
            # The kernels so far are counted: another seed for each layer with a kernel.
            layer.build(shape, config.init, seed=(config.seed, len(self.kernels)))
            if min(layer.output_shape) < 1:
                height, width = config.input_size
                raise UserError(
                    f"--input_size={height}x{width} is too small for {config.arch}: its "
                    f"{layer.name} leaves nothing of the {shape[0]}x{shape[1]} before it; use a "
                    "larger one, or a smaller --kernel_size or --stride")
            shape = layer.output_shape
        if config.init == "adapted":
            self.adapt_to_pixels(PIXEL_STD[config.scaling])

    def adapt_to_pixels(self, std: float) -> None:
        """Change He's initial weights in two ways, for pixels of this standard deviation.

        1. From every kernel of the first layer its mean is subtracted, so that it sums to zero, as
           V and H do: for an even grey area its output is zero, however bright the area is.
        2. The kernels of the next two layers are made smaller, both by the same factor. The logits
           become 20 times smaller than He's weights make them for standardised pixels.

        Why smaller: a step of Adam changes every weight by about the learning rate, so small
        weights change faster in proportion. These two layers then learn before the first one does,
        where every change is multiplied by the pixels' brightness. The 20 was chosen by validation,
        among 1, 3 and 20.
        """
        first, *others = self.kernels
        inputs = tuple(range(len(first.shape) - 1))  # every axis but the outputs'
        first.assign(first - tf.reduce_mean(first, inputs))
        for kernel in others[:2]:
            kernel.assign(kernel / (20 * std) ** (1 / len(others[:2])))

    def __call__(self, images, training: bool = False, seed=None):
        """uint8 (n, height, width, 3) -> the logits, float32 (n,).

        training: whether there is dropout. seed: two integers, its random seed; needed in training.
        """
        x = images
        for index, layer in enumerate(self.layers[:-1]):
            if not isinstance(layer, Dropout):
                x = layer(x)  # conv2_fc512: (n, 94, 125, 3), (n, 92, 123, 64), …, (n, 512)
            elif training:
                x = layer(x, tf.random.fold_in(seed, index))  # each draws numbers of its own
        logits = self.layers[-1](tf.cast(x, tf.float32))  # (n, 1)
        return tf.squeeze(logits, axis=1)

    def probability(self, images):
        """The probability of the positive class: uint8 (n, height, width, 3) -> float32 (n,).

        With --tta, test-time augmentation, the mean for an image and its mirror image.
        """
        probability = tf.sigmoid(self(images))
        if self.tta:
            probability = (probability + tf.sigmoid(self(images[:, :, ::-1]))) / 2
        return probability

    @property
    def kernels(self) -> list[tf.Variable]:
        """The kernels of all layers that have one, from the first to the last."""
        return [layer.kernel for layer in self.layers if hasattr(layer, "kernel")]

    @property
    def weight_count(self) -> int:
        return sum(layer.weight_count for layer in self.layers)

    @property
    def multiply_adds(self) -> int:
        """How many multiply-adds one image takes, forward."""
        return sum(layer.multiply_adds for layer in self.layers)

    @property
    def training_multiply_adds(self) -> int:
        """How many multiply-adds one image takes, forward and backward.

        The backward pass multiplies as often as the forward pass for the gradient of the weights,
        and once more for the gradient of the layer's input, which the first layer does not need.
        """
        first = next(layer for layer in self.layers if layer.multiply_adds)
        return 3 * self.multiply_adds - first.multiply_adds


def shapes_only(config: Config) -> Network:
    """The network for its shapes and counts: nothing is computed, and no memory is taken."""
    with tf.Graph().as_default():
        return Network(config)


def load(run_dir: Path) -> Network:
    """The network of a run's best epoch. Raises UserError if the run is not whole, or has none."""
    network = Network(saved_options(run_dir))
    checkpoints.read_best_weights(run_dir, network)
    return network


def check_convolutions(run_dir: Path, config: Config) -> None:
    """Raise UserError unless a network of these options can begin with a run's convolutions.

    It says which flags make it so. Raises UserError for a run without a finished epoch, too.
    """
    def options_of_convolutions(config: Config) -> list[str]:
        filters = [str(layer.filters) for layer in layers_of(config) if isinstance(layer, Conv2D)]
        return [*(f"--{name}={getattr(config, name)}"
                  for name in ("kernel_size", "stride", "pooling", "scaling")),
                f"--filters={','.join(filters)}"]

    run_folder.read_best(run_dir)
    ours, theirs = map(options_of_convolutions, (config, saved_options(run_dir)))
    if "--filters=" in theirs:
        raise UserError(f"--start_from={run_dir} has no convolution to begin with: name another "
                        "run, or leave it out")
    differing = [option for option in theirs if option not in ours]
    if differing:
        raise UserError(f"--start_from={run_dir} has other convolutions than this network: add "
                        f"{' '.join(differing)}")


def copy_convolutions(trained: Network, network: Network) -> None:
    """Give a network the convolutions of a trained one: see check_convolutions."""
    for ours, theirs in zip(network.layers, trained.layers, strict=False):
        if isinstance(ours, Flatten):
            break  # from here on the sizes depend on the image's, and the weights on the classes
        for variable, value in zip(ours.trainable_variables, theirs.trainable_variables,
                                   strict=True):
            variable.assign(value)


# ---------------------------------------------------------------------------------------------
# The options of a network
# ---------------------------------------------------------------------------------------------

def define_flags(values: flags.FlagValues = flags.FLAGS) -> flags.FlagValues:
    """Define a network's options, flags of this script and of train.py; returns `values`."""
    group = dict(module_name="network", flag_values=values)
    flags.DEFINE_enum("arch", "conv2_fc512", list(NETWORKS), "the network", **group)
    flags.DEFINE(cli.SIZE, "input_size", "94x125", "the size that every image is resized to: a "
                 "quarter of the photographs' most common shape", serializer=cli.SIZE, **group)
    flags.DEFINE(cli.COUNTS, "filters", None, "the number of filters of each convolution [the "
                 "network's]", **group)
    flags.DEFINE(cli.COUNTS, "hidden", None, "the number of units of each hidden layer [the "
                 "network's]", **group)
    flags.DEFINE_integer("kernel_size", 3, "height and width of the convolutions' kernels",
                         lower_bound=1, upper_bound=cli.MOST, **group)
    flags.DEFINE_integer("stride", 1, "by how many pixels a kernel moves from one output to the "
                         "next", lower_bound=1, upper_bound=cli.MOST, **group)
    flags.DEFINE_enum("pooling", "max", ["max", "average", "none"], "what each 2x2 block becomes "
                      "after a convolution: its maximum, its mean, or no pooling at all", **group)
    flags.DEFINE_float("dropout", 0.0, "dropout rate before each hidden layer", **group)
    flags.register_validator("dropout", lambda rate: 0 <= rate < 1,
                             "must be at least 0 and below 1", values)
    flags.DEFINE_enum("scaling", "none", ["none", "unit", "standard"], "what the pixels become: "
                      "raw 0..255 as in the article, 0..1, or mean 0 and standard deviation 1 for "
                      "each colour over the training images", **group)
    flags.DEFINE_enum("init", None, list(INITIALIZERS), "the initial weights: Glorot's, as in the "
                      "article; He's, which are made for ReLU; or, adapted, He's, with first "
                      "kernels that sum to zero and smaller next layers [the network's, see "
                      "DEFAULTS in train.py]", **group)
    flags.DEFINE_bool("tta", False, "test-time augmentation: predict the mean of the "
                      "probabilities of an image and its mirror image", **group)
    flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "what the network computes in; "
                      "bfloat16 is faster on processors that have instructions for it, and much "
                      "slower on others", **group)
    flags.DEFINE_integer("seed", 0, "random seed of the initial weights; in training also of the "
                         "split, the order of the images, augmentation and dropout", lower_bound=0,
                         upper_bound=2**31 - 1, **group)
    return values


def options(arch: str, **changes) -> Config:
    """The options of a network as the article has it, but for these changes."""
    defaults = vars(settings.from_flags(define_flags(flags.FlagValues()), "network"))
    return Config(**defaults | {"arch": arch, "init": "glorot"} | changes)


def saved_options(run_dir: Path) -> Config:
    """The options of a run's network. Raises UserError as run_folder.read_config does."""
    values = define_flags(flags.FlagValues())
    return run_folder.read_settings(run_dir, values, "network", never_none=["init"])


# ---------------------------------------------------------------------------------------------
# The command
# ---------------------------------------------------------------------------------------------

@cli.script()
def main(argv: list[str]) -> None:
    chosen = vars(settings.from_flags(flags.FLAGS, "network"))
    for arch in [chosen["arch"]] if flags.FLAGS["arch"].present else NETWORKS:
        config = options(**chosen | {"arch": arch, "init": "glorot"})
        if not any(isinstance(layer, Conv2D) for layer in layers_of(config)):
            config.kernel_size, config.stride, config.pooling = 3, 1, "max"
        Console(width=1000).print(network_pages.layer_table(shapes_only(config)))


if __name__ == "__main__":
    define_flags()
    app.run(main, flags_parser=cli.flags_parser(__doc__, "network"))
