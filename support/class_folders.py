"""Finds the images of two classes in a folder, in every usual layout, and labels them.

    cat.0.jpg, dog.0.jpg; cats/IMG_1.jpg, dogs/IMG_2.jpg    in the folder, its train/ or PetImages/
    ants/IMG_1.jpg, bees/IMG_2.jpg    two folders of any names, in the same places
    ant.0.jpg, bee_12.png             other files, only if --classes=ant,bee names both

Cats and dogs are the pair that is looked for first. Images of the same two classes in val/ and
test/ beside train/ are parts by themselves.
"""

import contextlib
import os
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


Classes = dict[str, ClassImages]  # by their normalized names


class Left(NamedTuple):
    """What a search leaves aside: files that are no images, and errors of unreadable folders."""

    files: list[Path]
    unreadable: list[OSError]


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


def are_cats_and_dogs(classes: Iterable[str]) -> bool:
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


def find(folder: Path, classes: tuple[str, str] | None, flag: str = "data_dir",
         one_suffices: bool = False) -> Source:
    """The images of two classes, as find_classes chooses them, and the parts beside them.

    flag: which one gave the folder. Raises UserError for a folder that cannot be read, and one that
    does not hold two classes.
    """
    where, left = f"--{flag}={folder}", Left([], [])
    if not os.path.isdir(folder):  # unlike Path's, False if the name cannot even be looked up
        raise UserError(f"{where} is not a folder")
    with must_be_readable(folder):
        two = find_classes(folder, classes, where, left, one_suffices)
        source = Source(folder, labeled(two), (two[0].name, two[1].name))
        kinds = subfolders(folder)
        passed_over = [f"{error.filename} ({error.strerror.lower()})" for error in left.unreadable]
        if {*kinds["train"]} & {*source.images[0].path.parents}:
            source = source._replace(whole=whole_parts(kinds, source, left, passed_over))
        else:
            classes_there = {image.path.parent for image in source.images}  # --classes=test,…
            passed_over += [f"{path} (it is a part only beside a folder train)"
                            for path in kinds["val"] + kinds["test"] if path not in classes_there]
    used = {image.path.parent for image in source.all_images()}
    return source._replace(passed_over=passed_over + image_files.count_endings(
        path for path in left.files if path.parent in used))


def find_cats_and_dogs(folder: Path) -> list[LabeledImage]:
    """Every cat, with label 1, and dog; there may be none. Raises UserError as `find` does."""
    left = Left([], [])
    with must_be_readable(folder):
        found = most_of(CATS_AND_DOGS, scan(folder, CATS_AND_DOGS, left)[0])
        if left.unreadable and not found:  # they may be there
            raise left.unreadable[0]
        return labeled([found.get(name, ClassImages(name, [])) for name in CATS_AND_DOGS])


@contextlib.contextmanager
def must_be_readable(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"{error.filename or folder} cannot be read as a folder of pictures: "
                        f"{error.strerror}") from error


def labeled(two: list[ClassImages]) -> list[LabeledImage]:
    """The images, with label 1 for the first class, in the order of their numbers and names.

    That is never the file system's order: cat.0, dog.0, cat.1 …
    """
    def key(image: LabeledImage) -> tuple:
        number = re.search(r"[0-9]+", image.path.stem)
        return (int(number[0]) if number else float("inf"), image.path.name, str(image.path))

    return sorted((LabeledImage(path, label) for label, each in zip((1, 0), two, strict=True)
                   for path in each.paths), key=key)


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


def scan(folder: Path, wanted: Sequence[str], left: Left) -> tuple[tuple[Classes, ...], ...]:
    """What scan_place returns, each for the folder, its train/ and its PetImages/."""
    kinds, found = subfolders(folder), [scan_place(folder, wanted, left)]
    for place in kinds["train"] + kinds["petimages"]:
        try:
            found.append(scan_place(place, wanted, left))
        except OSError as error:
            left.unreadable.append(error)
    return tuple(zip(*found, strict=True))


def scan_place(place: Path, wanted: Sequence[str], left: Left) -> tuple[Classes, Classes, Classes]:
    """Cats and dogs, in folders and files at once; all classes in folders; all in files.

    Adds to `left`. Raises OSError for a wanted class that cannot be read.
    """
    entries = sorted(place.iterdir())
    files, others = image_files.images_among(entries)
    left.files.extend(others)
    in_folders = []
    for entry in entries:
        is_wanted = normalized(entry.name) in wanted
        if not entry.is_dir() or (is_no_class(entry.name) and not is_wanted):
            continue
        try:
            images, others = image_files.images_among(entry.iterdir())
        except OSError as error:
            if is_wanted:
                raise
            left.unreadable.append(error)
        else:
            in_folders += [(entry.name, image) for image in images]
            left.files.extend(others)
    pets = [(normalized(name), image) for name, image in in_folders]
    pets += [(match[1].lower(), image) for image in files
             if (match := CAT_OR_DOG.match(image.name))]
    return (by_class(pair for pair in pets if pair[0] in CATS_AND_DOGS), by_class(in_folders),
            by_class((NUMBER.sub("", image.stem), image) for image in files))


def is_no_class(name: str) -> bool:
    """Whether a folder is none unless --classes names it: .hidden, test1; but valley is one."""
    return image_files.is_hidden(name) or bool(PLACE.fullmatch(name.rstrip("0123456789")))


def by_class(named: Iterable[tuple[str, Path]]) -> Classes:
    classes: Classes = {}
    for name, path in named:
        spelled = unicodedata.normalize("NFC", name)
        classes.setdefault(normalized(name), ClassImages(spelled, [])).paths.append(path)
    return classes


def most_of(wanted: Sequence[str], found: Iterable[Classes]) -> Classes:
    """The first that holds all wanted classes, else the first with one of them.

    It is taken alone: two copies of one photograph must not end up in two parts of the split.
    """
    return max(found, key=lambda classes: len({*wanted} & classes.keys()))


# ---------------------------------------------------------------------------------------------
# Which two classes
# ---------------------------------------------------------------------------------------------

def find_classes(folder: Path, classes: tuple[str, str] | None, where: str, left: Left,
                 one_suffices: bool) -> list[ClassImages]:
    """The images of the two classes, those with label 1 first. Adds to `left`.

    classes: which two, in this order; if None, cats and dogs, or else just two folders of images,
    the first by name with label 1. one_suffices: whether one of the named classes will do; the
    folder itself may have its name. Raises UserError if there are not two, or one is a folder and
    files; OSError for what cannot be read.
    """
    wanted = [normalized(name) for name in classes or CATS_AND_DOGS]
    pets, in_folders, in_files = scan(folder, wanted, left)
    found = most_of(wanted, pets + in_folders + in_files)
    if classes is None and len(found.keys() & {*wanted}) < 2:
        most = max(in_folders, key=lambda each: min(2, len(each)))  # the first with two
        names = printable_names(where, most.values())
        if len(names) > 2:
            raise UserError(f"{where} holds {len(names)} classes, {', '.join(names)}: choose two, "
                            f"like --classes={names[0]},{names[1]}")
        if len(names) == 2:
            found, wanted = most, sorted(most)
    if one_suffices and not found.keys() & {*wanted}:
        name, images = normalized(folder.resolve().name), image_files.images_among(folder.iterdir())
        found = {name: ClassImages(name, images[0])} if images[0] else {}
    if one_suffices and found.keys() & {*wanted}:
        found = {name: ClassImages(name, []) for name in wanted} | found
    if not {*wanted} <= found.keys():
        raise left.unreadable[0] if left.unreadable else UserError(
            f"{where} holds " + what_is_missing(where, classes, found, in_folders, in_files, left))
    for folders, files in zip(in_folders, in_files, strict=True):
        both = [name for name in wanted if folders is found and name in files]
        if both:
            raise UserError(f"{found[both[0]].name} is a folder, and there are files like "
                            f"{files[both[0]].paths[0]}: put all pictures of a class into one "
                            "place")
    two = [found[name] for name in wanted]
    printable_names(where, two)
    return two


def printable_names(where: str, classes: Iterable[ClassImages]) -> list[str]:
    """Raises UserError for a name that TensorFlow could not store, or that would break a line."""
    names = [each.name for each in classes]
    for name in names:
        if not name.isprintable():
            raise UserError(f"{where} holds a class named {name!r}, which cannot be printed: give "
                            "it another name")
    return names


def what_is_missing(where: str, classes: tuple[str, str] | None, found: Classes,
                    in_folders: Sequence[Classes], in_files: Sequence[Classes], left: Left) -> str:
    """What a folder holds instead of two classes, and what to do. found: cats or dogs, or none."""
    folders = printable_names(where, (each for place in in_folders for each in place.values()))
    if classes is None or are_cats_and_dogs(classes):
        others = ", ".join(image_files.count_endings(left.files))
        passed_over = f"; passed over: {others}" if others else ""
        for name, missing in (CATS_AND_DOGS, CATS_AND_DOGS[::-1]):
            if name in found:
                other_classes = "; or choose other classes, like --classes=ants,bees"
                return (f"{len(found[name].paths)} pictures of {name}s and none of {missing}s: "
                        f"both are needed{'' if classes else other_classes}{passed_over}")
        if folders and not classes:
            return (f"one class only, {folders[0]}: put the pictures of another into a folder "
                    f"beside it, or name both with --classes{passed_over}")
        return ("no pictures of cats and dogs: put cat.0.jpg … and dog.0.jpg … into it, or folders "
                f"named cats and dogs{'' if classes else ', or two folders of other classes'}"
                f"{passed_over}")
    there = {name for place in in_folders + in_files for name in place}
    missing = [name for name in classes if normalized(name) not in there]
    if not missing:
        return (f"{classes[0]} and {classes[1]} in different places: put them side by side, as two "
                "folders or as files")
    return (f"no pictures of {missing[0]}, neither in a folder of that name nor as files like "
            f"{missing[0]}.0.jpg"
            + (f"; there are pictures in {', '.join(folders)}" if folders else ""))


def whole_parts(kinds: dict[str, list[Path]], source: Source, left: Left, passed_over: list[str]
                ) -> dict[str, Source]:
    """The parts that the folders val/ and test/ beside train/ are: images of the same classes.

    A folder that lacks a class is passed over, such as one of pictures that nobody has labeled.
    Raises UserError for two folders of a kind.
    """
    wanted, whole = [normalized(name) for name in source.class_names], {}
    for part, path in (("valid" if kind == "val" else kind, path)
                       for kind in ("val", "test") for path in kinds[kind]):
        try:
            found = most_of(wanted, scan_place(path, wanted, left))
        except OSError as error:
            passed_over.append(f"{path} ({error.strerror.lower()})")
            continue
        missing = [name for name in source.class_names if normalized(name) not in found]
        if missing:
            passed_over.append(f"{path} (no pictures of {' and '.join(missing)})")
        elif part in whole:
            raise UserError(f"{whole[part].folder} and {path} are the same part of {source.folder}:"
                            " give one of them another name")
        else:
            whole[part] = Source(path, labeled([found[name] for name in wanted]),
                                 source.class_names)
    return whole
