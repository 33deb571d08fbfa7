"""`road_vanishing_points` finds where drawn lines meet."""

from __future__ import annotations

import numpy as np
import pytest

from keras_univrep.datasets import road_vanishing_points

HEIGHT, WIDTH = 90, 120


def street(column: float, row: float, noise: float = 4.0) -> np.ndarray:
    """Sectors of grey around a point, as kerbs and facades make them, and noise."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    angle = np.arctan2(rows - row, columns - column)
    grey = np.array([60.0, 200, 90, 160, 40, 220, 120])[np.digitize(angle, np.linspace(-3, 3, 6))]
    grey += noise * np.random.default_rng(0).normal(size=grey.shape)
    return np.clip(grey, 0, 255).astype("uint8")[..., None].repeat(3, axis=-1)


def test_the_point_is_where_the_lines_meet():
    places = [(60, 45), (35, 50), (90, 30)]
    found = road_vanishing_points(np.stack([street(*place) for place in places]))
    wanted = [(2 * (x - 59.5) / WIDTH, 2 * (y - 44.5) / HEIGHT) for x, y in places]
    np.testing.assert_allclose(found, wanted, atol=0.03)


def test_what_has_no_such_lines_is_unknown():
    flat = np.full((HEIGHT, WIDTH, 3), 90, "uint8")
    blinds = flat.copy()
    blinds[::8] = 255  # Level lines say nothing of depth.
    noise = np.random.default_rng(0).integers(0, 256, flat.shape).astype("uint8")
    found = road_vanishing_points(np.stack([flat, blinds, noise]))
    assert np.isnan(found).all()


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="must have the shape"):
        road_vanishing_points(np.zeros((HEIGHT, WIDTH, 3), "uint8"))
    with pytest.raises(ValueError, match="from 32 pixels on"):
        road_vanishing_points(np.zeros((1, 16, 64, 3), "uint8"))
    with pytest.raises(ValueError, match="must be uint8"):
        road_vanishing_points(np.zeros((1, HEIGHT, WIDTH, 3)))
    with pytest.raises(ValueError, match="`share` in"):
        road_vanishing_points(np.zeros((1, HEIGHT, WIDTH, 3), "uint8"), share=2.0)
