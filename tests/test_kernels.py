"""Kernels made by hand: they are the article's, what their names say, and what --kernel says."""

import numpy as np
import pytest

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


@pytest.mark.parametrize("text", ["-1 0 1; -2 0 2; -1 0 1", "-1,0,1;-2,0,2;-1,0,1;"])
def test_a_kernel_is_read_row_by_row(text):
    np.testing.assert_array_equal(kernels.parse_kernel(text), [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])


@pytest.mark.parametrize("text", ["1 2; 3 4", "1 2 3", "1 2; 3", "a b c; d e f; g h i", "",
                                  "1 0 0; 0 nan 0; 0 0 1", ";;;"])
def test_a_kernel_that_is_no_odd_square_of_numbers_is_refused(text):
    with pytest.raises(ValueError, match="is not an odd square of numbers"):
        kernels.parse_kernel(text)


def test_names_tell_kernels_apart():
    assert kernels.name_of(filters.V) == "-1_-1_-1_0_0_0_1_1_1"
    large = kernels.name_of(np.ones((31, 31)))
    assert len(large) < 60 and large != kernels.name_of(np.zeros((31, 31)))
