"""The distance of dense features, with its golden numbers: `NormalizedL2` on maps."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from keras_univrep.losses import NormalizedL2
from tests.golden_inputs import golden_map
from tests.losses.oracles import unit

TEACHER = golden_map(0.53, (2, 3, 4, 6))


@pytest.mark.parametrize("positions", ["mean", "sum"])
def test_upsampled_student_has_the_golden_distance(positions: str) -> None:
    small = ops.convert_to_tensor(golden_map(0.29, (2, 3, 2, 3)), dtype="float32")
    student = ops.image.resize(small, (4, 6), "bilinear", data_format="channels_last")
    value = float(NormalizedL2(positions=positions)(TEACHER, student))
    count = 1 if positions == "mean" else 4 * 6
    assert value == pytest.approx(1.995720123 * count, rel=1e-5)
    per_pixel = np.sum((unit(ops.convert_to_numpy(student)) - unit(TEACHER)) ** 2, axis=-1)
    assert value == pytest.approx(per_pixel.mean() * count, rel=1e-5)
