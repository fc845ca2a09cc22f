"""Layers and networks against Keras with the same weights, NumPy, and arithmetic by hand."""

import json

import numpy as np
import pytest

import models
from conftest import epoch_record, make_network, write_config
from support.cli import UserError
from support.settings import Config
from support.tensorflow_setup import tf

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 94, 125, 3), dtype=np.uint8)

# What the article says of each network.
LAYERS = {
    "mlp": ["Scale", "Flatten", "Dense 512", "Dense 1"],
    "conv1": ["Scale", "Conv2D 24", "MaxPool", "BiasRelu",
              "Flatten", "Dense 128", "Dense 128", "Dense 1"],
    "conv2_48": ["Scale", "Conv2D 48", "MaxPool", "BiasRelu", "Conv2D 48", "MaxPool", "BiasRelu",
                 "Flatten", "Dense 256", "Dense 256", "Dense 1"],
    "conv2_128": ["Scale", "Conv2D 128", "MaxPool", "BiasRelu", "Conv2D 128", "MaxPool",
                  "BiasRelu", "Flatten", "Dense 256", "Dense 256", "Dense 1"],
    "conv2_fc512": ["Scale", "Conv2D 64", "MaxPool", "BiasRelu", "Conv2D 128", "MaxPool",
                    "BiasRelu", "Flatten", "Dense 512", "Dense 512", "Dense 1"],
}
FILTERS_AND_HIDDEN = {
    "mlp": ((), (512,)), "conv1": ((24,), (128, 128)), "conv2_48": ((48, 48), (256, 256)),
    "conv2_128": ((128, 128), (256, 256)), "conv2_fc512": ((64, 128), (512, 512)),
}

# Of the article's networks (94x125x3 in), by hand: their weights and their
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


def built(layer: models.Layer, input_shape: tuple, init="glorot", seed=(0, 0)) -> models.Layer:
    layer.build(input_shape, init, seed)
    return layer


def weights_in_keras_order(network: models.Network) -> list[tf.Variable]:
    """Kernel, bias, kernel, bias … from the first layer to the last."""
    return [getattr(layer, name) for layer in network.layers for name in ("kernel", "bias")
            if hasattr(layer, name)]


def keras_twin(network: models.Network, pooling="max") -> tf.keras.Model:
    """The same network built of Keras layers, with the same weights.

    All biases are given random values before: with zeros, one at a wrong place would not show.
    """
    for weight in weights_in_keras_order(network):
        if weight.shape.rank == 1:
            weight.assign(tf.random.stateless_normal(weight.shape, (0, 0)))
    filters, hidden = FILTERS_AND_HIDDEN[network.name]
    convolutions = [layer for layer in network.layers if isinstance(layer, models.Conv2D)]
    stack = [tf.keras.Input((*network.input_size, 3))]
    for count, layer in zip(filters, convolutions, strict=True):
        stack.append(tf.keras.layers.Conv2D(count, layer.kernel.shape[0], layer.stride,
                                            activation="relu"))
        if pooling != "none":
            stack.append({"max": tf.keras.layers.MaxPooling2D,
                          "average": tf.keras.layers.AveragePooling2D}[pooling](pool_size=2))
    stack.append(tf.keras.layers.Flatten())
    stack += [tf.keras.layers.Dense(units, activation="relu") for units in hidden]
    stack.append(tf.keras.layers.Dense(1))
    twin = tf.keras.Sequential(stack)
    twin.set_weights([weight.numpy() for weight in weights_in_keras_order(network)])
    return twin


@pytest.fixture(scope="module", params=models.NETWORKS)
def article_network(request) -> models.Network:
    """Each in its turn, made once for all tests: the largest has 42 million weights."""
    return make_network(request.param)


def test_each_network_is_the_articles_list_of_layers(article_network):
    arch = article_network.name

    def described(layer):
        size = getattr(layer, "filters", getattr(layer, "units", None))
        return type(layer).__name__ + (f" {size}" if size else "")

    layers = models.layers_of(models.options(arch))
    assert list(map(described, layers)) == LAYERS[arch]
    assert list(map(described, article_network.layers)) == LAYERS[arch]
    assert {(layer.kernel_size, layer.stride) for layer in layers
            if isinstance(layer, models.Conv2D)} <= {(3, 1)}
    # ReLU follows every layer but the last, whose output is the logit.
    assert [layer.relu for layer in layers if isinstance(layer, models.Dense)] == (
        [True] * len(FILTERS_AND_HIDDEN[arch][1]) + [False])


def test_network_equals_its_keras_twin(article_network):
    expected = keras_twin(article_network)(IMAGES.astype(np.float32))[:, 0]
    # Raw pixels make the logits large: the comparison is relative to their size.
    np.testing.assert_allclose(article_network(IMAGES), expected, rtol=1e-4,
                               atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("options", [
    {"kernel_size": 5}, {"stride": 2}, {"pooling": "average"}, {"pooling": "none"},
    {"kernel_size": 4, "stride": 3, "pooling": "none"}, {"kernel_size": 1}])
def test_experiments_equal_their_keras_twins(options):
    network = make_network("conv2_48", (40, 51), **options)
    images = IMAGES[:, :40, :51]
    expected = keras_twin(network, options.get("pooling", "max"))(images.astype(np.float32))
    np.testing.assert_allclose(network(images), expected[:, 0], rtol=1e-4,
                               atol=1e-5 * np.abs(expected).max())


def test_gradients_equal_kerass():
    network = make_network("conv2_48", (20, 30))
    twin = keras_twin(network)
    images = IMAGES[:, :20, :30]
    with tf.GradientTape() as tape:
        ours = tf.reduce_sum(network(images) ** 2)
    gradients = {variable.ref(): gradient for variable, gradient in zip(
        network.trainable_variables, tape.gradient(ours, network.trainable_variables),
        strict=True)}
    with tf.GradientTape() as tape:
        theirs = tf.reduce_sum(twin(images.astype(np.float32)) ** 2)
    expected = tape.gradient(theirs, twin.trainable_variables)
    in_order = [gradients[weight.ref()] for weight in weights_in_keras_order(network)]
    assert len(in_order) == len(expected) == 10
    for gradient, other in zip(in_order, expected, strict=True):
        np.testing.assert_allclose(gradient, other, rtol=1e-3,
                                   atol=1e-5 * np.abs(other).max())


def test_weights_and_multiply_adds_equal_arithmetic_by_hand(article_network):
    assert (article_network.weight_count, article_network.multiply_adds) == (
        BY_HAND[article_network.name])


def test_training_multiplies_three_times_but_for_the_first_layers_input():
    network = make_network("conv1")
    assert network.training_multiply_adds == 3 * BY_HAND["conv1"][1] - 92 * 123 * 27 * 24


@pytest.mark.parametrize("article_network", ["conv2_fc512"], indirect=True)
def test_the_articles_stacks_have_these_shapes(article_network):
    shapes = [layer.output_shape for layer in article_network.layers]
    assert shapes == [(94, 125, 3), (92, 123, 64), (46, 61, 64), (46, 61, 64), (44, 59, 128),
                      (22, 29, 128), (22, 29, 128), (81664,), (512,), (512,), (1,)]


def test_convolution_equals_numpy():
    layer = built(models.Conv2D(4, kernel_size=3, stride=2), (7, 9, 2), seed=(1, 0))
    x = np.random.default_rng(1).normal(size=(2, 7, 9, 2)).astype(np.float32)
    expected = np.zeros((2, 3, 4, 4))
    for row in range(3):
        for column in range(4):
            window = x[:, 2 * row:2 * row + 3, 2 * column:2 * column + 3]
            expected[:, row, column] = np.einsum("nijc,ijcf->nf", window, layer.kernel.numpy())
    np.testing.assert_allclose(layer(x), expected, rtol=1e-5, atol=1e-6)


def test_a_bias_is_added_to_its_channel_and_what_is_negative_becomes_zero():
    layer = built(models.BiasRelu(), (2, 1, 3))
    layer.bias.assign([1.0, -1.0, 0.5])
    x = np.float32([[[[0, 0, 0]], [[-2, 2, -0.5]]]])
    np.testing.assert_array_equal(layer(x), [[[[1, 0, 0.5]], [[0, 1, 0]]]])


def test_max_pooling_first_is_the_textbooks_order_to_the_last_digit():
    x = np.random.default_rng(4).normal(size=(3, 9, 8, 16)).astype(np.float32)
    relu, pool = built(models.BiasRelu(), (9, 8, 16)), models.MaxPool()
    relu.bias.assign(np.random.default_rng(5).normal(size=16))
    np.testing.assert_array_equal(relu(pool(x)), pool(relu(x)))


@pytest.mark.parametrize("pool, of_block", [
    (models.MaxPool(), np.max), (models.AveragePool(), np.mean)])
def test_pooling_equals_numpy_and_drops_an_odd_last_row(pool, of_block):
    x = np.random.default_rng(2).normal(size=(2, 5, 6, 3)).astype(np.float32)
    blocks = x[:, :4].reshape(2, 2, 2, 3, 2, 3)  # (n, rows, 2, columns, 2, channels)
    np.testing.assert_allclose(pool(x), of_block(blocks, axis=(2, 4)), rtol=1e-6)
    assert built(pool, (5, 6, 3)).output_shape == (2, 3, 3)


def test_dense_equals_a_matrix_product():
    layer = built(models.Dense(3), (5,), "he")
    layer.bias.assign([-0.1, 0.0, 0.1])
    x = np.random.default_rng(3).normal(size=(4, 5)).astype(np.float32)
    expected = np.maximum(x @ layer.kernel.numpy() + [-0.1, 0.0, 0.1], 0)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-5, atol=1e-6)
    linear = built(models.Dense(3, relu=False), (5,), "he")
    np.testing.assert_allclose(linear(x), x @ layer.kernel.numpy(), rtol=1e-5, atol=1e-6)


def test_dropout_drops_at_its_rate_and_keeps_the_mean():
    layer, x = models.Dropout(0.3), np.full((50, 1000), 7, np.float32)
    dropped = layer(x, (0, 1)).numpy()
    np.testing.assert_allclose(np.unique(dropped), [0, 7 / 0.7], rtol=1e-6)
    assert np.mean(dropped == 0) == pytest.approx(0.3, abs=0.01)
    np.testing.assert_array_equal(layer(x, (0, 1)), dropped)
    assert (layer(x, (0, 2)).numpy() != dropped).any()


def test_dropout_happens_only_with_training_true():
    network = make_network("conv2_48", (40, 51), init="he", dropout=0.5)
    plain = make_network("conv2_48", (40, 51), init="he")
    images = IMAGES[:, :40, :51]
    expected = plain(images).numpy()
    for logits in (network(images), network(images, training=False, seed=(0, 1))):
        np.testing.assert_array_equal(logits, expected)
    dropped = network(images, training=True, seed=(0, 1)).numpy()
    assert (dropped != expected).all()
    np.testing.assert_array_equal(network(images, training=True, seed=(0, 1)), dropped)
    np.testing.assert_array_equal(plain(images, training=True, seed=(0, 1)), expected)
    np.testing.assert_allclose(network.probability(images), tf.sigmoid(expected), rtol=1e-6)


def test_a_networks_dropouts_drop_different_inputs_and_only_in_training(monkeypatch):
    network = make_network("conv2_48", (40, 51), init="he", dropout=0.5)
    dropouts = [layer for layer in network.layers if layer.name == "dropout"]
    assert len(dropouts) == 2  # before each hidden layer

    seeds = []

    def remember(self, x, seed):
        seeds.append(tuple(np.array(seed)))
        return x

    monkeypatch.setattr(models.Dropout, "__call__", remember)
    for seed in ((0, 1), (0, 2)):
        network(IMAGES[:, :40, :51], training=True, seed=seed)
    network(IMAGES[:, :40, :51])
    assert len(seeds) == len(set(seeds)) == 4  # two in each training, none outside of it


def test_flatten_lays_images_out_row_by_row():
    x = np.arange(24, dtype=np.float32).reshape(2, 2, 3, 2)
    layer = built(models.Flatten(), (2, 3, 2))
    np.testing.assert_array_equal(layer(x), [range(12), range(12, 24)])


def test_scaling_none_unit_and_standard():
    def scaled(scaling):
        layer = built(models.Scale(scaling), (94, 125, 3))
        if scaling == "standard":
            layer.fit(IMAGES.mean((0, 1, 2)), IMAGES.std((0, 1, 2)))
        return layer(IMAGES).numpy()

    np.testing.assert_array_equal(scaled("none"), IMAGES.astype(np.float32))
    np.testing.assert_allclose(scaled("unit"), IMAGES / 255, rtol=1e-6)
    np.testing.assert_allclose(scaled("standard").mean((0, 1, 2)), [0, 0, 0], atol=1e-4)
    np.testing.assert_allclose(scaled("standard").std((0, 1, 2)), [1, 1, 1], rtol=1e-4)


def test_scaling_subtracts_each_colours_mean_and_divides_by_its_std():
    layer = built(models.Scale("standard"), (1, 2, 3))
    layer.fit(np.array([10, 20, 30]), np.array([1, 2, 4]))
    pixels = np.uint8([[[[10, 24, 26], [13, 0, 255]]]])
    np.testing.assert_array_equal(layer(pixels), [[[[0, 2, -1], [3, -10, 56.25]]]])


@pytest.mark.parametrize("init, variance", [
    ("glorot", 2 / (300 + 200)),  # the mean of 1 / fan_in and 1 / fan_out, as a harmonic one
    ("he", 2 / 300), ("adapted", 2 / 300)])
def test_initial_weights_are_uniform_and_have_their_papers_variance(init, variance):
    weights = built(models.Dense(200), (300,), init, (0, 1)).kernel.numpy()
    # A uniform distribution's half width is its standard deviation times sqrt(3).
    assert np.abs(weights).max() <= np.sqrt(3 * variance)
    np.testing.assert_allclose(weights.var(), variance, rtol=0.02)
    np.testing.assert_allclose(weights.mean(), 0, atol=0.001)


@pytest.mark.parametrize("init, initializer", [
    ("glorot", tf.keras.initializers.GlorotUniform), ("he", tf.keras.initializers.HeUniform)])
def test_initial_weights_of_a_convolution_are_distributed_as_kerass(init, initializer):
    ours = built(models.Conv2D(64), (9, 9, 16), init, (0, 1)).kernel.numpy()
    theirs = initializer(seed=0)((3, 3, 16, 64)).numpy()
    np.testing.assert_allclose(ours.std(), theirs.std(), rtol=0.02)
    np.testing.assert_allclose(np.abs(ours).max(), np.abs(theirs).max(), rtol=0.01)


@pytest.mark.parametrize("arch", ["mlp", "conv2_48"])
def test_adapted_first_kernels_sum_to_zero_and_give_zero_for_an_even_grey_area(arch):
    network = make_network(arch, init="adapted")
    kernel = network.kernels[0].numpy()
    np.testing.assert_allclose(kernel.reshape(-1, kernel.shape[-1]).sum(axis=0), 0, atol=1e-4)
    even = np.full((1, 94, 125, 3), 200, np.uint8)
    np.testing.assert_allclose(network(even), [0], atol=0.001)


@pytest.mark.parametrize("arch", ["conv1", "conv2_48"])
@pytest.mark.parametrize("scaling, std", [("none", 50), ("unit", 0.2), ("standard", 1)])
def test_adapted_logits_are_a_twentieth_of_those_for_standardised_pixels(arch, scaling, std):
    adapted, he = (make_network(arch, (40, 51), init=init, scaling=scaling)
                   for init in ("adapted", "he"))
    images = IMAGES[:, :40, :51]
    assert models.PIXEL_STD[scaling] == std
    for network in (adapted, he):  # uint8 pixels with a std of about 50, scaled to this one
        network.scale.std.assign([50 / std] * 3)
    he.kernels[0].assign(he.kernels[0] - tf.reduce_mean(he.kernels[0], (0, 1, 2)))
    np.testing.assert_allclose(adapted(images) * 20 * std, he(images), rtol=1e-3,
                               atol=1e-4 * np.abs(he(images)).max())


def test_initial_weights_do_not_depend_on_layers_without_weights():
    plain = make_network("conv2_48", (40, 51))
    for other in (make_network("conv2_48", (40, 51), dropout=0.5),
                  make_network("conv2_48", (80, 102), stride=2, pooling="average")):
        for kernel, same in zip(plain.kernels[:2], other.kernels[:2], strict=True):
            np.testing.assert_array_equal(kernel, same)


def test_initial_weights_follow_from_seed_and_layer():
    def weights(*seed):
        return models.initial_weights((4, 4), "he", seed).numpy()

    np.testing.assert_array_equal(weights(0, 1), weights(0, 1))
    assert (weights(0, 1) != weights(1, 1)).any() and (weights(0, 1) != weights(0, 2)).any()


@pytest.mark.parametrize("options, reason", [
    (dict(arch="mlp", kernel_size=5), "mlp has no convolution"),
    (dict(arch="mlp", pooling="none"), "mlp has no convolution"),
    (dict(arch="conv2_48", input_size=(7, 40)),
     "too small for conv2_48: its conv2d leaves nothing of the 2x19 before it; use a larger one"),
    (dict(arch="conv1", kernel_size=95), "its conv2d leaves nothing of the 94x125 before it"),
    (dict(arch="conv1", input_size=(3, 3)), "its max_pool leaves nothing of the 1x1 before it"),
    (dict(arch="conv1", stride=93), "leaves nothing of the 1x2 before it; use a larger one, or a "
                                    "smaller --kernel_size or --stride"),
])
def test_impossible_networks_are_refused_with_the_reason(options, reason):
    with pytest.raises(UserError, match=reason):
        make_network(**options)


@pytest.mark.parametrize("arch, filters, hidden, weights", [
    # 12x14 -> 10x12 -> 5x6 with 7 filters of 3x3x3: 210 activations, to 4 units, to one
    ("conv1", (7,), (4,), 7 * 28 + 4 * 211 + 5),
    ("mlp", None, (5, 3), 5 * (12 * 14 * 3 + 1) + 3 * 6 + 4),
    ("mlp", (7,), (), 7 * 28 + 211),
    ("conv1", (), None, make_network("mlp", (12, 14), hidden=(128, 128)).weight_count),
])
def test_a_network_may_have_other_filters_and_units(arch, filters, hidden, weights):
    network = make_network(arch, (12, 14), filters=filters, hidden=hidden)
    assert network.weight_count == weights
    assert network(IMAGES[:2, :12, :14]).shape == (2,)


def test_with_tta_an_image_and_its_mirror_image_get_the_mean_of_their_two_probabilities():
    images = np.random.default_rng(9).integers(0, 256, (5, 12, 14, 3), dtype=np.uint8)
    mirrored = images[:, :, ::-1]
    plain, both = (make_network("conv1", (12, 14), scaling="unit", seed=3, tta=tta)
                   for tta in (False, True))
    one, other = (1 / (1 + np.exp(-plain(side).numpy())) for side in (images, mirrored))
    np.testing.assert_allclose(plain.probability(images), one, rtol=1e-6)
    assert np.abs(one - other).min() > 1e-4
    for side in (images, mirrored):
        np.testing.assert_allclose(both.probability(side), (one + other) / 2, rtol=1e-6)


# ---------------------------------------------------------------------------------------------
# From a configuration, and of a run
# ---------------------------------------------------------------------------------------------

OPTIONS = {  # every option another than its default
    "arch": "conv2_48", "input_size": (24, 30), "init": "he", "seed": 5, "tta": True,
    "filters": (3, 4), "hidden": (6,), "kernel_size": 2, "stride": 2, "pooling": "average",
    "scaling": "unit", "dropout": 0.25, "dtype": "bfloat16"}


@pytest.mark.parametrize("saved", [False, True])
def test_a_configuration_gives_the_network_that_it_describes(saved, tmp_path):
    """As flags, or as config.json has them: a list for each tuple."""
    defaults = vars(models.options("conv1"))
    assert OPTIONS.keys() == defaults.keys()
    assert not [name for name, value in OPTIONS.items() if defaults[name] == value]
    config = Config(**OPTIONS, lr=1e-5, epochs=3)  # these two are not the network's
    if saved:
        write_config(tmp_path, config)
        config = models.saved_options(tmp_path)
        assert vars(config) == OPTIONS
    network = models.Network(config)
    layers = network.layers
    assert network.name == "conv2_48" and tuple(network.input_size) == (24, 30) and network.tta
    assert [layer.name for layer in layers] == [
        "scale", "conv2d", "bias_relu", "average_pool", "conv2d", "bias_relu", "average_pool",
        "flatten", "dropout", "dense", "dense"]
    assert layers[0].scaling == "unit" and layers[0].dtype == "bfloat16"
    assert [(layer.filters, layer.kernel_size, layer.stride) for layer in layers
            if isinstance(layer, models.Conv2D)] == [(3, 2, 2), (4, 2, 2)]
    assert layers[8].rate == 0.25
    assert [layer.units for layer in layers[9:]] == [6, 1]
    limit = (6 / 12) ** 0.5  # He's, for 2 x 2 x 3 inputs
    expected = tf.random.stateless_uniform((2, 2, 3, 3), (5, 0), -limit, limit, alg="philox")
    np.testing.assert_array_equal(network.kernels[0], expected)


def test_a_convolution_is_tensorflows_unless_told_otherwise():
    def conv2d(x, kernel, strides, padding):
        return 2 * tf.nn.conv2d(x, kernel, strides, padding)

    images = IMAGES[:, :24, :30]
    config = Config(**OPTIONS | {"dtype": "float32", "filters": (3,)})
    plain, doubled = models.Network(config), models.Network(config, conv2d)
    assert {layer.conv2d for layer in plain.layers if layer.name == "conv2d"} == {tf.nn.conv2d}
    np.testing.assert_allclose(doubled(images), 2 * plain(images), rtol=1e-5)  # all biases are 0


def test_a_run_without_a_finished_epoch_or_weights_is_not_loaded(tmp_path):
    write_config(tmp_path, Config(**OPTIONS))
    with pytest.raises(UserError, match="has no finished epoch yet: train it first, with --resume"):
        models.load(tmp_path)
    (tmp_path / "metrics.jsonl").write_text(json.dumps(epoch_record()))
    with pytest.raises(UserError, match="weights are missing or not of this conv2_48"):
        models.load(tmp_path)


def test_a_run_of_an_older_format_is_refused_in_one_sentence(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"config": OPTIONS}))  # it had no "format"
    with pytest.raises(UserError) as error:
        models.load(tmp_path)
    assert str(error.value) == (
        f"{tmp_path} was written by another version of train.py, which this one cannot read: "
        "train it again, or use the version that wrote it")


@pytest.mark.parametrize("missing", sorted(OPTIONS))
def test_a_configuration_without_an_option_is_damaged(tmp_path, missing):
    config = {name: value for name, value in OPTIONS.items() if name != missing}
    write_config(tmp_path, Config(**config))
    with pytest.raises(UserError, match=f"config.json is not what .*KeyError: '{missing}'"):
        models.load(tmp_path)


@pytest.mark.parametrize("name, value", [
    ("input_size", 3), ("input_size", [24]), ("arch", "vgg16"), ("filters", ["a"]),
    ("kernel_size", 0), ("dropout", "half"), ("dropout", 1.5), ("pooling", None), ("init", None)])
def test_a_configuration_with_an_option_that_its_flag_would_refuse_is_damaged(name, value,
                                                                              tmp_path):
    write_config(tmp_path, Config(**OPTIONS | {name: value}))
    with pytest.raises(UserError, match="is damaged: its config.json is not what train.py writes"):
        models.load(tmp_path)


# ---------------------------------------------------------------------------------------------
# The table
# ---------------------------------------------------------------------------------------------

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
    assert without.returncode == 0 and "conv2d" not in without.stdout


def test_models_prints_one_network_if_asked_for(run_script):
    result = run_script("models.py", "--arch=conv1", "--dropout=0.5")
    assert result.stdout.splitlines()[0].strip() == "conv1"
    assert result.stdout.count("dropout") == 2 and "mlp" not in result.stdout


def test_models_help_shows_the_networks_flags(run_script):
    result = run_script("models.py", "--help")
    assert result.returncode == 0 and result.stderr == ""
    assert result.stdout.startswith(models.__doc__.splitlines()[0])
    for flag in ("input_size", "filters", "hidden", "kernel_size", "stride", "pooling"):
        assert f"--{flag}:" in result.stdout
    assert "(default: '94x125')" in result.stdout
    assert "--alsologtostderr" not in result.stdout  # absl's own
