"""What train.py prints: at the start of a run, after each epoch, and at the end."""

from pathlib import Path


def print_start(network, source, dataset, wanted: tuple[int, int], is_sample: bool) -> None:
    """What is about to be trained, on what.

    network, for its numbers; source: a class_folders.Source, of all the images there are; dataset:
    a data.Dataset; wanted: how many images for training and validation; is_sample: whether they are
    the drawn pictures, for want of others.
    """
    if is_sample:
        print("=" * 88)
        print("NO PHOTOGRAPHS in data/: training on the drawn pictures of sample/\n"
              "Get the 25,000 photographs:  python data.py --download")
        print("=" * 88)
    weights = network.weight_count
    print(f"{network.name}: {weights:,} weights ({weights * 4 / 1e6:.0f} MB), "
          f"{network.multiply_adds:,} multiply-adds a picture")
    train, valid, test = (len(part.labels) for part in (dataset.train, dataset.valid, dataset.test))
    to_test = f", {test} to test on" if test else ""
    print(f"{source.folder}: {train} pictures to train on, {valid} to validate on{to_test}, half "
          "of each class")
    print(source)
    if (train, valid) != wanted:
        print(f"  ({wanted[0]} and {wanted[1]} were wanted: there are no more)")
        larger, name = max(zip(source.counts(), source.class_names, strict=True))
        if larger > min(source.counts()):
            print(f"  {larger - (train + valid + test) // 2} of {name} are left out: there are "
                  "fewer of the other class")
    for file, reason in dataset.skipped[:10]:
        print(f"  skipped {file}: {reason}")
    if len(dataset.skipped) > 10:
        print(f"  … {len(dataset.skipped)} skipped in all: config.json lists them")


def print_epoch(record: dict, epochs: int) -> None:
    """record: the epoch's line of metrics.jsonl; epochs: how many there will be."""
    print(f"epoch {record['epoch']:>{len(str(epochs))}}/{epochs}  "
          f"loss {record['train_loss']:.4f}  validation: MSE {record['mse']:.4f}  "
          f"Pearson {pearson_text(record['pearson'])}  "
          f"accuracy {record['best_accuracy']:.1%} at t = {record['threshold']:.1f}  "
          f"({record['seconds']:.1f} s, {record['pictures_per_second']:.0f} pictures/s)",
          flush=True)


def print_end(best: dict, run: Path, class_names: tuple[str, str]) -> None:
    """best: the best epoch's record, with "test" if there are test images."""
    print(f"\nbest epoch: {best['epoch']}, validation MSE {best['mse']:.4f}, "
          f"Pearson {pearson_text(best['pearson'])}")
    print_accuracies(best, class_names)
    print(f"best accuracy {best['best_accuracy']:.1%} at t = {best['threshold']:.1f}")
    if "test" in best:
        test = best["test"]
        print(f"on {test['pictures']} held-out test pictures, at that threshold: "
              f"accuracy {test['accuracy']:.1%}, MSE {test['mse']:.4f}, "
              f"Pearson {pearson_text(test['pearson'])}")
    files = ["config.json", "metrics.jsonl", "predictions.jsonl"] + ["test.json"] * ("test" in best)
    print(f"{run}/: {', '.join(files)}, best/ and model/ (the best epoch's weights and network), "
          "checkpoints/")


def print_evaluation(record: dict, at_threshold: dict, what: str,
                     class_names: tuple[str, str]) -> None:
    """record: all metrics; at_threshold: those at the threshold that the validation chose."""
    print(f"{what}: MSE {record['mse']:.4f}, Pearson {pearson_text(record['pearson'])}")
    print_accuracies(record, class_names)
    print(f"accuracy {at_threshold['accuracy']:.1%} at t = {at_threshold['threshold']:.1f}, the "
          "threshold that the run's validation chose")


def print_accuracies(record: dict, class_names: tuple[str, str]) -> None:
    """The accuracies at the ten thresholds 0.0, 0.1 … 0.9."""
    rule = f"{class_names[0]} if above"
    print(f"{rule}  " + "".join(f"{step / 10:7.1f}" for step in range(10)))
    print(f"{'accuracy':<{len(rule)}}  "
          + "".join(f"{accuracy:7.1%}" for accuracy in record["accuracies"]))


def pearson_text(pearson: float | None) -> str:
    return "undefined (all predictions are equal)" if pearson is None else f"{pearson:.3f}"
