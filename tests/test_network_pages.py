"""The pages of a network: the table of edge filters, its kernels, its feature maps."""

import io

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import explain
import filters
from conftest import make_network
from support import drawing, network_pages
from support.kernels import edge_filters


def table_rows(kernels, initial):
    console = Console(file=io.StringIO(), width=150)
    console.print(network_pages.similarity_table(
        explain.edge_similarities(kernels), explain.edge_similarities(initial),
        explain.relative_change(kernels, initial), list(edge_filters(3)),
        explain.EDGE_SIMILARITY))
    lines = console.file.getvalue().splitlines()
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if "│" in line]


def test_the_table_counts_the_edge_filters_of_both_networks():
    initial = np.ones((3, 3, 3, 24), np.float32)
    kernels = initial.copy()
    kernels[:, :, :, 3] = filters.V[:, :, None]
    kernels[:, :, :, 7] = kernels[:, :, :, 8] = -edge_filters(3)["/"][:, :, None]
    # V - 1 has three times -2, -1 and 0; the two -/ - 1 the same numbers: 45 for each colour.
    change = (3 * 3 * (3 * 4 + 3 * 1) / (24 * 27)) ** 0.5
    assert table_rows(kernels, initial) == [
        ["trained", "24", "3", "1", "0", "0", "2", "0.00", "1.00", f"{change:.1%}"],
        ["untrained", "24", "0", "0", "0", "0", "0", "0.00", "0.00", "0.0%"]]


def test_the_strongest_kernel_comes_first():
    network = make_network("conv1", (24, 32))
    kernels = 0.01 * np.ones((3, 3, 3, 24), np.float32)
    kernels[:, :, :, 17] = 1
    network.kernels[0].assign(kernels)
    image = np.full((24, 32, 3), 99, np.uint8)
    order = explain.mean_activations(network, [image]).argsort()[::-1]
    similarities = explain.edge_similarities(kernels)
    page = np.asarray(network_pages.kernels_page(
        kernels, order, similarities, similarities, edge_filters(3),
        explain.EDGE_SIMILARITY, 1, "mine"))
    orange = (page == drawing.ORANGE).all(axis=2)
    rows = np.flatnonzero(orange[:, :8].any(axis=1))  # the first column: V, and then the first one
    assert orange[rows[-1] - 100:rows[-1], 2:106].all()
    assert not orange[rows[-1] - 100:, 151:].any()


@pytest.fixture
def paragraphs(monkeypatch):
    """The texts of the paragraphs that are drawn."""
    texts, paragraph = [], drawing.paragraph
    monkeypatch.setattr(drawing, "paragraph",
                        lambda text, *size: texts.append(text) or paragraph(text, *size))
    return texts


@pytest.mark.parametrize("pooled, after", [(True, "after ReLU and pooling"), (False, "after ReLU")])
def test_every_convolution_is_shown_under_its_number(pooled, after, paragraphs):
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (40, 48, 3), dtype=np.uint8)
    feature_maps = [(generator.normal(size=(rows, rows + 8, n)),
                     generator.random((rows // 2, rows // 2 + 4, n)))
                    for rows, n in ((38, 2), (17, 3), (6, 14))]
    orders = [generator.permutation(responses.shape[2]) for responses, _ in feature_maps]
    network_pages.maps_page(image, generator.normal(size=(3, 3, 3, 2)), feature_maps, orders,
                            pooled, "a.png", "mine")
    after = f"response, and {after}"
    assert paragraphs[1:] == [f"Convolution 1: filter, {after}",
                              f"Convolution 2, the 3 strongest of 3 filters: {after}",
                              f"Convolution 3, the 12 strongest of 14 filters: {after}"]


def test_the_class_names_stand_in_the_texts(paragraphs, monkeypatch):
    labels, image_grid = [], drawing.image_grid
    monkeypatch.setattr(drawing, "image_grid", lambda panels, *columns: labels.extend(
        label for label, _ in panels) or image_grid(panels, *columns))
    ones = np.ones((24, 32), np.float32)
    network_pages.why_page(Image.new("RGB", (64, 48)), 0.25, (3, 4, 0.125), 4, ones, ones, "a.png",
                           "mine", class_names=("owl", "eagle"))
    assert paragraphs == ["mine on a.png: probability of owl 25.0%"]
    assert labels[0].endswith("25.0% becomes 12.5%")
    assert labels[1].endswith("evidence for owl, blue for eagle")
