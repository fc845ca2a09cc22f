"""support/saved_model.py: the SavedModel runs without our code, and decodes as Pillow does."""

import importlib.util
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorflow.core.protobuf import saved_model_pb2

import data
import models
from conftest import make_network
from support import saved_model
from support.tensorflow_setup import tf
from test_image_files import blobs, jpeg, png

SIZE = (24, 32)  # of the fixture photos: nothing is resized
GENERATOR = np.random.default_rng(0)


@pytest.fixture(scope="module")
def network() -> models.Network:
    return make_network("conv1", SIZE, scaling="unit", init="he", dropout=0.5)


@pytest.fixture(scope="module")
def run(network, tmp_path_factory) -> Path:
    """The folder of a run with its export."""
    folder = tmp_path_factory.mktemp("runs") / "mine"
    folder.mkdir()
    saved_model.export(network, 0.4, ("cat", "dog"), folder / "model")
    return folder


def expected_probability(network: models.Network, file: Path) -> float:
    logit = network(data.load_image(file, network.input_size)[None])
    return 1 / (1 + np.exp(-float(logit[0])))


def graph_functions(model: Path) -> list:
    saved = saved_model_pb2.SavedModel.FromString((model / "saved_model.pb").read_bytes())
    return saved.meta_graphs[0].graph_def.library.function


# ---------------------------------------------------------------------------------------------
# Exporting
# ---------------------------------------------------------------------------------------------

def test_another_client_gets_the_predictions_of_both_signatures(network, run, photos, run_script,
                                                               tmp_path):
    """saved_model_cli comes with TensorFlow, knows nothing of us, and has no code of ours."""
    files = sorted(photos.iterdir())
    np.save(tmp_path / "bytes.npy", np.array([file.read_bytes() for file in files]))
    np.save(tmp_path / "pixels.npy", np.stack([data.load_image(file, SIZE) for file in files]))

    client = importlib.util.find_spec("tensorflow.python.tools.saved_model_cli").origin
    outputs = []
    for signature, inputs in (("pixels", "images=pixels.npy"),
                              ("serving_default", "image_bytes=bytes.npy")):
        result = run_script(client, "run", f"--dir={run}/model", "--tag_set=serve",
                            f"--signature_def={signature}", f"--inputs={inputs}")
        assert result.returncode == 0, result.stderr
        outputs.append(result.stdout)

    def numbers(output: str) -> list[float]:
        words = output.split("output key probability:")[1].split("[")[1].split("]")[0]
        return list(map(float, words.split()))

    expected = np.array([expected_probability(network, file) for file in files])
    assert expected.min() < 0.4 < expected.max()
    for output in outputs:
        np.testing.assert_allclose(numbers(output), expected, rtol=1e-4)
    labels = re.findall("b'(...)'", outputs[1].split("output key label:")[1])
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
    network = make_network("conv2_48", (20, 26), dtype="bfloat16", init="he")
    images = GENERATOR.integers(0, 256, (5, 20, 26, 3), dtype=np.uint8)
    expected = 1 / (1 + np.exp(-network(images).numpy()))
    saved_model.export(network, 0.3, ("cat", "dog"), tmp_path / "model")
    model = tf.saved_model.load(str(tmp_path / "model"))
    probability = model.signatures["pixels"](images=tf.constant(images))["probability"]
    np.testing.assert_allclose(probability, expected, rtol=1e-4)
    assert model.threshold.numpy() == np.float32(0.3)


def test_an_export_replaces_the_one_before_only_when_it_is_whole(tmp_path, monkeypatch):
    network, folder = make_network("mlp", (2, 2)), tmp_path / "model"
    saved_model.export(network, 0.1, ("cat", "dog"), folder)

    def half_saved(module, path, signatures):
        Path(path).mkdir()
        (Path(path) / "saved_model.pb").write_bytes(b"half")
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(tf.errors.ResourceExhaustedError):
        patched.setattr(tf.saved_model, "save", half_saved)
        saved_model.export(network, 0.2, ("cat", "dog"), folder)
    assert tf.saved_model.load(str(folder)).threshold.numpy() == np.float32(0.1)
    saved_model.export(network, 0.2, ("cat", "dog"), folder)
    assert tf.saved_model.load(str(folder)).threshold.numpy() == np.float32(0.2)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


# ---------------------------------------------------------------------------------------------
# Decoding files
# ---------------------------------------------------------------------------------------------

def encoded(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def images_of_every_kind() -> dict[str, bytes]:
    image = Image.fromarray(blobs(120, 160))
    grey, opacity = image.convert("L"), Image.linear_gradient("L").resize((160, 120))
    clear, clear_grey = image.copy(), grey.copy()
    clear.putalpha(opacity)
    clear_grey.putalpha(opacity)
    few, many = (image.convert("P", palette=Image.Palette.ADAPTIVE, colors=colours)
                 for colours in (12, 90))
    deep = GENERATOR.integers(0, 65536, (20, 30, 3)).astype(">u2")
    kinds = {
        "large": jpeg(blobs(1500, 1300)), "grey JPEG": encoded(grey, "JPEG"),
        "tall": jpeg(blobs(400, 20)), "one pixel": jpeg(blobs(1, 1)),
        "CMYK": encoded(image.convert("CMYK"), "JPEG"),
        "progressive": encoded(image, "JPEG", progressive=True),
        "opacity": encoded(clear, "PNG"), "grey with opacity": encoded(clear_grey, "PNG"),
        "palette with opacity": encoded(many, "PNG", transparency=b"\0\x80\xff"),
        "16 bits": png(30, 20, 16, 2, [row.tobytes() for row in deep]),
        "16 bits, grey": encoded(Image.fromarray(np.asarray(grey).astype(np.uint16) * 257), "PNG"),
        "animated": encoded(many, "GIF", save_all=True, append_images=[many.rotate(90)])}
    for kind in ("PNG", "GIF"):
        kinds |= {kind: encoded(image, kind), f"grey {kind}": encoded(grey, kind),
                  f"palette {kind}": encoded(many, kind)}
    kinds |= {"4 bits": encoded(few, "PNG"), "1 bit": encoded(grey.convert("1"), "PNG"),
              "BMP": encoded(image, "BMP"), "BMP of 32 bits": encoded(clear, "BMP")}
    for byte_order, mark in (("<", b"Exif\0\0II"), (">", b"Exif\0\0MM")):
        for orientation in range(1, 9):
            exif = Image.Exif()
            exif.endian = byte_order
            exif[0x010F], exif[0x0112] = "the camera's maker", orientation
            turned = kinds[f"orientation {orientation}{byte_order}"] = encoded(
                Image.fromarray(blobs(300, 200)), "JPEG", exif=exif, quality=95)
            assert mark in turned
    return kinds


def test_images_of_every_kind_are_decoded_as_pillow_does_to_one_level(tmp_path):
    decode = tf.function(lambda contents: saved_model.decode_image(contents, (30, 40)),
                         input_signature=[tf.TensorSpec((), tf.string)], autograph=False)
    for kind, contents in images_of_every_kind().items():
        (tmp_path / "file").write_bytes(contents)
        expected = data.load_image(tmp_path / "file", (30, 40)).astype(int)
        difference = np.abs(decode(contents).numpy().astype(int) - expected)
        assert difference.max() <= 1, kind
        assert expected.std() > 10 or kind == "one pixel"
    palette = encoded(Image.fromarray(blobs(9, 12)).convert("P"), "BMP")  # refused, not guessed
    for contents in (b"", b"text", jpeg(blobs(90, 120))[:500], palette):
        with pytest.raises(tf.errors.InvalidArgumentError):
            decode(contents)
