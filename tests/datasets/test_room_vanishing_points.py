"""`room_vanishing_points` finds the axes of rooms that were turned by known angles."""

from __future__ import annotations

import numpy as np
import pytest

from keras_univrep.datasets import room_vanishing_points

HEIGHT, WIDTH = 24, 32
CAMERA = {"fx": 28.0, "fy": 27.0, "cx": 16.5, "cy": 11.0}


def room(yaw: float, pitch: float, noise: float = 0.05, clutter: float = 0.2) -> np.ndarray:
    """Normals of two walls, a floor and clutter, seen by a camera turned by degrees."""
    rng = np.random.default_rng(0)
    yaw, pitch = np.deg2rad([yaw, pitch])
    floor = np.array([0.0, -np.cos(pitch), -np.sin(pitch)])
    # The direction ahead of a level camera, and to its right, as this camera sees them.
    ahead = np.array([0.0, -np.sin(pitch), np.cos(pitch)])
    right = np.array([1.0, 0.0, 0.0])
    front = -(np.cos(yaw) * ahead + np.sin(yaw) * right)
    side = np.cos(yaw) * right - np.sin(yaw) * ahead
    vectors = np.stack([front, side, floor])[rng.integers(0, 3, HEIGHT * WIDTH)]
    vectors = vectors + noise * rng.normal(size=vectors.shape)
    random = rng.random(len(vectors)) < clutter
    vectors[random] = rng.normal(size=(random.sum(), 3))
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors.reshape(1, HEIGHT, WIDTH, 3)


def expected(yaw: float, pitch: float) -> np.ndarray:
    """The image of the point at infinity in the direction of the nearer axis."""
    yaw = (yaw + 45) % 90 - 45
    yaw, pitch = np.deg2rad([yaw, pitch])
    x, y, z = np.sin(yaw), -np.cos(yaw) * np.sin(pitch), np.cos(yaw) * np.cos(pitch)
    column = CAMERA["fx"] * x / z + CAMERA["cx"] - (WIDTH - 1) / 2
    row = CAMERA["fy"] * y / z + CAMERA["cy"] - (HEIGHT - 1) / 2
    return np.array([2 * column / WIDTH, 2 * row / HEIGHT])


@pytest.mark.parametrize("yaw", [0, 20, -35, 60, 130])
@pytest.mark.parametrize("pitch", [0, 25, -15])
def test_the_point_is_that_of_the_nearer_axis(yaw, pitch):
    found = room_vanishing_points(room(yaw, pitch), **CAMERA)[0]
    np.testing.assert_allclose(found, expected(yaw, pitch), atol=0.1)


def test_without_noise_it_is_exact():
    found = room_vanishing_points(room(12, 8, noise=0, clutter=0), **CAMERA)[0]
    np.testing.assert_allclose(found, expected(12, 8), atol=1e-5)


@pytest.mark.filterwarnings("error")
def test_what_has_no_walls_or_no_axes_is_unknown():
    floor = np.zeros((1, HEIGHT, WIDTH, 3)) + [0.0, -1.0, 0.0]
    nothing = np.zeros((1, HEIGHT, WIDTH, 3))
    # A round tower: walls in all directions.
    angles = np.linspace(0, np.pi, HEIGHT * WIDTH).reshape(1, HEIGHT, WIDTH)
    tower = np.stack([np.cos(angles), 0 * angles, -np.sin(angles)], axis=-1)
    found = room_vanishing_points(np.concatenate([floor, nothing, tower]), **CAMERA)
    assert np.isnan(found).all()
    assert np.isfinite(room_vanishing_points(tower, **CAMERA, share=0.2)).all()


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match=r"must have the shape \(n, height, width, 3\)"):
        room_vanishing_points(np.zeros((4, 4, 3)), **CAMERA)
    with pytest.raises(ValueError, match="`share` in"):
        room_vanishing_points(np.zeros((1, 4, 4, 3)), **CAMERA, share=0.0)
    with pytest.raises(ValueError, match="positive focal lengths"):
        room_vanishing_points(np.zeros((1, 4, 4, 3)), **(CAMERA | {"fx": 0.0}))
