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


def overlay_heatmap(photo: Image.Image, heatmap: np.ndarray) -> Image.Image:
    """The photo darkened and grey, turning orange where the heat map is 1 and blue where it is -1.

    heatmap: float32 of any height and width, -1 to 1.
    """
    # Bilinear: what fits smoother overshoots beside an edge, into the other colour.
    heatmap = Image.fromarray(heatmap).resize(photo.size, Image.Resampling.BILINEAR)
    heatmap = np.asarray(heatmap)[:, :, None]  # (height, width, 1)
    grey = np.asarray(photo.convert("L"), np.float32)[:, :, None] / 2
    colours = np.where(heatmap > 0, ORANGE, BLUE)
    pixels = grey * (1 - np.abs(heatmap)) + colours * np.abs(heatmap)
    return Image.fromarray(pixels.round().astype(np.uint8))


def legend(negative: str, positive: str) -> Image.Image:
    """The colours from blue to orange and what their ends mean; as wide as a page."""
    strip = Image.new("RGB", (WIDTH, 36), "white")
    strip.paste(colourize(np.linspace(-1, 1, 240)[None], limit=1).resize((240, 18)), (480, 12))
    write(strip, 470, 21, negative, anchor="rm")
    write(strip, 730, 21, positive, anchor="lm")
    return strip


def enlarge(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """To (width, height), every number still a block of one colour."""
    return image.resize(size, Image.Resampling.NEAREST)


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


def shorten(name: str, width: int, size: int = 17) -> str:
    """A printable name, at most this many pixels wide: shortened in its middle: "cat.01….jpg"."""
    font, short, start, end = ImageFont.load_default(size), name, name[:-9], name[-9:]
    while font.getlength(short) > width and (start or end):
        if start:
            start = start[:-1]
        else:  # nine wide letters can be too many
            end = end[1:]
        short = f"{start}…{end}"
    return short


# ---------------------------------------------------------------------------------------------
# Several images as one
# ---------------------------------------------------------------------------------------------

def stack(images: list[Image.Image], gap: int = 0) -> Image.Image:
    """One below the other."""
    height = sum(image.height + gap for image in images) - gap
    page = Image.new("RGB", (max(image.width for image in images), height), "white")
    y = 0
    for image in images:
        page.paste(image, (0, y))
        y += image.height + gap
    return page


def side_by_side(images: list[Image.Image], gap: int) -> Image.Image:
    """One beside the other: `stack`, with the axes exchanged before and after."""
    turned = [image.transpose(Image.Transpose.TRANSPOSE) for image in images]
    return stack(turned, gap).transpose(Image.Transpose.TRANSPOSE)


def image_grid(panels: list[tuple[str, Image.Image]], columns: int | None = None) -> Image.Image:
    """(label, image) panels, `columns` (all) side by side; as wide as a page.

    Each image is resized to its column, and to the first image's shape.
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
        grid.paste(image.resize((width, height), Image.Resampling.LANCZOS), (x, y + label_height))
    return grid


# ---------------------------------------------------------------------------------------------
# The images in filtered/
# ---------------------------------------------------------------------------------------------

CAPTIONS = {"V": "V: vertical edges, above against below",
            "H": "H: horizontal edges, left against right"}


def save_responses(path: Path, image: Image.Image, responses: dict[str, np.ndarray],
                   padding: str) -> list[Path]:
    """Write what filters.py shows: each response, and a page of the image beside them all.

    path: the image's file; responses: those of the named kernels, float32 (height, width). They
    share one scale: the colour is full where a response, positive or negative, is as large as the
    larger of their 98th percentiles. Returns the files, named after image, kernels and padding.
    """
    limit = max(np.percentile(np.abs(response), 98) for response in responses.values()) or 1.0
    pages = {name: colourize(response, limit) for name, response in responses.items()}
    panels = [(CAPTIONS.get(name, name), page) for name, page in pages.items()]
    pages["-".join(responses) + "-sheet"] = image_grid([("the picture", image), *panels])
    suffix = "" if padding == "same" else "-valid"
    return save({f"{path.stem}-{name}{suffix}": page for name, page in pages.items()})


def save(pages: dict[str, Image.Image]) -> list[Path]:
    """Write each image to filtered/NAME.png; returns the files."""
    OUTPUT.mkdir(exist_ok=True)
    files = []
    for name, page in pages.items():
        files.append(OUTPUT / f"{name}.png")
        with naming(files[-1]):
            page.save(files[-1])
    return files
