"""Anchors are where and as large as they should be."""

from __future__ import annotations

import numpy as np
import pytest

from keras_univrep.losses import anchor_boxes


def test_anchors_have_their_centres_areas_and_ratios() -> None:
    strides, size, scales, ratios = (4, 8), 8.0, 2, (0.25, 1.0, 4.0)
    anchors = anchor_boxes((16, 24), strides, size, scales, ratios)
    assert anchors.shape == ((4 * 6 + 2 * 3) * 6, 4) and anchors.dtype == np.float32
    row = 0
    for stride in strides:
        for i in range(16 // stride):
            for j in range(24 // stride):
                for ratio in ratios:
                    for k in range(scales):
                        left, top, right, bottom = anchors[row]
                        assert ((left + right) / 2, (top + bottom) / 2) == (j * stride, i * stride)
                        side = stride * size * 2 ** (k / scales)
                        assert bottom - top == pytest.approx(side * ratio**0.5, abs=2.0)
                        assert right - left == pytest.approx(side / ratio**0.5, abs=2.0)
                        row += 1
    assert row == len(anchors)


def test_map_of_an_image_that_no_stride_divides_is_rounded_up() -> None:
    anchors = anchor_boxes((37, 20), (16,), 1.0, 1, (1.0,))
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    np.testing.assert_array_equal(centres, [[j * 10, i * 12] for i in range(3) for j in range(2)])


@pytest.mark.parametrize(
    "arguments",
    [
        {"image_shape": (32,)},
        {"image_shape": (32, 0)},
        {"strides": ()},
        {"anchor_size": 0.0},
        {"anchor_ratios": (1.0, -1.0)},
    ],
)
def test_bad_arguments_are_refused(arguments: dict) -> None:
    with pytest.raises(ValueError, match="Received: "):
        anchor_boxes(**{"image_shape": (32, 32), **arguments})
