"""Kernels made by hand: they are the article's, and what their names say."""

import numpy as np

import filters
from support import kernels


def test_edge_filters_are_v_and_h_and_the_same_turned_by_45_degrees():
    by_hand = kernels.edge_filters(3)
    np.testing.assert_array_equal(by_hand["V"] + np.zeros((3, 3)), filters.V)
    np.testing.assert_array_equal(by_hand["H"] + np.zeros((3, 3)), filters.H)
    np.testing.assert_array_equal(by_hand["\\"], [[-1, -1, 0], [-1, 0, 1], [0, 1, 1]])
    np.testing.assert_array_equal(by_hand["/"], [[0, 1, 1], [-1, 0, 1], [-1, -1, 0]])
    np.testing.assert_array_equal(kernels.edge_filters(4)["V"][:, 0], [-1, -1, 1, 1])


def test_the_presets_are_the_articles_kernels_and_what_their_names_say():
    np.testing.assert_array_equal(kernels.preset_kernels(3)["V"], filters.V)
    np.testing.assert_array_equal(kernels.preset_kernels(3)["H"], filters.H)
    for size in (3, 5):
        presets = kernels.preset_kernels(size)
        sums = {name: kernel.sum() for name, kernel in presets.items()}
        assert {name for name, total in sums.items() if total == 1} == {
            "identity", "blur", "sharpen", "emboss"}  # a flat area stays as bright as it was
        assert {name for name, total in sums.items() if total == 0} == {
            "V", "H", "diagonal \\", "diagonal /", "outline"}
        assert all(kernel.shape == (size, size) for kernel in presets.values())
