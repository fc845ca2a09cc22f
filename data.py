"""The article's "The Dataset" and "Loading and Preprocessing our Image Data with NumPy".

    python data.py                      # the census: which shapes the pictures in data/ have
    python data.py --download           # get the 25,000 photographs into data/ (0.8 GB)
    python data.py --data_dir=PHOTOS    # the census of another folder

Pictures are found in every layout people have, split into training and validation by a seed, and
loaded by several threads into one uint8 array (n, height, width, 3). Label 1 is cat, 0 is dog.
"""

import functools
import hashlib
import http.client
import itertools
import math
import os
import re
import shutil
import sys
import time
import urllib.error
import urllib.request
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import app, flags
from PIL import Image
from rich import progress
from rich.console import Console
from rich.text import Text

CAT, DOG = 1, 0
CLASS_FOLDERS = {"cat": CAT, "cats": CAT, "dog": DOG, "dogs": DOG}
FLAT_NAME = re.compile(r"(cat|dog)s?(?![a-z])", re.IGNORECASE)  # cat.0.jpg, not catalogue.jpg
EXTENSIONS = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp"}

SAMPLE = Path(__file__).parent / "sample"
TRAIN_SIZE, VALID_SIZE = 4096, 1024  # the article's

DATA_DIR = flags.DEFINE_string(
    "data_dir", "data", "folder of the pictures: cat.0.jpg … dog.0.jpg …, or folders cat(s)/ and "
    "dog(s)/, in it or in its train/ or PetImages/")


class DataError(ValueError):
    """Something about the pictures that only the user can put right, as one sentence."""


# ---------------------------------------------------------------------------------------------
# The dataset: finding the pictures
# ---------------------------------------------------------------------------------------------

class Picture(NamedTuple):
    path: Path
    label: int


def find_pictures(folder: Path) -> list[Picture]:
    """Every picture in `folder`, else in its train/, else in its PetImages/, in a fixed order.

    The first of the three that holds any is taken alone: two copies of one photograph must not
    end up on both sides of the split. The order is by number, then by name: cat.0, dog.0, cat.1 …
    Raises DataError if the folder is not there or cannot be read.
    """
    try:
        subfolders = {entry.name.lower(): entry for entry in sorted(folder.iterdir())
                      if entry.is_dir()}
        for place in (folder, subfolders.get("train"), subfolders.get("petimages")):
            pictures = pictures_in(place) if place else []
            if pictures:
                return sorted(pictures, key=by_number_then_name)
    except OSError as error:
        raise DataError(f"{error.filename or folder} cannot be read as a folder of pictures: "
                        f"{error.strerror}") from error
    return []


def pictures_in(folder: Path) -> list[Picture]:
    """The pictures of one folder: named cat.N or dog.N in it, or under its cat(s)/ and dog(s)/."""
    pictures = []
    for entry in folder.iterdir():
        if entry.is_dir() and entry.name.lower() in CLASS_FOLDERS:
            label = CLASS_FOLDERS[entry.name.lower()]
            pictures += [Picture(path, label) for path in entry.iterdir() if is_picture(path)]
        elif (match := FLAT_NAME.match(entry.name)) and is_picture(entry):
            pictures.append(Picture(entry, CLASS_FOLDERS[match[1].lower()]))
    return pictures


def is_picture(path: Path) -> bool:
    return (path.suffix.lower() in EXTENSIONS and path.is_file()
            and not path.name.startswith("."))  # macOS puts ._cat.0.jpg beside cat.0.jpg


def by_number_then_name(picture: Picture) -> tuple:
    number = re.search(r"[0-9]+", picture.path.stem)
    return (int(number[0]) if number else float("inf"), picture.path.name, str(picture.path))


def choose_pictures(data_dir: str, typed: bool) -> tuple[Path, list[Picture]]:
    """The folder to train on and its pictures: `data_dir`, or else the bundled sample.

    Only the default folder may fall back to the sample: a folder that the user `typed` and that
    is not there, or holds no pictures, raises DataError. So does one that lacks a class.
    """
    folder = Path(data_dir)
    if typed and not folder.is_dir():
        raise DataError(f"--data_dir={data_dir} is not a folder")
    pictures = find_pictures(folder) if folder.is_dir() else []
    if not pictures and typed:
        raise DataError(
            f"--data_dir={data_dir} holds no pictures of cats and dogs: put cat.0.jpg … and "
            "dog.0.jpg … into it, or folders named cats and dogs")
    if not pictures:
        return SAMPLE, find_pictures(SAMPLE)
    cats = sum(picture.label == CAT for picture in pictures)
    if cats in (0, len(pictures)):
        there, missing = ("cats", "dogs") if cats else ("dogs", "cats")
        raise DataError(f"--data_dir={data_dir} holds {len(pictures)} pictures of {there} and none "
                        f"of {missing}: both are needed")
    return folder, pictures


# ---------------------------------------------------------------------------------------------
# Loading and preprocessing: one picture
# ---------------------------------------------------------------------------------------------

def read_picture(path: Path, at_least: tuple[int, int] | None = None) -> Image.Image:
    """A picture upright and RGB whatever it was, at full size or at least at_least (width, height).

    Raises whatever the decoder raises for a file that it cannot decode, and Pillow's
    DecompressionBombError for one of more than 179 million pixels.
    """
    with Image.open(path) as image:
        orientation = exif_orientation(image)
        if at_least:  # a JPEG decoder can give a half, a quarter or an eighth in less time
            image.draft(None, at_least if orientation < 5 else at_least[::-1])
        image.load()
        if orientation != 1:
            image = image.transpose(UPRIGHT[orientation])
        return to_rgb(image)


def load_picture(path: Path, size: tuple[int, int]) -> np.ndarray:
    """One picture as uint8 (height, width, 3), resized to `size`. Raises what read_picture does.

    A JPEG is decoded at a reduced size that is at least 1.5 times the one asked for. Beside the
    plain read_picture(path).resize((width, height), BILINEAR), over 600 originals, that moves a
    pixel by 0.7 of 255 levels in the mean, less than the choice of the resampling filter does
    (bilinear or Lanczos: 2.1).
    """
    height, width = size
    picture = read_picture(path, at_least=(width * 3 // 2, height * 3 // 2))
    return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))


# How a picture that its camera stored turned or mirrored is put right (EXIF tag 0x0112).
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90,
}


def exif_orientation(image: Image.Image) -> int:
    """1 (upright) to 8; a damaged EXIF block counts as upright, it must not cost the picture."""
    if image.format == "TIFF":  # Pillow turns these itself
        return 1
    try:
        orientation = image.getexif().get(0x0112, 1)
    except Exception:
        return 1
    return orientation if orientation in UPRIGHT else 1


def to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow image as RGB: 16 bits scaled down to 8, transparency shown on white."""
    if image.mode.startswith("I"):  # convert() would clip 16-bit values at 255
        levels, clear = np.asarray(image), image.info.get("transparency")
        image = Image.fromarray((levels // 257).astype(np.uint8))
        if clear is not None:
            image.putalpha(Image.fromarray(levels != clear).convert("L"))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")


# ---------------------------------------------------------------------------------------------
# All pictures: the split, and one uint8 array for each side of it
# ---------------------------------------------------------------------------------------------

class Skipped(NamedTuple):
    """A file that could not be decoded, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Share:
    """Which pictures of each part are held here, where `of` processes train one network together.

    Number `number`, number + of, number + 2 of …; all of them, where one process trains alone.
    exchange: gives every process the list of what each of them calls it with (what JSON can hold).
    replicas: how many devices compute in all of them together.
    """

    number: int = 0
    of: int = 1
    exchange: Callable[[Any], list] = lambda own: [own]
    replicas: int = 1

    @property
    def chief(self) -> bool:
        return self.number == 0

    def places(self, parts: Iterable[range]) -> list[int]:
        """Of the pictures of these parts, those that are held here, in order."""
        return sorted(place for part in parts for place in part[self.number::self.of])

    def together(self, own: list) -> list:
        """Something of each picture held here -> the same of every picture, in order."""
        shares = self.exchange(own)
        everything = [None] * sum(map(len, shares))
        for number, share in enumerate(shares):
            everything[number::self.of] = share
        return everything


@dataclass
class Dataset:
    """images: uint8 (n, height, width, 3); labels: float32 (n,), 1 for cat; files: n paths.

    Where several processes train together, each holds its share of the images; labels and files
    are those of all pictures.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    train_files: list[Path]
    valid_images: np.ndarray
    valid_labels: np.ndarray
    valid_files: list[Path]
    test_images: np.ndarray
    test_labels: np.ndarray
    test_files: list[Path]
    skipped: list[Skipped]
    share: Share = Share()


def choose_sizes(available: int, train_size: int | None, valid_size: int | None,
                 test_size: int = 0) -> tuple[int, int, int]:
    """How many pictures of each class to train on, to validate on and to test on.

    available: how many there are of the rarer class. train_size, valid_size: both classes
    together, as the user typed them, or None for the article's 4096 and 1024, which shrink in
    their proportion to what the test leaves. Raises DataError for sizes that cannot be met.
    """
    for flag, size in (("train_size", train_size), ("valid_size", valid_size)):
        if size is not None and (size < 2 or size % 2):
            raise DataError(f"--{flag}={size} must be an even number of at least 2: half cats, "
                            "half dogs")
    if test_size < 0 or test_size % 2:
        raise DataError(f"--test_size={test_size} must be an even number, or 0: half cats, "
                        "half dogs")
    left = available - test_size // 2
    if train_size is None and valid_size is None:
        valid = min(VALID_SIZE // 2, -(-left * VALID_SIZE // (TRAIN_SIZE + VALID_SIZE)))
        train = min(TRAIN_SIZE // 2, left - valid)
    elif train_size is None:
        valid = valid_size // 2
        train = min(TRAIN_SIZE // 2, left - valid)
    elif valid_size is None:
        train = train_size // 2
        valid = min(VALID_SIZE // 2, left - train)
    else:
        train, valid = train_size // 2, valid_size // 2
    if train < 1 or valid < 1 or train + valid > left:
        typed = " and ".join(f"--{flag}={size}" for flag, size in
                             (("train_size", train_size), ("valid_size", valid_size),
                              ("test_size", test_size)) if size)
        parts = "training, validation and test" if test_size else "training and validation"
        raise DataError(
            f"{typed or 'training'} needs more pictures than there are: {available} of each class "
            f"can be used, {2 * available} for {parts} together")
    return train, valid, test_size // 2


def check_sizes(pictures: list[Picture], train_size: int | None, valid_size: int | None,
                test_size: int = 0) -> int:
    """How many pictures there will be in all, before any is read. Raises as choose_sizes does."""
    cats = sum(picture.label == CAT for picture in pictures)
    available = min(cats, len(pictures) - cats)
    return 2 * sum(choose_sizes(available, train_size, valid_size, test_size))


def load_dataset(pictures: list[Picture], train_size: int | None, valid_size: int | None,
                 seed: int, size: tuple[int, int], test_size: int = 0,
                 share: Share = Share()) -> Dataset:
    """Split the pictures by `seed` and load them, half of each class in every part.

    Validation is drawn first and the test from the other end, so that validation holds the same
    pictures whatever the training size, and training the same whatever the test's. A picture
    that cannot be decoded is skipped and the next one of its class takes its place; all others
    stay where they are, unless there are too few for that. Of several processes, each reads its
    share alone, and learns from the others which of theirs were skipped. Raises DataError if the
    sizes cannot be met, or if the processes were given different pictures.
    """
    names = hashlib.sha256(b"\0".join(b"%d" % picture.label + os.fsencode(picture.path.name)
                                      for picture in pictures))
    if len(set(share.exchange(names.hexdigest()))) > 1:
        raise DataError("the workers' folders do not hold the same pictures: each needs all of "
                        "them in its --data_dir, though it reads only its share")
    generator = np.random.default_rng(seed)
    waiting = {}  # of each class, in random order, the next one last
    for label in (CAT, DOG):
        paths = [picture.path for picture in pictures if picture.label == label]
        waiting[label] = [paths[i] for i in generator.permutation(len(paths))][::-1]
    sizes = choose_sizes(min(map(len, waiting.values())), train_size, valid_size, test_size)

    parts = parts_of(*sizes)
    count = sum(map(len, parts))
    labels = np.resize([CAT, DOG], count)  # cat, dog, cat, dog …: every even prefix is balanced
    files: list[Path | None] = [None] * count
    held = share.places(parts)
    rows = {place: row for row, place in enumerate(held)}
    images = np.empty((len(held), *size, 3), np.uint8)
    skipped = []

    def next_path(place: int, again: bool) -> Path:
        # The far end serves the test and, as no training size but the largest gets there, what
        # replaces a picture of the validation.
        far = place in parts[2] or (again and place in parts[1])
        return waiting[labels[place]].pop(0 if far else -1)

    tries = [(place, next_path(place, again=False)) for place in range(count)]
    load = functools.partial(load_picture, size=size)
    with progress_bar("loading pictures", len(held)) as advance:
        while tries:
            refused = []
            files_held = [(place, path) for place, path in tries if place in rows]
            for (place, path), picture in zip(
                    files_held, in_threads(load, [path for _, path in files_held])):
                if isinstance(picture, Skipped):
                    refused.append((place, str(path), picture.reason))
                else:
                    images[rows[place]] = picture
                    advance()
            for place, path in tries:
                files[place] = path
            refused = sorted(itertools.chain(*share.exchange(refused)))
            for place, path, reason in refused:
                skipped.append(Skipped(Path(path), reason))
                files[place] = None
            tries = [(place, next_path(place, again=True))
                     for place, _, _ in refused if waiting[labels[place]]]

    if None in files:  # too many could not be decoded: make do with the rest, or say so
        loaded = [[place for place in range(count) if labels[place] == label and files[place]]
                  for label in (CAT, DOG)]
        sizes = choose_sizes(min(map(len, loaded)), train_size, valid_size, test_size)
        parts = parts_of(*sizes)
        kept = np.ravel(list(zip(*loaded)))[:sum(map(len, parts))]
        labels, files, held = labels[kept], [files[place] for place in kept], share.places(parts)
        # They have moved up: some pictures of this share were read by another process only.
        images = np.array([images[rows[kept[place]]] if kept[place] in rows else load(files[place])
                           for place in held], np.uint8).reshape(-1, *size, 3)

    if len(parts[0]) < share.of:
        raise DataError(f"a training on {len(parts[0])} pictures leaves some of {share.of} "
                        "workers without any: use fewer workers or more pictures")

    labels = labels.astype(np.float32)
    arrays = []
    for part in parts:
        first, last = np.searchsorted(held, (part.start, part.stop))
        arrays += [images[first:last], labels[part.start:part.stop], files[part.start:part.stop]]
    return Dataset(*arrays, skipped, share)


def parts_of(train: int, valid: int, test: int) -> tuple[range, range, range]:
    """Where the training, validation and test pictures lie in a row; the sizes are of each class.

    Validation comes first, then training, then the test.
    """
    return (range(2 * valid, 2 * (valid + train)), range(2 * valid),
            range(2 * (valid + train), 2 * (valid + train + test)))


def in_threads(decode: Callable[[Path], Any], paths: list[Path]) -> Iterable[Any]:
    """decode(path) of every path, in order; a Skipped for each path where it raises.

    As many threads as there are processors: Pillow decodes outside Python's lock. Each takes
    eight paths at a time, for the lock changes hands whenever a result is delivered.
    """
    def attempt(path: Path) -> Any:
        try:
            return decode(path)
        except Exception as error:  # a broken file can make a decoder raise nearly anything
            return Skipped(path, why_unreadable(path, error))

    def attempt_all(some: list[Path]) -> list[Any]:
        return [attempt(path) for path in some]

    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        with warnings.catch_warnings():  # decoders warn of oddities that do no harm
            warnings.simplefilter("ignore")
            eights = [paths[start:start + 8] for start in range(0, len(paths), 8)]
            for results in pool.map(attempt_all, eights):
                yield from results
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C waits for the pictures at hand, not for all


def load_batches(paths: list[Path], size: tuple[int, int], batch_size: int = 32
                 ) -> Iterator[tuple[list[Path], np.ndarray, list[Skipped]]]:
    """Pictures of any number in order, some at a time: for those who answer and forget them.

    Yields the files that could be loaded, their pictures as uint8 (n, height, width, 3), and the
    others, batch_size in all. While the caller works on them, the next ones are loaded.
    """
    load = functools.partial(load_picture, size=size)
    for start in range(0, len(paths), 1024):  # no more than these wait to be fetched
        some = paths[start:start + 1024]
        pictures = in_threads(load, some)
        for first in range(0, len(some), batch_size):
            loaded = list(zip(some[first:first + batch_size], pictures))
            skipped = [picture for _, picture in loaded if isinstance(picture, Skipped)]
            loaded = [pair for pair in loaded if not isinstance(pair[1], Skipped)]
            images = np.array([picture for _, picture in loaded], np.uint8)
            yield [path for path, _ in loaded], images.reshape(-1, *size, 3), skipped


def why_unreadable(path: Path, error: Exception) -> str:
    """One phrase for what Pillow or the file system said."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if isinstance(error, Image.DecompressionBombError):
        return "an image bomb: more than 179 million pixels"
    if path.exists() and path.stat().st_size == 0:
        return "empty file"
    if isinstance(error, Image.UnidentifiedImageError):
        return "not an image"
    return str(error) or type(error).__name__


class Speed(progress.ProgressColumn):
    def render(self, task: progress.Task) -> Text:
        return Text(f"{task.speed or 0:.0f} pictures/s")


@contextmanager
def progress_bar(description: str, total: int):
    """A bar with the speed and the time left, on stderr and only if that is a terminal.

    Yields the function that advances it by a number of pictures. What is printed meanwhile
    appears above it.
    """
    columns = (progress.TextColumn("{task.description}"), progress.BarColumn(),
               progress.MofNCompleteColumn(), Speed(), progress.TimeRemainingColumn())
    with progress.Progress(*columns, console=Console(stderr=True), transient=True,
                           disable=not sys.stderr.isatty(),
                           redirect_stdout=sys.stdout.isatty()) as bar:
        task = bar.add_task(description, total=total)
        yield lambda pictures=1: bar.advance(task, pictures)


# ---------------------------------------------------------------------------------------------
# The census: "how we can see what the most common shape is in our dataset"
# ---------------------------------------------------------------------------------------------

def census(pictures: list[Picture]) -> tuple[Counter, list[Skipped]]:
    """How often each shape (height, width) occurs, upright; and what cannot be decoded."""
    shapes: Counter = Counter()
    unreadable = []
    paths = [picture.path for picture in pictures]
    with progress_bar("reading pictures", len(paths)) as advance:
        for shape in in_threads(upright_shape, paths):
            if isinstance(shape, Skipped):
                unreadable.append(shape)
            else:
                shapes[shape] += 1
            advance()
    return shapes, unreadable


def upright_shape(path: Path) -> tuple[int, int]:
    """(height, width) as it is looked at. Decodes all of it: raises what read_picture does."""
    read_picture(path, at_least=(125, 94))
    with Image.open(path) as image:
        width, height = image.size if exif_orientation(image) < 5 else image.size[::-1]
    return height, width


def print_census(folder: Path, pictures: list[Picture], sample: int) -> None:
    cats = sum(picture.label == CAT for picture in pictures)
    print(f"{folder}: {len(pictures)} pictures, {cats} cats and {len(pictures) - cats} dogs")
    shapes, unreadable = census(pictures[:sample])
    read = shapes.total()
    print(f"the most common shapes of the first {read + len(unreadable)} (height x width):")
    for (height, width), count in shapes.most_common(8):
        print(f"  {height:5} x {width:<5} {count:6}  {count / read:6.1%}")
    print(f"unreadable: {len(unreadable)}")
    for path, reason in unreadable:
        print(f"  {path}: {reason}")
    quarters: Counter = Counter()
    for (height, width), count in shapes.items():
        quarters[math.ceil(height / 4), math.ceil(width / 4)] += count
    for (height, width), count in quarters.most_common(1):
        print("the article's input size, a quarter of the most common: "
              f"--input_size={height}x{width} ({count} of the {read}, within a few pixels)")


# ---------------------------------------------------------------------------------------------
# Getting the photographs
# ---------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Archive:
    """A zip file of pictures: where it is, and what it must be once it is here."""

    url: str
    size: int
    sha256: str
    folder: str  # the folder in it that holds the pictures


PHOTOGRAPHS = Archive(
    url="https://download.microsoft.com/download/3/E/1/3E1C3F21-ECDB-4869-8368-6DEBA77B919F/"
        "kagglecatsanddogs_5340.zip",
    size=824_887_076,
    sha256="b7974bd00a84a99921f36ee4403f089853777b5ae8d151c76a86e64900334af9",
    folder="PetImages")


def download(archive: Archive, data_dir: Path) -> Path:
    """Get the archive and unpack its pictures; returns their folder, data_dir/archive.folder.

    The pictures appear under that name only when all of them are there. Until then the work is in
    data_dir/.download/: an interrupted download goes on from there when it is started again.
    Raises DataError with what went wrong and what to do.
    """
    target = data_dir / archive.folder
    if target.exists():
        raise DataError(f"{target} exists: nothing to download; remove it to get it anew")
    if data_dir.is_dir() and find_pictures(data_dir):
        raise DataError(f"{data_dir} holds other pictures, which would be taken instead of the "
                        "photographs: use another --data_dir")
    work = data_dir / ".download"
    zip_path = work / "archive.zip"
    try:
        work.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(work / "unpacked", ignore_errors=True)  # a half-unpacked one
        have = zip_path.stat().st_size if zip_path.exists() else 0
        needed = 2 * archive.size - have  # the archive, and its pictures, which hardly compress
        if shutil.disk_usage(work).free < needed:
            raise DataError(f"{data_dir} has no room: the photographs take {needed / 1e9:.1f} GB "
                            "while they are unpacked")
        fetch(archive, zip_path)
        check_archive(archive, zip_path)
        unpack(zip_path, work / "unpacked")
        if not (work / "unpacked" / archive.folder).is_dir():
            raise DataError(f"the archive holds no folder {archive.folder}")
        (work / "unpacked" / archive.folder).rename(target)
        shutil.rmtree(work)
    except OSError as error:
        raise DataError(f"{error.filename or data_dir}: {error.strerror or error}; start it again "
                        "to go on") from error
    return target


def fetch(archive: Archive, zip_path: Path) -> None:
    """Download to zip_path, going on from what is there. A lost connection is tried again."""
    failures = 0
    with progress.Progress(progress.BarColumn(), progress.DownloadColumn(),
                           progress.TransferSpeedColumn(), progress.TimeRemainingColumn(),
                           disable=not sys.stdout.isatty()) as bar:
        task = bar.add_task("download", total=archive.size)
        while (have := zip_path.stat().st_size if zip_path.exists() else 0) < archive.size:
            try:
                fetch_once(archive, zip_path, have, lambda done: bar.update(task, completed=done))
                problem = "the connection ended early"
            except urllib.error.HTTPError as error:
                raise DataError(f"{archive.url}: the server answers {error.code} "
                                f"{error.reason}") from error
            except (OSError, http.client.HTTPException) as error:
                if isinstance(error, OSError) and error.filename:  # the disk, not the network
                    raise
                problem = str(getattr(error, "reason", error)) or type(error).__name__
            came = (zip_path.stat().st_size if zip_path.exists() else 0) - have
            failures = 0 if came > 0 else failures + 1
            if failures == 3:
                raise DataError(f"{archive.url} cannot be downloaded: {problem}; start it again "
                                "to go on from where it stopped")
            time.sleep(failures)


def fetch_once(archive: Archive, zip_path: Path, have: int, report: Callable[[int], None]) -> None:
    """One request for the bytes from `have` on, appended to zip_path."""
    request = urllib.request.Request(archive.url, headers={"Range": f"bytes={have}-"})
    with urllib.request.urlopen(request, timeout=60) as response:
        # 206: the rest, from where it was asked for. Anything else is the whole file again.
        goes_on = (response.status == 206
                   and response.headers.get("Content-Range", "").startswith(f"bytes {have}-"))
        done = have if goes_on else 0
        with open(zip_path, "ab" if goes_on else "wb") as file:
            while block := response.read(1 << 20):
                file.write(block)
                done += len(block)
                report(done)
                if done > archive.size:
                    break  # not the file that was asked for: the check says so


def check_archive(archive: Archive, zip_path: Path) -> None:
    """Raise DataError, and remove the file, unless it is the archive to the last bit."""
    sha256 = hashlib.sha256()
    with open(zip_path, "rb") as file:
        while block := file.read(1 << 20):
            sha256.update(block)
    digest = sha256.hexdigest()
    size = zip_path.stat().st_size
    if (size, digest) != (archive.size, archive.sha256):
        zip_path.unlink()
        raise DataError(f"{archive.url} gave another file than expected ({size} bytes, sha256 "
                        f"{digest[:8]}… instead of {archive.sha256[:8]}…); it was removed, start "
                        "again")


def unpack(zip_path: Path, folder: Path) -> None:
    """Unpack all of the archive into a new `folder`; refuse one with paths that lead out of it."""
    folder.mkdir()
    with zipfile.ZipFile(zip_path) as archive:
        members = archive.infolist()
        for member in members:
            if not (folder / member.filename).resolve().is_relative_to(folder.resolve()):
                raise DataError(f"the archive is refused: {member.filename!r} leads out of its "
                                "folder")
        with progress_bar("unpacking", len(members)) as advance:
            for member in members:
                archive.extract(member, folder)
                advance()


def main(argv: list[str]) -> None:
    if argv[1:]:
        sys.exit(f"data.py takes flags only, not {argv[1]!r}: see python data.py --help")
    sys.stdout.reconfigure(errors="backslashreplace")  # a file's name need not be Unicode
    try:
        if DOWNLOAD.value:
            print(f"the photographs are in {download(PHOTOGRAPHS, Path(DATA_DIR.value))}")
        typed = not flags.FLAGS["data_dir"].using_default_value
        folder, pictures = choose_pictures(DATA_DIR.value, typed)
        if folder != Path(DATA_DIR.value):
            print(f"no photographs in {DATA_DIR.value}/: this is the bundled sample")
        print_census(folder, pictures, SAMPLE_COUNT.value)
    except DataError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    SAMPLE_COUNT = flags.DEFINE_integer(
        "sample", 1000, "how many pictures the census looks at", lower_bound=1)
    DOWNLOAD = flags.DEFINE_bool(
        "download", False, "first get the 25,000 photographs into --data_dir")
    app.run(main)
