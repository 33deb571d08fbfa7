"""Images are averaged, and maps are taken, at the same places."""

from __future__ import annotations

import numpy as np
import pytest

from keras_univrep.datasets import resize_dense
from tests.datasets.dense_sets import toy_domain


def test_maps_keep_their_values_and_places() -> None:
    domain = toy_domain(n=2, height=12, width=18)
    small = resize_dense(domain, (4, 6))
    images, maps = small.arrays("train")
    assert images.shape == (2, 4, 6, 3) and small.image_shape == (4, 6, 3)
    for task, values in domain.arrays("train")[1].items():
        # Every third pixel, from the middle one.
        np.testing.assert_array_equal(maps[task], values[:, 1::3, 1::3])
    assert small.size("test") == 3 and small.class_names == domain.class_names


def test_image_is_scaled_bilinearly_over_what_it_covers() -> None:
    domain = toy_domain(n=1, height=6, width=6)
    images = domain.arrays("train")[0].astype("float64")
    found = resize_dense(domain, (3, 3)).arrays("train")[0]
    # The triangle of a bilinear filter stretched by two reaches two pixels to either side.
    for row, column in ((1, 1), (0, 2)):
        weights = [
            np.maximum(0, 1 - np.abs((np.arange(6) + 0.5) / 2 - (place + 0.5)))
            for place in (row, column)
        ]
        window = np.outer(*weights)
        right = (images[0] * window[..., None]).sum((0, 1)) / window.sum()
        np.testing.assert_allclose(found[0, row, column], right, atol=1.0)


def test_size_must_be_positive() -> None:
    with pytest.raises(ValueError, match="image_size"):
        resize_dense(toy_domain(), (0, 8))
