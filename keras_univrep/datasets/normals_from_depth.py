"""Surface normals of a depth map, by cross products of central differences."""

import numpy as np


def normals_from_depth(
    depth: np.ndarray,
    fx: float,
    fy: float,
    cx: float,
    cy: float,
    jump: float | None = 0.1,
) -> np.ndarray:
    """Computes surface normals from depth maps of a pinhole camera.

    Each pixel (u, v) of depth z is put back to the point z ((u - cx) / fx, (v - cy) / fy, 1). The
    normal is the cross product of the differences between the points left and right, and above and
    below. Axes: x to the right, y down, z away from the camera, so a wall seen from the front has
    the normal (0, 0, -1) and a floor (0, -1, 0).

    At the border of the image, beside a pixel that was not measured and at a jump, where two
    neighbours differ in depth by more than `jump` times the depth, the difference is taken to the
    pixel itself instead, on the side that remains. Where neither side remains, or the pixel was
    not measured, the normal is the zero vector.

    Differences:
        li2022 takes the normals of Eigen and Fergus, which are fitted to the original depth of the
        sensor. Normals are as exact as the depth: rounded depth (8 bits) wants `fit_normals`, which
        averages over a window.

    Args:
        depth: Depth along the optical axis in metres, (..., height, width), 0 where not measured.
        fx: Focal length in columns (pixels).
        fy: Focal length in rows (pixels).
        cx: Column of the optical axis (pixels).
        cy: Row of the optical axis (pixels).
        jump: Relative change of depth, dimensionless, above which two neighbouring pixels belong to
            different surfaces; None for no limit.

    Returns:
        Unit vectors that point to the camera's side of the surface, float32 (..., height, width,
        3); zero vectors where unknown.

    Raises:
        ValueError: If the depth is no map, negative or not finite, or a focal length is not
            positive.

    Example:

    >>> import numpy as np
    >>> from keras_univrep.datasets import normals_from_depth
    >>> wall = np.full((4, 6), 2.0)
    >>> normals_from_depth(wall, fx=5, fy=5, cx=2.5, cy=1.5)[1, 2].tolist()
    [0.0, 0.0, -1.0]

    References:
        - Eigen and Fergus, Predicting Depth, Surface Normals and Semantic Labels with a Common
          Multi-Scale Convolutional Architecture, 2015.
    """
    z = check_depth(depth, fx, fy)
    if jump is not None and not jump > 0:
        raise ValueError(f"`jump` must be positive or None. Received: jump={jump}. Pass 0.1.")
    rays = camera_rays(z.shape[-2], z.shape[-1], fx, fy, cx, cy)
    points = z[..., None] * rays
    right = _difference(points, z, -2, jump)
    down = _difference(points, z, -3, jump)
    # Down times right points towards the camera for a frontal wall: y x z = x, y x x = -z.
    return facing_unit(np.cross(down, right), points, z > 0)


def check_depth(depth: np.ndarray, fx: float, fy: float) -> np.ndarray:
    """Checks depth maps and gives them as float64."""
    z = np.asarray(depth, "float64")
    if z.ndim < 2 or not np.isfinite(z).all() or (z < 0).any():
        finite = z[np.isfinite(z)]
        raise ValueError(
            "`depth` must have shape (..., height, width) and finite values of at least 0 metres. "
            f"Received: shape {z.shape}, {z.size - finite.size} values not finite, smallest "
            f"{finite.min() if finite.size else None}. Put 0 where nothing was measured, and drop "
            "an axis of channels with `depth[..., 0]`."
        )
    if not (fx > 0 and fy > 0):
        raise ValueError(
            "`fx` and `fy` must be positive focal lengths in pixels of the depth map. Received: "
            f"fx={fx}, fy={fy}. Scale those of the camera by the size of the map."
        )
    return z


def camera_rays(height: int, width: int, fx: float, fy: float, cx: float, cy: float) -> np.ndarray:
    """Gives the point of depth 1 behind each pixel, float64 (height, width, 3)."""
    rays = np.ones((height, width, 3))
    rays[..., 0] = (np.arange(width) - cx) / fx
    rays[..., 1] = ((np.arange(height) - cy) / fy)[:, None]
    return rays


def facing_unit(vectors: np.ndarray, points: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Scales vectors to length 1, turns them to the camera, and blanks what is not known."""
    length = np.linalg.norm(vectors, axis=-1)
    known = known & (length > 0)
    away = (vectors * points).sum(-1) > 0
    factor = np.where(away, -1.0, 1.0) / np.where(known, length, 1.0)
    # Adding 0 turns -0 into 0.
    return (np.where(known[..., None], vectors * factor[..., None], 0.0) + 0.0).astype("float32")


def _difference(points: np.ndarray, z: np.ndarray, axis: int, jump: float | None) -> np.ndarray:
    """The difference of the points after and before each pixel along an axis; zero if unknown."""
    step = np.diff(points, axis=axis)
    before, after = (
        np.take(z, range(start, z.shape[axis + 1] - 1 + start), axis + 1) for start in (0, 1)
    )
    joined = (before > 0) & (after > 0)
    if jump is not None:
        joined &= np.abs(after - before) <= jump * np.minimum(before, after)
    step = np.where(joined[..., None], step, 0.0)
    pad = [(0, 0)] * points.ndim
    pad[axis] = (1, 0)
    back = np.pad(step, pad)
    pad[axis] = (0, 1)
    # A side that does not count adds nothing; the cross product needs no more than the direction.
    return back + np.pad(step, pad)
