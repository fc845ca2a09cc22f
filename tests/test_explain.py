"""What explain.py tells of a network: by hand, and for networks made to look at one place."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import explain
import filters
import models
from conftest import ROOT, epoch_record, make_network, write_config
from support import checkpoints, network_pages, run_folder
from support.cli import UserError
from support.tensorflow_setup import tf

GENERATOR = np.random.default_rng(0)


def make_run(folder, network, files=(), class_names=("cat", "dog"), threshold=0.5, **options):
    """What train.py leaves in a run's folder of this network, with these validation images.

    options: the network's, those that are not their defaults.
    """
    folder.mkdir(parents=True)
    write_config(folder, models.options(network.name, input_size=network.input_size, lr=1e-3,
                                        classes=class_names, **options))
    files = list(files)
    run_folder.write_predictions(folder, files, np.ones(len(files)), np.full(len(files), 0.5))
    checkpoints.write(tf.train.Checkpoint(network=network), folder / "best/epoch-000001")
    (folder / "metrics.jsonl").touch()
    run_folder.write_history(folder, epoch_record(threshold=threshold))
    return folder


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
    np.testing.assert_allclose(explain.edge_similarities(kernels), by_hand, atol=1e-6)
    assert not explain.edge_similarities(np.ones((1, 1, 3, 2), np.float32)).any()  # no sides


def test_of_random_kernels_two_percent_count_as_edge_filters():
    kernels = GENERATOR.uniform(-1, 1, (3, 3, 3, 20_000))
    similarities = explain.edge_similarities(kernels).max(axis=1)
    assert np.mean(similarities >= explain.EDGE_SIMILARITY) == pytest.approx(0.0224, abs=0.005)


def test_of_kernels_that_sum_to_zero_four_percent_do_and_of_larger_ones_hardly_any():
    kernels = GENERATOR.uniform(-1, 1, (3, 3, 3, 20_000))
    similarities = explain.edge_similarities(kernels - kernels.mean(axis=(0, 1, 2))).max(axis=1)
    assert np.mean(similarities >= explain.EDGE_SIMILARITY) == pytest.approx(0.038, abs=0.005)
    larger = explain.edge_similarities(GENERATOR.uniform(-1, 1, (5, 5, 3, 20_000))).max(axis=1)
    assert np.mean(larger >= explain.EDGE_SIMILARITY) < 0.001


@pytest.mark.parametrize("pooling", ["max", "average", "none"])
def test_feature_maps_equal_the_articles_words(pooling):
    """Those of the second convolution, too: of what ReLU and pooling make of the first one's."""
    network = make_network("conv2_48", (12, 15), pooling=pooling, scaling="unit", filters=(3, 2))
    bias = next(layer.bias for layer in network.layers if isinstance(layer, models.BiasRelu))
    bias.assign([-0.5, 0, 0.5])
    image = GENERATOR.integers(0, 256, (12, 15, 3), dtype=np.uint8)
    first, second = explain.feature_maps(network, image)

    def by_hand(channels, kernel):  # (rows, columns, channels), (3, 3, channels, n)
        return np.stack([sum(
            filters.convolve_by_hand(channels[:, :, channel], kernel[:, :, channel, index], "valid")
            for channel in range(channels.shape[2])) for index in range(kernel.shape[3])], axis=2)

    kernels = [kernel.numpy() for kernel in network.kernels]
    np.testing.assert_allclose(first, by_hand(image / 255, kernels[0]), atol=1e-5)
    passed_on = np.maximum(first + bias.numpy(), 0)
    if pooling != "none":
        fours = passed_on[:10, :12].reshape(5, 2, 6, 2, 3)
        passed_on = {"max": fours.max, "average": fours.mean}[pooling](axis=(1, 3))
    np.testing.assert_allclose(second, by_hand(passed_on, kernels[1]), atol=1e-5)


def test_the_occlusion_map_is_the_mean_loss_of_the_squares_that_cover_a_pixel():
    occlusions = [(0, 0, 0.9), (0, 1, 0.5), (1, 0, 0.7), (1, 1, 0.3)]
    np.testing.assert_allclose(explain.occlusion_map((3, 3), 2, 0.7, occlusions),
                               [[-0.2, 0, 0.2], [-0.1, 0.1, 0.3], [0, 0.2, 0.4]], atol=1e-6)


def test_the_square_slides_over_the_whole_image():
    network, image = make_network("mlp", (11, 14)), np.zeros((11, 14, 3), np.uint8)
    assert [occlusion[:2] for occlusion in explain.occlude(network, image, size=4)] == [
        (row, column) for row in (0, 2, 4, 6, 7) for column in (0, 2, 4, 6, 8, 10)]
    assert {row for row, *_ in explain.occlude(network, image, size=6)} == {
        0, 3, 5}  # by half of its size, and the last one to the edge


def looks_at(arch, rows, columns, sign=1.0):
    """A network whose logit is sign * (mean brightness of this part of a 24x32 image - 1 / 2)."""
    network = make_network(arch, (24, 32), scaling="unit", hidden=(2,),
                           filters=() if arch == "mlp" else (2,))
    for kernel in network.kernels:
        kernel.assign(tf.zeros_like(kernel))
    first, *hidden = network.kernels
    if arch == "mlp":
        part = np.zeros((24, 32, 3, 2), np.float32)
        part[rows, columns, :, 0] = 1
        first.assign(part.reshape(-1, 2))
    else:  # the first kernel passes its middle pixel on; of the maps only this part is taken
        kernel = np.zeros((3, 3, 3, 2), np.float32)
        kernel[1, 1, :, 0] = 1
        first.assign(kernel)
        part = np.zeros((11, 15, 2, 2), np.float32)
        part[-(-rows.start * 11 // 24):rows.stop * 11 // 24,
             -(-columns.start * 15 // 32):columns.stop * 15 // 32, 0, 0] = 1
        hidden.pop(0).assign(part.reshape(-1, 2))
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
    image = GENERATOR.integers(200, 256, (24, 32, 3), dtype=np.uint8)
    inside = np.zeros((24, 32), bool)
    inside[rows, columns] = True

    gradient = explain.saliency_map(network, image)
    assert gradient[inside].any() and not gradient[~inside].any()

    before = network.probability(image[None]).numpy()[0]
    occlusions = explain.occlude(network, image, 4)
    carried = explain.occlusion_map((24, 32), 4, before, occlusions)
    assert before > 0.6 and inside.flat[carried.argmax()]
    assert carried[inside].sum() > 0.8 * carried.sum() > 0 and carried.min() > -1e-6
    # In the picture: orange in this corner, none in the others; what is evidence for a dog is blue.
    for sign, colour in ((1, 0), (-1, 2)):
        network = looks_at(arch, rows, columns, sign)
        before = network.probability(image[None]).numpy()[0]
        occlusions = explain.occlude(network, image, 4)
        strip = np.asarray(network_pages.evidence_strip(
            image, before, occlusions, 4, explain.occlusion_map((24, 32), 4, before, occlusions),
            gradient, ("cat", "dog"))).astype(int)
        panel = strip[-220:, 604:604 + 294]  # the third of four
        coloured = panel[:, :, colour] - panel[:, :, 2 - colour]
        for other, (rows_of, columns_of) in CORNERS.items():
            part = coloured[rows_of.start * 220 // 24:rows_of.stop * 220 // 24,
                            columns_of.start * 294 // 32:columns_of.stop * 294 // 32]
            assert (part.max() > 100) == (other == corner) and part.min() > -3


def test_the_saliency_map_equals_the_change_of_the_logit():
    network = make_network("conv2_48", (12, 14), scaling="unit")
    image = GENERATOR.integers(1, 255, (12, 14, 3), dtype=np.uint8)
    gradient = explain.saliency_map(network, image)
    for row, column in ((3, 4), (7, 9), (11, 13)):
        changes = []
        for colour in range(3):  # a hundredth of a level either way, as the pixels of two images
            twins = np.repeat(image[None].astype(np.float32), 2, axis=0)
            twins[:, row, column, colour] += 0.02, -0.02
            changes.append(np.abs(np.subtract(*network(twins).numpy())) / 0.04)
        assert gradient[row, column] == pytest.approx(max(changes), rel=0.05, abs=1e-5)


@pytest.mark.parametrize("arch, options", [
    ("conv1", {"pooling": "none", "kernel_size": 5, "dtype": "bfloat16"}),
    ("conv2_fc512", {"pooling": "average", "kernel_size": 1, "scaling": "standard"}),
    ("conv1", {"stride": 2, "kernel_size": 2})])
def test_a_network_gets_one_picture(arch, options, photos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    network = make_network(arch, (24, 32), **options)
    run = make_run(tmp_path / "runs" / "of mine", network, **options)
    written = explain.look_into(photos / "cat.0.png", run)
    assert str(written) == "filtered/cat.0-of mine.png"
    with Image.open(written) as page:
        assert page.width == 1200
    image = np.asarray(Image.open(photos / "cat.0.png"))
    probability = 1 / (1 + np.exp(-network(image[None]).numpy()[0]))
    said = capsys.readouterr().out
    assert f"cat.0.png: cat with probability {probability:.1%}" in said
    count = network.layers[1].filters
    assert len(re.findall(rf"│ (trained|untrained) +│ +{count} │", said)) == 2


def test_a_network_without_convolutions_shows_only_what_its_prediction_depends_on(
        photos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run = make_run(tmp_path / "mine", make_network("mlp", (24, 32)))
    for strip in ("maps_strip", "kernels_strip"):
        monkeypatch.delattr(network_pages, strip)
    assert explain.look_into(photos / "dog.1.png", run).exists()
    assert "mlp has no convolution: there are no kernels" in capsys.readouterr().out


class GlobalAveragePool(models.Layer):
    """The mean of each feature map, in place of Flatten: a layer that is new to explain.py."""

    def build(self, input_shape, init, seed):
        self.output_shape = input_shape[-1:]

    def __call__(self, x):
        return tf.reduce_mean(x, axis=(1, 2))


def test_a_network_with_a_new_layer_shows_the_feature_maps_before_it(photos, tmp_path,
                                                                     monkeypatch):
    monkeypatch.setattr(models, "Flatten", GlobalAveragePool)
    monkeypatch.chdir(tmp_path)
    network = make_network("conv2_48", (24, 32))
    assert network.layers[7].output_shape == (48,)
    maps = explain.feature_maps(network, np.zeros((24, 32, 3), np.uint8))
    assert [each.shape for each in maps] == [(22, 30, 48), (9, 13, 48)]
    run = make_run(tmp_path / "mine", network, photos.iterdir())
    assert explain.look_into(photos / "cat.0.png", run).exists()
    assert '"type":"GlobalAveragePool"' in explain.write_page(photos / "cat.0.png", run).read_text()


def test_a_run_keeps_its_first_kernels_from_the_initial_ones_on(photos, run_script, tmp_path):
    for arch in ("conv1", "mlp"):
        assert run_script("train.py", f"--arch={arch}", "--input_size=24x32", "--epochs=3",
                          f"--data_dir={photos}", f"--name={arch}", "--lr=1e-3").returncode == 0
    run = tmp_path / "runs/conv1"
    kept, best = run_folder.read_first_kernels(run), run_folder.read_best(run)["epoch"]
    assert kept.shape == (4, 3, 3, 3, 24) and len(np.unique(kept, axis=0)) == 4
    initial = models.Network(models.saved_options(run))
    for epoch, network in ((0, initial), (best, models.load(run))):
        np.testing.assert_array_equal(
            kept[epoch], network.kernels[0].numpy().astype(np.float16))
    assert run_folder.read_first_kernels(tmp_path / "runs/mlp") is None
    network = models.load(run)
    assert explain.learning_of(network, run)["epochs"] == [*range(best + 1)]
    (run / "first_kernels.npy").write_bytes(b"damaged")  # then those before and after training
    assert run_folder.read_first_kernels(run) is None
    assert explain.learning_of(network, run)["epochs"] == [0, best]
    run_folder.write_first_kernels(run, 3, network.kernels[0].numpy())  # not without those before
    assert run_folder.read_first_kernels(run) is None


def test_a_picture_to_click_that_is_gone_or_damaged_is_left_out(photos, tmp_path):
    network = make_network("conv1", (24, 32))
    files = sorted(photos.iterdir())[:8]
    run = make_run(tmp_path / "mine", network, files)
    before = [each["name"] for each in explain.examples_of(network, run)]
    gone, damaged = (photos / name for name in before[:2])
    gone.unlink()
    damaged.write_bytes(b"no picture")
    after = [each["name"] for each in explain.examples_of(network, run)]
    assert len(before) == len(after) == 6 and after[:4] == before[2:]


def test_what_no_page_can_be_drawn_of_is_refused(photos, tmp_path):
    run = make_run(tmp_path / "mine", make_network("conv1", (24, 32)))
    with pytest.raises(UserError, match="--image=none.jpg: no such file"):
        explain.look_into(Path("none.jpg"), run)
    with pytest.raises(UserError, match="is not the folder of a run"):
        explain.look_into(photos / "cat.0.png", tmp_path)


def test_explain_looks_into_a_network_from_the_command_line(run_script, tmp_path):
    make_run(tmp_path / "runs" / "a", make_network("conv1", (24, 32)), [ROOT / "kittens.jpg"])
    result = run_script("explain.py", f"--image={ROOT}/kittens.jpg", "--run=runs/a")
    assert result.returncode == 0 and result.stderr == ""
    assert result.stdout.startswith("kittens.jpg: cat with probability")
    assert "trained" in result.stdout and "untrained" in result.stdout
    assert result.stdout.splitlines()[-1] == "filtered/kittens-a.png"
