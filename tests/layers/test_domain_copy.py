"""`DomainCopy` against the layer that it copies, in NumPy."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.layers import DomainCopy
from tests.harness import Weights, bits, check_layer, randomize
from tests.oracles import convolution, normalization

RNG = np.random.default_rng(0)
CHANNELS, FILTERS = 4, 6
X = RNG.normal(size=(2, 6, 5, CHANNELS))


def make(**kwargs: object) -> keras.layers.Conv2D:
    return keras.layers.Conv2D(FILTERS, 3, name="convolution", **kwargs)


def test_owes_what_every_layer_owes(tmp_path: pathlib.Path) -> None:
    check_layer(
        DomainCopy(
            make(strides=2, padding="same", activation="tanh"), domains=["a", "b"], name="layer"
        ),
        X,
        lambda x, w: np.tanh(
            convolution(x, w["convolution_b/kernel"], stride=2, padding="same")
            + w["convolution_b/bias"]
        ),
        tmp_path,
        frozen=["layer"],
        domain="b",
    )


@pytest.mark.parametrize("training", [False, True])
def test_copies_a_normalisation(training: bool, tmp_path: pathlib.Path) -> None:
    def oracle(x: np.ndarray, w: Weights) -> np.ndarray:
        gamma, beta, mean, variance = (
            w[f"bn_b/{name}"] for name in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        moments = None if training else (mean, variance)
        return normalization(x, gamma, beta, moments, epsilon=1e-3)

    check_layer(
        DomainCopy(keras.layers.BatchNormalization(name="bn"), ["a", "b"], name="layer"),
        X,
        oracle,
        tmp_path,
        frozen=["layer"],
        domain="b",
        training=training,
    )


@pytest.mark.parametrize(
    "original",
    [
        make(activation="relu", bias_initializer="ones"),
        keras.layers.Dense(5),
        keras.layers.LayerNormalization(),
    ],
)
def test_copies_start_as_the_layer_bit_for_bit(original: keras.layers.Layer) -> None:
    x = X.astype("float32")
    layer = DomainCopy(original, ["a"])
    layer.build(x.shape)
    randomize(layer.layer)
    layer.add_domain("b")
    np.testing.assert_array_equal(
        ops.convert_to_numpy(layer(x, domain="b")), ops.convert_to_numpy(layer.layer(x))
    )
    different = [
        not np.array_equal(mine, theirs)
        for mine, theirs in zip(layer.part("a").get_weights(), layer.part("b").get_weights())
    ]
    assert all(different)


def test_copies_may_start_afresh() -> None:
    layer = DomainCopy(make(), ["a", "b"], reinitialize=True)
    layer.build(X.shape)
    kernels = [ops.convert_to_numpy(part.kernel) for part in (layer.layer, *layer.parts)]
    assert not np.array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[1], kernels[2])


def test_a_new_copy_of_a_trained_normalisation_may_start_afresh() -> None:
    layer = DomainCopy(keras.layers.BatchNormalization(), ["a"], reinitialize=True)
    layer.build(X.shape)
    randomize(layer.layer)
    layer.add_domain("b")
    gamma, beta, mean, variance = layer.part("b").get_weights()
    np.testing.assert_array_equal([gamma, variance], np.ones((2, CHANNELS)))
    np.testing.assert_array_equal([beta, mean], np.zeros((2, CHANNELS)))


def test_a_step_on_one_domain_moves_its_copy_only() -> None:
    layer = DomainCopy(keras.layers.BatchNormalization(name="bn"), ["a", "b"], name="layer")
    layer.layer.trainable = False
    entry = keras.Input(X.shape[1:])
    model = keras.Model(entry, layer(entry, domain="a"))
    model.compile(keras.optimizers.SGD(0.1), loss="mean_squared_error")
    before = bits(layer)
    model.fit(X, RNG.normal(size=X.shape), verbose=0)
    moved = {path for path, value in bits(layer).items() if not np.array_equal(value, before[path])}
    names = ("gamma", "beta", "moving_mean", "moving_variance")
    assert moved == {f"layer/bn_a/{name}" for name in names}


def test_copies_of_a_frozen_layer_train() -> None:
    original = keras.layers.Dense(3)
    original.trainable = False
    layer = DomainCopy(original, ["a"])
    layer.build((None, 2))
    assert len(layer.trainable_variables) == 2
    assert len(layer.non_trainable_variables) == 2


@pytest.mark.parametrize("use_bias", [False, True])
def test_merged_weights_are_those_of_the_copy(use_bias: bool) -> None:
    x = X.astype("float32")
    layer = DomainCopy(make(use_bias=use_bias), ["a", "b"], name="layer")
    layer.build(x.shape)
    randomize(layer)
    kernel, bias = layer.merged_weights("b")
    assert (bias is not None) is use_bias
    layer.layer.set_weights([kernel] if bias is None else [kernel, bias])
    np.testing.assert_array_equal(
        ops.convert_to_numpy(layer.layer(x)), ops.convert_to_numpy(layer(x, domain="b"))
    )


def test_a_layer_without_a_kernel_has_none_to_merge() -> None:
    layer = DomainCopy(keras.layers.LayerNormalization(), ["a"])
    layer.build(X.shape)
    with pytest.raises(ValueError, match="Only a layer with a kernel.*Received.*get_weights"):
        layer.merged_weights("a")


def test_only_layers_are_copied() -> None:
    with pytest.raises(TypeError, match="must be a Keras layer. Received: 'dense'"):
        DomainCopy("dense")


def test_unknown_domains_are_refused_with_the_known_ones() -> None:
    layer = DomainCopy(make(), ["a", "b"])
    with pytest.raises(ValueError, match=r"\['a', 'b'\].*Received: domain='c'"):
        layer(X.astype("float32"), domain="c")
