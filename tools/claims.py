"""The table of docs/the-article-measured.md: what the article says, measured on photographs.

    python tools/claims.py --data_dir=PHOTOS               # the first ten claims
    python tools/claims.py --data_dir=PHOTOS --claims=2,5  # some of them
    python tools/claims.py --data_dir=PHOTOS --claims=11 --test_dir=OTHERS

Trains every network that a claim speaks of three times with train.py, with the random seeds 0 to
2, into runs/claims/, and prints a table in Markdown: the claim, what was measured, and whether it
holds. Stop it whenever you like; started again, it resumes. An accuracy is that on 1024 held-out
test images, the mean of the three runs, unless the row says something else. Where two trainings
are compared, "not significant" is the verdict of a paired t-test (p < 0.05). Claim 11 trains on up
to 15,000 photographs of --data_dir, and tests on all of another folder, --test_dir.
"""

import contextlib
import dataclasses
import itertools
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from absl import app, flags

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
import metrics  # noqa: E402
import models  # noqa: E402
from support import cli, run_folder  # noqa: E402
from support.cli import UserError  # noqa: E402

SEEDS = range(3)
# The paired t-test: three differences, one a seed, are significant if their mean is more than so
# many times its standard error, either way. Chance alone gets there once in twenty times: p < 0.05
# of Student's t with two degrees of freedom.
T_CRITICAL = 4.30

# ---------------------------------------------------------------------------------------------
# What is trained: each training is a name and train.py's flags
# ---------------------------------------------------------------------------------------------

SMALL = ("--input_size=47x63", "--test_size=1024")  # a quarter of the pixels, otherwise as ever
SHORT = ("--input_size=32x43", "--scaling=standard", "--init=he", "--schedule=onecycle",
         "--lr=1.5e-3", "--batch_size=64", "--flip", "--shift=2")
MINUTE = (*SHORT, "--epochs=11", "--test_size=1024")
RATES = ("1e-6", "1e-5", "1e-4", "1e-3")
DEPTHS = ("512", "512,512", "512,512,512")
# How many photographs claim 11 trains on: for how many epochs. Always some 1,400 steps, so that
# every training takes as long, and the small sets are not the ones that learn least.
SIZES = {1024: 88, 2048: 44, 4096: 22, 8192: 11, 15000: 6}

TRAININGS: dict[str, tuple[str, ...]] = {}
for scaling in ("none", "standard"):
    for hidden, loss in itertools.product(DEPTHS, ("mse", "bce")):
        TRAININGS[f"mlp-{hidden}-{loss}-{scaling}"] = (
            *SMALL, "--arch=mlp", f"--hidden={hidden}", f"--loss={loss}", f"--scaling={scaling}")
    for arch, rate in itertools.product(("mlp", "conv1"), RATES):
        TRAININGS[f"{arch}-{rate}-{scaling}"] = (
            *SMALL, f"--arch={arch}", "--init=glorot", f"--lr={rate}", "--epochs=5",
            f"--scaling={scaling}")
for arch in models.NETWORKS:
    TRAININGS[f"minute-{arch}"] = (*MINUTE, f"--arch={arch}")
for arch, (size, epochs) in itertools.product(("conv1", "conv2_48", "conv2_128"), SIZES.items()):
    TRAININGS[f"size-{arch}-{size}"] = (
        *SHORT, f"--arch={arch}", f"--train_size={size}", "--valid_size=1024",
        f"--epochs={epochs}")
for name, changes in {
    "48-512": ("--hidden=512,512",),
    "128-512": ("--arch=conv2_128", "--hidden=512,512"),
    "128-64": ("--arch=conv2_fc512", "--filters=128,64"),
    "average": ("--pooling=average",), "no pooling": ("--pooling=none",),
    "kernel 5": ("--kernel_size=5",), "stride 2": ("--stride=2",),
    "0 to 1": ("--scaling=unit",), "raw": ("--scaling=none", "--init=adapted"),
}.items():
    TRAININGS[f"minute-{name.replace(' ', '_')}"] = (*MINUTE, "--arch=conv2_48", *changes)
TRAININGS["article-conv2_48"] = (*SMALL, "--arch=conv2_48", "--lr=1e-6", "--init=glorot",
                                 "--batch_size=64", "--epochs=15")


class Runs:
    """The finished runs of the trainings, in a folder; one a seed."""

    def __init__(self, folder: Path):
        self.folder = folder

    def of(self, training: str) -> list[Path]:
        return [self.folder / f"{training}-{seed}" for seed in SEEDS]

    def accuracies(self, training: str) -> np.ndarray:
        """On the test images, at the threshold that validation chose: one a seed."""
        return np.array([run_folder.read_test(run)["accuracy"] for run in self.of(training)])

    def mean(self, training: str) -> float:
        return float(self.accuracies(training).mean())

    def gains(self, training: str, over: str) -> np.ndarray:
        """How much more accurate one training is than another: one a seed, on the same images."""
        return self.accuracies(training) - self.accuracies(over)

    def epochs(self, trainings: Iterable[str]) -> list[dict]:
        """The validation of every epoch."""
        return [record for training in trainings for run in self.of(training)
                for record in run_folder.read_history(run)]


def verdict(gains: np.ndarray) -> str:
    """Whether the gains, one a seed, are above zero, below zero, or not significant."""
    error = gains.std(ddof=1) / len(gains) ** 0.5
    if abs(gains.mean()) <= T_CRITICAL * error or not gains.any():
        return "not significant"
    return "holds" if gains.mean() > 0 else "does not hold"


def combined(verdicts: Iterable[str]) -> str:
    """One verdict of several."""
    verdicts = set(verdicts)
    return verdicts.pop() if len(verdicts) == 1 else "holds in part"


def points(gains: np.ndarray) -> str:
    """'+1.2 points (0.3 to 2.0)'."""
    return (f"{100 * gains.mean():+.1f} points ({100 * gains.min():+.1f} to "
            f"{100 * gains.max():+.1f})")


# ---------------------------------------------------------------------------------------------
# The claims: each gives what was measured, in a few words, and the verdict
# ---------------------------------------------------------------------------------------------

def fewer_weights(runs: Runs) -> tuple[str, str]:
    network = models.shapes_only(models.options("conv1"))
    layer = next(layer for layer in network.layers if isinstance(layer, models.Conv2D))
    inputs = int(np.prod(network.layers[0].output_shape))
    dense = (inputs + 1) * int(np.prod(layer.output_shape))
    weights = layer.weight_count + layer.output_shape[-1]  # a bias a filter
    return (f"the convolution of `conv1` has {weights:,} weights; a fully connected layer with as "
            f"many outputs would have {dense / 1e9:.1f} billion",
            "holds" if weights < dense / 100 else "does not hold")


def mlp_guesses(runs: Runs) -> tuple[str, str]:
    means = {(hidden, loss, scaling): runs.mean(f"mlp-{hidden}-{loss}-{scaling}")
             for hidden, loss in itertools.product(DEPTHS, ("mse", "bce"))
             for scaling in ("none", "standard")}
    article = means.pop((DEPTHS[0], "mse", "none"))

    def between(*kind: str) -> str:
        found = [mean for name, mean in means.items() if set(kind) <= set(name)]
        return f"{min(found):.1%} to {max(found):.1%}"

    return (f"the article's: {article:.1%}. With 2 or 3 hidden layers {between('mse', 'none')}, "
            f"with cross-entropy {between('bce', 'none')}, on standardised pixels "
            f"{between('standard')}",
            "does not hold" if article > 0.53 else
            "holds" if max(means.values()) < 0.53 else "holds in part: others did perform better")


def constant_predictions(runs: Runs) -> tuple[str, str]:
    labels = [1, 0]
    always = {prediction: metrics.mean_squared_error([prediction] * 2, labels)
              for prediction in (0, 0.5)}
    return (f"always 0: {always[0]:.2f}, but always 0.5: {always[0.5]:.2f}. The article's 0.36 and "
            "0.33 are better than always 0 and worse than always 0.5", "holds in part")


def smaller_rate(runs: Runs) -> tuple[str, str]:
    measured, best = [], {}
    for scaling, pixels in (("none", "raw"), ("standard", "standardised")):
        for arch in ("conv1", "mlp"):
            means = {rate: runs.mean(f"{arch}-{rate}-{scaling}") for rate in RATES}
            best[arch, scaling] = float(max(means, key=means.get))
            measured.append(f"`{arch}`, {pixels}: " + ", ".join(
                f"{mean:.1%}" for mean in means.values()))
    smaller = best["mlp", "standard"] / best["conv1", "standard"] > 9
    raw = best["conv1", "standard"] / best["conv1", "none"] > 9
    return (f"at {', '.join(RATES)}. " + "; ".join(measured),
            "holds" if smaller else
            "does not hold: raw pixels need it, not ReLU" if raw else "does not hold")


def more_convolutions(runs: Runs) -> tuple[str, str]:
    order = ("mlp", "conv1", "conv2_48", "conv2_128")
    verdicts = [verdict(runs.gains(f"minute-{larger}", f"minute-{smaller}"))
                for smaller, larger in itertools.pairwise(order)]
    return (", ".join(f"`{arch}` {runs.mean(f'minute-{arch}'):.1%}" for arch in order),
            combined(verdicts) + (f" ({', '.join(verdicts)})" if len(set(verdicts)) > 1 else ""))


def units_or_filters(runs: Runs) -> tuple[str, str]:
    base = "minute-conv2_48"
    filters = runs.gains("minute-conv2_128", base)
    units = runs.gains("minute-48-512", base)
    both = runs.gains("minute-128-512", base)
    return (f"against 48 filters and 256 units: 128 filters {points(filters)}, 512 units "
            f"{points(units)}, both {points(both)}", verdict(units - filters))


def a_precision(runs: Runs) -> tuple[str, str]:
    precisions, accuracies = [], []
    for run in runs.of("article-conv2_48"):
        _, predictions, labels = run_folder.read_predictions(run)
        precisions.append(labels[metrics.predicted_labels(predictions, 0.9)].mean())
        accuracies.append(metrics.best_accuracy(predictions, labels)[0])
    precision, accuracy = np.mean(precisions), np.mean(accuracies)
    near = "holds in part" if abs(accuracy - 0.61) < 0.03 else "does not hold"
    return (f"of the pictures predicted cat at 0.9, {precision:.1%} are cats: that is what the 61% "
            f"is. Best validation accuracy of the ten thresholds: {accuracy:.1%}", near)


def accuracy_by_pearson(runs: Runs) -> tuple[str, str]:
    epochs = runs.epochs(CLAIMS[8].trainings)
    pairs = np.array([(epoch["pearson"], epoch["best_accuracy"]) for epoch in epochs
                      if epoch["pearson"] is not None])
    correlation, accuracy = pairs.T
    by_pearson = accuracy[abs(correlation - 0.42) < 0.01]
    by_accuracy = correlation[abs(accuracy - 0.75) < 0.005]
    if not (by_pearson.size and by_accuracy.size):
        return f"none of {len(pairs)} epochs is near either", "undecided"
    return (f"validation after {len(pairs)} epochs of the convolutional networks: a correlation of "
            f"0.41 to 0.43 goes with {by_pearson.mean():.1%} ({by_pearson.min():.1%} to "
            f"{by_pearson.max():.1%}), and 75% with {by_accuracy.mean():.2f} "
            f"({by_accuracy.min():.2f} to {by_accuracy.max():.2f})",
            "holds" if by_pearson.min() <= 0.75 <= by_pearson.max() else "does not hold")


def smaller_first(runs: Runs) -> tuple[str, str]:
    gains = runs.gains("minute-conv2_fc512", "minute-128-64")
    return (f"`conv2_fc512` with 64 and 128 filters {runs.mean('minute-conv2_fc512'):.1%}, with "
            f"128 and 64 {runs.mean('minute-128-64'):.1%}: {points(gains)}", verdict(gains))


EXPERIMENTS = {  # what the article closes with, each against conv2_48
    "mean pooling": "minute-average", "no pooling": "minute-no_pooling",
    "5x5 kernels": "minute-kernel_5", "stride 2": "minute-stride_2",
    "pixels 0 to 1": "minute-0_to_1", "raw pixels": "minute-raw"}


def future_work(runs: Runs) -> tuple[str, str]:
    base = "minute-conv2_48"
    gains = {name: runs.gains(training, base) for name, training in EXPERIMENTS.items()}
    better = [name for name, gain in gains.items() if verdict(gain) == "holds"]
    worse = [name for name, gain in gains.items() if verdict(gain) == "does not hold"]
    return (f"against `conv2_48` with {runs.mean(base):.1%}: "
            + ", ".join(f"{name} {100 * gain.mean():+.1f}" for name, gain in gains.items()),
            f"better: {', '.join(better) or 'none'}; worse: {', '.join(worse) or 'none'}; the "
            "others: not significant")


def photographs_or_network(runs: Runs) -> tuple[str, str]:
    rows = [f"`{arch}` " + ", ".join(f"{runs.mean(f'size-{arch}-{size}'):.1%}" for size in SIZES)
            for arch in ("conv1", "conv2_48", "conv2_128")]
    base = "size-conv2_48-4096"
    photographs = runs.gains("size-conv2_48-15000", base)
    network = runs.gains("size-conv2_128-4096", base)
    return (f"trained on {', '.join(f'{size:,}' for size in SIZES)}: {'; '.join(rows)}. From "
            f"`conv2_48` on 4,096: 15,000 photographs {points(photographs)}, `conv2_128` "
            f"{points(network)}",
            {"holds": "more photographs help more", "does not hold": "a bigger network helps more"
             }.get(verdict(photographs - network), "not significant"))


@dataclasses.dataclass(frozen=True)
class Claim:
    says: str
    method: Callable[[Runs], tuple[str, str]]
    trainings: tuple[str, ...] = ()


def trainings_with(*prefixes: str) -> tuple[str, ...]:
    return tuple(training for training in TRAININGS if training.startswith(prefixes))


CLAIMS = {
    1: Claim("a convolutional layer needs a lot less weights than a fully connected one",
             fewer_weights),
    2: Claim("the MLP guesses at random, with more layers or other losses as well", mlp_guesses,
             trainings_with("mlp-512")),
    3: Claim("an MSE of 0.5 is as good as always predicting 0; 0.36 is a lot better than random "
             "guessing", constant_predictions),
    4: Claim("with ReLU convolutions a much smaller learning rate is needed", smaller_rate,
             trainings_with("mlp-1e", "conv1-1e")),
    5: Claim("one convolution beats the MLP, two beat one, 128 filters beat 48",
             more_convolutions,
             ("minute-mlp", "minute-conv1", "minute-conv2_48", "minute-conv2_128")),
    6: Claim("more units in the fully connected layers help more than more filters",
             units_or_filters,
             ("minute-conv2_48", "minute-conv2_128", "minute-48-512", "minute-128-512")),
    7: Claim("`conv2_48` has a maximum accuracy of 61%", a_precision, ("article-conv2_48",)),
    8: Claim("an accuracy of 75% with a correlation of 42%", accuracy_by_pearson,
             tuple(training for training in TRAININGS
                   if "mlp" not in training and not training.startswith("size"))),
    9: Claim("first layers smaller and deeper ones larger is better", smaller_first,
             ("minute-conv2_fc512", "minute-128-64")),
    10: Claim("other pooling, filter sizes, striding and preprocessing are worth trying",
              future_work, ("minute-conv2_48", *EXPERIMENTS.values())),
    11: Claim("bigger and bigger models, or increase the numbers of photographs to the max",
              photographs_or_network, trainings_with("size")),
}

# ---------------------------------------------------------------------------------------------
# Training what is missing
# ---------------------------------------------------------------------------------------------

def finish(run: Path, data_dir: Path, dtype: str = "float32") -> None:
    """Train a run, or resume it, until it is finished. Exits if train.py fails."""
    training, _, seed = run.name.rpartition("-")
    if (run / "config.json").exists():
        arguments = [f"--resume={run}", f"--data_dir={data_dir}"]
    else:
        if run.exists():  # killed before it wrote that: start again
            if {file.name.removesuffix(".unfinished") for file in run.iterdir()} - {
                    ".lock", "pictures.jsonl", "config.json"}:
                raise UserError(f"{run} has no config.json: put it back, or remove the folder")
            shutil.rmtree(run)
        arguments = [*TRAININGS[training], f"--seed={seed}", f"--data_dir={data_dir}",
                     f"--dtype={dtype}", f"--runs_dir={run.parent}", f"--name={run.name}"]
    process = subprocess.Popen([sys.executable, str(ROOT / "train.py"), *arguments],
                               stdout=subprocess.DEVNULL)
    with forward_signals(process):
        code = process.wait()
    if code:  # it has said why
        sys.exit(code)
    shutil.rmtree(run / "checkpoints")  # six times the weights, for a run that is finished


def evaluate(run: Path, test_dir: Path) -> None:
    """Measure a finished run on all photographs of a folder, and keep that as its test."""
    result = subprocess.run([sys.executable, str(ROOT / "predict.py"), f"--run={run}", "--json",
                             f"--evaluate={test_dir}"], stdout=subprocess.PIPE, text=True)
    if result.returncode:  # it has said why
        sys.exit(result.returncode)
    run_folder.write_records(run / "test.json", [json.loads(result.stdout)])


@contextlib.contextmanager
def forward_signals(process: subprocess.Popen):
    """What ends this process is sent on to that one, which saves; a Ctrl-C goes to both anyway."""
    def forward(number, _):
        if number != signal.SIGINT:
            process.send_signal(number)

    before = {each: signal.signal(each, forward) for each in cli.ending_signals()}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@cli.script()
def main(argv: list[str]) -> None:
    for number in CHOSEN.value:
        if not number.isdecimal() or int(number) not in CLAIMS:
            raise UserError(f"--claims={number} is none of the claims: they are 1 to {len(CLAIMS)}")
    chosen = [int(number) for number in CHOSEN.value]
    data_dir, runs = Path(DATA_DIR.value).resolve(), Runs(Path(RUNS_DIR.value).resolve())
    for flag in (DATA_DIR, TEST_DIR):
        if flag.value is not None and not Path(flag.value).is_dir():
            raise UserError(f"--{flag.name}={flag.value} is not a folder: give that of the "
                            "photographs")
    if 11 in chosen and TEST_DIR.value is None:
        raise UserError("--claims=11 needs a --test_dir: photographs that are not in --data_dir")
    needed = dict.fromkeys(run for number in chosen for training in CLAIMS[number].trainings
                           for run in runs.of(training))
    unfinished = [run for run in needed if not (run / "model").exists()]
    for run in needed:
        if TEST_DIR.value is None and run not in unfinished and not (run / "test.json").exists():
            raise UserError(f"{run} has no test.json: put it back, or remove the folder")
    for number, run in enumerate(unfinished, start=1):
        print(f"{number} of {len(unfinished)}: {run.name}", file=sys.stderr, flush=True)
        finish(run, data_dir, DTYPE.value)
    for run in needed:
        if not (run / "test.json").exists():
            evaluate(run, Path(TEST_DIR.value).resolve())
    print("| | the article says | measured | verdict |\n|---|---|---|---|")
    for number in chosen:
        measured, result = CLAIMS[number].method(runs)
        print(f"| {number} | {CLAIMS[number].says} | {measured} | **{result}** |")
    print(f"\nClaims 2, 4 and 7: pictures of 47x63. Claims 5, 6, 9, 10 and 11: {' '.join(SHORT)}, "
          "whose learning rate was chosen for conv2_48; claim 11 for some 1,400 steps, the others "
          "for 704.")


if __name__ == "__main__":
    CHOSEN = flags.DEFINE_list("claims", [str(number) for number in CLAIMS if number != 11],
                               "the claims' numbers")
    RUNS_DIR = flags.DEFINE(cli.PATH, "runs_dir", "runs/claims", "where the folders of runs go")
    DATA_DIR = flags.DEFINE(cli.PATH, "data_dir", "data", "folder of the photographs")
    TEST_DIR = flags.DEFINE(cli.PATH, "test_dir", None, "folder of other photographs, to test "
                            "claim 11 on")
    DTYPE = flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "what train.py computes "
                              "in")
    app.run(main, flags_parser=cli.flags_parser(__doc__))
