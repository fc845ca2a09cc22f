"""Numbers as colours, and names in letters that the font has."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import needs
from support import drawing


def test_positive_negative_and_zero_are_told_apart():
    image = drawing.colourize(np.array([[0, 5, -5, 10, -99]], np.float32), limit=10)
    pixels = np.asarray(image)[0]
    assert tuple(pixels[0]) == (0, 0, 0)
    assert tuple(pixels[3]) == drawing.ORANGE and tuple(pixels[4]) == drawing.BLUE
    np.testing.assert_array_equal(pixels[1], np.round(np.array(drawing.ORANGE) / 2))
    np.testing.assert_array_equal(pixels[2], np.round(np.array(drawing.BLUE) / 2))


@needs.byte_names
@pytest.mark.parametrize("name, printed", [
    ("cat.1.jpg", "cat.1.jpg"), ("a\nb.jpg", "a\\nb.jpg"), ("猫.jpg", "\\u732b.jpg"),
    ("\udcff.jpg", "\\udcff.jpg")])
def test_names_are_written_in_letters_that_the_font_has(name, printed):
    assert drawing.shorten((Path("folder") / name).name, 20) == printed


def test_long_names_are_shortened_in_the_middle():
    assert drawing.shorten("cat." + "0123456789" * 20 + ".jpeg", 20) == "cat.012345…6789.jpeg"
    assert drawing.shorten("cat.0123456789.jpeg!", 20) == "cat.0123456789.jpeg!"


def test_a_grid_shows_an_image_of_any_shape():
    thin = Image.new("RGB", (900, 1))
    assert drawing.image_grid([("thin", thin), ("same", thin)]).width == drawing.WIDTH
