"""How fast is the hand-written loop? Beside Keras, and beside what this machine can do.

    python tools/bench.py                                        # all parts, all networks
    python tools/bench.py --part=training --networks=conv2_48    # one part, one network
    python tools/bench.py --part=loading --data_dir=PHOTOS --json=FILE

The variants of a comparison run in interleaved rounds, each in a process of its own (rounds.py). A
table gives each variant's median, lowest and highest figure, and how many times that figure ours
is: the median of the rounds' ratios. Training is measured in float32, or in bfloat16 with
--dtype=bfloat16.
"""

import contextlib
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
from absl import app, flags
from PIL import Image
from rich.console import Console
from rich.table import Table

import rounds

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
import data  # noqa: E402
from support import class_folders, cli, image_files, machine, settings, split_sizes  # noqa: E402
from support.cli import UserError  # noqa: E402
from support.settings import Config  # noqa: E402

INPUT_SIZE = (94, 125)  # the default of --input_size, whose flag models.py defines

# How much one round does: some seconds' worth of training.
STEPS = {"mlp": 48, "conv1": 36, "conv2_48": 12, "conv2_128": 4, "conv2_fc512": 5}
PREDICTIONS = 50  # one at a time


# ---------------------------------------------------------------------------------------------
# The variants: generators that do a round's work and yield its figure (rounds.py).
# Each imports what it measures in its own process: TensorFlow reads its settings once, when it is
# imported, and the untouched Keras must not get this project's. `config`, where a variant takes it,
# holds settings of train.py.
# ---------------------------------------------------------------------------------------------

def noise_images(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Random images uint8 (count, height, width, 3) with labels float32 (count,)."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (count, *INPUT_SIZE, 3), dtype=np.uint8)
    return pixels, np.resize([1, 0], count).astype(np.float32)


def noise_part(count: int) -> data.Part:
    return data.Part(*noise_images(count), [None] * count)


def config_of(chosen: dict, **changes) -> Config:
    """The settings of train.py with these; the others are its flags' defaults."""
    import train
    defaults = {flag.name: flag.default
                for flag in settings.flags_of(flags.FLAGS, *train.SETTINGS)}
    return Config(**defaults | chosen | changes)


class OnlyTraining:
    """In place of the runs.Run that train.py's loop talks to: it saves nothing."""

    def restore(self, state) -> None:
        pass

    def save_if_due(self, state) -> None:
        pass

    def finish_epoch(self, record: dict, predictions: np.ndarray, state) -> None:
        record |= {"seconds": 0.0, "pictures_per_second": 0.0}


class StepTimer(OnlyTraining):
    """Times the steps of the loop and, after each, one of the compiled step alone.

    The two take turns because the machine changes its speed by more than they differ.
    """

    def __init__(self, step_alone):
        self.step_alone, self.seconds = step_alone, {"ours": 0.0, "our step alone": 0.0}

    def restore(self, state) -> None:
        self.started = time.perf_counter()

    def save_if_due(self, state) -> None:
        trained = time.perf_counter()
        self.step_alone()
        ended = time.perf_counter()
        self.seconds["ours"] += trained - self.started
        self.seconds["our step alone"] += ended - trained
        self.started = ended


def our_training(config: dict, steps: int) -> Iterator[dict]:
    """Images per second of an epoch of train.py's loop: shuffling, gathering, steps.

    Beside it those of the compiled step alone, always on the same batch.
    """
    import models
    import train
    from support import fast_convolution
    from support.tensorflow_setup import tf
    config = config_of(config, epochs=1)
    network = models.Network(config, fast_convolution.conv2d)
    optimizer = train.Adam(network.trainable_variables, config.weight_decay)
    compiled = train.compile_steps(network, optimizer, config)
    part, valid = noise_part(steps * config.batch_size), noise_part(2)
    part.images = tf.constant(part.images)
    dataset = data.Dataset(part, valid, valid, [], np.zeros(3), np.ones(3), ("cat", "dog"))
    batch = part.images[:config.batch_size], tf.constant(part.labels[:config.batch_size])
    with mock.patch.object(train, "compile_steps", lambda *_: compiled):  # once for all rounds
        while True:
            timer = StepTimer(lambda: float(compiled[0](*batch, config.lr, (config.seed, 0))))
            train.train_and_evaluate(config, dataset, timer)
            yield {name: len(part.labels) / spent for name, spent in timer.seconds.items()}


def keras_network(arch: str, lr: float = 1e-5, loss: str = "bce", dtype: str = "float32",
                  tuned: bool = False):
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
    model.compile(tf.keras.optimizers.Adam(lr), "mse" if loss == "mse" else "binary_crossentropy")
    return model


def keras_training(config: dict, tuned: bool, steps: int) -> Iterator[float]:
    """Images per second of Model.fit.

    fit makes its pipeline anew each time it is called, which a training pays once: a round is a
    fit of two epochs, and the second of them is timed.
    """
    model = keras_network(config["arch"], config["lr"], config["loss"], config["dtype"], tuned)
    import tensorflow as tf
    train_images, labels = noise_images(steps * config["batch_size"])
    started, ended = [], []
    clock = tf.keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: started.append(time.perf_counter()),
        on_epoch_end=lambda epoch, logs: ended.append(time.perf_counter()))
    while True:
        model.fit(train_images, labels, config["batch_size"], 2, verbose=0, callbacks=[clock])
        yield len(train_images) / (ended[-1] - started[-1])


def matrix_product(dtype: str, size: int = 4096) -> Iterator[float]:
    """Multiply-adds per second of a product of two large square matrices: the machine's limit."""
    from support.tensorflow_setup import tf
    matrix = tf.cast(tf.random.normal((size, size)), dtype)
    while True:
        started = time.perf_counter()
        for _ in range(3):
            product = matrix @ matrix
        tf.cast(product[0, 0], tf.float32).numpy()
        yield 3 * size ** 3 / (time.perf_counter() - started)


def our_loading(folder: str) -> Iterator[float]:
    """Images per second from files to the uint8 array, as train.py loads them."""
    while True:
        started = time.perf_counter()
        source = class_folders.choose(folder)
        valid_size = len(source.images) // 4 * 2
        config = Config(train_size=len(source.images) - valid_size, valid_size=valid_size,
                        test_size=0, seed=0, input_size=INPUT_SIZE)
        dataset = data.load_dataset(split_sizes.with_sizes(source, config), config)
        count = len(dataset.train.files) + len(dataset.valid.files)
        yield count / (time.perf_counter() - started)


def article_image(path: Path) -> np.ndarray:
    """One image the article's way: decoded whole, then resized."""
    height, width = INPUT_SIZE
    return np.array(Image.open(path).convert("RGB").resize((width, height)))


def article_loading(folder: str) -> Iterator[float]:
    """Images per second of the article's loop: one after the other, in one thread."""
    while True:
        started = time.perf_counter()
        array = np.array([article_image(path) for path, _ in class_folders.choose(folder).images])
        yield len(array) / (time.perf_counter() - started)


def keras_loading(folder: str) -> Iterator[float]:
    """keras.utils.image_dataset_from_directory, whose folders name the classes."""
    import tensorflow as tf
    while True:
        started = time.perf_counter()
        dataset = tf.keras.utils.image_dataset_from_directory(
            folder, image_size=INPUT_SIZE, batch_size=64, shuffle=False, verbose=False)
        array = np.concatenate([batch.numpy().astype(np.uint8) for batch, _ in dataset])
        yield len(array) / (time.perf_counter() - started)


def train_network(arch: str, run: str) -> None:
    """Train a run for one step: what predict.py reads."""
    folder = Path(run)
    subprocess.run([sys.executable, str(ROOT / "train.py"), f"--arch={arch}", "--epochs=1",
                    f"--data_dir={class_folders.SAMPLE}", "--train_size=2", "--valid_size=2",
                    f"--runs_dir={folder.parent}", f"--name={folder.name}"],
                   check=True, stdout=subprocess.DEVNULL)


def our_predicting(run: str, folder: str) -> Iterator[float]:
    """Images per second from files to probabilities, as predict.py predicts them."""
    import models
    import predict
    network = models.load(Path(run))
    while True:
        started = time.perf_counter()
        paths, _ = predict.list_files([folder])
        count = sum(len(files) for files, _, _ in predict.predictions(network, paths, ""))
        yield count / (time.perf_counter() - started)


def article_predicting(arch: str, folder: str, count: int) -> Iterator[float]:
    """The article's way: one image after the other, each through Model.predict."""
    model = keras_network(arch)
    labeled_images = class_folders.choose(folder).images[:count]
    while True:
        started = time.perf_counter()
        for path, _ in labeled_images:
            model.predict(article_image(path)[None], verbose=0)
        yield len(labeled_images) / (time.perf_counter() - started)


def keras_predicting(arch: str, folder: str) -> Iterator[float]:
    """Keras at its best: image_dataset_from_directory, and Model.predict of all its batches."""
    import tensorflow as tf
    model = keras_network(arch)
    while True:
        started = time.perf_counter()
        dataset = tf.keras.utils.image_dataset_from_directory(
            folder, labels=None, image_size=INPUT_SIZE, shuffle=False, verbose=False)
        yield len(model.predict(dataset, verbose=0)) / (time.perf_counter() - started)


# What bench.py's own process, which never imports TensorFlow, has to know of each network: settings
# of train.py, and the multiply-adds of training on one image.
Facts = dict[str, tuple[dict, int]]


def network_facts(networks: list[str], batch_size: int | None, dtype: str
                  ) -> Iterator[tuple[Facts, dict[str, str]]]:
    """The facts of each network as train.py trains it, and the versions that it is trained with.

    batch_size: if not the network's own.
    """
    import models
    import train
    from support.tensorflow_setup import tf
    facts = {}
    for arch in networks:
        config = {"arch": arch, **train.DEFAULTS[arch], "dtype": dtype}
        config["batch_size"] = batch_size or config["batch_size"]
        network = models.shapes_only(config_of(config))
        facts[arch] = config, network.training_multiply_adds
    yield facts, {"tensorflow": tf.__version__, "keras": tf.keras.__version__,
                  "numpy": np.__version__, "python": platform.python_version()}


# ---------------------------------------------------------------------------------------------
# The parts: each measures, prints its table and returns its figures
# ---------------------------------------------------------------------------------------------

def bench_training(console: Console, facts: Facts, round_count: int) -> dict:
    """Images per second of a training epoch, and its share of the machine's limit."""
    results = {}
    for arch, (config, multiply_adds) in facts.items():
        figures = results[arch] = rounds.interleave({
            "ours": partial(our_training, config, STEPS[arch]),
            "Keras fit": partial(keras_training, config, True, STEPS[arch]),
            "Keras fit, float32, untouched": partial(
                keras_training, {**config, "dtype": "float32"}, False, STEPS[arch]),
            "matrix product": partial(matrix_product, config["dtype"])}, round_count)
        limit = np.divide(figures.pop("matrix product"), multiply_adds)
        figures["as a matrix product"] = limit.tolist()
        print_comparison(console, f"training {arch} in {config['dtype']}, "
                         f"batch {config['batch_size']}, images/s", figures)
    return results


def bench_loading(console: Console, facts: Facts, round_count: int) -> dict:
    """Images per second from files to uint8 arrays."""
    with readable_images() as (folder, what):
        figures = rounds.interleave({
            "ours": partial(our_loading, folder),
            "the article's loop": partial(article_loading, folder),
            "Keras image_dataset_from_directory": partial(keras_loading, folder)}, round_count)
    print_comparison(console, f"loading {what}, images/s", figures)
    return figures


def bench_predicting(console: Console, facts: Facts, round_count: int) -> dict:
    """Images per second from files to probabilities."""
    results = {}
    with readable_images() as (folder, what), tempfile.TemporaryDirectory() as runs:
        for arch in facts:
            run = f"{runs}/{arch}"
            train_network(arch, run)
            results[arch] = rounds.interleave({
                "ours": partial(our_predicting, run, folder),
                "one at a time through Model.predict": partial(
                    article_predicting, arch, folder, PREDICTIONS),
                "Keras predict of a dataset": partial(keras_predicting, arch, folder)}, round_count)
            print_comparison(console, f"predictions of {arch} for {what}, images/s", results[arch])
    return results


@contextlib.contextmanager
def readable_images() -> Iterator[tuple[str, str]]:
    """A temporary folder of images that every variant can read, and what they are."""
    with tempfile.TemporaryDirectory() as folder:
        source = flags.FLAGS.data_dir
        if source is not None:
            count = copy_images(source, Path(folder), classes=flags.FLAGS.classes)
            yield folder, f"{count} of {source}"
        else:
            write_jpegs(Path(folder), 400)
            yield folder, "400 made JPEGs of 500x375"


def copy_images(source: str, folder: Path, most: int = 1000,
                classes: list[str] | None = None) -> int:
    """Copy images of `source` that every variant can read, as many of either class.

    Returns how many: no more than `most`.
    """
    readable = {1: [], 0: []}
    found = class_folders.choose(source, classes).images
    found = [image for image in found if image.path.suffix.lower() != ".webp"]  # Keras cannot
    shapes = image_files.in_threads(data.upright_shape, [image.path for image in found])
    for (path, label), shape in zip(found, shapes, strict=False):
        if not isinstance(shape, image_files.Skipped):
            readable[label].append(path)
        if min(map(len, readable.values())) == most // 2:
            break
    count = min(map(len, readable.values()))
    for label, name in ((1, "cats"), (0, "dogs")):
        (folder / name).mkdir()
        for number, path in enumerate(readable[label][:count]):
            shutil.copyfile(path, folder / name / f"{number}{path.suffix.lower()}")
    return 2 * count


def write_jpegs(folder: Path, count: int) -> None:
    """Images in folders cats and dogs with about as much detail as photographs: smooth noise."""
    generator = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(generator.integers(0, 256, (75, 100, 3), dtype=np.uint8))
        path = folder / ("cats", "dogs")[number % 2] / f"{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        coarse.resize((500, 375), Image.Resampling.BICUBIC).save(path, quality=90)


PARTS = {"training": bench_training, "loading": bench_loading, "predicting": bench_predicting}


def print_comparison(console: Console, title: str, figures: dict[str, list[float]]) -> None:
    """A row for each variant, and how many times its figure ours is."""
    print_table(console, title, ["variant", "median", "lowest", "highest", "ours is"], [
        [name, *(f"{value:.1f}" for value in (np.median(speeds), min(speeds), max(speeds))),
         "" if name == "ours" else f"{ratio(figures['ours'], speeds):.2f} x"]
        for name, speeds in figures.items()])


def print_table(console: Console, title: str, columns: list[str], rows: list[list[str]]) -> None:
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def ratio(ours: list[float], theirs: list[float]) -> float:
    """How many times theirs ours is: the median over the rounds."""
    return float(np.median(np.divide(ours, theirs)))


# ---------------------------------------------------------------------------------------------
# The command
# ---------------------------------------------------------------------------------------------

def define_flags() -> None:
    # Not at the top: variants import this file beside train.py, which has flags of these names.
    data.define_flags()
    for name in ("data_dir", "classes"):  # so that --help shows them, too
        flags.declare_key_flag(name)
    flags.DEFINE_multi_enum("part", list(PARTS), list(PARTS), "what to measure")
    flags.DEFINE_list("networks", list(STEPS), "the networks to measure it of")
    flags.DEFINE_integer("batch_size", None, "pictures per step [the network's, see DEFAULTS in "
                         "train.py]", lower_bound=1)
    flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "what training computes in; "
                      "Keras beside it in its mixed_bfloat16")
    flags.DEFINE_integer("rounds", 5, "how often every variant is measured", lower_bound=1)
    flags.DEFINE_string("json", None, "file that the figures are written to")


@cli.script(rounds.VariantError)
def main(argv: list[str]) -> None:
    chosen = flags.FLAGS
    for arch in chosen.networks:
        if arch not in STEPS:
            raise UserError(f"--networks={arch} is none of the networks: {', '.join(STEPS)}")
    if chosen.data_dir is not None:
        class_folders.choose(chosen.data_dir, chosen.classes)
    if chosen.json:
        open(chosen.json, "a", encoding="utf-8").close()

    console = Console(width=120)
    facts, versions = rounds.run_once(partial(network_facts, chosen.networks, chosen.batch_size,
                                              chosen.dtype))
    results = {"machine": {"processor": processor_name(), "cores": machine.cores(), **versions,
                           "dtype": chosen.dtype}}
    console.print(", ".join(f"{name} {value}" for name, value in results["machine"].items()))
    for part in chosen.part:
        results[part] = PARTS[part](console, facts, chosen.rounds)
        if chosen.json:  # after every part: what follows may be interrupted
            Path(chosen.json).write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def processor_name() -> str:
    """Its name where Linux tells it, else its kind."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    define_flags()
    app.run(main)
