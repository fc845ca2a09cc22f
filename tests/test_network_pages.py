"""What explain.py shows of a network: the table of edge filters, its feature maps, its kernels."""

import io

import numpy as np
import pytest
from rich.console import Console

import explain
import filters
from support import drawing, network_pages
from support.kernels import edge_filters


def table_rows(kernels, initial):
    console = Console(file=io.StringIO(), width=150)
    console.print(explain.similarity_table(kernels, initial))
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


@pytest.fixture
def paragraphs(monkeypatch):
    """The texts of the paragraphs that are drawn."""
    texts, paragraph = [], drawing.paragraph
    monkeypatch.setattr(drawing, "paragraph",
                        lambda text, *size: texts.append(text) or paragraph(text, *size))
    return texts


@pytest.fixture
def panels(monkeypatch):
    """The labels of the images that are drawn, and their pixels."""
    drawn, image_grid = [], drawing.image_grid
    monkeypatch.setattr(drawing, "image_grid", lambda panels, *columns: drawn.extend(
        (label, np.asarray(image)) for label, image in panels) or image_grid(panels, *columns))
    return drawn


def test_every_convolution_is_shown_under_its_number(paragraphs):
    generator = np.random.default_rng(0)
    network_pages.maps_strip([generator.normal(size=(rows, rows + 8, n)).astype(np.float32)
                              for rows, n in ((38, 2), (17, 3), (6, 14))])
    assert paragraphs[2:] == ["Convolution 1: the 2 strongest of 2 maps, 38 x 46",
                              "Convolution 2: the 3 strongest of 3 maps, 17 x 25",
                              "Convolution 3: the 10 strongest of 14 maps, 6 x 14"]


def test_the_map_with_the_strongest_positive_response_comes_first(panels):
    responses = np.zeros((20, 30, 12), np.float32)
    responses[:10] = -np.arange(12)  # of opposites the last one has most
    responses[10:, :, 4], responses[10:, :, 7] = 5, 9
    network_pages.maps_strip([responses])
    assert [label for label, _ in panels[:2]] == ["8", "5"] and len(panels) == 10
    # 300 of the 7,200 numbers are -11, the next 300 are -10: full colour, of which all get a share.
    for (_, pixels), below, above in zip(panels[:2], (0.9, 0.5), (0.7, 0.4), strict=True):
        np.testing.assert_allclose(pixels[19, 0], below * np.array(drawing.ORANGE), atol=1)
        np.testing.assert_allclose(pixels[0, 0], above * np.array(drawing.BLUE), atol=1)


def test_the_kernels_follow_the_edge_filters_the_most_similar_first(panels):
    kernels = np.ones((3, 3, 3, 4), np.float32)
    kernels[:, :, 1, 0] = -1  # red and blue, no edge
    kernels[:, :, :, 2] = 0.5 * filters.H[:, :, None]
    kernels[:, :, 0, 3] = filters.V  # on grey V + 2: the cosine is 6 / (6 * 42) ** 0.5
    network_pages.kernels_strip(kernels, explain.edge_similarities(kernels))
    assert [label for label, _ in panels[:6]] == ["V", "H", "\\", "/", "3: H 1.00", "4: V 0.38"]
    pixels = dict(panels)
    np.testing.assert_array_equal(pixels["V"][:, 0, 0], [28, 128, 228])
    np.testing.assert_array_equal(pixels["3: H 1.00"][0, :, 1], [78, 128, 178])
    assert pixels["1: V 0.00"][1, 1].tolist() == [228, 28, 228]


def test_the_class_names_stand_in_the_texts(paragraphs, panels):
    ones = np.ones((24, 32), np.float32)
    image = np.full((24, 32, 3), 200, np.uint8)
    network_pages.evidence_strip(image, 0.25, [(0, 0, 0.3), (3, 4, 0.125)], 4, ones, ones,
                                 class_names=("owl", "eagle"))
    assert paragraphs[1].startswith("Orange is evidence for owl: covered with grey, it makes owl ")
    assert "Blue is evidence for eagle." in paragraphs[1]
    (seen, _), (most, covered), *_ = panels
    assert seen.endswith("24 x 32 pixels") and most.endswith("25.0% becomes 12.5%")
    assert (covered[3:7, 4:8] == 128).all() and (covered == 128).sum() == 4 * 4 * 3
