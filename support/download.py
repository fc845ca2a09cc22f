"""The archive of the photographs: downloaded, also in several attempts, checked and unpacked."""

import hashlib
import http.client
import mmap
import shutil
import sys
import time
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from rich import progress

from support import class_folders, image_files
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


def download_photographs(data_dir: Path) -> Path:
    """Get the 25,000 photographs; returns their folder. Raises UserError as download does."""
    there = (data_dir / PHOTOGRAPHS.folder).exists()  # download refuses to write over them
    if not there and data_dir.is_dir() and class_folders.labeled_images(data_dir):
        raise UserError(f"{data_dir} holds other pictures, which would be taken instead of the "
                        "photographs: use another --data_dir")
    return download(PHOTOGRAPHS, data_dir)


def download(archive: Archive, data_dir: Path) -> Path:
    """Get the archive and unpack its images; returns their folder, data_dir/archive.folder.

    The images appear under that name only when all of them are there. Until then the work is in
    data_dir/.download/: an interrupted download is resumed from there when it is started again.
    Raises UserError with what went wrong and what to do.
    """
    target = data_dir / archive.folder
    if target.exists():
        raise UserError(f"{target} exists: nothing to download; remove it to download it again")
    work = data_dir / ".download"
    zip_path, unpacked = work / "archive.zip", work / "unpacked"
    try:
        work.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(unpacked, ignore_errors=True)  # a half-unpacked one
        zip_path.touch()
        fetch(archive, zip_path)
        check_archive(archive, zip_path)
        unpack(zip_path, unpacked)
        (unpacked / archive.folder).rename(target)
        shutil.rmtree(work)
    except OSError as error:
        raise UserError(f"{error.filename or data_dir}: {error.strerror or error}; run the command "
                        "again to resume") from error
    return target


def fetch(archive: Archive, zip_path: Path) -> None:
    """Append to zip_path what is missing of the archive. A lost connection is tried again."""
    failures = 0
    with progress.Progress(progress.BarColumn(), progress.DownloadColumn(),
                           progress.TransferSpeedColumn(), progress.TimeRemainingColumn(),
                           disable=not sys.stdout.isatty()) as bar:
        task = bar.add_task("download", total=archive.size)
        while (have := zip_path.stat().st_size) < archive.size:
            try:
                fetch_once(archive, zip_path, have, lambda done: bar.update(task, completed=done))
                problem = "the connection ended early"
            except (OSError, http.client.HTTPException) as error:
                if getattr(error, "filename", None):  # the disk, or an error code of the server
                    raise
                problem = str(getattr(error, "reason", error)) or type(error).__name__
            failures = 0 if zip_path.stat().st_size > have else failures + 1
            if failures == 3:
                raise UserError(f"{archive.url} cannot be downloaded: {problem}; run the command "
                                "again to resume where it stopped")
            time.sleep(failures)


def fetch_once(archive: Archive, zip_path: Path, have: int, report: Callable[[int], None]) -> None:
    """One request for the bytes from `have` on, appended to zip_path."""
    request = urllib.request.Request(archive.url, headers={"Range": f"bytes={have}-"})
    with urllib.request.urlopen(request, timeout=60) as response:
        # 206: the rest, from where it was asked for. Anything else is the whole file again.
        resumed = (response.status == 206
                   and response.headers.get("Content-Range", "").startswith(f"bytes {have}-"))
        done = have if resumed else 0
        with open(zip_path, "ab" if resumed else "wb") as file:
            while block := response.read(1 << 20):
                file.write(block)
                done += len(block)
                report(done)
                if done > archive.size:
                    break  # not the file that was asked for: the check says so


def check_archive(archive: Archive, zip_path: Path) -> None:
    """Raise UserError, and remove the file, unless it is the archive to the last bit."""
    with open(zip_path, "rb") as file:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            digest = hashlib.sha256(content).hexdigest()
    if digest != archive.sha256:
        zip_path.unlink()
        raise UserError(f"{archive.url} is not the file that was expected (sha256 {digest[:8]}… "
                        f"instead of {archive.sha256[:8]}…); it was removed, run the command again")


def unpack(zip_path: Path, folder: Path) -> None:
    """Unpack all of the archive into a new `folder`; zipfile lets no path lead out of it."""
    folder.mkdir()
    with zipfile.ZipFile(zip_path) as archive:
        members = archive.infolist()
        with image_files.progress_bar("unpacking", len(members)) as advance:
            for member in members:
                archive.extract(member, folder)
                advance()
