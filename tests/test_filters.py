"""The convolution against its plain NumPy form and by hand; what filters.py writes."""

import numpy as np
import pytest
from PIL import Image

import filters
from conftest import ROOT, look_alike

GENERATOR = np.random.default_rng(0)


@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_tensorflows_convolution_equals_the_articles_words(size, padding):
    image = GENERATOR.random((12, 15)).astype(np.float32) * 255
    kernel = GENERATOR.normal(size=(size, size)).astype(np.float32)
    np.testing.assert_allclose(filters.convolve(image, kernel, padding),
                               filters.convolve_by_hand(image, kernel, padding),
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
    image = np.zeros((10, 14), np.float32)
    assert filters.convolve(image, filters.V, "same").shape == (10, 14)
    assert filters.convolve(image, filters.V, "valid").shape == (8, 12)


def test_v_responds_to_above_against_below_and_h_to_left_against_right():
    above = np.zeros((9, 9), np.float32)
    above[:5] = 255
    np.testing.assert_array_equal(filters.V, filters.H.T)
    assert np.abs(filters.convolve(above, filters.V, "valid")).max() == 3 * 255
    assert np.abs(filters.convolve(above, filters.H, "valid")).max() == 0
    assert np.abs(filters.convolve(above.T, filters.H, "valid")).max() == 3 * 255
    assert np.abs(filters.convolve(above.T, filters.V, "valid")).max() == 0


def test_the_response_to_a_flat_image_is_zero():
    flat = np.full((8, 8), 77, np.float32)
    assert not filters.convolve(flat, filters.V, "valid").any()


def test_brightness_of_grey_is_grey():
    np.testing.assert_array_equal(filters.brightness(Image.new("RGB", (3, 2), (90, 90, 90))),
                                  np.full((2, 3), 90))


def test_filters_writes_both_images_and_the_sheet(run_script, tmp_path):
    result = run_script("filters.py", "--image", str(ROOT / "kittens.jpg"))
    assert result.returncode == 0 and result.stderr == ""
    assert result.stdout.split() == ["filtered/kittens-V.png", "filtered/kittens-H.png",
                                     "filtered/kittens-V-H-sheet.png"]
    with Image.open(tmp_path / "filtered/kittens-V.png") as image, \
            Image.open(tmp_path / "filtered/kittens-V-H-sheet.png") as page:
        assert image.width == 800
        assert page.width == 1200
    assert look_alike(tmp_path / "filtered/kittens-V-H-sheet.png",
                      ROOT / "docs/pictures/kittens-V-H-sheet.png")


def test_a_kernel_of_ones_own_and_valid_padding(run_script, tmp_path, photos):
    result = run_script("filters.py", f"--image={photos}/cat.0.png", "--padding=valid",
                        "--kernel=-1 0 1; -2 0 2; -1 0 1")
    assert result.stdout.split() == [
        "filtered/cat.0--1_0_1_-2_0_2_-1_0_1-valid.png",
        "filtered/cat.0--1_0_1_-2_0_2_-1_0_1-sheet-valid.png"]
    with Image.open(tmp_path / result.stdout.split()[0]) as image:
        assert image.size == (30, 22)


def test_the_page_begins_with_the_kernel_of_the_command(run_script, tmp_path, photos):
    result = run_script("filters.py", f"--image={photos}/cat.0.png", "--page", "--padding=valid",
                        "--kernel=1 2 3; 4 5 6; 7 8 9")
    assert (result.stdout, result.stderr) == ("filtered/cat.0.html\n", "")
    page, = (tmp_path / "filtered").iterdir()
    assert '"kernel":[1.0,2.0,3.0,4.0,5.0,6.0,7.0,8.0,9.0],"padding":"valid"' in page.read_text()


def test_whoever_asks_filters_for_a_network_is_told_where_it_is(refuses):
    assert refuses("filters.py", "--image=x.jpg", "--run=runs/a", "--page") == (
        "Unknown command line flag 'run': use python explain.py --image=PICTURE --run=runs/NAME")
