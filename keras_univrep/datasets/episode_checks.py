"""Checks of what an episode sampler is given."""

import numpy as np
import numpy.typing as npt


def way_range(way: int | tuple[int, int] | None) -> tuple[int, int]:
    """Least and most classes of an episode."""
    pair = (5, 50) if way is None else way if isinstance(way, (tuple, list)) else (way, way)
    whole = all(isinstance(value, (int, np.integer)) for value in pair)
    if len(pair) != 2 or not whole or not 1 <= pair[0] <= pair[1]:
        raise ValueError(
            "`way` must be None, an integer of at least 1 or a pair (least, most) of them. "
            f"Received: way={way!r}. Pass, for example, 5 or (5, 50)."
        )
    return int(pair[0]), int(pair[1])


def check_labels(labels: npt.ArrayLike, num_classes: int | None) -> np.ndarray:
    """Labels as an array (n,), if they are not negative and below `num_classes`."""
    found = np.asarray(labels)
    if found.dtype.kind not in "ui":
        raise TypeError(
            f"`labels` must be integers. Received: dtype {found.dtype}. Number the classes, for "
            "example with `np.unique(names, return_inverse=True)`."
        )
    if found.ndim != 1 or not len(found) or found.min() < 0:
        raise ValueError(
            "`labels` must have shape (n,), n at least 1, and no negative entry. Received: shape "
            f"{found.shape}. Pass the labels of one split, `domain.arrays(split)[1]`."
        )
    if num_classes is not None and found.max() >= num_classes:
        raise ValueError(
            f"`labels` must be below `num_classes`. Received: a label {found.max()}, "
            f"num_classes={num_classes}. Pass `num_classes=None`."
        )
    return found.astype("int64", copy=False)


def check_number(name: str, value: int, least: int) -> None:
    """Refuses what is no integer of at least `least`."""
    if not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(
            f"`{name}` must be an integer of at least {least}. Received: {name}={value!r}. Pass "
            f"{least}."
        )
