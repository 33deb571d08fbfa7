"""Training in half precision: losses are scaled, and weights stay float32."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np
import pytest

from keras_univrep.backbones import AdaptedBackbone
from keras_univrep.models import MultiDomainModel
from tests.models import toys

MAKE = {
    "adapted": lambda: toys.draw_weights(
        MultiDomainModel(AdaptedBackbone(toys.conv_backbone(8), list(toys.CLASSES)), toys.CLASSES),
        1,
    ),
    "distiller": lambda: toys.distiller(),
}


@pytest.fixture
def policy() -> Iterator:
    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)


def trained(name: str) -> tuple[keras.Model, list[float]]:
    model = MAKE[name]()
    model.compile(keras.optimizers.SGD(0.02))
    return model, model.fit(toys.Stream(2), shuffle=False, epochs=2, verbose=0).history["loss"]


@pytest.mark.parametrize("name", MAKE)
def test_float16_with_scaled_losses_follows_float32(name: str, policy) -> None:
    exact, losses = trained(name)
    policy("mixed_float16")
    half, found = trained(name)
    assert type(half.optimizer).__name__ == "LossScaleOptimizer"
    assert {w.dtype for w in half.trainable_weights} == {"float32"}
    np.testing.assert_allclose(found, losses, rtol=0.02)
    moved = [
        [after - before for after, before in zip(toys.weights(m), toys.weights(MAKE[name]()))]
        for m in (exact, half)
    ]
    # All of a trunk and heads, by the length of what they moved.
    lengths = [np.sqrt(sum(float(np.square(d).sum()) for d in parts)) for parts in moved]
    apart = np.sqrt(sum(float(np.square(a - b).sum()) for a, b in zip(*moved)))
    assert lengths[0] > 0 and apart < 0.05 * lengths[0]


@pytest.mark.parametrize("name", MAKE)
def test_a_step_whose_gradients_overflow_is_left_out(name: str, policy) -> None:
    policy("mixed_float16")
    model = MAKE[name]()
    optimizer = keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(0.02), initial_scale=2.0**60
    )
    model.compile(optimizer)
    before = [np.array(keras.ops.convert_to_numpy(w)) for w in model.trainable_weights]
    model.train_on_batch(*toys.batch(0))
    for old, weight in zip(before, model.trainable_weights, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(weight), old)
    assert float(keras.ops.convert_to_numpy(optimizer.dynamic_scale)) == 2.0**59
