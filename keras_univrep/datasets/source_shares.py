"""Divides batches among the sources of a task."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_univrep.datasets.source import Source

Sources = Mapping[str, Mapping[str, Source]]
MIXES = {"equal": 0.0, "proportional": 1.0}


def check_sources(sources: Any) -> dict[str, dict[str, Source]]:
    """Copies `{task: {source: Source}}`, and checks it: a task's images have one kind and shape."""
    good = isinstance(sources, Mapping) and sources
    if not good or not all(isinstance(row, Mapping) and row for row in sources.values()):
        raise TypeError(
            "`sources` must be {task: {name: Source}}, with at least one source for each task. "
            f"Received: {type(sources).__name__} of "
            f"{ {t: type(row).__name__ for t, row in sources.items()} if good else {} }. Name the "
            "only source of a task as well."
        )
    for task, row in sources.items():
        first = next(iter(row.values()))
        for name, source in row.items():
            if not isinstance(source, Source):
                raise TypeError(
                    f"Sources must be of the type Source. Received: {type(source).__name__} for "
                    f"'{name}' of task '{task}'. Make one with `source_from_domain`."
                )
            if source.image_shape != first.image_shape or source.kind != first.kind:
                raise ValueError(
                    f"Sources of task '{task}' go through its network as one batch and must be of "
                    f"one kind and image shape. Received: {first.kind} {first.image_shape} for "
                    f"'{first.name}' and {source.kind} {source.image_shape} for '{source.name}'. "
                    "Make them with one `image_size`, and repeat a grey channel three times."
                )
    return {task: dict(row) for task, row in sources.items()}


def source_shares(
    sizes: Mapping[str, Mapping[str, int]],
    batch_size: int | Mapping[str, Any],
    mix: str | float = "equal",
) -> dict[str, dict[str, int]]:
    """Counts the images that each source has in each batch.

    With N sources of a task and a batch size of b there are N b images of the task in a batch,
    divided in proportion to (size of the source) ** mix and rounded by the largest remainders, at
    least one for each source.

    Args:
        sizes: `{task: {source: images}}`.
        batch_size: b, or b for each task, `{task: b}`; or the counts themselves,
            `{task: {source: count}}`, whatever `mix` is.
        mix: "equal" (0), "proportional" (1), or a number in [0, 1] between them.

    Returns:
        `{task: {source: count}}`.

    Raises:
        ValueError: If an argument is out of range or names other tasks or sources.

    Example:

    >>> from keras_univrep.datasets.source_shares import source_shares
    >>> source_shares({"detection": {"coco": 900, "cells": 100}}, 10, "proportional")
    {'detection': {'coco': 18, 'cells': 2}}
    """
    power = MIXES.get(mix) if isinstance(mix, str) else mix
    if power is None or not 0 <= power <= 1:
        raise ValueError(
            f"`mix` must be one of {list(MIXES)} or a number in [0, 1]. Received: mix={mix!r}. "
            "Pass one of these."
        )
    by_task = batch_size if isinstance(batch_size, Mapping) else dict.fromkeys(sizes, batch_size)
    if set(by_task) != set(sizes):
        raise ValueError(
            f"`batch_size` must have one entry for each task: {list(sizes)}. Received: "
            f"{list(by_task)}. Pass one integer for all, or a dict with exactly these names."
        )
    shares: dict[str, dict[str, int]] = {}
    for task, row in sizes.items():
        given = by_task[task]
        if isinstance(given, Mapping):
            if set(given) != set(row):
                raise ValueError(
                    f"`batch_size[{task!r}]` must have one entry for each source: {list(row)}. "
                    f"Received: {list(given)}. Pass exactly these names."
                )
            own = {source: given[source] for source in row}
        else:
            _check_count(given, f"`batch_size` of task '{task}'")
            own = _divide(row, int(given) * len(row), power)
        for source, count in own.items():
            _check_count(count, f"`batch_size` of source '{source}' of task '{task}'")
        shares[task] = {source: int(count) for source, count in own.items()}
    return shares


def _divide(sizes: Mapping[str, int], total: int, power: float) -> dict[str, int]:
    weights = np.array([float(size) ** power for size in sizes.values()])
    exact = total * weights / weights.sum()
    # The smallest source is in every batch, at the cost of those that have most beyond their share.
    counts = np.maximum(np.floor(exact + 1e-9).astype("int64"), 1)
    while counts.sum() > total:
        counts[np.argmax(np.where(counts > 1, counts - exact, -np.inf))] -= 1
    while counts.sum() < total:
        counts[np.argmax(exact - counts)] += 1
    return dict(zip(sizes, counts.tolist(), strict=True))


def _check_count(count: Any, what: str) -> None:
    if not isinstance(count, (int, np.integer)) or count < 1:
        raise ValueError(
            f"{what} must be an integer of at least 1. Received: {count!r}. Pass, for example, 8."
        )
