"""predict.py: what it prints for pictures, for programs, and of what it cannot read."""

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import models
import predict
from conftest import ROOT, read_terminal
from support import saved_model
from support.tensorflow_setup import tf
from test_images import BOMB, blobs
from test_saved_model import SIZE, expected_probability


@pytest.fixture(scope="module")
def network() -> models.Network:
    return models.Network("conv1", SIZE, scaling="unit", init="he", dropout=0.5)


@pytest.fixture(scope="module")
def run(network, tmp_path_factory) -> Path:
    """The folder of a run as far as predict.py looks into it."""
    folder = tmp_path_factory.mktemp("runs") / "mine"
    folder.mkdir()
    saved_model.export(network, 0.4, ("cat", "dog"), folder / "model")
    return folder


def test_predictions_need_the_savedmodel_only_and_survive_what_cannot_be_read(
        network, run, photos, tmp_path):
    """predict.py, data.py and support/ alone in a folder: no models.py, no train.py to import."""
    for script in ("predict.py", "data.py"):
        shutil.copy(ROOT / script, tmp_path)
    shutil.copytree(ROOT / "support", tmp_path / "support",
                    ignore=shutil.ignore_patterns("__pycache__"))
    (photos / "broken.jpg").write_text("not a picture")
    Image.fromarray(blobs(24, 32)).save(tmp_path / "one.webp", lossless=True)
    result = subprocess.run(
        [sys.executable, "predict.py", f"--run={run}", "one.webp", "photos", "gone.jpg"],
        cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr.splitlines() == ["photos/broken.jpg: not an image",
                                          "gone.jpg: no such file or directory"]
    lines = []
    for file in [tmp_path / "one.webp", *sorted(photos.glob("*.png"))]:
        probability = expected_probability(network, file)
        name = file.relative_to(tmp_path)
        lines.append(f"{name}: cat ({probability:.1%})" if probability > 0.4
                     else f"{name}: dog ({1 - probability:.1%})")
    assert result.stdout.splitlines() == lines


def test_predictions_for_programs_are_lines_of_json(network, run, photos, tmp_path, capsys):
    odd = photos / "a 'cat'\n\"in\" Köln.png"
    shutil.copy(photos / "cat.0.png", odd)
    assert predict.print_predictions(run, [str(photos)], predict.as_json)
    output, errors = capsys.readouterr()
    records = list(map(json.loads, output.splitlines()))
    assert errors == "" and len(records) == 25
    assert [record["file"] for record in records] == [str(file) for file in
                                                      sorted(photos.iterdir())]
    for record in records:
        expected = expected_probability(network, Path(record["file"]))
        assert record["probability"] == pytest.approx(expected, abs=1e-4)
        assert record["label"] == ("cat" if record["probability"] > 0.4 else "dog")


def test_of_a_batch_of_unreadable_files_only_the_reasons_are_printed(run, tmp_path, capsys):
    names = ["empty.jpg", "new\nline.jpg", "bomb.png"]
    for name, contents in zip(names, (b"", b"text", BOMB), strict=True):
        (tmp_path / name).write_bytes(contents)
    assert not predict.print_predictions(run, [str(tmp_path / name) for name in names],
                                         predict.as_line)
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.splitlines() == [
        f"{tmp_path}/empty.jpg: empty file", f"{tmp_path}/new\\nline.jpg: not an image",
        f"{tmp_path}/bomb.png: an image bomb: more than 179 million pixels"]


def test_a_cat_is_what_is_above_the_threshold_not_at_it(tmp_path, capsys):
    network = models.Network("mlp", (2, 2))
    network.kernels[-1].assign(tf.zeros_like(network.kernels[-1]))  # all probabilities are 0.5
    Image.new("RGB", (2, 2), "red").save(tmp_path / "red.png")
    saved_model.export(network, 0.5, ("cat", "dog"), tmp_path / "model")
    predict.print_predictions(tmp_path, [str(tmp_path / "red.png")], predict.as_line)
    assert capsys.readouterr().out == f"{tmp_path}/red.png: dog (50.0%)\n"
    serve = tf.saved_model.load(str(tmp_path / "model")).signatures["serving_default"]
    outputs = serve(image_bytes=tf.constant([(tmp_path / "red.png").read_bytes()]))
    assert outputs["label"].numpy().tolist() == [b"dog"]


def test_folders_are_searched_with_all_below_them_in_the_order_of_paths(tmp_path, monkeypatch):
    names = ["b.jpg", "a/2.PNG", "a/10.jpg", "a/deep/er/1.gif", "a/.hidden.jpg", "a/notes.txt"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "none").mkdir()
    monkeypatch.chdir(tmp_path)
    paths, problems = predict.image_files(["b.jpg", "a", "none", "a/notes.txt"])
    assert list(map(str, paths)) == ["b.jpg", "a/10.jpg", "a/2.PNG", "a/deep/er/1.gif",
                                     "a/notes.txt"]  # what is named is tried
    assert problems == [(Path("none"), "no pictures in this folder")]


def test_a_subfolder_that_may_not_be_read_is_named_and_the_rest_found(tmp_path, monkeypatch):
    for name in ("closed/1.jpg", "open/2.jpg"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    scandir = os.scandir

    def refusing(path):  # the tests may run as root, whom no permission stops
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    assert predict.image_files([str(tmp_path)]) == (
        [tmp_path / "open/2.jpg"], [(tmp_path / "closed", "permission denied")])


def test_predict_refuses_in_one_sentence(refuses, declines):
    assert "name pictures or folders: python predict.py --run=" in declines(predict.main)
    assert "Unknown command line flag 'data_dir'" in refuses(
        "predict.py", "--run=nowhere", "--data_dir=photos", "a.jpg")
    assert "--run=nowhere holds no model/" in refuses("predict.py", "--run=nowhere", "a.jpg")


def test_the_progress_is_shown_on_a_terminal_and_never_among_the_predictions(
        run, photos, capfd, monkeypatch):
    master, terminal = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    with os.fdopen(terminal, "w") as stderr, monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", stderr)
        assert predict.print_predictions(run, [str(photos)], predict.as_line)
    shown = read_terminal(master).decode()
    assert "predicting" in shown and "24/24" in shown and ".png: " not in shown
    assert len(capfd.readouterr().out.splitlines()) == 24
