"""The convolution against its plain NumPy form and by hand; the pictures that filters.py writes."""

import dataclasses
import io
import json
import re
import types

import filters
import models
import numpy as np
import pytest
import tensorflow as tf
import train
from conftest import ROOT
from PIL import Image
from rich.console import Console

GENERATOR = np.random.default_rng(0)


@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_tensorflows_convolution_equals_the_articles_words(size, padding):
    picture = GENERATOR.random((12, 15)).astype(np.float32) * 255
    kernel = GENERATOR.normal(size=(size, size)).astype(np.float32)
    np.testing.assert_allclose(filters.convolve(picture, kernel, padding),
                               filters.convolve_by_hand(picture, kernel, padding),
                               rtol=1e-4, atol=1e-3)


def test_convolution_by_hand_equals_pen_and_paper():
    A = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]], np.float32)
    K = np.array([[0, 1, 0], [2, 0, 0], [0, 0, 3]], np.float32)
    # In the middle: 1 * 2 (above) + 2 * 4 (left) + 3 * 9 (below right).
    np.testing.assert_array_equal(filters.convolve_by_hand(A, K, "valid"), [[37]])
    same = filters.convolve_by_hand(A, K, "same")
    assert same.shape == (3, 3) and same[1, 1] == 37
    assert same[0, 0] == 3 * 5          # only the element below right is inside
    assert same[2, 2] == 6 + 2 * 8      # above and left


def test_padding_same_keeps_the_size_and_valid_loses_the_rim():
    picture = np.zeros((10, 14), np.float32)
    assert filters.convolve(picture, filters.V, "same").shape == (10, 14)
    assert filters.convolve(picture, filters.V, "valid").shape == (8, 12)


def test_v_answers_to_above_against_below_and_h_to_left_against_right():
    above = np.zeros((9, 9), np.float32)
    above[:5] = 255
    np.testing.assert_array_equal(filters.V, filters.H.T)
    assert np.abs(filters.convolve(above, filters.V, "valid")).max() == 3 * 255
    assert np.abs(filters.convolve(above, filters.H, "valid")).max() == 0
    assert np.abs(filters.convolve(above.T, filters.H, "valid")).max() == 3 * 255
    assert np.abs(filters.convolve(above.T, filters.V, "valid")).max() == 0


def test_a_flat_picture_gets_no_answer():
    flat = np.full((8, 8), 77, np.float32)
    assert not filters.convolve(flat, filters.V, "valid").any()


def test_positive_negative_and_no_answer_are_told_apart():
    shown = np.asarray(filters.show(np.array([[0, 5, -5, 10, -99]], np.float32), limit=10))[0]
    assert tuple(shown[0]) == (0, 0, 0)
    assert tuple(shown[3]) == filters.ORANGE and tuple(shown[4]) == filters.BLUE
    np.testing.assert_array_equal(shown[1], np.round(np.array(filters.ORANGE) / 2))
    np.testing.assert_array_equal(shown[2], np.round(np.array(filters.BLUE) / 2))


def test_brightness_of_grey_is_grey():
    np.testing.assert_array_equal(filters.brightness(Image.new("RGB", (3, 2), (90, 90, 90))),
                                  np.full((2, 3), 90))


@pytest.mark.parametrize("text", ["-1 0 1; -2 0 2; -1 0 1", "-1,0,1;-2,0,2;-1,0,1;"])
def test_a_kernel_is_read_row_by_row(text):
    np.testing.assert_array_equal(filters.parse_kernel(text), [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])


@pytest.mark.parametrize("text", ["1 2; 3 4", "1 2 3", "1 2; 3", "a b c; d e f; g h i", "",
                                  "1 0 0; 0 nan 0; 0 0 1", ";;;"])
def test_a_kernel_that_is_no_odd_square_of_numbers_is_refused(text):
    with pytest.raises(ValueError, match="is not an odd square of numbers"):
        filters.parse_kernel(text)


def test_filters_writes_both_pictures_and_the_sheet(run_alone, tmp_path):
    result = run_alone("filters.py", "--image", str(filters.models.__file__).replace(
        "models.py", "kittens.jpg"))
    assert result.returncode == 0 and result.stderr == ""
    assert result.stdout.split() == ["filtered/kittens-V.png", "filtered/kittens-H.png",
                                     "filtered/kittens-V-H-sheet.png"]
    with Image.open(tmp_path / "filtered/kittens-V.png") as picture, \
            Image.open(tmp_path / "filtered/kittens-V-H-sheet.png") as page:
        assert picture.width == 800
        assert page.width == 1200


def test_a_kernel_of_ones_own_and_valid_padding(run_script, tmp_path, photos):
    result = run_script("filters.py", f"--image={photos}/cat.0.png", "--padding=valid",
                        "--kernel=-1 0 1; -2 0 2; -1 0 1")
    assert result.stdout.split() == [
        "filtered/cat.0--1_0_1_-2_0_2_-1_0_1-valid.png",
        "filtered/cat.0--1_0_1_-2_0_2_-1_0_1-sheet-valid.png"]
    with Image.open(tmp_path / result.stdout.split()[0]) as picture:
        assert picture.size == (30, 22)


def test_names_tell_kernels_apart():
    assert filters.name_of(filters.V) == "-1_-1_-1_0_0_0_1_1_1"
    large = filters.name_of(np.ones((31, 31)))
    assert len(large) < 60 and large != filters.name_of(np.zeros((31, 31)))


# ---------------------------------------------------------------------------------------------
# With a trained network
# ---------------------------------------------------------------------------------------------

def make_run(folder, network, files=(), **options):
    """What train.py leaves in a run's folder of this network, with these validation pictures."""
    folder.mkdir(parents=True)
    config = train.Config(network.name, lr=1e-3, epochs=1, batch_size=4, loss="bce", init="glorot",
                          input_size=network.input_size, **options)
    (folder / "config.json").write_text(json.dumps({"config": dataclasses.asdict(config)}))
    (folder / "predictions.jsonl").write_text("".join(
        json.dumps({"file": str(file), "label": 1, "probability": 0.5}) + "\n" for file in files))
    train.write_checkpoint(tf.train.Checkpoint(network=network), folder / "best/epoch-000001")
    return folder


def table_rows(trained, untrained):
    console = Console(file=io.StringIO(), width=150)
    console.print(filters.similarity_table(trained, untrained))
    lines = console.file.getvalue().splitlines()
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if "│" in line]


def test_edge_filters_are_v_and_h_and_the_same_turned_by_45_degrees():
    by_hand = filters.edge_filters(3)
    np.testing.assert_array_equal(by_hand["V"] + np.zeros((3, 3)), filters.V)
    np.testing.assert_array_equal(by_hand["H"] + np.zeros((3, 3)), filters.H)
    np.testing.assert_array_equal(by_hand["\\"], [[-1, -1, 0], [-1, 0, 1], [0, 1, 1]])
    np.testing.assert_array_equal(by_hand["/"], [[0, 1, 1], [-1, 0, 1], [-1, -1, 0]])
    np.testing.assert_array_equal(filters.edge_filters(4)["V"][:, 0], [-1, -1, 1, 1])


def test_similarity_is_the_cosine_on_grey_by_hand():
    kernels = np.zeros((3, 3, 3, 5), np.float32)
    kernels[:, :, :, 0] = -0.01 * filters.V[:, :, None]  # its sides exchanged, and faint
    kernels[:, :, 1, 1] = filters.H                      # in green only: on grey still H
    kernels[:, :, :, 2] = 1                              # brightness, no edge
    kernels[:, :, 0, 3], kernels[:, :, 2, 3] = filters.V, -filters.V  # red against blue
    kernels[:, :, 0, 4] = filters.V + filters.H
    # V and a diagonal have four numbers in common and a length of root 6 each: 4 / 6.
    by_hand = [[1, 0, 4 / 6, 4 / 6], [0, 1, 4 / 6, 4 / 6], [0, 0, 0, 0], [0, 0, 0, 0],
               [6 / 72 ** 0.5, 6 / 72 ** 0.5, 8 / 72 ** 0.5, 0]]
    np.testing.assert_allclose(filters.edge_similarities(kernels), by_hand, atol=1e-6)
    assert not filters.edge_similarities(np.ones((1, 1, 3, 2), np.float32)).any()  # no sides


def test_of_random_kernels_two_percent_are_called_edge_filters():
    kernels = GENERATOR.uniform(-1, 1, (3, 3, 3, 20_000))
    similarities = filters.edge_similarities(kernels).max(axis=1)
    assert np.mean(similarities >= filters.EDGE) == pytest.approx(0.0224, abs=0.005)


def test_of_kernels_that_sum_to_zero_four_percent_are_and_of_larger_ones_hardly_any():
    kernels = GENERATOR.uniform(-1, 1, (3, 3, 3, 20_000))
    similarities = filters.edge_similarities(kernels - kernels.mean(axis=(0, 1, 2))).max(axis=1)
    assert np.mean(similarities >= filters.EDGE) == pytest.approx(0.038, abs=0.005)
    larger = filters.edge_similarities(GENERATOR.uniform(-1, 1, (5, 5, 3, 20_000))).max(axis=1)
    assert np.mean(larger >= filters.EDGE) < 0.001


def test_the_table_counts_the_edge_filters_of_both_networks():
    trained, untrained = models.Network("conv1", (12, 14)), models.Network("conv1", (12, 14))
    flat = np.ones((3, 3, 3, 24), np.float32)
    untrained.kernels[0].assign(flat)
    flat[:, :, :, 3] = filters.V[:, :, None]
    flat[:, :, :, 7] = flat[:, :, :, 8] = -filters.edge_filters(3)["/"][:, :, None]
    trained.kernels[0].assign(flat)
    # V - 1 has three times -2, -1 and 0; the two -/ - 1 the same numbers: 45 for each colour.
    change = (3 * 3 * (3 * 4 + 3 * 1) / (24 * 27)) ** 0.5
    assert table_rows(trained, untrained) == [
        ["trained", "24", "3", "1", "0", "0", "2", "0.00", "1.00", f"{change:.1%}"],
        ["untrained", "24", "0", "0", "0", "0", "0", "0.00", "0.00", "0.0%"]]


def test_strength_is_the_mean_answer_whatever_its_sign():
    network = models.Network("conv1", (12, 14), scaling="unit")
    kernels = np.zeros((3, 3, 3, 24), np.float32)
    kernels[1, 1, 0, 5], kernels[1, 1, 1, 6] = 2, -3  # twice the red, three times less the green
    network.kernels[0].assign(kernels)
    red, green = np.zeros((2, 12, 14, 3), np.uint8)
    red[:, :, 0] = green[:, :, 1] = 255
    by_hand = np.zeros(24)
    by_hand[5], by_hand[6] = 2 / 3, 2 * 3 / 3  # one picture is red and two are green
    np.testing.assert_allclose(filters.strengths(network, [red, green, green]), by_hand, rtol=1e-6)


@pytest.mark.parametrize("pooling", ["max", "average", "none"])
def test_maps_equal_the_articles_words(pooling):
    network = models.Network("conv1", (12, 15), pooling=pooling, scaling="unit")
    bias = next(layer.bias for layer in network.layers if isinstance(layer, models.BiasRelu))
    bias.assign(np.linspace(-0.5, 0.5, 24))
    picture = GENERATOR.integers(0, 256, (12, 15, 3), dtype=np.uint8)
    (answers, left), = filters.blocks(network, picture)
    for index in (0, 23):
        kernel = network.kernels[0].numpy()[:, :, :, index]
        by_hand = sum(filters.convolve_by_hand(picture[:, :, colour] / 255, kernel[:, :, colour],
                                               "valid") for colour in range(3))
        np.testing.assert_allclose(answers[:, :, index], by_hand, atol=1e-5)
        by_hand = np.maximum(by_hand + bias.numpy()[index], 0)
        if pooling != "none":
            fours = by_hand[:10, :12].reshape(5, 2, 6, 2)
            by_hand = {"max": fours.max, "average": fours.mean}[pooling](axis=(1, 3))
        np.testing.assert_allclose(left[:, :, index], by_hand, atol=1e-5)


def test_evidence_is_the_mean_loss_of_the_squares_that_cover_a_pixel():
    answers = [filters.Covered(0, 0, 0.9), filters.Covered(0, 1, 0.5), filters.Covered(1, 0, 0.7),
               filters.Covered(1, 1, 0.3)]
    np.testing.assert_allclose(filters.evidence((3, 3), 2, 0.7, answers),
                               [[-0.2, 0, 0.2], [-0.1, 0.1, 0.3], [0, 0.2, 0.4]], atol=1e-6)


def test_the_square_slides_over_the_whole_picture():
    network = models.Network("mlp", (11, 14))
    answers = filters.occlude(network, np.zeros((11, 14, 3), np.uint8), size=4)
    assert [answer[:2] for answer in answers] == [
        (row, column) for row in range(8) for column in range(11)]
    assert {row for row, *_ in filters.occlude(network, np.zeros((11, 14, 3), np.uint8), 8)} == {
        0, 2, 3}  # by a quarter of its size, and the last one to the edge


def looks_at(arch, rows, columns, sign=1.0):
    """A network whose logit is sign * (mean brightness of this part of a 24x32 picture - 1 / 2)."""
    network = models.Network(arch, (24, 32), scaling="unit")
    for kernel in network.kernels:
        kernel.assign(tf.zeros_like(kernel))
    first, *hidden = network.kernels
    if arch == "mlp":
        part = np.zeros((24, 32, 3, 512), np.float32)
        part[rows, columns, :, 0] = 1
        first.assign(part.reshape(-1, 512))
    else:  # the first kernel passes its middle pixel on; of the maps only this part is taken
        kernel = np.zeros((3, 3, 3, 24), np.float32)
        kernel[1, 1, :, 0] = 1
        first.assign(kernel)
        part = np.zeros((11, 15, 24, 128), np.float32)
        part[-(-rows.start * 11 // 24):rows.stop * 11 // 24,
             -(-columns.start * 15 // 32):columns.stop * 15 // 32, 0, 0] = 1
        hidden.pop(0).assign(part.reshape(-1, 128))
    for kernel in hidden[:-1]:
        kernel[0, 0].assign(1)
    hidden[-1][0, 0].assign(sign * 4 / part.sum())
    network.layers[-1].bias.assign([-sign * 2])
    return network


CORNERS = {"top left": (slice(0, 8), slice(0, 8)), "top right": (slice(0, 8), slice(24, 32)),
           "bottom left": (slice(16, 24), slice(0, 8)),
           "bottom right": (slice(16, 24), slice(24, 32))}


@pytest.mark.parametrize("corner", CORNERS)
@pytest.mark.parametrize("arch", ["mlp", "conv1"])
def test_a_network_made_to_look_at_one_corner_shows_that_corner(arch, corner):
    rows, columns = CORNERS[corner]
    network = looks_at(arch, rows, columns)
    picture = GENERATOR.integers(200, 256, (24, 32, 3), dtype=np.uint8)
    inside = np.zeros((24, 32), bool)
    inside[rows, columns] = True

    gradient = filters.sensitivity(network, picture)
    assert gradient[inside].any() and not gradient[~inside].any()

    before = network.probability(picture[None]).numpy()[0]
    answers = filters.occlude(network, picture, 4)
    evidence = filters.evidence((24, 32), 4, before, answers)
    assert before > 0.6 and inside.flat[evidence.argmax()]
    assert evidence[inside].sum() > 0.8 * evidence.sum() > 0 and evidence.min() > -1e-6
    # The picture of it: orange in this corner, none in the others; what speaks for a dog is blue.
    for sign, colour in ((1, 0), (-1, 2)):
        page = filters.why_sheet(looks_at(arch, rows, columns, sign), picture,
                                 Image.fromarray(picture), "x.jpg", "planted")
        pixels = np.asarray(page).astype(int)
        height = round(394 * 24 / 32)
        top = page.height - 36 - height
        panel = pixels[top:top + height, 402:402 + 394]
        coloured = panel[:, :, colour] - panel[:, :, 2 - colour]
        for other, (rows_of, columns_of) in CORNERS.items():
            part = coloured[rows_of.start * height // 24:rows_of.stop * height // 24,
                            columns_of.start * 394 // 32:columns_of.stop * 394 // 32]
            assert (part.max() > 100) == (other == corner) and part.min() > -3


def test_sensitivity_equals_the_change_of_the_answer():
    network = models.Network("conv2_48", (12, 14), scaling="unit")
    picture = GENERATOR.integers(1, 255, (12, 14, 3), dtype=np.uint8)
    gradient = filters.sensitivity(network, picture)
    for row, column in ((3, 4), (7, 9), (11, 13)):
        changes = []
        for colour in range(3):  # a hundredth of a level either way, as the pixels of two pictures
            twins = np.repeat(picture[None].astype(np.float32), 2, axis=0)
            twins[:, row, column, colour] += 0.02, -0.02
            changes.append(np.abs(np.subtract(*network(twins).numpy())) / 0.04)
        assert gradient[row, column] == pytest.approx(max(changes), rel=0.05, abs=1e-5)


@pytest.mark.parametrize("arch, options", [
    ("conv1", {"pooling": "none", "kernel_size": 5, "dtype": "bfloat16"}),
    ("conv2_fc512", {"pooling": "average", "kernel_size": 1, "scaling": "standard"}),
    ("conv1", {"stride": 2, "kernel_size": 2})])
def test_a_network_gets_three_sheets(arch, options, photos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    network = models.Network(arch, (24, 32), **options)
    run = make_run(tmp_path / "runs" / "of mine", network,
                   [*photos.iterdir(), tmp_path / "gone.jpg"], **options)
    written = filters.network_pictures(photos / "cat.0.png", run)
    assert [str(file) for file in written] == [
        f"filtered/cat.0-of mine-{kind}.png" for kind in ("kernels", "maps", "why")]
    for file in written:
        with Image.open(file) as page:
            assert page.width == 1200
    picture = np.asarray(Image.open(photos / "cat.0.png"))
    probability = 1 / (1 + np.exp(-network(picture[None]).numpy()[0]))
    said = capsys.readouterr().out
    assert f"cat.0.png: a cat with probability {probability:.1%}" in said
    count = models.ARCHITECTURES[arch].filters[0]
    assert len(re.findall(rf"│ (trained|untrained) +│ +{count} │", said)) == 2


def test_the_strongest_kernel_comes_first(photos, tmp_path):
    network = models.Network("conv1", (24, 32))
    kernels = 0.01 * np.ones((3, 3, 3, 24), np.float32)
    kernels[:, :, :, 17] = 1
    network.kernels[0].assign(kernels)
    picture = np.full((24, 32, 3), 99, np.uint8)
    order = filters.strengths(network, [picture]).argsort()[::-1]
    page = np.asarray(filters.kernels_sheet(network, network, order, 1, "mine"))
    orange = (page == filters.ORANGE).all(axis=2)
    rows = np.flatnonzero(orange[:, :8].any(axis=1))  # the first column: V, and then the first one
    assert orange[rows[-1] - 100:rows[-1], 2:106].all()
    assert not orange[rows[-1] - 100:, 151:].any()


def test_every_convolution_is_shown_under_its_number(monkeypatch):
    said, words = [], filters.words
    monkeypatch.setattr(filters, "words", lambda text, *size: said.append(text) or words(text, *size))
    network = models.Network("conv2_48", (40, 48), filters=(2, 3, 4))
    picture = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    filters.maps_sheet(network, picture, np.arange(2), "a.png", "mine")
    after = "answer, and after ReLU and pooling"
    assert said[1:] == [f"Convolution 1: filter, {after}",
                        f"Convolution 2, the 3 strongest of 3 filters: {after}",
                        f"Convolution 3, the 4 strongest of 4 filters: {after}"]


def test_a_network_without_convolutions_shows_only_why(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run = make_run(tmp_path / "mine", models.Network("mlp", (24, 32)))
    written = filters.network_pictures(photos / "dog.1.png", run)
    assert [file.name for file in written] == ["dog.1-mine-why.png"]
    assert "mlp has no convolution: there are no kernels" in capsys.readouterr().out


@pytest.mark.parametrize("kernel, padding", [(True, False), (False, True)])
def test_a_network_takes_no_kernel_and_no_padding(kernel, padding, monkeypatch):
    for name, value, present in (("IMAGE", "x.jpg", True), ("RUN", "runs/a", True),
                                 ("KERNEL", "1", kernel), ("PADDING", "same", padding)):
        flag = types.SimpleNamespace(value=value, present=present)
        monkeypatch.setattr(filters, name, flag, raising=False)
    with pytest.raises(SystemExit, match="--run brings its own kernels: leave --kernel and"):
        filters.main(["filters.py"])


def test_what_no_sheet_can_be_made_of_is_refused(photos, tmp_path):
    run = make_run(tmp_path / "mine", models.Network("conv1", (24, 32)))
    with pytest.raises(ValueError, match="--image=none.jpg: no such file"):
        filters.network_pictures(filters.Path("none.jpg"), run)
    with pytest.raises(ValueError, match="is not the folder of a run"):
        filters.network_pictures(photos / "cat.0.png", tmp_path)
    with pytest.raises(ValueError, match="no predictions to measure"):
        filters.network_pictures(photos / "cat.0.png", run)


def test_filters_looks_into_a_network_from_the_command_line(run_script, tmp_path):
    make_run(tmp_path / "runs" / "a", models.Network("conv1", (24, 32)), [ROOT / "kittens.jpg"])
    result = run_script("filters.py", f"--image={ROOT}/kittens.jpg", "--run=runs/a")
    assert result.returncode == 0 and result.stderr == ""
    assert result.stdout.startswith("kittens.jpg: a cat with probability")
    assert "trained" in result.stdout and "untrained" in result.stdout
    assert result.stdout.splitlines()[-3:] == [
        f"filtered/kittens-a-{kind}.png" for kind in ("kernels", "maps", "why")]
