"""data.py --download, against a server of the test's own that can do everything wrong."""

import contextlib
import hashlib
import http.server
import io
import os
import re
import signal
import stat
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import data
import needs
from support import class_folders, download
from support.cli import UserError

ROOT = Path(data.__file__).parent
RNG = np.random.default_rng(0)


def image():
    file = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (9, 12, 3), np.uint8)).save(file, "JPEG")
    return file.getvalue()


# Of the same shape as the archive of the photographs.
MEMBERS = {
    **{f"PetImages/{kind}/{number}.jpg": image()
       for kind in ("Cat", "Dog") for number in range(5)},
    "PetImages/Cat/Thumbs.db": b"what Windows leaves behind",
    "PetImages/Dog/666.jpg": b"",
    "readme.txt": b"about the archive",
}
IMAGES = {name.removeprefix("PetImages/"): content for name, content in MEMBERS.items()
          if name.startswith("PetImages/")}


def zipped(members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


class Server(http.server.ThreadingHTTPServer):
    """Serves `content`. Each request meets the next of `faults`; after them the `usual` one."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = zipped(MEMBERS)
        self.faults, self.usual = [], {}
        self.ranges = []  # of each request: its Range header
        self.closing = threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/archive.zip"

    def archive(self, **changes):
        """What the user is promised to get: the content as it is now."""
        promised = {"url": self.url, "size": len(self.content), "folder": "PetImages",
                    "sha256": hashlib.sha256(self.content).hexdigest()}
        return download.Archive(**{**promised, **changes})

    def handle_error(self, request, client_address):
        pass  # a client that goes away is what some tests are about


class Handler(http.server.BaseHTTPRequestHandler):
    """Faults: status (an error code), silent (no response), no_range, cut (bytes to send before the
    connection closes), stall (bytes to send before nothing more comes), content (another one)."""

    def do_GET(self):
        server = self.server
        fault = server.faults.pop(0) if server.faults else server.usual
        server.ranges.append(self.headers["Range"])
        content = fault.get("content", server.content)
        start = int(re.fullmatch(r"bytes=(\d+)-", self.headers["Range"])[1])
        if fault.get("silent"):
            return
        if fault.get("status"):
            self.send_error(fault["status"])
            return
        if fault.get("no_range"):
            start = 0
            self.send_response(200)
        elif start >= len(content):
            self.send_error(416)
            return
        else:
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:][:fault.get("cut", fault.get("stall"))])
        if "stall" in fault:
            self.wfile.flush()
            self.server.closing.wait(60)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield server
        server.closing.set()
        server.shutdown()
        thread.join()


def heed_ctrl_c():
    """For preexec_fn: where the tests run in the background, what they start ignores Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def tree(folder):
    """Every file under the folder: {name: content}."""
    return {path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*") if path.is_file()}


def assert_complete(data_dir):
    """All of the archive's images are there, and nothing else is."""
    assert tree(data_dir) == {f"PetImages/{name}": content for name, content in IMAGES.items()}
    assert [path.name for path in data_dir.iterdir()] == ["PetImages"]


def assert_nothing_to_train_on(data_dir):
    assert not (data_dir / "PetImages").exists()
    assert not data_dir.exists() or class_folders.labeled_images(data_dir) == []


def zip_path(data_dir):
    return data_dir / ".download/archive.zip"


# ---------------------------------------------------------------------------------------------
# All is well
# ---------------------------------------------------------------------------------------------

def test_the_images_are_downloaded_and_unpacked(server, tmp_path, capsys):
    data_dir = tmp_path / "new/data"
    assert download.download(server.archive(), data_dir) == data_dir / "PetImages"
    assert_complete(data_dir)
    assert server.ranges == ["bytes=0-"]
    assert capsys.readouterr() == ("", "")  # the bars are for terminals


def test_the_downloaded_images_are_found(server, tmp_path):
    download.download(server.archive(), tmp_path)
    found = class_folders.labeled_images(tmp_path)
    assert [(path.parent.name, path.name, label) for path, label in found] == [
        (kind, f"{number}.jpg", label) for number in range(5)
        for kind, label in (("Cat", 1), ("Dog", 0))] + [("Dog", "666.jpg", 0)]


def test_what_else_is_in_the_folder_stays(server, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    download.download(server.archive(), tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["PetImages", "mine.txt"]


# ---------------------------------------------------------------------------------------------
# The connection
# ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("fault", [{"cut": 1000}, {"cut": 1000, "no_range": True}])
def test_after_a_cut_connection_the_next_try_goes_on_where_it_was_cut(server, tmp_path, fault):
    server.faults = [fault]
    with pytest.raises(UserError, match=f"^{server.url}: the connection ended early; run the "
                                        "command again to resume where it stopped$"):
        download.download(server.archive(), tmp_path)
    assert_nothing_to_train_on(tmp_path)
    assert zip_path(tmp_path).read_bytes() == server.content[:1000]
    download.download(server.archive(), tmp_path)
    assert server.ranges == ["bytes=0-", "bytes=1000-"]
    assert_complete(tmp_path)


def test_any_number_of_cuts_is_survived_as_long_as_something_comes(server, tmp_path):
    step = len(server.content) // 10
    server.usual = {"cut": step}
    starts = range(0, len(server.content), step)
    for _ in starts[:-1]:
        with pytest.raises(UserError, match="to resume"):
            download.download(server.archive(), tmp_path)
    download.download(server.archive(), tmp_path)
    assert server.ranges == [f"bytes={start}-" for start in starts]
    assert_complete(tmp_path)


@pytest.mark.parametrize("fault, reason", [({"cut": 0}, "the connection ended early"),
                                           ({"silent": True}, "Remote end closed connection")])
def test_a_connection_that_brings_nothing_loses_nothing(server, tmp_path, fault, reason):
    server.faults = [{"cut": 1000}, fault, fault]
    for told in ("the connection ended early", reason, reason):
        with pytest.raises(UserError, match=f"^{server.url}: .*{told}.*; run the command again to "
                                            "resume where it stopped$"):
            download.download(server.archive(), tmp_path)
        assert_nothing_to_train_on(tmp_path)
        assert zip_path(tmp_path).read_bytes() == server.content[:1000]
    download.download(server.archive(), tmp_path)
    assert server.ranges == ["bytes=0-"] + ["bytes=1000-"] * 3
    assert_complete(tmp_path)


def test_a_server_that_is_not_there_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as gone:
        archive = gone.archive()
    with pytest.raises(UserError, match=f"^{archive.url}: .*refused.*; run the command again"):
        download.download(archive, tmp_path)
    assert_nothing_to_train_on(tmp_path)


def test_a_server_that_knows_no_ranges_starts_again_from_the_beginning(server, tmp_path):
    server.faults = [{"cut": 1000}, {"no_range": True, "cut": 700}, {"no_range": True}]
    for have in (1000, 700):
        with pytest.raises(UserError, match="the connection ended early"):
            download.download(server.archive(), tmp_path)
        assert zip_path(tmp_path).read_bytes() == server.content[:have]
    download.download(server.archive(), tmp_path)
    assert server.ranges == ["bytes=0-", "bytes=1000-", "bytes=700-"]
    assert_complete(tmp_path)


@pytest.mark.parametrize("code, reason", [(404, "Not Found"), (403, "Forbidden"),
                                          (503, "Service Unavailable")])
def test_an_error_code_of_the_server_is_named(server, tmp_path, code, reason):
    server.usual = {"status": code}
    with pytest.raises(UserError, match=f"{server.url}: HTTP Error {code}: {reason}; run the"):
        download.download(server.archive(), tmp_path)
    assert server.ranges == ["bytes=0-"]
    assert_nothing_to_train_on(tmp_path)


def test_an_error_code_does_not_lose_what_was_there(server, tmp_path):
    server.faults = [{"cut": 1000}, {"status": 503}]
    for reason in ("ended early", "503"):
        with pytest.raises(UserError, match=reason):
            download.download(server.archive(), tmp_path)
    download.download(server.archive(), tmp_path)
    assert server.ranges == ["bytes=0-", "bytes=1000-", "bytes=1000-"]
    assert_complete(tmp_path)


# ---------------------------------------------------------------------------------------------
# The wrong file
# ---------------------------------------------------------------------------------------------

def test_wrong_bytes_are_refused_and_removed_and_the_next_try_succeeds(server, tmp_path):
    wrong = bytearray(server.content)
    wrong[len(wrong) // 2] ^= 1
    server.faults = [{"content": bytes(wrong)}]
    with pytest.raises(UserError, match="is not the file that was expected .*sha256.*; it was "
                                        "removed, run the command again"):
        download.download(server.archive(), tmp_path)
    assert_nothing_to_train_on(tmp_path)
    assert tree(tmp_path) == {}
    download.download(server.archive(), tmp_path)
    assert server.ranges == ["bytes=0-", "bytes=0-"]
    assert_complete(tmp_path)


@pytest.mark.parametrize("extra", [1, 3 << 20])
def test_a_file_that_is_too_long_is_refused_and_removed(server, tmp_path, extra):
    archive = server.archive()
    server.usual = {"content": server.content + bytes(extra)}
    with pytest.raises(UserError, match="is not the file that was expected"):
        download.download(archive, tmp_path)
    assert_nothing_to_train_on(tmp_path)
    assert tree(tmp_path) == {}
    server.usual = {}
    download.download(archive, tmp_path)
    assert_complete(tmp_path)


def test_an_endless_file_is_not_written_endlessly(server, tmp_path):
    server.usual = {"content": server.content + bytes(30 << 20)}
    (tmp_path / "archive.zip").touch()
    with contextlib.suppress(UserError):
        download.fetch(server.archive(), tmp_path / "archive.zip")
    assert sum(map(len, tree(tmp_path).values())) < len(server.content) + (2 << 20)


def test_a_file_that_is_too_short_is_refused_and_the_right_one_taken_later(server, tmp_path):
    server.usual = {"content": server.content[:-100]}
    with pytest.raises(UserError, match=server.url):
        download.download(server.archive(), tmp_path)
    assert_nothing_to_train_on(tmp_path)
    server.usual = {}
    download.download(server.archive(), tmp_path)
    assert_complete(tmp_path)


def test_another_file_left_from_before_is_refused_and_then_redone(server, tmp_path):
    zip_path(tmp_path).parent.mkdir()
    for left in (b"<html>please log in</html>", bytes(len(server.content)),
                 bytes(2 * len(server.content))):
        zip_path(tmp_path).write_bytes(left)
        with pytest.raises(UserError, match="is not the file that was expected"):
            download.download(server.archive(), tmp_path)
        assert tree(tmp_path) == {}
    download.download(server.archive(), tmp_path)
    assert_complete(tmp_path)


# ---------------------------------------------------------------------------------------------
# The folder and the disk
# ---------------------------------------------------------------------------------------------

def test_images_that_are_there_are_never_touched(server, tmp_path):
    (tmp_path / "PetImages").mkdir()
    (tmp_path / "PetImages/mine.jpg").write_bytes(b"mine")
    with pytest.raises(UserError, match="PetImages exists: nothing to download; remove it to"):
        download.download(server.archive(), tmp_path)
    assert tree(tmp_path) == {"PetImages/mine.jpg": b"mine"}
    assert [path.name for path in tmp_path.iterdir()] == ["PetImages"]
    assert server.ranges == []


@pytest.mark.parametrize("names", [("cat.0.jpg", "dog.0.jpg"), ("train/cat.0.jpg",)])
def test_other_pictures_in_the_folder_are_an_error(server, tmp_path, names):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(UserError, match=f"{tmp_path} holds other pictures, which would be taken "
                                        "instead of the photographs: use another --data_dir"):
        download.download(server.archive(), tmp_path)
    assert tree(tmp_path) == {name: b"mine" for name in names} and server.ranges == []


def test_a_file_in_place_of_the_folder_is_an_error(server, tmp_path):
    (tmp_path / "data").write_text("mine")
    with pytest.raises(UserError, match=f"{tmp_path}/data.*: (Not a directory|File exists); "
                                        "run the command again to resume"):
        download.download(server.archive(), tmp_path / "data")
    assert tree(tmp_path) == {"data": b"mine"}


def test_a_disk_that_fills_up_is_an_error_and_the_next_try_goes_on(server, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "extractall", full)
        with pytest.raises(UserError, match="No space left on device; run the command again"):
            download.download(server.archive(), tmp_path)
    assert_nothing_to_train_on(tmp_path)
    download.download(server.archive(), tmp_path)
    assert server.ranges == ["bytes=0-"]
    assert_complete(tmp_path)


# ---------------------------------------------------------------------------------------------
# Interrupted
# ---------------------------------------------------------------------------------------------

@needs.sigkill
@pytest.mark.parametrize("stop", ["SIGINT", "SIGKILL"])
def test_a_stopped_process_leaves_no_data_and_the_next_one_goes_on(server, tmp_path, stop):
    large = {**MEMBERS, "PetImages/Cat/Thumbs.db": RNG.bytes(5 << 20)}
    server.content = zipped(large)
    server.faults = [{"stall": 3 << 20}]
    code = ("import pathlib, sys; from support.download import Archive, download; "
            "url, size, sha256, folder, data_dir = sys.argv[1:]; "
            "download(Archive(url, int(size), sha256, folder), pathlib.Path(data_dir))")
    archive = server.archive()
    arguments = [archive.url, str(archive.size), archive.sha256, archive.folder, str(tmp_path)]
    with subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=ROOT,
                          preexec_fn=heed_ctrl_c, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not zip_path(tmp_path).exists() or zip_path(tmp_path).stat().st_size < 1 << 20:
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.01)
        process.send_signal(getattr(signal, stop))
    assert process.returncode != 0
    assert_nothing_to_train_on(tmp_path)
    have = zip_path(tmp_path).read_bytes()
    assert 1 << 20 <= len(have) <= 3 << 20 and server.content.startswith(have)

    download.download(archive, tmp_path)
    assert server.ranges == ["bytes=0-", f"bytes={len(have)}-"]
    assert tree(tmp_path) == {name: content for name, content in large.items()
                              if name.startswith("PetImages/")}


@pytest.mark.parametrize("unpacked", [0, 1, 6])
def test_interrupted_unpacking_leaves_no_data_and_is_redone(server, tmp_path, monkeypatch,
                                                            unpacked):
    def interrupted(archive, folder):
        for member in archive.infolist()[:unpacked]:
            archive.extract(member, folder)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "extractall", interrupted)
        with pytest.raises(KeyboardInterrupt):
            download.download(server.archive(), tmp_path)
    assert len(tree(tmp_path / ".download/unpacked")) == unpacked
    assert_nothing_to_train_on(tmp_path)
    monkeypatch.setattr(class_folders, "DATA", tmp_path)
    folder, labeled_images, *_ = class_folders.choose(None)
    assert folder == class_folders.SAMPLE and len(labeled_images) == 500

    download.download(server.archive(), tmp_path)
    assert server.ranges == ["bytes=0-"]  # the archive was there
    assert_complete(tmp_path)


def test_a_half_unpacked_folder_is_redone_and_not_added_to(server, tmp_path):
    left = tmp_path / ".download/unpacked/PetImages/Cat"
    left.mkdir(parents=True)
    (left / "0.jpg").write_bytes(b"half a pict")
    (left / "99.jpg").write_bytes(b"of another archive")
    assert class_folders.labeled_images(tmp_path) == []
    download.download(server.archive(), tmp_path)
    assert_complete(tmp_path)


# ---------------------------------------------------------------------------------------------
# What is in the archive
# ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("evil", [
    "../evil.txt", "../../evil.txt", "../../../evil.txt", "PetImages/../../evil.txt",
    "PetImages/../../../../evil.txt", "{outside}/evil.txt", "/{outside}/evil.txt",
    "../unpacked2/evil.txt"])
def test_a_path_that_leads_out_of_the_archive_stays_inside(server, tmp_path, evil):
    evil = evil.format(outside=tmp_path)
    server.content = zipped({**MEMBERS, evil: b"evil"})
    data_dir = tmp_path / "some/data"
    download.download(server.archive(), data_dir)
    assert {name for name in tree(tmp_path) if not name.endswith("evil.txt")} == {
        f"some/data/PetImages/{name}" for name in IMAGES}
    assert all(name.startswith("some/data/PetImages/") for name in tree(tmp_path))


def test_a_link_in_the_archive_leads_nowhere(server, tmp_path):
    link = zipfile.ZipInfo("PetImages/link")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    server.content = zipped({**MEMBERS, link: str(tmp_path), "PetImages/link/evil.txt": b"evil"})
    data_dir = tmp_path / "some/data"
    with pytest.raises(UserError):
        download.download(server.archive(), data_dir)
    assert not [path for path in tmp_path.rglob("*") if path.is_symlink()]
    assert not [name for name in tree(tmp_path) if name.endswith("evil.txt")]
    assert_nothing_to_train_on(data_dir)


def test_an_archive_without_the_folder_is_an_error(server, tmp_path):
    with pytest.raises(UserError, match="unpacked/Animals: No such file or directory"):
        download.download(server.archive(folder="Animals"), tmp_path)
    assert_nothing_to_train_on(tmp_path)


# ---------------------------------------------------------------------------------------------
# The command line
# ---------------------------------------------------------------------------------------------

# data.py as it is, but of an archive on the test's server: its own cannot be reached from here.
RUN = """
import runpy, sys, urllib.request
request = urllib.request.Request
urllib.request.Request = lambda url, **options: request({url!r}, **options)
sys.argv, sys.path[0] = ["data.py", "--download"], {root!r}
runpy.run_path({root!r} + "/data.py", run_name="__main__")
"""


def command(server):
    return [sys.executable, "-c", RUN.format(url=server.url, root=str(ROOT))]


def test_the_command_that_fails_prints_one_sentence(server, tmp_path):
    server.usual = {"status": 404}
    result = subprocess.run(command(server), cwd=tmp_path, capture_output=True, text=True,
                            timeout=60)
    assert (result.returncode, result.stdout) == (1, "")
    assert f"{server.url}: HTTP Error 404: Not Found; run the command again" in result.stderr
    assert result.stderr.count("\n") == 1


@needs.sigkill
def test_the_command_that_is_interrupted_ends_quietly(server, tmp_path):
    server.usual = {"stall": 1000}
    with subprocess.Popen(command(server), cwd=tmp_path, preexec_fn=heed_ctrl_c,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while not server.ranges:
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        output = process.communicate()
    assert (process.returncode, output) == (130, (b"", b""))
    assert_nothing_to_train_on(tmp_path / "data")


def test_the_command_does_not_touch_photographs_that_are_there(tmp_path, refuses):
    (tmp_path / "data/PetImages/Cat").mkdir(parents=True)
    assert "PetImages exists: nothing to download" in refuses("data.py", "--download")
    assert os.listdir(tmp_path / "data") == ["PetImages"]
