"""`CoupledSGD` against PyTorch's update in NumPy."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.optimizers import CoupledSGD
from tests.optimizers import oracles
from tests.optimizers.harness import (
    GRADIENTS,
    START,
    check_config,
    check_fit,
    check_refusals,
    steps,
)


@pytest.mark.parametrize("l2", [0.0, 0.3])
@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_follows_pytorch(momentum: float, nesterov: bool, l2: float) -> None:
    actual = steps(CoupledSGD(0.1, momentum=momentum, nesterov=nesterov, l2=l2))
    expected = oracles.sgd(START, GRADIENTS, 0.1, l2, momentum, nesterov)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_is_plain_sgd_without_the_penalty() -> None:
    plain = keras.optimizers.SGD(0.1, momentum=0.9)
    actual = steps(CoupledSGD(0.1, momentum=0.9))
    np.testing.assert_allclose(actual, steps(plain), rtol=1e-5, atol=1e-6)


def test_momentum_acts_on_the_penalty() -> None:
    decoupled = steps(keras.optimizers.SGD(0.1, momentum=0.9, weight_decay=0.3))
    assert np.abs(steps(CoupledSGD(0.1, momentum=0.9, l2=0.3)) - decoupled).max() > 0.05


def test_a_step_without_gradient_shrinks_the_weight() -> None:
    variable = keras.Variable([2.0, -4.0])
    CoupledSGD(0.5, l2=0.1).apply([ops.zeros((2,))], [variable])
    np.testing.assert_allclose(ops.convert_to_numpy(variable), [1.9, -3.8], rtol=1e-6)


def test_clipping_acts_on_the_gradient_and_not_on_the_penalty() -> None:
    variable = keras.Variable([3.0, 4.0])
    gradient = ops.convert_to_tensor(np.array([30.0, 40.0], "float32"))
    CoupledSGD(1.0, l2=0.5, clipnorm=1.0).apply([gradient], [variable])
    np.testing.assert_allclose(ops.convert_to_numpy(variable), [0.9, 1.2], rtol=1e-5)


def test_compiled_steps_follow_pytorch_and_resume(tmp_path: pathlib.Path) -> None:
    check_fit(
        lambda: CoupledSGD(0.1, momentum=0.9, l2=0.3),
        lambda gradient: oracles.sgd(START, [gradient] * 4, 0.1, 0.3, 0.9),
        tmp_path,
    )


def test_configuration_gives_the_optimizer_back() -> None:
    check_config(CoupledSGD)


def test_contradictory_decays_are_refused() -> None:
    check_refusals(CoupledSGD)
