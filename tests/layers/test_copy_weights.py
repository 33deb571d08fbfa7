"""Copied weights are equal, and apart."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.layers.copy_weights import copy_weights


def layers() -> list[keras.layers.Dense]:
    pair = [keras.layers.Dense(64) for _ in range(2)]
    for layer in pair:
        layer.build((None, 64))
    return pair


def test_training_of_the_source_leaves_the_copy_alone() -> None:
    source, target = layers()
    copy_weights(source, target)
    before = ops.convert_to_numpy(target.kernel).copy()
    np.testing.assert_array_equal(before, ops.convert_to_numpy(source.kernel))
    entry = keras.Input((64,))
    model = keras.Model(entry, source(entry))
    model.compile(keras.optimizers.SGD(0.1), "mean_squared_error")
    model.fit(np.ones((4, 64)), np.ones((4, 64)), verbose=0)
    assert not np.array_equal(ops.convert_to_numpy(source.kernel), before)
    np.testing.assert_array_equal(ops.convert_to_numpy(target.kernel), before)


def test_other_shapes_are_refused() -> None:
    source, target = layers()[0], keras.layers.Dense(3)
    target.build((None, 64))
    with pytest.raises(ValueError, match="shape"):
        copy_weights(source, target)
