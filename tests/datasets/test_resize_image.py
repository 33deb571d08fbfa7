"""Images become squares, whole or by their centre."""

from __future__ import annotations

import numpy as np

from keras_univrep.datasets.resize_image import resize_image


def test_the_whole_image_or_its_central_square_is_taken() -> None:
    stripes = np.repeat(np.array([0, 90, 180, 255], "uint8"), 4)[None].repeat(8, axis=0)
    square, shorter = resize_image(stripes, 8), resize_image(stripes, 8, "shorter")
    assert square.shape == shorter.shape == (8, 8)
    assert square[0, 0] == 0 and square[0, -1] == 255
    np.testing.assert_array_equal(shorter, stripes[:, 4:12])


def test_colours_stay_apart_and_a_smaller_image_is_an_average() -> None:
    pixels = np.zeros((8, 8, 3), "uint8")
    pixels[::2, :, 1] = 200
    found = resize_image(pixels, 2)
    assert found.shape == (2, 2, 3) and found.dtype == np.uint8
    assert not found[..., [0, 2]].any()
    np.testing.assert_allclose(found[..., 1], 100, atol=12)
