"""support/image_files.py: what it decodes, in which order, and what it says of what it cannot."""

import io
import itertools
import os
import struct
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support import image_files

RNG = np.random.default_rng(0)


def noise(height, width, channels=3):
    """Random pixels: no two images and no two corners of one are alike."""
    shape = (height, width, channels) if channels > 1 else (height, width)
    return RNG.integers(0, 256, shape, np.uint8)


def blobs(height, width):
    """An image as a camera gives it, without an edge that a JPEG would blur."""
    small = Image.fromarray(noise(4, 6))
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


def jpeg(pixels, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **{"quality": 95, **options})
    return file.getvalue()


def png(width, height, bit_depth, colour_type, rows):
    """A PNG by hand, for what Pillow does not write. rows: their pixels."""
    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(
            ">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, bit_depth, colour_type, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + bytes(row) for row in rows))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels)
            + chunk(b"IEND", b""))


BOMB = png(40_000, 40_000, 8, 2, [])  # 1.6 billion pixels in a file of 70 bytes

DAMAGED = {
    "empty": (b"", "empty file"),
    "text": (b"this is no picture\n" * 100, "not an image"),
    "html": (b"<!DOCTYPE html><html>404</html>", "not an image"),
    "bomb": (BOMB, "exceeds limit of 178956970 pixels"),
    "truncated_jpeg": (jpeg(noise(90, 120))[:3000], "truncated"),
    "truncated_png": (png(90, 90, 8, 0, noise(90, 90, 1))[:3000], "truncated"),
    "start_of_jpeg": (b"\xff\xd8\xff\xe0", ""),
    "header_of_jpeg": (jpeg(noise(90, 120))[:200], ""),
}


# ---------------------------------------------------------------------------------------------
# One image, of every kind
# ---------------------------------------------------------------------------------------------

def read(path, content=None):
    if content is not None:
        path.write_bytes(content)
    image = image_files.read(path)
    assert image.mode == "RGB"
    return np.asarray(image).astype(int)


def on_white(rgb, alpha):
    """alpha: 0 transparent, 255 opaque."""
    alpha = np.asarray(alpha)[..., None] / 255
    return np.asarray(rgb) * alpha + 255 * (1 - alpha)


@pytest.mark.parametrize("name", ["x.png", "x.bmp", "x.webp"])
def test_a_colour_image_keeps_its_pixels(tmp_path, name):
    pixels = noise(7, 9)
    Image.fromarray(pixels).save(tmp_path / name, lossless=True)
    np.testing.assert_array_equal(read(tmp_path / name), pixels)


def test_a_colour_jpeg_keeps_its_pixels_to_its_own_loss(tmp_path):
    pixels = blobs(64, 96)
    assert np.abs(read(tmp_path / "x.jpg", jpeg(pixels)) - pixels).mean() < 2


@pytest.mark.parametrize("name", ["x.png", "x.bmp", "x.gif"])
def test_a_grayscale_image_gets_three_equal_channels(tmp_path, name):
    pixels = noise(7, 9, channels=1)
    Image.fromarray(pixels).save(tmp_path / name)
    np.testing.assert_array_equal(read(tmp_path / name), np.stack([pixels] * 3, axis=-1))


def test_a_grayscale_jpeg_gets_three_equal_channels(tmp_path):
    pixels = blobs(64, 96)[..., 0]
    image = read(tmp_path / "x.jpg", jpeg(pixels))
    assert np.abs(image - pixels[..., None]).mean() < 2
    assert (image == image[..., :1]).all()


@pytest.mark.parametrize("name", ["x.png", "x.bmp", "x.gif"])
def test_a_palette_image_gets_its_palettes_colours(tmp_path, name):
    palette, indices = noise(1, 256)[0], noise(7, 9, channels=1)
    image = Image.fromarray(indices)
    image.putpalette(palette.tobytes())
    image.save(tmp_path / name)
    np.testing.assert_array_equal(read(tmp_path / name), palette[indices])


@pytest.mark.parametrize("name", ["x.png", "x.gif"])
def test_the_transparent_colour_of_a_palette_shows_white(tmp_path, name):
    palette = np.array([[0, 0, 0], [200, 10, 30], [5, 90, 250], [9, 8, 7]], np.uint8)
    indices = np.array([[0, 1, 2], [1, 3, 0]], np.uint8)
    image = Image.fromarray(indices)
    image.putpalette(palette.tobytes())
    image.save(tmp_path / name, transparency=1)
    white = palette.copy()
    white[1] = 255
    np.testing.assert_array_equal(read(tmp_path / name), white[indices])


def test_a_palette_with_degrees_of_transparency_is_shown_on_white(tmp_path):
    palette, indices = noise(1, 4)[0], np.array([[0, 1, 2, 3], [3, 2, 1, 0]], np.uint8)
    alpha = np.array([0, 64, 128, 255], np.uint8)
    image = Image.fromarray(indices)
    image.putpalette(palette.tobytes())
    image.save(tmp_path / "x.png", transparency=alpha.tobytes())
    expected = on_white(palette[indices], alpha[indices])
    assert np.abs(read(tmp_path / "x.png") - expected).max() <= 1


@pytest.mark.parametrize("name", ["x.png", "x.webp"])
def test_transparency_shows_white(tmp_path, name):
    pixels = noise(7, 9, channels=4)
    pixels[:, :3, 3], pixels[:, 3:6, 3] = 0, 255
    Image.fromarray(pixels).save(tmp_path / name, lossless=True, exact=True)
    image = read(tmp_path / name)
    assert np.abs(image - on_white(pixels[..., :3], pixels[..., 3])).max() <= 1
    assert (image[:, :3] == 255).all()


def test_transparent_grayscale_shows_white(tmp_path):
    gray, alpha = noise(7, 9, channels=1), noise(7, 9, channels=1)
    Image.merge("LA", [Image.fromarray(gray), Image.fromarray(alpha)]).save(tmp_path / "x.png")
    expected = on_white(np.stack([gray] * 3, axis=-1), alpha)
    assert np.abs(read(tmp_path / "x.png") - expected).max() <= 1


def test_a_transparent_colour_without_a_palette_shows_white(tmp_path):
    pixels = np.array([[[10, 20, 30], [40, 50, 60]]], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png", transparency=(10, 20, 30))
    assert read(tmp_path / "x.png").tolist() == [[[255, 255, 255], [40, 50, 60]]]


def test_a_cmyk_jpeg_gets_the_colours_of_its_inks(tmp_path):
    inks = np.zeros((64, 64, 4), np.uint8)
    inks[:32, :32], inks[:32, 32:] = (255, 0, 0, 0), (0, 200, 100, 0)
    inks[32:, :32], inks[32:, 32:] = (30, 60, 90, 120), (0, 0, 0, 255)
    Image.fromarray(inks, "CMYK").save(tmp_path / "x.jpg", quality=100)
    image = read(tmp_path / "x.jpg")
    for y, x in itertools.product((16, 48), repeat=2):
        cmy, black = inks[y, x, :3].astype(float), float(inks[y, x, 3])
        np.testing.assert_allclose(image[y, x], (255 - cmy) * (255 - black) / 255, atol=4)


def test_16_bit_grayscale_is_scaled_and_not_clipped(tmp_path):
    pixels = np.linspace(0, 65535, 600).astype(np.uint16).reshape(20, 30)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    image = read(tmp_path / "x.png")
    assert np.abs(image - pixels[..., None] / 257).max() < 1
    assert (image.min(), image.max()) == (0, 255)


@pytest.mark.parametrize("colour_type, channels", [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_16_bit_png_of_every_colour_type_is_scaled(tmp_path, colour_type, channels):
    pixels = RNG.integers(0, 65536, (5, 6, channels)).astype(">u2")
    if channels in (2, 4):
        pixels[..., -1] = 65535  # opaque
    rows = [row.tobytes() for row in pixels]
    image = read(tmp_path / "x.png", png(6, 5, 16, colour_type, rows))
    colours = pixels[..., :3] if channels > 2 else pixels[..., :1]
    assert np.abs(image - colours / 257).max() <= 1


@pytest.mark.parametrize("name", ["x.png", "x.bmp"])
def test_a_1_bit_image_is_black_and_white(tmp_path, name):
    pixels = RNG.integers(0, 2, (7, 9)).astype(bool)
    Image.fromarray(pixels).save(tmp_path / name)
    expected = np.repeat(255 * pixels[..., None], 3, axis=-1)
    np.testing.assert_array_equal(read(tmp_path / name), expected)


@pytest.mark.parametrize("name", ["x.gif", "x.webp", "x.png"])
def test_an_animation_gives_its_first_frame(tmp_path, name):
    frames = [np.full((6, 8, 3), value, np.uint8) for value in (40, 120, 200)]
    first, *others = map(Image.fromarray, frames)
    first.save(tmp_path / name, save_all=True, append_images=others, lossless=True)
    assert (read(tmp_path / name) == 40).all()


@pytest.mark.parametrize("format", ["BMP", "PNG", "GIF", "WEBP", "TIFF"])
def test_the_extension_may_be_wrong(tmp_path, format):
    pixels = np.repeat(noise(7, 9, channels=1)[..., None], 3, axis=-1)
    with open(tmp_path / "x.jpg", "wb") as file:
        Image.fromarray(pixels).save(file, format, lossless=True)
    np.testing.assert_array_equal(read(tmp_path / "x.jpg"), pixels)


@pytest.mark.parametrize("ending", sorted(
    ending for ending in image_files.ENDINGS if Image.EXTENSION[ending] in Image.SAVE))
@pytest.mark.filterwarnings("ignore")  # some formats are on their way out of Pillow
def test_every_format_that_is_found_can_be_read(tmp_path, ending):
    pixels = np.kron(noise(2, 2), np.ones((32, 32, 1), np.uint8))
    for mode in ("RGB", "L", "1", "P", "RGBA"):  # one that the format can store
        try:
            Image.fromarray(pixels).convert(mode).save(tmp_path / f"x{ending}")
            break
        except (OSError, ValueError):
            continue
    assert image_files.images_among([tmp_path / f"x{ending}"]) == [tmp_path / f"x{ending}"]
    assert read(tmp_path / f"x{ending}").shape[2] == 3


@pytest.mark.parametrize("ending", [".pdf", ".eps", ".ps", ".mpg", ".mpeg", ".wmf", ".emf", ".h5",
                                    ".grib", ".svg", ".mp4", ".heic", ".txt", ".npy", ".jpg~"])
def test_documents_films_and_measurements_are_no_images(tmp_path, ending):
    path = tmp_path / f"1{ending}"
    path.write_bytes(jpeg(noise(8, 8)))
    assert image_files.images_among([path]) == []
    assert image_files.count_endings([path, path]) == [f"2 {ending}"]


# EXIF 2.32, tag 0x0112: where the stored picture's row 0 and column 0 belong. Each is what a
# camera stores of the picture 1 2 3 over 4 5 6.
STORED = {
    1: [[1, 2, 3], [4, 5, 6]],    # top, left
    2: [[3, 2, 1], [6, 5, 4]],    # top, right
    3: [[6, 5, 4], [3, 2, 1]],    # bottom, right
    4: [[4, 5, 6], [1, 2, 3]],    # bottom, left
    5: [[1, 4], [2, 5], [3, 6]],  # left, top
    6: [[3, 6], [2, 5], [1, 4]],  # right, top
    7: [[6, 3], [5, 2], [4, 1]],  # right, bottom
    8: [[4, 1], [5, 2], [6, 3]],  # left, bottom
}


def oriented(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def rotated_image(folder, orientation, format):
    """An image that is stored turned; upright it is 2 x 3. Returns the file."""
    stored = np.array(STORED[orientation], np.uint8)[..., None] * np.uint8([40, 20, 10])
    path = folder / "cat.0.jpg"
    with open(path, "wb") as file:
        Image.fromarray(stored).save(file, format, exif=oriented(orientation), lossless=True)
    return path


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", STORED)
def test_an_image_is_turned_upright(tmp_path, orientation, format):
    path = rotated_image(tmp_path, orientation, format)
    assert (read(path)[..., 0] / 40).tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_counts_as_upright(tmp_path, orientation):
    pixels = noise(7, 9)
    Image.fromarray(pixels).save(tmp_path / "x.png", exif=oriented(orientation))
    np.testing.assert_array_equal(read(tmp_path / "x.png"), pixels)


@pytest.mark.parametrize("exif", [
    b"", b"\0", b"garbage", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff",
    b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\xff\xff\xff\xff\x06\0\0\0",     # endless value
    b"II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x02\0\0\0x\0\0\0\0\0\0\0",      # a text, not a number
])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.filterwarnings("ignore")
def test_a_damaged_exif_block_counts_as_upright(tmp_path, format, exif):
    pixels = Image.fromarray(blobs(60, 80))
    pixels.save(tmp_path / "whole", format)
    pixels.save(tmp_path / "damaged", format, exif=b"Exif\0\0" + exif)
    with Image.open(tmp_path / "whole") as whole:
        np.testing.assert_array_equal(read(tmp_path / "damaged"), np.asarray(whole))


def test_bytes_after_a_jpegs_end_do_not_matter(tmp_path):
    content = jpeg(blobs(60, 80))
    whole = np.asarray(Image.open(io.BytesIO(content)))
    for rest in (b"\0", b"garbage" * 1000, jpeg(noise(8, 8))):
        np.testing.assert_array_equal(read(tmp_path / "x.jpg", content + rest), whole)


@pytest.mark.parametrize("orientation, at_least", [(1, (200, 50)), (6, (50, 200))])
def test_the_reduced_size_is_measured_on_the_upright_image(tmp_path, orientation, at_least):
    stored = jpeg(np.zeros((400, 1600, 3), np.uint8), exif=oriented(orientation))
    (tmp_path / "x.jpg").write_bytes(stored)
    image = image_files.read(tmp_path / "x.jpg", at_least)
    assert image.size == at_least  # an eighth


# ---------------------------------------------------------------------------------------------
# Many images
# ---------------------------------------------------------------------------------------------

def test_only_so_many_images_are_loaded_ahead_of_the_caller():
    begun = []
    results = image_files.in_threads(begun.append, [Path(str(number)) for number in range(3000)])
    next(results)
    time.sleep(0.05)
    results.close()
    assert 8 <= len(begun) <= 1024


def test_results_come_in_the_order_of_their_paths():
    def slow_at_first(path):
        time.sleep(0.02 if int(path.name) % 5 == 0 else 0)
        return int(path.name)

    results = image_files.in_threads(slow_at_first, [Path(str(number)) for number in range(40)])
    assert list(results) == list(range(40))


def test_loading_that_is_stopped_does_not_load_the_rest():
    started = []

    def slow(path):
        started.append(path)
        time.sleep(0.01)

    results = image_files.in_threads(slow, [Path(str(number)) for number in range(2000)])
    next(results)
    results.close()
    before = len(started)
    time.sleep(0.05)
    assert len(started) == before < 1000


def test_a_decoders_warnings_are_not_shown():
    def warns(path):
        warnings.warn("Corrupt EXIF data", UserWarning, stacklevel=1)
        return "decoded"

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(image_files.in_threads(warns, [Path("0"), Path("1")])) == ["decoded"] * 2


def test_a_path_whose_decoder_raises_anything_is_skipped(tmp_path):
    def raises(path):
        if path.name == "1":
            raise struct.error("unpack requires a buffer of 4 bytes")
        return "decoded"

    paths = [tmp_path / name for name in "012"]
    assert list(image_files.in_threads(raises, paths)) == [
        "decoded", (paths[1], "unpack requires a buffer of 4 bytes"), "decoded"]


@pytest.mark.parametrize("error, reason", [
    (FileNotFoundError(2, "No such file or directory"), "no such file or directory"),
    (PermissionError(13, "Permission denied"), "permission denied"),
    (OSError("broken data stream when reading image file"),
     "broken data stream when reading image file"),
    (MemoryError(), "MemoryError"), (ValueError("bad header"), "bad header")])
def test_the_reason_is_what_the_decoder_or_the_file_system_said(tmp_path, error, reason):
    path = tmp_path / "cat.0.jpg"
    path.write_bytes(b"something")
    assert image_files.why_unreadable(path, error) == reason


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such pipes")
def test_a_pipe_in_a_folder_is_no_picture(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")  # whoever opens it waits
    assert image_files.images_among(tmp_path.iterdir()) == []


def test_a_32_bit_image_of_16_bit_values_is_scaled(tmp_path):
    Image.fromarray(np.int32([[0, 65535]])).save(tmp_path / "x.tif")
    np.testing.assert_array_equal(read(tmp_path / "x.tif")[0, :, 0], [0, 255])


def test_a_broken_link_counts_as_a_picture_that_cannot_be_read(tmp_path):
    (tmp_path / "there.jpg").touch()
    for name, target in (("link.jpg", "there.jpg"), ("broken.jpg", "gone.jpg"),
                         ("broken.txt", "gone.txt")):
        (tmp_path / name).symlink_to(tmp_path / target)
    images = image_files.images_among(sorted(tmp_path.iterdir()))
    assert [path.name for path in images] == ["broken.jpg", "link.jpg", "there.jpg"]
    assert image_files.count_endings([tmp_path / "broken.txt"]) == ["1 .txt"]
    [skipped] = image_files.in_threads(image_files.read, [tmp_path / "broken.jpg"])
    assert skipped.reason == "no such file or directory"
