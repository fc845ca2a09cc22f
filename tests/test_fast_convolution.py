"""support/fast_convolution.py: the numbers of tf.nn.conv2d and of its gradients."""

from pathlib import Path

import numpy as np
import pytest

import needs
from support import fast_convolution
from support.tensorflow_setup import tf


@pytest.mark.parametrize("few_places", [0, 300], ids=["a product for each image", "one product"])
@pytest.mark.parametrize("channels, size, stride", [
    (3, 3, 1), (3, 5, 2), (16, 3, 1), (20, 3, 2), (16, 4, 3), (2, 1, 1), (17, 2, 2)])
def test_a_convolutions_gradients_equal_tensorflows_own(channels, size, stride, few_places,
                                                        monkeypatch):
    monkeypatch.setattr(fast_convolution, "FEW_PLACES", few_places)
    generator = np.random.default_rng([channels, size, stride])
    x = tf.constant(generator.normal(size=(3, 10, 11, channels)).astype(np.float32))
    kernel = tf.constant(generator.normal(size=(size, size, channels, 5)).astype(np.float32))

    def value_and_gradients(conv2d):
        with tf.GradientTape() as tape:
            tape.watch([x, kernel])
            y = conv2d(x, kernel, stride, "VALID")
            value = tf.reduce_sum(tf.sin(y))
        return y, *tape.gradient(value, [x, kernel])

    y, *ours = value_and_gradients(fast_convolution.with_own_gradient)
    expected_y, *theirs = value_and_gradients(tf.nn.conv2d)
    np.testing.assert_array_equal(y, expected_y)
    for gradient, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-4)


def test_a_kernels_gradient_by_hand():
    # One 3x3 image, one 2x2 kernel: each output is weighted by its place in dy.
    x = np.arange(9, dtype=np.float32).reshape(1, 3, 3, 1)
    dy = np.float32([[1, 0], [0, 10]]).reshape(1, 2, 2, 1)
    gradient = fast_convolution.kernel_gradient(tf.constant(x), tf.constant(dy), (2, 2, 1, 1),
                                                stride=1)
    np.testing.assert_array_equal(np.squeeze(gradient), [[0 + 40, 1 + 50], [3 + 70, 4 + 80]])


def test_another_padding_is_an_error():
    x, kernel = tf.Variable(tf.zeros((1, 5, 5, 1))), tf.Variable(tf.zeros((3, 3, 1, 1)))
    with tf.GradientTape() as tape:
        y = fast_convolution.with_own_gradient(x, kernel, 1, "SAME")
    with pytest.raises(tf.errors.InvalidArgumentError):
        tape.gradient(y, kernel)


def chosen(monkeypatch):
    """Which of the two convolutions is called."""
    calls = []
    for module, name in ((fast_convolution, "with_own_gradient"), (tf.nn, "conv2d")):
        monkeypatch.setattr(module, name, lambda *_, name=name: calls.append(name))
    fast_convolution.own_gradient_is_faster.cache_clear()
    fast_convolution.conv2d(None, None, 1, "VALID")
    fast_convolution.own_gradient_is_faster.cache_clear()
    return calls


@pytest.mark.parametrize("extensions, expected", [
    ({"baseline": ["SSE", "SSE2"], "found": ["AVX2", "FMA3"]}, "with_own_gradient"),
    ({"baseline": ["X86_V2"], "found": ["X86_V3"]}, "with_own_gradient"),
    ({"baseline": ["NEON"]}, "with_own_gradient"),
    ({"baseline": ["SSE"], "found": ["AVX2", "AVX512F", "AVX512_SKX"]}, "conv2d"),
    ({"baseline": ["X86_V2"], "found": ["X86_V3", "X86_V4"]}, "conv2d")])
def test_tensorflows_own_is_taken_where_there_is_avx_512(extensions, expected, monkeypatch):
    monkeypatch.setattr(np, "show_config", lambda mode: {"SIMD Extensions": extensions})
    assert chosen(monkeypatch) == [expected]


def test_tensorflows_own_is_taken_on_a_graphics_card_whatever_the_processor(monkeypatch):
    monkeypatch.setattr(np, "show_config", lambda mode: {"SIMD Extensions": {"found": ["AVX2"]}})
    monkeypatch.setattr(tf.config, "list_physical_devices",
                        lambda kind: ["/physical_device:GPU:0"] if kind == "GPU" else [])
    assert chosen(monkeypatch) == ["conv2d"]


@needs.proc
def test_the_processor_is_asked(monkeypatch):
    with_avx512 = " avx512f " in Path("/proc/cpuinfo").read_text()
    assert (chosen(monkeypatch) == ["conv2d"]) == with_avx512
