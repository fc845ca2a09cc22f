"""How fast is the hand-written loop? Beside Keras, and beside what this machine can do.

    python tools/bench.py                        # all five networks
    python tools/bench.py --networks=conv2_48    # one of them

The variants of a comparison run in interleaved rounds (A B C, A B C, …), each time in a process of
its own: what else this machine does meanwhile slows all of them alike, and none gets the settings
or the memory of another. A table gives each variant's median, lowest and highest figure, in images
per second, and how many times that figure ours is: the median of the rounds' ratios.
"""

import multiprocessing
import os
import platform
import re
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from absl import app, flags
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
import data  # noqa: E402
from support import cli, machine, settings  # noqa: E402
from support.cli import UserError  # noqa: E402
from support.settings import Config  # noqa: E402

INPUT_SIZE = (94, 125)  # the default of --input_size, whose flag models.py defines

STEPS = {"mlp": 48, "conv1": 36, "conv2_48": 12, "conv2_128": 4, "conv2_fc512": 5}  # of a round


def interleave(variants: dict[str, Callable[[], float]], count: int) -> dict[str, list[float]]:
    """Each variant's figures of `count` rounds.

    A process imports its variant by name: it is a function of a module, or a partial of one. Raises
    UserError, which names the variant, if one fails or is killed.
    """
    figures = {name: [] for name in variants}
    for _ in range(count):
        for name, variant in variants.items():
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), be_quiet) as process:
                try:
                    figures[name].append(process.submit(variant).result())
                except Exception as error:
                    raise UserError(f"{name}: {type(error).__name__}: {error}") from error
    return figures


def be_quiet() -> None:
    """In a variant's process: nothing that it prints is shown."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)
    os.dup2(devnull, 2)


# ---------------------------------------------------------------------------------------------
# The variants. Each imports what it measures in its own process: TensorFlow reads its settings
# once, when it is imported, and the untouched Keras must not get this project's.
# ---------------------------------------------------------------------------------------------

def noise_images(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Random images uint8 (count, height, width, 3) with labels float32 (count,)."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (count, *INPUT_SIZE, 3), dtype=np.uint8)
    return pixels, np.resize([1, 0], count).astype(np.float32)


def config_of(arch: str, **changes) -> Config:
    """The network's settings in train.py, but for these changes."""
    import train
    defaults = vars(settings.from_flags(flags.FLAGS, *train.SETTINGS))
    return Config(**defaults | {"arch": arch} | train.DEFAULTS[arch] | changes)


def our_training(arch: str, batch_size: int, dtype: str, steps: int) -> float:
    """train.py's loop: shuffling, gathering, steps. Of two epochs the second is timed."""
    import train
    config = config_of(arch, batch_size=batch_size, dtype=dtype, epochs=2)
    part, valid = (data.Part(*noise_images(count), [None] * count)
                   for count in (steps * batch_size, 2))
    dataset = data.Dataset(part, valid, valid, [], ("cat", "dog"))
    moments: list[float] = []

    def finish_epoch(record: dict, *_) -> None:
        record |= {"seconds": 0.0, "pictures_per_second": 0.0}
        moments.append(time.perf_counter())

    # It stands in for the runs.Run that the loop talks to, and saves nothing.
    run = SimpleNamespace(restore=lambda state: None, finish_epoch=finish_epoch,
                          save_if_due=lambda state: moments.append(time.perf_counter()))
    train.train_and_evaluate(config, dataset, run)
    # From the end of epoch 1 to the last step.
    return len(part.labels) / (moments[2 * steps] - moments[steps])


def keras_network(arch: str, dtype: str = "float32", tuned: bool = False):
    """The article's network, as today's Keras has it; tuned: with our settings of TensorFlow."""
    if tuned:
        import support.tensorflow_setup  # noqa: F401  before Keras imports TensorFlow
    import tensorflow as tf
    tf.keras.config.set_dtype_policy("mixed_bfloat16" if dtype == "bfloat16" else "float32")
    layers = tf.keras.layers
    filters, hidden = {"mlp": ((), (512,)), "conv1": ((24,), (128, 128)),
                       "conv2_48": ((48, 48), (256, 256)), "conv2_128": ((128, 128), (256, 256)),
                       "conv2_fc512": ((64, 128), (512, 512))}[arch]
    stack = [tf.keras.Input((*INPUT_SIZE, 3))]
    for count in filters:
        stack += [layers.Conv2D(count, 3, activation="relu"), layers.MaxPooling2D()]
    stack += [layers.Flatten()] + [layers.Dense(units, activation="relu") for units in hidden]
    stack += [layers.Dense(1, activation="sigmoid", dtype="float32")]
    model = tf.keras.Sequential(stack)
    model.compile(tf.keras.optimizers.Adam(1e-5), "mse" if arch == "mlp" else "binary_crossentropy")
    return model


def keras_training(arch: str, batch_size: int, dtype: str, steps: int, tuned: bool) -> float:
    """Model.fit. Of two epochs the second is timed: in the first, fit makes its pipeline."""
    model = keras_network(arch, dtype, tuned)
    import tensorflow as tf
    train_images, labels = noise_images(steps * batch_size)
    moments: list[float] = []
    clock = tf.keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: moments.append(time.perf_counter()))
    model.fit(train_images, labels, batch_size, 2, verbose=0, callbacks=[clock])
    return len(train_images) / (moments[1] - moments[0])


def matrix_product(arch: str, dtype: str, size: int = 4096) -> float:
    """The machine's limit: as many multiply-adds as training takes, of two square matrices."""
    import models
    from support.tensorflow_setup import tf
    of_an_image = models.shapes_only(models.options(arch)).training_multiply_adds
    matrix = tf.cast(tf.random.normal((size, size)), dtype)
    float((matrix @ matrix)[0, 0])  # the first product takes longer
    started = time.perf_counter()
    for _ in range(3):
        float((matrix @ matrix)[0, 0])
    return 3 * size ** 3 / of_an_image / (time.perf_counter() - started)


def compare(console: Console, arch: str) -> None:
    """Measure a network's training; print a row for each variant."""
    batch_size, dtype = flags.FLAGS.batch_size, flags.FLAGS.dtype
    keras = partial(keras_training, arch, batch_size, steps=STEPS[arch])
    figures = interleave({
        "ours": partial(our_training, arch, batch_size, dtype, STEPS[arch]),
        "Keras fit": partial(keras, dtype=dtype, tuned=True),
        "Keras fit, float32, untouched": partial(keras, dtype="float32", tuned=False),
        "as a matrix product": partial(matrix_product, arch, dtype)}, flags.FLAGS.rounds)
    table = Table("variant", "median", "lowest", "highest", "ours is", title_justify="left",
                  title=f"training {arch} in {dtype}, batch {batch_size}, images/s")
    for name, speeds in figures.items():
        ratio = np.median(np.divide(figures["ours"], speeds))
        table.add_row(name, *(f"{figure(speeds):.1f}" for figure in (np.median, min, max)),
                      f"{ratio:.2f} x")
    console.print(table)


# ---------------------------------------------------------------------------------------------
# The command
# ---------------------------------------------------------------------------------------------

@cli.script()
def main(argv: list[str]) -> None:
    console = Console(width=120)
    named = metadata.packages_distributions()  # TensorFlow's distributions have several names
    cpu = Path("/proc/cpuinfo")  # of Linux; elsewhere the processor's kind has to do
    names = re.findall(r"model name\s*: (.*)", cpu.read_text("utf-8")) if cpu.exists() else []
    console.print(f"{machine.cores()} cores of {names[0] if names else platform.machine()}, "
                  + ", ".join(f"{name} {metadata.version(named[name][0])}"
                              for name in ("tensorflow", "keras", "numpy")))
    for arch in flags.FLAGS.networks:
        compare(console, arch)


if __name__ == "__main__":
    # Not at the top: variants import this file beside train.py, which has flags of these names.
    flags.DEFINE_multi_enum("networks", list(STEPS), list(STEPS), "the networks to train")
    flags.DEFINE_integer("batch_size", 32, "pictures per step", lower_bound=1)
    flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "what training computes in; "
                      "Keras beside it in its mixed_bfloat16")
    flags.DEFINE_integer("rounds", 5, "how often every variant is measured", lower_bound=1)
    app.run(main, flags_parser=cli.flags_parser(__doc__))
