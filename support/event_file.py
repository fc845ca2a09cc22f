"""What TensorBoard reads of a run: an event file in the run's folder, a record an epoch.

tf.summary.scalar and its siblings refuse to work where TensorBoard is not installed. What they
write is a TFRecord file of Event messages, and TensorFlow alone can write that: TensorBoard may be
installed when the run is over.
"""

import time
from pathlib import Path

import numpy as np

from support.tensorflow_setup import tf

PLURALS = {"cat": "cats", "dog": "dogs"}  # in tags; other classes have the names of their folders


def start(run_dir: Path, first_epoch: int) -> tf.io.TFRecordWriter:
    """A new file in the run's folder. TensorBoard takes its epochs in place of earlier files'."""
    # TensorBoard reads all files with "tfevents" in their name, in the order of the names.
    file = tf.io.TFRecordWriter((run_dir / f"events.out.tfevents.{time.time_ns()}").as_posix())
    write(file, 0, file_version="brain.Event:2")
    write(file, first_epoch, session_log={"status": tf.compat.v1.SessionLog.START})
    return file


def write(file: tf.io.TFRecordWriter, epoch: int, **content) -> None:
    event = tf.compat.v1.Event(wall_time=time.time(), step=epoch, **content)
    file.write(event.SerializeToString())
    file.flush()


def epoch_summary(record: dict, predictions: np.ndarray, labels: np.ndarray,
                  class_names: tuple[str, str]) -> tf.compat.v1.Summary:
    """What TensorBoard shows of an epoch, under tags that it groups by their first word.

    record: the epoch's line of metrics.jsonl; predictions and labels: those of the validation
    images, (n,); class_names: those of labels 1 and 0. The formats are those of TensorBoard's
    plugins/{scalar,histogram}/summary_v2.py.
    """
    summary = tf.compat.v1.Summary()

    def add(plugin: str, tag: str, content) -> None:
        value = summary.value.add(tag=tag, tensor=tf.make_tensor_proto(content))
        value.metadata.plugin_data.plugin_name = plugin

    keys = {"training/loss": "train_loss", "validation/loss": "valid_loss"}
    keys |= {f"training/{key}": key for key in ("learning_rate", "pictures_per_second")}
    keys |= {f"validation/{key}": key for key in ("mse", "pearson", "best_accuracy", "threshold")}
    for tag, key in keys.items():
        if record[key] is not None:  # an undefined Pearson
            add("scalars", tag, record[key])
    for name, label in zip(class_names, (1, 0), strict=True):
        counts, edges = np.histogram(predictions[labels == label], 20, (0, 1))
        add("histograms", f"predictions/{PLURALS.get(name, name)}",
            np.stack([edges[:-1], edges[1:], counts], axis=1))
    return summary
