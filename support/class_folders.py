"""The images of any two classes, which data.py looks for where there are no cats and dogs.

    insects/ants/IMG_1.jpg, insects/bees/IMG_2.jpg    two folders of any names, in it or its train/
    insects/ant.0.jpg, insects/bee_12.png             files, only if --classes=ant,bee names both
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from support import images
from support.cli import UserError

# Folders that are no class unless --classes names them: valley and testudo are classes.
NO_CLASS = re.compile(r"\..*|(train|test|val)(ing|id|idation)?[ _-]?(set|data|images)?[0-9]*"
                      r"|petimages", re.IGNORECASE)
NUMBER = re.compile(r"[ ._-]?[0-9]+$")  # in a file's name, after that of its class
PLURALS = {"cats": "cat", "dogs": "dog"}  # of other words nothing is known: glasses are not glass


class ClassImages(NamedTuple):
    name: str  # as the folder, or the first of the files, spells it
    paths: list[Path]


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


def find(folder: Path, classes: tuple[str, str] | None) -> list[ClassImages]:
    """The images of the two classes, the one with label 1 first; [] if there are none at all.

    classes: which two, in this order; if None, there must be just two folders of images, and the
    first by name gets label 1. Raises UserError for one class, for three or more, for one that was
    named and is not there, and for one that is a folder and files; OSError for what cannot be read.
    """
    wanted = [normalized(name) for name in classes or ()]
    places = [folder, *(entry for entry in sorted(folder.iterdir())
                        if entry.name.lower() == "train" and entry.is_dir())]
    in_folders = [images_in_folders(place, wanted) for place in places]
    in_files = [images_in_files(place) for place in places]
    for place in in_folders:
        check_printable(folder, place.values())
    if classes is None:
        found = next((each for each in in_folders if len(each) > 1), max(in_folders, key=len))
        if not found:
            return []
        check_two(folder, found)
        wanted = sorted(found)
    else:
        found = next((each for each in in_folders + in_files if set(wanted) <= each.keys()), None)
        if found is None:
            raise not_there(folder, classes, in_folders, in_files)
    for folders, files in zip(in_folders, in_files, strict=True):
        both = [name for name in wanted if folders is found and name in files]
        if both:
            raise UserError(f"{found[both[0]].name} is a folder, and there are files like "
                            f"{files[both[0]].paths[0]}: put all pictures of a class into one "
                            "place")
    two = [found[name] for name in wanted]
    check_printable(folder, two)
    return two


def images_in_folders(place: Path, wanted: Sequence[str]) -> dict[str, ClassImages]:
    """The images of each folder in `place`, by its normalized name."""
    return by_class((entry.name, path) for entry in sorted(place.iterdir()) if entry.is_dir()
                    and (normalized(entry.name) in wanted or not NO_CLASS.fullmatch(entry.name))
                    for path in entry.iterdir() if images.is_image(path))


def images_in_files(place: Path) -> dict[str, ClassImages]:
    """The images in `place` itself, by their normalized names without the number."""
    return by_class((NUMBER.sub("", path.stem), path) for path in sorted(place.iterdir())
                    if images.is_image(path))


def by_class(named: Iterable[tuple[str, Path]]) -> dict[str, ClassImages]:
    classes: dict[str, ClassImages] = {}
    for name, path in named:
        spelled = unicodedata.normalize("NFC", name)
        classes.setdefault(normalized(name), ClassImages(spelled, [])).paths.append(path)
    return classes


def check_printable(folder: Path, classes: Iterable[ClassImages]) -> None:
    """Raise UserError for a name that TensorFlow could not store, or that would break a line."""
    for each in classes:
        if not each.name.isprintable():
            raise UserError(f"--data_dir={folder} holds a class named {each.name!r}, which cannot "
                            "be printed: give it another name")


def check_two(folder: Path, found: dict[str, ClassImages]) -> None:
    """Raise UserError unless there are two classes."""
    names = [each.name for each in found.values()]
    if len(found) == 1:
        raise UserError(f"--data_dir={folder} holds one class only, {names[0]}: put the pictures "
                        "of another into a folder beside it, or name both with --classes")
    if len(found) > 2:
        raise UserError(f"--data_dir={folder} holds {len(found)} classes, {', '.join(names)}: "
                        f"choose two, like --classes={names[0]},{names[1]}")


def not_there(folder: Path, classes: tuple[str, str], *kinds: list[dict[str, ClassImages]]
              ) -> UserError:
    """What to say of classes of which at least one was not found."""
    there = {name for places in kinds for place in places for name in place}
    missing = [name for name in classes if normalized(name) not in there]
    if not missing:
        return UserError(f"--data_dir={folder} holds {classes[0]} and {classes[1]} in different "
                         "places: put them side by side, as two folders or as files")
    folders = [each.name for place in kinds[0] for each in place.values()]
    return UserError(f"--data_dir={folder} holds no pictures of {missing[0]}, neither in a folder "
                     f"of that name nor as files like {missing[0]}.0.jpg"
                     + (f"; there are pictures in {', '.join(folders)}" if folders else ""))
