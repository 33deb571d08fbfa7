"""Gradients, train step and order statistics on TensorFlow; the contracts are in `interface`."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import tree

from keras_univrep.backend import base
from keras_univrep.backend.base import (
    Padding,
    Pullback,
    TrainStepBase,
    adadelta_step,
    centre_tap,
    normalize_by_operations,
    optimizer_order,
    pad_spatial,
    read,
    under_centre,
    zeros_for_none,
)
from keras_univrep.backend.pooling_base import largest, place, take
from keras_univrep.types import Tensor


def vjp(
    fn: Callable[..., tuple[Any, Any]],
    variables: Sequence[keras.Variable],
    inputs: Sequence[Tensor] = (),
) -> tuple[Any, Any, Pullback]:
    """Forward under a persistent tape."""
    variables, inputs = list(variables), [tf.convert_to_tensor(x) for x in inputs]
    count = len(variables)
    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
        references = read(variables) + inputs
        tape.watch(references)
        outputs, aux = fn(*inputs)

    def pullback(cotangents: Any) -> tuple[list[Tensor], list[Tensor]]:
        tree.assert_same_structure(outputs, cotangents)
        pairs = [
            (output, tf.cast(cotangent, output.dtype))
            for output, cotangent in zip(tree.flatten(outputs), tree.flatten(cotangents))
            if cotangent is not None
        ]
        targets, cotangents = [output for output, _ in pairs], [seed for _, seed in pairs]
        grads = tape.gradient(targets, references, output_gradients=cotangents)
        grads = zeros_for_none(_dense(grads), references)
        return grads[:count], grads[count:]

    return outputs, aux, pullback


def value_and_grad(
    fn: Callable[[list[Tensor]], tuple[Tensor, Any]],
    values: Sequence[Tensor],
    create_graph: bool = True,
) -> tuple[tuple[Tensor, Any], list[Tensor]]:
    """By a tape that an enclosing one records."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        # Inside the tape: a tf.Variable becomes a tensor, which an enclosing tape still follows.
        values = [keras.ops.convert_to_tensor(value) for value in values]
        tape.watch(values)
        value, aux = fn(values)
    grads = zeros_for_none(_dense(tape.gradient(value, values)), values)
    if not create_graph:
        grads = [tf.stop_gradient(grad) for grad in grads]
    return (value, aux), grads


def apply_gradients(
    optimizer: keras.optimizers.Optimizer,
    grads: Sequence[Tensor | None],
    variables: Sequence[keras.Variable],
    condition: Tensor | None = None,
) -> None:
    """By `apply`."""
    ordered, variables = optimizer_order(optimizer, grads, variables)
    if condition is None:
        optimizer.apply(ordered, variables)
        return

    def apply_if(condition: Tensor, apply: Callable[[], Any]) -> None:
        def move() -> Tensor:
            apply()
            return tf.constant(True)

        tf.cond(tf.cast(condition, tf.bool), move, lambda: tf.constant(False))

    if not in_a_replica() or tf.__internal__.distribute.strategy_supports_no_merge_call():
        apply_if(condition, lambda: optimizer.apply(ordered, variables))
        return

    def across(strategy: tf.distribute.Strategy, condition: Any, grads: Any) -> None:
        # A branch of a replica must not wait for the other replicas; one around all of them may.
        found = strategy.experimental_local_results(condition)[0]
        call = strategy.extended.call_for_each_replica
        apply_if(found, lambda: call(optimizer.apply, args=(grads, variables)))

    tf.distribute.get_replica_context().merge_call(across, args=(condition, ordered))


def replicas() -> int:
    """Those of the strategy in whose scope or step this is."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def in_a_replica() -> bool:
    """Whether this is in a step, and not only in the scope of a strategy."""
    return replicas() > 1 and tf.distribute.get_replica_context() is not None


def in_every_replica(condition: Tensor) -> Tensor:
    """By a sum over the replicas."""
    if not in_a_replica():
        return condition
    against = tf.cast(tf.logical_not(condition), tf.float32)
    context = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.SUM, against) == 0.0


def lower_median(x: Tensor, mask: Tensor | None = None) -> Tensor:
    """Digit by digit, by counting."""
    x = tf.stop_gradient(tf.cast(x, tf.float32))
    # Non-negative floats sort like their bits. How often each of their first eleven bits occur
    # says which these are in the median, and so on with the next ten of those that begin alike.
    bits = tf.bitcast(x, tf.int32)
    if mask is None:
        count = tf.size(x)
    else:
        mask = tf.broadcast_to(tf.cast(mask, tf.bool), tf.shape(x))
        bits = tf.where(mask, bits, tf.int32.max)
        count = tf.reduce_sum(tf.cast(mask, tf.int32))
    bits = tf.reshape(bits, (-1,))
    rank, answer = tf.math.floordiv(count - 1, 2), tf.constant(0)
    for shift, width in ((20, 11), (10, 10), (0, 10)):
        digits = tf.bitwise.right_shift(bits, shift) - tf.bitwise.left_shift(answer, width)
        # A negative segment is left out of the sum.
        digits = tf.where(digits < 2**width, digits, -1)
        counts = tf.math.unsorted_segment_sum(tf.ones_like(digits), digits, 2**width)
        below = tf.cumsum(counts, exclusive=True)
        digit = tf.maximum(tf.reduce_sum(tf.cast(below <= rank, tf.int32)) - 1, 0)
        rank -= below[digit]
        answer = tf.bitwise.left_shift(answer, width) | digit
    return tf.stop_gradient(tf.bitcast(answer, tf.float32))


def adadelta(
    gradient: Callable[[Tensor], Tensor], start: Tensor, rates: Tensor,
    steps: int, decay: float, epsilon: float,
) -> Tensor:  # fmt: skip
    """In a loop whose step alone is compiled: a graph would write every product to memory."""
    move = tf.function(adadelta_step, jit_compile=True)

    def step(number: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        return number + 1, *move(*state, gradient(state[0]), rates, decay, epsilon)

    zeros = tf.zeros_like(start)
    state = (tf.constant(0), start, zeros, zeros)
    return tf.while_loop(lambda number, *_: number < steps, step, state)[1]


def with_gradients(
    fn: Callable[..., tuple[Tensor, Sequence[Callable[[], Tensor]]]], inputs: Sequence[Tensor]
) -> Tensor:
    """By a custom gradient; a graph drops those that nothing asks for."""

    @tf.custom_gradient
    def value(*inputs: Tensor) -> tuple[Tensor, Callable]:
        result, pulls = fn(*inputs)
        return result, lambda cotangent: [cotangent * pull() for pull in pulls]

    return value(*inputs)


def convolution(
    inputs: Tensor, kernel: Tensor, strides: Sequence[int], padding: Padding,
    dilation: Sequence[int], bias: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """By Keras; the zeros first, as the gradients of a convolution that adds them are slow."""
    if not isinstance(padding, str):
        inputs, padding = pad_spatial(inputs, padding), "valid"
    axes = "channels_last"
    outputs = keras.ops.conv(inputs, kernel, list(strides), padding, axes, list(dilation))
    return outputs if bias is None else outputs + bias


def adapted_convolution(
    inputs: Tensor, kernel: Tensor, adapter: Tensor,
    strides: Sequence[int], padding: Padding, dilation: Sequence[int], kernel_trains: bool,
) -> Tensor:  # fmt: skip
    """One convolution; a graph drops the kernel's gradient where nothing asks for it."""
    sizes = kernel.shape[:2]
    if kernel_trains:
        return convolution(inputs, kernel + centre_tap(adapter, sizes), strides, padding, dilation)
    if not isinstance(padding, str):
        inputs, padding = pad_spatial(inputs, padding), "valid"

    @tf.custom_gradient
    def adapted(inputs: Tensor, kernel: Tensor, adapter: Tensor) -> tuple[Tensor, Callable]:
        fused = kernel + centre_tap(adapter, sizes)
        outputs = convolution(inputs, fused, strides, padding, dilation)

        def backward(cotangent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            window = {
                "strides": [1, *strides, 1],
                "dilations": [1, *dilation, 1],
                "padding": padding.upper(),
                "out_backprop": cotangent,
            }
            by_inputs = tf.raw_ops.Conv2DBackpropInput(
                input_sizes=tf.shape(inputs), filter=fused, **window
            )
            by_kernel = tf.raw_ops.Conv2DBackpropFilter(
                input=inputs, filter_sizes=kernel.shape, **window
            )
            pixels = under_centre(inputs, cotangent, sizes, strides, padding, dilation)
            by_adapter = tf.matmul(
                tf.reshape(pixels, (-1, kernel.shape[2])),
                tf.reshape(cotangent, (-1, kernel.shape[3])),
                transpose_a=True,
            )
            return by_inputs, by_kernel, tf.reshape(by_adapter, adapter.shape)

        return outputs, backward

    # As tensors: a custom gradient would take variables for something that it captured.
    return adapted(*(tf.convert_to_tensor(x) for x in (inputs, kernel, adapter)))


def batch_normalization(
    inputs: Tensor, gamma: Tensor, beta: Tensor, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """By TensorFlow's one operation for it, two to three times as fast as its parts."""
    if inputs.dtype != tf.float32:
        return normalize_by_operations(inputs, gamma, beta, epsilon)
    nothing = tf.zeros((0,))
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=_as_images(inputs), scale=gamma, offset=beta, mean=nothing, variance=nothing,
        epsilon=epsilon, is_training=True,
    )  # fmt: skip
    # A second reader of the outputs keeps TensorFlow from merging the operation with a ReLU after
    # it: the merged one turns NaN into zero, and a broken training would look healthy.
    pixel = outputs[:1, :1, :1]
    pixel = tf.where(tf.math.is_nan(pixel), pixel, tf.zeros_like(pixel))
    mean += tf.reduce_sum(pixel, axis=(0, 1, 2))
    # The operation gives the unbiased variance.
    count = tf.cast(tf.size(inputs) // tf.size(gamma), tf.float32)
    variance *= tf.maximum(count - 1.0, 1.0) / tf.maximum(count, 1.0)
    return _like(outputs, inputs), mean, variance


average_pool = base.average_pool
max_pool = base.max_pool
repeat = base.repeat


def on_processor() -> bool:
    """By the devices that there are."""
    return all(device.device_type == "CPU" for device in tf.config.list_physical_devices())


def normalize(
    inputs: Tensor, gamma: Tensor, beta: Tensor, epsilon: float, mean: Tensor, variance: Tensor
) -> Tensor:
    """By the same operation."""
    if inputs.dtype != tf.float32:
        return base.normalize(inputs, gamma, beta, epsilon, mean, variance)
    outputs, *_ = tf.raw_ops.FusedBatchNormV3(
        x=_as_images(inputs), scale=gamma, offset=beta, mean=mean, variance=variance,
        epsilon=epsilon, is_training=False,
    )  # fmt: skip
    return _like(outputs, inputs)


class TrainStep(TrainStepBase):
    """Steps without explicit state."""

    def train_step(self, data: Any) -> dict[str, Tensor]:
        """Run `update` (called by Keras)."""
        # Keras builds the model before the first step on the other backends; here it leaves that
        # to the forward pass, too late for an `update` that lists its variables first.
        if not self.built:
            self(keras.utils.unpack_x_y_sample_weight(data)[0])  # type: ignore[operator]
        return self.update(data)

    def track_loss(self, loss: Tensor, x: Any) -> None:
        """As elsewhere, of all replicas."""
        super().track_loss(loss * replicas() if replicas() > 1 else loss, x)

    def test_step(self, data: Any) -> dict[str, Tensor]:
        """Run `evaluate_update`, or Keras's own step (called by Keras)."""
        if hasattr(self, "evaluate_update"):
            return self.evaluate_update(data)
        return super().test_step(data)  # type: ignore[misc]


def _dense(grads: Sequence[Any]) -> list[Tensor | None]:
    """Gradients of lookups come as slices, which the arithmetic of balancers cannot take."""
    return [tf.convert_to_tensor(g) if isinstance(g, tf.IndexedSlices) else g for g in grads]


def _as_images(inputs: Tensor) -> Tensor:
    """Any number of axes as the four that the operation takes."""
    if len(inputs.shape) == 4:
        return inputs
    return tf.reshape(inputs, (-1, 1, 1, inputs.shape[-1]))


def _like(outputs: Tensor, inputs: Tensor) -> Tensor:
    return outputs if len(inputs.shape) == 4 else tf.reshape(outputs, tf.shape(inputs))


# One compiled loop each, ten times as fast as the operations one by one, and XLA, in which Keras
# compiles whole steps, has no kernel for TensorFlow's own pooling with positions.
_LARGEST, _PLACE, _TAKE = (
    tf.function(formula, jit_compile=True, reduce_retracing=True)
    for formula in (largest, place, take)
)


@tf.custom_gradient
def max_pool_with_indices(inputs: Tensor) -> tuple[tuple[Tensor, Tensor], Callable]:
    """Elementwise on the four pixels of a window."""
    outputs, indices = _LARGEST(inputs)
    shape = [inputs.shape[0], *(size and size // 2 for size in inputs.shape[1:3]), inputs.shape[3]]
    outputs, indices = tf.ensure_shape(outputs, shape), tf.ensure_shape(indices, shape)
    return (outputs, indices), lambda cotangent, _: max_unpool(cotangent, indices)


@tf.custom_gradient
def max_unpool(inputs: Tensor, indices: Tensor) -> tuple[Tensor, Callable]:
    """Elementwise; the gradient takes values where this puts them."""
    shape = [inputs.shape[0], *(size and 2 * size for size in inputs.shape[1:3]), inputs.shape[3]]
    outputs = tf.ensure_shape(_PLACE(inputs, indices), shape)
    return outputs, lambda cotangent: (_take(cotangent, indices), None)


@tf.custom_gradient
def _take(inputs: Tensor, indices: Tensor) -> tuple[Tensor, Callable]:
    outputs = tf.ensure_shape(_TAKE(inputs, indices), indices.shape)
    return outputs, lambda cotangent: (max_unpool(cotangent, indices), None)
