"""data.py: the pictures it finds, the sizes it chooses, what it decodes, what it loads."""

import hashlib
import io
import itertools
import os
import pty
import random
import struct
import subprocess
import sys
import time
import warnings
import zlib
from collections import Counter
from pathlib import Path

import data
import numpy as np
import pytest
from conftest import read_terminal
from PIL import Image

ROOT = Path(data.__file__).parent
RNG = np.random.default_rng(0)


def noise(height, width, channels=3):
    """Random pixels: no two pictures and no two corners of one are alike."""
    shape = (height, width, channels) if channels > 1 else (height, width)
    return RNG.integers(0, 256, shape, np.uint8)


def blobs(height, width):
    """A picture as a camera gives it, without an edge that a JPEG would blur."""
    small = Image.fromarray(noise(4, 6))
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


def jpeg(pixels, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **{"quality": 95, **options})
    return file.getvalue()


def png(width, height, bit_depth, colour_type, rows, *, before=()):
    """A PNG by hand, for what Pillow does not write. rows: their pixels, before: extra chunks."""
    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(
            ">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, bit_depth, colour_type, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + bytes(row) for row in rows))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
            + b"".join(chunk(name, body) for name, body in before)
            + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))


BOMB = png(40_000, 40_000, 8, 2, [])  # 1.6 billion pixels in a file of 70 bytes


def touch(folder, *names):
    """Empty files: finding looks at names only."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def found(folder):
    """What is found as [(path inside the folder, label)], in order."""
    return [(path.relative_to(folder).as_posix(), label)
            for path, label in data.find_pictures(folder)]


def snapshot(folder):
    """Every file under the folder with its bytes' hash and its time of change."""
    return {path: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
            for path in folder.rglob("*") if path.is_file()}


# ---------------------------------------------------------------------------------------------
# Finding the pictures
# ---------------------------------------------------------------------------------------------

LAYOUTS = {
    "kaggle": ["cat.0.jpg", "dog.0.jpg", "cat.1.jpg", "dog.1.jpg"],
    "archive": ["Cat/0.jpg", "Dog/0.jpg", "Cat/1.jpg", "Dog/1.jpg"],
    "notebook": ["cats/cat.0.jpg", "dogs/dog.0.jpg", "cats/cat.1.jpg", "dogs/dog.1.jpg"],
    "upper_case": ["CATS/CAT.0.JPG", "DOGS/DOG.0.JPG", "CATS/CAT.1.JPG", "DOGS/DOG.1.JPG"],
    "upper_case_flat": ["CAT.0.JPG", "DOG.0.JPG", "Cat.1.Jpg", "Dog.1.Jpg"],
    "plural_flat": ["cats_0.jpg", "dogs_0.jpg", "cats_1.jpg", "dogs_1.jpg"],
    "other_names": ["cats/IMG_0.jpg", "dogs/IMG_0.jpg", "cats/IMG_1.jpg", "dogs/IMG_1.jpg"],
}


@pytest.mark.parametrize("place", ["", "train/", "TRAIN/", "PetImages/", "petimages/"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_found_in_every_place(tmp_path, layout, place):
    names = [place + name for name in LAYOUTS[layout]]
    touch(tmp_path, *names)
    assert found(tmp_path) == list(zip(names, [1, 0, 1, 0]))


@pytest.mark.parametrize("extension", [".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp",
                                       ".JPG", ".Jpeg", ".PNG", ".BMP", ".GIF", ".WEBP"])
def test_every_extension_is_found(tmp_path, extension):
    touch(tmp_path, f"cat.0{extension}", f"dogs/0{extension}")
    assert found(tmp_path) == [(f"dogs/0{extension}", 0), (f"cat.0{extension}", 1)]


@pytest.mark.parametrize("name", [
    "catalogue.jpg", "dogma.png", "caterpillar.0.jpg", "bobcat.0.jpg", "0.jpg", "._cat.0.jpg",
    ".cat.0.jpg", "cat.0.txt", "cat.0", "cat", "cat.0.jpg.part", "Thumbs.db", "cats/Thumbs.db",
    "cats/._cat.0.jpg", "cats/.hidden.jpg", "cats/.DS_Store", "dogs/notes.txt", "birds/0.jpg",
    "catalogue/0.jpg", "train/catalogue.jpg", "test/cat.0.jpg", "cats/cat.0.jpg/nothing",
    "cat.0.jpg/nothing", ".download/unpacked/PetImages/Cat/0.jpg"])
def test_a_file_that_is_no_picture_of_a_cat_or_dog_is_ignored(tmp_path, name):
    touch(tmp_path, name)
    assert found(tmp_path) == []


def test_ignored_files_do_not_hide_the_pictures_beside_them(tmp_path):
    touch(tmp_path, "catalogue.jpg", "._cat.0.jpg", "Thumbs.db", "cat.0.jpg", "dog.0.jpg")
    assert found(tmp_path) == [("cat.0.jpg", 1), ("dog.0.jpg", 0)]


def test_the_order_is_by_number_and_then_by_name(tmp_path):
    touch(tmp_path, "dog.10.jpg", "cat.9.jpg", "cat.jpg", "cat.10.jpg", "dog.2.jpg", "cat.007.jpg")
    assert [name for name, _ in found(tmp_path)] == [
        "dog.2.jpg", "cat.007.jpg", "cat.9.jpg", "cat.10.jpg", "dog.10.jpg", "cat.jpg"]


@pytest.mark.parametrize("seed", range(5))
def test_the_order_is_never_the_file_systems(tmp_path, monkeypatch, seed):
    names = [f"{kind}/{number}.jpg" for number in range(20) for kind in ("Cat", "Dog")]
    touch(tmp_path, *names)
    iterdir = Path.iterdir

    def shuffled(folder):
        entries = sorted(iterdir(folder))
        random.Random(seed).shuffle(entries)
        return iter(entries)

    monkeypatch.setattr(Path, "iterdir", shuffled)
    assert [name for name, _ in found(tmp_path)] == names


def test_names_may_hold_spaces_quotes_newlines_and_any_script(tmp_path):
    names = ["cat 1.jpg", "dog 'two' \"2\".jpg", "cat\n3.jpg", "dog.4 Pfötchen.jpg",
             "cat.5 кот 猫.jpg", "dog.6 🐶.jpg", "cat(7).jpg", "dog.8$HOME;*.jpg"]
    touch(tmp_path, *names)
    assert [name for name, _ in found(tmp_path)] == names


@pytest.mark.parametrize("first, second", [
    ("", "train/"), ("", "PetImages/"), ("train/", "PetImages/")])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_of_two_copies_only_one_is_found(tmp_path, layout, first, second):
    names = [first + name for name in LAYOUTS[layout]]
    touch(tmp_path, *names, *(second + name for name in LAYOUTS[layout]))
    assert [name for name, _ in found(tmp_path)] == names


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(data.DataError, match="nowhere cannot be read as a folder of pictures: "
                                             "No such file or directory"):
        data.find_pictures(tmp_path / "nowhere")


def test_a_file_in_place_of_the_folder_is_an_error(tmp_path):
    touch(tmp_path, "file")
    with pytest.raises(data.DataError, match="file cannot be read as a folder of pictures: "
                                             "Not a directory"):
        data.find_pictures(tmp_path / "file")


def test_a_subfolder_that_may_not_be_read_is_an_error_that_names_it(tmp_path, monkeypatch):
    touch(tmp_path, "dogs/0.jpg", "cats/0.jpg")
    iterdir = Path.iterdir

    def refused(folder):
        if folder.name == "cats":
            raise PermissionError(13, "Permission denied", str(folder))
        return iterdir(folder)

    monkeypatch.setattr(Path, "iterdir", refused)
    with pytest.raises(data.DataError, match="cats cannot be read .*: Permission denied"):
        data.find_pictures(tmp_path)


# ---------------------------------------------------------------------------------------------
# The folder to train on
# ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("typed", [True, False])
def test_pictures_in_the_folder_are_used(tmp_path, typed):
    touch(tmp_path, "train/cat.0.jpg", "train/dog.0.jpg")
    folder, pictures = data.choose_pictures(str(tmp_path), typed)
    assert folder == tmp_path
    assert pictures == [(tmp_path / "train/cat.0.jpg", 1), (tmp_path / "train/dog.0.jpg", 0)]


@pytest.mark.parametrize("content", [None, [], ["Thumbs.db"],
                                     [".download/unpacked/PetImages/Cat/0.jpg"]])
def test_the_default_folder_without_pictures_gives_the_bundled_sample(tmp_path, content):
    folder = tmp_path / "data"
    if content is not None:
        folder.mkdir()
        touch(folder, *content)
    used, pictures = data.choose_pictures(str(folder), typed=False)
    assert used == ROOT / "sample"
    assert Counter(label for _, label in pictures) == {1: 250, 0: 250}
    assert {path.name for path, _ in pictures} == {
        f"{kind}.{number}.jpg" for kind in ("cat", "dog") for number in range(250)}


def test_a_typed_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(data.DataError, match="--data_dir=.*nowhere is not a folder"):
        data.choose_pictures(str(tmp_path / "nowhere"), typed=True)


def test_a_typed_folder_without_pictures_is_an_error(tmp_path):
    touch(tmp_path, "catalogue.jpg")
    with pytest.raises(data.DataError, match=f"--data_dir={tmp_path} holds no pictures of cats "
                                             "and dogs: put cat.0.jpg"):
        data.choose_pictures(str(tmp_path), typed=True)


@pytest.mark.parametrize("typed", [True, False])
@pytest.mark.parametrize("there, missing", [("cat", "dog"), ("dog", "cat")])
def test_a_folder_that_lacks_a_class_is_an_error(tmp_path, there, missing, typed):
    touch(tmp_path, f"{there}.0.jpg", f"{there}.1.jpg", f"{there}.2.jpg")
    with pytest.raises(data.DataError, match=f"--data_dir={tmp_path} holds 3 pictures of {there}s "
                                             f"and none of {missing}s: both are needed"):
        data.choose_pictures(str(tmp_path), typed)


# ---------------------------------------------------------------------------------------------
# The sizes (of each class)
# ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("available", [2560, 2561, 12_500])
def test_with_plenty_the_sizes_are_the_articles(available):
    assert data.choose_sizes(available, None, None) == (4096 / 2, 1024 / 2, 0)


@pytest.mark.parametrize("available, train, valid", [
    (2, 1, 1), (5, 4, 1), (6, 4, 2), (10, 8, 2), (250, 200, 50), (1000, 800, 200),
    (2555, 2044, 511), (2559, 2047, 512)])
def test_with_fewer_pictures_the_default_sizes_shrink_four_to_one(available, train, valid):
    assert data.choose_sizes(available, None, None) == (train, valid, 0)


def test_default_sizes_use_every_picture_in_the_articles_proportion():
    for available in range(2, 3000):
        train, valid, _ = data.choose_sizes(available, None, None)
        assert train + valid == min(available, 2560)
        assert valid >= 1 and train >= 1 and abs(train - 4 * valid) <= 4


def test_typed_sizes_are_met_exactly_or_refused():
    cases = random.Random(0)
    for _ in range(2000):
        available = cases.choice([0, 1, 2, 3, 5, 10, 100, 2559, 2560, 12_500])
        train, valid = (cases.choice([None, 1, 2, 3, 50, 512, 513, 2048, 2049, 10_000])
                        for _ in range(2))
        if train is None and valid is None:
            continue
        # The one that was not typed takes what is left, up to the article's.
        want_train = min(2048, available - valid) if train is None else train
        want_valid = min(512, available - train) if valid is None else valid
        sizes = [size and 2 * size for size in (train, valid)]
        if want_train >= 1 and want_valid >= 1 and want_train + want_valid <= available:
            assert data.choose_sizes(available, *sizes) == (want_train, want_valid, 0)
        else:
            with pytest.raises(data.DataError, match=f"{2 * available} for training and"):
                data.choose_sizes(available, *sizes)


@pytest.mark.parametrize("train, valid, typed", [
    (400, 102, "--train_size=400 and --valid_size=102"), (500, None, "--train_size=500"),
    (None, 500, "--valid_size=500")])
def test_typed_sizes_that_cannot_be_met_are_refused_with_the_number_available(train, valid, typed):
    with pytest.raises(data.DataError) as error:
        data.choose_sizes(250, train, valid)
    assert str(error.value) == (f"{typed} needs more pictures than there are: 250 of each class "
                                "can be used, 500 for training and validation together")


def test_what_is_set_aside_for_the_test_is_left_to_no_other_part():
    assert data.choose_sizes(6250, None, None, 1024) == (2048, 512, 512)
    assert data.choose_sizes(6250, 10_000, 2500, 0) == (5000, 1250, 0)
    assert data.choose_sizes(250, None, None, 100) == (160, 40, 50)  # four to one of 200
    with pytest.raises(data.DataError) as error:
        data.choose_sizes(250, 300, 100, 102)
    assert str(error.value) == (
        "--train_size=300 and --valid_size=100 and --test_size=102 needs more pictures than there "
        "are: 250 of each class can be used, 500 for training, validation and test together")


@pytest.mark.parametrize("size", [-2, 1, 1023])
def test_odd_and_negative_test_sizes_are_refused(size):
    with pytest.raises(data.DataError, match=f"^--test_size={size} must be an even number, or 0"):
        data.choose_sizes(10_000, None, None, size)


@pytest.mark.parametrize("available", [0, 1])
def test_too_few_pictures_for_any_training_are_refused(available):
    with pytest.raises(data.DataError, match="^training needs more pictures than there are: "
                                             f"{available} of each class"):
        data.choose_sizes(available, None, None)


@pytest.mark.parametrize("size", [1, 3, 4095, 0, -1, -2, -4096])
def test_odd_zero_and_negative_sizes_are_refused(size):
    with pytest.raises(data.DataError, match=f"^--train_size={size} must be an even number of at "
                                             "least 2"):
        data.choose_sizes(10_000, size, None)
    with pytest.raises(data.DataError, match=f"^--valid_size={size} must be an even number of at "
                                             "least 2"):
        data.choose_sizes(10_000, None, size)


def test_sizes_are_checked_against_the_rarer_class():
    pictures = [data.Picture(Path(f"{i}.jpg"), int(i >= 10)) for i in range(110)]  # 10 dogs
    data.check_sizes(pictures, 16, 4)
    with pytest.raises(data.DataError, match="10 of each class can be used"):
        data.check_sizes(pictures, 18, 4)


# ---------------------------------------------------------------------------------------------
# One picture, of every kind
# ---------------------------------------------------------------------------------------------

def read(path, content=None):
    if content is not None:
        path.write_bytes(content)
    picture = data.read_picture(path)
    assert picture.mode == "RGB"
    return np.asarray(picture).astype(int)


def on_white(rgb, alpha):
    """alpha: 0 transparent, 255 opaque."""
    alpha = np.asarray(alpha)[..., None] / 255
    return np.asarray(rgb) * alpha + 255 * (1 - alpha)


@pytest.mark.parametrize("name", ["x.png", "x.bmp", "x.webp"])
def test_a_colour_picture_keeps_its_pixels(tmp_path, name):
    pixels = noise(7, 9)
    Image.fromarray(pixels).save(tmp_path / name, lossless=True)
    np.testing.assert_array_equal(read(tmp_path / name), pixels)


def test_a_colour_jpeg_keeps_its_pixels_to_its_own_loss(tmp_path):
    pixels = blobs(64, 96)
    assert np.abs(read(tmp_path / "x.jpg", jpeg(pixels)) - pixels).mean() < 2


@pytest.mark.parametrize("name", ["x.png", "x.bmp", "x.gif"])
def test_a_grayscale_picture_gets_three_equal_channels(tmp_path, name):
    pixels = noise(7, 9, channels=1)
    Image.fromarray(pixels).save(tmp_path / name)
    np.testing.assert_array_equal(read(tmp_path / name), np.stack([pixels] * 3, axis=-1))


def test_a_grayscale_jpeg_gets_three_equal_channels(tmp_path):
    pixels = blobs(64, 96)[..., 0]
    picture = read(tmp_path / "x.jpg", jpeg(pixels))
    assert np.abs(picture - pixels[..., None]).mean() < 2
    assert (picture == picture[..., :1]).all()


@pytest.mark.parametrize("name", ["x.png", "x.bmp", "x.gif"])
def test_a_palette_picture_gets_its_palettes_colours(tmp_path, name):
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
    picture = read(tmp_path / name)
    assert np.abs(picture - on_white(pixels[..., :3], pixels[..., 3])).max() <= 1
    assert (picture[:, :3] == 255).all()


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
    picture = read(tmp_path / "x.jpg")
    for y, x in itertools.product((16, 48), repeat=2):
        cmy, black = inks[y, x, :3].astype(float), float(inks[y, x, 3])
        np.testing.assert_allclose(picture[y, x], (255 - cmy) * (255 - black) / 255, atol=4)


def test_16_bit_grayscale_is_scaled_and_not_clipped(tmp_path):
    pixels = np.linspace(0, 65535, 600).astype(np.uint16).reshape(20, 30)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    picture = read(tmp_path / "x.png")
    assert np.abs(picture - pixels[..., None] / 257).max() < 1
    assert (picture.min(), picture.max()) == (0, 255)


@pytest.mark.parametrize("colour_type, channels", [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_16_bit_png_of_every_colour_type_is_scaled(tmp_path, colour_type, channels):
    pixels = RNG.integers(0, 65536, (5, 6, channels)).astype(">u2")
    if channels in (2, 4):
        pixels[..., -1] = 65535  # opaque
    rows = [row.tobytes() for row in pixels]
    picture = read(tmp_path / "x.png", png(6, 5, 16, colour_type, rows))
    colours = pixels[..., :3] if channels > 2 else pixels[..., :1]
    assert np.abs(picture - colours / 257).max() <= 1


def test_the_transparent_value_of_16_bit_grayscale_shows_white(tmp_path):
    rows = [struct.pack(">3H", 0, 1000, 65535)]
    content = png(3, 1, 16, 0, rows, before=[(b"tRNS", struct.pack(">H", 1000))])
    assert read(tmp_path / "x.png", content)[0, :, 0].tolist() == [0, 255, 255]


@pytest.mark.parametrize("name", ["x.png", "x.bmp"])
def test_a_1_bit_picture_is_black_and_white(tmp_path, name):
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


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", STORED)
def test_a_picture_is_turned_upright(tmp_path, orientation, format):
    stored = np.array(STORED[orientation], np.uint8)[..., None] * np.uint8([40, 20, 10])
    path = tmp_path / "cat.0.jpg"
    with open(path, "wb") as file:
        Image.fromarray(stored).save(file, format, exif=oriented(orientation), lossless=True)
    assert (read(path)[..., 0] / 40).tolist() == [[1, 2, 3], [4, 5, 6]]
    shapes, _ = data.census([data.Picture(path, 1)])
    assert shapes == {(2, 3): 1}


@pytest.mark.parametrize("orientation", STORED)
def test_a_jpeg_decoded_at_reduced_size_is_turned_upright(tmp_path, orientation):
    stored = np.kron(np.array(STORED[orientation]), np.full((160, 160), 40)).astype(np.uint8)
    (tmp_path / "x.jpg").write_bytes(jpeg(stored, exif=oriented(orientation)))
    picture = data.load_picture(tmp_path / "x.jpg", (20, 30))
    assert picture.shape == (20, 30, 3)
    np.testing.assert_allclose(picture[5::10, 5::10, 0] / 40, [[1, 2, 3], [4, 5, 6]], atol=0.1)


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


@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.gif", "x.bmp", "x.webp"])
def test_a_picture_of_one_pixel_fills_the_array(tmp_path, name):
    Image.new("RGB", (1, 1), (255, 255, 255)).save(tmp_path / name)
    picture = data.load_picture(tmp_path / name, (94, 125))
    assert picture.shape == (94, 125, 3) and (picture >= 250).all()


@pytest.mark.parametrize("shape", [(1, 3000), (3000, 1), (17, 900)])
def test_a_picture_of_an_extreme_shape_is_loaded(tmp_path, shape):
    (tmp_path / "x.jpg").write_bytes(jpeg(np.full((*shape, 3), 100, np.uint8)))
    picture = data.load_picture(tmp_path / "x.jpg", (94, 125))
    assert picture.shape == (94, 125, 3) and (np.abs(picture.astype(int) - 100) <= 2).all()


@pytest.mark.parametrize("size", [(94, 125), (48, 64), (1, 1)])
def test_load_picture_gives_uint8_of_the_size_asked_for(tmp_path, size):
    (tmp_path / "x.jpg").write_bytes(jpeg(np.full((375, 500, 3), (250, 120, 10), np.uint8)))
    picture = data.load_picture(tmp_path / "x.jpg", size)
    assert picture.dtype == np.uint8 and picture.shape == (*size, 3)
    assert (np.abs(picture.astype(int) - (250, 120, 10)) <= 3).all()  # red, green, blue


def test_a_large_jpeg_is_decoded_reduced_and_hardly_differs():
    with Image.open(ROOT / "kittens.jpg") as image:
        width, height = image.size
        full = np.asarray(image.convert("RGB").resize((125, 94), Image.Resampling.BILINEAR))
    reduced = data.read_picture(ROOT / "kittens.jpg", at_least=(188, 141))
    assert 188 <= reduced.width < width and 141 <= reduced.height < height
    picture = data.load_picture(ROOT / "kittens.jpg", (94, 125))
    assert np.abs(picture.astype(int) - full).mean() < 2


@pytest.mark.parametrize("orientation, at_least", [(1, (200, 50)), (6, (50, 200))])
def test_the_reduced_size_is_measured_on_the_upright_picture(tmp_path, orientation, at_least):
    stored = jpeg(np.zeros((400, 1600, 3), np.uint8), exif=oriented(orientation))
    (tmp_path / "x.jpg").write_bytes(stored)
    picture = data.read_picture(tmp_path / "x.jpg", at_least)
    assert picture.size == at_least  # an eighth


# ---------------------------------------------------------------------------------------------
# All pictures
# ---------------------------------------------------------------------------------------------

SIZE = (6, 8)


@pytest.fixture
def folder(tmp_path):
    """A folder of 20 cats and 20 dogs, each a picture of its own."""
    for kind, number in itertools.product(("cat", "dog"), range(20)):
        Image.fromarray(noise(9, 12)).save(tmp_path / f"{kind}.{number}.png")
    return tmp_path


def load(folder, train_size=None, valid_size=None, seed=0, test_size=0):
    return data.load_dataset(data.find_pictures(folder), train_size, valid_size, seed, SIZE,
                             test_size)


def cats(files):
    return sum(path.name.startswith("cat") for path in files)


DAMAGED = {
    "empty": (b"", "empty file"),
    "text": (b"this is no picture\n" * 100, "not an image"),
    "html": (b"<!DOCTYPE html><html>404</html>", "not an image"),
    "bomb": (BOMB, "an image bomb: more than 179 million pixels"),
    "truncated_jpeg": (jpeg(noise(90, 120))[:3000], "truncated"),
    "truncated_png": (png(90, 90, 8, 0, noise(90, 90, 1))[:3000], "truncated"),
    "start_of_jpeg": (b"\xff\xd8\xff\xe0", ""),
    "header_of_jpeg": (jpeg(noise(90, 120))[:200], ""),
}


def test_half_of_each_side_is_cats(folder):
    for train_size, valid_size in ((2, 2), (10, 6), (30, 10), (None, None)):
        dataset = load(folder, train_size, valid_size)
        train, valid = train_size or 32, valid_size or 8  # 4 : 1 of 40
        assert len(dataset.train_files) == train and cats(dataset.train_files) == train / 2
        assert len(dataset.valid_files) == valid and cats(dataset.valid_files) == valid / 2


@pytest.mark.parametrize("seed", range(5))
def test_no_picture_is_on_both_sides_or_twice(folder, seed):
    dataset = load(folder, 30, 10, seed)
    files = dataset.train_files + dataset.valid_files
    assert len(set(files)) == 40


@pytest.mark.parametrize("seed", range(5))
def test_the_test_is_a_third_part_and_moves_no_picture_of_the_others(folder, seed):
    without, dataset = load(folder, 20, 10, seed), load(folder, 20, 10, seed, test_size=8)
    assert dataset.valid_files == without.valid_files
    assert dataset.train_files == without.train_files
    assert len(dataset.test_files) == 8 and cats(dataset.test_files) == 4
    assert not set(dataset.test_files) & set(dataset.train_files + dataset.valid_files)
    assert load(folder, 10, 10, seed, test_size=8).test_files == dataset.test_files
    for image, label, path in zip(dataset.test_images, dataset.test_labels, dataset.test_files,
                                  strict=True):
        assert label == path.name.startswith("cat")
        np.testing.assert_array_equal(image, data.load_picture(path, SIZE))


def test_a_damaged_picture_of_the_test_is_replaced(folder):
    before = load(folder, 20, 10, test_size=8)
    before.test_files[5].write_bytes(b"")
    after = load(folder, 20, 10, test_size=8)
    assert [skipped.path for skipped in after.skipped] == [before.test_files[5]]
    assert after.test_files[:5] == before.test_files[:5] and len(set(after.test_files)) == 8
    assert after.train_files == before.train_files and after.valid_files == before.valid_files


def test_the_arrays_have_the_promised_types_and_shapes(folder):
    dataset = load(folder, 10, 6)
    for images, labels, count in ((dataset.train_images, dataset.train_labels, 10),
                                  (dataset.valid_images, dataset.valid_labels, 6)):
        assert images.shape == (count, *SIZE, 3) and images.dtype == np.uint8
        assert labels.shape == (count,) and labels.dtype == np.float32
    assert dataset.skipped == []


def test_labels_match_the_file_names_and_images_the_files(folder):
    (folder / "cat.3.png").write_bytes(b"")
    dataset = load(folder, 20, 10, seed=3)
    for images, labels, files in (
            (dataset.train_images, dataset.train_labels, dataset.train_files),
            (dataset.valid_images, dataset.valid_labels, dataset.valid_files)):
        for image, label, path in zip(images, labels, files, strict=True):
            assert label == (1 if path.name.startswith("cat") else 0)
            with Image.open(path) as picture:
                expected = picture.resize(SIZE[::-1], Image.Resampling.BILINEAR)
            np.testing.assert_array_equal(image, np.asarray(expected))
            np.testing.assert_array_equal(image, data.load_picture(path, SIZE))


@pytest.mark.parametrize("count", [2, 4, 6, 8, 10])
def test_every_even_prefix_is_balanced(folder, count):
    dataset = load(folder, 20, 10)
    assert cats(dataset.train_files[:count]) == cats(dataset.valid_files[:count]) == count / 2


def test_the_same_seed_gives_the_same_files_and_another_seed_others(folder):
    first, again = load(folder, 20, 10, seed=1), load(folder, 20, 10, seed=1)
    assert first.train_files == again.train_files and first.valid_files == again.valid_files
    np.testing.assert_array_equal(first.train_images, again.train_images)
    others = [load(folder, 20, 10, seed) for seed in range(2, 6)]
    assert all(set(first.valid_files) != set(other.valid_files) for other in others)
    assert all(set(first.train_files) != set(other.train_files) for other in others)


def test_the_pictures_are_drawn_from_all_of_the_folder(folder):
    drawn = {path for seed in range(20) for path in load(folder, 2, 20, seed).valid_files}
    assert len(drawn) == 40  # half of them drawn 20 times: one is missed with probability 4e-5


def test_the_validation_files_are_the_same_whatever_the_training_size(folder):
    expected = load(folder, 2, 8).valid_files
    for train_size in (4, 16, 30, 32, None):
        assert load(folder, train_size, 8).valid_files == expected


def test_the_validation_files_are_the_same_even_if_one_had_to_be_replaced(folder):
    for path in load(folder, 2, 8).valid_files[:3]:
        path.write_bytes(b"")
    expected = load(folder, 2, 8).valid_files
    for train_size in (4, 10, 20, 26):
        assert load(folder, train_size, 8).valid_files == expected


def test_the_rarer_class_limits_both(folder):
    for number in range(10, 20):
        (folder / f"dog.{number}.png").unlink()
    dataset = load(folder)
    assert (len(dataset.train_files), len(dataset.valid_files)) == (16, 4)
    assert (cats(dataset.train_files), cats(dataset.valid_files)) == (8, 2)


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_file_is_skipped_with_its_reason_and_replaced(folder, kind):
    before = load(folder, 20, 10)
    content, reason = DAMAGED[kind]
    for damaged in (before.train_files[4], before.valid_files[3]):
        damaged.write_bytes(content)
    after = load(folder, 20, 10)

    assert {skipped.path for skipped in after.skipped} == {before.train_files[4],
                                                           before.valid_files[3]}
    assert all(skipped.reason and reason in skipped.reason for skipped in after.skipped)
    for old, new, place in ((before.train_files, after.train_files, 4),
                            (before.valid_files, after.valid_files, 3)):
        assert new[:place] + new[place + 1:] == old[:place] + old[place + 1:]
        assert new[place] not in before.train_files + before.valid_files
        assert new[place].name[:3] == old[place].name[:3]  # of the same class
    np.testing.assert_array_equal(np.delete(after.train_images, 4, axis=0),
                                  np.delete(before.train_images, 4, axis=0))


def test_a_replacement_that_is_damaged_too_is_replaced(folder):
    for number in range(8):
        (folder / f"cat.{number}.png").write_bytes(b"")
    dataset = load(folder, 16, 8)  # all twelve whole cats
    assert cats(dataset.train_files) == 8 and cats(dataset.valid_files) == 4
    used = dataset.train_files + dataset.valid_files
    assert {path.name for path in used if path.name.startswith("cat")} == {
        f"cat.{number}.png" for number in range(8, 20)}
    assert {skipped.path.name for skipped in dataset.skipped} <= {
        f"cat.{number}.png" for number in range(8)}


def test_a_file_that_vanishes_is_skipped(folder):
    pictures = data.find_pictures(folder)
    expected = data.load_dataset(pictures, 20, 10, 0, SIZE)
    gone = expected.train_files[0]
    gone.unlink()
    dataset = data.load_dataset(pictures, 20, 10, 0, SIZE)
    assert dataset.skipped == [(gone, "no such file or directory")]
    assert len(dataset.train_files) == 20 and dataset.train_files[1:] == expected.train_files[1:]


@pytest.mark.parametrize("damaged", range(1, 20))
def test_typed_sizes_hold_or_are_refused_however_many_files_are_damaged(folder, damaged):
    for number in range(damaged):
        (folder / f"dog.{number}.png").write_bytes(b"")
    if damaged <= 4:  # 16 dogs are needed
        dataset = load(folder, 24, 8)
        assert (len(dataset.train_files), len(dataset.valid_files)) == (24, 8)
    else:
        with pytest.raises(data.DataError, match="--train_size=24 and --valid_size=8 needs more "
                                                 "pictures than there are"):
            load(folder, 24, 8)


@pytest.mark.parametrize("whole", [2, 3, 5, 10, 19])
def test_default_sizes_shrink_to_what_can_be_decoded(folder, whole):
    for number in range(whole, 20):
        (folder / f"cat.{number}.png").write_bytes(b"text")
    dataset = load(folder)
    valid = -(-whole // 5)  # a fifth, rounded up
    assert (len(dataset.train_files), len(dataset.valid_files)) == (2 * (whole - valid), 2 * valid)
    assert (cats(dataset.train_files), cats(dataset.valid_files)) == (whole - valid, valid)
    assert len(dataset.skipped) == 20 - whole
    assert len(dataset.train_images) == len(dataset.train_labels) == 2 * (whole - valid)
    files = dataset.valid_files + dataset.train_files
    images = np.concatenate([dataset.valid_images, dataset.train_images])
    labels = np.concatenate([dataset.valid_labels, dataset.train_labels])
    assert len(set(files)) == 2 * whole
    for image, label, path in zip(images, labels, files, strict=True):
        assert label == path.name.startswith("cat")
        np.testing.assert_array_equal(image, data.load_picture(path, SIZE))


def test_a_class_that_cannot_be_decoded_at_all_is_an_error(folder):
    for number in range(20):
        (folder / f"cat.{number}.png").write_bytes(b"")
    with pytest.raises(data.DataError, match="0 of each class can be used"):
        load(folder)


def test_typed_sizes_beyond_the_number_of_files_are_refused_before_any_is_loaded(
        folder, monkeypatch):
    monkeypatch.setattr(data, "load_picture", lambda *_: pytest.fail("a picture was loaded"))
    with pytest.raises(data.DataError, match="20 of each class can be used, 40 for"):
        load(folder, 40, 10)


def test_the_users_files_are_never_changed(folder):
    for number, (content, _) in enumerate(DAMAGED.values()):
        (folder / f"cat.{number}.png").write_bytes(content)
    Image.fromarray(noise(9, 12)).save(folder / "dog.0.png", exif=oriented(6))
    before = snapshot(folder)
    load(folder)
    data.census(data.find_pictures(folder))
    assert snapshot(folder) == before


def test_batches_hold_every_picture_once_in_order_and_what_cannot_be_loaded(folder):
    paths = [picture.path for picture in data.find_pictures(folder)]
    broken = paths[3]
    broken.write_bytes(b"")
    batches = list(data.load_batches(paths, (20, 30), batch_size=7))
    assert sum((files for files, _, _ in batches), []) == paths[:3] + paths[4:]
    assert [len(files) + len(skipped) for files, _, skipped in batches][:-1] == [7] * (
        len(batches) - 1)
    assert sum((skipped for _, _, skipped in batches), []) == [(broken, "empty file")]
    for files, images, _ in batches:
        assert images.dtype == np.uint8
        np.testing.assert_array_equal(
            images, [data.load_picture(file, (20, 30)) for file in files])
    assert [images.shape for _, images, _ in data.load_batches([broken], (20, 30))] == [
        (0, 20, 30, 3)]


def test_only_so_many_pictures_wait_to_be_fetched(monkeypatch):
    begun = []
    monkeypatch.setattr(data, "load_picture", lambda path, size: (
        begun.append(path), np.zeros((*size, 3), np.uint8))[1])
    batches = data.load_batches([Path(str(number)) for number in range(3000)], (2, 2))
    next(batches)
    batches.close()
    assert 32 <= len(begun) <= 1024


def test_results_come_in_the_order_of_their_paths():
    def slow_at_first(path):
        time.sleep(0.02 if int(path.name) % 5 == 0 else 0)
        return int(path.name)

    results = data.in_threads(slow_at_first, [Path(str(number)) for number in range(40)])
    assert list(results) == list(range(40))


def test_loading_that_is_stopped_does_not_load_the_rest():
    started = []

    def slow(path):
        started.append(path)
        time.sleep(0.01)

    results = data.in_threads(slow, [Path(str(number)) for number in range(2000)])
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
        assert list(data.in_threads(warns, [Path("0"), Path("1")])) == ["decoded"] * 2


def test_a_path_whose_decoder_raises_anything_is_skipped(tmp_path):
    def raises(path):
        if path.name == "1":
            raise struct.error("unpack requires a buffer of 4 bytes")
        return "decoded"

    paths = [tmp_path / name for name in "012"]
    assert list(data.in_threads(raises, paths)) == [
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
    assert data.why_unreadable(path, error) == reason


def test_nothing_is_shown_of_the_progress_where_there_is_no_terminal(folder, capsys):
    load(folder)
    assert capsys.readouterr() == ("", "")


# ---------------------------------------------------------------------------------------------
# The census, and the command line
# ---------------------------------------------------------------------------------------------

def test_the_census_counts_shapes_upright(tmp_path):
    for number, (shape, orientation) in enumerate([
            ((30, 40), 1), ((30, 40), 3), ((40, 30), 6), ((40, 30), 8), ((40, 30), 1),
            ((30, 40), 5)]):
        content = jpeg(noise(*shape), exif=oriented(orientation))
        (tmp_path / f"cat.{number}.jpg").write_bytes(content)
    shapes, unreadable = data.census(data.find_pictures(tmp_path))
    assert shapes == {(30, 40): 4, (40, 30): 2} and unreadable == []


def test_the_census_lists_what_cannot_be_decoded(tmp_path):
    (tmp_path / "dog.0.jpg").write_bytes(jpeg(noise(30, 40)))
    for number, (content, _) in enumerate(DAMAGED.values()):
        (tmp_path / f"cat.{number}.jpg").write_bytes(content)
    shapes, unreadable = data.census(data.find_pictures(tmp_path))
    assert shapes == {(30, 40): 1}
    for number, (path, reason) in enumerate(unreadable):
        assert path == tmp_path / f"cat.{number}.jpg"
        assert list(DAMAGED.values())[number][1] in reason
    assert len(unreadable) == len(DAMAGED)


def test_the_shape_of_a_damaged_picture_is_an_error(tmp_path):
    (tmp_path / "x.jpg").write_bytes(jpeg(noise(90, 120))[:3000])  # its header is whole
    with pytest.raises(OSError, match="truncated"):
        data.upright_shape(tmp_path / "x.jpg")


def make_data(folder, *shapes):
    """A data/ as the archive has it, with pictures of these shapes, half of them cats."""
    for number, shape in enumerate(shapes):
        path = folder / "data/PetImages" / ("Cat" if number % 2 else "Dog") / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(np.full((*shape, 3), 90, np.uint8)))


@pytest.mark.parametrize("arguments", [[], ["--data_dir=data"], ["--data_dir", "data/PetImages"]])
def test_the_census_prints_the_most_common_shape_first(tmp_path, run_script, arguments):
    make_data(tmp_path, *[(375, 500)] * 5, (500, 374), (499, 381))
    touch(tmp_path, "data/PetImages/Cat/666.jpg", "data/PetImages/Cat/Thumbs.db")
    result = run_script("data.py", *arguments)
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert "8 pictures, 4 cats and 4 dogs" in lines[0]
    assert "first 8" in lines[1]
    assert lines[2].split() == ["375", "x", "500", "5", "71.4%"]
    assert {line.split()[0] for line in lines[3:5]} == {"500", "499"}
    assert lines[5] == "unreadable: 1"
    assert "666.jpg: empty file" in lines[6]
    assert "--input_size=94x125" in lines[7] and "5 of the 7" in lines[7]  # a quarter, rounded up


def test_the_input_size_counts_shapes_a_few_pixels_apart_as_one(tmp_path, run_script):
    make_data(tmp_path, *[(480, 640)] * 3, (375, 500), (374, 500), (375, 499), (373, 497))
    lines = run_script("data.py").stdout.splitlines()
    assert lines[2].split()[:4] == ["480", "x", "640", "3"]
    assert "--input_size=94x125" in lines[-1] and "4 of the 7" in lines[-1]


def test_the_census_looks_at_as_many_as_asked_for(tmp_path, run_script):
    make_data(tmp_path, *[(30, 40)] * 3, (50, 60), (50, 60))
    lines = run_script("data.py", "--sample=3").stdout.splitlines()
    assert "first 3" in lines[1]
    assert lines[2].split() == ["30", "x", "40", "3", "100.0%"]
    assert lines[3] == "unreadable: 0"


def test_the_census_of_unreadable_files_alone_says_so(tmp_path, run_script):
    touch(tmp_path, "data/cat.0.jpg", "data/dog.0.jpg")
    result = run_script("data.py")
    assert (result.returncode, result.stderr) == (0, "")
    assert "unreadable: 2" in result.stdout


def test_the_census_prints_a_name_that_is_not_unicode(tmp_path, run_script, monkeypatch):
    touch(tmp_path, *(os.fsdecode(name) for name in (b"data/cat.\xff.jpg", b"data/dog.\xff.jpg")))
    monkeypatch.setenv("PYTHONIOENCODING", "utf-8:strict")  # as in a terminal of today
    result = run_script("data.py")
    assert (result.returncode, result.stderr) == (0, "")
    assert "unreadable: 2" in result.stdout and result.stdout.count("empty file") == 2


def test_without_photographs_the_census_is_the_samples_and_says_so(run_alone):
    result = run_alone("data.py", "--sample=20")
    assert (result.returncode, result.stderr) == (0, "")
    assert "no photographs in data/" in result.stdout and "bundled sample" in result.stdout
    assert "500 pictures, 250 cats and 250 dogs" in result.stdout


def test_on_a_terminal_the_census_shows_how_far_it_is(tmp_path):
    make_data(tmp_path, *[(30, 40)] * 8)
    master, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen([sys.executable, str(ROOT / "data.py")], cwd=tmp_path, env=environment,
                          stdin=terminal, stdout=terminal, stderr=terminal) as process:
        os.close(terminal)
        shown = read_terminal(master)
    assert process.returncode == 0
    for part in (b"reading pictures", b"8/8", b"pictures/s", b"unreadable: 0"):
        assert part in shown


def test_the_progress_never_mixes_with_what_is_redirected(tmp_path):
    make_data(tmp_path, *[(30, 40)] * 8)
    master, terminal = pty.openpty()
    result = subprocess.run([sys.executable, str(ROOT / "data.py")], cwd=tmp_path,
                            env={**os.environ, "TERM": "xterm"}, stdout=subprocess.PIPE,
                            stderr=terminal)
    os.close(terminal)
    assert result.stdout.startswith(b"data: 8 pictures") and b"pictures/s" not in result.stdout
    assert b"reading pictures" in read_terminal(master)
