"""A trunk is known by what it computes: its structure and weights, and not by names."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.backbones import AdaptedBackbone, ResNet26
from keras_univrep.compression import joint_svd
from keras_univrep.models._trunk_fingerprint import trunk_fingerprint
from tests.models import toys


def fingerprint(trunk: keras.Model, **options: Any) -> str:
    return trunk_fingerprint(AdaptedBackbone(trunk, ["photo"], **options))


@keras.saving.register_keras_serializable(package="tests.fingerprint")
class Scaled(keras.layers.Layer):
    """A layer with a weight beside the layer inside it, of which its configuration says nothing."""

    def __init__(self, strides: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.convolution = keras.layers.Conv2D(4, 3, strides=strides, name="convolution")

    def build(self, input_shape: Any) -> None:
        self.scale = self.add_weight(shape=(4,), initializer="ones", name="scale")
        self.convolution.build(input_shape)

    def call(self, x: Any) -> Any:
        return self.convolution(x) * self.scale

    def compute_output_shape(self, input_shape: Any) -> Any:
        return self.convolution.compute_output_shape(input_shape)


class Code(keras.Model):
    """A trunk that cannot be saved: its argument is no configuration."""

    def __init__(self, convolution: keras.layers.Layer) -> None:
        super().__init__()
        self.convolution, self.filters = convolution, 4
        self.build((None, 8, 8, 3))

    def build(self, input_shape: Any) -> None:
        self.convolution.build(input_shape)
        self.built: bool = True

    def call(self, x: Any) -> Any:
        return self.convolution(x)


def tail() -> keras.Model:
    """A graph inside the graph, whose layer is called twice."""
    entry = keras.Input((None, None, 4))
    again = keras.layers.Conv2D(4, 3, padding="same")
    return keras.Model(entry, again(again(entry)))


def trunk(
    epsilon: float = 1e-3,
    strides: int = 1,
    activation: str = "relu",
    function: Callable[[Any], Any] = ops.relu,
    last: Callable[[Any], Any] = lambda x: 2.0 * x,
    crossed: bool = False,
    size: int | None = None,
    **more: Any,
) -> keras.Model:
    """Layers that Keras names, operations, branches; the weights are the same for all options."""
    entry = keras.Input((size, size, 3))
    x = keras.layers.Conv2D(4, 3, strides=strides, padding="same", **more)(entry)
    x = keras.layers.BatchNormalization(epsilon=epsilon, **more)(x)
    x = keras.layers.Activation(activation, **more)(x)
    left, right = function(x), ops.tanh(x)
    x = right - 0.5 * left if crossed else left - 0.5 * right
    x = keras.layers.Lambda(last, **more)(Scaled(**more)(tail()(x)))
    return toys.draw_weights(keras.Model(entry, x), 3)


def test_the_fingerprint_is_the_same_on_every_backend() -> None:
    # Of plain layers, as the code in a Lambda is another in another version of Python.
    assert fingerprint(toys.draw_weights(toys.conv_backbone(8), 1)).startswith("faebaab4a7c81289")
    resnet = toys.draw_weights(ResNet26(width=0.125), 1)
    assert fingerprint(resnet).startswith("0741deadf60e7e77")


@pytest.mark.parametrize(
    "make",
    [
        trunk,
        lambda: toys.draw_weights(ResNet26(width=0.125), 1),
        lambda: toys.draw_weights(
            keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), tail()]), 1
        ),
    ],
    ids=["graph", "code", "sequence"],
)
def test_another_build_and_a_loaded_one_have_the_same(
    make: Callable[[], keras.Model], tmp_path: pathlib.Path
) -> None:
    model = make()
    expected = fingerprint(model)
    assert fingerprint(make()) == expected
    model.save(tmp_path / "trunk.keras")
    loaded = keras.saving.load_model(tmp_path / "trunk.keras", safe_mode=False)
    assert fingerprint(loaded) == expected
    backbone = AdaptedBackbone(loaded, ["photo", "sketch"], normalization="shared")
    backbone.save(tmp_path / "backbone.keras")
    again = keras.saving.load_model(tmp_path / "backbone.keras", safe_mode=False)
    assert trunk_fingerprint(again) == trunk_fingerprint(backbone) == expected


@pytest.mark.parametrize(
    "options",
    [
        {"epsilon": 1.0},
        {"strides": 2},
        {"activation": "tanh"},
        {"function": ops.sigmoid},
        {"last": lambda x: 3.0 * x},
        {"crossed": True},
    ],
    ids=lambda options: next(iter(options)),
)
def test_another_structure_with_the_same_weights_has_another(options: dict) -> None:
    model, other = trunk(), trunk(**options)
    for mine, theirs in zip(model.weights, other.weights, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(mine), ops.convert_to_numpy(theirs))
    assert fingerprint(other) != fingerprint(model)


@pytest.mark.parametrize(
    "options",
    [{"size": 16}, {"dtype": "mixed_bfloat16"}, {"trainable": False}],
    ids=lambda options: next(iter(options)),
)
def test_what_the_trunk_does_not_compute_does_not_count(options: dict) -> None:
    assert fingerprint(trunk(**options)) == fingerprint(trunk())


def test_initializers_regularizers_and_seeds_do_not_count() -> None:
    def model(**options: Any) -> keras.Model:
        entry = keras.Input((8, 8, 3))
        x = keras.layers.Conv2D(4, 3, **options)(entry)
        return toys.draw_weights(keras.Model(entry, x), 1)

    options = {"kernel_initializer": keras.initializers.HeNormal(seed=4), "bias_regularizer": "l2"}
    assert fingerprint(model(**options)) == fingerprint(model())


def test_the_options_of_a_network_of_code_count() -> None:
    network = toys.draw_weights(ResNet26(width=0.125), 1)
    other = toys.draw_weights(ResNet26(width=0.125, end_activation=False), 1)
    assert fingerprint(network) != fingerprint(other)


def test_every_weight_counts() -> None:
    model = trunk()
    seen = {fingerprint(model)}
    for weight in model.weights:
        value = np.array(ops.convert_to_numpy(weight))
        changed = value.copy()
        changed.flat[0] += 1e-3
        weight.assign(changed)
        seen.add(fingerprint(model))
        weight.assign(value)
    assert len(seen) == 1 + len(model.weights)
    assert fingerprint(model) in seen


def test_a_layer_without_configuration_counts_by_its_parts() -> None:
    def model(strides: int = 1, value: float = 1.0) -> keras.Model:
        network = Code(keras.layers.Conv2D(4, 3, strides=strides))
        network.convolution.kernel.assign(np.full((3, 3, 3, 4), value, "float32"))
        return network

    with pytest.raises(NotImplementedError):
        model().get_config()
    assert fingerprint(model()) == fingerprint(model())
    assert len({fingerprint(model()), fingerprint(model(2)), fingerprint(model(1, 2.0))}) == 3


def test_what_domains_share_counts() -> None:
    backbone = AdaptedBackbone(toys.draw_weights(toys.conv_backbone(8), 1), ["photo", "sketch"])
    for bank in backbone.banks.values():
        for number, part in enumerate(bank.parts):
            for weight in part.weights:
                weight.assign(np.random.default_rng(number).uniform(0.1, 1.0, weight.shape))
    joint = joint_svd(backbone, 2)
    expected = trunk_fingerprint(joint)
    bank = next(bank for bank in joint.banks.values() if hasattr(bank, "beta"))
    bank.beta.assign(bank.beta + 1.0)
    assert trunk_fingerprint(joint) != expected != trunk_fingerprint(backbone)
