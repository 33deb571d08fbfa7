"""The absolute error of depth against its golden number and its limits."""

from __future__ import annotations

import numpy as np
import pytest

from keras_univrep.losses import DepthL1
from tests.golden_dense import golden_depths
from tests.losses.oracles import student_gradient

TARGET, PREDICTION = golden_depths()


def test_value_is_the_golden_one() -> None:
    assert float(DepthL1()(TARGET, PREDICTION)) == pytest.approx(0.784767673, abs=1e-6)


def test_right_depth_has_neither_loss_nor_gradient() -> None:
    assert float(DepthL1()(TARGET, TARGET)) == 0.0
    assert not np.any(student_gradient(DepthL1(), TARGET, TARGET))


def test_loss_scales_with_the_unit() -> None:
    metres = float(DepthL1()(TARGET, PREDICTION))
    assert float(DepthL1()(100 * TARGET, 100 * PREDICTION)) == pytest.approx(100 * metres, rel=1e-5)


@pytest.mark.parametrize("void", [np.nan, np.inf])
def test_target_that_is_no_number_is_void(void: float) -> None:
    target = np.where(TARGET == 0, void, TARGET)
    assert float(DepthL1()(target, PREDICTION)) == pytest.approx(0.784767673, abs=1e-6)
    gradient = student_gradient(DepthL1(), target, PREDICTION)
    assert np.isfinite(gradient).all() and not gradient[TARGET == 0].any()
