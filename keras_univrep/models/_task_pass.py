"""What a high-level task gives for a batch of its sub-tasks."""

from typing import Any, NamedTuple


class TaskPass(NamedTuple):
    """What a pass over a batch gives, each (tasks, ...); None for what was not asked for."""

    outputs: Any
    modulated: Any
    inner: Any
    divergence: Any
    weights: Any
