"""Layers and networks against Keras with the same weights, NumPy, and arithmetic by hand."""

import models
import numpy as np
import pytest
import tensorflow as tf

PICTURES = np.random.default_rng(0).integers(0, 256, (3, 94, 125, 3), dtype=np.uint8)

# Of the article's networks (94x125x3 in), by hand: the stack before "flatten", weights, and
# multiply-adds. 3x3 valid: -2; 2x2 pooling: //2. So 94x125 -> 92x123 -> 46x61 -> 44x59 -> 22x29.
BY_HAND = {
    "mlp": (94 * 125 * 3 * 512 + 512 + 512 + 1,
            94 * 125 * 3 * 512 + 512),
    "conv1": ((27 + 1) * 24 + (46 * 61 * 24 + 1) * 128 + 129 * 128 + 129,
              92 * 123 * 27 * 24 + 46 * 61 * 24 * 128 + 128 * 128 + 128),
    "conv2_48": ((27 + 1) * 48 + (432 + 1) * 48 + (22 * 29 * 48 + 1) * 256 + 257 * 256 + 257,
                 92 * 123 * 27 * 48 + 44 * 59 * 432 * 48 + 22 * 29 * 48 * 256 + 256 * 256 + 256),
    "conv2_128": (28 * 128 + (1152 + 1) * 128 + (22 * 29 * 128 + 1) * 256 + 257 * 256 + 257,
                  92 * 123 * 27 * 128 + 44 * 59 * 1152 * 128 + 22 * 29 * 128 * 256
                  + 256 * 256 + 256),
    "conv2_fc512": (28 * 64 + (576 + 1) * 128 + (22 * 29 * 128 + 1) * 512 + 513 * 512 + 513,
                    92 * 123 * 27 * 64 + 44 * 59 * 576 * 128 + 22 * 29 * 128 * 512
                    + 512 * 512 + 512),
}


def weights_in_keras_order(network: models.Network) -> list[tf.Variable]:
    """Kernel, bias, kernel, bias … from the first layer to the last."""
    return [getattr(layer, name) for layer in network.layers for name in ("kernel", "bias")
            if hasattr(layer, name)]


def keras_twin(network: models.Network, pooling="max") -> tf.keras.Model:
    """The same network built of Keras layers, with the same weights; biases other than 0 first."""
    for weight in weights_in_keras_order(network):
        if weight.shape.rank == 1:
            weight.assign(tf.random.stateless_normal(weight.shape, (0, 0)))
    architecture = models.ARCHITECTURES[network.name]
    first = [layer for layer in network.layers if isinstance(layer, models.Conv2D)]
    stack = [tf.keras.Input((*network.input_size, 3))]
    for filters, layer in zip(architecture.filters, first):
        stack.append(tf.keras.layers.Conv2D(filters, layer.kernel.shape[0], layer.stride,
                                            activation="relu"))
        if pooling != "none":
            stack.append({"max": tf.keras.layers.MaxPooling2D,
                          "average": tf.keras.layers.AveragePooling2D}[pooling](pool_size=2))
    stack.append(tf.keras.layers.Flatten())
    stack += [tf.keras.layers.Dense(units, activation="relu") for units in architecture.hidden]
    stack.append(tf.keras.layers.Dense(1))
    twin = tf.keras.Sequential(stack)
    twin.set_weights([weight.numpy() for weight in weights_in_keras_order(network)])
    return twin


@pytest.mark.parametrize("arch", models.ARCHITECTURES)
def test_network_equals_its_keras_twin(arch):
    network = models.Network(arch)
    expected = keras_twin(network)(PICTURES.astype(np.float32))[:, 0]
    # Raw pixels make the logits large: the comparison is relative to their size.
    np.testing.assert_allclose(network(PICTURES), expected, rtol=1e-4,
                               atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("options", [
    {"kernel_size": 5}, {"stride": 2}, {"pooling": "average"}, {"pooling": "none"},
    {"kernel_size": 4, "stride": 3, "pooling": "none"}, {"kernel_size": 1}])
def test_experiments_equal_their_keras_twins(options):
    network = models.Network("conv2_48", (40, 51), **options)
    pictures = PICTURES[:, :40, :51]
    expected = keras_twin(network, options.get("pooling", "max"))(pictures.astype(np.float32))
    np.testing.assert_allclose(network(pictures), expected[:, 0], rtol=1e-4,
                               atol=1e-5 * np.abs(expected).max())


def test_gradients_equal_kerass():
    network = models.Network("conv2_48", (20, 30))
    twin = keras_twin(network)
    pictures = PICTURES[:, :20, :30]
    with tf.GradientTape() as tape:
        ours = tf.reduce_sum(network(pictures) ** 2)
    gradients = {variable.ref(): gradient for variable, gradient in zip(
        network.trainable_variables, tape.gradient(ours, network.trainable_variables))}
    with tf.GradientTape() as tape:
        theirs = tf.reduce_sum(twin(pictures.astype(np.float32)) ** 2)
    expected = tape.gradient(theirs, twin.trainable_variables)
    in_order = [gradients[weight.ref()] for weight in weights_in_keras_order(network)]
    assert len(in_order) == len(expected) == 10
    for gradient, other in zip(in_order, expected):
        np.testing.assert_allclose(gradient, other, rtol=1e-3,
                                   atol=1e-5 * np.abs(other).max())


@pytest.mark.parametrize("arch", models.ARCHITECTURES)
def test_weights_and_multiply_adds_equal_arithmetic_by_hand(arch):
    network = models.Network(arch)
    weights, multiply_adds = BY_HAND[arch]
    assert network.weight_count == weights
    assert network.multiply_adds == multiply_adds


def test_training_multiplies_three_times_but_for_the_first_layers_input():
    network = models.Network("conv1")
    assert network.training_multiply_adds == 3 * BY_HAND["conv1"][1] - 92 * 123 * 27 * 24


def test_the_articles_stacks_have_these_shapes():
    shapes = [layer.output_shape for layer in models.Network("conv2_fc512").layers]
    assert shapes == [(94, 125, 3), (92, 123, 64), (46, 61, 64), (46, 61, 64), (44, 59, 128),
                      (22, 29, 128), (22, 29, 128), (81664,), (512,), (512,), (1,)]


def test_convolution_equals_numpy():
    layer = models.Conv2D((7, 9, 2), filters=4, kernel_size=3, stride=2, init="glorot", seed=(1, 0))
    x = np.random.default_rng(1).normal(size=(2, 7, 9, 2)).astype(np.float32)
    expected = np.zeros((2, 3, 4, 4))
    for row in range(3):
        for column in range(4):
            window = x[:, 2 * row:2 * row + 3, 2 * column:2 * column + 3]
            expected[:, row, column] = np.einsum("nijc,ijcf->nf", window, layer.kernel.numpy())
    np.testing.assert_allclose(layer(x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("channels, size, stride", [
    (3, 3, 1), (3, 5, 2), (16, 3, 1), (20, 3, 2), (16, 4, 3), (2, 1, 1), (17, 2, 2)])
def test_a_convolutions_gradients_equal_tensorflows_own(channels, size, stride):
    generator = np.random.default_rng([channels, size, stride])
    x = tf.constant(generator.normal(size=(3, 10, 11, channels)).astype(np.float32))
    kernel = tf.constant(generator.normal(size=(size, size, channels, 5)).astype(np.float32))

    def gradients_of(convolve):
        with tf.GradientTape() as tape:
            tape.watch([x, kernel])
            value = tf.reduce_sum(tf.sin(convolve(x, kernel)))
        return tape.gradient(value, [x, kernel])

    ours = gradients_of(lambda x, kernel: models.convolve(x, kernel, stride))
    theirs = gradients_of(lambda x, kernel: tf.nn.conv2d(x, kernel, stride, "VALID"))
    for gradient, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-4)


def test_a_kernels_gradient_by_hand():
    # One 3x3 picture, one 2x2 kernel: each output is weighted by its place in dy.
    x = np.arange(9, dtype=np.float32).reshape(1, 3, 3, 1)
    dy = np.float32([[1, 0], [0, 10]]).reshape(1, 2, 2, 1)
    gradient = models.kernel_gradient(tf.constant(x), tf.constant(dy), (2, 2, 1, 1), stride=1)
    np.testing.assert_array_equal(np.squeeze(gradient), [[0 + 40, 1 + 50], [3 + 70, 4 + 80]])


def test_a_bias_is_added_to_its_channel_and_what_is_negative_becomes_zero():
    layer = models.BiasRelu((2, 1, 3))
    layer.bias.assign([1.0, -1.0, 0.5])
    x = np.float32([[[[0, 0, 0]], [[-2, 2, -0.5]]]])
    np.testing.assert_array_equal(layer(x), [[[[1, 0, 0.5]], [[0, 1, 0]]]])


def test_max_pooling_first_is_the_textbooks_order_to_the_last_digit():
    x = np.random.default_rng(4).normal(size=(3, 9, 8, 16)).astype(np.float32)
    relu, pool = models.BiasRelu((9, 8, 16)), models.Pool((9, 8, 16), "max")
    relu.bias.assign(np.random.default_rng(5).normal(size=16))
    np.testing.assert_array_equal(relu(pool(x)), pool(relu(x)))


@pytest.mark.parametrize("pooling, of_block", [("max", np.max), ("average", np.mean)])
def test_pooling_equals_numpy_and_drops_an_odd_last_row(pooling, of_block):
    x = np.random.default_rng(2).normal(size=(2, 5, 6, 3)).astype(np.float32)
    blocks = x[:, :4].reshape(2, 2, 2, 3, 2, 3)  # (n, rows, 2, columns, 2, channels)
    np.testing.assert_allclose(models.Pool((5, 6, 3), pooling)(x), of_block(blocks, axis=(2, 4)),
                               rtol=1e-6)


def test_dense_equals_a_matrix_product():
    layer = models.Dense((5,), 3, relu=True, init="he", seed=(0, 0))
    layer.bias.assign([-0.1, 0.0, 0.1])
    x = np.random.default_rng(3).normal(size=(4, 5)).astype(np.float32)
    expected = np.maximum(x @ layer.kernel.numpy() + [-0.1, 0.0, 0.1], 0)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-5, atol=1e-6)
    linear = models.Dense((5,), 3, relu=False, init="he", seed=(0, 0))
    np.testing.assert_allclose(linear(x), x @ layer.kernel.numpy(), rtol=1e-5, atol=1e-6)


def test_dropout_leaves_out_a_share_and_keeps_the_mean():
    layer, x = models.Dropout((1000,), 0.3), np.full((50, 1000), 7, np.float32)
    dropped = layer(x, (0, 1)).numpy()
    np.testing.assert_allclose(np.unique(dropped), [0, 7 / 0.7], rtol=1e-6)
    assert np.mean(dropped == 0) == pytest.approx(0.3, abs=0.01)
    np.testing.assert_array_equal(layer(x, (0, 1)), dropped)
    assert (layer(x, (0, 2)).numpy() != dropped).any()
    np.testing.assert_array_equal(layer(x), x)  # outside of training


def test_a_networks_dropouts_draw_differently_and_only_in_training(monkeypatch):
    network = models.Network("conv2_48", (40, 51), init="he", dropout=0.5)
    plain = models.Network("conv2_48", (40, 51), init="he")
    pictures = PICTURES[:, :40, :51]
    np.testing.assert_array_equal(network(pictures), plain(pictures))
    dropouts = [layer for layer in network.layers if layer.name == "dropout"]
    assert len(dropouts) == 2  # before each hidden layer

    seeds = []

    def remember(self, x, seed=None):
        seeds.append(None if seed is None else tuple(np.array(seed)))
        return x

    monkeypatch.setattr(models.Dropout, "__call__", remember)
    for seed in ((0, 1), (0, 2), None):
        network(pictures, seed)
    assert len(set(seeds[:4])) == 4 and seeds[4:] == [None, None]


def test_flatten_lays_pictures_out_row_by_row():
    x = np.arange(24, dtype=np.float32).reshape(2, 2, 3, 2)
    np.testing.assert_array_equal(models.Flatten((2, 3, 2))(x), [range(12), range(12, 24)])


def test_scaling_none_unit_and_standard():
    def scaled(scaling):
        layer = models.Scale((94, 125, 3), scaling)
        layer.measure(PICTURES)
        return layer(PICTURES).numpy()

    np.testing.assert_array_equal(scaled("none"), PICTURES.astype(np.float32))
    np.testing.assert_allclose(scaled("unit"), PICTURES / 255, rtol=1e-6)
    np.testing.assert_allclose(scaled("standard").mean((0, 1, 2)), [0, 0, 0], atol=1e-4)
    np.testing.assert_allclose(scaled("standard").std((0, 1, 2)), [1, 1, 1], rtol=1e-4)


def test_all_black_pictures_can_be_standardised():
    layer = models.Scale((2, 2, 3), "standard")
    layer.measure(np.zeros((3, 2, 2, 3), np.uint8))
    np.testing.assert_array_equal(layer(np.zeros((1, 2, 2, 3), np.uint8)), np.zeros((1, 2, 2, 3)))


@pytest.mark.parametrize("init, variance", [
    ("glorot", 2 / (300 + 200)),  # the mean of 1 / fan_in and 1 / fan_out, as a harmonic one
    ("he", 2 / 300), ("adapted", 2 / 300)])
def test_first_weights_are_uniform_and_have_their_papers_variance(init, variance):
    weights = models.Dense((300,), 200, relu=True, init=init, seed=(0, 1)).kernel.numpy()
    # A uniform distribution's half width is its deviation times sqrt(3).
    assert np.abs(weights).max() <= np.sqrt(3 * variance)
    np.testing.assert_allclose(weights.var(), variance, rtol=0.02)
    np.testing.assert_allclose(weights.mean(), 0, atol=0.001)


@pytest.mark.parametrize("init, initializer", [
    ("glorot", tf.keras.initializers.GlorotUniform), ("he", tf.keras.initializers.HeUniform)])
def test_first_weights_of_a_convolution_are_distributed_as_kerass(init, initializer):
    ours = models.Conv2D((9, 9, 16), 64, 3, 1, init, seed=(0, 1)).kernel.numpy()
    theirs = initializer(seed=0)((3, 3, 16, 64)).numpy()
    np.testing.assert_allclose(ours.std(), theirs.std(), rtol=0.02)
    np.testing.assert_allclose(np.abs(ours).max(), np.abs(theirs).max(), rtol=0.01)


@pytest.mark.parametrize("arch", ["mlp", "conv2_48"])
def test_adapted_first_kernels_sum_to_zero_and_answer_nothing_to_an_even_grey_area(arch):
    network = models.Network(arch, init="adapted")
    kernel = network.kernels[0].numpy()
    np.testing.assert_allclose(kernel.reshape(-1, kernel.shape[-1]).sum(axis=0), 0, atol=1e-4)
    even = np.full((1, 94, 125, 3), 200, np.uint8)
    np.testing.assert_allclose(network(even), [0], atol=0.001)


@pytest.mark.parametrize("arch", ["conv1", "conv2_48"])
@pytest.mark.parametrize("scaling, deviation", [("none", 50), ("unit", 0.2), ("standard", 1)])
def test_adapted_answers_are_a_twentieth_of_those_to_standardised_pixels(arch, scaling, deviation):
    adapted = models.Network(arch, init="adapted", scaling=scaling)
    he = models.Network(arch, init="he", scaling=scaling)
    for network in (adapted, he):  # the same pictures, so many times as large: no rounding to uint8
        network.scale.deviation.assign([50 / deviation] * 3)
    he.kernels[0].assign(he.kernels[0] - tf.reduce_mean(he.kernels[0], (0, 1, 2)))
    np.testing.assert_allclose(adapted(PICTURES) * 20 * deviation, he(PICTURES), rtol=1e-3,
                               atol=1e-4 * np.abs(he(PICTURES)).max())


def test_first_weights_do_not_depend_on_layers_without_weights():
    plain = models.Network("conv2_48")
    for other in (models.Network("conv2_48", dropout=0.5),
                  models.Network("conv2_48", (188, 250), stride=2, pooling="average")):
        for kernel, same in zip(plain.kernels[:2], other.kernels[:2], strict=True):
            np.testing.assert_array_equal(kernel, same)


def test_first_weights_follow_from_seed_and_layer():
    def draw(*seed):
        return models.uniform((4, 4), 1.0, seed).numpy()

    np.testing.assert_array_equal(draw(0, 1), draw(0, 1))
    assert (draw(0, 1) != draw(1, 1)).any() and (draw(0, 1) != draw(0, 2)).any()


@pytest.mark.parametrize("options, reason", [
    (dict(arch="vgg16"), "--arch=vgg16 is none of the networks: mlp, conv1, conv2_48, conv2_128, "
                         "conv2_fc512"),
    (dict(arch="mlp", kernel_size=5), "mlp has no convolution"),
    (dict(arch="mlp", pooling="none"), "mlp has no convolution"),
    (dict(arch="conv2_48", input_size=(7, 40)),
     "3x3 kernels do not fit into the 2x19 that is left"),
    (dict(arch="conv1", kernel_size=95), "95x95 kernels do not fit into the 94x125"),
    (dict(arch="conv1", input_size=(3, 3)), "nothing is left after its last pooling"),
    (dict(arch="conv1", stride=93), "use a larger one, or a smaller --stride"),
])
def test_impossible_networks_are_refused_with_the_reason(options, reason):
    with pytest.raises(ValueError, match=reason):
        models.Network(**options)


@pytest.mark.parametrize("size", ["94", "94x", "x125", "94x125x3", "0x5", "-4x5", "axb", ""])
def test_a_size_that_is_none_is_refused(size):
    with pytest.raises(ValueError, match="is not HEIGHTxWIDTH"):
        models.parse_size(size)


def test_a_size_is_height_first():
    assert models.parse_size("94x125") == (94, 125)
    assert models.parse_size("64X48") == (64, 48)


@pytest.mark.parametrize("arch, filters, hidden, weights", [
    # 12x14 -> 10x12 -> 5x6 with 7 filters of 3x3x3: 210 numbers, to 4 units, to one
    ("conv1", (7,), (4,), 7 * 28 + 4 * 211 + 5),
    ("mlp", None, (5, 3), 5 * (12 * 14 * 3 + 1) + 3 * 6 + 4),
    ("mlp", (7,), (), 7 * 28 + 211),
    ("conv1", (), None, models.Network("mlp", (12, 14), hidden=(128, 128)).weight_count),
])
def test_a_network_may_have_other_filters_and_units(arch, filters, hidden, weights):
    network = models.Network(arch, (12, 14), filters=filters, hidden=hidden)
    assert network.weight_count == weights
    assert network(PICTURES[:2, :12, :14]).shape == (2,)


@pytest.mark.parametrize("text", ["", "64,", "x", "-1", "1.5", "0", "64 128"])
def test_counts_that_are_none_are_refused(text, declines):
    assert "is not a list of numbers above 0: write it like 64,128" in declines(
        models.main, f"--hidden=8,{text}")


def test_with_tta_a_picture_and_its_mirror_image_get_the_mean_of_their_two_answers():
    images = np.random.default_rng(9).integers(0, 256, (5, 12, 14, 3), dtype=np.uint8)
    mirrored = images[:, :, ::-1]
    plain, both = (models.Network("conv1", (12, 14), scaling="unit", seed=3, tta=tta)
                   for tta in (False, True))
    one, other = (1 / (1 + np.exp(-plain(side).numpy())) for side in (images, mirrored))
    np.testing.assert_allclose(plain.probability(images), one, rtol=1e-6)
    assert np.abs(one - other).min() > 1e-4
    for side in (images, mirrored):
        np.testing.assert_allclose(both.probability(side), (one + other) / 2, rtol=1e-6)


def test_models_prints_every_network(run_alone):
    result = run_alone("models.py")
    assert result.returncode == 0 and result.stderr == ""
    for arch, (weights, multiply_adds) in BY_HAND.items():
        assert arch in result.stdout
        assert f"{weights:,}" in result.stdout and f"{multiply_adds:,}" in result.stdout
    assert "…" not in result.stdout  # no column is cut off


def test_models_prints_the_networks_that_the_flags_make(run_script):
    with_filters = run_script("models.py", "--filters=24", "--kernel_size=5").stdout
    assert with_filters.count("90 x 121 x 24") == 5  # the MLP has a convolution now as well
    without = run_script("models.py", "--filters=", "--stride=2")
    assert without.returncode == 0 and "conv " not in without.stdout
