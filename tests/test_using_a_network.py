"""docs/using-a-network.md: its programs, as they stand there, on an exported network."""

import re

import numpy as np
import pytest

import models
from conftest import ROOT, make_network
from support import saved_model
from support.tensorflow_setup import tf

PAGE = (ROOT / "docs/using-a-network.md").read_text()
SIZE = (24, 32)


def program(heading: str) -> str:
    """The Python block below the heading."""
    return re.search(rf"^## {heading}\n.*?^```python\n(.*?)^```", PAGE, re.DOTALL | re.M)[1]


@pytest.fixture
def network(tmp_path, monkeypatch) -> models.Network:
    """Exported into runs/NAME/model of the current folder."""
    monkeypatch.chdir(tmp_path)
    network = make_network("conv2_48", SIZE, scaling="standard", init="adapted", tta=True)
    network.scale.fit([120, 110, 100], [60, 50, 40])
    (tmp_path / "runs/NAME").mkdir(parents=True)
    saved_model.export(network, 0.4, ("cat", "dog"), tmp_path / "runs/NAME/model")
    return network


@pytest.mark.filterwarnings("ignore::UserWarning")  # tf.lite.Interpreter has a successor
def test_the_converted_network_has_the_same_probabilities(network, tmp_path):
    lines = program("On a phone")
    assert len([line for line in lines.splitlines() if "import" not in line]) <= 4
    exec(compile(lines, "On a phone", "exec"), {})
    interpreter = tf.lite.Interpreter(str(tmp_path / "network.tflite"))
    converted = interpreter.get_signature_runner("pixels")
    for count in (1, 5):
        images = np.random.default_rng(count).integers(0, 256, (count, *SIZE, 3), dtype=np.uint8)
        expected = network.probability(images).numpy()
        assert 0.1 < expected.min() and expected.max() < 0.9
        np.testing.assert_allclose(converted(images=images)["probability"], expected, atol=1e-5)


def test_the_program_without_this_code_prints_a_label_and_a_probability(network, tmp_path, capsys):
    picture = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    (tmp_path / "photo.jpg").write_bytes(tf.io.encode_png(picture).numpy())
    exec(compile(program("Without this code"), "Without this code", "exec"), {})
    printed = capsys.readouterr().out
    probability = network.probability(picture[None]).numpy()[0]
    assert f"{probability:.4f}" in printed or f"{probability:.5f}"[:6] in printed
    assert ("b'cat'" if probability > 0.4 else "b'dog'") in printed
