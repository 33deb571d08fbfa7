"""What the three backends share: variable substitution, loss tracking, checks."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
from keras import ops, tree

from keras_univrep.types import Tensor

# "valid", "same", or the zeros at both ends of each spatial axis.
Padding = str | Sequence[int]
Pullback = Callable[[Any], tuple[list[Tensor], list[Tensor]]]


class Scope(keras.StatelessScope):
    """Substitutes tensors for variables, inherits the enclosing scope, records what is assigned.

    Inside `with Scope(pairs):` a `keras.Variable` of `pairs` reads as its tensor, and an
    assignment to any variable (moving statistics, seeds, metrics) stays inside. Keras's own
    `StatelessScope` hides the values that an enclosing scope holds, so that a nested scope under
    `jax.jit` would read stale weights.

    Args:
        pairs: Pairs (variable, tensor of the variable's shape).

    Example:

    >>> variable = keras.Variable([1.0, 2.0])
    >>> with Scope([(variable, ops.ones((2,)))]):
    ...     total = float(ops.sum(variable * 3.0))
    >>> total
    6.0
    >>> float(ops.sum(variable * 3.0))
    9.0
    """

    def __init__(self, pairs: Iterable[tuple[keras.Variable, Tensor]] = ()) -> None:
        super().__init__(list(pairs), collect_losses=True)
        self.original_scope: keras.StatelessScope | None = None
        self.updates: dict[int, tuple[keras.Variable, Tensor]] = {}
        self._reading: set[int] = set()

    def add_update(self, update: tuple[keras.Variable, Tensor]) -> None:
        """Record an assignment (called by `keras.Variable.assign`)."""
        super().add_update(update)
        self.updates[id(update[0])] = (update[0], self.state_mapping[id(update[0])])

    def get_current_value(self, variable: keras.Variable) -> Tensor | None:
        """The variable's value here: assigned, substituted, inherited, or its own."""
        value = super().get_current_value(variable)
        if value is None and self.original_scope is not None:
            value = self.original_scope.get_current_value(variable)
        # Keras hands this answer to a regularizer unchecked, so "not in the mapping" must not be
        # None. `variable.value` asks this method again: the set ends the recursion.
        if value is None and id(variable) not in self._reading:
            self._reading.add(id(variable))
            try:
                value = variable.value
            finally:
                self._reading.discard(id(variable))
        return value


class TrainStepBase:
    """Checks and loss tracking of `TrainStep`; each backend adds `train_step` and `test_step`."""

    # What `keras.Model` and the user's class bring.
    update: Callable[[Any], dict[str, Tensor]]
    optimizer: keras.optimizers.Optimizer
    trainable_variables: list[keras.Variable]
    non_trainable_variables: list[keras.Variable]
    metrics_variables: list[keras.Variable]
    metrics: list[keras.metrics.Metric]
    built: bool

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not issubclass(cls, keras.Model):
            return
        order = cls.__mro__
        if order.index(TrainStepBase) > order.index(keras.Model):
            raise TypeError(
                "`TrainStep` must stand before `keras.Model` among the bases, or Keras's own "
                f"`train_step` runs. Received: class {cls.__name__}"
                f"({', '.join(base.__name__ for base in cls.__bases__)}). "
                f"Write `class {cls.__name__}(TrainStep, keras.Model)`."
            )
        if not callable(getattr(cls, "update", None)):
            raise TypeError(
                "A model with `TrainStep` must have a method `update(data) -> logs`. "
                f"Received: class {cls.__name__} without one. Define "
                f"`{cls.__name__}.update`, or drop `TrainStep` and let Keras train the model."
            )

    def track_loss(self, loss: Tensor, x: Any) -> None:
        """Feed the "loss" metric that `compile` made, as Keras's own train step does.

        Args:
            loss: Scalar mean over the batch.
            x: The batch, a tensor (batch, ...) or a structure of them; it gives the weight.
        """
        first = next(leaf for leaf in tree.flatten(x) if leaf is not None)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss, sample_weight=ops.shape(first)[0])
                return
        raise ValueError(
            "`track_loss` needs the model to be compiled. Received: no metric named 'loss'. "
            "Call `compile` first."
        )


def centre_tap(adapter: Tensor, sizes: Sequence[int]) -> Tensor:
    """diag_L(alpha) of rebuffi2018, section 3.1.2: an adapter with zeros around it.

    Args:
        adapter: (*1, channels, filters).
        sizes: Odd kernel sizes.

    Returns:
        Tensor of shape (*sizes, channels, filters).

    Example:

    >>> from keras_univrep import backend
    >>> tuple(backend.centre_tap(ops.ones((1, 1, 2, 4)), (3, 3)).shape)
    (3, 3, 2, 4)
    """
    if all(size == 1 for size in sizes):
        return adapter
    return ops.pad(adapter, [[(size - 1) // 2] * 2 for size in sizes] + [[0, 0]] * 2)


def under_centre(
    inputs: Tensor, outputs: Tensor, sizes: Sequence[int], strides: Sequence[int],
    padding: Padding, dilation: Sequence[int],
) -> Tensor:  # fmt: skip
    """The pixels under the centre tap, of two spatial axes; of the shape of `outputs`."""
    if padding == "same":  # at stride 1, where it is symmetric
        return inputs
    zeros = (0, 0) if isinstance(padding, str) else padding
    first = [d * (size - 1) // 2 - n for d, size, n in zip(dilation, sizes, zeros, strict=True)]
    rows, columns = (
        slice(start, start + (count - 1) * stride + 1, stride)
        for start, stride, count in zip(first, strides, ops.shape(outputs)[1:3], strict=True)
    )
    return inputs[:, rows, columns]


def pad_spatial(inputs: Tensor, zeros: Sequence[int]) -> Tensor:
    """As many zeros at both ends of each spatial axis of (batch, *spatial, channels)."""
    return ops.pad(inputs, [[0, 0], *([count, count] for count in zeros), [0, 0]])


def normalize_by_operations(
    inputs: Tensor, gamma: Tensor, beta: Tensor, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalises with the moments of the batch.

    Not `ops.moments`: on TensorFlow it takes the mean in the variance for a constant, which is
    right for first derivatives only.
    """
    axes = tuple(range(len(inputs.shape) - 1))
    mean = ops.mean(inputs, axis=axes)
    variance = ops.mean(ops.square(inputs - mean), axis=axes)
    return normalize(inputs, gamma, beta, epsilon, mean, variance), mean, variance


def average_pool(inputs: Tensor, size: int) -> Tensor:
    """By Keras, whatever its image data format is set to."""
    return ops.average_pool(inputs, size, size, "valid", "channels_last")


def max_pool(inputs: Tensor, size: int) -> Tensor:
    """By Keras, whatever its image data format is set to."""
    return ops.max_pool(inputs, size, size, "valid", "channels_last")


def normalize(
    inputs: Tensor, gamma: Tensor, beta: Tensor, epsilon: float, mean: Tensor, variance: Tensor
) -> Tensor:
    """Normalises with given moments."""
    scale = gamma * ops.rsqrt(variance + epsilon)
    return inputs * scale + (beta - mean * scale)


def adadelta_step(
    values: Tensor, squares: Tensor, moves: Tensor, gradient: Tensor, rates: Tensor,
    decay: float, epsilon: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """One step of Adadelta; both averages stand divided by 1 - decay, which drops two products."""
    epsilon = epsilon / (1.0 - decay)
    squares = decay * squares + ops.square(gradient)
    move = ops.sqrt((moves + epsilon) / (squares + epsilon)) * gradient
    moves = decay * moves + ops.square(move)
    return values - rates * move, squares, moves


def repeat(
    body: Callable[[Any, Any], tuple[Any, Tensor]], state: Any, steps: int, unroll: bool = True
) -> tuple[Any, Tensor]:
    """Step after step, always written out."""
    outputs = []
    for number in range(steps):
        state, output = body(number, state)
        outputs.append(output)
    return state, ops.stack(outputs)


def replicas() -> int:
    """One, where a program is one for all devices."""
    return 1


def in_a_replica() -> bool:
    """No: a program has the whole batch."""
    return False


def in_every_replica(condition: Tensor) -> Tensor:
    """The condition of the one replica."""
    return condition


def carry_out(updates: Iterable[tuple[keras.Variable, Tensor]]) -> None:
    """Assign the recorded `updates` of a scope to whatever encloses it."""
    for variable, value in updates:
        variable.assign(value)


def read(variables: Iterable[keras.Variable]) -> list[Tensor]:
    """Current values, refused inside an autocast scope, where they are copies."""
    values = []
    for variable in variables:
        if not isinstance(variable, keras.Variable):
            raise TypeError(
                "`variables` must hold instances of `keras.Variable`. "
                f"Received: {type(variable).__name__}. Pass tensors as `inputs`."
            )
        value = variable.value
        # Under autocast each read is a fresh copy, and a gradient with respect to one copy knows
        # nothing of the others: it would be zero without a word.
        if variable.value is not value:
            raise ValueError(
                "Gradients must be taken where a variable reads as itself. "
                f"Received: {variable.path} within a layer's `call`, which casts its weights "
                "under mixed precision. Move the gradient to `compute_loss` or `update`, or give "
                "the layer dtype='float32'."
            )
        values.append(value)
    return values


def zeros_for_none(grads: Iterable[Tensor | None], references: Iterable[Tensor]) -> list[Tensor]:
    """Gradients with zeros where the result does not depend on the reference."""
    return [
        ops.zeros_like(reference) if grad is None else grad
        for grad, reference in zip(grads, references, strict=True)
    ]


def optimizer_order(
    optimizer: keras.optimizers.Optimizer,
    grads: Sequence[Tensor | None],
    variables: Sequence[keras.Variable],
) -> tuple[list[Tensor | None], list[keras.Variable]]:
    """Gradients aligned with the optimizer's own variable list, None where none was given."""
    grads, variables = list(grads), list(variables)
    check_same_length("grads", grads, "variables", variables)
    if not optimizer.built:
        optimizer.build(variables)
    # Private, as Keras names this list nowhere else; `stateless_apply` and `MultiOptimizer` want
    # one gradient per entry, in this order.
    known = list(optimizer._trainable_variables)
    by_id = {
        id(variable): None if grad is None else ops.convert_to_tensor(grad, dtype=variable.dtype)
        for variable, grad in zip(variables, grads, strict=True)
    }
    known_ids = {id(variable) for variable in known}
    unknown = [variable.path for variable in variables if id(variable) not in known_ids]
    if unknown:
        raise ValueError(
            "`variables` must be among those that the optimizer was built with. "
            f"Received: {', '.join(unknown)} besides. "
            "Freeze or add layers first, then compile with a new optimizer."
        )
    return [by_id.get(id(variable)) for variable in known], known


def check_same_length(name: str, first: Sequence, other_name: str, second: Sequence) -> None:
    """Raise unless two lists pair up."""
    if len(first) != len(second):
        raise ValueError(
            f"`{name}` must have one entry per entry of `{other_name}`. "
            f"Received: {len(first)} {name}, {len(second)} {other_name}. "
            "Pass both in the same order."
        )
