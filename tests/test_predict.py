"""The SavedModel of a run, asked without our code; predict.py's answers, and what it says."""

import io
import json
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import data
import models
import numpy as np
import predict
import pytest
import tensorflow as tf
from conftest import ROOT, read_terminal
from PIL import Image
from tensorflow.core.protobuf import saved_model_pb2
from test_data import BOMB, blobs, jpeg, png

SIZE = (24, 32)  # of the fixture photos: nothing is resized
GENERATOR = np.random.default_rng(0)


@pytest.fixture(scope="module")
def network() -> models.Network:
    return models.Network("conv1", SIZE, scaling="unit", init="he", dropout=0.5)


@pytest.fixture(scope="module")
def run(network, tmp_path_factory) -> Path:
    """The folder of a run as far as predict.py looks into it."""
    folder = tmp_path_factory.mktemp("runs") / "mine"
    folder.mkdir()
    models.export(network, 0.4, folder / "model")
    return folder


def expected_probability(network: models.Network, file: Path) -> float:
    logit = network(data.load_picture(file, network.input_size)[None])
    return 1 / (1 + np.exp(-float(logit[0])))


def graph_functions(model: Path) -> list:
    saved = saved_model_pb2.SavedModel.FromString((model / "saved_model.pb").read_bytes())
    return saved.meta_graphs[0].graph_def.library.function


# ---------------------------------------------------------------------------------------------
# The SavedModel
# ---------------------------------------------------------------------------------------------

def test_another_client_gets_both_signatures_answers(network, run, photos, tmp_path):
    """saved_model_cli comes with TensorFlow, knows nothing of us, and has no code of ours."""
    files = sorted(photos.iterdir())
    np.save(tmp_path / "bytes.npy", np.array([file.read_bytes() for file in files]))
    np.save(tmp_path / "pixels.npy", np.stack([data.load_picture(file, SIZE) for file in files]))

    def ask(signature: str, inputs: str) -> str:
        answer = subprocess.run(
            [sys.executable, "-m", "tensorflow.python.tools.saved_model_cli", "run", "--dir",
             run / "model", "--tag_set", "serve", "--signature_def", signature, "--inputs", inputs],
            cwd=tmp_path, capture_output=True, text=True)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    def numbers(answer: str) -> list[float]:
        words = answer.split("output key probability:")[1].split("[")[1].split("]")[0]
        return list(map(float, words.split()))

    expected = np.array([expected_probability(network, file) for file in files])
    assert expected.min() < 0.4 < expected.max()
    answer = ask("pixels", "images=pixels.npy")
    np.testing.assert_allclose(numbers(answer), expected, rtol=1e-4)
    answer = ask("serving_default", "image_bytes=bytes.npy")
    np.testing.assert_allclose(numbers(answer), expected, rtol=1e-4)
    labels = re.findall("b'(...)'", answer.split("output key label:")[1])
    assert labels == ["cat" if probability > 0.4 else "dog" for probability in expected]


def test_what_is_exported_holds_nothing_of_training(run):
    functions = graph_functions(run / "model")
    operations = {node.op for function in functions for node in function.node_def}
    assert {"Conv2D", "DecodeJpeg", "ScaleAndTranslate"} <= operations
    assert not [name for name in operations if "Random" in name or "Backprop" in name]
    # A gradient of ours would make TensorFlow ask for code that others do not have.
    assert not [node.name for function in functions for node in function.node_def
                if "_gradient_op_type" in node.attr]


def test_a_network_that_computes_in_bfloat16_is_exported_too(tmp_path):
    network = models.Network("conv2_48", (20, 26), dtype="bfloat16", init="he")
    images = GENERATOR.integers(0, 256, (5, 20, 26, 3), dtype=np.uint8)
    expected = 1 / (1 + np.exp(-network(images).numpy()))
    models.export(network, 0.3, tmp_path / "model")
    model = tf.saved_model.load(str(tmp_path / "model"))
    answers = model.signatures["pixels"](images=tf.constant(images))["probability"]
    np.testing.assert_allclose(answers, expected, rtol=1e-4)
    assert model.threshold.numpy() == np.float32(0.3)


def test_an_export_replaces_the_one_before_only_when_it_is_whole(tmp_path, monkeypatch):
    network, folder = models.Network("mlp", (2, 2)), tmp_path / "model"
    models.export(network, 0.1, folder)

    def half_saved(module, path, signatures):
        Path(path).mkdir()
        (Path(path) / "saved_model.pb").write_bytes(b"half")
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(tf.errors.ResourceExhaustedError):
        patched.setattr(tf.saved_model, "save", half_saved)
        models.export(network, 0.2, folder)
    assert tf.saved_model.load(str(folder)).threshold.numpy() == np.float32(0.1)
    models.export(network, 0.2, folder)
    assert tf.saved_model.load(str(folder)).threshold.numpy() == np.float32(0.2)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pictures_of_every_kind() -> dict[str, bytes]:
    picture = Image.fromarray(blobs(120, 160))
    grey, opacity = picture.convert("L"), Image.linear_gradient("L").resize((160, 120))
    clear, clear_grey = picture.copy(), grey.copy()
    clear.putalpha(opacity)
    clear_grey.putalpha(opacity)
    few, many = (picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=colours)
                 for colours in (12, 90))
    deep = GENERATOR.integers(0, 65536, (20, 30, 3)).astype(">u2")
    kinds = {
        "large": jpeg(blobs(1500, 1300)), "grey JPEG": encoded(grey, "JPEG"),
        "tall": jpeg(blobs(400, 20)), "one pixel": jpeg(blobs(1, 1)),
        "CMYK": encoded(picture.convert("CMYK"), "JPEG"),
        "progressive": encoded(picture, "JPEG", progressive=True),
        "opacity": encoded(clear, "PNG"), "grey with opacity": encoded(clear_grey, "PNG"),
        "palette with opacity": encoded(many, "PNG", transparency=b"\0\x80\xff"),
        "16 bits": png(30, 20, 16, 2, [row.tobytes() for row in deep]),
        "16 bits, grey": encoded(Image.fromarray(np.asarray(grey).astype(np.uint16) * 257), "PNG"),
        "animated": encoded(many, "GIF", save_all=True, append_images=[many.rotate(90)])}
    for kind in ("PNG", "BMP", "GIF"):
        kinds |= {kind: encoded(picture, kind), f"grey {kind}": encoded(grey, kind),
                  f"palette {kind}": encoded(many, kind)}
    kinds |= {"4 bits": encoded(few, "PNG"), "1 bit": encoded(grey.convert("1"), "PNG"),
              "BMP of 32 bits": encoded(clear, "BMP")}
    for byte_order, mark in (("<", b"Exif\0\0II"), (">", b"Exif\0\0MM")):
        for orientation in range(1, 9):
            exif = Image.Exif()
            exif.endian = byte_order
            exif[0x010F], exif[0x0112] = "the camera's maker", orientation
            turned = kinds[f"orientation {orientation}{byte_order}"] = encoded(
                Image.fromarray(blobs(300, 200)), "JPEG", exif=exif, quality=95)
            assert mark in turned
    return kinds


def test_pictures_of_every_kind_are_decoded_as_pillow_does_to_one_level(tmp_path):
    decode = tf.function(lambda contents: models.decode_picture(contents, (30, 40)),
                         input_signature=[tf.TensorSpec((), tf.string)], autograph=False)
    for kind, contents in pictures_of_every_kind().items():
        (tmp_path / "file").write_bytes(contents)
        expected = data.load_picture(tmp_path / "file", (30, 40)).astype(int)
        difference = np.abs(decode(contents).numpy().astype(int) - expected)
        assert difference.max() <= 1, kind
        assert expected.std() > 10 or kind == "one pixel"
    for contents in (b"", b"text", jpeg(blobs(90, 120))[:500]):
        with pytest.raises(tf.errors.InvalidArgumentError):
            decode(contents)


# ---------------------------------------------------------------------------------------------
# predict.py
# ---------------------------------------------------------------------------------------------

def test_answers_need_the_savedmodel_only_and_survive_what_cannot_be_read(
        network, run, photos, tmp_path):
    """predict.py and data.py alone in a folder: there is no models.py, no train.py to import."""
    for script in ("predict.py", "data.py"):
        shutil.copy(ROOT / script, tmp_path)
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


def test_answers_for_programs_are_lines_of_json(network, run, photos, tmp_path, capsys):
    odd = photos / "a 'cat'\n\"in\" Köln.png"
    shutil.copy(photos / "cat.0.png", odd)
    assert predict.print_answers(run, [str(photos)], predict.as_json)
    output, errors = capsys.readouterr()
    records = list(map(json.loads, output.splitlines()))
    assert errors == "" and len(records) == 25
    assert [record["file"] for record in records] == [str(file) for file in
                                                      sorted(photos.iterdir())]
    for record in records:
        expected = expected_probability(network, Path(record["file"]))
        assert record["probability"] == pytest.approx(expected, abs=1e-4)
        assert record["label"] == ("cat" if record["probability"] > 0.4 else "dog")


def test_a_batch_of_unreadable_files_alone_is_answered_by_their_reasons(run, tmp_path, capsys):
    names = ["empty.jpg", "new\nline.jpg", "bomb.png"]
    for name, contents in zip(names, (b"", b"text", BOMB)):
        (tmp_path / name).write_bytes(contents)
    assert not predict.print_answers(run, [str(tmp_path / name) for name in names],
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
    models.export(network, 0.5, tmp_path / "model")
    predict.print_answers(tmp_path, [str(tmp_path / "red.png")], predict.as_line)
    assert capsys.readouterr().out == f"{tmp_path}/red.png: dog (50.0%)\n"
    serve = tf.saved_model.load(str(tmp_path / "model")).signatures["serving_default"]
    answer = serve(image_bytes=tf.constant([(tmp_path / "red.png").read_bytes()]))
    assert answer["label"].numpy().tolist() == [b"dog"]


def test_folders_are_searched_with_all_below_them_in_the_order_of_paths(tmp_path, monkeypatch):
    names = ["b.jpg", "a/2.PNG", "a/10.jpg", "a/deep/er/1.gif", "a/.hidden.jpg", "a/notes.txt"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "none").mkdir()
    monkeypatch.chdir(tmp_path)
    paths, problems = predict.find_pictures(["b.jpg", "a", "none", "a/notes.txt"])
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
    assert predict.find_pictures([str(tmp_path)]) == (
        [tmp_path / "open/2.jpg"], [(tmp_path / "closed", "permission denied")])


def test_a_run_without_a_whole_model_is_refused(run, tmp_path):
    with pytest.raises(ValueError, match="nowhere holds no model/: name the folder of a run"):
        predict.load_model(tmp_path / "nowhere")
    (tmp_path / "model").mkdir()
    with pytest.raises(ValueError, match="model is damaged, or not what train.py writes"):
        predict.load_model(tmp_path)
    shutil.copytree(run / "model", tmp_path / "model", dirs_exist_ok=True)
    predict.load_model(tmp_path)
    (tmp_path / "model/variables/variables.data-00000-of-00001").write_bytes(b"cut short")
    with pytest.raises(ValueError, match="model is damaged, or not what train.py writes"):
        predict.load_model(tmp_path)
    shutil.rmtree(tmp_path / "model")
    tf.saved_model.save(tf.Module(), str(tmp_path / "model"))  # somebody else's
    with pytest.raises(ValueError, match="damaged, or not what train.py writes .AttributeError"):
        predict.load_model(tmp_path)


def test_predict_refuses_in_one_sentence(refuses, declines):
    assert "name pictures or folders: python predict.py --run=" in declines(predict.main)
    assert "predict.py has no --data_dir" in declines(predict.main, "--data_dir=photos", "a.jpg")
    assert "--run=nowhere holds no model/" in refuses("predict.py", "--run=nowhere", "a.jpg")


def test_the_progress_is_shown_on_a_terminal_and_never_among_the_answers(run, photos, capfd,
                                                                         monkeypatch):
    master, terminal = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    with os.fdopen(terminal, "w") as stderr, monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", stderr)
        assert predict.print_answers(run, [str(photos)], predict.as_line)
    shown = read_terminal(master).decode()
    assert "answering" in shown and "24/24" in shown and ".png: " not in shown
    assert len(capfd.readouterr().out.splitlines()) == 24
