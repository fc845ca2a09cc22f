"""Training images that differ in every epoch: mirrored, moved, enlarged or shrunk at random."""

import functools
import math

from support.tensorflow_setup import tf


def augment(images, seed, flip: bool, shift: int, zoom: float):
    """Each image moved, enlarged and mirrored, or not: (n, height, width, 3) -> the same.

    By up to `shift` pixels, and by a factor between 1 / (1 + zoom) and 1 + zoom. A mirrored cat is
    a cat, and so is one a little further left or nearer: with images that differ in every epoch a
    network overfits less. Every pixel is taken from a row and a column of the image; what lies
    beyond its edge is taken from the edge. seed: two integers.
    """
    if not (flip or shift or zoom):
        return images
    batch, height, width = tf.shape(images)[0], images.shape[1], images.shape[2]
    draw = functools.partial(tf.random.stateless_uniform, alg="philox")
    down, right = tf.unstack(draw((2, batch, 1), tf.random.fold_in(seed, -1), -shift, shift + 1,
                                  tf.int32))
    rows, columns = tf.range(height) - down, tf.range(width) - right  # (n, height or width)
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
