"""The article's "The Dataset" and "Loading and Preprocessing our Image Data with NumPy".

    python data.py                      # the census: which shapes the pictures in data/ have
    python data.py --download           # get the 25,000 photographs into data/ (0.8 GB)
    python data.py --data_dir=PHOTOS    # the census of another folder

In this order: one image as a NumPy array; the census, which counts the shapes of many; and the
dataset, all images as uint8 arrays (n, height, width, 3), split into three parts. Label 1, the
positive class, is cat, and 0 is dog; of two other classes 1 is the first by name. --classes sets
it. support/class_folders.py finds the images in every usual layout, and support/image_files.py
decodes a file, whatever its format.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path

import numpy as np
from absl import app, flags
from PIL import Image

from support import class_folders, cli, download, image_files, split_sizes, summary
from support.class_folders import LabeledImage, Source
from support.cli import UserError
from support.settings import Config

# ---------------------------------------------------------------------------------------------
# Loading and preprocessing: one image as a NumPy array
# ---------------------------------------------------------------------------------------------

def load_image(path: Path, size: tuple[int, int]) -> np.ndarray:
    """One image as uint8 (height, width, 3), resized to `size` = (height, width).

    Raises whatever the decoder raises for a file that it cannot decode (image_files.read).
    """
    height, width = size
    # As Image.open(path).convert("RGB"), in two thirds of the time: a large JPEG is decoded at a
    # half, a quarter or an eighth of its size, still at least 1.5 times the size asked for. Over
    # 600 originals that moves a pixel by 0.7 of 255 levels on average.
    image = image_files.read(path, at_least=(width * 3 // 2, height * 3 // 2))
    # Pillow takes (width, height). The aspect ratio is not kept.
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))


# ---------------------------------------------------------------------------------------------
# The census: "how we can see what the most common shape is in our dataset"
# ---------------------------------------------------------------------------------------------

def census(paths: list[Path]) -> tuple[Counter, list[image_files.Skipped]]:
    """How often each shape (height, width) occurs, upright; and what cannot be decoded."""
    shapes, skipped = Counter(), []
    with image_files.progress_bar("reading pictures", len(paths)) as advance:
        for shape in image_files.in_threads(lambda path: image_files.read(path).size[::-1], paths):
            if isinstance(shape, image_files.Skipped):
                skipped.append(shape)
            else:
                shapes[shape] += 1
            advance()
    return shapes, skipped


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
    """skipped: the files that could not be decoded. class_names: those of label 1 and label 0."""

    train: Part
    valid: Part
    test: Part
    skipped: list[image_files.Skipped]
    class_names: tuple[str, str]


def load_dataset(source: Source, config: Config) -> Dataset:
    """Split the images by the random seed and load them, equally many of each class in every part.

    Each class is shuffled, and then cut: validation from the front, training after it, the test
    from the back. So, with sizes that were asked for, validation holds the same images whatever the
    training size, and training the same whatever the test size. A file that cannot be decoded is
    replaced by the next. If a class runs out of them, sizes that were not asked for shrink; for the
    others it is a UserError. A part with a folder of its own (source.whole) is all that can be
    decoded of that, however many of each class.
    """
    generator = np.random.default_rng(config.seed)
    classes = []
    for label in (1, 0):
        same_label = [labeled for labeled in source.images if labeled.label == label]
        classes.append([same_label[i] for i in generator.permutation(len(same_label))])
    skipped: list[image_files.Skipped] = []
    load = partial(load_part, input_size=config.input_size, skipped=skipped)
    while True:
        train_size, valid_size, test_size = source.sizes  # of each class
        untried = [iter(shuffled) for shuffled in classes]
        parts = {"valid": load(untried, valid_size), "train": load(untried, train_size)}
        parts["test"] = load([reversed([*rest]) for rest in untried], test_size)
        if sum(len(part.files) for part in parts.values()) == 2 * sum(source.sizes):
            break
        # Too few files of a class can be decoded: choose the sizes again, without the broken ones.
        broken = {path for path, _ in skipped}
        classes = [[labeled for labeled in shuffled if labeled.path not in broken]
                   for shuffled in classes]
        source = split_sizes.with_sizes(source._replace(images=sum(classes, [])), config, skipped)
    for name, own in source.whole.items():
        parts[name] = load([iter(own.images)], len(own.images))
        if not parts[name].files:
            raise UserError(f"none of the {len(own.images)} pictures of {own.folder} can be read")
    return Dataset(**parts, skipped=skipped, class_names=source.class_names)


def load_part(untried: list[Iterator[LabeledImage]], of_each: int, input_size: tuple[int, int],
              skipped: list[image_files.Skipped]) -> Part:
    """The next `of_each` images of each class, the classes alternating: cat, dog, cat, dog …

    A file that cannot be decoded goes into `skipped`, and the next one takes its place; if a class
    ends too soon, the part is smaller. The next part starts where this one stopped.
    """
    images = np.empty((len(untried) * of_each, *input_size, 3), np.uint8)
    taken: list[list[LabeledImage]] = [[] for _ in untried]
    load = partial(load_image, size=input_size)
    with image_files.progress_bar("loading pictures", len(images)) as advance:
        for first, (files, loaded) in enumerate(zip(untried, taken, strict=True)):
            while tried := list(islice(files, of_each - len(loaded))):
                decoded = image_files.in_threads(load, [labeled.path for labeled in tried])
                for labeled, image in zip(tried, decoded, strict=True):
                    if isinstance(image, image_files.Skipped):
                        skipped.append(image)
                    else:
                        images[first + len(untried) * len(loaded)] = image
                        loaded.append(labeled)
                        advance()
    alternating = list(chain.from_iterable(zip(*taken, strict=False)))
    labels = np.array([label for _, label in alternating], np.float32)
    return Part(images[:len(labels)], labels, [path for path, _ in alternating])


def mean_and_std(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each colour, both float64 (3,), 0 to 255: of uint8 (n, height, width, 3).

    From how often each of the 256 levels occurs: ten times faster than np.mean and np.var.
    """
    counts = np.zeros((3, 256), np.int64)
    for image in pixels:
        for colour in range(3):
            counts[colour] += np.bincount(np.ravel(image[..., colour]), minlength=256)
    levels, total = np.arange(256), counts.sum(axis=1)
    mean = counts @ levels / total
    variance = (counts * (levels - mean[:, None]) ** 2).sum(axis=1) / total
    return mean, np.sqrt(variance).clip(min=1)  # images of one colour have a std of 0


# ---------------------------------------------------------------------------------------------
# The command line
# ---------------------------------------------------------------------------------------------

def define_flags() -> None:
    """Define where the images are: for this script and train.py."""
    flags.DEFINE(
        cli.PATH, "data_dir", None, "folder of the pictures: cat.0.jpg, dog.0.jpg and so on, or "
        "folders cat(s)/ and dog(s)/, in it or in its train/ or PetImages/; or two folders of any "
        "names, one for each class. val/ and test/ in it are those parts, whole [data or, without "
        "photographs there, the drawn pictures of sample/]", module_name="images")
    flags.DEFINE_list(
        "classes", None, "two of the classes in --data_dir, the one with label 1 first, like "
        "bees,ants [cat,dog, or the two that there are in the order of their names]",
        module_name="images")


@cli.script()
def main(_: list[str]) -> None:
    data_dir = flags.FLAGS.data_dir
    if flags.FLAGS.download:
        folder = download.download(download.PHOTOGRAPHS, Path(data_dir or class_folders.DATA))
        print(f"the photographs are in {folder}")
    source = class_folders.choose(data_dir, flags.FLAGS.classes)
    if data_dir is None and source.folder == class_folders.SAMPLE:
        print(f"no photographs in {class_folders.DATA}/: this is the bundled sample")
    shapes, skipped = census([path for path, _ in source.all_images()[:flags.FLAGS.sample]])
    summary.print_census(source, shapes, skipped)


if __name__ == "__main__":
    define_flags()
    flags.DEFINE_integer("sample", 1000, "how many pictures the census looks at", lower_bound=1,
                         module_name="images")
    flags.DEFINE_bool("download", False, "first get the 25,000 photographs into --data_dir [data]",
                      module_name="images")
    app.run(main, flags_parser=cli.flags_parser(__doc__, "images"))
