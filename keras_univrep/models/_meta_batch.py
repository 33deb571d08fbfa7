"""Batches of tasks, each with a support set to adapt to and a query set to be judged by."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from keras import ops

from keras_univrep.models._episode_tensors import check_undivided
from keras_univrep.models._samples import Samples
from keras_univrep.types import Tensor

_RANK_OF_LABELS = 2


class MetaBatch(NamedTuple):
    """The two sets of each task; `single` if the batch was one task without an axis of tasks."""

    support: Samples
    query: Samples
    single: bool


def meta_batch(data: Any) -> MetaBatch:
    """Reads a batch of tasks, {"support": (x, y), "query": (x, y)} or an episode of `datasets`."""
    if isinstance(data, (tuple, list)) and len(data) == 1:
        data = data[0]
    if not isinstance(data, Mapping):
        raise ValueError(
            "A batch must be a dictionary of 'support' and 'query'. Received: "
            f"{type(data).__name__}. Pass {{'support': (x, y), 'query': (x, y)}}, each (tasks, "
            "samples, ...), or items of `datasets.episode_batches`."
        )
    if "support_images" in data:
        return _of_episodes(data)
    missing = {"support", "query"} - set(data)
    if missing:
        raise ValueError(
            f"A batch must hold 'support' and 'query'. Received: {sorted(data)} without "
            f"{sorted(missing)}. A learner adapts to the support set of each task, and is judged "
            "by its query set."
        )
    support, query = (_samples(data[part], part) for part in ("support", "query"))
    if support.y is None:
        raise ValueError(
            "'support' must hold inputs and targets (x, y). Received: inputs alone. There is "
            "nothing to adapt to without targets."
        )
    _check_sizes(support, "support")
    _check_sizes(query, "query")
    if None not in (sizes := (support.x.shape[0], query.x.shape[0])) and sizes[0] != sizes[1]:
        raise ValueError(
            "'support' and 'query' must have as many tasks. Received: "
            f"{sizes[0]} and {sizes[1]}, x of {tuple(support.x.shape)} and "
            f"{tuple(query.x.shape)}. Stack both by task, (tasks, samples, ...)."
        )
    return MetaBatch(support, query, single=False)


def check_targets(y: Tensor, outputs: Tensor, part: str) -> None:
    """Refuses targets of samples that no loss could mean; a mean square would broadcast them."""
    shape, wanted = tuple(y.shape), tuple(outputs.shape)
    sparse = shape in (wanted[:-1], (*wanted[:-1], 1))
    if not sparse and (
        len(shape) != len(wanted)
        or any(None not in pair and pair[0] != pair[1] for pair in zip(shape, wanted))
    ):
        raise ValueError(
            f"Targets of the {part} set must have the shape of the outputs, or it without the last "
            f"axis. Received, for each task: targets {shape}, outputs {wanted}. Reshape the "
            "targets, or give the network as many outputs."
        )


def _of_episodes(data: Mapping[str, Tensor]) -> MetaBatch:
    """An item of `datasets.episode_batches`, of one episode or several; -1 marks padding."""
    if "support_labels" not in data or "query_images" not in data:
        raise ValueError(
            "An episode must hold support images, support labels and query images. Received: "
            f"{sorted(data)}. Pass items of `episode_batches`."
        )
    single = len(data["support_labels"].shape) < _RANK_OF_LABELS
    check_undivided(single)
    found = []
    for part in ("support", "query"):
        x = ops.convert_to_tensor(data[f"{part}_images"])
        y = data.get(f"{part}_labels")
        weight = None
        if y is not None:
            y = ops.convert_to_tensor(y)
            weight = ops.cast(y >= 0, "float32")
            y = ops.maximum(y, 0)
        found.append(Samples(*(v if v is None or not single else v[None] for v in (x, y, weight))))
        _check_sizes(found[-1], part)
    return MetaBatch(found[0], found[1], single)


def _samples(values: Any, part: str) -> Samples:
    if not isinstance(values, (tuple, list)):
        values = (values,)
    if len(values) > len(Samples._fields):
        raise ValueError(
            f"{part!r} must be (x, y) or (x, y, sample_weight). Received: {len(values)} entries."
        )
    given = [v if v is None else ops.convert_to_tensor(v) for v in values]
    return Samples(*given, *(None,) * (len(Samples._fields) - len(given)))


def _check_sizes(samples: Samples, part: str) -> None:
    shape = tuple(samples.x.shape)
    if len(shape) < 2 or 0 in shape[:2]:
        raise ValueError(
            f"Every task must have a {part} set, x of (tasks, samples, ...) with a task and a "
            f"sample at least. Received: x of shape {shape}. Leave out tasks without samples."
        )
    for name in ("y", "weight"):
        values = getattr(samples, name)
        if values is None:
            continue
        other = tuple(values.shape)[:2]
        if len(other) < 2 or any(
            None not in pair and pair[0] != pair[1] for pair in zip(shape, other)
        ):
            kind = "Targets" if name == "y" else "Sample weights"
            raise ValueError(
                f"{kind} of the {part} set must be (tasks, samples, ...), as the inputs. Received: "
                f"{tuple(values.shape)} for x of {shape}. Stack both in the same way."
            )


def over_samples(batch: Tensor | None) -> Tensor | None:
    """Joins the axes of tasks and samples, for metrics."""
    return None if batch is None else ops.reshape(batch, (-1, *tuple(ops.shape(batch))[2:]))
