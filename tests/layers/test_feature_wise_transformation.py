"""`FeatureWiseTransformation`: the moments of what it draws, and when it draws nothing."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep import backend
from keras_univrep.layers import FeatureWiseTransformation
from tests.harness import check_config

CHANNELS = 20_000


def softplus(x: float) -> float:
    return float(np.log1p(np.exp(x)))


def transformed(layer, x: np.ndarray) -> np.ndarray:
    return ops.convert_to_numpy(layer(x.astype("float32"), training=True))


def test_scales_and_shifts_have_the_moments_of_the_paper() -> None:
    layer = FeatureWiseTransformation(seed=3)
    shift = transformed(layer, np.zeros((1, CHANNELS)))[0]
    np.testing.assert_allclose(shift.mean(), 0.0, atol=0.05)
    np.testing.assert_allclose(shift.std(), softplus(0.5), rtol=0.03)
    # Of one draw for a batch, samples differ by their scale alone.
    x = np.stack([np.zeros(CHANNELS), np.ones(CHANNELS)])
    first, second = transformed(layer, x)
    np.testing.assert_allclose((second - first).mean(), 1.0, atol=0.05)
    np.testing.assert_allclose((second - first).std(), softplus(0.3), rtol=0.03)
    assert not np.allclose(first, shift)


def test_inference_changes_nothing() -> None:
    layer = FeatureWiseTransformation(seed=0)
    x = np.random.default_rng(0).normal(size=(2, 3, 3, 4)).astype("float32")
    np.testing.assert_array_equal(ops.convert_to_numpy(layer(x)), x)
    assert not layer.trainable_variables
    check_config(layer)


def test_learned_spreads_have_a_gradient() -> None:
    layer = FeatureWiseTransformation(learned=True, seed=0)
    x = np.ones((2, 3), "float32")
    layer.build(x.shape)

    def loss():
        return ops.sum(layer(x, training=True)), ()

    _, _, grads = backend.gradients(loss, layer.trainable_variables)
    assert len(grads) == 2 and all(np.all(ops.convert_to_numpy(g) != 0.0) for g in grads)


def test_spreads_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="must be finite"):
        FeatureWiseTransformation(scale_spread=float("nan"))
    assert keras.saving.get_registered_name(FeatureWiseTransformation).startswith("keras_univrep>")
