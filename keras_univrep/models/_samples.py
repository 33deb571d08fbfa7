"""Samples of tasks, as learners take them."""

from typing import Any, NamedTuple


class Samples(NamedTuple):
    """Inputs x, targets y and weights, (tasks, samples, ...); None for what there is not."""

    x: Any
    y: Any
    weight: Any
