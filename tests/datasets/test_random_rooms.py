"""The rooms are a dense domain like any other, and the same for the same seed."""

from __future__ import annotations

import numpy as np

from keras_univrep.datasets import random_rooms


def test_the_seed_decides() -> None:
    first, again, other = (random_rooms((8, 12), seed).arrays("test") for seed in (1, 1, 2))
    np.testing.assert_array_equal(first[0], again[0])
    assert (first[0] != other[0]).any()
    assert first[1]["depth"].shape == (2, 8, 12, 1)
    assert 1.0 <= first[1]["depth"].min() and first[1]["depth"].max() <= 5.0
    assert set(np.unique(first[1]["segmentation"])) == {-1, 0, 1, 2}
