"""What the pages are drawn with: colours, text, images in rows and columns, heat maps.

Pages are 1,200 pixels wide, on white. Images are Pillow's, RGB.
"""

import textwrap
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from support.cli import naming

OUTPUT = Path("filtered")  # the folder of what filters.py and explain.py write
WIDTH = 1200  # of a page
ORANGE, BLUE = (255, 176, 64), (80, 160, 255)  # of positive and of negative numbers
PALE_ORANGE, PALE_BLUE = (255, 227, 189), (197, 224, 255)
GREY = (128, 128, 128)  # of what is covered


# ---------------------------------------------------------------------------------------------
# Numbers as colours
# ---------------------------------------------------------------------------------------------

def colourize(values: np.ndarray, limit: float) -> Image.Image:
    """Numbers, float (height, width), as an image: 0 black, positive orange, negative blue.

    What is `limit` or more, either way, gets the full colour.
    """
    strength = (values / limit).clip(-1, 1)[:, :, None]  # (height, width, 1)
    colours = np.where(strength > 0, ORANGE, BLUE)       # (height, width, 3)
    return Image.fromarray((np.abs(strength) * colours).round().astype(np.uint8))


def overlay_heatmap(image: np.ndarray, heatmap: np.ndarray) -> Image.Image:
    """The image darkened and grey, turning orange where the heat map is 1 and blue where it is -1.

    image: uint8 (height, width, 3); heatmap: float32 (height, width), -1 to 1.
    """
    strength = np.abs(heatmap)[:, :, None]  # (height, width, 1)
    grey = image.mean(axis=2, keepdims=True) / 2
    pixels = grey * (1 - strength) + np.asarray(colourize(heatmap, limit=1))
    return Image.fromarray(pixels.round().astype(np.uint8))


# ---------------------------------------------------------------------------------------------
# Text
# ---------------------------------------------------------------------------------------------

def write(page: Image.Image, x: int, y: int, text: str, size: int = 17, anchor: str = "la") -> None:
    """Write black text on the page. anchor: which point of the text is at (x, y), as in Pillow."""
    ImageDraw.Draw(page).text((x, y), text, "black", ImageFont.load_default(size), anchor)


def paragraph(text: str, size: int = 17) -> Image.Image:
    """A paragraph or, larger, a heading; as wide as a page."""
    lines = textwrap.wrap(text, 2250 // size)
    strip = Image.new("RGB", (WIDTH, 18 + len(lines) * size * 4 // 3), "white")
    for number, line in enumerate(lines):
        write(strip, 4, 14 + number * size * 4 // 3, line, size)
    return strip


def printable(name: str) -> str:
    """The name in letters that Pillow's font has: ASCII, others as "\\u732b"."""
    return ascii(name)[1:-1]


def shorten(name: str, length: int) -> str:
    """The name as `printable`, in at most so many letters: without its middle, "cat.01….jpg"."""
    name = printable(name)
    return name if len(name) <= length else f"{name[:length - 10]}…{name[-9:]}"


# ---------------------------------------------------------------------------------------------
# Several images as one
# ---------------------------------------------------------------------------------------------

def stack(images: list[Image.Image]) -> Image.Image:
    """One below the other, all as wide as a page."""
    page, y = Image.new("RGB", (WIDTH, sum(image.height for image in images)), "white"), 0
    for image in images:
        page.paste(image, (0, y))
        y += image.height
    return page


def image_grid(panels: list[tuple[str, Image.Image]], columns: int | None = None) -> Image.Image:
    """(label, image) panels, `columns` (all) side by side; as wide as a page.

    Each image is resized to its column, and to the first one's shape: a smaller one in blocks, so
    that every pixel can be seen.
    """
    columns = columns or len(panels)
    gap, label_height = 8, 8 + 22 * max(len(label.split("\n")) for label, _ in panels)
    width = (WIDTH + gap) // columns - gap
    height = max(1, round(width * panels[0][1].height / panels[0][1].width))
    rows = -(-len(panels) // columns)
    grid = Image.new("RGB", (WIDTH, rows * (label_height + height + gap) - gap), "white")
    for number, (label, image) in enumerate(panels):
        x = number % columns * (width + gap)
        y = number // columns * (label_height + height + gap)
        write(grid, x + 4, y + label_height // 2, label, anchor="lm")
        small = image.width < width
        resampling = Image.Resampling.NEAREST if small else Image.Resampling.LANCZOS
        grid.paste(image.resize((width, height), resampling), (x, y + label_height))
    return grid


def save(name: str, image: Image.Image) -> Path:
    """Write the image to filtered/NAME.png; returns the file."""
    OUTPUT.mkdir(exist_ok=True)
    file = OUTPUT / f"{name}.png"
    with naming(file):
        image.save(file)
    return file
