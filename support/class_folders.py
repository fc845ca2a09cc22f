"""Finds the images of two classes in a folder, in every usual layout, and labels them.

    cat.0.jpg, dog.0.jpg; cats/IMG_1.jpg, dogs/IMG_2.jpg    in the folder, its train/ or PetImages/
    ants/IMG_1.jpg, bees/IMG_2.jpg    two folders of any names, in the same places
    ant.0.jpg, bee (12).png           other files, only if --classes=ant,bee names both

A class is what lies in its folder and the files named after it, side by side. Cats and dogs are the
pair that is looked for first. Images of the same two classes in val/ and test/ are parts by
themselves.
"""

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from support import image_files
from support.cli import UserError

DATA, SAMPLE = Path("data"), Path(__file__).parent.parent / "sample"
CATS_AND_DOGS = ("cat", "dog")  # label 1, the positive class, and label 0
PLURALS = {"cats": "cat", "dogs": "dog"}  # of other words nothing is known: glasses are not glass
# Folders that hold classes, and are none unless --classes names them: test1, but not testudo.
PLACE = re.compile(r"(train|val|test)(?:ing|id|idation)?(?:[ _-]?(?:set|data|images))?\d*|"
                   "petimages", re.IGNORECASE)


class LabeledImage(NamedTuple):
    path: Path
    label: int  # 1 for the positive class, 0 for the other


class Source(NamedTuple):
    """What to train on: the folder, its images, and the names of labels 1 and 0.

    sizes: how many of these images, of each class, are for training, validation and test. whole:
    the sources of the parts "valid" and "test" that have folders of their own. passed_over: what
    else is there, like "3 .heic".
    """

    folder: Path
    images: list[LabeledImage]
    class_names: tuple[str, str]
    sizes: tuple[int, int, int] = (0, 0, 0)
    whole: dict[str, "Source"] = {}
    passed_over: Sequence[str] = ()

    def all_images(self) -> list[LabeledImage]:
        return sum((part.images for part in self.whole.values()), self.images)

    def counts(self) -> tuple[int, int]:
        """How many images there are of label 1, and of label 0."""
        positive = sum(image.label for image in self.images)
        return positive, len(self.images) - positive

    def __str__(self) -> str:
        """1 = cat (250 images), 0 = dog (250)"""
        positive, negative = self.counts()
        return (f"1 = {self.class_names[0]} ({positive} images), "
                f"0 = {self.class_names[1]} ({negative})")


def choose(data_dir: str | None, classes: Sequence[str] | None = None) -> Source:
    """The labeled images of a folder; without one, those in data/, or else the bundled sample.

    classes: the two that are asked for, the one with label 1 first. Raises UserError for a folder
    that is not there or does not hold two classes, OSError for one that cannot be read.
    """
    if classes is not None and not (len(classes) == len({*map(normalized, classes)}) == 2
                                    and all(name and name.isprintable() for name in classes)):
        raise UserError(f"--classes={','.join(classes)} must name two classes, the one with label "
                        "1 first, like --classes=ants,bees")
    if data_dir is not None:
        return find(Path(data_dir), classes)
    in_data = DATA.is_dir() and labeled_images(DATA, classes or CATS_AND_DOGS)
    return find(DATA if in_data else SAMPLE, classes)


def find(folder: Path, classes: Sequence[str] | None, flag: str = "data_dir",
         one_suffices: bool = False) -> Source:
    """The images of two classes in a folder, and the parts val/ and test/ in it.

    classes: which two, the one with label 1 first; if None, cats and dogs, or else just two folders
    of images. flag: which one gave the folder. one_suffices: whether one of the classes will do.
    Raises UserError for a folder that does not hold two classes, OSError for what cannot be read.
    """
    where = f"--{flag}={folder}"
    if not os.path.isdir(folder):  # unlike Path's, False if the name cannot even be looked up
        raise UserError(f"{where} is not a folder")
    names = classes or CATS_AND_DOGS
    images = labeled_images(folder, names)
    if classes is None and missing(names, images):
        names = two_folders(folder) or names
        images = labeled_images(folder, names)
    lacks = missing(names, images)
    if len(lacks) > (1 if one_suffices else 0):
        raise UserError(
            f"{where} holds no pictures of {' and '.join(lacks)}"
            + "".join(f" beside those of {name}" for name in names if name not in lacks)
            + what_is_there(folder)
            + f": put each class into a folder of its name, or name its files like {lacks[0]}.0.jpg"
            + ("" if classes else ", or choose two other classes like --classes=ants,bees"))
    return with_parts(Source(folder, images, (names[0], names[1])))


def with_parts(source: Source) -> Source:
    """The source with the parts that val/ and test/ are, and with what is passed over.

    A part holds images of both classes, unlike a folder of pictures that nobody has labeled.
    """
    kinds, whole = subfolders(source.folder), {}
    for part, kind in (("valid", "val"), ("test", "test")):
        for folder in kinds[kind]:
            images = labeled_images(folder, source.class_names)
            if part not in whole and not missing(source.class_names, images):
                whole[part] = Source(folder, images, source.class_names)
    source = source._replace(whole=whole)
    paths = {image.path for image in source.all_images()}
    folders = {path.parent for path in paths}
    used = paths.union(folders, *(folder.parents for folder in folders))  # not passed over
    no_parts = [f"{folder} (without both classes, or a second one)"
                for folder in kinds["val"] + kinds["test"] if folder not in used]
    beside = [path for folder in folders for path in folder.iterdir() if path not in used]
    return source._replace(passed_over=no_parts + image_files.count_endings(beside))


def two_folders(folder: Path) -> list[str]:
    """The names of the only two folders of images that lie side by side; [] without such ones."""
    for place in places_in(folder):
        names = {normalized(path.name): path.name for path in subfolders(place)["class"]
                 if image_files.images_among(path.iterdir())}
        if len(names) == 2:
            return [names[key] for key in sorted(names)]
    return []


def what_is_there(folder: Path) -> str:
    """"; there are 245 .jpg in ants, 3 .heic in bees", or "" for an empty folder."""
    counts = [f"{count} in {inside.resolve().name}" for place in places_in(folder)
              for inside in (place, *subfolders(place)["class"])
              for count in image_files.count_endings(
                  path for path in inside.iterdir() if inside != place or not path.is_dir())]
    return f"; there are {', '.join(counts)}" if counts else ""


# ---------------------------------------------------------------------------------------------
# What lies in a folder
# ---------------------------------------------------------------------------------------------

def labeled_images(folder: Path, classes: Sequence[str] = CATS_AND_DOGS) -> list[LabeledImage]:
    """The images of two classes, with label 1 for the first; there may be none of a class.

    Of the places in the folder the first that holds both classes is taken, and no other: two copies
    of one photograph must not end up in two parts of the split. A folder with the name of a class
    is that class, unless both are in it. In the order of their numbers and names, which is never
    the file system's: cat.0, dog.0, cat.1 …
    """
    places = [[folder.resolve()]] + [sorted(place.iterdir()) for place in places_in(folder)]
    found = [images_by_class(entries, [*map(normalized, classes)]) for entries in places]
    best = max(found, key=lambda images: sum(map(bool, images)))  # the first of equal ones

    def order(image: LabeledImage) -> tuple:
        number = re.search(r"[0-9]+", image.path.stem)
        return (int(number[0]) if number else float("inf"), image.path.name, str(image.path))

    return sorted((LabeledImage(path, label) for label, paths in zip((1, 0), best, strict=True)
                   for path in paths), key=order)


def missing(names: Sequence[str], images: list[LabeledImage]) -> list[str]:
    """Those of the two classes, the one with label 1 first, of which there is no image."""
    labels = {image.label for image in images}
    return [name for label, name in zip((1, 0), names, strict=True) if label not in labels]


def images_by_class(entries: list[Path], classes: list[str]) -> list[list[Path]]:
    """For each class the images in its folders, and the files named after it, of these entries.

    A folder within the folder of a class is no image, and passed over.
    """
    found: dict[str, list[Path]] = {name: [] for name in classes}
    for image in image_files.images_among(entries):
        if names := [name for name in classes if is_named_after(image, name)]:
            found[max(names, key=len)].append(image)  # ant lion.0.jpg is no ant
    for entry in entries:
        if normalized(entry.name) in found and entry.is_dir():
            found[normalized(entry.name)] += image_files.images_among(entry.iterdir())
    return [*found.values()]


def is_named_after(image: Path, name: str) -> bool:
    """Of cat: cat.0.jpg, Cats_1.jpg or cat (2).jpg, not catalogue.jpg."""
    plural, letter = "s?" if name in CATS_AND_DOGS else "", r"[^\W\d_]"
    return bool(re.match(f"{re.escape(name)}{plural}(?!{letter})", normalized(image.name)))


def normalized(name: str) -> str:
    """What classes are compared by: their names in Unicode's NFC, without upper and lower case."""
    name = unicodedata.normalize("NFC", name).casefold()  # a Mac takes letters like é apart
    return PLURALS.get(name, name)


def places_in(folder: Path) -> list[Path]:
    """Where the classes may be: in the folder, its train/ or its PetImages/."""
    kinds = subfolders(folder)
    return [folder, *kinds["train"], *kinds["petimages"]]


def subfolders(folder: Path) -> dict[str, list[Path]]:
    """The folders in it by what they are for: "train", "val", "test", "petimages" or "class".

    A train/train/, as some archives have it, is one, too. Left out is what is hidden, or has a name
    that cannot be printed.
    """
    kinds = defaultdict(list)
    for path in sorted(folder.iterdir()):
        if path.is_dir() and path.name.isprintable() and not image_files.is_hidden(path.name):
            place = PLACE.fullmatch(path.name)
            same = [path / path.name] if place and (path / path.name).is_dir() else []
            kinds[(place[1] or place[0]).lower() if place else "class"] += [path, *same]
    return kinds
