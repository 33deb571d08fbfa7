"""The error of depth: units, void pixels, and a whole data set."""

from __future__ import annotations

import numpy as np
import pytest

from keras_univrep.metrics import DepthError
from tests.golden_dense import golden_depths

TARGET, PREDICTION = golden_depths()


def error(target: np.ndarray, prediction: np.ndarray, relative: bool = False) -> float:
    metric = DepthError(relative=relative)
    metric.update_state(target, prediction)
    return float(metric.result())


def test_absolute_error_has_the_unit_and_relative_error_has_none() -> None:
    assert error(100 * TARGET, 100 * PREDICTION) == pytest.approx(78.4767673, rel=1e-5)
    assert error(100 * TARGET, 100 * PREDICTION, True) == pytest.approx(0.435591961, rel=1e-5)


def test_hand_values() -> None:
    target = np.array([1.0, 2.0, 4.0, 0.0]).reshape(1, 2, 2, 1)
    prediction = np.array([2.0, 1.0, 7.0, 9.0]).reshape(1, 2, 2, 1)
    assert error(target, prediction) == pytest.approx(5 / 3)
    assert error(target, prediction, relative=True) == pytest.approx((1 + 0.5 + 0.75) / 3)


@pytest.mark.parametrize("void", [np.nan, np.inf])
@pytest.mark.parametrize("relative", [False, True])
def test_target_that_is_no_number_is_void(void: float, relative: bool) -> None:
    target = np.where(TARGET == 0, void, TARGET)
    assert error(target, PREDICTION, relative) == error(TARGET, PREDICTION, relative)


def test_names_tell_the_errors_apart() -> None:
    assert DepthError().name == "depth_error"
    assert DepthError(relative=True).name == "relative_depth_error"
    assert DepthError(name="disparity").name == "disparity"


def test_many_small_batches_equal_float64() -> None:
    rng = np.random.default_rng(0)
    target = rng.uniform(1.0, 10.0, (300, 2, 3, 1)).astype("float32")
    prediction = (target + rng.normal(size=target.shape) * 10.0).astype("float32")
    metric = DepthError()
    # A large batch first, beside which float32 would round the small ones.
    metric.update_state(np.ones((1, 200, 200, 1)), np.full((1, 200, 200, 1), 1001.0))
    for image in range(300):
        metric.update_state(target[[image]], prediction[[image]])
    errors = np.abs(target.astype("float64") - prediction)
    expected = (4e4 * 1000.0 + errors.sum()) / (4e4 + 1800)
    assert float(metric.result()) == pytest.approx(expected, rel=1e-7)
