"""What is printed: at the start of a training, after each epoch, at the end; and the census."""

import math
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from absl import flags
from rich.console import Console
from rich.table import Table
from rich.text import Text

from support import settings
from support.cli import printable
from support.settings import Config
from support.split_sizes import TRAIN_SIZE, VALID_SIZE

PURPOSES = {"train": "train on", "valid": "validate on", "test": "test on"}
FEW = 200  # validation pictures, with which an accuracy may be off by seven points
FEW_TO_TRAIN = 1000  # so few that the convolutions had better begin trained: docs/recipes.md


def print_start(network, source, dataset, config: Config, no_photographs: bool,
                in_two_parts: list) -> None:
    """What is about to be trained, on what.

    network, for its numbers; source: a class_folders.Source, of all the images there are; dataset:
    a data.Dataset; no_photographs: whether these are the drawn pictures, for want of others;
    in_two_parts: as used_pictures.in_two_parts returns it.
    """
    if no_photographs:
        print("NO PHOTOGRAPHS in data/: training on the drawn pictures of sample/\n"
              "Get the 25,000 photographs:  python data.py --download\n")
    weights = network.weight_count
    print(f"{network.name}: {weights:,} weights ({weights * 4 / 1e6:.0f} MB), "
          f"{network.multiply_adds:,} multiply-adds a picture")
    counts = {part: len(getattr(dataset, part).labels) for part in PURPOSES}
    cut = {part: count for part, count in counts.items() if count and part not in source.whole}
    sizes = ", ".join(f"{count} to {PURPOSES[part]}" for part, count in cut.items())
    print(f"{source.folder}: {sizes.replace(' to', ' pictures to', 1)}, half of each class")
    print(source)
    print_beside(source)
    missing = [size for part, size in (("train", TRAIN_SIZE), ("valid", VALID_SIZE))
               if part in cut and getattr(config, f"{part}_size") is None and size != cut[part]]
    if missing:
        print(f"  ({' and '.join(map(str, missing))} were wanted: there are no more)")
        (fewer, rare), (more, other) = sorted(zip(source.counts(), source.class_names, strict=True))
        if more > fewer:
            print(f"  {more - sum(cut.values()) // 2} of {other} are left out: there are fewer of "
                  f"the other class\n  to train on more pictures, add some of {rare}")
    if counts["train"] < FEW_TO_TRAIN and not config.start_from and not no_photographs:
        print("  few to train on: --flagfile=recipes/hour.flags --start_from=pretrained begins "
              "with trained convolutions")
    for file, reason in dataset.skipped[:10]:
        print(f"  skipped {printable(file)}: {reason}")
    if len(dataset.skipped) > 10:
        print(f"  ... {len(dataset.skipped)} skipped in all: pictures.jsonl lists them")
    for picture, other in in_two_parts[:3]:
        print(f"  {picture['file']} ({picture['part']}) has the same pixels as {other['file']} "
              f"({other['part']})")
    if in_two_parts:
        print(f"  {len(in_two_parts)} of the pictures that measure the network are in two parts: "
              "the accuracy will be too good; remove the copies")


def print_beside(source) -> None:
    """The parts that have folders of their own, and what is passed over."""
    for part, own in source.whole.items():
        print(f"{own.folder}: all to {PURPOSES[part]}, {own}")
    if source.passed_over:
        print(f"passed over: {', '.join(source.passed_over)}")


def print_epoch(record: dict, epochs: int) -> None:
    """record: the epoch's line of metrics.jsonl; epochs: how many there will be."""
    print(f"epoch {record['epoch']:>{len(str(epochs))}}/{epochs}  "
          f"loss {record['train_loss']:.4f}  validation: loss {record['valid_loss']:.4f}  "
          f"MSE {record['mse']:.4f}  Pearson {pearson_text(record['pearson'])}  "
          f"accuracy {record['best_accuracy']:.1%} at t = {record['threshold']:.1f}  "
          f"({record['seconds']:.1f} s, {record['pictures_per_second']:.0f} pictures/s)",
          flush=True)


# What is shown over the epochs, here and in curves.png: the key in metrics.jsonl and its name.
CURVES = {"train_loss": "training loss", "mse": "validation MSE", "best_accuracy": "accuracy",
          "pearson": "Pearson correlation"}


def print_curves(history: list[dict], best: dict) -> None:
    """CURVES over the epochs, a character an epoch, and a sentence on overfitting.

    history: the lines of metrics.jsonl; best: that of the best epoch. Of more than 60 epochs, 60
    at equal distances, the last one among them.
    """
    if len(history) < 2:
        return
    print()
    shown = [history[round(place)] for place in np.linspace(
        0, len(history) - 1, min(60, len(history)))]
    for key, label in CURVES.items():
        values = [record[key] for record in shown]
        if None not in values:
            print(f"{label:<20} {line_of_eighths(values)}  {values[0]:.3f} to {values[-1]:.3f}")
    if sentence := overfitting_text(history, best):
        print(sentence)


def line_of_eighths(values: list[float]) -> str:
    """Each number as a bar from one eighth to eight; where the terminal has none, in ASCII."""
    unicode = (sys.stdout.encoding or "ascii").lower().startswith("utf")
    characters = "▁▂▃▄▅▆▇█" if unicode else "_.-:=+*#"
    low, spread = min(values), max(values) - min(values) or 1
    return "".join(characters[round(7 * (value - low) / spread)] for value in values)


def overfitting_text(history: list[dict], best: dict) -> str | None:
    """A sentence if the network overfits: None if it does not, or after fewer than 6 epochs.

    It does where validation has not improved for the last third of the epochs, while the training
    loss went on falling.
    """
    epochs, last = len(history), history[-1]
    if epochs < 6 or epochs - best["epoch"] < epochs / 3 or last["train_loss"] >= best[
            "train_loss"]:
        return None
    return (f"The network overfits after epoch {best['epoch']:.0f}: the training loss still falls "
            f"({best['train_loss']:.3f} to {last['train_loss']:.3f}), validation does not improve.")


def print_end(best: dict, history: list[dict], run: Path, valid_size: int,
              class_names: tuple[str, str]) -> None:
    """best: the best epoch's record, with "test" if there are test images; history: of all."""
    print_curves(history, best)
    print(f"\nbest epoch: {best['epoch']}, validation MSE {best['mse']:.4f}, "
          f"Pearson {pearson_text(best['pearson'])}")
    print_accuracies(best, class_names)
    accuracy, threshold = best["best_accuracy"], best["threshold"]
    few = f": {valid_size} validation pictures are few" if valid_size < FEW else ""
    print(f"best accuracy {accuracy:.1%} at t = {threshold:.1f} "
          f"({interval_text(best['accuracy_interval'])}{few})")
    if few and threshold != 0.5 and best["accuracies"][5] > best["accuracy_interval"][0]:
        print(f"On so few, the {best['accuracies'][5]:.1%} at t = 0.5 are no real difference: for "
              "other pictures 0.5 is the better choice")
    if "test" in best:
        test = best["test"]
        print(f"on {test['pictures']} held-out test pictures, at that threshold: "
              f"accuracy {test['accuracy']:.1%} ({interval_text(test['accuracy_interval'])}), "
              f"MSE {test['mse']:.4f}, Pearson {pearson_text(test['pearson'])}")
    else:
        print("The epoch and the threshold were chosen on these pictures, which makes the accuracy "
              "too good: --test_size holds out others")
    print(f"{run}/ holds the run: its metrics, curves.png, and the best epoch's network")


def print_evaluation(record: dict, at_threshold: dict, what: str,
                     class_names: tuple[str, str]) -> None:
    """record: all metrics; at_threshold: those at the threshold that the validation chose."""
    print(f"{what}: MSE {record['mse']:.4f}, Pearson {pearson_text(record['pearson'])}")
    print_accuracies(record, class_names)
    matrix = at_threshold["confusion_matrix"]
    table = Table(box=None, pad_edge=False)
    table.add_column()
    for column in (*(f"predicted {name}" for name in class_names), "recall"):
        table.add_column(Text(column), justify="right")
    for number, (name, row) in enumerate(zip(class_names, matrix, strict=True)):
        table.add_row(Text(name), *map(str, row), share(row[number], sum(row)))
    table.add_row("precision", *(share(column[number], sum(column))
                                 for number, column in enumerate(zip(*matrix, strict=True))))
    Console(width=1000).print(table)
    print(f"accuracy {at_threshold['accuracy']:.1%} "
          f"({interval_text(at_threshold['accuracy_interval'])}) at t = "
          f"{at_threshold['threshold']:.1f}, the threshold that the run's validation chose")


def share(part: int, whole: int) -> str:
    """As a percentage; "-" of nothing."""
    return f"{part / whole:.1%}" if whole else "-"


def interval_text(interval: tuple[float, float]) -> str:
    low, high = interval
    return f"95% interval {100 * low:.1f} to {high:.1%}"


def print_accuracies(record: dict, class_names: tuple[str, str]) -> None:
    """The accuracies at the ten thresholds 0.0, 0.1 … 0.9."""
    rule = f"{class_names[0]} if above"
    print(f"{rule}  " + "".join(f"{step / 10:7.1f}" for step in range(10)))
    print(f"{'accuracy':<{len(rule)}}  "
          + "".join(f"{accuracy:7.1%}" for accuracy in record["accuracies"]))


def pearson_text(pearson: float | None) -> str:
    undefined = "undefined (all predictions or all labels are equal)"
    return undefined if pearson is None else f"{pearson:.3f}"


def print_census(source, shapes, skipped: list) -> None:
    """The most common shapes, what cannot be read, and the input size that the article would take.

    source: a class_folders.Source; shapes: a Counter of (height, width); skipped: the files that
    cannot be decoded, with the reasons.
    """
    print(f"{source.folder}: {len(source.images)} pictures, {source}")
    print_beside(source)
    read = shapes.total()
    looked_at = read + len(skipped)
    print(f"the most common shapes of the first {looked_at} (height x width):")
    for (height, width), count in shapes.most_common(8):
        print(f"  {height:5} x {width:<5} {count:6}  {count / read:6.1%}")
    print(f"unreadable: {len(skipped)}"
          + (f" of the first {looked_at}" if looked_at < len(source.all_images()) else ""))
    for path, reason in skipped:
        print(f"  {printable(path)}: {reason}")
    quarters: Counter = Counter()
    for (height, width), count in shapes.items():
        quarters[math.ceil(height / 4), math.ceil(width / 4)] += count
    for (height, width), count in quarters.most_common(1):
        print("the article's rule, a quarter of the most common shape: "
              f"--input_size={height}x{width} ({count} of the {read}, within a few pixels)")


def settings_line(config: Config, replicas: int) -> str:
    """The settings that matter, and the others that are not the flags' defaults, on one line."""
    parts = [f"Adam, lr {config.lr:g}, loss {config.loss}, batch {config.batch_size}, "
             f"{config.epochs} epochs, init {config.init}, seed {config.seed}, {config.dtype}"]
    parts += [f"{flag.name} {flag.value}"
              for flag in settings.flags_of(flags.FLAGS, "network", "training", "augmentation")
              if flag.value != flag.default and flag.name not in (
                  "arch", "lr", "loss", "batch_size", "epochs", "init", "seed", "dtype")]
    if replicas > 1:
        parts.append(f"{replicas} replicas")
    return ", ".join(parts)
