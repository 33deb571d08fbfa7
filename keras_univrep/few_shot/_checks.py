"""Checks of the arguments of an estimator."""

import math
from typing import Any


def positive_number(name: str, value: Any) -> float:
    """A positive finite number as a float."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(
            f"`{name}` must be a number. Received: {name}={value!r} (of type "
            f"{type(value).__name__}). Pass a Python float."
        )
    if not math.isfinite(value) or value <= 0:
        raise ValueError(
            f"`{name}` must be positive and finite. Received: {name}={value}. "
            "Pass a positive number."
        )
    return float(value)


def whole_number(name: str, value: Any, minimum: int) -> int:
    """An integer from `minimum` on."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(
            f"`{name}` must be an integer. Received: {name}={value!r} (of type "
            f"{type(value).__name__}). Pass a Python int."
        )
    if value < minimum:
        raise ValueError(
            f"`{name}` must be {minimum} or more. Received: {name}={value}. Pass a larger number."
        )
    return value
