"""Finds the images of two classes in a folder, in every usual layout, and labels them.

    cat.0.jpg, dog.0.jpg; cats/IMG_1.jpg, dogs/IMG_2.jpg    in the folder, its train/ or PetImages/
    ants/IMG_1.jpg, bees/IMG_2.jpg    two folders of any names, in the same places
    ant.0.jpg, bee_12.png             other files, only if --classes=ant,bee names both

A class is what lies in its folder and the files named after it, side by side. Cats and dogs are the
pair that is looked for first. Images of the same two classes in val/ and test/ beside train/ are
parts by themselves.
"""

import os
import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from support import image_files
from support.cli import UserError

DATA, SAMPLE = Path("data"), Path(__file__).parent.parent / "sample"
CATS_AND_DOGS = ("cat", "dog")  # label 1, the positive class, and label 0
CAT_OR_DOG = re.compile(r"(cat|dog)s?(?![a-z])", re.IGNORECASE)  # cat.0.jpg, not catalogue.jpg
# Folders that hold classes, and are none unless --classes names them; nor is test1, but valley and
# testudo are. The group is what the images are for.
PLACE = re.compile(r"(train|val|test)(?:ing|id|idation)?(?:[ _-]?(?:set|data|images))?|petimages",
                   re.IGNORECASE)
NUMBER = re.compile(r"[ ._-]?[0-9]+$")  # in a file's name, after that of its class
PLURALS = {"cats": "cat", "dogs": "dog"}  # of other words nothing is known: glasses are not glass


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


class ClassImages(NamedTuple):
    name: str  # as the folder, or the first of the files, spells it
    paths: list[Path]
    is_folder: bool


class Place(NamedTuple):
    """What lies side by side: classes by their normalized names, and what is no image."""

    classes: dict[str, ClassImages]
    others: list[Path]

    def folders(self) -> list[str]:
        return [each.name for each in self.classes.values() if each.is_folder]

    def missing(self, wanted: Collection[str]) -> list[str]:
        return [name for name in wanted if name not in self.classes]


def normalized(name: str) -> str:
    """What classes are compared by: their names in Unicode's NFC, without upper and lower case."""
    name = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
    return PLURALS.get(name, name)


def are_cats_and_dogs(classes: Iterable[str]) -> bool:
    return {*map(normalized, classes)} == {*CATS_AND_DOGS}


def choose(data_dir: str | None, classes: Sequence[str] | None = None) -> Source:
    """The labeled images of a folder; without one, those in data/, or else the bundled sample.

    classes: the two that are asked for, the one with label 1 first. Raises UserError for a folder
    that is not there or does not hold two classes, OSError for one that cannot be read.
    """
    if classes is not None and ("" in classes or len({*map(normalized, classes)}) != 2
                                or len(classes) != 2):
        raise UserError(f"--classes={','.join(classes)} must name two classes, the one with label "
                        "1 first, like --classes=ants,bees")
    if data_dir is not None:
        return find(Path(data_dir), classes)
    if classes is not None and not are_cats_and_dogs(classes):
        raise UserError(f"{classes[0]} and {classes[1]} are not looked for in {DATA}/: name their "
                        "folder with --data_dir")
    return find(DATA if DATA.is_dir() and find_cats_and_dogs(DATA) else SAMPLE, classes)


def find_cats_and_dogs(folder: Path) -> list[LabeledImage]:
    """Every cat, with label 1, and dog; there may be none. Raises OSError as `find` does."""
    return labeled(most_of(CATS_AND_DOGS, places_in(folder, CATS_AND_DOGS)), CATS_AND_DOGS)


def find(folder: Path, classes: Sequence[str] | None, flag: str = "data_dir",
         one_suffices: bool = False) -> Source:
    """The images of two classes in a folder, and the parts beside them.

    classes: which two, the one with label 1 first; if None, cats and dogs, or else just two folders
    of images, the first by name with label 1. flag: which one gave the folder. one_suffices:
    whether one of the named classes will do; the folder itself may have its name. Raises UserError
    for a folder that does not hold two classes, OSError for what cannot be read.
    """
    where = f"--{flag}={folder}"
    if not os.path.isdir(folder):  # unlike Path's, False if the name cannot even be looked up
        raise UserError(f"{where} is not a folder")
    wanted = {normalized(name): name for name in classes or CATS_AND_DOGS}
    places = places_in(folder, wanted)
    for name in [*(classes or ()), *sum((place.folders() for place in places), [])]:
        if not name.isprintable():  # TensorFlow could not store it, or it would break a line
            raise UserError(f"{where} holds a class named {name!r}, which cannot be printed: give "
                            "it another name")
    found = most_of(wanted, places)
    if one_suffices and len(found.missing(wanted)) == 2:
        found = scan([folder.resolve()], wanted)
    if classes is None and found.missing(wanted):
        first_with_two = max(places, key=lambda place: min(2, len(place.folders())))
        names = first_with_two.folders()
        if len(names) > 2:
            raise UserError(f"{where} holds {len(names)} classes, {', '.join(names)}: choose two, "
                            f"like --classes={names[0]},{names[1]}")
        if len(names) == 2:
            found = first_with_two
            wanted = {normalized(name): name for name in sorted(names, key=normalized)}
    if len(found.missing(wanted)) > (1 if one_suffices else 0):
        raise UserError(f"{where} holds {what_is_missing(wanted, found, places)}"
                        + ("" if classes else "; --classes=ants,bees names two other classes"))
    positive, negative = wanted if are_cats_and_dogs(wanted) else [
        found.classes[key].name if key in found.classes else name for key, name in wanted.items()]
    return with_parts(Source(folder, labeled(found, wanted), (positive, negative)), found)


def what_is_missing(wanted: dict[str, str], found: Place, places: Sequence[Place]) -> str:
    """What a folder lacks, what to do, and what it holds instead.

    wanted: both classes' names by the normalized ones; found: the best of the places.
    """
    missing = [wanted[key] for key in found.missing(wanted)]
    beside = [name for name in wanted.values() if name not in missing]
    folders = sum((place.folders() for place in places), [])
    passed_over = image_files.count_endings(sum((place.others for place in places), []))
    return (f"no pictures of {' and '.join(missing)}"
            + "".join(f" beside those of {name}" for name in beside)
            + ": put each class into a folder of its name, or name its files like "
            f"{missing[0]}.0.jpg"
            + (f"; there are pictures in {', '.join(folders)}" if folders else "")
            + (f"; passed over: {', '.join(passed_over)}" if passed_over else ""))


def with_parts(source: Source, found: Place) -> Source:
    """The source with the parts that val/ and test/ beside train/ are: images of the same classes.

    One that lacks a class is passed over, such as one of pictures that nobody has labeled. found:
    the place of the source's images. Raises UserError for two folders of one part.
    """
    kinds, whole, passed_over, others = subfolders(source.folder), {}, [], [*found.others]
    wanted = [normalized(name) for name in source.class_names]
    folders = {image.path.parent for image in source.images}
    beside_train = any(folder.is_relative_to(train) for folder in folders
                       for train in kinds["train"])
    for part, kind in (("valid", "val"), ("test", "test")):
        for path in [path for path in kinds[kind] if path not in folders]:  # --classes=test,…
            place = scan(sorted(path.iterdir()), wanted)
            missing = place.missing(wanted)
            if not beside_train:
                passed_over.append(f"{path} (it is a part only beside a folder train)")
            elif missing:
                passed_over.append(f"{path} (no pictures of {' and '.join(missing)})")
            elif part in whole:
                raise UserError(f"{whole[part].folder} and {path} are the same part of "
                                f"{source.folder}: give one of them another name")
            else:
                whole[part] = Source(path, labeled(place, wanted), source.class_names)
                others += place.others
    used = {image.path.parent for part in (source, *whole.values()) for image in part.images}
    passed_over += image_files.count_endings(
        path for path in others
        if path.parent in used or normalized(path.parent.name) in wanted)
    return source._replace(whole=whole, passed_over=passed_over)


# ---------------------------------------------------------------------------------------------
# What lies in a folder
# ---------------------------------------------------------------------------------------------

def subfolders(folder: Path) -> dict[str, list[Path]]:
    """The folders for "train", "val" and "test", and those named "petimages"."""
    kinds = {"train": [], "val": [], "test": [], "petimages": []}
    for entry in sorted(folder.iterdir()):
        if (match := PLACE.fullmatch(entry.name)) and entry.is_dir():
            kinds[(match[1] or match[0]).lower()].append(entry)
    return kinds


def places_in(folder: Path, wanted: Collection[str]) -> list[Place]:
    """Where the classes may be: in the folder, its train/ or its PetImages/."""
    kinds = subfolders(folder)
    return [scan(sorted(place.iterdir()), wanted)
            for place in (folder, *kinds["train"], *kinds["petimages"])]


def scan(entries: Iterable[Path], wanted: Collection[str]) -> Place:
    """The classes among the folders and files that lie side by side.

    The images of a class lie in its folder itself: a folder within is no image, and passed over.
    """
    place = Place({}, [])

    def add(name: str, paths: Iterable[Path], is_folder: bool) -> None:
        images = ClassImages(unicodedata.normalize("NFC", name), [], is_folder)
        for path in paths:
            place.classes.setdefault(normalized(name), images).paths.append(path)

    images, others = image_files.images_among(entries)
    place.others.extend(others)
    for entry in entries:
        if entry.is_dir() and (normalized(entry.name) in wanted or not is_no_class(entry.name)):
            inside = sorted(entry.iterdir())
            of_class, others = image_files.images_among(inside)
            place.others.extend(others + [each for each in inside if each.is_dir()
                                          and not image_files.is_hidden(each.name)])
            add(entry.name, of_class, is_folder=True)
    for image in images:
        name, pet = NUMBER.sub("", image.stem), CAT_OR_DOG.match(image.name)
        is_pet = pet and normalized(name) not in wanted
        add(pet[1].lower() if is_pet else name, [image], is_folder=False)
    return place


def is_no_class(name: str) -> bool:
    """Whether a folder is none unless --classes names it: .hidden, test1; but valley is one."""
    return image_files.is_hidden(name) or bool(PLACE.fullmatch(name.rstrip("0123456789")))


def most_of(wanted: Collection[str], places: Sequence[Place]) -> Place:
    """The first place that holds all wanted classes, else the first with one of them.

    It is taken alone: two copies of one photograph must not end up in two parts of the split.
    """
    return min(places, key=lambda place: len(place.missing(wanted)))


def labeled(place: Place, wanted: Collection[str]) -> list[LabeledImage]:
    """The images, with label 1 for the first class, in the order of their numbers and names.

    That is never the file system's order: cat.0, dog.0, cat.1 …
    """
    def key(image: LabeledImage) -> tuple:
        number = re.search(r"[0-9]+", image.path.stem)
        return (int(number[0]) if number else float("inf"), image.path.name, str(image.path))

    return sorted((LabeledImage(path, label) for label, name in zip((1, 0), wanted, strict=True)
                   if name in place.classes for path in place.classes[name].paths), key=key)
