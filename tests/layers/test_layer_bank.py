"""`LayerBank`: what a leaf need not write."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from keras_univrep.layers.layer_bank import LayerBank

X = np.random.default_rng(0).normal(size=(2, 3)).astype("float32")


class Scale(LayerBank):
    """A layer whose outputs each domain scales."""

    def make_part(self, domain: str | None) -> keras.layers.Layer:
        with self.new_part(domain) as part:
            shape = self.layer.compute_output_shape(self.any_shape)
            part.scale = part.add_weight(shape=shape[1:], initializer="ones", name="scale")
        return part

    def call(self, inputs, domain=None, training=None):
        return self.layer(inputs) * self.part(domain).scale


def test_a_leaf_is_its_part_and_its_call() -> None:
    bank = Scale(keras.layers.Dense(4, name="dense"), ["a", "b"], name="bank")
    expected = ops.convert_to_numpy(bank(X, domain="a"))
    assert expected.shape == bank.compute_output_shape(X.shape) == (2, 4)
    bank.add_domain("c")
    bank.part("c").scale.assign(np.full(4, 2.0))
    np.testing.assert_allclose(ops.convert_to_numpy(bank(X, domain="c")), 2 * expected, rtol=1e-6)
    np.testing.assert_array_equal(ops.convert_to_numpy(bank(X, domain="b")), expected)
    paths = {variable.path for variable in bank.weights}
    assert paths == {
        "bank/dense/kernel",
        "bank/dense/bias",
        *(f"bank/adapter_{name}/scale" for name in "abc"),
    }


def test_a_layer_that_is_built_keeps_its_weights() -> None:
    layer = keras.layers.Dense(4)
    expected = ops.convert_to_numpy(layer(X))
    bank = Scale(layer)
    np.testing.assert_array_equal(ops.convert_to_numpy(bank(X)), expected)
    assert bank.part().name == "adapter"
    assert bank.part().built


def test_the_configuration_makes_the_layer_again_unbuilt() -> None:
    bank = Scale(keras.layers.Dense(4), ["a"], name="bank")
    bank.build(X.shape)
    again = Scale.from_config(bank.get_config())
    assert type(again) is Scale and not again.layer.built
    assert again.layer is not bank.layer
    again.build(X.shape)
    assert again.get_config() == bank.get_config()
    assert [v.path for v in again.weights] == [v.path for v in bank.weights]
