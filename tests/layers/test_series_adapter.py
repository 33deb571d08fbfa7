"""`SeriesAdapter` against a convolution and an explicit 1x1 branch after it in NumPy."""

from __future__ import annotations

import itertools
import pathlib

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.layers import SeriesAdapter
from tests.harness import Weights, bits, check_layer, randomize, weights_of
from tests.oracles import convolution, normalization

RNG = np.random.default_rng(0)
CHANNELS, FILTERS = 4, 8
CASES = [
    (size, stride, padding, groups, rows)
    for (size, stride, padding), (groups, rows) in zip(
        itertools.product((1, 3, 5, 7), (1, 2, 3), ("same", "valid")),
        itertools.cycle([(1, 9), (2, 10), (4, 9), (1, 10), (2, 9)]),
    )
]


def make(size: int = 3, **kwargs: object) -> keras.layers.Conv2D:
    return keras.layers.Conv2D(FILTERS, size, name="convolution", **kwargs)


def oracle(
    x: np.ndarray, w: Weights, suffix: str = "", training: bool = False, **window: object
) -> np.ndarray:
    u = convolution(x, w["convolution/kernel"], **window) + w.get("convolution/bias", 0.0)
    branch = u
    if f"adapter{suffix}/normalization/gamma" in w:
        gamma, beta, mean, variance = (
            w[f"adapter{suffix}/normalization/{name}"]
            for name in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        branch = normalization(u, gamma, beta, None if training else (mean, variance))
    return u + branch @ w[f"adapter{suffix}/kernel"]


@pytest.mark.parametrize(("size", "stride", "padding", "groups", "rows"), CASES)
def test_equals_a_convolution_with_a_1x1_branch_after_it(
    size: int, stride: int, padding: str, groups: int, rows: int
) -> None:
    layer = SeriesAdapter(
        make(size, strides=stride, groups=groups, padding=padding), normalize=False, name="layer"
    )
    x = RNG.normal(size=(2, rows, 19 - rows, CHANNELS))
    layer.build(x.shape)
    randomize(layer)
    expected = oracle(x, weights_of(layer), stride=stride, padding=padding, groups=groups)
    y = ops.convert_to_numpy(layer(x.astype("float32")))
    assert y.shape == tuple(layer.compute_output_shape(x.shape))
    np.testing.assert_allclose(y, expected, atol=1e-5 * np.abs(expected).max())


def test_the_activation_comes_before_the_adapter() -> None:
    layer = SeriesAdapter(make(dilation_rate=2, activation="relu"), normalize=False, name="layer")
    x = RNG.normal(size=(2, 7, 8, CHANNELS))
    layer.build(x.shape)
    randomize(layer)
    w = weights_of(layer)
    u = convolution(x, w["convolution/kernel"], dilation=2) + w["convolution/bias"]
    u = np.maximum(u, 0.0)
    y = ops.convert_to_numpy(layer(x.astype("float32")))
    np.testing.assert_allclose(y, u + u @ w["adapter/kernel"], atol=2e-5)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
def test_zero_alpha_leaves_the_convolution_bit_for_bit(normalize: bool, training: bool) -> None:
    x = RNG.normal(size=(2, 9, 8, CHANNELS)).astype("float32")
    layer = SeriesAdapter(make(activation="relu"), ["a", "b"], normalize=normalize)
    for domain in "ab":
        np.testing.assert_array_equal(
            ops.convert_to_numpy(layer(x, domain=domain, training=training)),
            ops.convert_to_numpy(layer.layer(x)),
        )


def test_owes_what_every_layer_owes(tmp_path: pathlib.Path) -> None:
    check_layer(
        SeriesAdapter(
            make(3, strides=2, padding="same", activation=None),
            domains=["a", "b"],
            adapter_initializer="glorot_normal",
            adapter_regularizer=keras.regularizers.L2(1e-3),
            name="layer",
        ),
        RNG.normal(size=(2, 6, 5, CHANNELS)),
        lambda x, w: oracle(x, w, "_b", stride=2, padding="same"),
        tmp_path,
        frozen=["layer"],
        domain="b",
        training=False,
    )


def test_owes_it_while_training_too(tmp_path: pathlib.Path) -> None:
    check_layer(
        SeriesAdapter(make(), adapter_initializer="glorot_normal", name="layer"),
        RNG.normal(size=(3, 6, 5, CHANNELS)),
        lambda x, w: oracle(x, w, training=True),
        tmp_path,
        frozen=["layer"],
        training=True,
    )


def test_training_moves_the_statistics_of_its_domain_only() -> None:
    x = RNG.normal(2.0, 1.0, size=(4, 6, 6, CHANNELS)).astype("float32")
    layer = SeriesAdapter(make(), ["a", "b"], adapter_initializer="glorot_normal", name="layer")
    layer.build(x.shape)
    before, untouched = bits(layer), ops.convert_to_numpy(layer(x, domain="a"))
    layer(x, domain="b", training=True)
    moved = {path for path, value in bits(layer).items() if not np.array_equal(value, before[path])}
    assert moved == {
        f"layer/adapter_b/normalization/moving_{name}" for name in ("mean", "variance")
    }
    np.testing.assert_array_equal(ops.convert_to_numpy(layer(x, domain="a")), untouched)


def test_each_domain_has_its_own_alpha() -> None:
    x = RNG.normal(size=(2, 6, 6, CHANNELS)).astype("float32")
    layer = SeriesAdapter(make(), ["a", "b"], adapter_initializer="glorot_normal")
    before = {domain: ops.convert_to_numpy(layer(x, domain=domain)) for domain in "ab"}
    assert not np.allclose(before["a"], before["b"])
    layer.adapter_kernel("b").assign(layer.adapter_kernel("b") + 1.0)
    np.testing.assert_array_equal(ops.convert_to_numpy(layer(x, domain="a")), before["a"])
    assert not np.allclose(ops.convert_to_numpy(layer(x, domain="b")), before["b"])


@pytest.mark.parametrize(("normalize", "extra"), [(True, 4), (False, 0)])
def test_adds_a_square_matrix_and_the_normalisation(normalize: bool, extra: int) -> None:
    layer = SeriesAdapter(make(use_bias=False), ["a", "b", "c"], normalize=normalize)
    layer.build((None, 8, 8, CHANNELS))
    own = 3 * (FILTERS**2 + extra * FILTERS)
    assert layer.count_params() == 9 * CHANNELS * FILTERS + own


def test_mixed_precision_computes_in_the_low_type() -> None:
    x = RNG.normal(size=(2, 6, 6, CHANNELS)).astype("float32")
    policy = "mixed_bfloat16"
    layer = SeriesAdapter(make(dtype=policy), adapter_initializer="glorot_normal", dtype=policy)
    exact = SeriesAdapter(make(), adapter_initializer="glorot_normal")
    for part in (layer, exact):
        part.build(x.shape)
    exact.set_weights(layer.get_weights())
    y = layer(x)
    assert keras.backend.standardize_dtype(y.dtype) == "bfloat16"
    expected = ops.convert_to_numpy(exact(x))
    actual = ops.convert_to_numpy(ops.cast(y, "float32"))
    assert np.linalg.norm(actual - expected) < 0.02 * np.linalg.norm(expected)


def test_even_kernels_have_outputs_too() -> None:
    layer = SeriesAdapter(make(2), name="layer")
    x = RNG.normal(size=(2, 6, 6, CHANNELS))
    layer.build(x.shape)
    randomize(layer)
    y = ops.convert_to_numpy(layer(x.astype("float32")))
    np.testing.assert_allclose(y, oracle(x, weights_of(layer)), atol=2e-5)


def test_only_layers_with_a_kernel_are_adapted() -> None:
    with pytest.raises(TypeError, match="SeriesAdapter must be a keras.layers.Conv1D"):
        SeriesAdapter(keras.layers.LayerNormalization())


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("use_bias", [False, True])
def test_merged_weights_do_it_in_one_layer(normalize: bool, use_bias: bool) -> None:
    x = RNG.normal(size=(2, 6, 6, CHANNELS)).astype("float32")
    layer = SeriesAdapter(make(strides=2, use_bias=use_bias), ["a", "b"], normalize, name="layer")
    layer.build(x.shape)
    randomize(layer)
    kernel, bias = layer.merged_weights("b")
    merged = make(strides=2, use_bias=bias is not None)
    merged.build(x.shape)
    merged.set_weights([kernel] if bias is None else [kernel, bias])
    expected = ops.convert_to_numpy(layer(x, domain="b"))
    np.testing.assert_allclose(ops.convert_to_numpy(merged(x)), expected, atol=3e-5)


@pytest.mark.parametrize("options", [{"groups": 2}, {"activation": "relu"}])
def test_what_one_layer_cannot_do_is_not_merged(options: dict) -> None:
    layer = SeriesAdapter(make(**options))
    layer.build((None, 6, 6, CHANNELS))
    with pytest.raises(ValueError, match="Use a parallel adapter"):
        layer.merged_weights()


def test_channels_first_is_refused() -> None:
    with pytest.raises(ValueError, match="channels_first"):
        SeriesAdapter(make(data_format="channels_first"))


@pytest.mark.parametrize("domain", [None, "c"])
def test_unknown_domains_are_refused_with_the_known_ones(domain: str | None) -> None:
    layer = SeriesAdapter(make(), ["a", "b"])
    with pytest.raises(ValueError, match=r"\['a', 'b'\].*Received: domain="):
        layer(np.ones((1, 5, 5, CHANNELS), "float32"), domain=domain)
