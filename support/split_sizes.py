"""How many images of each class to train on, to validate on and to test on."""

import math
from collections.abc import Collection, Sequence
from pathlib import Path

from support.class_folders import Source
from support.cli import UserError
from support.settings import Config

TRAIN_SIZE, VALID_SIZE = 4096, 1024  # the article's


def choose_sizes(available: int, train_size: int | None, valid_size: int | None,
                 test_size: int = 0, smaller_class: str = "", whole: Collection[str] = (),
                 skipped: Sequence[tuple[Path, str]] = ()) -> tuple[int, int, int]:
    """How many images of each class to train on, to validate on and to test on.

    available: how many there are of the smaller class, whose name the error gives. train_size,
    valid_size: both classes together, as the user set them, or None for the article's 4096 and
    1024, which shrink in their proportion to what the test leaves. whole: the parts, "valid" and
    "test", that have images of their own. skipped: what cannot be read and why, for the error.
    Raises UserError for sizes that cannot be met.
    """
    sizes = {"train_size": train_size, "valid_size": valid_size, "test_size": test_size}
    for flag, size in sizes.items():
        least = 0 if flag == "test_size" else 2
        if size is not None and (size < least or size % 2):
            raise UserError(f"--{flag}={size} must be an even number of at least {least}: half of "
                            "each class")
    left = available - test_size // 2
    if "valid" in whole:
        valid = 0
    elif valid_size:
        valid = valid_size // 2
    else:  # what training leaves, or a fifth, rounded up
        valid = min(VALID_SIZE // 2, left - train_size // 2 if train_size else
                    math.ceil(left * VALID_SIZE / (TRAIN_SIZE + VALID_SIZE)))
    train = train_size // 2 if train_size else min(TRAIN_SIZE // 2, left - valid)
    if train < 1 or (valid < 1 and "valid" not in whole) or train + valid > left:
        asked_for = [f"--{flag}={size}" for flag, size in sizes.items() if size]
        reason = f" (there are no more of {smaller_class})" if smaller_class else ""
        raise UserError(
            f"{' and '.join(asked_for) or 'training'} needs more pictures than there are: "
            f"{available} of each class can be used{reason}, {2 * available} in all parts together"
            + "".join(f"; {path} cannot be read ({why})" for path, why in skipped[:3]))
    return train, valid, test_size // 2


def with_sizes(source: Source, config: Config) -> Source:
    """The source with the sizes that the settings ask for.

    Raises UserError as choose_sizes does, and for the size of a part that has its own folder.
    """
    for part, own in source.whole.items():
        size = getattr(config, f"{part}_size")
        if size:
            raise UserError(f"--{part}_size={size} contradicts {own.folder}, which is that part, "
                            "whole: leave the flag out, or give the folder another name")
    available, smaller_class = min(zip(source.counts(), source.class_names, strict=True))
    if source.counts() == (available, available):
        smaller_class = ""
    return source._replace(sizes=choose_sizes(available, config.train_size, config.valid_size,
                                              config.test_size, smaller_class, source.whole))
