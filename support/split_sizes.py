"""How many images of each class to train on, to validate on and to test on."""

import math
from collections.abc import Sequence
from pathlib import Path

from support.class_folders import Source
from support.cli import UserError
from support.settings import Config

TRAIN_SIZE, VALID_SIZE = 4096, 1024  # the article's


def with_sizes(source: Source, config: Config, skipped: Sequence[tuple[Path, str]] = ()) -> Source:
    """The source with the sizes that the settings ask for, each for both classes together.

    Those that they leave open are the article's 4096 and 1024, which shrink in their proportion to
    what the test leaves. skipped: what cannot be read and why, for the error. Raises UserError for
    sizes that cannot be met, and for the size of a part that has its own folder.
    """
    sizes = {f"{part}_size": getattr(config, f"{part}_size") for part in ("train", "valid", "test")}
    for flag, size in sizes.items():
        least = 0 if flag == "test_size" else 2
        if size is not None and (size < least or size % 2):
            raise UserError(f"--{flag}={size} must be an even number of at least {least}: half of "
                            "each class")
    for part, own in source.whole.items():
        if size := sizes[f"{part}_size"]:
            raise UserError(f"--{part}_size={size} contradicts {own.folder}, which is that part, "
                            "whole: leave the flag out, or give the folder another name")

    # From here on of each class.
    available, smaller_class = min(zip(source.counts(), source.class_names, strict=True))
    train, valid, test = (size and size // 2 for size in sizes.values())
    left = available - test
    if "valid" in source.whole:
        valid = 0
    elif valid is None:  # what training leaves, or a fifth, rounded up
        valid = min(VALID_SIZE // 2, left - train if train else
                    math.ceil(left * VALID_SIZE / (TRAIN_SIZE + VALID_SIZE)))
    if train is None:
        train = min(TRAIN_SIZE // 2, left - valid)
    if train < 1 or (valid < 1 and "valid" not in source.whole) or train + valid > left:
        asked_for = [f"--{flag}={size}" for flag, size in sizes.items() if size]
        equal = source.counts() == (available, available)
        reason = "" if equal else f" (there are no more of {smaller_class})"
        raise UserError(
            f"{' and '.join(asked_for) or 'training'} needs more pictures than there are: "
            f"{available} of each class can be used{reason}, {2 * available} in all parts together"
            + "".join(f"; {path} cannot be read ({why})" for path, why in skipped[:3]))
    return source._replace(sizes=(train, valid, test))
