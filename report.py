"""How good are the runs? A table of them beside the article's figures, and pictures of each.

    python report.py runs/*                        # every run beside the article's figures
    python report.py runs/NAME --pictures          # its curves, mistakes and histogram, as pictures
    python report.py runs/* --pictures             # and the curves of all of them in one picture
"""

import sys
from pathlib import Path

from absl import app, flags
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

import metrics
from support import cli, drawing, run_folder, run_pages, summary
from support.cli import UserError

# The article's figures on its validation images; those of mlp, and the MSE of conv2_128, are its
# notebook's. The 61% that it gives for conv2_48 is no accuracy but the precision at threshold 0.9:
# how many of the images predicted cat are cats.
ARTICLE = {
    "mlp": {"mse": 0.50, "best_accuracy": 0.50},
    "conv1": {"mse": 0.36, "pearson": 0.152},
    "conv2_48": {"mse": 0.33, "pearson": 0.21},
    "conv2_128": {"mse": 0.247, "pearson": 0.30, "best_accuracy": 0.67},
    "conv2_fc512": {"pearson": 0.42, "best_accuracy": 0.75},
}


# ---------------------------------------------------------------------------------------------
# The table of runs
# ---------------------------------------------------------------------------------------------

COLUMNS = ("run", "network", "lr", "epoch", "MSE", "article", "Pearson", "article", "accuracy",
           "article", "test", "time", "pictures")

# The settings that change the layers, as they are in the article: a row names those that differ.
LAYERS = {"input_size": [94, 125], "kernel_size": 3, "stride": 1, "pooling": "max",
          "filters": None, "hidden": None}


def row(run_dir: Path) -> list[str]:
    """A run's best epoch beside the article's figures, "-" where the article gives none.

    Raises UserError unless the run is whole.
    """
    record, history = run_folder.read_config(run_dir), run_folder.read_history(run_dir)
    test, best = run_folder.read_test(run_dir), run_folder.read_best(run_dir)
    config, article = record["config"], article_figures(record["config"])
    mse, correlation, accuracy = (
        format(article[key], form) if key in article else "-"
        for key, form in (("mse", ".3f"), ("pearson", ".3f"), ("best_accuracy", ".0%")))
    with run_folder.damage_told(run_dir, "config.json, metrics.jsonl or test.json"):
        layers = [as_flag(name, config[name]) for name, usual in LAYERS.items()
                  if config[name] != usual]
        return [
            run_dir.resolve().name, " ".join([config["arch"], *layers]), f"{config['lr']:g}",
            f"{best['epoch']}/{len(history)}", f"{best['mse']:.3f}", mse,
            "undefined" if best["pearson"] is None else f"{best['pearson']:.3f}", correlation,
            with_interval(best["best_accuracy"], best["accuracy_interval"]), accuracy,
            "-" if test is None else with_interval(test["accuracy"], test["accuracy_interval"]),
            f"{sum(epoch['seconds'] for epoch in history):.0f} s",
            "drawn" if record["data"]["bundled_sample"]
            else "photographs" if {*config["classes"]} == {"cat", "dog"}
            else ", ".join(config["classes"])]


def article_figures(config: dict) -> dict[str, float]:
    """What the article gives for a network, of ARTICLE; config: the settings of its run."""
    return ARTICLE.get(config["arch"], {}) if {*config["classes"]} == {"cat", "dog"} else {}


def as_flag(name: str, value: int | str | list[int] | None) -> str:
    """("hidden", [512, 64]) -> "--hidden=512,64"."""
    if isinstance(value, list):
        value = ("x" if name == "input_size" else ",").join(map(str, value))
    return f"--{name}={value}"


def with_interval(accuracy: float, interval: tuple[float, float]) -> str:
    """(0.731, (0.703, 0.757)) -> "73.1% (70-76)"."""
    low, high = interval
    return f"{accuracy:.1%} ({100 * low:.0f}-{100 * high:.0f})"


def write_curves(run_dirs: list[Path], file: Path) -> None:
    """The learning curves of runs, in one picture. Raises UserError, OSError."""
    histories, figures = {}, {}
    for run_dir in run_dirs:
        name = run_dir.as_posix()
        histories[name] = run_folder.read_history(run_dir)
        figures[name] = article_figures(run_folder.read_config(run_dir)["config"])
    with cli.naming(file):
        run_pages.curves_page(histories, figures).save(file)


def write_pages(run_dir: Path) -> list[Path]:
    """curves.png, mistakes.png, histogram.png in the run's folder. Raises UserError, OSError."""
    files, predictions, labels = run_folder.read_predictions(run_dir)
    class_names = run_folder.read_class_names(run_dir)
    record = metrics.measure(predictions, labels)
    threshold = record["threshold"]
    sentence = (f"Accuracy {record['best_accuracy']:.1%}, Pearson "
               f"{summary.pearson_text(record['pearson'])}, MSE {record['mse']:.3f}.")
    run_name = drawing.printable(run_dir.resolve().name)[:50]
    predicted = metrics.predicted_labels(predictions, threshold)
    pages = {
        "mistakes.png": run_pages.mistakes_page(
            files, predictions, labels, predicted,
            metrics.mistakes(predictions, labels, threshold), threshold, run_name, class_names),
        "histogram.png": run_pages.histogram_page(
            predictions, labels, predicted, threshold, sentence, run_name, class_names)}
    write_curves([run_dir], run_dir / "curves.png")
    for name, page in pages.items():
        with cli.naming(run_dir / name):
            page.save(run_dir / name)
    return [run_dir / name for name in ("curves.png", *pages)]


# ---------------------------------------------------------------------------------------------
# The command
# ---------------------------------------------------------------------------------------------

@cli.script(arguments=True)
def main(argv: list[str]) -> None:
    # Of an earlier report on runs/* there is a curves.png beside the runs.
    runs = [Path(name) for name in argv[1:] if Path(name).name != "curves.png"]
    if not runs:
        raise UserError("name the folders of runs: python report.py runs/*")
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in COLUMNS:
        table.add_column(column, style="dim" if column == "article" else None, no_wrap=True,
                         justify="left" if column in ("run", "network", "pictures") else "right")
    complete, written, whole = True, [], []
    for run_dir in runs:
        try:
            table.add_row(*map(Text, row(run_dir)))
            if flags.FLAGS.pictures:
                written += write_pages(run_dir)
                whole.append(run_dir)
        except (UserError, OSError) as error:  # the other runs are still worth their rows
            print(cli.one_sentence(error), file=sys.stderr)
            complete = False
    if table.rows:  # at its full width: a narrow terminal may wrap a line, never cut a figure
        Console(width=1000).print(table)
    if len(whole) > 1:
        written.append((whole[0].parent if whole[0].name else Path("..")) / "curves.png")
        write_curves(whole, written[-1])
    for file in written:
        print(file)
    sys.exit(0 if complete else 1)


if __name__ == "__main__":
    flags.DEFINE_bool(
        "pictures", False, "write each run's learning curves, worst mistakes and the histogram of "
        "its predictions into its folder, and the curves of several beside their folders")
    app.run(main, flags_parser=cli.flags_parser(
        __doc__, moved={"run": "use python report.py runs/NAME"}))
