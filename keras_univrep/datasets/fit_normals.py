"""Surface normals of a coarse depth map, by a plane through each window."""

import numpy as np

from keras_univrep.datasets.normals_from_depth import camera_rays, check_depth, facing_unit


def fit_normals(
    depth: np.ndarray,
    fx: float,
    fy: float,
    cx: float,
    cy: float,
    radius: int = 5,
    jump: float = 0.1,
    step: float = 0.0,
) -> np.ndarray:
    """Computes surface normals from depth maps that are rounded or noisy.

    The depth of 8-bit maps comes in steps of centimetres: between neighbouring pixels there is no
    step or a whole one, and `normals_from_depth` is off by 20 degrees in a room. Here a plane is
    fitted to a window around each pixel. A plane's inverse depth 1/z = a u + b v + c is linear in
    column u and row v, so least squares give it exactly, and its normal is -(fx a, fy b,
    a cx + b cy + c), scaled to length 1. Axes are those of `normals_from_depth`.

    Of the window only pixels count that were measured and whose depth is within `jump` times the
    pixel's depth, plus one `step`: a window that holds an edge fits the pixel's own surface. The
    normal is the zero vector where the pixel was not measured, or where fewer than half of the
    window's pixels inside the image count, or all in one line.

    Differences:
        li2022 takes the normals of Eigen and Fergus, fitted to the original depth of the sensor.

    Args:
        depth: Depth along the optical axis in metres, (..., height, width), 0 where not measured.
        fx: Focal length in columns (pixels).
        fy: Focal length in rows (pixels).
        cx: Column of the optical axis (pixels).
        cy: Row of the optical axis (pixels).
        radius: Pixels of the window on each side of its centre, at least 1.
        jump: Relative difference of depth, dimensionless, up to which a pixel belongs to the
            surface of the window's centre.
        step: Distance of two depth values in metres, 0 for depth that is not rounded.

    Returns:
        Unit vectors that point to the camera's side of the surface, float32 (..., height, width,
        3); zero vectors where unknown.

    Raises:
        ValueError: If the depth is no map, negative or not finite, or a number is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_univrep.datasets import fit_normals
    >>> slope = 2 + 0.05 * np.arange(12)[:, None] + np.zeros((12, 16))  # Farther at the bottom.
    >>> normal = fit_normals(slope.round(1), 20, 20, 8, 6, step=0.1)[6, 8]
    >>> bool(normal[1] > 0 > normal[2]), bool(abs(normal[0]) < 1e-6)
    (True, True)
    """
    z = check_depth(depth, fx, fy)
    if not isinstance(radius, (int, np.integer)) or radius < 1 or not jump > 0 or not step >= 0:
        raise ValueError(
            "`radius` must be an integer of at least 1, `jump` positive and `step` at least 0. "
            f"Received: radius={radius!r}, jump={jump}, step={step}. Pass, for example, radius=5, "
            "jump=0.1 and the metres between two depth values."
        )
    rays = camera_rays(z.shape[-2], z.shape[-1], fx, fy, cx, cy)
    normals = np.empty((*z.shape, 3), "float32")
    for index in np.ndindex(z.shape[:-2]):
        plane, known = _fit(z[index], int(radius), jump, step)
        a, b, c = plane
        columns, rows = rays[..., 0] * fx, rays[..., 1] * fy
        # `c` is the inverse depth at the pixel: the constant at the optical axis is c - a u - b v.
        vectors = np.stack([fx * a, fy * b, c - a * columns - b * rows], axis=-1)
        normals[index] = facing_unit(vectors, rays, known)
    return normals


def _fit(
    z: np.ndarray, radius: int, jump: float, step: float
) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], np.ndarray]:
    """Fits 1/z = a du + b dv + c around each pixel; gives (a, b, c) and where it is known."""
    height, width = z.shape
    z = z.astype("float32")
    inverse = np.divide(1, z, out=np.zeros_like(z), where=z > 0)
    band = np.float32(jump) * z + np.float32(step)
    # Far below zero: pixels outside the image or not measured are in no band.
    padded_z = np.pad(np.where(z > 0, z, np.float32(-1e9)), radius, constant_values=-1e9)
    padded_inverse = np.pad(inverse, radius)
    # Sums over the window of weight, du, dv, du du, du dv, dv dv, d, du d and dv d, where d is the
    # inverse depth less that of the centre. Those over a row of the window first.
    total = np.zeros((9, height, width), "float32")
    line = np.empty((5, height, width), "float32")
    weight, values, scratch = np.empty((3, height, width), "float32")
    for dv in range(-radius, radius + 1):
        line[...] = 0
        for du in range(-radius, radius + 1):
            view = np.s_[radius + dv : radius + dv + height, radius + du : radius + du + width]
            np.subtract(padded_z[view], z, out=scratch)
            np.abs(scratch, out=scratch)
            np.less_equal(scratch, band, out=weight)
            np.subtract(padded_inverse[view], inverse, out=values)
            values *= weight
            line[0] += weight
            line[3] += values
            line[1] += np.multiply(weight, np.float32(du), out=scratch)
            line[2] += np.multiply(weight, np.float32(du * du), out=scratch)
            line[4] += np.multiply(values, np.float32(du), out=scratch)
        for target, source, power in (
            *((0, 0, 0), (1, 1, 0), (2, 0, 1), (3, 2, 0), (4, 1, 1), (5, 0, 2)),
            *((6, 3, 0), (7, 4, 0), (8, 3, 1)),
        ):
            total[target] += np.multiply(line[source], np.float32(dv**power), out=scratch)
    return _solve(total.astype("float64"), inverse, radius, z > 0)


def _solve(
    total: np.ndarray, inverse: np.ndarray, radius: int, measured: np.ndarray
) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], np.ndarray]:
    count, u, v, uu, uv, vv, d, ud, vd = total
    number = np.maximum(count, 1)
    s_uu, s_uv, s_vv = uu - u * u / number, uv - u * v / number, vv - v * v / number
    s_ud, s_vd = ud - u * d / number, vd - v * d / number
    determinant = s_uu * s_vv - s_uv * s_uv
    height, width = inverse.shape
    inside = [
        np.minimum(np.arange(side) + radius, side - 1) - np.maximum(np.arange(side) - radius, 0) + 1
        for side in (height, width)
    ]
    # For pixels in one line the determinant is 0; for three in a corner already above a half.
    known = measured & (2 * count >= np.outer(*inside)) & (determinant > 1e-3)
    safe = np.where(known, determinant, 1.0)
    a = (s_vv * s_ud - s_uv * s_vd) / safe
    b = (s_uu * s_vd - s_uv * s_ud) / safe
    return (a, b, inverse + (d - a * u - b * v) / number), known
