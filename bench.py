"""How fast is the hand-written loop? Beside Keras, and beside what this machine can do.

    python bench.py                                          # all of it
    python bench.py --part=training --networks=conv2_48      # one part, one network
    python bench.py --part=loading --data_dir=PHOTOS --json=FILE

The sides of every comparison take turns, A B C A B C …, each in a process of its own: this
machine's other work disturbs them alike. A table gives each side's median, lowest and highest
figure, and how many times the other side's ours is: the median over the turns.
"""

import contextlib
import functools
import itertools
import json
import math
import multiprocessing
import os
import platform
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

import data
import numpy as np
from absl import app, flags
from PIL import Image
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parent
INPUT_SIZE = (94, 125)

# Steps of training in one turn: some seconds' worth. MEMORY_STEPS: in an epoch, where memory is
# measured. WORKERS_STEPS: steps, and sums of gradients, of several workers.
STEPS = {"mlp": 48, "conv1": 36, "conv2_48": 12, "conv2_128": 4, "conv2_fc512": 5}
MEMORY_STEPS = 4
PREDICTIONS = 50  # in one turn, one at a time
WORKERS_STEPS = 4

Side = Callable[[], Iterator[float | dict]]


# ---------------------------------------------------------------------------------------------
# Sides: generators that do a turn's work and yield its figure. Each lives in its own process and
# imports what it measures there: the settings that models.py makes must not reach all of Keras.
# ---------------------------------------------------------------------------------------------

def made_pictures(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise with labels: how long a step takes does not depend on what it sees."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (count, *INPUT_SIZE, 3), dtype=np.uint8)
    return images, np.resize([1, 0], count).astype(np.float32)


def our_config(arch: str, dtype: str, settings: dict):
    import train
    return train.Config(arch, dtype=dtype, **settings)


def our_steps(config, workers: int = 1):
    """The network, its compiled training step and its evaluation step."""
    import train
    network = config.make_network()
    optimizer = train.Adam(network.trainable_variables)
    return network, *train.compile_steps(network, optimizer, config, workers)


def our_training(arch: str, dtype: str, settings: dict) -> Iterator[dict]:
    """Pictures per second of train.py's epoch: shuffling, feeding, steps; all but the bar.

    Beside it those of the compiled step alone, always on the same batch. After each step of the
    epoch there is one alone: the machine changes its speed by more than they differ.
    """
    import train  # before tensorflow: models.py sets what that reads
    import tensorflow as tf
    config = our_config(arch, dtype, settings)
    _, train_step, _ = our_steps(config)
    images, labels = made_pictures(STEPS[arch] * config.batch_size)
    none = images[:0], labels[:0], []
    dataset = data.Dataset(tf.constant(images), labels, [], *none, *none, [])
    batch = dataset.train_images[:config.batch_size], tf.constant(labels[:config.batch_size])
    for epoch in itertools.count(1):
        seconds = {"ours": 0.0, "our step alone": 0.0}
        started = time.perf_counter()
        for _ in train.train_epoch(train_step, dataset, config, train.Progress(0, epoch)):
            trained = time.perf_counter()
            float(train_step(*batch, config.lr))
            ended = time.perf_counter()
            seconds["ours"] += trained - started
            seconds["our step alone"] += ended - trained
            started = ended
        yield {name: len(images) / spent for name, spent in seconds.items()}


def keras_network(arch: str, lr: float, loss: str):
    """The article's network as its author would write it today."""
    import tensorflow as tf
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
    model.compile(tf.keras.optimizers.Adam(lr),
                  {"mse": "mse", "bce": "binary_crossentropy"}[loss])
    return model


def keras_network_as(dtype: str, arch: str, settings: dict, tuned: bool):
    """keras_network in a precision; tuned: in the environment that models.py makes."""
    if tuned:
        import models  # noqa: F401
    import tensorflow as tf
    tf.keras.config.set_dtype_policy("mixed_bfloat16" if dtype == "bfloat16" else "float32")
    return keras_network(arch, settings["lr"], settings["loss"])


def keras_training(arch: str, dtype: str, settings: dict, tuned: bool) -> Iterator[float]:
    """Pictures per second of Model.fit.

    fit makes its pipeline anew each time it is called, which a training pays once: a turn is a
    fit of two epochs, and the second of them is timed.
    """
    model = keras_network_as(dtype, arch, settings, tuned)
    import tensorflow as tf
    images, labels = made_pictures(STEPS[arch] * settings["batch_size"])
    begun, ended = [], []
    clock = tf.keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: begun.append(time.perf_counter()),
        on_epoch_end=lambda epoch, logs: ended.append(time.perf_counter()))
    while True:
        model.fit(images, labels, settings["batch_size"], epochs=2, verbose=0, callbacks=[clock])
        yield len(images) / (ended[-1] - begun[-1])


def matrix_product(dtype: str) -> Iterator[float]:
    """Multiply-adds per second of a product of two 4096 x 4096 matrices: the machine's limit."""
    import models  # noqa: F401
    import tensorflow as tf
    matrix = tf.cast(tf.random.normal((4096, 4096)), dtype)
    while True:
        started = time.perf_counter()
        for _ in range(3):
            product = matrix @ matrix
        tf.cast(product[0, 0], tf.float32).numpy()
        yield 3 * 4096 ** 3 / (time.perf_counter() - started)


def our_loading(folder: str) -> Iterator[float]:
    """Pictures per second from files to the uint8 array, as train.py loads them."""
    while True:
        started = time.perf_counter()
        pictures = data.find_pictures(Path(folder))
        half = len(pictures) // 2
        dataset = data.load_dataset(pictures, len(pictures) - half + half % 2, half - half % 2, 0,
                                    INPUT_SIZE)
        count = len(dataset.train_files) + len(dataset.valid_files)
        yield count / (time.perf_counter() - started)


def article_loading(folder: str) -> Iterator[float]:
    """The article's loop: one picture after the other, whole, in one thread."""
    height, width = INPUT_SIZE
    while True:
        started = time.perf_counter()
        pictures = data.find_pictures(Path(folder))
        images = np.array([
            np.array(Image.open(picture.path).convert("RGB").resize((width, height)))
            for picture in pictures])
        yield len(images) / (time.perf_counter() - started)


def keras_loading(folder: str) -> Iterator[float]:
    """keras.utils.image_dataset_from_directory, whose folders name the classes."""
    import tensorflow as tf
    while True:
        started = time.perf_counter()
        dataset = tf.keras.utils.image_dataset_from_directory(
            folder, image_size=INPUT_SIZE, batch_size=64, shuffle=False, verbose=False)
        images = np.concatenate([images.numpy().astype(np.uint8) for images, _ in dataset])
        yield len(images) / (time.perf_counter() - started)


def write_network(arch: str, run: str) -> Iterator[None]:
    """What predict.py needs of a run."""
    import models
    models.export(models.Network(arch), 0.5, Path(run, "model"))
    yield


def our_predicting(run: str, folder: str) -> Iterator[float]:
    """Pictures per second from files to probabilities, as predict.py answers."""
    import predict
    model = predict.load_model(Path(run))
    while True:
        started = time.perf_counter()
        paths, _ = predict.find_pictures([folder])
        count = sum(len(files) for files, _, _ in predict.answers(model, paths))
        yield count / (time.perf_counter() - started)


def article_predicting(arch: str, folder: str) -> Iterator[float]:
    """The article's way: one picture after the other, each through Model.predict."""
    height, width = INPUT_SIZE
    model = keras_network(arch, 1e-5, "bce")
    pictures = data.find_pictures(Path(folder))[:PREDICTIONS]
    while True:
        started = time.perf_counter()
        for picture in pictures:
            image = np.array(Image.open(picture.path).convert("RGB").resize((width, height)))
            model.predict(image[None], verbose=0)
        yield len(pictures) / (time.perf_counter() - started)


def keras_predicting(arch: str, folder: str) -> Iterator[float]:
    """Keras at its best: image_dataset_from_directory, and Model.predict of all its batches."""
    import tensorflow as tf
    model = keras_network(arch, 1e-5, "bce")
    while True:
        started = time.perf_counter()
        dataset = tf.keras.utils.image_dataset_from_directory(
            folder, labels=None, image_size=INPUT_SIZE, shuffle=False, verbose=False)
        yield len(model.predict(dataset, verbose=0)) / (time.perf_counter() - started)


def our_memory(arch: str, dtype: str, settings: dict) -> Iterator[dict]:
    """A training process with 4096 + 1024 pictures, an epoch's validation and its saved weights."""
    import train  # before tensorflow: models.py sets what that reads
    import tensorflow as tf
    config = our_config(arch, dtype, settings)
    network, train_step, eval_step = our_steps(config)
    (images, labels), (valid, _) = made_pictures(4096), made_pictures(1024)
    images = tf.constant(images)
    none = np.empty((0, *INPUT_SIZE, 3), np.uint8), labels[:0], []
    seen = MEMORY_STEPS * config.batch_size
    part = data.Dataset(images[:seen], labels[:seen], [], *none, *none, [])
    with tempfile.TemporaryDirectory() as run:
        after = {}
        for epoch in range(1, 11):
            for _ in train.train_epoch(train_step, part, config, train.Progress(0, epoch)):
                pass
            train.predict(eval_step, valid if epoch == 1 else valid[:64], config.batch_size)
            train.write_checkpoint(tf.train.Checkpoint(network=network), Path(run, "best"))
            after[epoch] = {**memory(), "traces": train_step.experimental_get_tracing_count()
                            + eval_step.experimental_get_tracing_count()}
    yield after


def keras_memory(arch: str, dtype: str, settings: dict, tuned: bool) -> Iterator[dict]:
    """The same of Model.fit, predict and save_weights."""
    model = keras_network_as(dtype, arch, settings, tuned)
    (images, labels), (valid, _) = made_pictures(4096), made_pictures(1024)
    with tempfile.TemporaryDirectory() as run:
        after = {}
        for epoch in range(1, 11):
            model.fit(images, labels, settings["batch_size"], steps_per_epoch=MEMORY_STEPS,
                      verbose=0)
            model.predict(valid if epoch == 1 else valid[:64], settings["batch_size"], verbose=0)
            model.save_weights(Path(run, "best.weights.h5"))
            after[epoch] = memory()
    yield after


def our_saving(arch: str, dtype: str, settings: dict) -> Iterator[dict]:
    """Seconds of an epoch of 4096 pictures, from some of its steps, and of all that it saves.

    Checkpoints as often as train.py makes them, and the weights, as if every epoch were the best
    so far.
    """
    import train  # before tensorflow: models.py sets what that reads
    import tensorflow as tf
    config = our_config(arch, dtype, settings)
    network = config.make_network()
    optimizer, progress = train.Adam(network.trainable_variables), train.Progress(config.seed)
    train_step, _ = train.compile_steps(network, optimizer, config)
    weights = tf.train.Checkpoint(network=network)
    everything = tf.train.Checkpoint(network=network, adam=optimizer, progress=progress)
    images, labels = map(tf.constant, made_pictures(config.batch_size))
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:  # where runs/ would be
        while True:
            started = time.perf_counter()
            for _ in range(STEPS[arch]):
                loss = train_step(images, labels, config.lr)
            float(loss)
            trained = time.perf_counter()
            train.write_checkpoint(weights, Path(folder, "best"))
            written = time.perf_counter()
            progress.epoch += 1
            once = train.save(everything, Path(folder))
            epoch = (trained - started) * 4096 / (STEPS[arch] * config.batch_size)
            times = epoch / ((train.PAUSE + 1) * once)  # in an epoch, in the mean
            if once <= train.QUICK:
                times = max(times, 1)
            yield {"epoch": epoch, "saving": times * once + written - trained}


def our_worker(arch: str, dtype: str, settings: dict, addresses: list[str],
               number: int) -> Iterator[dict]:
    """Seconds that one of the workers at these addresses takes: for a step, and for a sum alone.

    The sum is that of the network's gradients over all workers; its latency, that of one number.
    """
    os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": addresses},
                                          "task": {"type": "worker", "index": number}})
    import train  # noqa: F401  before tensorflow: models.py sets what that reads
    import tensorflow as tf
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    config = our_config(arch, dtype, settings)
    images, labels = map(tf.constant, made_pictures(config.batch_size))
    with strategy.scope():
        network, train_step, _ = our_steps(config, len(addresses))

        def sum_of(shapes):
            @tf.function
            def summed():
                def in_replica():
                    numbers = [tf.zeros(shape) for shape in shapes]
                    sums = tf.distribute.get_replica_context().all_reduce("SUM", numbers)
                    return tf.add_n([tf.reshape(each, [-1])[0] for each in sums])
                return strategy.experimental_local_results(strategy.run(in_replica))[0]
            return summed

        works = {"step": functools.partial(train_step, images, labels, config.lr),
                 "sum": sum_of([weight.shape for weight in network.trainable_variables]),
                 "latency": sum_of([()])}
        while True:
            seconds = {}
            for name, work in works.items():
                float(work())  # also: they begin together
                started = time.perf_counter()
                for _ in range(WORKERS_STEPS):
                    float(work())
                seconds[name] = (time.perf_counter() - started) / WORKERS_STEPS
            yield seconds


def memory() -> dict[str, int]:
    """What this process takes now and the most that it has taken, in bytes."""
    with contextlib.suppress(OSError):  # Linux: what getrusage says there begins with the parent's
        lines = Path("/proc/self/status").read_text().splitlines()
        fields = dict(line.split(":") for line in lines)
        return {"now": 1024 * int(fields["VmRSS"].split()[0]),
                "peak": 1024 * int(fields["VmHWM"].split()[0])}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak *= 1 if sys.platform == "darwin" else 1024
    return {"now": peak, "peak": peak}


def cold_start() -> Iterator[float]:
    """Seconds from `python train.py` to the end of its first epoch, which is of one step."""
    while True:
        with tempfile.TemporaryDirectory() as runs:
            command = [sys.executable, str(ROOT / "train.py"), f"--data_dir={data.SAMPLE}",
                       "--train_size=2", "--valid_size=2", "--epochs=1", f"--runs_dir={runs}"]
            started = time.perf_counter()
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                       text=True)
            while not (line := process.stdout.readline()).startswith("epoch 1/1"):
                if not line:
                    raise RuntimeError(f"{' '.join(command)}: {process.communicate()[1]}")
            seconds = time.perf_counter() - started
            process.communicate()
        yield seconds


def facts_of_train(networks: list[str], batch_size: int) -> Iterator[dict]:
    """What the parent, which never imports TensorFlow, has to know of train.py and models.py."""
    import dataclasses

    import models
    import train
    settings = {arch: dataclasses.asdict(train.SETTINGS[arch]) for arch in networks}
    if batch_size:
        settings = {arch: {**own, "batch_size": batch_size} for arch, own in settings.items()}
    yield {
        "dtype": train.faster_dtype(), "settings": settings,
        "multiply_adds": {arch: models.Network(arch).training_multiply_adds for arch in networks},
        "gradient_bytes": {arch: 4 * models.Network(arch).weight_count for arch in networks}}


# ---------------------------------------------------------------------------------------------
# Turns
# ---------------------------------------------------------------------------------------------

def serve(side: Side, pipe) -> None:
    """In a side's process: a turn for every message, silently, until there are no more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    turns = side()
    try:
        while pipe.recv():
            pipe.send(next(turns))
    except (EOFError, KeyboardInterrupt):
        pass
    except Exception as error:
        pipe.send(BenchError(f"{type(error).__name__}: {error}"))
    turns.close()  # its temporary files go


class BenchError(Exception):
    """A side could not do its work."""


@contextlib.contextmanager
def running(side: Side) -> Iterator[Callable[[], object]]:
    """A side in a fresh process; yields the function that lets it take a turn."""
    context = multiprocessing.get_context("spawn")
    ours, its = context.Pipe()
    process = context.Process(target=serve, args=(side, its), daemon=True)
    process.start()
    its.close()  # the process has its own: when it ends, so does the pipe

    def turn():
        try:
            ours.send(True)
            figure = ours.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            process.join()
            raise BenchError(f"it ended with exit code {process.exitcode}"
                             + (": out of memory?" if process.exitcode == -9 else "")) from None
        if isinstance(figure, BenchError):
            raise figure
        return figure

    try:
        yield turn
    finally:
        ours.close()
        process.join(20)
        process.kill()


def take_turns(sides: dict[str, Side], rounds: int) -> dict[str, list[float]]:
    """Each side's figures, a round after the other; the first round only warms up.

    A side that yields a dictionary has several figures: each is kept under its own name.
    """
    figures = {}
    with contextlib.ExitStack() as stack:
        turns = {name: stack.enter_context(running(side)) for name, side in sides.items()}
        for round_ in range(rounds + 1):
            for name, turn in turns.items():
                try:
                    found = turn()
                except BenchError as error:
                    raise BenchError(f"{name}: {error}") from None
                for key, figure in (found if isinstance(found, dict) else {name: found}).items():
                    if round_:
                        figures.setdefault(key, []).append(figure)
    return figures


def once(side: Side):
    """The figure of a side's only turn."""
    with running(side) as turn:
        return turn()


def ratio(ours: list[float], theirs: list[float]) -> float:
    """How many times theirs ours is: the median over the turns."""
    return float(np.median(np.divide(ours, theirs)))


# ---------------------------------------------------------------------------------------------
# Parts: each measures, prints its table and returns its figures
# ---------------------------------------------------------------------------------------------

def print_table(console: Console, title: str, columns: list[str], rows: list[list[str]]) -> None:
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def print_comparison(console: Console, title: str, figures: dict[str, list[float]]) -> None:
    """A row for each side, and how many times its figure ours is."""
    print_table(console, title, ["side", "median", "lowest", "highest", "ours is"],
                [[name, *spread(speeds),
                  "" if name == "ours" else f"{ratio(figures['ours'], speeds):.2f} x"]
                 for name, speeds in figures.items()])


def spread(figures: list[float]) -> list[str]:
    return [f"{value:.1f}" for value in (np.median(figures), min(figures), max(figures))]


def bench_training(console: Console, facts: dict, rounds: int) -> dict:
    """Pictures per second of a training epoch, and its share of the machine's limit."""
    results = {}
    for arch, settings in facts["settings"].items():
        for dtype in dict.fromkeys(["float32", facts["dtype"]]):
            figures = take_turns({
                "ours": functools.partial(our_training, arch, dtype, settings),
                "Keras fit": functools.partial(keras_training, arch, dtype, settings, True),
                "Keras fit, float32, untouched": functools.partial(
                    keras_training, arch, "float32", settings, False),
                "matrix product": functools.partial(matrix_product, dtype)}, rounds)
            limit = np.divide(figures.pop("matrix product"), facts["multiply_adds"][arch])
            figures["as a matrix product"] = limit.tolist()
            results[f"{arch} {dtype}"] = figures
            print_comparison(console, f"training {arch} in {dtype}, "
                             f"batch {settings['batch_size']}, pictures/s", figures)
    return results


def bench_loading(console: Console, facts: dict, rounds: int) -> dict:
    """Pictures per second from files to uint8 arrays."""
    with pictures_to_load() as (folder, what):
        figures = take_turns({
            "ours": functools.partial(our_loading, folder),
            "the article's loop": functools.partial(article_loading, folder),
            "Keras image_dataset_from_directory": functools.partial(keras_loading, folder),
        }, rounds)
    print_comparison(console, f"loading {what}, pictures/s", figures)
    return figures


def bench_predicting(console: Console, facts: dict, rounds: int) -> dict:
    """Pictures per second from files to answers."""
    results = {}
    with pictures_to_load() as (folder, what), tempfile.TemporaryDirectory() as run:
        for arch in facts["settings"]:
            once(functools.partial(write_network, arch, run))
            results[arch] = take_turns({
                "ours": functools.partial(our_predicting, run, folder),
                "one at a time through Model.predict": functools.partial(
                    article_predicting, arch, folder),
                "Keras predict of a dataset": functools.partial(keras_predicting, arch, folder),
            }, rounds)
            print_comparison(console, f"answers of {arch} to {what}, pictures/s", results[arch])
    return results


@contextlib.contextmanager
def pictures_to_load() -> Iterator[tuple[str, str]]:
    """A folder of pictures that every side can read, until it is done with, and what they are."""
    with tempfile.TemporaryDirectory() as made:
        if flags.FLAGS["data_dir"].using_default_value:
            make_jpegs(Path(made), 400)
            yield made, "400 made JPEGs of 500x375"
        else:
            source = Path(data.DATA_DIR.value)
            yield made, f"{link_pictures(source, Path(made))} of {source}"


def link_pictures(source: Path, folder: Path, most: int = 1000) -> int:
    """Links to as many of its cats as of its dogs, that every side can read; how many."""
    kinds = {label: [] for label in data.CLASS_FOLDERS.values()}
    pictures = data.choose_pictures(str(source), typed=True)[1]
    paths = [picture.path for picture in pictures if picture.path.suffix.lower() != ".webp"]
    labels = {picture.path: picture.label for picture in pictures}
    for path, shape in zip(paths, data.in_threads(data.upright_shape, paths)):
        if len(kinds[labels[path]]) < most // 2 and not isinstance(shape, data.Skipped):
            kinds[labels[path]].append(path)
        if min(map(len, kinds.values())) == most // 2:
            break
    count = min(map(len, kinds.values()))
    for label, name in ((data.CAT, "cats"), (data.DOG, "dogs")):
        (folder / name).mkdir()
        for number, path in enumerate(kinds[label][:count]):
            (folder / name / f"{number}{path.suffix.lower()}").symlink_to(path.resolve())
    return 2 * count


def make_jpegs(folder: Path, count: int) -> None:
    """Pictures in folders cats and dogs with about as much detail as photographs: smooth noise."""
    generator = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(generator.integers(0, 256, (75, 100, 3), dtype=np.uint8))
        picture = coarse.resize((500, 375), Image.Resampling.BICUBIC)
        path = folder / ("cats", "dogs")[number % 2] / f"{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        picture.save(path, quality=90)


def bench_memory(console: Console, facts: dict, rounds: int) -> dict:
    """Peak memory of a training process with 4096 + 1024 pictures; whether it grows.

    It hardly varies: every side takes one turn.
    """
    results = {}
    for arch, settings in facts["settings"].items():
        dtype = facts["dtype"]
        sides = {"ours": functools.partial(our_memory, arch, dtype, settings),
                 "Keras fit": functools.partial(keras_memory, arch, dtype, settings, True),
                 "Keras fit, float32, untouched": functools.partial(
                     keras_memory, arch, "float32", settings, False)}
        figures = results[arch] = {name: once(side) for name, side in sides.items()}
        print_table(
            console, f"memory of {arch} in {dtype}, 4096 + 1024 pictures",
            ["side", "peak", "after 2 epochs", "after 10", "growth", "traces after 2, 10"],
            [[name, f"{after[10]['peak'] / 1e9:.2f} GB", f"{after[2]['now'] / 1e9:.2f} GB",
              f"{after[10]['now'] / 1e9:.2f} GB",
              f"{after[10]['now'] / after[2]['now'] - 1:+.1%}",
              f"{after[2]['traces']}, {after[10]['traces']}" if "traces" in after[2] else ""]
             for name, after in figures.items()])
    return results


def bench_checkpoint(console: Console, facts: dict, rounds: int) -> dict:
    """What share of an epoch of 4096 pictures goes into checkpoints."""
    results, rows = {}, []
    for arch, settings in facts["settings"].items():
        side = functools.partial(our_saving, arch, facts["dtype"], settings)
        figures = results[arch] = take_turns({"ours": side}, rounds)
        shares = 100 * np.divide(figures["saving"], figures["epoch"])
        rows.append([arch, *(f"{np.median(figures[part]):.2f}" for part in ("epoch", "saving")),
                     *spread(shares)])
    print_table(console, f"an epoch of 4096 pictures in {facts['dtype']}, and saving in it",
                ["network", "epoch, s", "saving, s", "% of it", "lowest", "highest"], rows)
    return results


def bench_workers(console: Console, facts: dict, rounds: int) -> dict:
    """What a step costs on several machines, from two processes of this one that share its cores.

    Each has a whole batch. Beside it the sum of the gradients alone, and how many workers are worth
    while where two machines have a cable between them, on paper.
    """
    results, rows = {}, []
    for arch, settings in facts["settings"].items():
        count = facts["gradient_bytes"][arch]
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in "01"]
            addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
        alone = take_turns({arch: functools.partial(our_worker, arch, facts["dtype"], settings,
                                                    addresses[:1], 0)}, rounds)
        workers = [functools.partial(our_worker, arch, facts["dtype"], settings, addresses, number)
                   for number in (0, 1)]
        turns = []
        with running(workers[0]) as one, running(workers[1]) as other, ThreadPoolExecutor() as pool:
            for _ in range(rounds + 1):
                both = pool.submit(one), pool.submit(other)
                turns.append(both[0].result())
                both[1].result()
        figures = {name: [turn[name] for turn in turns[1:]] for name in turns[0]}
        results[arch] = {**figures, "step alone": alone["step"]}
        step = float(np.median(alone["step"]))
        medians = {name: float(np.median(seconds)) for name, seconds in figures.items()}
        rows.append([arch, f"{count / 1e6:.1f}", f"{1000 * step:.0f}",
                     f"{1000 * medians['step']:.0f}", f"{1000 * medians['sum']:.0f}",
                     f"{count / medians['sum'] / 1e6:.0f}", f"{1000 * medians['latency']:.1f}",
                     *(str(worthwhile_workers(count, step, gigabits * 1e9 / 8,
                                              settings["batch_size"])) for gigabits in (10, 100))])
    print_table(console, f"two workers on this machine in {facts['dtype']}, milliseconds", [
        "network", "gradient, MB", "step alone", "step of two", "its sum", "MB/s", "latency",
        "workers, 10 Gbit/s", "100 Gbit/s"], rows)
    return results


def worthwhile_workers(gradient_bytes: int, step: float, bandwidth: float, batch_size: int) -> int:
    """Up to how many workers each is at least half as useful as one that computes alone.

    n workers share a batch, which takes one of them `step` seconds, and sum their gradients around
    a ring: each sends, and gets, 2 (n - 1) / n times their bytes. With c = 2 gradient_bytes /
    bandwidth (in bytes a second) they take step / n + c (n - 1) / n, and each is as useful as
    step / (step + c (n - 1)) of one alone: a half at n = 1 + step / c. They cannot be more than the
    pictures of a batch.
    """
    return min(batch_size, math.floor(1 + step * bandwidth / (2 * gradient_bytes)))


def bench_start(console: Console, facts: dict, rounds: int) -> dict:
    """Seconds from a cold `python train.py` to the end of its first step and what follows it."""
    figures = take_turns({"python train.py": cold_start}, rounds)
    print_table(console, "from the command to the end of a first epoch of one step, seconds",
                ["command", "median", "lowest", "highest"],
                [[name, *spread(seconds)] for name, seconds in figures.items()])
    return figures


PARTS = {"training": bench_training, "loading": bench_loading, "predicting": bench_predicting,
         "memory": bench_memory, "checkpoint": bench_checkpoint, "workers": bench_workers,
         "start": bench_start}


def define_flags() -> None:
    # Not at the top: this file is imported in a side's process, where train.py has its own flags.
    flags.DEFINE_multi_enum("part", list(PARTS), list(PARTS), "what to measure")
    flags.DEFINE_list("networks", list(STEPS), "the networks to measure it of")
    flags.DEFINE_integer("batch_size", 0, "pictures per step [0: what train.py gives each network]",
                         lower_bound=0)
    flags.DEFINE_integer("rounds", 5, "turns of every side", lower_bound=1)
    flags.DEFINE_string("json", None, "file that the figures are written to")
    flags.declare_key_flag("data_dir")  # data.py's: --help shows it, too


def main(argv: list[str]) -> None:
    chosen = flags.FLAGS
    if argv[1:]:
        sys.exit(f"bench.py takes flags only, not {argv[1]!r}: see python bench.py --help")
    for arch in chosen.networks:
        if arch not in STEPS:
            sys.exit(f"--networks={arch} is none of the networks: {', '.join(STEPS)}")
    try:
        if not chosen["data_dir"].using_default_value:
            data.choose_pictures(chosen.data_dir, typed=True)
        if chosen.json:
            Path(chosen.json).touch()
        measure(chosen.part, chosen.networks, chosen.batch_size, chosen.rounds, chosen.json)
    except (data.DataError, BenchError) as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except KeyboardInterrupt:
        sys.exit(130)


def measure(parts: list[str], networks: list[str], batch_size: int, rounds: int,
            json_file: str | None) -> None:
    """Run the parts, and keep the figures of each as soon as it has ended."""
    console = Console(width=120)
    machine = {"processor": processor_name(), "cores": os.cpu_count(),
               **{name: metadata.version(name) for name in ("tensorflow", "keras", "numpy")},
               "python": platform.python_version()}
    facts = {}
    if set(parts) - {"loading", "start"}:  # the others look into the networks
        facts = once(functools.partial(facts_of_train, networks, batch_size))
        machine["train.py takes"] = facts["dtype"]
    console.print(", ".join(f"{name} {value}" for name, value in machine.items()))
    results = {"machine": machine}
    for part in parts:
        results[part] = PARTS[part](console, facts, rounds)
        if json_file:
            Path(json_file).write_text(json.dumps(results, indent=2) + "\n")


def processor_name() -> str:
    """Its name where Linux tells it, else its kind."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    define_flags()
    app.run(main)
