"""The loss of surface normals against its golden number and its limits."""

from __future__ import annotations

import numpy as np
import pytest

from keras_univrep.losses import NormalCosine
from tests.golden_dense import golden_normals
from tests.losses.oracles import student_gradient

TARGET, PREDICTION = golden_normals()


def test_value_is_the_golden_one() -> None:
    assert float(NormalCosine()(TARGET, PREDICTION)) == pytest.approx(0.910657865, abs=1e-6)


@pytest.mark.parametrize(("sign", "expected"), [(1.0, 0.0), (-1.0, 2.0)])
def test_right_and_opposite_directions_are_the_ends(sign: float, expected: float) -> None:
    assert float(NormalCosine()(TARGET, sign * TARGET)) == pytest.approx(expected, abs=1e-6)


def test_a_rotation_of_both_does_not_matter() -> None:
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    value = float(NormalCosine()(TARGET @ turn, PREDICTION @ turn))
    assert value == pytest.approx(0.910657865, abs=1e-6)


def test_normal_whose_components_sum_to_zero_counts() -> None:
    normal = np.array([[[[0.6, -0.8, 0.2]]]]) / np.sqrt(1.04)
    normal -= np.mean(normal, axis=-1, keepdims=True)
    assert abs(normal.sum()) < 1e-12
    assert float(NormalCosine()(normal, -normal)) == pytest.approx(1 + np.sum(normal**2), abs=1e-6)


def test_target_that_is_no_number_is_void() -> None:
    target = np.where(np.any(TARGET, axis=-1, keepdims=True), TARGET, np.nan)
    assert float(NormalCosine()(target, PREDICTION)) == pytest.approx(0.910657865, abs=1e-6)
    assert np.isfinite(student_gradient(NormalCosine(), target, PREDICTION)).all()
