"""Steps of several tasks that are not taken, as their numbers are infinite or NaN."""

from collections.abc import Iterable, Sequence
from typing import Any

import keras
from keras import ops

from keras_univrep.types import Tensor

# What may break beside the losses of the tasks.
OTHERS = ("penalties and distillation terms", "gradients")


def broken_parts(
    losses: Tensor, penalty: Tensor, grads: Sequence[Tensor], optimizer: keras.optimizers.Optimizer
) -> Tensor:
    """Which of the losses and of `OTHERS` are no numbers, (tasks + 2,) of bool.

    The gradients only where all else is finite, as they break whenever a loss does.
    """
    values = ops.concatenate([losses, ops.reshape(penalty, (1,))])
    bad = ops.logical_not(ops.isfinite(values))
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        # That one looks for infinite gradients itself, and lowers its scale.
        steps = ops.zeros((), "bool")
    else:
        # A sum is one pass over a gradient, and what is no number in it stays none. A gradient
        # whose sum leaves float32 has no norm there either.
        sums = ops.stack([ops.sum(ops.cast(grad, "float32")) for grad in grads])
        whole = ops.all(ops.isfinite(sums))
        steps = ops.logical_not(ops.logical_or(whole, ops.any(bad)))
    return ops.concatenate([bad, ops.reshape(steps, (1,))])


def steps_taken(optimizer: keras.optimizers.Optimizer) -> Tensor:
    """A count that grows when variables move: not by a skipped step, nor by one that collects."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    several = getattr(optimizer, "optimizers", [optimizer])
    # A sum is a copy, which an assignment in place leaves alone.
    return sum((ops.cast(one.iterations, "int32") for one in several), ops.zeros((), "int32"))


def exempt_from_decay(
    optimizer: keras.optimizers.Optimizer, variables: Sequence[keras.Variable]
) -> None:
    """Lets no decoupled decay pull at the variables, besides what is exempt already.

    Keras's `exclude_from_weight_decay` forgets what it was told before.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    for one in getattr(optimizer, "optimizers", [optimizer]):
        known: set[Any] = getattr(one, "_exclude_from_weight_decay", set())
        one._exclude_from_weight_decay = known | {one._var_key(v) for v in variables}
        one._exclude_from_weight_decay_cache = {}


def moving_variables(layers: Iterable[keras.Layer]) -> list[keras.Variable]:
    """What forward passes in training change: float variables that do not train by design.

    Not what is frozen, which may be whole networks of teachers.
    """
    found: dict[int, keras.Variable] = {}
    for outer in layers:
        for layer in outer._flatten_layers():
            if layer.trainable:
                found |= {id(v): v for v in layer._non_trainable_variables if "float" in v.dtype}
    return list(found.values())


def float_variables(layer: Any) -> list[keras.Variable]:
    """All but the states of random numbers, which go on whatever happens."""
    return [variable for variable in layer.variables if "float" in variable.dtype]


def copies(variables: Sequence[keras.Variable]) -> list[Tensor]:
    """Values that an assignment in place leaves alone."""
    return [ops.copy(variable.value) for variable in variables]


def keep_if(
    condition: Tensor, variables: Sequence[keras.Variable], before: Sequence[Tensor]
) -> None:
    """Puts the values of before back unless the condition holds."""
    for variable, value in zip(variables, before, strict=True):
        variable.assign(ops.where(condition, variable.value, value))
