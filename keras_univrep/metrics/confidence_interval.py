"""Mean and 95 % confidence interval over episodes or seeds."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

NORMAL_QUANTILE = 1.96
"""The 97.5 % quantile of the normal distribution, as the few-shot literature rounds it."""


def confidence_interval(values: Sequence[float] | np.ndarray, ddof: int = 0) -> tuple[float, float]:
    """Mean and half width of the 95 % confidence interval of the mean.

    Equation:
        li2022 table 7, the number after the plus-minus sign

            half_width = 1.96 s / sqrt(n),  s^2 = sum_i (x_i - mean)^2 / (n - ddof)

        | symbol | here | shape |
        |---|---|---|
        | x | `values`: accuracy of each episode | (n,) |
        | n | number of episodes, 600 in the papers | scalar |

    Differences:
        None known with `ddof=0`, the convention of the field's released code. The normal quantile
        is for many episodes. For a handful of seeds take `ddof=1` and know that 1.96 is still too
        small: Student's quantile is 4.30 at n = 3, 2.78 at n = 5 and 2.26 at n = 10.

    Args:
        values: One number per episode, `(n,)`, any units.
        ddof: 0 for the population's standard deviation, 1 for the unbiased variance.

    Returns:
        `(mean, half_width)` in the units of `values`.

    Raises:
        ValueError: For values that are not one-dimensional, not finite, or not more than `ddof`.
        TypeError: For a `ddof` that is no integer.

    Example:
        >>> from keras_univrep.metrics import confidence_interval
        >>> mean, half_width = confidence_interval([70.0, 72.0, 74.0, 76.0])
        >>> round(mean, 2), round(half_width, 2)
        (73.0, 2.19)

    References:
        - Triantafillou et al., Meta-Dataset, 2020.
    """
    _check_ddof(ddof)
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1:
        raise ValueError(
            "`values` must hold one number per episode, shape (n,). Received: shape="
            f"{x.shape}. Flatten it, or call once per data set."
        )
    if x.size <= ddof:
        raise ValueError(
            f"`values` must hold more than ddof={ddof} numbers. Received: {x.size}. "
            "Run more episodes, or use ddof=0."
        )
    if not np.isfinite(x).all():
        raise ValueError(
            f"`values` must be finite. Received: {int((~np.isfinite(x)).sum())} of {x.size} "
            "numbers that are not. Look at those episodes before averaging."
        )
    half_width = NORMAL_QUANTILE * float(np.std(x, ddof=ddof)) / math.sqrt(x.size)
    return float(np.mean(x)), half_width


def _check_ddof(ddof: Any) -> None:
    if isinstance(ddof, bool) or not isinstance(ddof, int):
        raise TypeError(
            f"`ddof` must be an integer. Received: ddof={ddof!r} (of type {type(ddof).__name__}). "
            "Pass 0 or 1."
        )
    if ddof not in (0, 1):
        raise ValueError(
            f"`ddof` must be 0 or 1. Received: ddof={ddof}. Pass 0 for the field's convention."
        )
