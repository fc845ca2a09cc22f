"""tf.nn.conv2d with the same numbers, whose kernel gradient is faster on a CPU without AVX-512."""

import functools
import itertools

import numpy as np

from support.tensorflow_setup import tf

# Up to so many places of an image's output, one product for all images is faster than one for each:
# a step of recipes/hour.flags takes 0.87 of the time, on two cores of an AMD EPYC (AVX2).
FEW_PLACES = 300


@functools.cache
def own_gradient_is_faster() -> bool:
    """Whether this machine trains faster with the gradient below than with TensorFlow's own.

    On a graphics card TensorFlow's own is faster, and on a processor with AVX-512: on two cores of
    an Intel Xeon it trained the article's networks 1.15 to 1.3 times as fast as ours in float32. On
    two of an AMD EPYC, which has only AVX2, its kernel gradient took more than twice the time of
    ours for conv2_128.
    """
    extensions = np.show_config(mode="dicts")["SIMD Extensions"]
    names = {*extensions.get("baseline", ()), *extensions.get("found", ())}
    has_avx512 = any(name == "X86_V4" or name.startswith("AVX512") for name in names)
    return not (has_avx512 or tf.config.list_physical_devices("GPU"))


def conv2d(x, kernel, strides: int, padding: str):
    """tf.nn.conv2d, with a gradient of our own where that is faster."""
    convolution = with_own_gradient if own_gradient_is_faster() else tf.nn.conv2d
    return convolution(x, kernel, strides, padding)


def with_own_gradient(x, kernel, strides: int, padding: str):
    """tf.nn.conv2d with a gradient of our own, which is right for the padding "VALID" only.

    x (n, height, width, channels), kernel (size, size, channels, filters) -> (n, rows, columns,
    filters).
    """
    @tf.custom_gradient
    def convolution(x, kernel):
        y = tf.nn.conv2d(x, kernel, strides, padding)

        def gradients(dy):
            # Back through the kernel, to the inputs that each output was summed from.
            dx = tf.nn.conv2d_transpose(dy, kernel, tf.shape(x), strides, padding)
            return dx, kernel_gradient(x, dy, kernel.shape, strides)

        return y, gradients

    return convolution(x, kernel)


def kernel_gradient(x, dy, kernel_shape: tuple[int, int, int, int], stride: int):
    """The gradient of a convolution's kernel, from its input x and its output's gradient dy.

    Each weight of a kernel was multiplied by one shifted copy of the input, so its gradient is
    that copy times dy, summed over all places of all images: for all channels and filters at once
    a matrix product for each shift and image, then the sum over the images. With few places
    (FEW_PLACES) it is a single product for all images.
    """
    size, _, channels, filters = kernel_shape
    _, rows, columns, _ = dy.shape
    # The products' number, and how many places each of them sums.
    products = [1, -1] if rows * columns <= FEW_PLACES else [-1, rows * columns]
    dy = tf.reshape(dy, [*products, filters])

    def shifted(row: int, column: int):  # what the kernel's weight at (row, column) multiplied
        return x[:, row:row + stride * (rows - 1) + 1:stride,
                 column:column + stride * (columns - 1) + 1:stride]

    def product(copy):
        copy = tf.reshape(copy, [*products, copy.shape[-1]])
        sums = tf.matmul(copy, dy, transpose_a=True)  # (products, channels, filters)
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
