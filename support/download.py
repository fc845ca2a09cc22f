"""The archive of the photographs: downloaded, also in several attempts, checked and unpacked."""

import hashlib
import http.client
import mmap
import shutil
import sys
import urllib.request
import zipfile
from pathlib import Path
from typing import NamedTuple

from rich import progress

from support import class_folders
from support.cli import UserError


class Archive(NamedTuple):
    """A zip file of images: where it is, and what it must be once it is here."""

    url: str
    size: int  # in bytes
    sha256: str
    folder: str  # the folder in it that holds the images


PHOTOGRAPHS = Archive(
    url="https://download.microsoft.com/download/3/E/1/3E1C3F21-ECDB-4869-8368-6DEBA77B919F/"
        "kagglecatsanddogs_5340.zip",
    size=824_887_076,
    sha256="b7974bd00a84a99921f36ee4403f089853777b5ae8d151c76a86e64900334af9",
    folder="PetImages")


def download(archive: Archive, data_dir: Path) -> Path:
    """Get the archive and unpack its images; returns their folder, data_dir/archive.folder.

    The images appear under that name only when all of them are there. Until then the work is in
    data_dir/.download/: an interrupted download is resumed from there when it is started again.
    Raises UserError with what went wrong and what to do.
    """
    target = data_dir / archive.folder
    if target.exists():
        raise UserError(f"{target} exists: nothing to download; remove it to download it again")
    if data_dir.is_dir() and class_folders.labeled_images(data_dir):
        raise UserError(f"{data_dir} holds other pictures, which would be taken instead of the "
                        "photographs: use another --data_dir")
    work = data_dir / ".download"
    zip_path, unpacked = work / "archive.zip", work / "unpacked"
    try:
        work.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(unpacked, ignore_errors=True)  # a half-unpacked one
        zip_path.touch()
        fetch(archive, zip_path)
        check_archive(archive, zip_path)
        with zipfile.ZipFile(zip_path) as file:
            file.extractall(unpacked)  # it lets no path lead out of it
        (unpacked / archive.folder).rename(target)
        shutil.rmtree(work)
    except (OSError, http.client.HTTPException) as error:
        # The disk's errors, and the server's error codes, have a name; the connection's have none.
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{getattr(error, 'filename', None) or archive.url}: {reason}; run the "
                        "command again to resume where it stopped") from error
    return target


def fetch(archive: Archive, zip_path: Path) -> None:
    """Append to zip_path what is missing of the archive. Raises what the connection raises."""
    have = zip_path.stat().st_size
    if have >= archive.size:
        return
    request = urllib.request.Request(archive.url, headers={"Range": f"bytes={have}-"})
    with (urllib.request.urlopen(request, timeout=60) as response, open(zip_path, "ab") as file,
          progress.Progress(progress.BarColumn(), progress.DownloadColumn(),
                            progress.TransferSpeedColumn(), progress.TimeRemainingColumn(),
                            disable=not sys.stdout.isatty()) as bar):
        if not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            file.truncate(have := 0)  # what comes is the whole file again
        task = bar.add_task("download", total=archive.size, completed=have)
        # More than was promised is not the file that was asked for: the check says so.
        while have <= archive.size and (block := response.read(1 << 20)):
            have += file.write(block)
            bar.update(task, completed=have)
    if have < archive.size:
        raise ConnectionError("the connection ended early")


def check_archive(archive: Archive, zip_path: Path) -> None:
    """Raise UserError, and remove the file, unless it is the archive to the last bit."""
    with open(zip_path, "rb") as file:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            digest = hashlib.sha256(content).hexdigest()
    if digest != archive.sha256:
        zip_path.unlink()
        raise UserError(f"{archive.url} is not the file that was expected (sha256 {digest[:8]}… "
                        f"instead of {archive.sha256[:8]}…); it was removed, run the command again")
