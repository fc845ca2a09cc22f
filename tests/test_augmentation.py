"""Augmented images against the same images mirrored, moved and enlarged by NumPy."""

import numpy as np
import pytest

from support.augmentation import augment

GENERATOR = np.random.default_rng(0)


def shifted_by_hand(image, down, right, mirrored):
    """The picture with its edges drawn out, cut out elsewhere; mirrored first."""
    image = image[:, ::-1] if mirrored else image
    height, width, _ = image.shape
    wide = np.pad(image, ((9, 9), (9, 9), (0, 0)), mode="edge")
    return wide[9 - down:9 - down + height, 9 - right:9 - right + width]


@pytest.mark.parametrize("flip, shift", [(True, 0), (False, 3), (True, 3)])
def test_augmented_pictures_are_the_pictures_mirrored_and_moved(flip, shift):
    images = GENERATOR.integers(0, 256, (60, 10, 12, 3), dtype=np.uint8)
    moves = [(down, right, mirrored) for down in range(-shift, shift + 1)
             for right in range(-shift, shift + 1) for mirrored in {False, flip}]
    seen = set()
    augmented = augment(images, (1, 2), flip, shift, 0.0).numpy()
    assert augmented.dtype == np.uint8
    for image, result in zip(images, augmented, strict=True):
        found = [move for move in moves if (shifted_by_hand(image, *move) == result).all()]
        assert len(found) == 1
        seen.add(found[0])
    parts = zip(*seen, strict=True)
    for part, possible in zip(parts, zip(*moves, strict=True), strict=True):  # all moves occur
        assert set(part) == set(possible)


def test_a_zoomed_picture_is_fetched_from_nearer_to_its_middle_or_further():
    height, width, zoom = 41, 61, 0.5
    picture = np.zeros((height, width, 3), np.uint8)  # every pixel tells its row and its column
    picture[..., 0], picture[..., 1] = np.arange(height)[:, None], np.arange(width)
    factors = []
    for result in augment(np.stack([picture] * 60), (1, 2), False, 0, zoom).numpy():
        rows, columns = result[:, 0, 0].astype(float), result[0, :, 1].astype(float)
        np.testing.assert_array_equal(result[..., 0], np.repeat(rows[:, None], width, axis=1))
        np.testing.assert_array_equal(result[..., 1], np.repeat(columns[None], height, axis=0))
        # Halfway between the middle and an edge nothing is cut off, unless it is very small.
        factors.append(20 / (columns[40] - columns[20]))
        for fetched in (rows, columns):
            middle = (len(fetched) - 1) / 2
            wanted = middle + (np.arange(len(fetched)) - middle) / factors[-1]
            np.testing.assert_allclose(fetched, wanted.clip(0, 2 * middle), atol=2)
    assert 1 / 1.6 < min(factors) < 0.75 and 1.35 < max(factors) < 1.6


def test_augmentation_follows_from_its_seed():
    images = GENERATOR.integers(0, 256, (8, 10, 12, 3), dtype=np.uint8)
    first = augment(images, (1, 2), True, 3, 0.5).numpy()
    np.testing.assert_array_equal(augment(images, (1, 2), True, 3, 0.5), first)
    assert (augment(images, (1, 3), True, 3, 0.5).numpy() != first).any()
