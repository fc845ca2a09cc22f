"""Image files: any of them to upright RGB, many of them in threads, and a bar that shows how far.

    for path, image in zip(paths, image_files.in_threads(image_files.read, paths)):
        ...              # a Pillow image, or an image_files.Skipped that says why there is none
"""

import contextlib
import os
import re
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps
from rich import progress
from rich.console import Console

from support import machine
from support.cli import UserError

Image.preinit()  # JPEG, PNG and their like, which stay the first that a file is tried as
Image.init()     # all others
# What Pillow decodes by itself: not vector graphics, which take Ghostscript or Windows (EPS, WMF),
# films (MPEG) and measurements (BUFR, GRIB, HDF5). A camera's MPO is a JPEG of several images.
FORMATS = Image.OPEN.keys() - {"EPS", "WMF", "MPEG", "BUFR", "GRIB", "HDF5"}
ENDINGS = {ending for ending, name in Image.EXTENSION.items() if name in FORMATS | {"MPO"}}
# What systems and programs leave beside people's files.
HIDDEN = re.compile(r"\..*|@eadir|@tmp|[@#]recycle|#snapshot|\$recycle\.bin|__macosx|__pycache__|"
                    r"lost\+found|system volume information|thumbs\.db|desktop\.ini", re.IGNORECASE)


class Skipped(NamedTuple):
    """A file that could not be decoded, and why."""

    path: Path
    reason: str


def is_hidden(name: str) -> bool:
    """Whether nobody means a file or a folder of this name: ._cat.0.jpg of macOS, .Trash-1000."""
    return bool(HIDDEN.fullmatch(name))


def images_among(paths: Iterable[Path]) -> list[Path]:
    """The images among these, by their names, without what is hidden."""
    return [path for path in paths if path.suffix.lower() in ENDINGS
            and not is_hidden(path.name)
            and (os.path.isfile(path) or not os.path.exists(path))]  # nor a folder or a pipe


def count_endings(paths: Iterable[Path]) -> list[str]:
    """["1 .heic", "2 .txt"], without what is hidden."""
    counts = Counter("folder(s)" if path.is_dir() else path.suffix.lower() or "without ending"
                     for path in paths if not is_hidden(path.name))
    return [f"{count} {name}" for name, count in sorted(counts.items())]


# ---------------------------------------------------------------------------------------------
# One file
# ---------------------------------------------------------------------------------------------

def read(path: Path, at_least: tuple[int, int] | None = None) -> Image.Image:
    """Any image file as an upright RGB image.

    at_least: (width, height) that suffice. A large JPEG is then decoded at a half, a quarter or an
    eighth of its size, which takes less time. Raises whatever the decoder raises for a file that
    it cannot decode, and Pillow's DecompressionBombError for more than 179 million pixels.
    """
    with Image.open(path) as image:
        if at_least:
            with contextlib.suppress(Exception):  # a damaged EXIF block must not cost the image
                if image.getexif().get(0x0112) in (5, 6, 7, 8):  # stored turned by 90 degrees
                    at_least = at_least[::-1]
            image.draft(None, at_least)
        image.load()
        with contextlib.suppress(Exception):  # here neither
            ImageOps.exif_transpose(image, in_place=True)
        return to_rgb(image)


def read_checked(path: Path) -> Image.Image:
    """The image of --image=path at full size. Raises UserError for a file that is none."""
    try:
        return read(path)
    except Exception as error:  # a broken file can make a decoder raise nearly anything
        raise UserError(f"--image={path}: {why_unreadable(path, error)}") from error


def to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow image as RGB: 16 bits scaled down to 8, what is transparent shown on white."""
    if image.mode[0] in "IF":  # of more than 8 bits, which convert() would clip at 255
        pixels = np.asarray(image)
        if image.mode == "F" or not 0 <= pixels.min() <= pixels.max() < 2 ** 16:
            raise ValueError("32 bits a pixel: save it with 8 or 16")  # which number is white?
        image = Image.fromarray((pixels // 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")


def why_unreadable(path: Path, error: Exception) -> str:
    """What Pillow or the file system said of a file, as one phrase."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if path.exists() and path.stat().st_size == 0:
        return "empty file"
    if isinstance(error, Image.UnidentifiedImageError):
        return "not an image"
    return str(error) or type(error).__name__


# ---------------------------------------------------------------------------------------------
# Many files
# ---------------------------------------------------------------------------------------------

AHEAD = 1024


def in_threads(decode: Callable[[Path], Any], paths: list[Path]) -> Iterator[Any]:
    """Yield decode(path) of every path, in order; a Skipped for each path where it raises.

    As many threads as there are cores: Pillow decodes without holding Python's lock. Each takes
    eight paths at a time, for the lock changes hands whenever a result is delivered. While the
    caller works on the results the next ones are decoded, but never more than AHEAD.
    """
    def attempt(some: list[Path]) -> list[Any]:
        results = []
        for path in some:
            try:
                results.append(decode(path))
            except Exception as error:  # a broken file can make a decoder raise nearly anything
                results.append(Skipped(path, why_unreadable(path, error)))
        return results

    with ThreadPoolExecutor(machine.cores()) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # decoders warn of oddities that do no harm
        eights = [paths[start:start + 8] for start in range(0, len(paths), 8)]
        for first in range(0, len(eights), AHEAD // 8):
            # On Ctrl-C map cancels what has not begun: only the images at hand are waited for.
            yield from chain.from_iterable(pool.map(attempt, eights[first:first + AHEAD // 8]))


@contextlib.contextmanager
def progress_bar(description: str, total: int) -> Iterator[Callable[..., None]]:
    """A bar with the time that is left, on stderr and only if that is a terminal.

    Yields the function that advances it by a number of images, 1 unless told otherwise. What is
    printed meanwhile appears above the bar.
    """
    with progress.Progress(console=Console(stderr=True), transient=True,
                           disable=not sys.stderr.isatty(),
                           redirect_stdout=sys.stdout.isatty()) as bar:
        task = bar.add_task(description, total=total)
        yield lambda count=1: bar.advance(task, count)


def track(batches: list, description: str) -> Iterator:
    """Yield the batches, while a bar shows how many of their images are done."""
    with progress_bar(description, sum(map(len, batches))) as advance:
        for batch in batches:
            yield batch
            advance(len(batch))
