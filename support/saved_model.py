"""The export: a trained network as a SavedModel, which TensorFlow runs without this code.

    saved_model.export(models.load(run), threshold, class_names, run / "model")

Load it with `tf.saved_model.load(folder)`, saved_model_cli or TensorFlow Serving: it is for
programs elsewhere, and predict.py reads the same weights from best/. The model has two variables,
`threshold`, float32 (), and `class_names`, string (2,), and two signatures:

    pixels           images: uint8 (n, height, width, 3) -> probability: float32 (n,), that of the
                     first class
    serving_default  image_bytes: string (n,), the contents of n files -> probability, and
                     label: string (n,), the first class's name where the probability is above the
                     threshold, else the second's
"""

import functools
from pathlib import Path

from support import run_folder
from support.tensorflow_setup import tf


def export(network: tf.Module, threshold: float, class_names: tuple[str, str],
           folder: Path) -> None:
    """Write `folder`, a SavedModel of the network, whole or not at all.

    network: a models.Network whose convolutions are tf.nn.conv2d, as models.load returns it: the
    gradient in fast_convolution would have to be exported too, though no prediction takes it.
    """
    size = tuple(network.input_size)  # (height, width)
    image = tf.TensorSpec((*size, 3), tf.uint8)
    module = tf.Module()
    module.network = network
    module.threshold = tf.Variable(threshold, dtype=tf.float32, trainable=False)
    module.class_names = tf.Variable(class_names, dtype=tf.string, trainable=False)

    # Nothing here needs autograph, which would take a second to read it.
    @tf.function(input_signature=[tf.TensorSpec((None, *image.shape), tf.uint8)], autograph=False)
    def pixels(images):
        return {"probability": network.probability(images)}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)], autograph=False)
    def serve(image_bytes):
        images = tf.map_fn(lambda contents: decode_image(contents, size), image_bytes,
                           fn_output_signature=image)
        probability = network.probability(images)
        label = tf.where(probability > module.threshold, *class_names)
        return {"probability": probability, "label": label}

    with run_folder.replacing(folder) as unfinished:
        tf.saved_model.save(module, unfinished.as_posix(),
                            {"pixels": pixels, "serving_default": serve})


# ---------------------------------------------------------------------------------------------
# Decoding files, in TensorFlow's operations: they are exported with the network
# ---------------------------------------------------------------------------------------------

def decode_image(contents, size: tuple[int, int]):
    """A file's contents, a string tensor () -> uint8 (height, width, 3), as data.load_image does.

    JPEG, PNG, GIF, or BMP of at least 24 bits a pixel. Of 255 levels the two differ by one at most,
    because Pillow rounds between resizing rows and columns. One thing is not supported: a single
    colour declared transparent, in a GIF or in a PNG without a palette, stays as it is.
    Raises InvalidArgumentError for what cannot be decoded.
    """
    orientation = orientation_of(contents)
    swapped = tf.reduce_any(orientation == [5, 6, 7, 8])  # rows are stored as columns

    def jpeg():  # at full size, a half, a quarter or an eighth, as in data.load_image
        at_least = tf.where(swapped, size[::-1], size) * 3 // 2
        times = tf.reduce_min(tf.io.extract_jpeg_shape(contents)[:2] // at_least)
        decoders = [functools.partial(tf.io.decode_jpeg, contents, channels=3, ratio=ratio,
                                      dct_method="INTEGER_ACCURATE") for ratio in (1, 2, 4, 8)]
        image = tf.switch_case(tf.reduce_sum(tf.cast(times >= [2, 4, 8], tf.int32)), decoders)
        return tf.cast(image, tf.float32)

    def bmp():
        image = tf.io.decode_bmp(contents)[:, :, :3]  # without opacity
        return tf.cast(tf.ensure_shape(image, (None, None, 3)), tf.float32)

    def png_or_gif():  # of 1 to 4 channels: of an even number the last one is opacity
        image = tf.io.decode_image(contents, expand_animations=False)
        image = tf.cast(tf.ensure_shape(image, (None, None, None)), tf.float32)
        opacity = image[:, :, -1:] / 255
        return tf.cond(tf.shape(image)[2] % 2 == 0,
                       lambda: image[:, :, :-1] * opacity + 255 * (1 - opacity),  # on white
                       lambda: image) * tf.ones(3)  # grey becomes three equal channels

    signature = tf.strings.substr(contents, 0, 2)
    image = tf.case([(signature == b"\xff\xd8", jpeg), (signature == b"BM", bmp)], png_or_gif)
    image = tf.transpose(image, tf.where(swapped, [1, 0, 2], [0, 1, 2]))
    image = tf.image.resize(image, size, antialias=True)  # (height, width, 3)
    image = tf.where(tf.reduce_any(orientation == [2, 3, 6, 7]), image[:, ::-1], image)
    image = tf.where(tf.reduce_any(orientation == [3, 4, 7, 8]), image[::-1], image)
    return tf.cast(tf.round(image), tf.uint8)


def orientation_of(contents):
    """The value of EXIF's tag 0x0112, int32 (): how the camera was held, 1 (upright) to 8.

    Without the tag it is the file's first byte, which is never 1 to 8 and so means upright too.
    """
    # The tag, its type (short), count (one) and value, little-endian or big-endian. Where the
    # expression does not match, regex_replace returns its input, here the start of the file.
    value = tf.strings.regex_replace(
        tf.strings.substr(contents, 0, 4096),
        r"^\C*?Exif\x00\x00\C*?(?:\x12\x01\x03\x00\x01\x00\x00\x00"
        r"|\x01\x12\x00\x03\x00\x00\x00\x01\x00)([\x01-\x08])\C*$", r"\1")
    return tf.cast(tf.io.decode_raw(value, tf.uint8)[0], tf.int32)
