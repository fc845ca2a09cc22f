"""data.py: the images it finds, the sizes it chooses, the split, what it loads, the census."""

import hashlib
import itertools
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import data
import needs
from conftest import read_terminal
from support import class_folders, image_files, split_sizes
from support.cli import UserError
from support.settings import Config
from test_image_files import DAMAGED, STORED, jpeg, noise, oriented, rotated_image

ROOT = Path(data.__file__).parent


def touch(folder, *names):
    """Empty files: finding looks at names only."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def found(folder):
    """What is found as [(path inside the folder, label)], in order."""
    return [(path.relative_to(folder).as_posix(), label)
            for path, label in class_folders.labeled_images(folder)]


def paths_in(folder):
    return [image.path for image in class_folders.labeled_images(folder)]


def snapshot(folder):
    """Every file under the folder with its bytes' hash and its time of change."""
    return {path: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
            for path in folder.rglob("*") if path.is_file()}


# ---------------------------------------------------------------------------------------------
# Finding the images
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
    assert found(tmp_path) == list(zip(names, [1, 0, 1, 0], strict=True))


@pytest.mark.parametrize("extension", [".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp",
                                       ".JPG", ".Jpeg", ".PNG", ".BMP", ".GIF", ".WEBP"])
def test_every_extension_is_found(tmp_path, extension):
    touch(tmp_path, f"cat.0{extension}", f"dogs/0{extension}")
    assert found(tmp_path) == [(f"dogs/0{extension}", 0), (f"cat.0{extension}", 1)]


@pytest.mark.parametrize("ending", sorted(image_files.ENDINGS))
def test_every_format_that_pillow_decodes_is_found(tmp_path, ending):
    touch(tmp_path, f"cat.0{ending}", f"dogs/0{ending.upper()}")
    assert found(tmp_path) == [(f"dogs/0{ending.upper()}", 0), (f"cat.0{ending}", 1)]


@pytest.mark.parametrize("name", [
    "catalogue.jpg", "dogma.png", "caterpillar.0.jpg", "bobcat.0.jpg", "0.jpg", "._cat.0.jpg",
    ".cat.0.jpg", "cat.0.txt", "cat.0", "cat", "cat.0.jpg.part", "Thumbs.db", "cats/Thumbs.db",
    "cat 1", "cats/IMG_7", "cats/St. Bernard", "cats/._cat.0.jpg", "cats/.hidden.jpg",
    "cats/.DS_Store", "dogs/notes.txt", "birds/0.jpg", "catalogue/0.jpg", "train/catalogue.jpg",
    "test/cat.0.jpg", "cats/cat.0.jpg/nothing", "cat.0.jpg/nothing",
    ".download/unpacked/PetImages/Cat/0.jpg"])
def test_a_file_that_is_no_image_of_a_cat_or_dog_is_ignored(tmp_path, name):
    touch(tmp_path, name)
    assert found(tmp_path) == []


def test_ignored_files_do_not_hide_the_images_beside_them(tmp_path):
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
    with pytest.raises(FileNotFoundError, match="nowhere"):
        class_folders.labeled_images(tmp_path / "nowhere")
    with pytest.raises(UserError) as error:
        class_folders.find(tmp_path / "nowhere", None)
    assert str(error.value) == f"--data_dir={tmp_path}/nowhere is not a folder"


def test_a_file_in_place_of_the_folder_is_an_error(tmp_path):
    touch(tmp_path, "file")
    with pytest.raises(NotADirectoryError, match="file"):
        class_folders.labeled_images(tmp_path / "file")
    with pytest.raises(UserError) as error:
        class_folders.find(tmp_path / "file", None)
    assert str(error.value) == f"--data_dir={tmp_path}/file is not a folder"


def test_a_subfolder_that_may_not_be_read_is_an_error_that_names_it(tmp_path, monkeypatch):
    touch(tmp_path, "dogs/0.jpg", "cats/0.jpg")
    iterdir = Path.iterdir

    def refused(folder):
        if folder.name == "cats":
            raise PermissionError(13, "Permission denied", str(folder))
        return iterdir(folder)

    monkeypatch.setattr(Path, "iterdir", refused)
    (tmp_path / "data").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    for unreadable in (lambda: class_folders.labeled_images(tmp_path),
                       lambda: class_folders.choose(None),
                       lambda: class_folders.find(tmp_path, None),
                       lambda: class_folders.find(tmp_path, ("cat", "dog"))):
        with pytest.raises(PermissionError, match="/cats'$"):
            unreadable()


# ---------------------------------------------------------------------------------------------
# The folder to train on
# ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("typed", ["absolute", "relative", None])
def test_images_in_the_folder_are_used(tmp_path, monkeypatch, typed):
    touch(tmp_path, "data/train/cat.0.jpg", "data/train/dog.0.jpg")
    monkeypatch.chdir(tmp_path)
    expected = tmp_path / "data" if typed == "absolute" else Path("data")
    folder, labeled_images, names, *_ = class_folders.choose(str(expected) if typed else None)
    assert folder == expected and names == ("cat", "dog")
    assert labeled_images == [(expected / "train/cat.0.jpg", 1),
                              (expected / "train/dog.0.jpg", 0)]


@pytest.mark.parametrize("content", [None, [], ["Thumbs.db"],
                                     [".download/unpacked/PetImages/Cat/0.jpg"]])
def test_the_default_folder_without_images_gives_the_bundled_sample(tmp_path, monkeypatch,
                                                                    content):
    folder = tmp_path / "data"
    if content is not None:
        folder.mkdir()
        touch(folder, *content)
    monkeypatch.chdir(tmp_path)
    used, labeled_images, names, *_ = class_folders.choose(None)
    assert used == ROOT / "sample" and names == ("cat", "dog")
    assert Counter(label for _, label in labeled_images) == {1: 250, 0: 250}
    assert {path.name for path, _ in labeled_images} == {
        f"{kind}.{number}.jpg" for kind in ("cat", "dog") for number in range(250)}


def test_an_explicit_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(UserError, match="--data_dir=.*nowhere is not a folder"):
        class_folders.choose(str(tmp_path / "nowhere"))


def test_an_explicit_folder_without_images_is_an_error(tmp_path):
    touch(tmp_path, "catalogue.jpg")
    with pytest.raises(UserError, match=f"--data_dir={tmp_path} holds no pictures of cat and dog; "
                                        ".*: put each class into a folder of its name"):
        class_folders.choose(str(tmp_path))


@pytest.mark.parametrize("typed", [True, False])
@pytest.mark.parametrize("there, missing", [("cat", "dog"), ("dog", "cat")])
def test_a_folder_that_lacks_a_class_is_an_error(tmp_path, monkeypatch, there, missing, typed):
    touch(tmp_path / "data", f"{there}.0.jpg", f"{there}.1.jpg", f"{there}.2.jpg")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data" if typed else "data"
    with pytest.raises(UserError, match=f"--data_dir={folder} holds no pictures of {missing} "
                                        f"beside those of {there}; there are 3 "):
        class_folders.choose(str(folder) if typed else None)


# ---------------------------------------------------------------------------------------------
# One image as a NumPy array
# ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("orientation", STORED)
def test_a_jpeg_decoded_at_reduced_size_is_turned_upright(tmp_path, orientation):
    stored = np.kron(np.array(STORED[orientation]), np.full((160, 160), 40)).astype(np.uint8)
    (tmp_path / "x.jpg").write_bytes(jpeg(stored, exif=oriented(orientation)))
    image = data.load_image(tmp_path / "x.jpg", (20, 30))
    assert image.shape == (20, 30, 3)
    np.testing.assert_allclose(image[5::10, 5::10, 0] / 40, [[1, 2, 3], [4, 5, 6]], atol=0.1)


@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.gif", "x.bmp", "x.webp"])
def test_an_image_of_one_pixel_fills_the_array(tmp_path, name):
    Image.new("RGB", (1, 1), (255, 255, 255)).save(tmp_path / name)
    image = data.load_image(tmp_path / name, (94, 125))
    assert image.shape == (94, 125, 3) and (image >= 250).all()


@pytest.mark.parametrize("shape", [(1, 3000), (3000, 1), (17, 900)])
def test_an_image_of_an_extreme_shape_is_loaded(tmp_path, shape):
    (tmp_path / "x.jpg").write_bytes(jpeg(np.full((*shape, 3), 100, np.uint8)))
    image = data.load_image(tmp_path / "x.jpg", (94, 125))
    assert image.shape == (94, 125, 3) and (np.abs(image.astype(int) - 100) <= 2).all()


@pytest.mark.parametrize("size", [(94, 125), (48, 64), (1, 1)])
def test_load_image_gives_uint8_of_the_size_asked_for(tmp_path, size):
    (tmp_path / "x.jpg").write_bytes(jpeg(np.full((375, 500, 3), (250, 120, 10), np.uint8)))
    image = data.load_image(tmp_path / "x.jpg", size)
    assert image.dtype == np.uint8 and image.shape == (*size, 3)
    assert (np.abs(image.astype(int) - (250, 120, 10)) <= 3).all()  # red, green, blue


def test_a_large_jpeg_is_decoded_reduced_and_hardly_differs():
    with Image.open(ROOT / "kittens.jpg") as image:
        width, height = image.size
        full = np.asarray(image.convert("RGB").resize((125, 94), Image.Resampling.BILINEAR))
    reduced = image_files.read(ROOT / "kittens.jpg", at_least=(188, 141))
    assert 188 <= reduced.width < width and 141 <= reduced.height < height
    image = data.load_image(ROOT / "kittens.jpg", (94, 125))
    assert np.abs(image.astype(int) - full).mean() < 2


# ---------------------------------------------------------------------------------------------
# The sizes (of each class)
# ---------------------------------------------------------------------------------------------

SIZE = (6, 8)


def settings_of(train_size=None, valid_size=None, seed=0, test_size=0):
    return Config(train_size=train_size, valid_size=valid_size, test_size=test_size, seed=seed,
                  input_size=SIZE)


def choose_sizes(available, train_size, valid_size, test_size=0):
    """The sizes of each class, where there are so many images of each."""
    images = [data.LabeledImage(Path(), label) for label in (1, 0)] * available
    source = data.Source(Path(), images, ("cat", "dog"))
    return split_sizes.with_sizes(
        source, settings_of(train_size, valid_size, test_size=test_size)).sizes


@pytest.mark.parametrize("available", [2560, 2561, 12_500])
def test_with_plenty_the_sizes_are_the_articles(available):
    assert choose_sizes(available, None, None) == (4096 / 2, 1024 / 2, 0)


@pytest.mark.parametrize("available, train, valid", [
    (2, 1, 1), (5, 4, 1), (6, 4, 2), (10, 8, 2), (250, 200, 50), (1000, 800, 200),
    (2555, 2044, 511), (2559, 2047, 512)])
def test_with_fewer_images_the_default_sizes_shrink_four_to_one(available, train, valid):
    assert choose_sizes(available, None, None) == (train, valid, 0)


def test_default_sizes_use_every_image_in_the_articles_proportion():
    for available in [*range(2, 200), *range(200, 3000, 7)]:
        train, valid, _ = choose_sizes(available, None, None)
        assert train + valid == min(available, 2560)
        assert valid >= 1 and train >= 1 and abs(train - 4 * valid) <= 4


def test_explicit_sizes_are_met_exactly_or_refused():
    cases = random.Random(0)
    for _ in range(2000):
        available = cases.choice([0, 1, 2, 3, 5, 10, 100, 2559, 2560, 12_500])
        train, valid = (cases.choice([None, 1, 2, 3, 50, 512, 513, 2048, 2049, 10_000])
                        for _ in range(2))
        if train is None and valid is None:
            continue
        # The one that was not set takes what is left, up to the article's.
        want_train = min(2048, available - valid) if train is None else train
        want_valid = min(512, available - train) if valid is None else valid
        sizes = [size and 2 * size for size in (train, valid)]
        if want_train >= 1 and want_valid >= 1 and want_train + want_valid <= available:
            assert choose_sizes(available, *sizes) == (want_train, want_valid, 0)
        else:
            with pytest.raises(UserError, match=f"{2 * available} in all parts"):
                choose_sizes(available, *sizes)


@pytest.mark.parametrize("train, valid, asked_for", [
    (400, 102, "--train_size=400 and --valid_size=102"), (500, None, "--train_size=500"),
    (None, 500, "--valid_size=500")])
def test_explicit_sizes_that_cannot_be_met_are_refused_with_the_number_available(
        train, valid, asked_for):
    with pytest.raises(UserError) as error:
        choose_sizes(250, train, valid)
    assert str(error.value) == (f"{asked_for} needs more pictures than there are: 250 of each "
                                "class can be used, 500 in all parts together")


def test_what_is_set_aside_for_the_test_is_left_to_no_other_part():
    assert choose_sizes(6250, None, None, 1024) == (2048, 512, 512)
    assert choose_sizes(6250, 10_000, 2500, 0) == (5000, 1250, 0)
    assert choose_sizes(250, None, None, 100) == (160, 40, 50)  # four to one of 200
    with pytest.raises(UserError) as error:
        choose_sizes(250, 300, 100, 102)
    assert str(error.value) == (
        "--train_size=300 and --valid_size=100 and --test_size=102 needs more pictures than there "
        "are: 250 of each class can be used, 500 in all parts together")


@pytest.mark.parametrize("size", [-2, 1, 1023])
def test_odd_and_negative_test_sizes_are_refused(size):
    with pytest.raises(UserError, match=f"^--test_size={size} must be an even number of at "
                                        "least 0"):
        choose_sizes(10_000, None, None, size)


@pytest.mark.parametrize("available", [0, 1])
def test_too_few_images_for_any_training_are_refused(available):
    with pytest.raises(UserError, match="^training needs more pictures than there are: "
                                        f"{available} of each class"):
        choose_sizes(available, None, None)


@pytest.mark.parametrize("size", [1, 3, 4095, 0, -1, -2, -4096])
def test_odd_zero_and_negative_sizes_are_refused(size):
    with pytest.raises(UserError, match=f"^--train_size={size} must be an even number of at "
                                        "least 2"):
        choose_sizes(10_000, size, None)
    with pytest.raises(UserError, match=f"^--valid_size={size} must be an even number of at "
                                        "least 2"):
        choose_sizes(10_000, None, size)


def test_sizes_are_checked_against_the_rarer_class():
    labeled_images = [data.LabeledImage(Path(f"{i}.jpg"), int(i >= 10))
                      for i in range(110)]  # 10 dogs
    source = data.Source(Path(), labeled_images, ("cat", "dog"))
    assert split_sizes.with_sizes(source, settings_of(16, 4)).sizes == (8, 2, 0)
    with pytest.raises(UserError, match=r"10 of each class can be used \(there are no more "
                                        r"of dog\)"):
        split_sizes.with_sizes(source, settings_of(18, 4))


# ---------------------------------------------------------------------------------------------
# All images
# ---------------------------------------------------------------------------------------------

@pytest.fixture
def folder(tmp_path):
    """A folder of 20 cats and 20 dogs, each an image of its own."""
    for kind, number in itertools.product(("cat", "dog"), range(20)):
        Image.fromarray(noise(9, 12)).save(tmp_path / f"{kind}.{number}.png")
    return tmp_path


def load_source(source, config):
    return data.load_dataset(split_sizes.with_sizes(source, config), config)


def load(folder, train_size=None, valid_size=None, seed=0, test_size=0):
    return load_source(class_folders.find(folder, None),
                       settings_of(train_size, valid_size, seed, test_size))


def cats(files):
    return sum(path.name.startswith("cat") for path in files)


def test_half_of_each_part_is_cats(folder):
    for train_size, valid_size in ((2, 2), (10, 6), (30, 10), (None, None)):
        dataset = load(folder, train_size, valid_size)
        train, valid = train_size or 32, valid_size or 8  # 4 : 1 of 40
        assert len(dataset.train.files) == train and cats(dataset.train.files) == train / 2
        assert len(dataset.valid.files) == valid and cats(dataset.valid.files) == valid / 2


@pytest.mark.parametrize("seed", range(5))
def test_no_image_is_in_two_parts_or_twice(folder, seed):
    dataset = load(folder, 30, 10, seed)
    files = dataset.train.files + dataset.valid.files
    assert len(set(files)) == 40


@pytest.mark.parametrize("seed", range(5))
def test_the_test_is_a_third_part_and_moves_no_image_of_the_others(folder, seed):
    without, dataset = load(folder, 20, 10, seed), load(folder, 20, 10, seed, test_size=8)
    assert dataset.valid.files == without.valid.files
    assert dataset.train.files == without.train.files
    assert len(dataset.test.files) == 8 and cats(dataset.test.files) == 4
    assert not set(dataset.test.files) & set(dataset.train.files + dataset.valid.files)
    assert load(folder, 10, 10, seed, test_size=8).test.files == dataset.test.files
    for image, label, path in zip(dataset.test.images, dataset.test.labels, dataset.test.files,
                                  strict=True):
        assert label == path.name.startswith("cat")
        np.testing.assert_array_equal(image, data.load_image(path, SIZE))


def test_a_damaged_image_of_the_test_is_replaced(folder):
    before = load(folder, 20, 10, test_size=8)
    before.test.files[5].write_bytes(b"")
    after = load(folder, 20, 10, test_size=8)
    assert [skipped.path for skipped in after.skipped] == [before.test.files[5]]
    assert after.test.files[:5] == before.test.files[:5] and len(set(after.test.files)) == 8
    assert after.test.files[5] == before.test.files[7]  # the next dog, which moves up
    assert after.test.files[6] == before.test.files[6]
    assert after.train.files == before.train.files and after.valid.files == before.valid.files


def test_the_arrays_have_the_promised_types_and_shapes(folder):
    dataset = load(folder, 10, 6)
    for part, count in ((dataset.train, 10), (dataset.valid, 6), (dataset.test, 0)):
        assert part.images.shape == (count, *SIZE, 3) and part.images.dtype == np.uint8
        assert part.labels.shape == (count,) and part.labels.dtype == np.float32
        assert len(part.labels) == len(part.files) == count
    assert dataset.skipped == []


def test_labels_match_the_file_names_and_images_the_files(folder):
    (folder / "cat.3.png").write_bytes(b"")
    dataset = load(folder, 20, 10, seed=3)
    for part in (dataset.train, dataset.valid):
        for image, label, path in zip(part.images, part.labels, part.files, strict=True):
            assert label == (1 if path.name.startswith("cat") else 0)
            with Image.open(path) as stored:
                expected = stored.resize(SIZE[::-1], Image.Resampling.BILINEAR)
            np.testing.assert_array_equal(image, np.asarray(expected))
            np.testing.assert_array_equal(image, data.load_image(path, SIZE))


def test_labels_stay_with_their_images_whatever_the_files_are_called(folder):
    """Labels come from the source alone: here every third file has label 1, cat or dog."""
    labeled_images = [data.LabeledImage(path, int(number % 3 == 0))
                      for number, path in enumerate(paths_in(folder))]
    for damaged in labeled_images[:8]:  # three of label 1 and five of label 0
        damaged.path.write_bytes(b"")
    label_of = dict(labeled_images)
    random.Random(0).shuffle(labeled_images)
    source = data.Source(folder, labeled_images, ("third", "other"))
    for sizes in ((None, None), (8, 6, 3, 4)):
        dataset = load_source(source, settings_of(*sizes))
        assert dataset.class_names == ("third", "other")
        for part in (dataset.train, dataset.valid, dataset.test):
            assert part.labels.tolist() == [1, 0] * (len(part.files) // 2)
            for image, label, path in zip(part.images, part.labels, part.files, strict=True):
                assert label == label_of[path]
                np.testing.assert_array_equal(image, data.load_image(path, SIZE))


def test_with_dogs_as_the_positive_class_they_have_label_1(folder):
    source = class_folders.find(folder, ("dog", "cat"))
    dataset = load_source(source, settings_of(20, 10, test_size=4))
    assert dataset.class_names == ("dog", "cat")
    for part in (dataset.train, dataset.valid, dataset.test):
        assert part.labels.tolist() == [path.name.startswith("dog") for path in part.files]


@pytest.mark.parametrize("count", [2, 4, 6, 8, 10])
def test_every_even_prefix_is_balanced(folder, count):
    dataset = load(folder, 20, 10)
    assert cats(dataset.train.files[:count]) == cats(dataset.valid.files[:count]) == count / 2


def test_the_same_seed_gives_the_same_files_and_another_seed_others(folder):
    first, again = load(folder, 20, 10, seed=1), load(folder, 20, 10, seed=1)
    assert first.train.files == again.train.files and first.valid.files == again.valid.files
    np.testing.assert_array_equal(first.train.images, again.train.images)
    others = [load(folder, 20, 10, seed) for seed in range(2, 6)]
    assert all(set(first.valid.files) != set(other.valid.files) for other in others)
    assert all(set(first.train.files) != set(other.train.files) for other in others)


def test_the_images_are_drawn_from_all_of_the_folder(folder):
    drawn = {path for seed in range(20) for path in load(folder, 2, 20, seed).valid.files}
    assert len(drawn) == 40  # half of them drawn 20 times: one is missed with probability 4e-5


def test_the_validation_files_are_the_same_whatever_the_training_size(folder):
    expected = load(folder, 2, 8).valid.files
    for train_size in (4, 16, 30, 32, None):
        assert load(folder, train_size, 8).valid.files == expected


def test_the_validation_files_are_the_same_even_if_one_had_to_be_replaced(folder):
    for path in load(folder, 2, 8).valid.files[:3]:
        path.write_bytes(b"")
    expected = load(folder, 2, 8).valid.files
    for train_size in (4, 10, 20, 26):
        assert load(folder, train_size, 8).valid.files == expected


def test_the_rarer_class_limits_both(folder):
    for number in range(10, 20):
        (folder / f"dog.{number}.png").unlink()
    dataset = load(folder)
    assert (len(dataset.train.files), len(dataset.valid.files)) == (16, 4)
    assert (cats(dataset.train.files), cats(dataset.valid.files)) == (8, 2)


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_file_is_skipped_with_its_reason_and_the_later_ones_move_up(folder, kind):
    before = load(folder, 20, 10)
    content, reason = DAMAGED[kind]
    for damaged in (before.train.files[4], before.valid.files[3]):
        damaged.write_bytes(content)
    after = load(folder, 20, 10)

    assert {skipped.path for skipped in after.skipped} == {before.train.files[4],
                                                           before.valid.files[3]}
    assert all(skipped.reason and reason in skipped.reason for skipped in after.skipped)
    for kind, first_row, damaged in (("cat", 0, before.train.files[4]),
                                     ("dog", 1, before.valid.files[3])):
        old, new = (dataset.valid.files[first_row::2] + dataset.train.files[first_row::2]
                    for dataset in (before, after))
        assert new[:-1] == [path for path in old if path != damaged]
        assert new[-1] not in old and new[-1].name.startswith(kind)
    images_before = dict(zip(before.train.files, before.train.images, strict=True))
    for path, image in zip(after.train.files, after.train.images, strict=True):
        if path in images_before:
            np.testing.assert_array_equal(image, images_before[path])


def test_a_replacement_that_is_damaged_too_is_replaced(folder):
    for number in range(8):
        (folder / f"cat.{number}.png").write_bytes(b"")
    dataset = load(folder, 16, 8)  # all twelve whole cats
    assert cats(dataset.train.files) == 8 and cats(dataset.valid.files) == 4
    used = dataset.train.files + dataset.valid.files
    assert {path.name for path in used if path.name.startswith("cat")} == {
        f"cat.{number}.png" for number in range(8, 20)}
    assert {skipped.path.name for skipped in dataset.skipped} <= {
        f"cat.{number}.png" for number in range(8)}


def test_a_file_that_vanishes_is_skipped(folder):
    source = class_folders.find(folder, None)
    expected = load_source(source, settings_of(20, 10))
    gone = expected.train.files[0]
    gone.unlink()
    dataset = load_source(source, settings_of(20, 10))
    assert dataset.skipped == [(gone, "no such file or directory")]
    assert len(dataset.train.files) == 20
    assert dataset.train.files[:-2:2] == expected.train.files[2::2]  # the cats move up
    assert dataset.train.files[1::2] == expected.train.files[1::2]


@pytest.mark.parametrize("damaged", range(1, 20))
def test_explicit_sizes_hold_or_are_refused_however_many_files_are_damaged(folder, damaged):
    for number in range(damaged):
        (folder / f"dog.{number}.png").write_bytes(b"")
    if damaged <= 4:  # 16 dogs are needed
        dataset = load(folder, 24, 8)
        assert (len(dataset.train.files), len(dataset.valid.files)) == (24, 8)
    else:
        with pytest.raises(UserError, match="--train_size=24 and --valid_size=8 needs more "
                                            "pictures than there are"):
            load(folder, 24, 8)


@pytest.mark.parametrize("whole", [2, 3, 5, 10, 19])
def test_default_sizes_shrink_to_what_can_be_decoded(folder, whole):
    for number in range(whole, 20):
        (folder / f"cat.{number}.png").write_bytes(b"text")
    dataset = load(folder)
    valid = -(-whole // 5)  # a fifth, rounded up
    assert (len(dataset.train.files), len(dataset.valid.files)) == (2 * (whole - valid), 2 * valid)
    assert (cats(dataset.train.files), cats(dataset.valid.files)) == (whole - valid, valid)
    assert len(dataset.skipped) == 20 - whole
    assert len(dataset.train.images) == len(dataset.train.labels) == 2 * (whole - valid)
    files = dataset.valid.files + dataset.train.files
    loaded = np.concatenate([dataset.valid.images, dataset.train.images])
    labels = np.concatenate([dataset.valid.labels, dataset.train.labels])
    assert len(set(files)) == 2 * whole
    for image, label, path in zip(loaded, labels, files, strict=True):
        assert label == path.name.startswith("cat")
        np.testing.assert_array_equal(image, data.load_image(path, SIZE))


@pytest.mark.parametrize("shape", [(1, 1, 2), (7, 5, 3), (40, 12, 16)])
@pytest.mark.parametrize("levels", [[0, 255], range(256), [100, 103]])
def test_mean_and_std_of_an_array_equal_numpys(shape, levels):
    pixels = np.random.default_rng(0).choice(np.array(levels, np.uint8), (*shape, 3))
    pixels[0, 0, :2] = [[levels[0]], [levels[-1]]]  # not of one colour
    for array in (pixels, pixels[:, ::-1, ::-1]):  # in whatever order the memory has it
        mean, std = data.mean_and_std(array)
        np.testing.assert_allclose(mean, array.mean(axis=(0, 1, 2)), rtol=1e-12)
        np.testing.assert_allclose(std, array.std(axis=(0, 1, 2)), rtol=1e-12)
        assert mean.dtype == std.dtype == np.float64 and mean.shape == std.shape == (3,)


def test_the_std_of_images_of_one_colour_is_one(folder):
    for path in folder.iterdir():
        Image.new("RGB", (12, 9), (200, 100, 0)).save(path)
    mean, std = data.mean_and_std(load(folder, 20, 10).train.images)
    assert mean.tolist() == [200, 100, 0] and std.tolist() == [1, 1, 1]


WHOLE = {"train/cats": 8, "train/dogs": 6, "VAL/cats": 2, "VAL/dogs": 5, "test/cats": 1,
         "test/dogs": 3}


@pytest.fixture
def parts_folder(tmp_path):
    """train/, VAL/ and test/, the last two with unequally many of each class."""
    for place, count in WHOLE.items():
        (tmp_path / place).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(noise(9, 12)).save(tmp_path / place / f"{number}.png")
    return tmp_path


def test_parts_with_folders_of_their_own_are_whole(parts_folder):
    (parts_folder / "VAL/dogs/0.png").write_bytes(b"")
    dataset = load(parts_folder)
    for part, place, of_each in ((dataset.train, "train", (6, 6)), (dataset.valid, "VAL", (2, 4)),
                                 (dataset.test, "test", (1, 3))):
        assert (part.labels.sum(), len(part.labels) - part.labels.sum()) == of_each
        assert len(part.images) == len({*part.files}) == sum(of_each)
        for image, label, path in zip(part.images, part.labels, part.files, strict=True):
            assert path.is_relative_to(parts_folder / place)
            assert label == (path.parent.name == "cats")
            np.testing.assert_array_equal(image, data.load_image(path, SIZE))
    assert dataset.skipped == [(parts_folder / "VAL/dogs/0.png", "empty file")]
    assert load(parts_folder, seed=1).valid.files == dataset.valid.files


def test_training_takes_the_same_images_whatever_the_parts_beside_it_hold(parts_folder):
    expected = load(parts_folder, 8)
    shutil.rmtree(parts_folder / "test")
    dataset = load(parts_folder, 8, test_size=2)
    assert dataset.train.files == expected.train.files and len(dataset.test.files) == 2
    assert {path.parent.parent.name for path in dataset.test.files} == {"train"}
    with pytest.raises(UserError, match="^--train_size=14 needs more pictures than there are: 6 of "
                                        r"each class can be used \(there are no more of dog\), 12 "
                                        "in all parts together$"):
        load(parts_folder, 14)


def test_sizes_of_parts_with_folders_of_their_own_are_refused(parts_folder):
    for flag, place in (("valid_size", "VAL"), ("test_size", "test")):
        with pytest.raises(UserError) as error:
            load(parts_folder, **{flag: 2})
        assert str(error.value) == (
            f"--{flag}=2 contradicts {parts_folder}/{place}, which is that part, whole: leave the "
            "flag out, or give the folder another name")


def test_a_part_of_which_nothing_can_be_read_is_refused(parts_folder):
    for path in parts_folder.glob("VAL/*/*"):
        path.write_bytes(b"")
    with pytest.raises(UserError, match="^none of the 7 pictures of .*VAL can be read$"):
        load(parts_folder)


@pytest.mark.parametrize("train_size, broken, train_left", [
    (None, [], 28),
    (16, ["cat.3", "dog.5", "cat.7", "cat.8"], 16),  # there are others
    (None, ["cat.3", "dog.5", "cat.7", "cat.8"], 22),  # there are none: three pairs go
])
def test_for_broken_files_there_are_others_or_else_their_pairs_go(folder, train_size, broken,
                                                                  train_left):
    for name in broken:
        (folder / f"{name}.png").write_bytes(b"")
    whole = load(folder, train_size, 10, test_size=2)
    assert len(whole.train.images) == len(whole.train.files) == train_left
    assert (len(whole.valid.files), len(whole.test.files)) == (10, 2)
    for part in (whole.train, whole.valid, whole.test):
        assert part.images.dtype == np.uint8 and part.labels.dtype == np.float32
        assert cats(part.files) == sum(part.labels) == len(part.files) / 2


@pytest.mark.parametrize("seed", range(3))
def test_the_parts_are_the_readable_files_in_numpys_order(folder, seed):
    for name in ("cat.1", "cat.12", "dog.4", "dog.19", "dog.0"):
        (folder / f"{name}.png").write_bytes(b"")
    dataset = load(folder, 14, 8, seed, test_size=6)
    generator = np.random.default_rng(seed)
    for first_row, kind in enumerate(["cat", "dog"]):
        names = [f"{kind}.{number}.png" for number in generator.permutation(20)]
        readable = [name for name in names if (folder / name).stat().st_size]
        valid, train, test = ([path.name for path in part.files[first_row::2]]
                              for part in (dataset.valid, dataset.train, dataset.test))
        assert valid + train == readable[:11] and test == readable[::-1][:3]


def test_no_more_files_are_decoded_than_the_parts_need(folder, monkeypatch):
    broken = load(folder, 8, 4).valid.files[0]
    broken.write_bytes(b"")
    decoded, load_image = [], data.load_image
    monkeypatch.setattr(data, "load_image", lambda path, size: (
        decoded.append(path), load_image(path, size))[1])
    dataset = load(folder, 8, 4, test_size=6)
    assert sorted(decoded) == sorted(
        [broken] + dataset.train.files + dataset.valid.files + dataset.test.files)


def test_a_class_that_cannot_be_decoded_at_all_is_an_error(folder):
    for number in range(20):
        (folder / f"cat.{number}.png").write_bytes(b"")
    with pytest.raises(UserError, match="0 of each class can be used"):
        load(folder)


def test_explicit_sizes_beyond_the_number_of_files_are_refused_before_any_is_loaded(
        folder, monkeypatch):
    monkeypatch.setattr(data, "load_image", lambda *_: pytest.fail("a picture was loaded"))
    with pytest.raises(UserError, match="20 of each class can be used, 40 in"):
        load(folder, 40, 10)


def test_the_users_files_are_never_changed(folder):
    for number, (content, _) in enumerate(DAMAGED.values()):
        (folder / f"cat.{number}.png").write_bytes(content)
    Image.fromarray(noise(9, 12)).save(folder / "dog.0.png", exif=oriented(6))
    before = snapshot(folder)
    load(folder)
    data.census(paths_in(folder))
    assert snapshot(folder) == before


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
    shapes, unreadable = data.census(paths_in(tmp_path))
    assert shapes == {(30, 40): 4, (40, 30): 2} and unreadable == []


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", STORED)
def test_the_census_counts_a_rotated_image_upright(tmp_path, orientation, format):
    path = rotated_image(tmp_path, orientation, format)
    shapes, _ = data.census([path])
    assert shapes == {(2, 3): 1}


def test_the_census_lists_what_cannot_be_decoded(tmp_path):
    (tmp_path / "dog.0.jpg").write_bytes(jpeg(noise(30, 40)))
    for number, (content, _) in enumerate(DAMAGED.values()):
        (tmp_path / f"cat.{number}.jpg").write_bytes(content)
    shapes, unreadable = data.census(paths_in(tmp_path))
    assert shapes == {(30, 40): 1}
    for number, (path, reason) in enumerate(unreadable):
        assert path == tmp_path / f"cat.{number}.jpg"
        assert list(DAMAGED.values())[number][1] in reason
    assert len(unreadable) == len(DAMAGED)


def test_the_shape_of_a_damaged_image_is_an_error(tmp_path):
    (tmp_path / "x.jpg").write_bytes(jpeg(noise(90, 120))[:3000])  # its header is whole
    shapes, [(path, reason)] = data.census([tmp_path / "x.jpg"])
    assert not shapes and path == tmp_path / "x.jpg" and "truncated" in reason


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
    assert "8 pictures, 1 = cat (4 images), 0 = dog (4)" in lines[0]
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
    assert lines[3] == "unreadable: 0 of the first 3"


def test_the_census_counts_what_is_no_picture_by_ending(tmp_path, run_script):
    make_data(tmp_path, *[(30, 40)] * 4)
    touch(tmp_path, *(f"data/PetImages/Cat/{name}" for name in (
        "a.heic", "b.HEIC", "c.txt", "README", ".DS_Store", "Thumbs.db")))
    lines = run_script("data.py").stdout.splitlines()
    assert lines[1] == "passed over: 2 .heic, 1 .txt, 1 without ending"
    assert "unreadable: 0" in lines


def test_the_census_of_unreadable_files_alone_says_so(tmp_path, run_script):
    touch(tmp_path, "data/cat.0.jpg", "data/dog.0.jpg")
    result = run_script("data.py")
    assert (result.returncode, result.stderr) == (0, "")
    assert "unreadable: 2" in result.stdout


@needs.byte_names
def test_the_census_prints_a_name_that_is_not_unicode(tmp_path, run_script, monkeypatch):
    touch(tmp_path, *(os.fsdecode(name) for name in (b"data/cat.\xff.jpg", b"data/dog.\xff.jpg")))
    monkeypatch.setenv("PYTHONIOENCODING", "utf-8:strict")  # as in a terminal of today
    result = run_script("data.py")
    assert (result.returncode, result.stderr) == (0, "")
    assert "unreadable: 2" in result.stdout and result.stdout.count("empty file") == 2


def test_without_photographs_the_census_is_the_samples_and_says_so(run_script):
    result = run_script("data.py", "--sample=20")
    assert (result.returncode, result.stderr) == (0, "")
    assert "no photographs in data/" in result.stdout and "bundled sample" in result.stdout
    assert "500 pictures, 1 = cat (250 images), 0 = dog (250)" in result.stdout


@needs.terminal
def test_on_a_terminal_the_census_shows_how_far_it_is(tmp_path):
    make_data(tmp_path, *[(30, 40)] * 8)
    import pty
    master, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen([sys.executable, str(ROOT / "data.py")], cwd=tmp_path, env=environment,
                          stdin=terminal, stdout=terminal, stderr=terminal) as process:
        os.close(terminal)
        shown = read_terminal(master)
    assert process.returncode == 0
    for part in (b"reading pictures", b"100%", b"unreadable: 0"):
        assert part in shown


@needs.terminal
def test_the_progress_never_mixes_with_what_is_redirected(tmp_path):
    make_data(tmp_path, *[(30, 40)] * 8)
    import pty
    master, terminal = pty.openpty()
    result = subprocess.run([sys.executable, str(ROOT / "data.py")], cwd=tmp_path,
                            env={**os.environ, "TERM": "xterm"}, stdout=subprocess.PIPE,
                            stderr=terminal)
    os.close(terminal)
    assert result.stdout.startswith(b"data: 8 pictures") and b"reading" not in result.stdout
    assert b"reading pictures" in read_terminal(master)


def test_importing_data_defines_no_flag_and_takes_no_tensorflow():
    code = ("import sys, data; from absl import flags; assert 'data_dir' not in flags.FLAGS; "
            "data.define_flags(); assert 'data_dir' in flags.FLAGS; "
            "assert 'tensorflow' not in sys.modules")
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
