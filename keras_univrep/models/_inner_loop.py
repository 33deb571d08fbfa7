"""Gradient steps within a step: what a learner that adapts to each task is made of."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_univrep import backend
from keras_univrep.layers import BatchNormalization
from keras_univrep.types import Tensor

# Where a loop over tasks is compiled once, which saves minutes where its body is large.
LOOPS = keras.backend.backend() == "jax"
# Passes through a network of convolutions that are written out at most. So many of Conv-4, with
# their gradients, take XLA a minute and a half of one core; a step is then six times as fast.
MOST_PASSES = 48

Forward = Callable[..., tuple[Any, list[Tensor]]]


def adapt(
    loss: Callable[[list[Tensor], Any], Tensor],
    values: Sequence[Tensor],
    rates: Any,
    steps: int,
    first_order: bool = False,
    unroll: bool = False,
) -> tuple[list[Tensor], Tensor]:
    """Takes gradient steps that may be differentiated, of first order or as they are.

    Finn et al., 2017, eq. 1: `steps` times, values <- values - rates * d loss / d values. What the
    loss assigns to variables is dropped.

    Args:
        loss: `loss(values, number) -> scalar`, with the values of the moment and the number of the
            step from 0, an integer or (JAX) an integer tensor.
        values: Tensors or variables, taken at their current values.
        rates: One number or tensor for all, or a list with one for each of `values`.
        steps: Number of steps, from 0 on.
        first_order: Whether the gradients are constants to any further differentiation.
        unroll: As for `backend.repeat`.

    Returns:
        The adapted values, and the loss before each step, (steps,).
    """
    values = tensors_of(values)
    if steps == 0:
        # Tensors, as TensorFlow's transformations give no variables back.
        return [ops.add(value, 0) for value in values], ops.zeros((0,))
    each = list(rates) if isinstance(rates, (list, tuple)) else [rates] * len(values)

    def step(number: Any, values: list[Tensor]) -> tuple[list[Tensor], Tensor]:
        def of_values(values: list[Tensor]) -> tuple[Tensor, tuple]:
            return loss(values, number), ()

        with backend.Scope():
            (value, _), grads = backend.value_and_grad(
                of_values, values, create_graph=not first_order
            )
        moved = [
            v - ops.cast(rate, v.dtype) * g for v, rate, g in zip(values, each, grads, strict=True)
        ]  # Finn et al. 2017 eq. 1
        return moved, value

    return backend.repeat(step, values, steps, unroll)


def tensors_of(values: Sequence[Any]) -> list[Tensor]:
    """Current values of variables, and tensors as they are."""
    # Of the values: on TensorFlow a variable would stay one.
    return [
        ops.convert_to_tensor(value.value if isinstance(value, keras.Variable) else value)
        for value in values
    ]


def network_function(
    network: keras.Layer, call: Callable[[Any, bool], Any] | None = None
) -> Forward:
    """The network as a function of the values of its trainable variables.

    Its batch normalisations use the moments of the batch that they see, whether or not the network
    trains; moving moments are neither used nor moved. Frozen ones go by their moving moments.

    Args:
        network: A built layer or model.
        call: `call(inputs, training) -> outputs` in place of the network's own call.

    Returns:
        `forward(values, inputs, moments=None) -> (outputs, moments)`: the moments of the batch, to
        normalise another batch with, as constants to any gradient.
    """
    layers = [
        layer
        for layer in network._flatten_layers()
        # A frozen one goes by its moving moments, always.
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]
    moving = [v for layer in layers for v in (layer.moving_mean, layer.moving_variance)]
    shares = [1.0 - layer.momentum for layer in layers for _ in range(2)]
    variables = [*network.trainable_variables, *moving]
    # From zero, the moving moments become this share of those of the batch.
    zeros = [ops.zeros(variable.shape, variable.dtype) for variable in moving]
    takes_training = isinstance(network, keras.Model) or network._call_has_training_arg

    def run(inputs: Any, training: bool) -> Any:
        if call is not None:
            return call(inputs, training)
        return network(inputs, **({"training": training} if takes_training else {}))

    learn, judge = (
        backend.functional(lambda inputs, mode=mode: run(inputs, mode), variables, moving)
        for mode in (True, False)
    )

    def forward(
        values: Sequence[Tensor], inputs: Any, moments: Sequence[Tensor] | None = None
    ) -> tuple[Any, list[Tensor]]:
        if moments is None:
            outputs, moved = learn([*values, *zeros], inputs)
            moments = [new / share for new, share in zip(moved, shares, strict=True)]
        else:
            moments = [ops.stop_gradient(moment) for moment in moments]
            outputs, _ = judge([*values, *moments], inputs)
        return keras.tree.map_structure(_in_full_precision, outputs), list(moments)

    return forward


def over_tasks(fn: Callable[[Any], Any], arrays: Any, vectorize: bool, unroll: bool = False) -> Any:
    """Runs a function on each task of a structure of tensors (tasks, ...), and stacks the results.

    Args:
        fn: Function of the structure without the axis of tasks.
        arrays: Structure of tensors (tasks, ...).
        vectorize: Whether the tasks become an axis of each operation, or follow one another.
        unroll: Whether, where they do, JAX is to compile each of them by itself.

    Returns:
        What `fn` returns, with the axis of tasks before each tensor.
    """
    flat = keras.tree.flatten(arrays)

    def of_flat(parts: Any) -> Any:
        return fn(keras.tree.pack_sequence_as(arrays, list(parts)))

    tasks = flat[0].shape[0]
    if tasks == 1:
        return keras.tree.map_structure(lambda x: x[None], of_flat([x[0] for x in flat]))
    if vectorize:
        return ops.vectorized_map(of_flat, tuple(flat))
    if tasks is None or (LOOPS and not unroll):
        return ops.map(of_flat, tuple(flat))
    results = [of_flat([x[task] for x in flat]) for task in range(tasks)]
    return keras.tree.map_structure(lambda *parts: ops.stack(parts), *results)


def convolves(network: keras.Layer) -> bool:
    """Whether the network has a kernel that slides."""
    return any(getattr(layer, "kernel_size", None) for layer in network._flatten_layers())


def joins_tasks(network: keras.Layer) -> bool:
    """Whether tasks that share a network's weights had better be an axis of its operations.

    The convolutions then see one large batch. On a processor, PyTorch's normalisation and maxima
    lose more by that than its convolutions gain.
    """
    slower = keras.backend.backend() == "torch" and backend.on_processor()
    return not (slower and convolves(network))


def writes_out(network: keras.Layer, tasks: int | None, steps: int) -> bool:
    """Whether loops of steps and tasks around a network had better be written out.

    On a processor XLA's convolutions take several times as long inside a loop.
    """
    few = tasks is not None and tasks * (steps + 1) <= MOST_PASSES
    return LOOPS and few and backend.on_processor() and convolves(network)


def check_differentiable_twice(network: keras.Layer) -> None:
    """Refuses layers whose second-order gradients are wrong without a word."""
    if keras.backend.backend() != "tensorflow":
        return
    for layer in network._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable and not (
            isinstance(layer, BatchNormalization)
        ):  # fmt: skip
            raise ValueError(
                "Layers must be differentiable twice. Received: "
                f"`keras.layers.BatchNormalization` {layer.name!r}, whose second-order gradients "
                "Keras computes wrongly on TensorFlow. Use `keras_univrep.layers."
                "BatchNormalization`, or pass `first_order=True`."
            )


def check_no_randomness(network: keras.Layer, name: str) -> None:
    """Refuses layers that draw random numbers, as their state is dropped within a task."""
    for layer in network._flatten_layers():
        if getattr(layer, "rate", 0) and getattr(layer, "seed_generator", None) is not None:
            raise ValueError(
                f"`{name}` must not draw random numbers, which would be the same in every task "
                f"and step. Received: layer {layer.name!r} of {type(layer).__name__}. Leave it "
                "out."
            )


def _in_full_precision(x: Tensor) -> Tensor:
    narrow = keras.backend.standardize_dtype(x.dtype) in ("float16", "bfloat16")
    return ops.cast(x, "float32") if narrow else x
