"""pictures.jsonl: of every picture that a run found, what it was for, and a digest of its pixels.

    {"file": "cats/1.jpg", "part": "training", "digest": "8f0c…"}       or "validation", "test"
    {"file": "cats/2.jpg", "reason": "empty file"}                      cannot be read
    {"file": "cats/3.jpg"}                                              left out

From it a resumed run knows its pictures again, and predict.py --evaluate those that the network was
trained on. The digest is that of the pixels as the network gets them: it recognises a copy, a
renamed file and pixels that were saved anew without loss, unless a large JPEG was decoded at a part
of its size. A JPEG that was made smaller or compressed again is another picture to it.
"""

import hashlib
from collections.abc import Collection
from pathlib import Path

import numpy as np
import PIL

from support import run_folder
from support.cli import UserError

FILE = "pictures.jsonl"
Record = dict[str, str]  # a line of the file


def digest(image: np.ndarray) -> str:
    """Of uint8 (height, width, 3): the first 64 bits of its SHA-256, in hexadecimal."""
    return hashlib.sha256(np.ascontiguousarray(image)).hexdigest()[:16]


def names_in(source) -> list[Record]:
    """The lines for a class_folders.Source of which no image is loaded yet: the names."""
    return [{"file": file.relative_to(source.folder).as_posix()} for file, _ in source.all_images()]


def records_of(dataset, source) -> list[Record]:
    """The lines for a data.Dataset and the class_folders.Source that it was loaded from."""
    parts = {"training": dataset.train, "validation": dataset.valid, "test": dataset.test}
    known = {file: {"part": name, "digest": digest(image)} for name, part in parts.items()
             for file, image in zip(part.files, part.images, strict=True)}
    known |= {file: {"reason": reason} for file, reason in dataset.skipped}
    return [record | known.get(source.folder / record["file"], {}) for record in names_in(source)]


def read(run_dir: Path) -> list[Record]:
    """A run's records. Raises UserError for a file that is missing or damaged."""
    with run_folder.damage_told(run_dir, FILE):
        records = run_folder.read_records(run_dir / FILE)
        for record in records:
            if not (all(isinstance(value, str) for value in (record["file"], *record.values()))
                    and ("part" in record) == ("digest" in record)):
                raise ValueError(f"a line is {record}")
        return records


def parts_by_digest(run_dir: Path, *parts: str) -> dict[str, str] | None:
    """Of each picture in these parts its digest, and which part; None if the run has no record."""
    if not (run_dir / FILE).exists():
        return None
    return {record["digest"]: record["part"] for record in read(run_dir)
            if record.get("part") in parts}


def in_two_parts(records: list[Record]) -> list[tuple[Record, Record]]:
    """Pictures of validation and test, each with one of another part that has the same pixels."""
    first, pairs = {}, []
    for record in sorted(records, key=lambda record: record.get("part") != "training"):
        if "part" in record:
            other = first.setdefault(record["digest"], record)
            if other["part"] != record["part"]:
                pairs.append((record, other))
    return pairs


def check(run_dir: Path, now: list[Record], folder: Path) -> None:
    """Raise UserError, which names files, unless these are the pictures a run was started with.

    now: the records of those in `folder`. If they hold more than names, each picture must also be
    readable, or not, and look as it did then.
    """
    before, after = ({record["file"]: record for record in records}
                     for records in (read(run_dir), now))
    kinds = {"vanished": before.keys() - after.keys(), "appeared": after.keys() - before.keys(),
             "cannot be read": [], "changed": []}
    for name in before.keys() & after.keys():
        old, new = before[name], after[name]
        digests = {old.get("digest"), new.get("digest")} - {None}  # it may have been left out
        if "reason" in new and "reason" not in old:
            kinds["cannot be read"].append(f"{name} ({new['reason']})")
        elif ("reason" in old and "digest" in new) or len(digests) == 2:
            kinds["changed"].append(name)
    told = {kind: some(names) for kind, names in kinds.items() if names}
    pillow = run_folder.read_config(run_dir)["versions"]["pillow"]
    if [*told] == ["changed"] and pillow != PIL.__version__:
        raise UserError(f"Pillow {PIL.__version__} decodes {told['changed']} of {folder} otherwise "
                        f"than Pillow {pillow}, with which the run was started: pip install "
                        f"pillow=={pillow}, or train a new run")
    if told:
        raise UserError(f"the pictures in {folder} are not those it was started with: "
                        + "; ".join(f"{names} {kind}" for kind, names in told.items())
                        + "; put them back, and take out what was added")


def some(names: Collection[str]) -> str:
    """The first three names, and how many others there are."""
    more = f" and {len(names) - 3} others" if len(names) > 3 else ""
    return ", ".join(sorted(names)[:3]) + more
