"""`DeepAdaptation` against filters that are combined in NumPy."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.layers import DeepAdaptation
from keras_univrep.layers.adapted_layer import finish, run
from tests.harness import Weights, bits, check_layer, randomize, weights_of
from tests.oracles import convolution

RNG = np.random.default_rng(0)
CHANNELS, FILTERS = 4, 6
WINDOWS = [{}, {"strides": 2, "padding": "same"}, {"dilation_rate": 2, "use_bias": False}]


def make(size: int | tuple[int, int] = 3, **kwargs: object) -> keras.layers.Conv2D:
    return keras.layers.Conv2D(FILTERS, size, name="convolution", **kwargs)


def combined(kernel: np.ndarray, controller: np.ndarray) -> np.ndarray:
    """New filter j is the sum over the old ones i, each times controller[i, j]."""
    filters = [
        sum(controller[i, j] * kernel[..., i] for i in range(len(controller)))
        for j in range(len(controller))
    ]
    return np.stack(filters, axis=-1)


def oracle(x: np.ndarray, w: Weights, domain: str = "", **window: object) -> np.ndarray:
    kernel = combined(w["convolution/kernel"], w[f"adapter{domain}/controller"])
    return convolution(x, kernel, **window) + w.get(f"adapter{domain}/bias", 0.0)


@pytest.mark.parametrize("options", WINDOWS)
@pytest.mark.parametrize("size", [1, 2, 3, (1, 5)])
def test_equals_a_convolution_with_combined_filters(
    size: int | tuple[int, int], options: dict
) -> None:
    layer = DeepAdaptation(make(size, activation="tanh", **options), name="layer")
    x = RNG.normal(size=(2, 9, 10, CHANNELS))
    layer.build(x.shape)
    randomize(layer)
    expected = oracle(
        x,
        weights_of(layer),
        stride=options.get("strides", 1),
        dilation=options.get("dilation_rate", 1),
        padding=options.get("padding", "valid"),
    )
    y = ops.convert_to_numpy(layer(x.astype("float32")))
    assert y.shape == tuple(layer.compute_output_shape(x.shape))
    np.testing.assert_allclose(y, np.tanh(expected), atol=2e-5)


def test_is_a_mixture_of_the_outputs_of_the_layer() -> None:
    x = RNG.normal(size=(2, 6, 7, CHANNELS)).astype("float32")
    layer = DeepAdaptation(make(5, padding="same", use_bias=False), name="layer")
    layer.build(x.shape)
    randomize(layer)
    trunk = ops.convert_to_numpy(layer.layer(x))
    mixed = trunk @ ops.convert_to_numpy(layer.controller())
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), mixed, atol=2e-5)


def test_owes_what_every_layer_owes(tmp_path: pathlib.Path) -> None:
    check_layer(
        DeepAdaptation(
            make(3, strides=2, padding="same", activation="tanh"),
            domains=["a", "b"],
            controller_regularizer=keras.regularizers.L2(1e-3),
            name="layer",
        ),
        RNG.normal(size=(2, 6, 5, CHANNELS)),
        lambda x, w: np.tanh(oracle(x, w, "_b", stride=2, padding="same")),
        tmp_path,
        frozen=["layer"],
        domain="b",
    )


def test_adapts_a_dense_layer(tmp_path: pathlib.Path) -> None:
    check_layer(
        DeepAdaptation(
            keras.layers.Dense(5, use_bias=False, name="dense"),
            ["a"],
            always_bias=True,
            name="layer",
        ),
        RNG.normal(size=(3, 7, CHANNELS)),
        lambda x, w: (
            x @ combined(w["dense/kernel"], w["adapter_a/controller"]) + w["adapter_a/bias"]
        ),
        tmp_path,
        frozen=["layer"],
    )


@pytest.mark.parametrize("rank", [1, 3])
def test_adapts_convolutions_of_other_ranks(rank: int) -> None:
    kind = {1: keras.layers.Conv1D, 3: keras.layers.Conv3D}[rank]
    layer = DeepAdaptation(kind(FILTERS, 3, strides=2, name="convolution"), name="layer")
    x = RNG.normal(size=(2, *(7, 6, 5)[:rank], CHANNELS))
    layer.build(x.shape)
    randomize(layer)
    y = ops.convert_to_numpy(layer(x.astype("float32")))
    np.testing.assert_allclose(y, oracle(x, weights_of(layer), stride=2), atol=2e-5)


@pytest.mark.parametrize("always_bias", [False, True])
@pytest.mark.parametrize("options", WINDOWS)
def test_an_untrained_domain_leaves_the_convolution_bit_for_bit(
    options: dict, always_bias: bool
) -> None:
    x = RNG.normal(size=(2, 9, 8, CHANNELS)).astype("float32")
    layer = DeepAdaptation(
        make(activation="relu", bias_initializer="ones", **options),
        ["a"],
        always_bias=always_bias,
    )
    layer.build(x.shape)
    layer.add_domain("b")
    for domain in "ab":
        y = ops.convert_to_numpy(layer(x, domain=domain))
        same = finish(layer.layer, run(layer.layer, ops.convert_to_tensor(x)))
        np.testing.assert_array_equal(y, ops.convert_to_numpy(same))
        np.testing.assert_allclose(y, ops.convert_to_numpy(layer.layer(x)), atol=1e-6)


def test_a_step_on_one_domain_moves_no_other() -> None:
    layer = DeepAdaptation(make(), ["a", "b"], name="layer")
    layer.layer.trainable = False
    entry = keras.Input((6, 6, CHANNELS))
    model = keras.Model(entry, layer(entry, domain="a"))
    model.compile(keras.optimizers.SGD(0.1), loss="mean_squared_error")
    before = bits(layer)
    model.fit(RNG.normal(size=(4, 6, 6, CHANNELS)), np.ones((4, 4, 4, FILTERS)), verbose=0)
    moved = {path for path, value in bits(layer).items() if not np.array_equal(value, before[path])}
    assert moved == {"layer/adapter_a/controller", "layer/adapter_a/bias"}


@pytest.mark.parametrize(
    ("use_bias", "always_bias", "own"),
    [(False, False, 0), (True, False, FILTERS), (False, True, FILTERS), (True, True, FILTERS)],
)
def test_each_domain_adds_a_controller_and_a_bias(
    use_bias: bool, always_bias: bool, own: int
) -> None:
    layer = DeepAdaptation(make(use_bias=use_bias), ["a", "b"], always_bias=always_bias)
    layer.build((None, 8, 8, CHANNELS))
    shared = layer.layer.count_params()
    assert layer.count_params() == shared + 2 * (FILTERS**2 + own)


@pytest.mark.parametrize("use_bias", [False, True])
def test_merged_weights_do_it_in_one_layer(use_bias: bool) -> None:
    x = RNG.normal(size=(2, 6, 6, CHANNELS)).astype("float32")
    options = {"strides": 2, "activation": "relu", "use_bias": use_bias}
    layer = DeepAdaptation(make(**options), ["a", "b"], name="layer")
    layer.build(x.shape)
    randomize(layer)
    merged = make(**options)
    merged.build(x.shape)
    kernel, bias = layer.merged_weights("b")
    assert kernel.dtype == np.float32
    assert (bias is not None) is use_bias
    merged.set_weights([kernel] if bias is None else [kernel, bias])
    expected = ops.convert_to_numpy(layer(x, domain="b"))
    np.testing.assert_allclose(ops.convert_to_numpy(merged(x)), expected, atol=2e-5)


def test_mixed_precision_computes_in_the_low_type() -> None:
    x = RNG.normal(size=(2, 6, 6, CHANNELS)).astype("float32")
    policy = "mixed_bfloat16"
    layer = DeepAdaptation(make(dtype=policy), dtype=policy)
    exact = DeepAdaptation(make())
    for part in (layer, exact):
        part.build(x.shape)
        randomize(part)
    y = layer(x)
    assert keras.backend.standardize_dtype(y.dtype) == "bfloat16"
    expected = ops.convert_to_numpy(exact(x))
    actual = ops.convert_to_numpy(ops.cast(y, "float32"))
    assert np.linalg.norm(actual - expected) < 0.03 * np.linalg.norm(expected)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (make(groups=2), "groups=2"),
        (keras.layers.DepthwiseConv2D(3), "depthwise.*groups=one a channel"),
    ],
)
def test_filters_that_see_other_channels_are_not_combined(
    layer: keras.layers.Layer, words: str
) -> None:
    with pytest.raises(ValueError, match=f"{words}.*Use ParallelAdapter"):
        DeepAdaptation(layer)


@pytest.mark.parametrize("layer", [keras.layers.Conv2DTranspose(3, 3), "convolution"])
def test_only_layers_with_a_kernel_are_adapted(layer: object) -> None:
    with pytest.raises(TypeError, match="`layer` of DeepAdaptation must be"):
        DeepAdaptation(layer)


def test_unknown_domains_are_refused_with_the_known_ones() -> None:
    layer = DeepAdaptation(make(), ["a", "b"])
    with pytest.raises(ValueError, match=r"\['a', 'b'\].*Received: domain='c'"):
        layer(np.ones((1, 5, 5, CHANNELS), "float32"), domain="c")
