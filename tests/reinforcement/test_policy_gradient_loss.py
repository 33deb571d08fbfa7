"""`PolicyGradientLoss` against the density of a normal distribution."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep import backend
from keras_univrep.reinforcement import PolicyGradientLoss

RNG = np.random.default_rng(0)


def density(actions, means, deviations):
    quotient = np.exp(-((actions - means) ** 2) / (2 * deviations**2))
    return quotient / np.sqrt(2 * np.pi * deviations**2)


def test_it_is_the_mean_of_advantages_times_log_likelihoods() -> None:
    actions, means, log_std = RNG.normal(size=(3, 6, 2))
    advantages = RNG.normal(size=(6, 1))
    y_true = np.concatenate([actions, advantages, advantages], axis=-1)
    y_pred = np.concatenate([means, log_std], axis=-1)
    joint = density(actions, means, np.exp(log_std)).prod(axis=-1)
    wanted = -np.mean(advantages[:, 0] * np.log(joint))
    found = PolicyGradientLoss()(y_true.astype("float32"), y_pred.astype("float32"))
    np.testing.assert_allclose(float(found), wanted, rtol=1e-5)


def test_a_step_makes_good_actions_likelier() -> None:
    # Of N(m, 1) the gradient of log N(a; m) at m is a - m: here 2 and -1, advantages 1 and -1.
    y_true = np.array([[2.0, 1.0], [-1.0, -1.0]], "float32")
    mean = keras.Variable(0.0)

    def loss():
        outputs = ops.stack([mean.value * ops.ones((2,)), ops.zeros((2,))], axis=-1)
        return PolicyGradientLoss()(y_true, outputs), ()

    _, _, (grad,) = backend.gradients(loss, [mean])
    np.testing.assert_allclose(float(grad), -(2.0 * 1.0 + (-1.0) * (-1.0)) / 2, rtol=1e-5)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="Targets must be actions and advantages"):
        PolicyGradientLoss()(np.zeros((2, 3), "float32"), np.zeros((2, 4), "float32"))
