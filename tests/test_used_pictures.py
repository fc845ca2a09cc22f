"""pictures.jsonl: which picture was for what, and what is no longer as it was."""

import json

import numpy as np
import PIL
import pytest

import data
from conftest import write_config
from support import run_folder, used_pictures
from support.class_folders import LabeledImage, Source
from support.cli import UserError
from support.settings import Config

RNG = np.random.default_rng(5)
SAVED = [{"file": "a.jpg", "part": "training", "digest": "1" * 16},
         {"file": "b/c.jpg", "part": "validation", "digest": "2" * 16},
         {"file": "d.jpg", "reason": "empty file"}, {"file": "e.jpg"}]


@pytest.fixture
def source(tmp_path):
    return Source(tmp_path, [LabeledImage(tmp_path / record["file"], 1) for record in SAVED],
                  ("cat", "dog"))


def test_the_digest_differs_with_the_pixels_only():
    image = RNG.integers(0, 256, (4, 6, 3), dtype=np.uint8)
    other = image.copy()
    other[3, 5, 2] ^= 1
    assert used_pictures.digest(image) == used_pictures.digest(np.asfortranarray(image))
    assert len({used_pictures.digest(each) for each in (image, other, image[::-1])}) == 3
    # SHA-256 of 72 zero bytes, by sha256sum
    assert used_pictures.digest(np.zeros((4, 6, 3), np.uint8)) == "834a709ba2534ebe"


def test_every_picture_that_was_found_has_a_line(source, tmp_path):
    images = RNG.integers(0, 256, (2, 4, 6, 3), dtype=np.uint8)
    parts = [data.Part(images[row:row + 1], np.ones(1), [tmp_path / name])
             for row, name in enumerate(("a.jpg", "b/c.jpg"))]
    dataset = data.Dataset(*parts, data.Part(images[:0], np.ones(0), []),
                           [(tmp_path / "d.jpg", "empty file")], None)
    records = used_pictures.records_of(dataset, source)
    assert records == [record | ({"digest": used_pictures.digest(images[row])} if row < 2 else {})
                       for row, record in enumerate(SAVED)]
    run_folder.write_records(tmp_path / "pictures.jsonl", records)
    assert used_pictures.read(tmp_path) == records
    assert used_pictures.parts_by_digest(tmp_path, "validation", "test") == {
        records[1]["digest"]: "validation"}
    assert used_pictures.parts_by_digest(tmp_path / "none", "test") is None


@pytest.mark.parametrize("damage", ["", "[]", "{}", '{"file": 3}', '{"file": "a", "part": "test"}'])
def test_a_damaged_record_is_told(tmp_path, damage):
    (tmp_path / "pictures.jsonl").write_text(json.dumps(SAVED[0]) + "\n" + damage + "\n")
    if damage:
        with pytest.raises(UserError, match="is damaged: its pictures.jsonl is not what train.py"):
            used_pictures.read(tmp_path)


@pytest.fixture
def run(tmp_path):
    """A run that was started with SAVED."""
    folder = tmp_path / "run"
    folder.mkdir()
    write_config(folder, Config(arch="conv1"))
    run_folder.write_records(folder / "pictures.jsonl", SAVED)
    return folder


def test_files_that_vanished_and_appeared_are_named(run, source, tmp_path):
    used_pictures.check(run, used_pictures.names_in(source), tmp_path)
    images = [image for image in source.images if image.path.name != "c.jpg"]
    images += [LabeledImage(tmp_path / f"new{number}.jpg", 0) for number in range(5)]
    with pytest.raises(UserError) as refused:
        used_pictures.check(run, used_pictures.names_in(source._replace(images=images)), tmp_path)
    assert str(refused.value) == (
        f"the pictures in {tmp_path} are not those it was started with: b/c.jpg vanished; "
        "new0.jpg, new1.jpg, new2.jpg and 2 others appeared; put them back, and take out what was "
        "added")


def changed(number: int, record: dict) -> list[dict]:
    return [record if row == number else old for row, old in enumerate(SAVED)]


OTHER = {"file": "a.jpg", "part": "training", "digest": "3" * 16}


@pytest.mark.parametrize("now, told", [
    (changed(0, OTHER), "a.jpg changed; put"),
    (changed(1, {"file": "b/c.jpg", "reason": "not an image"}),
     "b/c.jpg (not an image) cannot be read; put"),
    (changed(2, {"file": "d.jpg", "part": "training", "digest": "4" * 16}),
     "d.jpg changed; put")])
def test_pictures_that_look_otherwise_are_named(now, told, run, tmp_path):
    with pytest.raises(UserError, match="are not those it was started with: ") as refused:
        used_pictures.check(run, now, tmp_path)
    assert f"it was started with: {told}" in str(refused.value)


def test_another_pillow_is_named_with_a_way_on(run, tmp_path, monkeypatch):
    before = PIL.__version__
    monkeypatch.setattr(PIL, "__version__", "99.0.0")
    used_pictures.check(run, SAVED, tmp_path)
    with pytest.raises(UserError) as refused:
        used_pictures.check(run, changed(0, OTHER), tmp_path)
    assert str(refused.value) == (
        f"Pillow 99.0.0 decodes a.jpg of {tmp_path} otherwise than Pillow {before}, with which the "
        f"run was started: pip install pillow=={before}, or train a new run")


def test_the_same_pixels_in_two_parts_are_found():
    copy = {"file": "copy.jpg", "part": "test", "digest": "2" * 16}
    assert used_pictures.in_two_parts(SAVED) == []
    assert used_pictures.in_two_parts([copy, *SAVED, OTHER | {"digest": "1" * 16}]) == [
        (SAVED[1], copy)]
