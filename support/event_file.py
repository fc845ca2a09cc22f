"""What TensorBoard reads of a run: an event file in the run's folder, a record an epoch."""

import contextlib
import math
import time
from pathlib import Path

import numpy as np

from support.tensorflow_setup import tf

PLURALS = {"cat": "cats", "dog": "dogs"}  # in tags; other classes have the names of their folders


class EventFile(contextlib.AbstractContextManager):
    """A file in the run's folder that TensorBoard reads, closed at the end of the `with`.

    tf.summary.scalar and its siblings refuse to work where TensorBoard is not installed. What they
    write is a TFRecord file of Event messages, and TensorFlow alone can write that: TensorBoard
    may be installed when the run is over.
    """

    def __init__(self, run_dir: Path, first_epoch: int):
        # TensorBoard reads all files with "tfevents" in their name, in the order of the names.
        file = run_dir / f"events.out.tfevents.{time.time_ns()}"
        self.file = tf.io.TFRecordWriter(file.as_posix())
        self.write(0, file_version="brain.Event:2")
        # To TensorBoard: what an earlier start of this run wrote of these epochs is outdated.
        start = tf.compat.v1.SessionLog(status=tf.compat.v1.SessionLog.START)
        self.write(first_epoch, session_log=start)

    def __exit__(self, *_) -> None:
        self.file.close()

    def write(self, epoch: int, **content) -> None:
        event = tf.compat.v1.Event(wall_time=time.time(), step=epoch, **content)
        self.file.write(event.SerializeToString())
        self.file.flush()


def epoch_summary(record: dict, predictions: np.ndarray, labels: np.ndarray,
                  first_kernel: np.ndarray, class_names: tuple[str, str]
                  ) -> tf.compat.v1.Summary:
    """What TensorBoard shows of an epoch, under tags that it groups by their first word.

    record: the epoch's line of metrics.jsonl; predictions and labels: those of the validation
    images, (n,); first_kernel: that of the network's first layer with weights; class_names: those
    of labels 1 and 0. The formats are those of TensorBoard's
    plugins/{scalar,histogram,image}/summary_v2.py.
    """
    positive, negative = (PLURALS.get(name, name) for name in class_names)
    summary = tf.compat.v1.Summary()

    def add(plugin: str, tag: str, content) -> None:
        value = summary.value.add(tag=tag, tensor=tf.make_tensor_proto(content))
        value.metadata.plugin_data.plugin_name = plugin

    scalars = {"training/loss": record["train_loss"], "validation/loss": record["valid_loss"],
               "training/learning_rate": record["learning_rate"],
               "training/pictures_per_second": record["pictures_per_second"]}
    scalars |= {f"validation/{name}": record[name]
                for name in ("mse", "pearson", "best_accuracy", "threshold")}
    for tag, value in scalars.items():
        if value is not None:  # an undefined Pearson
            add("scalars", tag, value)

    for name, label in ((positive, 1), (negative, 0)):
        counts, edges = np.histogram(predictions[labels == label], 20, (0, 1))
        add("histograms", f"predictions/{name}", np.stack([edges[:-1], edges[1:], counts], axis=1))

    if first_kernel.ndim == 4:  # of a convolution: (size, size, 3, filters)
        # A weight of 0 is half bright; one scale for all, up to the largest weight either way.
        brightness = 127.5 + 127.5 * first_kernel / np.abs(first_kernel).max()
        grid = tile(brightness.round().astype(np.uint8).transpose(3, 0, 1, 2))
        height, width, _ = grid.shape
        png = tf.io.encode_png(grid, compression=1).numpy()  # 4 times faster, 6% larger
        add("images", "kernels/first_layer", [b"%d" % width, b"%d" % height, png])
    return summary


def tile(images: np.ndarray) -> np.ndarray:
    """uint8 (n, height, width, 3) as one image: in rows, small ones enlarged, white between."""
    count, height, _, _ = images.shape
    times = max(1, 64 // height)  # so that each of a kernel's weights is a square one can see
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    images = images.repeat(times, axis=1).repeat(times, axis=2)
    images = np.pad(images, ((0, rows * columns - count), (0, 4), (0, 4), (0, 0)),
                    constant_values=255)
    _, height, width, _ = images.shape
    images = images.reshape(rows, columns, height, width, 3).swapaxes(1, 2)
    return images.reshape(rows * height, columns * width, 3)
