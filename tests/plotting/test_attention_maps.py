import numpy as np
import pytest
from PIL import Image

from keras_univrep.plotting import plot_attention_maps

IMAGES = np.zeros((2, 16, 16, 3))


def red_place(path):
    """Mean place of what is red, as shares of the picture's height and width."""
    image = np.asarray(Image.open(path).convert("RGB")).astype(float)
    rows, columns = np.nonzero((image[..., 0] - image[..., 2] > 60) & (image[..., 1] < 60))
    return rows.mean() / image.shape[0], columns.mean() / image.shape[1]


def hot(row, column):
    maps = np.zeros((2, 4, 4))
    maps[:, row, column] = 1.0
    return maps


def test_what_is_largest_is_red_where_it_is(tmp_path):
    left, right = (
        red_place(plot_attention_maps(tmp_path / "a.png", IMAGES, {"flow": hot(1, column)}))
        for column in (0, 3)
    )
    # The second of two columns, which a square fills from left to right.
    assert 0.5 < left[1] < right[1] - 0.2
    assert abs(left[0] - right[0]) < 0.02
    low = red_place(plot_attention_maps(tmp_path / "a.png", IMAGES, {"flow": hot(3, 0)}))
    assert low[0] > left[0] + 0.1
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_only_the_place_counts_and_not_the_strength(tmp_path):
    one, other = (
        plot_attention_maps(tmp_path / f"{scale}.png", IMAGES, {"flow": scale * hot(1, 2) + scale})
        for scale in (1.0, 100.0)
    )
    assert one.read_bytes() == other.read_bytes()


def test_maps_that_belong_to_other_images_are_refused(tmp_path):
    for maps in ({}, {"a": np.zeros((3, 4, 4))}, {"a": np.full((2, 4, 4), np.nan)}):
        with pytest.raises(ValueError, match="There must be images"):
            plot_attention_maps(tmp_path / "a.png", IMAGES, maps)
