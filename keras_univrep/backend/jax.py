"""Gradients, train step and order statistics on JAX; the contracts are in `interface`."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import keras
from jax.interpreters import ad
from keras import tree

from keras_univrep.backend import base
from keras_univrep.backend.base import (
    Padding,
    Pullback,
    Scope,
    TrainStepBase,
    adadelta_step,
    carry_out,
    centre_tap,
    optimizer_order,
    read,
    under_centre,
)
from keras_univrep.backend.pooling_base import largest, place, take
from keras_univrep.types import Tensor


def vjp(
    fn: Callable[..., tuple[Any, Any]],
    variables: Sequence[keras.Variable],
    inputs: Sequence[Tensor] = (),
) -> tuple[Any, Any, Pullback]:
    """Forward by `jax.vjp` of a pure function whose state comes out as a result."""
    variables, inputs = list(variables), [keras.ops.convert_to_tensor(x) for x in inputs]
    kept: dict[str, Any] = {}

    def pure(values: list[Tensor], inputs: list[Tensor]) -> tuple[Any, tuple[Any, list[Tensor]]]:
        with Scope(zip(variables, values, strict=True)) as scope:
            outputs, aux = fn(*inputs)
        return outputs, _export(kept, aux, scope)

    outputs, pull, exported = jax.vjp(pure, read(variables), inputs, has_aux=True)
    aux = _import(kept, exported)

    def pullback(cotangents: Any) -> tuple[list[Tensor], list[Tensor]]:
        variable_grads, input_grads = pull(tree.map_structure(_cotangent, outputs, cotangents))
        return list(variable_grads), list(input_grads)

    return outputs, aux, pullback


def _cotangent(output: Tensor, given: Any) -> Any:
    """What JAX passes back from an output: of None, a zero that it knows to be one."""
    if given is None:
        return ad.Zero(jax.typeof(output).to_ct_aval())
    return jnp.asarray(given, output.dtype)


def value_and_grad(
    fn: Callable[[list[Tensor]], tuple[Tensor, Any]],
    values: Sequence[Tensor],
    create_graph: bool = True,
) -> tuple[tuple[Tensor, Any], list[Tensor]]:
    """By `jax.value_and_grad` of a pure function whose state comes out as a result."""
    values = [keras.ops.convert_to_tensor(value) for value in values]
    kept: dict[str, Any] = {}

    def pure(values: list[Tensor]) -> tuple[Tensor, tuple[Any, list[Tensor]]]:
        with Scope() as scope:
            value, aux = fn(values)
        return value, _export(kept, aux, scope)

    (value, exported), grads = jax.value_and_grad(pure, has_aux=True)(values)
    aux = _import(kept, exported)
    if not create_graph:
        grads = [jax.lax.stop_gradient(grad) for grad in grads]
    return (value, aux), list(grads)


def apply_gradients(
    optimizer: keras.optimizers.Optimizer,
    grads: Sequence[Tensor | None],
    variables: Sequence[keras.Variable],
    condition: Tensor | None = None,
) -> None:
    """By `stateless_apply`."""
    grads, variables = optimizer_order(optimizer, grads, variables)
    # Not `optimizer.apply`: a `LossScaleOptimizer` assigns inside the branches of a conditional,
    # and in an enclosing scope those tracers would leak.
    slots = [variable.value for variable in optimizer.variables]
    values = [variable.value for variable in variables]
    new_values, new_slots = optimizer.stateless_apply(slots, grads, values)
    if condition is not None:
        new_values, new_slots = (
            [jnp.where(condition, after, before) for after, before in zip(new, old, strict=True)]
            for new, old in ((new_values, values), (new_slots, slots))
        )
    carry_out(zip(variables, new_values, strict=True))
    carry_out(zip(optimizer.variables, new_slots, strict=True))


def repeat(
    body: Callable[[Any, Any], tuple[Any, Tensor]], state: Any, steps: int, unroll: bool
) -> tuple[Any, Tensor]:
    """By a scan, unless it is to be written out."""
    if steps == 1 or unroll:
        return base.repeat(body, state, steps)
    state = tree.map_structure(jnp.asarray, state)
    return jax.lax.scan(lambda state, number: body(number, state), state, jnp.arange(steps))


def lower_median(x: Tensor, mask: Tensor | None = None) -> Tensor:
    """By bisection on the bits."""
    x = jax.lax.stop_gradient(jnp.asarray(x, "float32"))
    # Non-negative floats sort like their bits, so the order statistic is found bit by bit; that
    # beats a full sort, which is what XLA offers otherwise.
    bits = jax.lax.bitcast_convert_type(x, jnp.int32)
    if mask is None:
        count = x.size
    else:
        mask = jnp.broadcast_to(jnp.asarray(mask, bool), x.shape)
        bits = jnp.where(mask, bits, jnp.iinfo(jnp.int32).max)
        count = jnp.sum(mask, dtype=jnp.int32)
    rank = (count - 1) // 2

    def body(step: Tensor, answer: Tensor) -> Tensor:
        candidate = answer | jnp.left_shift(jnp.int32(1), jnp.int32(30) - step)
        below = jnp.sum(bits < candidate, dtype=jnp.int32)
        return jnp.where(below <= rank, candidate, answer)

    answer = jax.lax.fori_loop(0, 31, body, jnp.int32(0))
    return jax.lax.bitcast_convert_type(answer, jnp.float32)


def adadelta(
    gradient: Callable[[Tensor], Tensor], start: Tensor, rates: Tensor,
    steps: int, decay: float, epsilon: float,
) -> Tensor:  # fmt: skip
    """In a loop of which the compiler fuses the step."""

    def step(_: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        values, squares, moves = state
        return adadelta_step(values, squares, moves, gradient(values), rates, decay, epsilon)

    zeros = jnp.zeros_like(start)
    return jax.lax.fori_loop(0, steps, step, (start, zeros, zeros))[0]


def with_gradients(
    fn: Callable[..., tuple[Tensor, Sequence[Callable[[], Tensor]]]], inputs: Sequence[Tensor]
) -> Tensor:
    """By a custom rule; the compiler drops the gradients that nothing asks for."""

    def forward(*inputs: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        result, pulls = fn(*inputs)
        return result, tuple(pull() for pull in pulls)

    value = jax.custom_vjp(lambda *inputs: fn(*inputs)[0])
    value.defvjp(forward, lambda grads, cotangent: tuple(cotangent * grad for grad in grads))
    return value(*inputs)


def convolution(
    inputs: Tensor, kernel: Tensor, strides: Sequence[int], padding: Padding,
    dilation: Sequence[int], bias: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """By Keras, or by JAX's operation where it pads by itself."""
    if not isinstance(padding, str):
        axes = "DHW"[3 - len(padding) :]
        dtype = jnp.promote_types(inputs.dtype, kernel.dtype)
        outputs = jax.lax.conv_general_dilated(
            inputs.astype(dtype),
            kernel.astype(dtype),
            strides,
            [(count, count) for count in padding],
            rhs_dilation=dilation,
            dimension_numbers=(f"N{axes}C", f"{axes}IO", f"N{axes}C"),
            feature_group_count=inputs.shape[-1] // kernel.shape[-2],
        )
    else:
        axes = "channels_last"
        outputs = keras.ops.conv(inputs, kernel, list(strides), padding, axes, list(dilation))
    return outputs if bias is None else outputs + bias


def adapted_convolution(
    inputs: Tensor, kernel: Tensor, adapter: Tensor,
    strides: Sequence[int], padding: Padding, dilation: Sequence[int], kernel_trains: bool,
) -> Tensor:  # fmt: skip
    """One convolution; the compiler drops the kernel's gradient where nothing asks for it."""
    if kernel_trains:
        fused = kernel + centre_tap(adapter, kernel.shape[:2])
        return convolution(inputs, fused, strides, padding, dilation)
    if not isinstance(padding, str):
        padding = tuple(padding)
    return _adapted_convolution(inputs, kernel, adapter, tuple(strides), padding, tuple(dilation))


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def _adapted_convolution(
    inputs: Tensor, kernel: Tensor, adapter: Tensor,
    strides: tuple[int, ...], padding: Padding, dilation: tuple[int, ...],
) -> Tensor:  # fmt: skip
    fused = kernel + centre_tap(adapter, kernel.shape[:2])
    return convolution(inputs, fused, strides, padding, dilation)


def _adapted_forward(
    inputs: Tensor, kernel: Tensor, adapter: Tensor,
    strides: tuple[int, ...], padding: Padding, dilation: tuple[int, ...],
) -> tuple[Tensor, tuple[Tensor, Tensor]]:  # fmt: skip
    fused = kernel + centre_tap(adapter, kernel.shape[:2])
    return convolution(inputs, fused, strides, padding, dilation), (inputs, fused)


def _adapted_backward(
    strides: tuple[int, ...], padding: Padding, dilation: tuple[int, ...],
    kept: tuple[Tensor, Tensor], cotangent: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    inputs, fused = kept
    _, pull = jax.vjp(lambda x, f: convolution(x, f, strides, padding, dilation), inputs, fused)
    by_inputs, by_kernel = pull(cotangent)
    pixels = under_centre(inputs, cotangent, fused.shape[:2], strides, padding, dilation)
    by_adapter = jnp.einsum("bhwc,bhwf->cf", pixels, cotangent)
    return by_inputs, by_kernel, by_adapter[None, None]


_adapted_convolution.defvjp(_adapted_forward, _adapted_backward)


# Operations of Keras, which the compiler of either fuses.
batch_normalization = base.normalize_by_operations
normalize = base.normalize
average_pool = base.average_pool
max_pool = base.max_pool
replicas = base.replicas
in_a_replica = base.in_a_replica
in_every_replica = base.in_every_replica


def on_processor() -> bool:
    """By the default device."""
    return jax.default_backend() == "cpu"


class TrainStep(TrainStepBase):
    """Steps on explicit state, within one scope."""

    def train_step(self, state: Sequence, data: Any) -> tuple[dict[str, Tensor], tuple]:
        """Run `update` on explicit state (called by Keras)."""
        groups = (
            self.trainable_variables,
            self.non_trainable_variables,
            self.optimizer.variables,
            self.metrics_variables,
        )
        return _run(self.update, groups, state, data)

    def test_step(self, state: Sequence, data: Any) -> tuple[dict[str, Tensor], tuple]:
        """Run `evaluate_update`, or Keras's own step, on explicit state (called by Keras)."""
        if not hasattr(self, "evaluate_update"):
            return super().test_step(state, data)  # type: ignore[misc]
        groups = (self.trainable_variables, self.non_trainable_variables, self.metrics_variables)
        return _run(self.evaluate_update, groups, state, data)


def _run(
    body: Callable[[Any], dict[str, Tensor]],
    groups: Sequence[Sequence[keras.Variable]],
    state: Sequence[Sequence[Tensor]],
    data: Any,
) -> tuple[dict[str, Tensor], tuple]:
    pairs = [
        pair
        for variables, values in zip(groups, state, strict=True)
        for pair in zip(variables, values, strict=True)
    ]
    with Scope(pairs) as scope:
        logs = body(data)
        new_state = tuple([scope.get_current_value(v) for v in variables] for variables in groups)
    return logs, new_state


def _export(kept: dict[str, Any], aux: Any, scope: Scope) -> tuple[list[Tensor], list[Tensor]]:
    """Arrays leave a JAX transformation as results; whatever else `aux` holds waits in `kept`."""
    kept["aux"] = aux
    updates = list(scope.updates.values())
    kept["updated"] = [variable for variable, _ in updates]
    arrays = [leaf for leaf in tree.flatten(aux) if isinstance(leaf, jax.Array)]
    return arrays, [value for _, value in updates]


def _import(kept: dict[str, Any], exported: tuple[list[Tensor], list[Tensor]]) -> Any:
    """Rebuild `aux` from arrays valid outside, and assign the new state there."""
    arrays, new = exported
    carry_out(zip(kept["updated"], new, strict=True))
    remaining = iter(arrays)
    return tree.map_structure(
        lambda leaf: next(remaining) if isinstance(leaf, jax.Array) else leaf, kept["aux"]
    )


@jax.custom_vjp
def max_pool_with_indices(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Elementwise on the four pixels of a window; Keras's pooling has a slow gradient on a CPU."""
    return largest(inputs)


@jax.custom_vjp
def max_unpool(inputs: Tensor, indices: Tensor) -> Tensor:
    """Elementwise; the gradient takes values where this puts them."""
    return place(inputs, indices)


@jax.custom_vjp
def _take(inputs: Tensor, indices: Tensor) -> Tensor:
    return take(inputs, indices)


def _largest_forward(inputs: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
    outputs, indices = largest(inputs)
    return (outputs, indices), indices


max_pool_with_indices.defvjp(
    _largest_forward, lambda indices, cotangents: (max_unpool(cotangents[0], indices),)
)
max_unpool.defvjp(
    lambda inputs, indices: (place(inputs, indices), indices),
    lambda indices, cotangent: (_take(cotangent, indices), None),
)
_take.defvjp(
    lambda inputs, indices: (take(inputs, indices), indices),
    lambda indices, cotangent: (max_unpool(cotangent, indices), None),
)
