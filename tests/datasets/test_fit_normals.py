"""`fit_normals` is exact on planes and close on rounded depth, where differences are not."""

import numpy as np
import pytest

from keras_univrep.datasets import fit_normals, normals_from_depth
from tests.datasets.test_normals_from_depth import CAMERA, SIZE, angles, plane, rays

STEP = 1 / 25.5


def room() -> tuple[np.ndarray, np.ndarray]:
    """Depth and normals inside a box whose edges the camera sees, turned a little."""
    turn, pitch = 0.5, 0.2
    yaw = [[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]]
    nod = [[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]]
    rotation = np.array(yaw) @ np.array(nod)
    direction = rays() @ rotation.T
    half = np.array([1.5, 0.8, 2.0])
    distance = half / np.abs(direction)
    axis = distance.argmin(-1)
    inward = -np.sign(np.take_along_axis(direction, axis[..., None], -1)) * np.eye(3)[axis]
    return distance.min(-1), inward @ rotation


@pytest.mark.parametrize("seed", range(3))
def test_a_plane_is_fitted_exactly_up_to_the_border(seed: int) -> None:
    tilt = np.random.default_rng(seed).uniform(-0.6, 0.6, 2)
    normal = np.array([*tilt, -1]) / np.linalg.norm([*tilt, -1])
    depth = plane(normal)
    depth[4, 5] = 0
    found = fit_normals(depth, **CAMERA, radius=3)
    assert found.shape == (*SIZE, 3) and found.dtype == np.float32
    assert not found[4, 5].any()
    known = found.any(-1)
    assert known.sum() == known.size - 1
    assert angles(found[known], normal).max() < 0.05


def test_rounded_depth_of_a_room_gives_its_walls_where_differences_do_not() -> None:
    depth, expected = room()
    rounded = np.round(depth / STEP) * STEP
    fitted = fit_normals(rounded, **CAMERA, radius=3, step=STEP)
    known = fitted.any(-1)
    assert known.mean() > 0.98
    error = angles(fitted, expected)[known]
    plain = angles(normals_from_depth(rounded, **CAMERA), expected)[known]
    # At the edges of the room a window holds two walls; elsewhere the fit is close.
    assert np.median(error) < 2 and np.mean(error < 5) > 0.6
    assert np.median(plain) > 8 and np.mean(plain < 5) < 0.4


def test_a_window_across_an_edge_fits_the_surface_of_its_centre() -> None:
    depth = np.full(SIZE, 2.0)
    depth[:, 16:] = 3.0
    found = fit_normals(depth, **CAMERA, radius=4)
    # At the edge five of nine columns count.
    assert angles(found, np.array([0, 0, -1])).max() < 0.05


def test_a_window_with_too_few_pixels_gives_zero() -> None:
    depth = np.full(SIZE, 2.0)
    depth[:, ::2] = 0
    depth[::2] = 0
    assert not fit_normals(depth, **CAMERA, radius=2).any()
    line = np.zeros(SIZE)
    line[7] = 2
    assert not fit_normals(line, **CAMERA, radius=2).any()
    assert not fit_normals(np.full((1, 30), 2.0), **CAMERA, radius=2).any()


def test_maps_are_fitted_one_by_one() -> None:
    depth = np.stack([plane(np.array([0.1, 0.3, -1])), np.full(SIZE, 2.0)])
    both = fit_normals(depth, **CAMERA, radius=2)
    for one, normals in zip(depth, both, strict=True):
        np.testing.assert_array_equal(fit_normals(one, **CAMERA, radius=2), normals)


@pytest.mark.parametrize("changes", [{"radius": 0}, {"radius": 1.5}, {"jump": 0}, {"step": -1}])
def test_wrong_arguments_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="`radius` must be an integer of at least 1"):
        fit_normals(np.ones((4, 4)), **CAMERA, **changes)  # type: ignore[arg-type]
