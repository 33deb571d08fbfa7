"""One forward pass of several tasks, and as many backward passes as their balancer needs.

Each way of taking a step returns the losses (tasks,), the penalties of the network, the outputs,
the Gram matrix or None, the weights (tasks,), and the gradients of shared and own variables, which
carry the scale of the loss. Where there are several replicas all but the gradients are as if the
others had what one has: the scale is a replica's share.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_univrep import backend
from keras_univrep.types import Tensor


def forward(model: Any, x: Any, y: Any, sample_weight: Any) -> tuple[list[Tensor], Any]:
    """The losses of all tasks and the penalties, and the outputs."""
    y_pred = model(x, training=True)
    penalty = total(model.losses)
    return [*_whole_losses(model, y, y_pred, sample_weight), penalty], y_pred


def gradients(
    model: Any,
    shared: list[keras.Variable],
    own: list[keras.Variable],
    batch: tuple,
    scale: Tensor,
) -> tuple:
    """In the way that the model's balancer asks for."""
    if not (model.balancer.needs_gradients or model.log_cosines):
        return one_backward(model, shared + own, batch, scale)
    if model.scope.startswith("representation") or (
        not model.balancer.needs_gradients and model.parts.has_representation
    ):
        return on_representation(model, shared, own, batch, scale)
    return on_variables(model, shared, own, batch, scale)


def one_backward(model: Any, variables: list[keras.Variable], batch: tuple, scale: Tensor) -> tuple:
    """For weights that follow from the losses."""
    found, y_pred, pullback = backend.vjp(lambda: forward(model, *batch), variables)
    losses = ops.stack(found[:-1])
    weights = ops.stop_gradient(model.balancer(losses))
    cotangents = [scale * weights[task] for task in range(len(model.tasks))] + [scale]
    return losses, found[-1], y_pred, None, weights, pullback(cotangents)[0]


def on_variables(
    model: Any,
    shared: list[keras.Variable],
    own: list[keras.Variable],
    batch: tuple,
    scale: Tensor,
) -> tuple:
    """With one backward pass for each task, through the whole network."""
    penalised: list[bool] = []

    def all_losses() -> tuple[list[Tensor], Any]:
        found = forward(model, *batch)
        # Here, as JAX forgets outside what layers added in their call.
        penalised[:] = [True for _ in model.losses]
        return found

    found, y_pred, pullback = backend.vjp(all_losses, shared + own)
    losses, tasks, count = ops.stack(found[:-1]), len(model.tasks), len(shared)
    rows = [pullback(_one_loss(tasks, task, scale))[0] for task in range(tasks)]
    trunk = ops.stack([_flat(row[:count]) for row in rows])
    measured = trunk
    if model.scope == "last_shared":
        last = last_kernel(shared)
        measured = ops.stack([_flat(row[last : last + 1]) for row in rows])
    gram = _gram_matrix(measured, scale)
    if model.scope == "all" and own:
        gram = gram + _gram_matrix(ops.stack([_flat(row[count:]) for row in rows]), scale)
    weights = ops.stop_gradient(model.balancer(losses, gram))
    if hasattr(model.balancer, "combine"):
        step = model.balancer.combine([trunk])[0]
    else:
        step = ops.matmul(weights[None, :], trunk)[0]
    head_weights = _head_weights(model, losses, weights)
    grads = _like(step, shared) + _weighted_sum(head_weights, [row[count:] for row in rows])
    if penalised:
        grads = _add(grads, pullback([None] * tasks + [scale])[0])
    return losses, found[-1], y_pred, gram, weights, grads


def on_representation(
    model: Any,
    shared: list[keras.Variable],
    own: list[keras.Variable],
    batch: tuple,
    scale: Tensor,
) -> tuple:
    """With one backward pass for each task through the heads, and one through the trunk."""
    x, y, sample_weight = batch
    structure: list[Any] = []
    penalised: list[bool] = []

    def trunk() -> tuple[list[Tensor], None]:
        features = model.parts.trunk(x, training=True)
        structure[:] = [keras.tree.map_structure(lambda _: 0, features)]
        return [*keras.tree.flatten(features), total(model.parts.trunk.losses)], None

    def heads(*values: Tensor) -> tuple[list[Tensor], Any]:
        y_pred = model.parts.call_heads(values, structure[0], True)
        penalties = model.parts.head_losses()
        penalised[:] = [True for _ in penalties]
        penalty = total(penalties)
        return [*_whole_losses(model, y, y_pred, sample_weight), penalty], y_pred

    (*values, penalty), _, trunk_pullback = backend.vjp(trunk, shared)
    found, y_pred, pullback = backend.vjp(heads, own, values)
    losses, tasks = ops.stack(found[:-1]), len(model.tasks)
    own_rows, rows = [], []
    for task in range(tasks):
        own_row, row = pullback(_one_loss(tasks, task, scale))
        own_rows.append(own_row)
        rows.append([ops.cast(part, "float32") for part in row])
    measured = rows
    if model.scope == "representation_mean":
        measured = [[ops.mean(part, axis=0) for part in row] for row in rows]
    gram = _gram_matrix(ops.stack([_flat(row) for row in measured]), scale)
    weights = ops.stop_gradient(model.balancer(losses, gram))
    if hasattr(model.balancer, "combine"):
        step = model.balancer.combine([ops.stack(parts) for parts in zip(*rows)], values)
    else:
        step = _weighted_sum(weights, rows)
    step = [ops.cast(part, value.dtype) for part, value in zip(step, values, strict=True)]
    grads = trunk_pullback([*step, scale])[0]
    own_grads = _weighted_sum(_head_weights(model, losses, weights), own_rows)
    if penalised:
        own_grads = _add(own_grads, pullback([None] * tasks + [scale])[0])
    return losses, penalty + found[-1], y_pred, gram, weights, [*grads, *own_grads]


def last_kernel(variables: Sequence[keras.Variable]) -> int:
    """Place of the last one that is a matrix or has more axes; of the last if none is."""
    places = [place for place, variable in enumerate(variables) if len(variable.shape) > 1]
    return places[-1] if places else len(variables) - 1


def total(penalties: Sequence[Tensor]) -> Tensor:
    """Sum of scalars, float32; zero of none."""
    return sum((ops.cast(penalty, "float32") for penalty in penalties), ops.zeros(()))


def _whole_losses(model: Any, *batch: Any) -> list[Tensor]:
    return [backend.whole(loss) for loss in model.losses_of(*batch)]


def _head_weights(model: Any, losses: Tensor, weights: Tensor) -> Tensor:
    return ops.stop_gradient(model.balancer.head_weights(losses, weights, model.scope))


def _one_loss(tasks: int, chosen: int, scale: Tensor) -> list[Tensor | None]:
    """Cotangents that ask for one of the losses, and neither the others nor the penalties."""
    return [*(scale if task == chosen else None for task in range(tasks)), None]


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    """All entries in one float32 vector."""
    return ops.concatenate([ops.reshape(ops.cast(t, "float32"), (-1,)) for t in tensors])


def _like(vector: Tensor, references: Sequence[keras.Variable]) -> list[Tensor]:
    """The parts of a vector, in the shapes of `references`."""
    parts, start = [], 0
    for reference in references:
        size = 1
        for length in reference.shape:
            size *= int(length)
        parts.append(ops.reshape(vector[start : start + size], reference.shape))
        start += size
    return parts


def _gram_matrix(rows: Tensor, scale: Tensor) -> Tensor:
    """Inner products of `rows` (tasks, entries), which carry `scale`.

    Sums, and no matrix product: that adds millions of float32 to one another in a row and is off by
    a thousandth.
    """
    tasks = range(rows.shape[0])
    half = {(i, j): ops.sum(rows[i] * rows[j]) for i in tasks for j in range(i + 1)}
    whole = [half[max(i, j), min(i, j)] for i in tasks for j in tasks]
    return ops.reshape(ops.stack(whole), (len(tasks), len(tasks))) / scale / scale


def _weighted_sum(weights: Tensor, rows: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """Tensor by tensor, the sum over tasks of weight times row."""
    return [
        sum(ops.cast(weights[task], part.dtype) * part for task, part in enumerate(parts))
        for parts in zip(*rows, strict=True)
    ]


def _add(first: Sequence[Tensor], second: Sequence[Tensor]) -> list[Tensor]:
    """Tensor by tensor."""
    return [a + ops.cast(b, a.dtype) for a, b in zip(first, second, strict=True)]
