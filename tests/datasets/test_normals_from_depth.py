"""`normals_from_depth` against planes and a sphere, whose normals are known."""

import numpy as np
import pytest

from keras_univrep.datasets import normals_from_depth

RNG = np.random.default_rng(0)
CAMERA = {"fx": 40.0, "fy": 42.0, "cx": 14.5, "cy": 11.0}
SIZE = (24, 32)


def rays() -> np.ndarray:
    v, u = np.mgrid[: SIZE[0], : SIZE[1]]
    x, y = (u - CAMERA["cx"]) / CAMERA["fx"], (v - CAMERA["cy"]) / CAMERA["fy"]
    return np.stack([x, y, np.ones(SIZE)], axis=-1)


def plane(normal: np.ndarray, through: float = 3.0) -> np.ndarray:
    """Depth of the plane with this normal that the optical axis meets at `through` metres."""
    return through * normal[2] / (rays() @ normal)


def angles(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    cosine = (found.astype("float64") * expected).sum(-1)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


@pytest.mark.parametrize("seed", range(4))
def test_a_plane_has_one_normal_which_faces_the_camera(seed: int) -> None:
    tilt = np.random.default_rng(seed).uniform(-0.6, 0.6, 2)
    normal = np.array([*tilt, -1]) / np.linalg.norm([*tilt, -1])
    depth = plane(normal)
    assert depth.min() > 0
    found = normals_from_depth(depth, **CAMERA, jump=None)
    assert found.shape == (*SIZE, 3) and found.dtype == np.float32
    np.testing.assert_allclose(found, np.broadcast_to(normal, found.shape), atol=1e-6)


def test_axes_are_right_down_and_away() -> None:
    wall = normals_from_depth(np.full(SIZE, 2.0), **CAMERA)
    np.testing.assert_allclose(wall, np.broadcast_to([0, 0, -1], wall.shape), atol=1e-7)
    # A floor 1.5 m below the camera is seen in the lower rows, which look down.
    floor = np.zeros(SIZE)
    floor[13:] = 1.5 / rays()[13:, :, 1]
    found = normals_from_depth(floor, **CAMERA, jump=None)
    np.testing.assert_allclose(found[13:], np.broadcast_to([0, -1, 0], (11, 32, 3)), atol=1e-6)
    assert not found[:13].any()
    # A wall on the right faces left.
    side = np.zeros(SIZE)
    side[:, 20:] = 1.0 / rays()[:, 20:, 0]
    found = normals_from_depth(side, **CAMERA, jump=None)[:, 20:]
    np.testing.assert_allclose(found, np.broadcast_to([-1, 0, 0], found.shape), atol=1e-6)


def test_a_sphere_has_normals_along_its_radius() -> None:
    centre, radius = np.array([0.1, -0.05, 3.0]), 0.8
    direction = rays()
    a = (direction**2).sum(-1)
    b = direction @ centre
    root = b**2 - a * (centre @ centre - radius**2)
    hit = root > 0
    depth = np.where(hit, (b - np.sqrt(np.maximum(root, 0))) / a, 0)
    expected = (depth[..., None] * direction - centre) / radius
    found = normals_from_depth(depth, **CAMERA, jump=None)
    error = angles(found, expected)
    inner = hit & (np.abs((expected * direction).sum(-1)) > 0.6)
    assert inner.sum() > 100
    # Central differences have an error of second order in the distance of the pixels.
    assert error[inner].mean() < 1 and error[inner].max() < 6
    assert not found[~hit].any()


def test_pixels_without_depth_are_zero_and_are_not_used_by_their_neighbours() -> None:
    normal = np.array([0.3, -0.2, -1]) / np.linalg.norm([0.3, -0.2, -1])
    depth = plane(normal)
    depth[5, 6] = depth[10:12] = 0
    found = normals_from_depth(depth, **CAMERA, jump=None)
    assert not found[5, 6].any() and not found[10:12].any()
    known = depth > 0
    expected = np.broadcast_to(normal, found.shape)
    np.testing.assert_allclose(found[known], expected[known], atol=1e-6)


def test_a_pixel_with_no_neighbour_in_a_row_or_a_column_is_zero() -> None:
    depth = np.zeros((5, 7))
    depth[2] = 1.0
    depth[0, 0] = 1.0
    assert not normals_from_depth(depth, **CAMERA).any()
    assert not normals_from_depth(np.ones((1, 7)), **CAMERA).any()


def test_normals_do_not_mix_two_surfaces_at_a_jump() -> None:
    depth = np.full(SIZE, 2.0)
    depth[:, 16:] = 3.0
    found = normals_from_depth(depth, **CAMERA)
    np.testing.assert_allclose(found, np.broadcast_to([0, 0, -1], found.shape), atol=1e-7)
    mixed = normals_from_depth(depth, **CAMERA, jump=None)
    assert angles(mixed[:, 15:17], np.array([0, 0, -1])).min() > 60


def test_normals_are_unit_or_zero_and_face_the_camera_for_any_depth() -> None:
    depth = RNG.uniform(0.5, 5, (2, *SIZE)) * (RNG.random((2, *SIZE)) > 0.2)
    found = normals_from_depth(depth, **CAMERA).astype("float64")
    length = np.linalg.norm(found, axis=-1)
    assert (np.isclose(length, 1, atol=1e-6) | (length == 0)).all() and (length > 0).any()
    assert ((found * rays()).sum(-1) <= 1e-7).all()
    np.testing.assert_array_equal(found[1], normals_from_depth(depth[1], **CAMERA))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": np.ones(4)}, "must have shape"),
        ({"depth": -np.ones((4, 4))}, "smallest -1.0"),
        ({"depth": np.full((4, 4), np.nan)}, "16 values not finite"),
        ({"fx": 0.0}, "`fx` and `fy` must be positive"),
        ({"jump": 0.0}, "`jump` must be positive"),
    ],
)
def test_wrong_arguments_are_refused(changes: dict[str, object], message: str) -> None:
    arguments = {"depth": np.ones((4, 4)), **CAMERA, **changes}
    with pytest.raises(ValueError, match=message):
        normals_from_depth(**arguments)  # type: ignore[arg-type]
