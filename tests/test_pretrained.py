"""pretrained/, the network of this repository: what it is, and that nobody needs --run for it."""

import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

import data
import models
from conftest import ROOT
from support import run_folder
from support.class_folders import SAMPLE
from support.cli import UserError

FILES = [file for file in run_folder.PRETRAINED.rglob("*") if file.is_file()]
README = (ROOT / "README.md").read_text()


def test_it_is_small_and_names_nothing_of_the_computer_that_trained_it():
    assert sum(file.stat().st_size for file in FILES) < 8e6
    assert models.shapes_only(models.saved_options(run_folder.PRETRAINED)).weight_count < 1.5e6
    for file in FILES:
        if file.suffix in (".json", ".jsonl"):
            assert not re.search(r"/(home|tmp|work|root|Users)/", file.read_text()), file


def test_it_was_trained_by_its_recipe():
    config = run_folder.read_config(run_folder.PRETRAINED)["config"]
    for line in (ROOT / "recipes/hour.flags").read_text().splitlines():
        if line.startswith("--"):
            name, _, value = line[2:].partition("=")
            values = config[name] if isinstance(config[name], list) else [config[name]]
            separator = "x" if name == "input_size" else ","
            expected = value.split(separator) if value else ["True"]
            assert [str(each) for each in values] == expected or (
                float(value) == config[name]), line


def test_its_test_accuracy_is_the_front_pages():
    test = run_folder.read_test(run_folder.PRETRAINED)
    assert test["pictures"] == 2500 and test["accuracy"] >= 0.95
    assert f"{test['accuracy']:.1%} of 2,500" in README


def test_float16_holds_its_kernels():
    """So that the page in the browser, which holds no more, computes the same."""
    for kernel in models.load(run_folder.PRETRAINED).kernels:
        np.testing.assert_array_equal(kernel, kernel.numpy().astype(np.float16))


def test_predictions_and_explanations_need_no_run(run_script):
    result = run_script("predict.py", str(ROOT / "kittens.jpg"), "--json")
    assert result.returncode == 0
    assert result.stderr == "without --run: the network in pretrained/\n"
    network = models.load(run_folder.PRETRAINED)
    image = data.load_image(ROOT / "kittens.jpg", network.input_size)
    assert json.loads(result.stdout)["probability"] == pytest.approx(
        float(network.probability(image[None])[0]), abs=1e-4)
    result = run_script("explain.py", f"--image={ROOT}/kittens.jpg")
    assert result.returncode == 0 and result.stderr == "without --run: the network in pretrained/\n"
    assert result.stdout.splitlines()[-1] == "filtered/kittens-pretrained.png"


def test_its_predictions_do_not_depend_on_the_processors_instructions(run_alone, monkeypatch):
    files = [str(file) for file in sorted(SAMPLE.glob("cat.1?.jpg"))]

    def predictions(instructions: str) -> list[float]:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", instructions)
        return [json.loads(line)["probability"]
                for line in run_alone("predict.py", "--json", *files).stdout.splitlines()]

    one, other = predictions("ALL"), predictions("SSE41")
    assert len(one) == len(files) == 10
    np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("file, sentence", [
    (None, "is not the folder of a run: .*: No such file or directory; "),
    ("config.json", "is damaged: its config.json is not what train.py writes .*; "),
    ("metrics.jsonl", "is damaged: its metrics.jsonl is not what train.py writes .*; "),
    ("best/*/checkpoint.data*", "is damaged: its weights are missing or not of this conv2_48; ")])
def test_damage_is_told_with_the_remedy(file, sentence, monkeypatch, tmp_path):
    folder = tmp_path / "pretrained"
    monkeypatch.setattr(run_folder, "PRETRAINED", folder)
    if file is not None:
        shutil.copytree(ROOT / "pretrained", folder)
        for path in folder.glob(file):
            path.write_text("torn")
    with pytest.raises(UserError) as error:
        models.load(run_folder.chosen(None))
    assert re.fullmatch(f".*/pretrained {sentence}git checkout pretrained gets it back",
                        str(error.value))


def test_it_says_that_it_cannot_tell_which_pictures_it_was_trained_on(run_script, photos):
    result = run_script("predict.py", f"--evaluate={photos}")
    assert result.returncode == 0
    assert "has no pictures.jsonl: it may have been trained on some of these" in result.stderr


def test_it_has_no_predictions_to_draw_and_git_would_not_bring_them(run_script):
    result = run_script("report.py", str(ROOT / "pretrained"), "--pictures")
    assert result.returncode == 1
    assert result.stderr.endswith("/predictions.jsonl: No such file or directory\n")


def test_the_tool_that_made_it_makes_it_from_a_run(run_script, photos, tmp_path):
    assert run_script("train.py", "--arch=conv1", "--input_size=24x32", "--epochs=1",
                      f"--data_dir={photos}", "--name=first").returncode == 0
    assert run_script("train.py", "--arch=conv1", "--input_size=24x32", "--epochs=1",
                      "--start_from=runs/first", f"--data_dir={photos}",
                      "--name=mine").returncode == 0
    command = ("tools/pretrained.py", "--run=runs/mine", "--output=box")
    assert run_script(*command).returncode == 0
    assert {file.name for file in (tmp_path / "box").iterdir()} == {
        "config.json", "metrics.jsonl", "first_kernels.npy", "best"}
    mine, box = (models.load(tmp_path / name) for name in ("runs/mine", "box"))
    image = np.asarray(Image.open(photos / "cat.0.png").resize((32, 24)))[None]
    assert float(box.probability(image)[0]) == pytest.approx(float(mine.probability(image)[0]),
                                                             abs=1e-3)
    assert json.loads((tmp_path / "box/config.json").read_text())["config"]["start_from"] is None
    result = run_script(*command)
    assert (result.returncode, result.stderr) == (
        1, "--output=box exists: remove it first, or name another folder\n")
