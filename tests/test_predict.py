"""predict.py: lines for people and for programs, what it cannot read, and how many are right."""

import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from absl import app, flags
from PIL import Image

import data
import metrics
import models
import needs
import predict
import script_process
from conftest import make_network, read_terminal
from interrupted_runs import nobody
from support import saved_model, used_pictures
from support.tensorflow_setup import tf
from test_explain import make_run
from test_image_files import BOMB, blobs
from test_saved_model import SIZE, expected_probability
from test_train import tiny_config, tiny_dataset, train_run

OPTIONS = {"scaling": "unit", "init": "he", "dropout": 0.5}


@pytest.fixture(scope="module")
def network() -> models.Network:
    return make_network("conv1", SIZE, **OPTIONS)


@pytest.fixture(scope="module")
def run(network, tmp_path_factory) -> Path:
    """The folder of a run after its first epoch: it has not ended, and has no model/ yet."""
    return make_run(tmp_path_factory.mktemp("runs") / "mine", network, threshold=0.4, **OPTIONS)


# ---------------------------------------------------------------------------------------------
# A line a picture
# ---------------------------------------------------------------------------------------------

def test_predictions_survive_what_cannot_be_read(network, run, photos, run_script, tmp_path):
    (photos / "broken.jpg").write_text("not a picture")
    Image.fromarray(blobs(24, 32)).save(tmp_path / "one.webp", lossless=True)
    result = run_script("predict.py", f"--run={run}", "one.webp", "photos", "gone.jpg")
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
    assert predict.print_predictions(run, [str(photos)], as_json=True)
    output, errors = capsys.readouterr()
    records = list(map(json.loads, output.splitlines()))
    assert errors == "" and len(records) == 25
    assert [record["file"] for record in records] == [str(file) for file in
                                                      sorted(photos.iterdir())]
    for record in records:
        expected = expected_probability(network, Path(record["file"]))
        assert record["probability"] == pytest.approx(expected, abs=1e-4)
        assert record["label"] == ("cat" if record["probability"] > 0.4 else "dog")


def test_every_file_is_predicted_once_in_order_or_its_reason_given(network, photos):
    paths = sorted(photos.iterdir())
    broken = paths[3]
    broken.write_bytes(b"")
    predicted = list(predict.predictions(network, paths, "predicting", batch_size=7))
    assert [path for path, *_ in predicted] == paths
    assert predicted[3][1] == (broken, "empty file") and np.isnan(predicted[3][2])
    for file, image, probability in predicted[:3] + predicted[4:]:
        assert image.dtype == np.uint8
        np.testing.assert_array_equal(image, data.load_image(file, SIZE))
        assert probability == pytest.approx(expected_probability(network, file), abs=1e-4)
    [[path, skipped, probability]] = predict.predictions(network, [broken], "")
    assert path == broken and skipped == (broken, "empty file") and np.isnan(probability)


def test_of_a_batch_of_unreadable_files_only_the_reasons_are_printed(run, tmp_path, capsys):
    names = ["empty.jpg", "new\nline.jpg", "bomb.png"]
    for name, contents in zip(names, (b"", b"text", BOMB), strict=True):
        (tmp_path / name).write_bytes(contents)
    assert not predict.print_predictions(run, [str(tmp_path / name) for name in names],
                                         as_json=False)
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.splitlines() == [
        f"{tmp_path}/empty.jpg: empty file", f"{tmp_path}/new\\nline.jpg: not an image",
        f"{tmp_path}/bomb.png: Image size (1600000000 pixels) exceeds limit of 178956970 pixels, "
        "could be decompression bomb DOS attack."]


def test_a_cat_is_what_is_above_the_threshold_not_at_it(tmp_path, capsys):
    network = make_network("mlp", (2, 2))
    network.kernels[-1].assign(tf.zeros_like(network.kernels[-1]))  # all probabilities are 0.5
    Image.new("RGB", (2, 2), "red").save(tmp_path / "red.png")
    run = make_run(tmp_path / "run", network, threshold=0.5)
    predict.print_predictions(run, [str(tmp_path / "red.png")], as_json=False)
    assert capsys.readouterr().out == f"{tmp_path}/red.png: dog (50.0%)\n"
    saved_model.export(network, 0.5, ("cat", "dog"), tmp_path / "model")
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
    paths, problems, passed_over = predict.list_files(["b.jpg", "a", "none", "a/notes.txt"])
    assert list(map(str, paths)) == ["b.jpg", "a/10.jpg", "a/2.PNG", "a/deep/er/1.gif",
                                     "a/notes.txt"]  # what is named is tried
    assert problems == [(Path("none"), "no pictures in this folder")]
    assert passed_over == ["1 .txt"]


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
    assert predict.list_files([str(tmp_path)]) == (
        [tmp_path / "open/2.jpg"], [(tmp_path / "closed", "permission denied")], [])


def test_what_systems_leave_below_a_folder_is_passed_over(tmp_path):
    left = [".Trash-1000", ".thumbnails", ".ipynb_checkpoints", "@eaDir", "__MACOSX", "lost+found"]
    for name in ("1.jpg", "deep/2.jpg", "deep/a.heic", "b.heic", "c.txt",
                 *(f"{folder}{below}/0.jpg" for folder in left for below in ("", "/deep"))):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert predict.list_files([str(tmp_path)]) == (
        [tmp_path / "1.jpg", tmp_path / "deep/2.jpg"], [], ["2 .heic", "1 .txt"])
    assert predict.list_files([str(tmp_path / "@eaDir")]) == (  # as it was named
        [tmp_path / "@eaDir/0.jpg", tmp_path / "@eaDir/deep/0.jpg"], [], [])


def predict_as_nobody(folder, *arguments):
    os.chdir(folder)
    script_process.redirect_output(folder)
    nobody()
    flags.FLAGS.unparse_flags()
    if "run" not in flags.FLAGS:
        predict.define_flags()
    app.run(predict.main, ["predict.py", *arguments])


@needs.permissions
def test_what_may_not_be_searched_is_named_and_the_others_are_predicted(run, start, photos):
    folder = Path(tempfile.mkdtemp())  # which nobody may enter, unlike pytest's
    try:
        shutil.copytree(run, folder / "mine")
        for name in ("open", "shut", "listed"):
            (folder / name).mkdir()
            shutil.copy(photos / "cat.0.png", folder / name / "1.png")
        for path in (folder, *folder.glob("*")):
            path.chmod(0o777)
        (folder / "shut").chmod(0)
        (folder / "listed").chmod(0o444)
        long = "a" * 300 + ".png"
        process = start(predict_as_nobody, folder, "--run=mine", "shut/1.png", "open/1.png", long,
                        "shut", "listed")
        process.join(240)
        assert process.exitcode == 1
        assert [line.partition(":")[0] for line in
                (folder / "stdout").read_text().splitlines()] == ["open/1.png"]
        assert {*(folder / "stderr").read_text().splitlines()} == {
            "shut/1.png: permission denied", f"{long}: file name too long",
            "shut: permission denied", "listed/1.png: permission denied"}
    finally:
        shutil.rmtree(folder)


@needs.terminal
def test_the_progress_is_shown_on_a_terminal_and_never_among_the_predictions(
        run, photos, capfd, monkeypatch):
    import pty
    master, terminal = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    with os.fdopen(terminal, "w") as stderr, monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", stderr)
        assert predict.print_predictions(run, [str(photos)], as_json=False)
    shown = read_terminal(master).decode()
    assert "predicting" in shown and "100%" in shown and ".png: " not in shown
    assert len(capfd.readouterr().out.splitlines()) == 24


# ---------------------------------------------------------------------------------------------
# How many are right
# ---------------------------------------------------------------------------------------------

@pytest.fixture
def finished_run(tmp_path) -> Path:
    """A run of two epochs on pictures of 12x14."""
    run = tmp_path / "run"
    run.mkdir()
    train_run(tiny_config(classes=["cat", "dog"]), tiny_dataset(20), run)
    return run


def test_a_finished_network_is_measured_on_other_pictures_at_its_own_threshold(
        finished_run, photos, run_script):
    for number in (11, 12):
        (photos / f"dog.{number}.png").write_text("no picture")
    records = [json.loads(line) for line in (finished_run / "metrics.jsonl").open()]
    records[0]["threshold"] = records[1]["threshold"] = 0.5
    (finished_run / "metrics.jsonl").write_text("\n".join(map(json.dumps, records)))
    before = sorted(finished_run.rglob("*"))
    result = run_script("predict.py", f"--run={finished_run}", f"--evaluate={photos}")
    assert result.returncode == 0
    assert result.stderr.splitlines() == [f"skipped {photos}/dog.{number}.png: not an image"
                                          for number in (11, 12)]
    network = models.load(finished_run)
    files = [file for file in sorted(photos.iterdir()) if file.stem not in ("dog.11", "dog.12")]
    labels = np.array([file.name.startswith("cat") for file in files])
    images = np.stack([data.load_image(file, (12, 14)) for file in files])
    predictions = 1 / (1 + np.exp(-network(images).numpy()))
    output = result.stdout
    assert f"{finished_run} (conv1) on 23 pictures of {photos}, 12 cat and 11 dog: " in output
    assert f"MSE {np.mean((predictions - labels) ** 2):.4f}, " in output
    assert f"Pearson {np.corrcoef(predictions, labels)[0, 1]:.3f}\n" in output
    accuracy = np.mean((predictions > 0.5) == labels)
    low, high = metrics.wilson_interval(accuracy, 23)
    assert output.endswith(
        f"accuracy {accuracy:.1%} (95% interval {100 * low:.1f} to {high:.1%}) at t = 0.5, the "
        "threshold that the run's validation chose\n")
    table = [f"{np.mean((predictions > t / 10) == labels):.1%}" for t in range(10)]
    assert table == output.split("accuracy")[1].split()[:10]
    matrix = [[int(np.sum(((predictions > 0.5) == column) & (labels == row)))
               for column in (1, 0)] for row in (1, 0)]
    (a, b), (c, d) = matrix
    assert [line.split() for line in output.splitlines()[3:7]] == [
        ["predicted", "cat", "predicted", "dog", "recall"],
        ["cat", str(a), str(b), f"{a / 12:.1%}"], ["dog", str(c), str(d), f"{d / 11:.1%}"],
        ["precision", *(f"{part / whole:.1%}" if whole else "-"
                        for part, whole in ((a, a + c), (d, b + d)))]]
    assert "skipped" not in output
    as_json = run_script("predict.py", f"--run={finished_run}", f"--evaluate={photos}", "--json")
    assert (as_json.returncode, as_json.stderr) == (0, result.stderr)
    record = json.loads(as_json.stdout)
    assert record == {"pictures": 23, "threshold": 0.5,
                      "mse": pytest.approx(np.mean((predictions - labels) ** 2), abs=1e-6),
                      "pearson": pytest.approx(np.corrcoef(predictions, labels)[0, 1], abs=1e-5),
                      "accuracy": pytest.approx(accuracy), "left_out": 0,
                      "accuracy_interval": pytest.approx([low, high]), "confusion_matrix": matrix}
    assert sorted(finished_run.rglob("*")) == before  # nothing is written


@pytest.mark.parametrize("folder", ["cats", "cats/dogs", "."])
def test_a_folder_of_one_class_is_measured(finished_run, photos, tmp_path, run_script, folder):
    """dogs/, what lies in dogs/, and files named dog.0.png"""
    place = {"cats": tmp_path / "cats/dogs", "cats/dogs": tmp_path / "cats/dogs",
             ".": tmp_path}[folder]
    place.mkdir(parents=True, exist_ok=True)
    for number, file in enumerate(photos.glob("dog.*")):
        file.rename(place / (file.name if folder == "." else f"{number}.png"))
    result = run_script("predict.py", f"--run={finished_run}", f"--evaluate={folder}", "--json")
    beside = "passed over: 2 folder(s)\n" if folder == "." else ""  # the run's and photos/
    assert (result.returncode, result.stderr) == (0, beside)
    record = json.loads(result.stdout)
    assert (record["pictures"], record["pearson"]) == (12, None)
    assert record["confusion_matrix"][0] == [0, 0] and sum(record["confusion_matrix"][1]) == 12
    assert record["accuracy"] == record["confusion_matrix"][1][1] / 12


def test_pictures_that_a_run_was_trained_or_validated_on_are_not_measured(
        run_script, photos, tmp_path):
    """Also as copies, under other names and in other formats."""
    arguments = ("--arch=conv1", "--input_size=24x32", "--epochs=1", "--train_size=12",
                 "--valid_size=6", "--name=mine", f"--data_dir={photos}")
    assert run_script("train.py", *arguments).returncode == 0
    records = used_pictures.read(tmp_path / "runs/mine")
    assert Counter(record.get("part") for record in records) == {
        "training": 12, "validation": 6, None: 6}
    result = run_script("predict.py", "--run=runs/mine", f"--evaluate={photos}")
    assert result.stderr == ("left out: 12 from the training and 6 from the validation of "
                             "runs/mine\n")
    assert f"on 6 pictures of {photos}, 3 cat and 3 dog" in result.stdout

    for name in ("cat", "dog"):
        (tmp_path / f"used/{name}s").mkdir(parents=True)
    for number, record in enumerate(record for record in records if "part" in record):
        image = Image.open(photos / record["file"])
        image.save(tmp_path / f"used/{record['file'][:3]}s/IMG_{number}.bmp")
    result = run_script("predict.py", "--run=runs/mine", "--evaluate=used")
    assert (result.returncode, result.stderr.splitlines()[-1]) == (
        1, "none of the 18 pictures of used is left to measure, with 12 from the training and 6 "
           "from the validation of runs/mine among them: give a folder of others that can be read")
    (tmp_path / "runs/mine/pictures.jsonl").unlink()
    result = run_script("predict.py", "--run=runs/mine", "--evaluate=used")
    assert (result.returncode, result.stderr) == (
        0, "runs/mine has no pictures.jsonl: it may have been trained on some of these pictures, "
           "which would make the accuracy too good\n")


def test_where_no_picture_can_be_read_each_is_named_and_nothing_is_measured(
        finished_run, photos, refuses, run_script):
    run, folder = f"--run={finished_run}", f"--evaluate={photos}"
    for file in photos.iterdir():
        file.write_text("no picture")
    result = run_script("predict.py", run, folder)
    assert (result.returncode, result.stdout) == (1, "")
    *skipped, sentence = result.stderr.splitlines()
    assert len(skipped) == 24 and all(line.startswith("skipped ") for line in skipped)
    assert sentence == (
        f"none of the 24 pictures of {photos} is left to measure, with 0 from the training and 0 "
        f"from the validation of {finished_run} among them: give a folder of others that can be "
        "read")
    (finished_run / "metrics.jsonl").write_text("")
    assert "has no finished epoch yet: train it first" in refuses("predict.py", run, folder)
