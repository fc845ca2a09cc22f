"""The article's "The Dataset" and "Loading and Preprocessing our Image Data with NumPy".

    python data.py                      # the census: which shapes the pictures in data/ have
    python data.py --download           # get the 25,000 photographs into data/ (0.8 GB)
    python data.py --data_dir=PHOTOS    # the census of another folder

Finds the images in every usual layout, loads one as a NumPy array, counts the shapes of many,
splits them by a random seed, and loads them all into uint8 arrays (n, height, width, 3). Label 1,
the positive class, is cat, and 0 is dog. support/class_folders.py finds two other classes, and
support/images.py decodes a file, whatever its format.
"""

import contextlib
import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import app, flags
from PIL import Image

from support import class_folders, cli, download, images
from support.cli import UserError

CAT, DOG = 1, 0
CLASS_NAMES = ("cat", "dog")  # of label 1, the positive class, and of label 0
CLASS_FOLDERS = {"cat": CAT, "cats": CAT, "dog": DOG, "dogs": DOG}
NO_IMAGES = ("--data_dir={} holds no pictures of cats and dogs: put cat.0.jpg … and dog.0.jpg … "
             "into it, or folders named cats and dogs, or two folders of other classes")
FLAT_NAME = re.compile(r"(cat|dog)s?(?![a-z])", re.IGNORECASE)  # cat.0.jpg, not catalogue.jpg

SAMPLE = Path(__file__).parent / "sample"
TRAIN_SIZE, VALID_SIZE = 4096, 1024  # the article's


def define_flags() -> None:
    """Define where the images are: for the scripts that ask, of which one may import another."""
    if "data_dir" not in flags.FLAGS:
        flags.DEFINE_string(
            "data_dir", "data", "folder of the pictures: cat.0.jpg … dog.0.jpg …, or folders "
            "cat(s)/ and dog(s)/, in it or in its train/ or PetImages/; or two folders of any "
            "names, one for each class", module_name="images")
        flags.DEFINE_list(
            "classes", None, "two of the classes in --data_dir, the one with label 1 first, like "
            "bees,ants [cat,dog, or the two that there are in the order of their names]",
            module_name="images")


# ---------------------------------------------------------------------------------------------
# The dataset: finding the images
# ---------------------------------------------------------------------------------------------

class LabeledImage(NamedTuple):
    path: Path
    label: int


def find_images(folder: Path) -> list[LabeledImage]:
    """Every cat and dog in `folder`, else in its train/, else in its PetImages/, in a fixed order.

    The first of the three that holds any is taken alone: two copies of one photograph must not
    end up in two parts of the split. The order is by number, then by name: cat.0, dog.0, cat.1 …
    Raises UserError if the folder is not there or cannot be read.
    """
    with must_be_readable(folder):
        subfolders = {entry.name.lower(): entry for entry in sorted(folder.iterdir())
                      if entry.is_dir()}
        for place in (folder, subfolders.get("train"), subfolders.get("petimages")):
            labeled_images = images_in(place) if place else []
            if labeled_images:
                return sorted(labeled_images, key=by_number_then_name)
    return []


@contextlib.contextmanager
def must_be_readable(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"{error.filename or folder} cannot be read as a folder of pictures: "
                        f"{error.strerror}") from error


def images_in(folder: Path) -> list[LabeledImage]:
    """The images of one folder: named cat.N or dog.N in it, or under its cat(s)/ and dog(s)/."""
    found = []
    for entry in folder.iterdir():
        if entry.is_dir() and entry.name.lower() in CLASS_FOLDERS:
            label = CLASS_FOLDERS[entry.name.lower()]
            found += [LabeledImage(path, label) for path in entry.iterdir()
                      if images.is_image(path)]
        elif (match := FLAT_NAME.match(entry.name)) and images.is_image(entry):
            found.append(LabeledImage(entry, CLASS_FOLDERS[match[1].lower()]))
    return found


def by_number_then_name(image: LabeledImage) -> tuple:
    number = re.search(r"[0-9]+", image.path.stem)
    return (int(number[0]) if number else float("inf"), image.path.name, str(image.path))


class Source(NamedTuple):
    """What to train on: the folder, its images, and the names of labels 1 and 0."""

    folder: Path
    images: list[LabeledImage]
    class_names: tuple[str, str]

    def counts(self) -> tuple[int, int]:
        """How many images there are of label 1, and of label 0."""
        positive = sum(image.label for image in self.images)
        return positive, len(self.images) - positive

    def __str__(self) -> str:
        """1 = cat (250 images), 0 = dog (250)"""
        positive, negative = self.counts()
        return (f"1 = {self.class_names[0]} ({positive} images), "
                f"0 = {self.class_names[1]} ({negative})")


def choose_images(data_dir: str, explicitly_set: bool,
                  classes: Sequence[str] | None = None) -> Source:
    """The images to train on: those in `data_dir`, or else the bundled sample.

    Cats and dogs; or, in a folder that was explicitly set and holds none, the two classes that
    class_folders.find finds there. classes: the two that were asked for, label 1 first.

    Only the default folder may fall back to the sample: a folder that the user asked for and that
    is not there, or holds no images, raises UserError. So does one that lacks a class.
    """
    folder = Path(data_dir)
    wanted = class_folders.parse_classes(classes) if classes is not None else None
    if explicitly_set and not folder.is_dir():
        raise UserError(f"--data_dir={data_dir} is not a folder")
    if wanted is not None and {*map(class_folders.normalized, wanted)} != {*CLASS_NAMES}:
        return other_classes(folder, explicitly_set, wanted)
    found = find_images(folder) if folder.is_dir() else []
    if not found and not explicitly_set:
        folder, found = SAMPLE, find_images(SAMPLE)
    if not found and wanted is None:
        return other_classes(folder, explicitly_set, wanted)
    return cats_and_dogs(folder, found, dogs_first=wanted is not None
                         and class_folders.normalized(wanted[0]) == "dog")


def other_classes(folder: Path, explicitly_set: bool, wanted: tuple[str, str] | None) -> Source:
    """The images of these two classes, or of the two that there are. Raises UserError."""
    if not explicitly_set:
        raise UserError(f"{wanted[0]} and {wanted[1]} are not looked for in {folder}/: name their "
                        "folder with --data_dir")
    with must_be_readable(folder):
        found = class_folders.find(folder, wanted)
    if not found:
        raise UserError(NO_IMAGES.format(folder))
    positive, negative = found
    labeled_images = ([LabeledImage(path, 1) for path in positive.paths]
                      + [LabeledImage(path, 0) for path in negative.paths])
    return Source(folder, sorted(labeled_images, key=by_number_then_name),
                  (positive.name, negative.name))


def cats_and_dogs(folder: Path, found: list[LabeledImage], dogs_first: bool) -> Source:
    """What find_images found. Raises UserError unless both are there."""
    if not found:
        raise UserError(NO_IMAGES.format(folder))
    cats = sum(image.label == CAT for image in found)
    if cats in (0, len(found)):
        there, missing = ("cats", "dogs") if cats else ("dogs", "cats")
        raise UserError(f"--data_dir={folder} holds {len(found)} pictures of {there} and none "
                        f"of {missing}: both are needed; or choose other classes, like "
                        f"--classes=ants,bees")
    if dogs_first:
        found = [LabeledImage(path, 1 - label) for path, label in found]
        return Source(folder, found, CLASS_NAMES[::-1])
    return Source(folder, found, CLASS_NAMES)


# ---------------------------------------------------------------------------------------------
# Loading and preprocessing: one image as a NumPy array
# ---------------------------------------------------------------------------------------------

def load_image(path: Path, size: tuple[int, int]) -> np.ndarray:
    """One image as uint8 (height, width, 3), resized to `size` = (height, width).

    Raises whatever the decoder raises for a file that it cannot decode (images.read).
    """
    height, width = size
    # A JPEG is decoded at a reduced size that is at least 1.5 times the one asked for. That takes
    # two thirds of the time of Image.open(path).convert("RGB"), and over 600 originals it moves a
    # pixel by 0.7 of 255 levels in the mean, less than the choice of the resampling filter does
    # (bilinear or Lanczos: 2.1).
    image = images.read(path, at_least=(width * 3 // 2, height * 3 // 2))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))


# ---------------------------------------------------------------------------------------------
# The census: "how we can see what the most common shape is in our dataset"
# ---------------------------------------------------------------------------------------------

def census(labeled_images: list[LabeledImage]) -> tuple[Counter, list[images.Skipped]]:
    """How often each shape (height, width) occurs, upright; and what cannot be decoded."""
    shapes: Counter = Counter()
    skipped = []
    paths = [image.path for image in labeled_images]
    with images.progress_bar("reading pictures", len(paths)) as advance:
        for shape in images.in_threads(upright_shape, paths):
            if isinstance(shape, images.Skipped):
                skipped.append(shape)
            else:
                shapes[shape] += 1
            advance()
    return shapes, skipped


def upright_shape(path: Path) -> tuple[int, int]:
    """(height, width) as it is looked at. Decodes all of it: raises what images.read does."""
    images.read(path, at_least=(125, 94))
    with Image.open(path) as image:
        width, height = image.size if images.exif_orientation(image) < 5 else image.size[::-1]
    return height, width


def print_census(source: Source, sample: int) -> None:
    """Print the most common shapes of the first `sample` images, and the input size from them."""
    print(f"{source.folder}: {len(source.images)} pictures, {source}")
    shapes, skipped = census(source.images[:sample])
    read = shapes.total()
    print(f"the most common shapes of the first {read + len(skipped)} (height x width):")
    for (height, width), count in shapes.most_common(8):
        print(f"  {height:5} x {width:<5} {count:6}  {count / read:6.1%}")
    print(f"unreadable: {len(skipped)}")
    for path, reason in skipped:
        print(f"  {path}: {reason}")
    quarters: Counter = Counter()
    for (height, width), count in shapes.items():
        quarters[math.ceil(height / 4), math.ceil(width / 4)] += count
    for (height, width), count in quarters.most_common(1):
        print("the article's rule, a quarter of the most common shape: "
              f"--input_size={height}x{width} ({count} of the {read}, within a few pixels)")


# ---------------------------------------------------------------------------------------------
# "Finally, you can load the data": training, validation and test images
# ---------------------------------------------------------------------------------------------

def choose_sizes(available: int, train_size: int | None, valid_size: int | None,
                 test_size: int = 0, smaller_class: str = "") -> tuple[int, int, int]:
    """How many images of each class to train on, to validate on and to test on.

    available: how many there are of the smaller class, whose name the error gives. train_size,
    valid_size: both classes together, as the user set them, or None for the article's 4096 and
    1024, which shrink in their proportion to what the test leaves. Raises UserError for sizes that
    cannot be met.
    """
    for flag, size in (("train_size", train_size), ("valid_size", valid_size)):
        if size is not None and (size < 2 or size % 2):
            raise UserError(f"--{flag}={size} must be an even number of at least 2: half of each "
                            "class")
    if test_size < 0 or test_size % 2:
        raise UserError(f"--test_size={test_size} must be an even number, or 0: half of each "
                        "class")
    left = available - test_size // 2
    if valid_size:
        valid = valid_size // 2
    elif train_size:
        valid = min(VALID_SIZE // 2, left - train_size // 2)
    else:
        valid = min(VALID_SIZE // 2, -(-left * VALID_SIZE // (TRAIN_SIZE + VALID_SIZE)))
    train = train_size // 2 if train_size else min(TRAIN_SIZE // 2, left - valid)
    if train < 1 or valid < 1 or train + valid > left:
        asked_for = " and ".join(f"--{flag}={size}" for flag, size in
                                 (("train_size", train_size), ("valid_size", valid_size),
                                  ("test_size", test_size)) if size)
        parts = "training, validation and test" if test_size else "training and validation"
        raise UserError(
            f"{asked_for or 'training'} needs more pictures than there are: {available} of each "
            "class can be used" + f" (there are no more of {smaller_class})" * bool(smaller_class)
            + f", {2 * available} for {parts} together")
    return train, valid, test_size // 2


def check_sizes(source: Source, train_size: int | None, valid_size: int | None,
                test_size: int = 0) -> int:
    """How many images there will be in all, before any is read. Raises as choose_sizes does."""
    available, smaller_class = min(zip(source.counts(), source.class_names, strict=True))
    if source.counts() == (available, available):
        smaller_class = ""
    return 2 * sum(choose_sizes(available, train_size, valid_size, test_size, smaller_class))


@dataclass
class Part:
    """images: uint8 (n, height, width, 3); labels: float32 (n,), 1 or 0; files: n paths.

    Where several workers share one training, each holds the images of some rows only; labels and
    files are always those of all rows.
    """

    images: np.ndarray
    labels: np.ndarray
    files: list[Path]


@dataclass
class Dataset:
    """mean, std: float64 (3,), of each colour of the training images' pixels, 0 to 255.

    digest: a SHA-256 that only the same images with the same labels in the same parts have.
    class_names: those of label 1 and of label 0.
    """

    train: Part
    valid: Part
    test: Part
    skipped: list[images.Skipped]
    mean: np.ndarray
    std: np.ndarray
    digest: str
    class_names: tuple[str, str]


def load_dataset(labeled_images: list[LabeledImage], train_size: int | None,
                 valid_size: int | None, test_size: int, seed: int, size: tuple[int, int],
                 keep: slice = slice(None),
                 class_names: tuple[str, str] = CLASS_NAMES) -> Dataset:
    """Split the images by a random seed and load them, half of each class in every part.

    Each class is shuffled. Of the files that can be decoded, the first go into validation, the
    next into training, and those at the end into the test. So, with sizes that were asked for,
    validation holds the same images whatever the training size, and training the same whatever
    the test size.

    size: (height, width). keep: the rows of each part to hold in memory, slice(rank, None,
    world_size) where several workers share one training; mean, std and digest are of all rows.
    Raises UserError if the sizes cannot be met. Default sizes shrink, if need be, to what can be
    decoded.
    """
    generator = np.random.default_rng(seed)
    shuffled = []  # the paths of each class
    for label in (1, 0):
        paths = [image.path for image in labeled_images if image.label == label]
        shuffled.append([paths[i] for i in generator.permutation(len(paths))])
    skipped: list[images.Skipped] = []
    while True:
        try:
            sizes = choose_sizes(min(map(len, shuffled)), train_size, valid_size, test_size)
        except UserError as error:
            raise UserError("; ".join([str(error), *(f"{path} cannot be read ({reason})"
                                                     for path, reason in skipped[:3])])) from error
        dataset = load_parts(shuffled, *sizes, size, keep, skipped, class_names)
        if not any(None in part.files for part in (dataset.train, dataset.valid, dataset.test)):
            return dataset
        # A class has too few files that can be decoded: choose the sizes again, without the others.
        broken = {path for path, _ in skipped}
        shuffled = [[path for path in paths if path not in broken] for paths in shuffled]


def load_parts(shuffled: list[list[Path]], train_count: int, valid_count: int, test_count: int,
               size: tuple[int, int], keep: slice, skipped: list[images.Skipped],
               class_names: tuple[str, str]) -> Dataset:
    """The parts, with so many images of each class.

    A file is None where too few images of its class can be decoded.
    """
    train, valid, test = (empty_part(2 * count, size, keep)
                          for count in (train_count, valid_count, test_count))
    sha256, histogram = hashlib.sha256(), np.zeros((3, 256), np.int64)

    def fill(parts: list[Part], first_row: int, paths: Iterator[Path]) -> None:
        """Put the images of one class, as they come, into every other row of the parts."""
        places = [(part, row) for part in parts for row in range(first_row, len(part.files), 2)]
        decoded = decodable(paths, len(places), size, skipped)
        for (part, row), (path, image) in zip(places, decoded, strict=False):
            part.files[row] = path
            held = range(len(part.files))[keep]
            if row in held:
                part.images[held.index(row)] = image
            if part is train:
                for colour in range(3):
                    histogram[colour] += np.bincount(image[..., colour].ravel(), minlength=256)
            sha256.update(f"{len(part.files)} {row} {image.shape}".encode())
            sha256.update(image)
            advance()

    total = 2 * (train_count + valid_count + test_count)
    with images.progress_bar("loading pictures", total) as advance:
        for first_row, paths in enumerate(shuffled):  # label 1 in even rows, label 0 in odd ones
            remaining = iter(paths)
            fill([valid, train], first_row, remaining)
            fill([test], first_row, reversed(list(remaining)))
    return Dataset(train, valid, test, skipped, *mean_and_std(histogram), sha256.hexdigest(),
                   class_names)


def empty_part(count: int, size: tuple[int, int], keep: slice) -> Part:
    """Room for `count` images, of which only those in the rows `keep` are held."""
    return Part(np.empty((len(range(count)[keep]), *size, 3), np.uint8),
                np.resize(np.float32([1, 0]), count), [None] * count)


def decodable(paths: Iterator[Path], count: int, size: tuple[int, int],
              skipped: list[images.Skipped]) -> Iterator[tuple[Path, np.ndarray]]:
    """Yield the first `count` files that can be decoded, and their images; note the others.

    Takes `count` of the paths, and then as many more as could not be decoded.
    """
    load = partial(load_image, size=size)
    while some := list(islice(paths, count)):
        for path, image in zip(some, images.in_threads(load, some), strict=True):
            if isinstance(image, images.Skipped):
                skipped.append(image)
            else:
                count -= 1
                yield path, image


def mean_and_std(histogram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each colour, from how often each of its levels occurs: (3, 256) -> (3,) and (3,).

    Ten times faster than np.mean and np.var of each image, and the same in whatever order.
    """
    levels, pixels = np.arange(256), histogram.sum(axis=1).clip(min=1)
    mean = histogram @ levels / pixels
    variance = (histogram * (levels - mean[:, None]) ** 2).sum(axis=1) / pixels
    return mean, np.sqrt(variance).clip(min=1)  # images of one colour have a std of 0


# ---------------------------------------------------------------------------------------------
# The command line
# ---------------------------------------------------------------------------------------------

def download_photographs(data_dir: Path) -> Path:
    """Get the 25,000 photographs; returns their folder. Raises UserError as download does."""
    archive = download.PHOTOGRAPHS
    there = (data_dir / archive.folder).exists()  # download refuses to write over them
    if not there and data_dir.is_dir() and find_images(data_dir):
        raise UserError(f"{data_dir} holds other pictures, which would be taken instead of the "
                        "photographs: use another --data_dir")
    return download.download(archive, data_dir)


@cli.script()
def main(_: list[str]) -> None:
    data_dir = flags.FLAGS.data_dir
    if flags.FLAGS.download:
        print(f"the photographs are in {download_photographs(Path(data_dir))}")
    source = choose_images(data_dir, cli.explicitly_set("data_dir"), flags.FLAGS.classes)
    if source.folder != Path(data_dir):
        print(f"no photographs in {data_dir}/: this is the bundled sample")
    print_census(source, flags.FLAGS.sample)


if __name__ == "__main__":
    define_flags()
    for name in ("data_dir", "classes"):  # --help shows them with the others
        flags.declare_key_flag(name)
    flags.DEFINE_integer("sample", 1000, "how many pictures the census looks at", lower_bound=1)
    flags.DEFINE_bool("download", False, "first get the 25,000 photographs into --data_dir")
    app.run(main)
