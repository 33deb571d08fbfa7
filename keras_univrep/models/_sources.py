"""Batches of several sources of several tasks: `{task: {source: ...}}`."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from keras_univrep.layers.domain_names import check_domains
from keras_univrep.types import Tensor

Sources = dict[str, tuple[str, ...]]


def check_heads(heads: Any, owner: str) -> Sources:
    """Names of the sources of each task."""
    good = isinstance(heads, Mapping) and heads
    if not good or not all(isinstance(value, Mapping) and value for value in heads.values()):
        raise ValueError(
            "`heads` must hold a head for each source of each task, {task: {source: head}}. "
            f"Received: heads={heads!r}. Name the only source of a task as well."
        )
    check_domains(list(heads), owner)
    return {task: check_domains(list(value), owner) for task, value in heads.items()}


def check_batch(values: Any, sources: Sources, name: str = "x", whole: bool = False) -> None:
    """Raises unless `values` holds known sources, and all of them if it must."""
    nested = isinstance(values, Mapping) and all(isinstance(v, Mapping) for v in values.values())
    found = {task: sorted(v) for task, v in values.items()} if nested else type(values).__name__
    known = {task: sorted(names) for task, names in sources.items()}
    good = nested and bool(values) and all(
        value and set(value) <= set(sources.get(task, ())) for task, value in values.items()
    )  # fmt: skip
    if not good or (whole and found != known):
        raise ValueError(
            f"`{name}` must hold a batch of each source of each task, {known}. Received: {found}. "
            "Let sources that run dry start again."
        )


def entry(values: Any, task: str, source: str, name: str, optional: bool = False) -> Any:
    """What `values` has for a source, or `None` if it may lack it."""
    by_source = values.get(task) if isinstance(values, Mapping) else None
    found = by_source.get(source) if isinstance(by_source, Mapping) else None
    if found is None and not (optional and (values is None or isinstance(values, Mapping))):
        raise ValueError(
            f"`{name}` must hold an entry for each source, {{task: {{source: ...}}}}. Received: "
            f"none for {source!r} of {task!r}. Add it."
        )
    return found


def joined(batches: Mapping[str, Tensor], owner: str) -> Tensor:
    """All images of a task as one batch."""
    batches = {name: ops.convert_to_tensor(x) for name, x in batches.items()}
    if len(batches) == 1:
        return next(iter(batches.values()))
    sizes = {name: tuple(x.shape[1:]) for name, x in batches.items()}
    if len(set(sizes.values())) > 1:
        raise ValueError(
            "Sources of one task go through its sub-backbone as one batch, so their images must "
            f"have one size. Received: {sizes} for {owner!r}. Resize them in the data pipeline."
        )
    return ops.concatenate(list(batches.values()))


def split(values: Any, batches: Mapping[str, Tensor]) -> dict[str, Any]:
    """The parts of tensors (in any structure) that belong to each of the joined batches."""
    if len(batches) == 1:
        return dict.fromkeys(batches, values)
    start: Any = 0
    found = {}
    for name, batch in batches.items():
        size = ops.shape(batch)[0]
        if size is None:  # No batch yet, but a sketch of one: any part has the right shape.
            found[name] = values
            continue
        end = start + size
        found[name] = keras.tree.map_structure(lambda x, a=start, b=end: x[a:b], values)
        start = end
    return found


def by_source(values: Any, sources: Sources, name: str) -> dict[str, dict[str, Any]]:
    """One value, one for each task or one for each source, as one for each source."""
    found: dict[str, dict[str, Any]] = {}
    for task, names in sources.items():
        of_task = values.get(task) if _is_mapping(values) else values
        found[task] = {
            source: of_task.get(source) if _is_mapping(of_task) else of_task for source in names
        }
    unknown = sorted(set(values) - set(sources)) if _is_mapping(values) else []
    for task, of_task in values.items() if _is_mapping(values) and not unknown else ():
        if _is_mapping(of_task):
            unknown += sorted(set(of_task) - set(sources[task]))
    missing = [f"{t}/{s}" for t, row in found.items() for s, v in row.items() if v is None]
    if missing or unknown:
        raise ValueError(
            f"`{name}` must be given for each task, or each source of it. Received: nothing for "
            f"{missing}, and {unknown} besides. Pass {{task: ...}} or {{task: {{source: ...}}}}."
        )
    return found


def nested(triples: Any, custom_objects: Any) -> dict[str, dict[str, Any]]:
    """`{task: {source: object}}` of `[task, source, configuration]`."""
    found: dict[str, dict[str, Any]] = {}
    for task, source, config in triples:
        value = keras.saving.deserialize_keras_object(config, custom_objects)
        found.setdefault(task, {})[source] = value
    return found


def _is_mapping(value: Any) -> bool:
    """A dictionary that is no configuration of an object."""
    return isinstance(value, Mapping) and "class_name" not in value
