"""`PiggybackMask` against a layer whose kernel is masked in NumPy."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep import backend
from keras_univrep.layers import PiggybackMask
from keras_univrep.layers.adapted_layer import finish, run
from tests.harness import Weights, bits, check_layer, randomize, weights_of
from tests.oracles import convolution

RNG = np.random.default_rng(0)
CHANNELS, FILTERS = 4, 6
WINDOWS = [
    {},
    {"strides": 2, "padding": "same", "groups": 2},
    {"dilation_rate": 2, "use_bias": False},
]


def make(size: int | tuple[int, int] = 3, **kwargs: object) -> keras.layers.Conv2D:
    return keras.layers.Conv2D(FILTERS, size, name="convolution", **kwargs)


def masked(w: Weights, domain: str = "", threshold: float = 5e-3) -> np.ndarray:
    return w["convolution/kernel"] * (w[f"adapter{domain}/mask"] > threshold)


def straight_through(layer: PiggybackMask, kernel: str, mask: str) -> Callable[[Weights], Weights]:
    """Around the layer's mask the binary one stays, but moves as the real one does."""

    def run(w: Weights) -> np.ndarray:
        around = weights_of(layer)[mask]
        return w[kernel] * ((around > layer.threshold) + (w[mask] - around))

    return run


@pytest.mark.parametrize("options", WINDOWS)
@pytest.mark.parametrize("size", [1, 2, 3, (1, 5)])
def test_equals_a_convolution_with_a_masked_kernel(
    size: int | tuple[int, int], options: dict
) -> None:
    layer = PiggybackMask(make(size, activation="tanh", **options), name="layer", threshold=0.1)
    x = RNG.normal(size=(2, 9, 10, CHANNELS))
    layer.build(x.shape)
    randomize(layer)
    w = weights_of(layer)
    kept = np.mean(w["adapter/mask"] > 0.1)
    assert 0 < kept < 1
    expected = convolution(
        x,
        masked(w, threshold=0.1),
        stride=options.get("strides", 1),
        dilation=options.get("dilation_rate", 1),
        groups=options.get("groups", 1),
        padding=options.get("padding", "valid"),
    )
    y = ops.convert_to_numpy(layer(x.astype("float32")))
    assert y.shape == tuple(layer.compute_output_shape(x.shape))
    np.testing.assert_allclose(y, np.tanh(expected + w.get("convolution/bias", 0.0)), atol=2e-5)


def test_owes_what_every_layer_owes(tmp_path: pathlib.Path) -> None:
    layer = PiggybackMask(
        make(3, strides=2, padding="same", groups=2, activation="tanh"),
        domains=["a", "b"],
        name="layer",
    )
    kernel = straight_through(layer, "convolution/kernel", "adapter_b/mask")
    check_layer(
        layer,
        RNG.normal(size=(2, 6, 5, CHANNELS)),
        lambda x, w: np.tanh(
            convolution(x, kernel(w), stride=2, padding="same", groups=2) + w["convolution/bias"]
        ),
        tmp_path,
        frozen=["layer"],
        domain="b",
    )


def test_masks_a_dense_layer(tmp_path: pathlib.Path) -> None:
    layer = PiggybackMask(keras.layers.Dense(5, name="dense"), ["a"], name="layer")
    kernel = straight_through(layer, "dense/kernel", "adapter_a/mask")
    check_layer(
        layer,
        RNG.normal(size=(3, 7, CHANNELS)),
        lambda x, w: x @ kernel(w) + w["dense/bias"],
        tmp_path,
        frozen=["layer"],
    )


def test_masks_a_depthwise_convolution() -> None:
    depthwise = keras.layers.DepthwiseConv2D(3, 2, depth_multiplier=2, name="convolution")
    layer = PiggybackMask(depthwise, name="layer")
    x = RNG.normal(size=(2, 7, 8, CHANNELS))
    layer.build(x.shape)
    randomize(layer)
    w = weights_of(layer)
    # A depthwise convolution is one with a group for each channel.
    kernel = masked(w).reshape(3, 3, 1, CHANNELS * 2)
    expected = convolution(x, kernel, stride=2, groups=CHANNELS) + w["convolution/bias"]
    y = ops.convert_to_numpy(layer(x.astype("float32")))
    np.testing.assert_allclose(y, expected, atol=2e-5)


@pytest.mark.parametrize("options", WINDOWS)
def test_an_untrained_mask_leaves_the_convolution_bit_for_bit(options: dict) -> None:
    x = RNG.normal(size=(2, 9, 8, CHANNELS)).astype("float32")
    layer = PiggybackMask(make(activation="relu", **options), ["a", "b"])
    for domain in "ab":
        y = ops.convert_to_numpy(layer(x, domain=domain))
        same = finish(layer.layer, run(layer.layer, ops.convert_to_tensor(x)))
        np.testing.assert_array_equal(y, ops.convert_to_numpy(same))
        np.testing.assert_allclose(y, ops.convert_to_numpy(layer.layer(x)), atol=1e-6)


def test_the_gradient_of_the_mask_is_that_of_the_binary_mask() -> None:
    x = RNG.normal(size=(2, 6, 6, CHANNELS)).astype("float32")
    layer = PiggybackMask(make(), name="layer")
    layer.build(x.shape)
    randomize(layer)
    _, _, pullback = backend.vjp(lambda: (layer(x), None), [layer.mask()])
    cotangent = RNG.normal(size=(2, 4, 4, FILTERS))
    (gradient,), _ = pullback(ops.convert_to_tensor(cotangent.astype("float32")))
    # dL/db = f . dL/d(f b), whose own gradient sums over the positions under each tap.
    windows = np.lib.stride_tricks.sliding_window_view(x.astype("float64"), (3, 3), (1, 2))
    by_kernel = np.einsum("nijcab,nijf->abcf", windows, cotangent)
    expected = weights_of(layer)["convolution/kernel"] * by_kernel
    # Nothing is lost where the mask is zero: a weight can come back.
    assert np.all(expected[weights_of(layer)["adapter/mask"] < 5e-3] != 0.0)
    np.testing.assert_allclose(ops.convert_to_numpy(gradient), expected, atol=1e-4)


def test_a_step_on_one_domain_moves_its_mask_only() -> None:
    layer = PiggybackMask(make(), ["a", "b"], name="layer")
    layer.layer.trainable = False
    entry = keras.Input((6, 6, CHANNELS))
    model = keras.Model(entry, layer(entry, domain="a"))
    model.compile(keras.optimizers.SGD(0.1), loss="mean_squared_error")
    before = bits(layer)
    model.fit(RNG.normal(size=(4, 6, 6, CHANNELS)), np.ones((4, 4, 4, FILTERS)), verbose=0)
    moved = {path for path, value in bits(layer).items() if not np.array_equal(value, before[path])}
    assert moved == {"layer/adapter_a/mask"}


def test_training_takes_weights_away_and_gives_them_back() -> None:
    layer = PiggybackMask(keras.layers.Dense(1, use_bias=False), name="layer")
    layer.build((None, 2))
    layer.layer.kernel.assign([[1.0], [1.0]])
    layer.layer.trainable = False
    entry = keras.Input((2,))
    model = keras.Model(entry, layer(entry))
    x = np.array([[1.0, 0.0], [0.0, 1.0]], "float32")
    for target in ([[1.0], [0.0]], [[0.0], [1.0]]):
        model.compile(keras.optimizers.Adam(1e-2), loss="mean_squared_error")
        model.fit(x, np.array(target), epochs=20, verbose=0)
        np.testing.assert_array_equal(ops.convert_to_numpy(model(x)), target)


def test_the_mask_is_stored_in_a_bit_a_weight() -> None:
    layer = PiggybackMask(make(), ["a", "b"], name="layer")
    layer.build((None, 6, 6, CHANNELS))
    randomize(layer)
    packed = layer.packed_mask("a")
    assert packed.dtype == np.uint8
    assert packed.shape == (9 * CHANNELS * FILTERS // 8,)
    layer.set_packed_mask(packed, "b")
    for mine, theirs in zip(layer.merged_weights("b"), layer.merged_weights("a")):
        np.testing.assert_array_equal(mine, theirs)
    values = np.unique(ops.convert_to_numpy(layer.mask("b")))
    np.testing.assert_allclose(values, [0.0, 1e-2], atol=1e-9)
    np.testing.assert_array_equal(layer.packed_mask("b"), packed)


def test_an_odd_number_of_weights_fills_up_a_byte() -> None:
    layer = PiggybackMask(keras.layers.Dense(3), name="layer", threshold=0.25)
    layer.build((None, 3))
    mask = np.array([[0.3, 0.2, 0.3], [0.2, 0.2, 0.3], [0.3, 0.3, 0.2]])
    layer.mask().assign(mask)
    packed = layer.packed_mask()
    np.testing.assert_array_equal(packed, [0b10100111, 0b00000000])
    layer.set_packed_mask(packed)
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.mask()) > 0.25, mask > 0.25)


@pytest.mark.parametrize("packed", [np.zeros(3, "uint8"), np.zeros(2, "bool")])
def test_a_packed_mask_of_another_layer_is_refused(packed: np.ndarray) -> None:
    layer = PiggybackMask(keras.layers.Dense(3), name="layer")
    layer.build((None, 3))
    with pytest.raises(ValueError, match=r"\(2,\).*9 weights.*Received"):
        layer.set_packed_mask(packed)


@pytest.mark.parametrize("use_bias", [False, True])
def test_merged_weights_do_it_in_one_layer(use_bias: bool) -> None:
    x = RNG.normal(size=(2, 6, 6, CHANNELS)).astype("float32")
    options = {"strides": 2, "groups": 2, "activation": "relu", "use_bias": use_bias}
    layer = PiggybackMask(make(**options), ["a", "b"], name="layer")
    layer.build(x.shape)
    randomize(layer)
    merged = make(**options)
    merged.build(x.shape)
    kernel, bias = layer.merged_weights("b")
    assert (bias is not None) is use_bias
    merged.set_weights([kernel] if bias is None else [kernel, bias])
    expected = ops.convert_to_numpy(layer(x, domain="b"))
    np.testing.assert_allclose(ops.convert_to_numpy(merged(x)), expected, atol=2e-5)


def test_mixed_precision_masks_the_same_weights() -> None:
    policy = "mixed_bfloat16"
    # In bfloat16 both values would be the threshold itself.
    threshold = 1.0
    layer = PiggybackMask(
        keras.layers.Dense(2, dtype=policy), name="layer", threshold=threshold, dtype=policy
    )
    layer.build((None, 1))
    layer.layer.kernel.assign([[1.0, 1.0]])
    layer.mask().assign([[1.0 + 1e-4, 1.0 - 1e-4]])
    y = layer(np.ones((1, 1), "float32"))
    assert keras.backend.standardize_dtype(y.dtype) == "bfloat16"
    np.testing.assert_array_equal(ops.convert_to_numpy(ops.cast(y, "float32")), [[1.0, 0.0]])
    np.testing.assert_array_equal(layer.merged_weights()[0], [[1.0, 0.0]])


def test_each_domain_adds_a_mask_of_the_kernel() -> None:
    layer = PiggybackMask(make(use_bias=False), ["a", "b", "c"])
    layer.build((None, 8, 8, CHANNELS))
    assert layer.count_params() == 4 * 9 * CHANNELS * FILTERS


@pytest.mark.parametrize("layer", [keras.layers.Conv2DTranspose(3, 3), "convolution"])
def test_only_layers_with_a_kernel_are_masked(layer: object) -> None:
    with pytest.raises(TypeError, match="`layer` of PiggybackMask must be"):
        PiggybackMask(layer)


def test_unknown_domains_are_refused_with_the_known_ones() -> None:
    layer = PiggybackMask(make(), ["a", "b"])
    with pytest.raises(ValueError, match=r"\['a', 'b'\].*Received: domain='c'"):
        layer(np.ones((1, 5, 5, CHANNELS), "float32"), domain="c")
