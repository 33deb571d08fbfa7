"""`GaussianHead` against NumPy."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.reinforcement import GaussianHead
from tests.harness import check_layer

RNG = np.random.default_rng(0)


def test_means_are_linear_and_deviations_the_same_for_each_state(tmp_path) -> None:
    def oracle(x, weights):
        means = x @ weights["kernel"] + weights["bias"]
        return np.concatenate([means, np.broadcast_to(weights["log_std"], means.shape)], axis=-1)

    layer = GaussianHead(3, name="policy")
    check_layer(layer, RNG.normal(size=(4, 5)), oracle, tmp_path)


def test_deviations_begin_where_asked_and_stay_above_the_least() -> None:
    head = GaussianHead(2, initial_std=0.5, min_std=0.1)
    x = np.ones((1, 3), "float32")
    found = ops.convert_to_numpy(head(x))[0, 2:]
    np.testing.assert_allclose(np.exp(found), 0.5, rtol=1e-6)
    head.log_std.assign(keras.ops.full((2,), -9.0))
    found = ops.convert_to_numpy(head(x))[0, 2:]
    np.testing.assert_allclose(np.exp(found), 0.1, rtol=1e-6)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="`actions` must be a positive integer"):
        GaussianHead(0)
    with pytest.raises(ValueError, match="`initial_std` and `min_std` must be positive"):
        GaussianHead(1, initial_std=0.0)
