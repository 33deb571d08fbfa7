"""`ParallelAdapter` against a convolution plus an explicit 1x1 branch in NumPy."""

from __future__ import annotations

import itertools
import pathlib

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.layers import ParallelAdapter
from tests.harness import Weights, bits, check_config, check_layer, randomize, weights_of
from tests.oracles import centre_branch, convolution

RNG = np.random.default_rng(0)
CHANNELS, FILTERS = 4, 8

# (size, stride, dilation); Keras refuses a stride together with a dilation.
WINDOWS = list(itertools.product((1, 3, 5, 7), ((1, 1), (2, 1), (3, 1), (1, 2)), ("same", "valid")))
SHAPES = list(itertools.product((1, 2, 4), (14, 15)))
# Every window meets one even and one odd size and two numbers of groups.
CASES = [
    (*window, *SHAPES[case % 6])
    for index, window in enumerate(WINDOWS)
    for case in (index, index + 3)
]


def make(size: int | tuple[int, ...] = 3, **kwargs: object) -> keras.layers.Conv2D:
    return keras.layers.Conv2D(FILTERS, size, name="convolution", **kwargs)


def oracle(
    x: np.ndarray, w: Weights, alpha: str = "adapter/kernel", **window: object
) -> np.ndarray:
    kernel, matrix = w["convolution/kernel"], w[alpha]
    y = convolution(x, kernel, **window)
    y += centre_branch(x, matrix.reshape(matrix.shape[-2:]), kernel.shape[:-2], **window)
    return y + w.get("convolution/bias", 0.0)


@pytest.mark.parametrize(("size", "steps", "padding", "groups", "rows"), CASES)
def test_equals_a_convolution_plus_a_1x1_branch(
    size: int, steps: tuple[int, int], padding: str, groups: int, rows: int
) -> None:
    stride, dilation = steps
    layer = ParallelAdapter(
        make(
            size,
            strides=stride,
            dilation_rate=dilation,
            groups=groups,
            padding=padding,
            activation="tanh",
        ),
        name="layer",
    )
    x = RNG.normal(size=(2, rows, 29 - rows, CHANNELS))
    layer.build(x.shape)
    randomize(layer)
    expected = np.tanh(
        oracle(
            x,
            weights_of(layer),
            stride=stride,
            dilation=dilation,
            groups=groups,
            padding=padding,
        )
    )
    y = ops.convert_to_numpy(layer(x.astype("float32")))
    assert y.shape == tuple(layer.compute_output_shape(x.shape))
    np.testing.assert_allclose(y, expected, atol=2e-5)


def test_at_stride_one_the_branch_is_a_product_at_each_position() -> None:
    x = RNG.normal(size=(2, 6, 7, CHANNELS)).astype("float32")
    layer = ParallelAdapter(make(5, padding="same"), adapter_initializer="glorot_normal")
    y = ops.convert_to_numpy(layer(x))
    trunk = ops.convert_to_numpy(layer.layer(x))
    alpha = ops.convert_to_numpy(layer.adapter_kernel()).reshape(CHANNELS, FILTERS)
    np.testing.assert_allclose(y - trunk, x @ alpha, atol=2e-5)


@pytest.mark.parametrize("rank", [1, 3])
def test_adapts_convolutions_of_other_ranks(rank: int) -> None:
    kind = {1: keras.layers.Conv1D, 3: keras.layers.Conv3D}[rank]
    layer = ParallelAdapter(kind(FILTERS, 3, strides=2, name="convolution"), name="layer")
    x = RNG.normal(size=(2, *(7, 6, 5)[:rank], CHANNELS))
    layer.build(x.shape)
    randomize(layer)
    y = ops.convert_to_numpy(layer(x.astype("float32")))
    np.testing.assert_allclose(y, oracle(x, weights_of(layer), stride=2), atol=2e-5)


def test_kernel_sizes_and_paddings_may_differ_by_axis() -> None:
    layer = ParallelAdapter(make((1, 5), strides=2, padding="same"), name="layer")
    x = RNG.normal(size=(2, 7, 8, CHANNELS))
    layer.build(x.shape)
    randomize(layer)
    expected = oracle(x, weights_of(layer), stride=2, padding="same")
    np.testing.assert_allclose(
        ops.convert_to_numpy(layer(x.astype("float32"))), expected, atol=2e-5
    )


@pytest.mark.parametrize("options", [{}, {"use_bias": False, "groups": 2, "strides": 2}])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_zero_alpha_leaves_the_convolution_bit_for_bit(options: dict, padding: str) -> None:
    x = RNG.normal(size=(2, 9, 8, CHANNELS)).astype("float32")
    layer = ParallelAdapter(make(padding=padding, activation="relu", **options), ["a", "b"])
    for domain in "ab":
        np.testing.assert_array_equal(
            ops.convert_to_numpy(layer(x, domain=domain)),
            ops.convert_to_numpy(layer.layer(x)),
        )


def test_owes_what_every_layer_owes(tmp_path: pathlib.Path) -> None:
    window = {"stride": 2, "padding": "same", "groups": 2}
    check_layer(
        ParallelAdapter(
            make(3, strides=2, padding="same", groups=2, activation="tanh"),
            domains=["a", "b"],
            adapter_initializer="glorot_normal",
            adapter_regularizer=keras.regularizers.L2(1e-3),
            name="layer",
        ),
        RNG.normal(size=(2, 6, 5, CHANNELS)),
        lambda x, w: np.tanh(oracle(x, w, "adapter_b/kernel", **window)),
        tmp_path,
        frozen=["layer"],
        domain="b",
    )


def test_configuration_holds_the_dropout() -> None:
    layer = ParallelAdapter(make(), dropout=0.25, seed=7, name="layer")
    check_config(layer)
    assert (layer.get_config()["dropout"], layer.get_config()["seed"]) == (0.25, 7)


def test_each_domain_has_its_own_alpha() -> None:
    x = RNG.normal(size=(2, 6, 6, CHANNELS)).astype("float32")
    layer = ParallelAdapter(make(), ["a", "b"], adapter_initializer="glorot_normal")
    before = {domain: ops.convert_to_numpy(layer(x, domain=domain)) for domain in "ab"}
    assert not np.allclose(before["a"], before["b"])
    layer.adapter_kernel("b").assign(layer.adapter_kernel("b") + 1.0)
    np.testing.assert_array_equal(ops.convert_to_numpy(layer(x, domain="a")), before["a"])
    assert not np.allclose(ops.convert_to_numpy(layer(x, domain="b")), before["b"])


def test_a_step_on_one_domain_moves_no_other() -> None:
    layer = ParallelAdapter(make(), ["a", "b"], name="layer")
    layer.layer.trainable = False
    entry = keras.Input((6, 6, CHANNELS))
    model = keras.Model(entry, layer(entry, domain="a"))
    model.compile(keras.optimizers.SGD(0.1), loss="mean_squared_error")
    before = bits(layer)
    model.fit(RNG.normal(size=(4, 6, 6, CHANNELS)), np.ones((4, 4, 4, FILTERS)), verbose=0)
    moved = {path for path, value in bits(layer).items() if not np.array_equal(value, before[path])}
    assert moved == {"layer/adapter_a/kernel"}


def test_dropout_acts_in_training_only() -> None:
    x = RNG.normal(size=(2, 6, 6, CHANNELS)).astype("float32")
    convolution_layer = make()
    plain = ParallelAdapter(convolution_layer, name="plain")
    layer = ParallelAdapter(convolution_layer, dropout=0.5, seed=1, name="dropped")
    plain.build(x.shape)
    layer.build(x.shape)
    alpha = RNG.normal(size=(1, 1, CHANNELS, FILTERS))
    plain.adapter_kernel().assign(alpha)
    layer.adapter_kernel().assign(alpha)
    expected = ops.convert_to_numpy(plain(x, training=True))
    for training in (False, None):
        np.testing.assert_array_equal(ops.convert_to_numpy(layer(x, training=training)), expected)
    assert not np.allclose(ops.convert_to_numpy(layer(x, training=True)), expected)


def dropped_channels(layer: ParallelAdapter, images: int) -> np.ndarray:
    """Input of the branch under an identity alpha and no trunk, for inputs of one."""
    if not layer.built:
        layer.build((None, 5, 6, FILTERS))
    layer.layer.kernel.assign(np.zeros((3, 3, FILTERS, FILTERS)))
    layer.adapter_kernel().assign(np.eye(FILTERS)[None, None])
    x = np.ones((images, 5, 6, FILTERS), "float32")
    return ops.convert_to_numpy(layer(x, training=True))


def test_dropout_drops_whole_channels_of_single_images() -> None:
    y = dropped_channels(ParallelAdapter(make(padding="same"), dropout=0.25, seed=3), 8)
    np.testing.assert_array_equal(y, np.broadcast_to(y[:, :1, :1], y.shape))
    values = y[:, 0, 0]
    np.testing.assert_allclose(values[values > 0], 1 / 0.75, rtol=1e-6)
    assert len(np.unique(values > 0, axis=0)) > 1
    assert 0 < np.mean(values == 0) < 1


def test_dropout_preserves_the_mean_and_draws_anew() -> None:
    layer = ParallelAdapter(make(padding="same"), dropout=0.5, seed=3)
    first, second = dropped_channels(layer, 1024), dropped_channels(layer, 1024)
    assert not np.array_equal(first, second)
    # 16384 draws of 0 or 2: the mean has a standard error of 0.008.
    assert abs(np.mean([first[:, 0, 0], second[:, 0, 0]]) - 1.0) < 0.04


def test_dropout_leaves_the_trunk_whole() -> None:
    x = RNG.normal(size=(2, 6, 6, CHANNELS)).astype("float32")
    layer = ParallelAdapter(make(activation="relu", bias_initializer="ones"), dropout=0.9, seed=0)
    np.testing.assert_allclose(
        ops.convert_to_numpy(layer(x, training=True)),
        ops.convert_to_numpy(layer.layer(x)),
        atol=1e-6,
    )


def test_only_alpha_is_added_to_the_weights() -> None:
    layer = ParallelAdapter(make(use_bias=False), ["a", "b", "c"])
    layer.build((None, 8, 8, CHANNELS))
    assert layer.count_params() == 9 * CHANNELS * FILTERS + 3 * CHANNELS * FILTERS


def test_unseeded_initializers_do_not_repeat_themselves() -> None:
    layer = ParallelAdapter(make(), ["a", "b"], adapter_initializer="glorot_normal")
    layer.build((None, 8, 8, CHANNELS))
    first, second = (ops.convert_to_numpy(layer.adapter_kernel(domain)) for domain in "ab")
    assert not np.array_equal(first, second)


def test_mixed_precision_computes_in_the_low_type() -> None:
    x = RNG.normal(size=(2, 6, 6, CHANNELS)).astype("float32")
    policy = "mixed_bfloat16"
    layer = ParallelAdapter(make(dtype=policy), adapter_initializer="glorot_normal", dtype=policy)
    exact = ParallelAdapter(make(), adapter_initializer="glorot_normal")
    for part in (layer, exact):
        part.build(x.shape)
    exact.set_weights(layer.get_weights())
    y = layer(x)
    assert keras.backend.standardize_dtype(y.dtype) == "bfloat16"
    expected = ops.convert_to_numpy(exact(x))
    actual = ops.convert_to_numpy(ops.cast(y, "float32"))
    assert np.linalg.norm(actual - expected) < 0.02 * np.linalg.norm(expected)


def test_even_kernels_are_refused() -> None:
    with pytest.raises(ValueError, match=r"odd.*Received: kernel_size=\(3, 4\)"):
        ParallelAdapter(make((3, 4)))


@pytest.mark.parametrize("layer", [keras.layers.Conv2DTranspose(3, 3), "convolution"])
def test_only_layers_with_a_kernel_are_adapted(layer: object) -> None:
    with pytest.raises(TypeError, match="Conv1D, Conv2D, Conv3D, DepthwiseConv2D or Dense"):
        ParallelAdapter(layer)


def test_a_layer_with_a_call_of_its_own_is_refused() -> None:
    class Standardised(keras.layers.Conv2D):
        def call(self, inputs):
            return super().call(inputs - 1.0)

    with pytest.raises(TypeError, match="with the `call` and `convolution_op` of that class"):
        ParallelAdapter(Standardised(3, 3))


def test_a_layer_with_a_convolution_of_its_own_is_refused() -> None:
    class Standardised(keras.layers.Conv2D):
        def convolution_op(self, inputs, kernel):
            return super().convolution_op(inputs, kernel - ops.mean(kernel))

    with pytest.raises(TypeError, match="with the `call` and `convolution_op` of that class"):
        ParallelAdapter(Standardised(3, 3))


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_depthwise_alpha_scales_the_centre_of_each_channel(stride: int, padding: str) -> None:
    layer = ParallelAdapter(
        keras.layers.DepthwiseConv2D(3, stride, padding, depth_multiplier=2, name="convolution"),
        name="layer",
    )
    x = RNG.normal(size=(2, 7, 8, CHANNELS))
    layer.build(x.shape)
    randomize(layer)
    w = weights_of(layer)
    kernel = w["convolution/kernel"]
    kernel[1, 1] += w["adapter/kernel"][0, 0]
    # A depthwise convolution is one with a group for each channel.
    grouped = kernel.reshape(3, 3, 1, CHANNELS * 2)
    expected = convolution(x, grouped, stride=stride, groups=CHANNELS, padding=padding)
    y = ops.convert_to_numpy(layer(x.astype("float32")))
    np.testing.assert_allclose(y, expected + w["convolution/bias"], atol=2e-5)


def test_a_dense_alpha_is_added_to_its_matrix(tmp_path: pathlib.Path) -> None:
    check_layer(
        ParallelAdapter(
            keras.layers.Dense(5, activation="tanh", name="dense"),
            ["a"],
            adapter_initializer="glorot_normal",
            name="layer",
        ),
        RNG.normal(size=(3, 7, CHANNELS)),
        lambda x, w: np.tanh(x @ (w["dense/kernel"] + w["adapter_a/kernel"]) + w["dense/bias"]),
        tmp_path,
        frozen=["layer"],
    )


@pytest.mark.parametrize("shared", [False, True])
def test_a_rank_makes_alpha_a_product(shared: bool, tmp_path: pathlib.Path) -> None:
    beta = "beta" if shared else "adapter_b/beta"

    def low_rank(x: np.ndarray, w: Weights) -> np.ndarray:
        w = {**w, "alpha": w["adapter_b/gamma"] @ w[beta]}
        return oracle(x, w, "alpha")

    layer = ParallelAdapter(
        make(),
        ["a", "b"],
        adapter_initializer="glorot_normal",
        rank=2,
        shared=shared,
        name="layer",
    )
    check_layer(layer, RNG.normal(size=(2, 6, 5, CHANNELS)), low_rank, tmp_path, domain="b")
    assert ("layer/beta" in {v.path for v in layer.non_trainable_variables}) is shared
    own = 2 * (CHANNELS * 2 + (0 if shared else 2 * FILTERS)) + (2 * FILTERS if shared else 0)
    assert layer.count_params() == 9 * CHANNELS * FILTERS + FILTERS + own


@pytest.mark.parametrize("rank", [0, 5])
def test_rank_is_at_most_the_smaller_side(rank: int) -> None:
    layer = ParallelAdapter(make(), rank=rank)
    with pytest.raises(ValueError, match=rf"in \[1, 4\].*Received: rank={rank}"):
        layer.build((None, 5, 5, CHANNELS))


def test_sharing_needs_a_rank() -> None:
    with pytest.raises(ValueError, match="Pass a rank"):
        ParallelAdapter(make(), shared=True)


def test_merged_weights_do_it_in_one_layer() -> None:
    x = RNG.normal(size=(2, 6, 6, CHANNELS)).astype("float32")
    options = {"strides": 2, "groups": 2, "activation": "relu"}
    layer = ParallelAdapter(make(**options), ["a", "b"], name="layer")
    layer.build(x.shape)
    randomize(layer)
    merged = make(**options)
    merged.build(x.shape)
    merged.set_weights(layer.merged_weights("b"))
    expected = ops.convert_to_numpy(layer(x, domain="b"))
    np.testing.assert_allclose(ops.convert_to_numpy(merged(x)), expected, atol=2e-5)


def test_channels_first_is_refused() -> None:
    with pytest.raises(ValueError, match="channels_first"):
        ParallelAdapter(make(data_format="channels_first"))


@pytest.mark.parametrize("dropout", [-0.1, 1.0])
def test_dropout_is_a_fraction(dropout: float) -> None:
    with pytest.raises(ValueError, match=f"Received: dropout={dropout}"):
        ParallelAdapter(make(), dropout=dropout)


@pytest.mark.parametrize("domain", [None, "c"])
def test_unknown_domains_are_refused_with_the_known_ones(domain: str | None) -> None:
    layer = ParallelAdapter(make(), ["a", "b"])
    with pytest.raises(ValueError, match=r"\['a', 'b'\].*Received: domain="):
        layer(np.ones((1, 5, 5, CHANNELS), "float32"), domain=domain)
