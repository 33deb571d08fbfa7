"""The squared error of known pixels against NumPy, and its limits."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_univrep.losses import MaskedSquaredError
from tests.losses.oracles import student_gradient

RNG = np.random.default_rng(0)
TARGET = RNG.normal(size=(2, 3, 4, 3))
TARGET[RNG.random((2, 3, 4)) < 0.4] = 0.0
PREDICTION = RNG.normal(size=TARGET.shape)
KNOWN = (TARGET != 0).any(-1)


def test_value_is_the_mean_over_known_pixels() -> None:
    wanted = np.mean((PREDICTION - TARGET)[KNOWN] ** 2)
    assert float(MaskedSquaredError()(TARGET, PREDICTION)) == pytest.approx(wanted, rel=1e-5)


def test_gradient_is_that_of_known_pixels_alone() -> None:
    wanted = 2 * (PREDICTION - TARGET) / (3 * KNOWN.sum()) * KNOWN[..., None]
    found = student_gradient(MaskedSquaredError(), TARGET, PREDICTION)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-7)
    assert not np.any(student_gradient(MaskedSquaredError(), np.zeros_like(TARGET), PREDICTION))


def test_it_is_saved_and_refuses_other_sizes() -> None:
    loss = MaskedSquaredError(name="error")
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert isinstance(again, MaskedSquaredError) and again.get_config() == loss.get_config()
    with pytest.raises(ValueError, match="of the same size"):
        loss(TARGET, PREDICTION[:, :2])
