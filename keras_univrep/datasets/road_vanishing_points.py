"""Vanishing points of roads and streets, voted for by the edges of an image."""

import numpy as np

_COLUMNS, _ROWS = 32, 24
# Pixels that vote, those left out at the border, and the least pixels from a point to a voter.
_VOTERS, _BORDER, _APART = 2500, 4, 10.0
_TOLERANCE = np.float32(np.sin(np.deg2rad(3.0)))
_FLATTEST, _STEEPEST = np.sin(np.deg2rad([10.0, 85.0]))
_ROUNDS, _CHUNK = 5, 500


def road_vanishing_points(images: np.ndarray, share: float = 0.1) -> np.ndarray:
    """Estimates where the lines of a street meet, from the edges of its image.

    The 2500 pixels with the strongest gradient of the smoothed grey image vote, each by the square
    root of its gradient's length, for those of 32x24 points over the image that its edge runs
    towards within 3 degrees. Edges whose gradient is within 10 degrees of horizontal or 5 of
    vertical say nothing of depth and do not vote. The fullest point is refined by five rounds of
    least squares over the pixels that agree with it, weighted by the inverse square of their
    distance. What comes out is the point where most lines meet: straight ahead on a straight road,
    the end of a facade where the car turns.

    Differences: No source equation; lekkala2020 does not say where its vanishing points come from.

    Args:
        images: uint8 (n, height, width, 3), at least 32 pixels high and wide.
        share: The smallest share of all votes, in (0, 1], with which the estimate counts.

    Returns:
        Column and row of each vanishing point, float32 (n, 2), in half widths and half heights from
        the image's centre: -1 and 1 are its borders. NaN where fewer than `share` of the votes
        agree or the point left the image.

    Raises:
        ValueError: If the images have another shape or type, or `share` is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_univrep.datasets import road_vanishing_points
    >>> rows, columns = np.mgrid[:60, :80]
    >>> road = np.abs(columns - 45) < 1.2 * (rows - 30)  # Its sides meet at (45, 30).
    >>> x, y = road_vanishing_points(np.uint8(200 * road)[None, ..., None].repeat(3, -1))[0]
    >>> bool(abs(x - 2 * 5.5 / 80) < 0.05), bool(abs(y - 2 * 0.5 / 60) < 0.1)
    (True, True)

    References:
        - Kong, Audibert, Ponce. Vanishing point detection for road detection. CVPR 2009 (votes of
          textures; here of edges).
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] != 3 or min(images.shape[1:3]) < 32:
        raise ValueError(
            "`images` must have the shape (n, height, width, 3), from 32 pixels on. Received: "
            f"shape {images.shape}. Pass an array of colour images."
        )
    if images.dtype != np.uint8 or not 0 < share <= 1:
        raise ValueError(
            f"`images` must be uint8 and `share` in (0, 1]. Received: {images.dtype}, "
            f"share={share}. Pass images with values from 0 to 255."
        )
    height, width = images.shape[1:3]
    columns = (np.arange(_COLUMNS) + 0.5) * width / _COLUMNS - 0.5
    rows = (np.arange(_ROWS) + 0.5) * height / _ROWS - 0.5
    grid = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2).astype("float32")
    points = np.stack([_point(image, grid, share) for image in images])
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    points = 2 * (points - centre) / (width, height)
    points[~(np.abs(points) <= 1).all(-1)] = np.nan
    return points.astype("float32")


def _point(image: np.ndarray, grid: np.ndarray, share: float) -> np.ndarray:
    """Column and row of the point, in pixels; NaN if too few agree."""
    places, across, votes = _edges(image)
    totals = np.zeros(len(grid), "float32")
    for start in range(0, len(places), _CHUNK):
        part = np.s_[start : start + _CHUNK]
        near, _ = _towards(grid, places[part], across[part])
        totals += near @ votes[part]
    point = grid[totals.argmax()]
    for _ in range(_ROUNDS):
        found, square = _towards(point[None], places, across)
        near = found[0]
        if near.sum() < 3 or votes[near].sum() < share * votes.sum():
            return np.full(2, np.nan)
        normals, weights = across[near], votes[near] / square[0, near]
        offsets = (normals * places[near]).sum(-1)
        point, *_ = np.linalg.lstsq(
            (normals.T * weights) @ normals, (normals.T * weights) @ offsets, rcond=None
        )
    return point


def _towards(
    points: np.ndarray, places: np.ndarray, across: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Whether edges run towards points, (points, edges), and the square of how far they are."""
    beside = points @ across.T - (places * across).sum(-1)
    square = (points**2).sum(-1)[:, None] + (places**2).sum(-1) - 2 * points @ places.T
    return (beside**2 < _TOLERANCE**2 * square) & (square > _APART**2), square


def _edges(image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Column and row of the pixels that vote, unit normals of their edges, and their votes."""
    grey = image.astype("float32").mean(-1)
    for axis in (0, 1, 0, 1):
        grey = (np.roll(grey, 1, axis) + 2 * grey + np.roll(grey, -1, axis)) / 4
    down, right = np.gradient(grey)
    strength = np.hypot(down, right)
    inside = np.zeros_like(strength)
    inside[_BORDER:-_BORDER, _BORDER:-_BORDER] = 1
    steepness = np.abs(down) / np.maximum(strength, 1e-6)
    strength *= inside * (steepness > _FLATTEST) * (steepness < _STEEPEST)
    rows, columns = np.unravel_index(np.argsort(strength, axis=None)[-_VOTERS:], strength.shape)
    kept = strength[rows, columns] > 0
    rows, columns = rows[kept], columns[kept]
    length = strength[rows, columns]
    across = np.stack([right[rows, columns], down[rows, columns]], axis=-1) / length[:, None]
    return np.stack([columns, rows], axis=-1).astype("float32"), across, np.sqrt(length)
