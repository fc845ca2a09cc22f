"""The table of runs beside the article's figures, and the pages drawn of their predictions."""

import json
import os
from pathlib import Path

import pytest
from PIL import Image

import needs
import report
from conftest import epoch_record
from support import run_folder
from support.cli import UserError

ARTICLES_LAYERS = {"input_size": [94, 125], "kernel_size": 3, "stride": 1, "pooling": "max",
                   "filters": None, "hidden": None}
CATS_AND_DOGS = {"classes": ["cat", "dog"]}


def make_run(folder, arch, epochs, sample=False, **options):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({
        "format": run_folder.FORMAT,
        "config": {"arch": arch, "lr": 1e-5} | ARTICLES_LAYERS | CATS_AND_DOGS | options,
        "data": {"bundled_sample": sample}, "versions": {"pillow": "13.0.0"},
        "machine": {"replicas": 1}}))
    (folder / "metrics.jsonl").write_text("".join(
        json.dumps(epoch_record(epoch=number, mse=mse, pearson=pearson, best_accuracy=accuracy,
                                train_loss=2 * mse,
                                accuracy_interval=[accuracy - 0.03, accuracy + 0.02])) + "\n"
        for number, (mse, pearson, accuracy) in enumerate(epochs, start=1)))
    return folder


def test_the_table_shows_each_runs_best_epoch_beside_the_article(run_script, tmp_path):
    make_run(tmp_path / "runs" / "a", "conv2_128", [(0.3, 0.2, 0.61), (0.2, 0.5, 0.731),
                                                    (0.21, 0.45, 0.729)])
    (tmp_path / "runs" / "a" / "test.json").write_text(json.dumps(
        {"accuracy": 0.712, "accuracy_interval": [0.6834, 0.7391]}))
    make_run(tmp_path / "runs" / "b", "mlp", [(0.5, None, 0.5)], sample=True)
    result = run_script("report.py", "runs/a", "runs/b")
    assert result.returncode == 0
    a, b = [line.split() for line in result.stdout.splitlines() if "conv2" in line or "mlp" in line]
    assert a == ["a", "conv2_128", "1e-05", "2/3", "0.200", "0.247", "0.500", "0.300", "73.1%",
                 "(70-75)", "67%", "71.2%", "(68-74)", "30", "s", "photographs"]
    assert b == ["b", "mlp", "1e-05", "1/1", "0.500", "0.500", "undefined", "-", "50.0%",
                 "(47-52)", "50%", "-", "10", "s", "drawn"]


@pytest.mark.parametrize("config, network", [
    ({"filters": None, "hidden": None, "pooling": "max", "input_size": [94, 125]}, "conv1"),
    ({"filters": None, "hidden": [512, 64]}, "conv1 --hidden=512,64"),
    ({"filters": [], "hidden": None}, "conv1 --filters="),
    ({"input_size": [32, 43], "kernel_size": 5, "stride": 2, "pooling": "average"},
     "conv1 --input_size=32x43 --kernel_size=5 --stride=2 --pooling=average")])
def test_a_network_of_other_layers_is_not_given_out_as_the_articles(config, network, tmp_path):
    assert report.row(make_run(tmp_path / "a", "conv1", [(0.3, 0.2, 0.6)], **config))[1] == network


def test_a_network_that_the_article_has_not_gets_dashes_for_its_figures(tmp_path):
    row = report.row(make_run(tmp_path / "a", "vgg16", [(0.3, 0.2, 0.61)]))
    assert row == ["a", "vgg16", "1e-05", "1/1", "0.300", "-", "0.200", "-", "61.0% (58-63)",
                   "-", "-", "10 s", "photographs"]


@pytest.mark.parametrize("file, contents", [
    ("config.json", {"config": {"arch": "conv1", "lr": "fast"} | ARTICLES_LAYERS | CATS_AND_DOGS}),
    ("config.json", {"config": {"arch": "conv1", "lr": 1e-5} | CATS_AND_DOGS}),
    ("config.json", {"config": {"arch": "conv1", "lr": 1e-5} | ARTICLES_LAYERS}),
    ("metrics.jsonl", epoch_record(pearson=[0])), ("metrics.jsonl", epoch_record(seconds=None)),
    ("metrics.jsonl", epoch_record(threshold="half")), ("metrics.jsonl", {"epoch": 1}),
    ("test.json", [0.5]), ("test.json", {"accuracy": "good"})])
def test_a_damaged_run_is_named(file, contents, tmp_path):
    run = make_run(tmp_path / "a", "conv1", [(0.3, 0.2, 0.61)])
    if file == "config.json":
        contents = json.loads((run / file).read_text()) | contents
    (run / file).write_text(json.dumps(contents))
    with pytest.raises(UserError, match="a is damaged: its (config|metrics|test)"):
        report.row(run)


def test_a_mistake_in_the_program_is_not_called_a_damaged_run(tmp_path, monkeypatch):
    run = make_run(tmp_path / "a", "conv1", [(0.3, 0.2, 0.61)])
    monkeypatch.setattr(report, "ARTICLE", {"conv1": {"mse": "0.36"}})  # no number
    with pytest.raises(ValueError, match="Unknown format code") as error:
        report.row(run)
    assert not isinstance(error.value, UserError)


def test_a_long_name_cuts_no_figure(run_script, tmp_path):
    make_run(tmp_path / "runs" / ("long " * 40), "conv1", [(0.3, 0.2, 0.61)])
    assert "61.0%" in run_script("report.py", "runs/" + "long " * 40).stdout


def test_a_run_that_is_not_whole_costs_the_others_nothing(run_script, tmp_path):
    make_run(tmp_path / "runs" / "good", "conv1", [(0.3, 0.2, 0.61)])
    make_run(tmp_path / "runs" / "young", "conv1", [])
    result = run_script("report.py", "runs/good", "runs/young")
    assert result.returncode == 1
    assert "61.0%" in result.stdout
    assert result.stderr == (
        "runs/young has no finished epoch yet: train it first, with --resume\n")


def test_a_run_of_another_version_is_refused(run_script, tmp_path):
    make_run(tmp_path / "runs/good", "conv1", [(0.3, 0.2, 0.61)])
    config = make_run(tmp_path / "runs/old", "conv1", [(0.3, 0.2, 0.61)]) / "config.json"
    record = json.loads(config.read_text())
    del record["format"]  # as before there was one
    config.write_text(json.dumps(record))
    result = run_script("report.py", "runs/old", "runs/good")
    assert result.returncode == 1 and "61.0%" in result.stdout
    assert result.stderr == ("runs/old was written by another version of train.py, which this one "
                             "cannot read: train it again, or use the version that wrote it\n")


# ---------------------------------------------------------------------------------------------
# Predictions, and the pages drawn of them
# ---------------------------------------------------------------------------------------------

def add_predictions(run, files, predictions, labels):
    (run / "predictions.jsonl").write_text("".join(
        json.dumps({"file": str(file), "label": label, "probability": probability}) + "\n"
        for file, probability, label in zip(files, predictions, labels, strict=True)))


def test_the_pages_of_a_run_from_the_command_line(run_script, tmp_path):
    run = make_run(tmp_path / "runs" / "mine", "conv1", [(0.3, 0.2, 0.61)])
    files = [tmp_path / f"{number}.png" for number in range(6)]
    for file in files:
        Image.new("RGB", (20, 15), "red").save(file)
    add_predictions(run, files, [0.9, 0.97, 0.05, 0.35, 0.52, 0.1], [1, 0, 1, 0, 1, 0])
    result = run_script("report.py", "runs/mine", "--pictures")
    assert result.returncode == 0 and result.stderr == "" and "61.0%" in result.stdout
    names = ("curves", "mistakes", "histogram")
    assert result.stdout.split()[-3:] == [f"runs/mine/{name}.png" for name in names]
    for name in names:
        with Image.open(run / f"{name}.png") as page:
            assert page.width == 1200


def test_several_runs_share_one_picture_of_their_curves(run_script, tmp_path):
    for name in ("a", "b"):
        run = make_run(tmp_path / "runs" / name, "conv1", [(0.3, 0.2, 0.61), (0.25, 0.3, 0.62)])
        add_predictions(run, [tmp_path / "gone.png"] * 2, [0.9, 0.2], [1, 0])
    result = run_script("report.py", "runs/a", "runs/b", "--pictures")
    assert result.stdout.split()[-1] == "runs/curves.png"
    assert (tmp_path / "runs/curves.png").exists()
    again = run_script("report.py", "runs/a", "runs/b", "runs/curves.png", "--pictures")  # runs/*
    assert (again.returncode, again.stdout, again.stderr) == (0, result.stdout, "")


def test_a_run_may_be_named_as_the_folder_one_is_in(run_in, tmp_path):
    for name in ("a", "b"):
        run = make_run(tmp_path / "runs" / name, "conv1", [(0.3, 0.2, 0.61), (0.25, 0.3, 0.62)])
        add_predictions(run, [tmp_path / "gone.png"] * 2, [0.9, 0.2], [1, 0])
    alone = run_in(tmp_path / "runs/a", "report.py", ".", "--pictures")
    assert " a  " in alone.stdout
    drawn = (tmp_path / "runs/a/curves.png").read_bytes()
    run_in(tmp_path / "runs/a", "report.py", ".", "../b", "--pictures")
    assert (tmp_path / "runs/a/curves.png").read_bytes() == drawn
    assert (tmp_path / "runs/curves.png").exists()


def test_whoever_names_a_run_by_a_flag_is_told_how(refuses):
    assert refuses("report.py", "--run=runs/a") == (
        "Unknown command line flag 'run': use python report.py runs/NAME")


def test_a_run_without_a_curve_is_damaged(tmp_path):
    run = make_run(tmp_path / "mine", "conv1", [(0.3, 0.2, 0.61)])
    history = (run / "metrics.jsonl").read_text()
    for damaged in (history.replace("train_loss", "loss"), history.replace("0.6,", '"high",')):
        (run / "metrics.jsonl").write_text(damaged)
        with pytest.raises(UserError, match="is damaged: its metrics.jsonl is not what"):
            report.write_curves([run], tmp_path / "curves.png")


@needs.byte_names
def test_predictions_come_back_as_they_were_written(tmp_path):
    names = ["a.jpg", 'quoted "\n" name.jpg', "猫.jpg", os.fsdecode(b"\xff.jpg")]
    add_predictions(tmp_path, names, [0.25, 0.5, 0.75, 1.0], [1, 0, 1, 0])
    files, predictions, labels = run_folder.read_predictions(tmp_path)
    assert files == [Path(name) for name in names]
    assert predictions.tolist() == [0.25, 0.5, 0.75, 1.0] and labels.tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize("text, reason", [
    ("", "there are no predictions"), ("{", "JSONDecodeError"), ("3", "TypeError"),
    ('{"file": "a"}', "KeyError"),
    ('{"file": "a", "label": 2, "probability": 0.5}', "label 2, probability 0.5"),
    ('{"file": "a", "label": 1, "probability": NaN}', "label 1, probability nan")])
def test_damaged_predictions_are_refused(text, reason, tmp_path):
    with pytest.raises(UserError, match="is not the folder of a run: .*No such file"):
        report.write_pages(tmp_path)
    (tmp_path / "predictions.jsonl").write_text(text)
    with pytest.raises(UserError, match=f"predictions.jsonl is not what train.py.*{reason}"):
        report.write_pages(tmp_path)
