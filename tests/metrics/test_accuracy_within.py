"""`AccuracyWithin` against NumPy, however batches are split."""

import keras
import numpy as np
import pytest

from keras_univrep.metrics import AccuracyWithin

RNG = np.random.default_rng(0)
TRUE = RNG.normal(size=(7, 3, 2))
PRED = TRUE + RNG.normal(scale=0.1, size=TRUE.shape)


@pytest.mark.parametrize("size", [1, 3, 7])
def test_it_is_the_share_of_all_numbers(size: int) -> None:
    metric = AccuracyWithin(0.07)
    for first in range(0, 7, size):
        metric.update_state(TRUE[first : first + size], PRED[first : first + size])
    wanted = (np.abs(TRUE - PRED) <= 0.07).mean()
    np.testing.assert_allclose(float(metric.result()), wanted, rtol=1e-5)
    metric.reset_state()
    assert float(metric.result()) == 0.0


def test_weights_count_samples() -> None:
    metric, weight = AccuracyWithin(0.07), np.arange(7.0)
    metric.update_state(TRUE, PRED, sample_weight=weight)
    wanted = np.average((np.abs(TRUE - PRED) <= 0.07).mean((1, 2)), weights=weight)
    np.testing.assert_allclose(float(metric.result()), wanted, rtol=1e-5)


def test_round_trip_and_errors() -> None:
    config = keras.saving.serialize_keras_object(AccuracyWithin(0.5, name="near"))
    again = keras.saving.deserialize_keras_object(config)
    assert (again.threshold, again.name) == (0.5, "near")
    with pytest.raises(ValueError, match="`threshold` must not be negative"):
        AccuracyWithin(-1.0)
    with pytest.raises(ValueError, match="must have the same shape"):
        AccuracyWithin().update_state(TRUE, PRED[..., 0])
