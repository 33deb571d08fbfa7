"""`DropBlock`: squares, their number, the scale, and what training does not touch."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from keras_univrep.layers import DropBlock
from tests.harness import check_config


def dropped(layer: DropBlock, shape: tuple[int, ...]) -> np.ndarray:
    return ops.convert_to_numpy(layer(np.ones(shape, "float32"), training=True)) == 0


def test_drops_whole_squares_inside_the_map_and_keeps_the_mean() -> None:
    layer = DropBlock(0.1, 3, seed=1)
    y = ops.convert_to_numpy(layer(np.ones((8, 12, 10, 16), "float32"), training=True))
    gone = y == 0
    # Each dropped pixel lies in a 3x3 square of dropped ones.
    windows = np.lib.stride_tricks.sliding_window_view(gone, (3, 3), axis=(1, 2)).all((-1, -2))
    covered = np.zeros_like(gone)
    for i in range(3):
        for j in range(3):
            covered[:, i : i + 10, j : j + 8] |= windows
    np.testing.assert_array_equal(covered, gone)
    assert 0.07 < gone.mean() < 0.12
    np.testing.assert_allclose(y.mean(), 1.0, rtol=1e-5)
    np.testing.assert_allclose(y[~gone], 1.0 / (1.0 - gone.mean()), rtol=1e-5)


def test_blocks_of_one_are_dropout_and_a_small_map_has_small_blocks() -> None:
    assert abs(dropped(DropBlock(0.3, 1, seed=0), (4, 16, 16, 8)).mean() - 0.3) < 0.02
    small = dropped(DropBlock(0.5, 7, seed=0), (16, 2, 2, 8))
    # A block covers the whole map.
    assert set(np.unique(small.sum((1, 2)))) == {0, 4}


def test_draws_anew_and_leaves_inference_alone() -> None:
    layer = DropBlock(0.2, 3, seed=0)
    shape = (2, 8, 8, 4)
    assert (dropped(layer, shape) != dropped(layer, shape)).any()
    x = np.ones(shape, "float32")
    np.testing.assert_array_equal(ops.convert_to_numpy(layer(x)), x)
    np.testing.assert_array_equal(ops.convert_to_numpy(DropBlock(0.0)(x, training=True)), x)
    check_config(layer)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="`rate` must be in"):
        DropBlock(1.0)
    with pytest.raises(ValueError, match="`block_size` must be a positive integer"):
        DropBlock(0.1, 0)
    with pytest.raises(ValueError, match="of known size"):
        DropBlock(0.1)(np.zeros((2, 4), "float32"), training=True)
