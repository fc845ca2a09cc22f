"""The article's "The Dataset" and "Loading and Preprocessing our Image Data with NumPy".

    python data.py                      # the census: which shapes the pictures in data/ have
    python data.py --download           # get the 25,000 photographs into data/ (0.8 GB)
    python data.py --data_dir=PHOTOS    # the census of another folder

In this order: which images there are; one image as a NumPy array; the census, which counts the
shapes of many; how many to train on; and the dataset, all images as uint8 arrays (n, height, width,
3). Label 1, the positive class, is cat, and 0 is dog. support/class_folders.py finds the images in
every usual layout, and support/image_files.py decodes a file, whatever its format.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from absl import app, flags
from PIL import Image

from support import class_folders, cli, download, image_files
from support.class_folders import LabeledImage, Source
from support.cli import UserError
from support.settings import Config

DATA, SAMPLE = Path("data"), Path(__file__).parent / "sample"
TRAIN_SIZE, VALID_SIZE = 4096, 1024  # the article's


# ---------------------------------------------------------------------------------------------
# The dataset: which images there are
# ---------------------------------------------------------------------------------------------

def define_flags() -> None:
    """Define where the images are: for the scripts that ask."""
    if "data_dir" in flags.FLAGS:  # one such script has imported another
        return
    flags.DEFINE_string(
        "data_dir", None, "folder of the pictures: cat.0.jpg … dog.0.jpg …, or folders cat(s)/ and "
        "dog(s)/, in it or in its train/ or PetImages/; or two folders of any names, one for each "
        "class [data or, without photographs there, the drawn pictures of sample/]",
        module_name="images")
    flags.DEFINE_list(
        "classes", None, "two of the classes in --data_dir, the one with label 1 first, like "
        "bees,ants [cat,dog, or the two that there are in the order of their names]",
        module_name="images")


def choose_images(data_dir: str | None, classes: Sequence[str] | None = None) -> Source:
    """The labeled images of a folder; without one, those in data/, or else the bundled sample.

    classes: the two that are asked for, the one with label 1 first. Raises UserError for a folder
    that is not there or does not hold two classes.
    """
    wanted = class_folders.parse_classes(classes) if classes is not None else None
    if data_dir is not None:
        return class_folders.find(Path(data_dir), wanted)
    if wanted is not None and not class_folders.are_cats_and_dogs(wanted):
        raise UserError(f"{wanted[0]} and {wanted[1]} are not looked for in {DATA}/: name their "
                        "folder with --data_dir")
    folder = DATA if DATA.is_dir() and class_folders.find_cats_and_dogs(DATA) else SAMPLE
    return class_folders.find(folder, wanted)


# ---------------------------------------------------------------------------------------------
# Loading and preprocessing: one image as a NumPy array
# ---------------------------------------------------------------------------------------------

def load_image(path: Path, size: tuple[int, int]) -> np.ndarray:
    """One image as uint8 (height, width, 3), resized to `size` = (height, width).

    Raises whatever the decoder raises for a file that it cannot decode (image_files.read).
    """
    height, width = size
    # A JPEG is decoded at a reduced size that is at least 1.5 times the one asked for. That takes
    # two thirds of the time of Image.open(path).convert("RGB"), and over 600 originals it moves a
    # pixel by 0.7 of 255 levels in the mean, less than the choice of the resampling filter does
    # (bilinear or Lanczos: 2.1).
    image = image_files.read(path, at_least=(width * 3 // 2, height * 3 // 2))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))


# ---------------------------------------------------------------------------------------------
# The census: "how we can see what the most common shape is in our dataset"
# ---------------------------------------------------------------------------------------------

def census(paths: list[Path]) -> tuple[Counter, list[image_files.Skipped]]:
    """How often each shape (height, width) occurs, upright; and what cannot be decoded."""
    shapes: Counter = Counter()
    skipped = []
    with image_files.progress_bar("reading pictures", len(paths)) as advance:
        for shape in image_files.in_threads(upright_shape, paths):
            if isinstance(shape, image_files.Skipped):
                skipped.append(shape)
            else:
                shapes[shape] += 1
            advance()
    return shapes, skipped


def upright_shape(path: Path) -> tuple[int, int]:
    """(height, width) as it is looked at. Decodes all of it: raises what image_files.read does."""
    image_files.read(path, at_least=(125, 94))
    with Image.open(path) as image:
        width, height = image.size if image_files.exif_orientation(image) < 5 else image.size[::-1]
    return height, width


def print_census(source: Source, sample: int) -> None:
    """Print the most common shapes of the first `sample` images, and the input size from them."""
    print(f"{source.folder}: {len(source.images)} pictures, {source}")
    shapes, skipped = census([image.path for image in source.images[:sample]])
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
# How many images to train on, to validate on and to test on
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
    else:  # a fifth, rounded up
        valid = min(VALID_SIZE // 2, math.ceil(left * VALID_SIZE / (TRAIN_SIZE + VALID_SIZE)))
    train = train_size // 2 if train_size else min(TRAIN_SIZE // 2, left - valid)
    if train < 1 or valid < 1 or train + valid > left:
        asked_for = [f"--{flag}={size}" for flag, size in (
            ("train_size", train_size), ("valid_size", valid_size), ("test_size", test_size))
            if size]
        reason = f" (there are no more of {smaller_class})" if smaller_class else ""
        parts = "training, validation and test" if test_size else "training and validation"
        raise UserError(
            f"{' and '.join(asked_for) or 'training'} needs more pictures than there are: "
            f"{available} of each class can be used{reason}, {2 * available} for {parts} together")
    return train, valid, test_size // 2


def check_sizes(source: Source, config: Config) -> int:
    """How many images there will be in all, before any is read. Raises as choose_sizes does."""
    available, smaller_class = min(zip(source.counts(), source.class_names, strict=True))
    if source.counts() == (available, available):
        smaller_class = ""
    return 2 * sum(choose_sizes(available, config.train_size, config.valid_size, config.test_size,
                                smaller_class))


# ---------------------------------------------------------------------------------------------
# "Finally, you can load the data": training, validation and test images
# ---------------------------------------------------------------------------------------------

@dataclass
class Part:
    """images: uint8 (n, height, width, 3); labels: float32 (n,), 1 or 0; files: n paths."""

    images: np.ndarray
    labels: np.ndarray
    files: list[Path]


@dataclass
class Dataset:
    """mean, std: float64 (3,), of each colour of the training images' pixels, 0 to 255.

    skipped: the files that could not be decoded. class_names: those of label 1 and of label 0.
    """

    train: Part
    valid: Part
    test: Part
    skipped: list[image_files.Skipped]
    mean: np.ndarray
    std: np.ndarray
    class_names: tuple[str, str]


def load_dataset(source: Source, config: Config) -> Dataset:
    """Split the images by the random seed and load them, half of each class in every part.

    Each class is shuffled. Of the files that can be decoded, the first go into validation, the
    next into training, and those at the end into the test. So, with sizes that were asked for,
    validation holds the same images whatever the training size, and training the same whatever
    the test size.

    Of config: train_size, valid_size, test_size, seed and input_size. Raises UserError if the sizes
    cannot be met. Default sizes shrink, if need be, to what can be decoded.
    """
    generator = np.random.default_rng(config.seed)
    classes = []
    for label in (1, 0):
        same_label = [image for image in source.images if image.label == label]
        classes.append([same_label[i] for i in generator.permutation(len(same_label))])
    skipped: list[image_files.Skipped] = []
    while True:
        try:
            sizes = choose_sizes(min(map(len, classes)), config.train_size, config.valid_size,
                                 config.test_size)
        except UserError as error:
            raise UserError("; ".join([str(error), *(f"{path} cannot be read ({reason})"
                                                     for path, reason in skipped[:3])])) from error
        train, valid, test = load_parts(classes, *sizes, config.input_size, skipped)
        if None not in [*train.files, *valid.files, *test.files]:
            return Dataset(train, valid, test, skipped, *mean_and_std(train.images),
                           source.class_names)
        # A class has too few files that can be decoded: choose the sizes again, without the others.
        broken = {path for path, _ in skipped}
        classes = [[image for image in shuffled if image.path not in broken]
                   for shuffled in classes]


def load_parts(classes: list[list[LabeledImage]], train_count: int, valid_count: int,
               test_count: int, size: tuple[int, int], skipped: list[image_files.Skipped]
               ) -> tuple[Part, Part, Part]:
    """Training, validation and test images, so many of each class; what cannot be read is noted.

    The two classes take turns in a part. A file is None where too few of its class can be decoded.
    """
    train, valid, test = (
        Part(np.empty((2 * count, *size, 3), np.uint8), np.empty(2 * count, np.float32),
             [None] * (2 * count)) for count in (train_count, valid_count, test_count))

    def fill(parts: list[Part], first_row: int, untried: Iterator[LabeledImage]) -> None:
        """Put the images of one class, as they come, into every other row of the parts."""
        rows = [(part, row) for part in parts for row in range(first_row, len(part.files), 2)]
        decoded = decodable(untried, len(rows), size, skipped)
        for (part, row), (image, pixels) in zip(rows, decoded, strict=False):
            part.images[row], part.labels[row], part.files[row] = pixels, image.label, image.path
            advance()

    total = 2 * (train_count + valid_count + test_count)
    with image_files.progress_bar("loading pictures", total) as advance:
        for first_row, shuffled in enumerate(classes):
            untried = iter(shuffled)
            fill([valid, train], first_row, untried)
            fill([test], first_row, reversed(list(untried)))
    return train, valid, test


def decodable(untried: Iterator[LabeledImage], count: int, size: tuple[int, int],
              skipped: list[image_files.Skipped]) -> Iterator[tuple[LabeledImage, np.ndarray]]:
    """Yield the first `count` images that can be decoded, and their pixels; note the others.

    Takes `count` of the files, and then as many more as could not be decoded.
    """
    load = partial(load_image, size=size)
    while some := list(islice(untried, count)):
        decoded = image_files.in_threads(load, [image.path for image in some])
        for image, pixels in zip(some, decoded, strict=True):
            if isinstance(pixels, image_files.Skipped):
                skipped.append(pixels)
            else:
                count -= 1
                yield image, pixels


def mean_and_std(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean and standard deviation of each colour: uint8 (n, height, width, 3) -> (3,), (3,).

    From how often each of the 256 levels occurs: ten times faster than np.mean and np.var.
    """
    counts = np.zeros((3, 256), np.int64)
    for image in pixels:
        for colour in range(3):
            counts[colour] += np.bincount(image[..., colour].ravel(), minlength=256)
    levels, total = np.arange(256), counts.sum(axis=1)
    mean = counts @ levels / total
    variance = (counts * (levels - mean[:, None]) ** 2).sum(axis=1) / total
    return mean, np.sqrt(variance).clip(min=1)  # images of one colour have a std of 0


# ---------------------------------------------------------------------------------------------
# The command line
# ---------------------------------------------------------------------------------------------

def download_photographs(data_dir: Path) -> Path:
    """Get the 25,000 photographs; returns their folder. Raises UserError as download does."""
    archive = download.PHOTOGRAPHS
    there = (data_dir / archive.folder).exists()  # download refuses to write over them
    if not there and data_dir.is_dir() and class_folders.find_cats_and_dogs(data_dir):
        raise UserError(f"{data_dir} holds other pictures, which would be taken instead of the "
                        "photographs: use another --data_dir")
    return download.download(archive, data_dir)


@cli.script()
def main(_: list[str]) -> None:
    data_dir = flags.FLAGS.data_dir
    if flags.FLAGS.download:
        print(f"the photographs are in {download_photographs(Path(data_dir or DATA))}")
    source = choose_images(data_dir, flags.FLAGS.classes)
    if data_dir is None and source.folder == SAMPLE:
        print(f"no photographs in {DATA}/: this is the bundled sample")
    print_census(source, flags.FLAGS.sample)


if __name__ == "__main__":
    define_flags()
    for name in ("data_dir", "classes"):  # --help shows them with the others
        flags.declare_key_flag(name)
    flags.DEFINE_integer("sample", 1000, "how many pictures the census looks at", lower_bound=1)
    flags.DEFINE_bool("download", False, "first get the 25,000 photographs into --data_dir [data]")
    app.run(main)
