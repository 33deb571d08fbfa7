"""Vanishing points of rooms, from the directions of their walls and floor."""

import numpy as np

# Cosine to the present direction above which a normal belongs to it, narrowing from round to round.
_ROUNDS = tuple(np.cos(np.deg2rad([40.0, 25.0, 15.0])))
_BINS, _NEAR = 45, np.deg2rad(15.0)


def room_vanishing_points(
    normals: np.ndarray,
    fx: float,
    fy: float,
    cx: float,
    cy: float,
    share: float = 0.4,
) -> np.ndarray:
    """Estimates where the horizontal lines of a room meet, from its surface normals.

    Most rooms have walls at right angles. The vertical direction is the mean of the normals within
    40, then 25, then 15 degrees of the present estimate, or of its opposite, from the image's own
    vertical on. Of the normals within 25 degrees of horizontal the angle about the vertical is
    taken modulo 90 degrees; the fullest of 45 bins, smoothed by its neighbours, and the mean of the
    angles within 15 degrees of it give the walls' direction. Of their two horizontal axes the one
    that is nearest to the optical axis points to the vanishing point, which is thus the same for a
    corridor seen along and for a wall seen from the front.

    Differences: No source equation; lekkala2020 does not say where its vanishing points come from.

    Args:
        normals: Unit vectors with x to the right, y down, z away from the camera, (n, height,
            width, 3), zero where unknown, as of `fit_normals`.
        fx: Focal length in columns (pixels).
        fy: Focal length in rows (pixels).
        cx: Column of the optical axis (pixels).
        cy: Row of the optical axis (pixels).
        share: Of the horizontal normals, the smallest share within 15 degrees of the found axes
            with which the estimate counts.

    Returns:
        Column and row of each vanishing point, float32 (n, 2), in half widths and half heights from
        the image's centre: -1 and 1 are its borders. NaN where fewer than a twentieth of the
        normals are horizontal, or fewer than `share` of these agree.

    Raises:
        ValueError: If the normals have another shape or a number is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_univrep.datasets import room_vanishing_points
    >>> facing = np.zeros((1, 8, 8, 3)) + [0.0, 0.0, -1.0]  # A wall seen from the front.
    >>> room_vanishing_points(facing, fx=8, fy=8, cx=3.5, cy=3.5).tolist()
    [[0.0, 0.0]]
    """
    normals = np.asarray(normals, "float64")
    if normals.ndim != 4 or normals.shape[-1] != 3:
        raise ValueError(
            "`normals` must have the shape (n, height, width, 3). Received: shape "
            f"{normals.shape}. Pass those of `fit_normals`, with an axis of images."
        )
    if not (fx > 0 and fy > 0 and 0 < share <= 1):
        raise ValueError(
            "`fx` and `fy` must be positive focal lengths in pixels, and `share` in (0, 1]. "
            f"Received: fx={fx}, fy={fy}, share={share}. Scale the camera's numbers to the maps."
        )
    height, width = normals.shape[1:3]
    found = np.full((len(normals), 2), np.nan, "float32")
    for number, image in enumerate(normals):
        vectors = image.reshape(-1, 3)
        axis = _axis(vectors[np.any(vectors != 0, axis=-1)], share)
        if axis is not None and axis[2] > 0:
            column = fx * axis[0] / axis[2] + cx - (width - 1) / 2
            row = fy * axis[1] / axis[2] + cy - (height - 1) / 2
            found[number] = 2 * column / width, 2 * row / height
    return found


def _axis(vectors: np.ndarray, share: float) -> np.ndarray | None:
    """The horizontal axis of the walls that is nearest to the optical axis."""
    if not len(vectors):
        return None
    vertical = np.array([0.0, 1.0, 0.0])
    for least in _ROUNDS:
        along = vectors @ vertical
        near = np.abs(along) > least
        # Few pixels of floor and ceiling say less than that cameras are held upright.
        if near.sum() * 50 < len(vectors):
            break
        mean = (vectors[near] * np.sign(along[near])[:, None]).mean(0)
        vertical = mean / np.linalg.norm(mean)
    level = vectors[np.abs(vectors @ vertical) < np.sin(np.deg2rad(25.0))]
    if len(level) * 20 < len(vectors):
        return None
    ahead = np.array([0.0, 0.0, 1.0]) - vertical[2] * vertical
    ahead /= np.linalg.norm(ahead)
    aside = np.cross(vertical, ahead)
    quarter = np.pi / 2
    angles = np.arctan2(level @ aside, level @ ahead) % quarter
    counts = np.bincount((angles * (_BINS / quarter)).astype(int) % _BINS, minlength=_BINS)
    smooth = counts + np.roll(counts, 1) + np.roll(counts, -1)
    angle = (smooth.argmax() + 0.5) * (quarter / _BINS)
    for _ in range(3):
        apart = (angles - angle + quarter / 2) % quarter - quarter / 2
        near = np.abs(apart) < _NEAR
        angle += apart[near].mean()
    if near.mean() < share:
        return None
    # The axis within 45 degrees of straight ahead.
    angle = (angle + quarter / 2) % quarter - quarter / 2
    return np.cos(angle) * ahead + np.sin(angle) * aside
