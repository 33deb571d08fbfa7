"""Checks of arguments that the networks for dense prediction share."""

from collections.abc import Mapping, Sequence


def scaled(filters: int, width: float) -> int:
    """A channel number by the factor of all channel numbers, at least 1."""
    return max(1, round(filters * width))


def check_width(width: float) -> None:
    """Raises an error unless `width` is positive."""
    if not width > 0:
        raise ValueError(
            f"`width` must be positive. Received: width={width}. Pass 1.0 for the paper's."
        )


def check_tasks(
    tasks: Mapping[str, int], normalized: Sequence[str] | None
) -> tuple[dict[str, int], tuple[str, ...]]:
    """The output channels by task, and the tasks whose output has unit length."""
    good = isinstance(tasks, Mapping) and all(
        isinstance(name, str) and name and "/" not in name and int(number) == number >= 1
        for name, number in tasks.items()
    )
    if not good or not tasks:
        raise ValueError(
            "`tasks` must be a dictionary of at least one task: its name, without `/`, and the "
            "channels of its output. "
            f"Received: tasks={tasks!r}. Pass for example {{'depth': 1}}."
        )
    if normalized is None:
        normalized = [name for name in ("normals",) if name in tasks]
    if isinstance(normalized, str) or not set(normalized) <= set(tasks):
        raise ValueError(
            "`normalized` must be a list of names of tasks. Received: "
            f"normalized={normalized!r} with the tasks {list(tasks)}. Leave out the others."
        )
    return {name: int(number) for name, number in tasks.items()}, tuple(normalized)


def check_auxiliary(auxiliary: Mapping[str, str], tasks: Mapping[str, int]) -> None:
    """Raises an error if a task has the name of an additional output."""
    taken = [name for name in auxiliary if name in tasks]
    if taken:
        raise ValueError(
            "No task may have the name of another task's additional output. Received: tasks="
            f"{list(tasks)}, where {taken} are such outputs. Rename the tasks."
        )
