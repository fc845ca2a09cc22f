"""Finds the images of two classes in a folder, in every usual layout, and labels them.

    cat.0.jpg, dog.0.jpg; cats/IMG_1.jpg, dogs/IMG_2.jpg    in the folder, its train/ or PetImages/
    ants/IMG_1.jpg, bees/IMG_2.jpg    two folders of any names, in the folder or its train/
    ant.0.jpg, bee_12.png             other files, only if --classes=ant,bee names both

Cats and dogs are the pair that is looked for first.
"""

import contextlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from support import image_files
from support.cli import UserError

DATA, SAMPLE = Path("data"), Path(__file__).parent.parent / "sample"
CATS_AND_DOGS = ("cat", "dog")  # label 1, the positive class, and label 0
CAT_OR_DOG = re.compile(r"(cat|dog)s?(?![a-z])", re.IGNORECASE)  # cat.0.jpg, not catalogue.jpg
# Folders that are no class unless --classes names them: valley and testudo are classes.
NO_CLASS = re.compile(r"\..*|(train|test|val)(ing|id|idation)?[ _-]?(set|data|images)?[0-9]*"
                      r"|petimages", re.IGNORECASE)
NUMBER = re.compile(r"[ ._-]?[0-9]+$")  # in a file's name, after that of its class
PLURALS = {"cats": "cat", "dogs": "dog"}  # of other words nothing is known: glasses are not glass
NO_IMAGES = ("{} holds no pictures of cats and dogs: put cat.0.jpg … and dog.0.jpg … into it, or "
             "folders named cats and dogs")
OTHER_FOLDERS = ", or two folders of other classes"  # unless classes are given
OTHER_CLASSES = "; or choose other classes, like --classes=ants,bees"


class LabeledImage(NamedTuple):
    path: Path
    label: int  # 1 for the positive class, 0 for the other


class Source(NamedTuple):
    """What to train on: the folder, its images, and the names of labels 1 and 0.

    sizes: how many images of each class are for training, validation and test.
    """

    folder: Path
    images: list[LabeledImage]
    class_names: tuple[str, str]
    sizes: tuple[int, int, int] = (0, 0, 0)

    def counts(self) -> tuple[int, int]:
        """How many images there are of label 1, and of label 0."""
        positive = sum(image.label for image in self.images)
        return positive, len(self.images) - positive

    def __str__(self) -> str:
        """1 = cat (250 images), 0 = dog (250)"""
        positive, negative = self.counts()
        return (f"1 = {self.class_names[0]} ({positive} images), "
                f"0 = {self.class_names[1]} ({negative})")


def normalized(name: str) -> str:
    """What classes are compared by: their names in Unicode's NFC, without upper and lower case."""
    name = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
    return PLURALS.get(name, name)


def parse_classes(names: Sequence[str]) -> tuple[str, str]:
    """What --classes holds. Raises UserError unless it names two classes."""
    if len(names) != 2 or "" in names or normalized(names[0]) == normalized(names[1]):
        raise UserError(f"--classes={','.join(names)} must name two classes, the one with label 1 "
                        "first, like --classes=ants,bees")
    return names[0], names[1]


def are_cats_and_dogs(classes: Sequence[str]) -> bool:
    return {*map(normalized, classes)} == {*CATS_AND_DOGS}


def choose(data_dir: str | None, classes: Sequence[str] | None = None) -> Source:
    """The labeled images of a folder; without one, those in data/, or else the bundled sample.

    classes: the two that are asked for, the one with label 1 first. Raises UserError for a folder
    that is not there or does not hold two classes.
    """
    wanted = parse_classes(classes) if classes is not None else None
    if data_dir is not None:
        return find(Path(data_dir), wanted)
    if wanted is not None and not are_cats_and_dogs(wanted):
        raise UserError(f"{wanted[0]} and {wanted[1]} are not looked for in {DATA}/: name their "
                        "folder with --data_dir")
    return find(DATA if DATA.is_dir() and find_cats_and_dogs(DATA) else SAMPLE, wanted)


def find(folder: Path, classes: tuple[str, str] | None, flag: str = "data_dir") -> Source:
    """The images of two classes: the two that are named, or cats and dogs, or the two there are.

    classes: which two, the one with label 1 first; None, if none were named. flag: which one gave
    the folder. Raises UserError for a folder that cannot be read, and one that does not hold two
    classes.
    """
    where = f"--{flag}={folder}"
    if not folder.is_dir():
        raise UserError(f"{where} is not a folder")
    if classes is None or are_cats_and_dogs(classes):
        found = find_cats_and_dogs(folder)
        if found or classes is not None:
            return Source(folder, *cats_and_dogs(where, found, classes))
    with must_be_readable(folder):
        positive, negative = find_classes(folder, classes, where)
    found = [*(LabeledImage(path, 1) for path in positive.paths),
             *(LabeledImage(path, 0) for path in negative.paths)]
    return Source(folder, sorted(found, key=by_number_then_name), (positive.name, negative.name))


@contextlib.contextmanager
def must_be_readable(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"{error.filename or folder} cannot be read as a folder of pictures: "
                        f"{error.strerror}") from error


def by_number_then_name(image: LabeledImage) -> tuple:
    """The order of images, whatever the file system's is: cat.0, dog.0, cat.1 …"""
    number = re.search(r"[0-9]+", image.path.stem)
    return (int(number[0]) if number else float("inf"), image.path.name, str(image.path))


# ---------------------------------------------------------------------------------------------
# Cats and dogs
# ---------------------------------------------------------------------------------------------

def find_cats_and_dogs(folder: Path) -> list[LabeledImage]:
    """Every cat, with label 1, and dog in `folder`, else in its train/, else in its PetImages/.

    The first of the three that holds any is taken alone: two copies of one photograph must not
    end up in two parts of the split. Raises UserError for a folder that cannot be read.
    """
    with must_be_readable(folder):
        subfolders = {entry.name.lower(): entry for entry in sorted(folder.iterdir())
                      if entry.is_dir()}
        for place in (folder, subfolders.get("train"), subfolders.get("petimages")):
            found = cats_and_dogs_in(place) if place else []
            if found:
                return sorted(found, key=by_number_then_name)
    return []


def cats_and_dogs_in(place: Path) -> list[LabeledImage]:
    """The images named cat.N or dog.N in a folder, and those in its cat(s)/ and dog(s)/."""
    found = []
    for entry in place.iterdir():
        name = normalized(entry.name)
        if entry.is_dir() and name in CATS_AND_DOGS:
            found += [LabeledImage(path, int(name == "cat")) for path in entry.iterdir()
                      if image_files.is_image(path)]
        elif (match := CAT_OR_DOG.match(entry.name)) and image_files.is_image(entry):
            found.append(LabeledImage(entry, int(match[1].lower() == "cat")))
    return found


def cats_and_dogs(where: str, found: list[LabeledImage], classes: tuple[str, str] | None
                  ) -> tuple[list[LabeledImage], tuple[str, str]]:
    """What find_cats_and_dogs found, the first of `classes` with label 1, and the two names.

    Raises UserError unless there are both.
    """
    if not found:
        raise UserError(NO_IMAGES.format(where))  # they are the classes that were asked for
    cats = sum(image.label for image in found)
    if cats in (0, len(found)):
        there, missing = ("cats", "dogs") if cats else ("dogs", "cats")
        raise UserError(f"{where} holds {len(found)} pictures of {there} and none of {missing}: "
                        f"both are needed{OTHER_CLASSES if classes is None else ''}")
    if classes is not None and normalized(classes[0]) == "dog":
        return [LabeledImage(path, 1 - label) for path, label in found], CATS_AND_DOGS[::-1]
    return found, CATS_AND_DOGS


# ---------------------------------------------------------------------------------------------
# Any two classes
# ---------------------------------------------------------------------------------------------

class ClassImages(NamedTuple):
    name: str  # as the folder, or the first of the files, spells it
    paths: list[Path]


def find_classes(folder: Path, classes: tuple[str, str] | None, where: str) -> list[ClassImages]:
    """The images of the two classes, the one with label 1 first.

    classes: which two, in this order; if None, there must be just two folders of images, and the
    first by name gets label 1. Raises UserError for none, for one class, for three or more, for one
    that was named and is not there, and for one that is a folder and files; OSError for what cannot
    be read.
    """
    wanted = [normalized(name) for name in classes or ()]
    places = [folder, *(entry for entry in sorted(folder.iterdir())
                        if entry.name.lower() == "train" and entry.is_dir())]
    in_folders = [images_in_folders(place, wanted) for place in places]
    in_files = [images_in_files(place) for place in places]
    for place in in_folders:
        check_printable(where, place.values())
    if classes is None:
        found = next((each for each in in_folders if len(each) > 1), max(in_folders, key=len))
        check_two(where, found)
        wanted = sorted(found)
    else:
        found = next((each for each in in_folders + in_files if set(wanted) <= each.keys()), None)
        if found is None:
            raise not_there(where, classes, in_folders, in_files)
    for folders, files in zip(in_folders, in_files, strict=True):
        both = [name for name in wanted if folders is found and name in files]
        if both:
            raise UserError(f"{found[both[0]].name} is a folder, and there are files like "
                            f"{files[both[0]].paths[0]}: put all pictures of a class into one "
                            "place")
    two = [found[name] for name in wanted]
    check_printable(where, two)
    return two


def images_in_folders(place: Path, wanted: Sequence[str]) -> dict[str, ClassImages]:
    """The images of each folder in `place`, by its normalized name."""
    return by_class((entry.name, path) for entry in sorted(place.iterdir()) if entry.is_dir()
                    and (normalized(entry.name) in wanted or not NO_CLASS.fullmatch(entry.name))
                    for path in entry.iterdir() if image_files.is_image(path))


def images_in_files(place: Path) -> dict[str, ClassImages]:
    """The images in `place` itself, by their normalized names without the number."""
    return by_class((NUMBER.sub("", path.stem), path) for path in sorted(place.iterdir())
                    if image_files.is_image(path))


def by_class(named: Iterable[tuple[str, Path]]) -> dict[str, ClassImages]:
    classes: dict[str, ClassImages] = {}
    for name, path in named:
        spelled = unicodedata.normalize("NFC", name)
        classes.setdefault(normalized(name), ClassImages(spelled, [])).paths.append(path)
    return classes


def check_printable(where: str, classes: Iterable[ClassImages]) -> None:
    """Raise UserError for a name that TensorFlow could not store, or that would break a line."""
    for each in classes:
        if not each.name.isprintable():
            raise UserError(f"{where} holds a class named {each.name!r}, which cannot be printed: "
                            "give it another name")


def check_two(where: str, found: dict[str, ClassImages]) -> None:
    """Raise UserError unless there are two classes."""
    names = [each.name for each in found.values()]
    if not names:
        raise UserError(NO_IMAGES.format(where) + OTHER_FOLDERS)
    if len(names) == 1:
        raise UserError(f"{where} holds one class only, {names[0]}: put the pictures of another "
                        "into a folder beside it, or name both with --classes")
    if len(names) > 2:
        raise UserError(f"{where} holds {len(found)} classes, {', '.join(names)}: choose two, like "
                        f"--classes={names[0]},{names[1]}")


def not_there(where: str, classes: tuple[str, str], *kinds: list[dict[str, ClassImages]]
              ) -> UserError:
    """What to say of classes of which at least one was not found."""
    there = {name for places in kinds for place in places for name in place}
    missing = [name for name in classes if normalized(name) not in there]
    if not missing:
        return UserError(f"{where} holds {classes[0]} and {classes[1]} in different places: put "
                         "them side by side, as two folders or as files")
    folders = [each.name for place in kinds[0] for each in place.values()]
    return UserError(f"{where} holds no pictures of {missing[0]}, neither in a folder of that name "
                     f"nor as files like {missing[0]}.0.jpg"
                     + (f"; there are pictures in {', '.join(folders)}" if folders else ""))
