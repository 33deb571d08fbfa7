"""`CoupledAdam` against PyTorch's update in NumPy."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import pytest

from keras_univrep.optimizers import CoupledAdam
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
def test_follows_pytorch(l2: float) -> None:
    actual = steps(CoupledAdam(0.1, beta_1=0.8, beta_2=0.95, l2=l2))
    expected = oracles.adam(START, GRADIENTS, 0.1, l2, (0.8, 0.95))
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def test_is_plain_adam_without_the_penalty() -> None:
    np.testing.assert_allclose(
        steps(CoupledAdam(0.1)), steps(keras.optimizers.Adam(0.1)), rtol=1e-5, atol=1e-7
    )


def test_the_moments_see_the_penalty() -> None:
    decoupled = steps(keras.optimizers.Adam(0.1, weight_decay=0.3))
    assert np.abs(steps(CoupledAdam(0.1, l2=0.3)) - decoupled).max() > 0.05


def test_compiled_steps_follow_pytorch_and_resume(tmp_path: pathlib.Path) -> None:
    check_fit(
        lambda: CoupledAdam(0.1, l2=0.3),
        lambda gradient: oracles.adam(START, [gradient] * 4, 0.1, 0.3),
        tmp_path,
    )


def test_configuration_gives_the_optimizer_back() -> None:
    check_config(CoupledAdam)


def test_contradictory_decays_are_refused() -> None:
    check_refusals(CoupledAdam)
