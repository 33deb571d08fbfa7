"""The operations that every backend offers, with what they promise."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_univrep.backend.base import Pullback, Scope, check_same_length
from keras_univrep.types import Tensor

if keras.backend.backend() == "tensorflow":
    from keras_univrep.backend import tensorflow as implementation
elif keras.backend.backend() == "jax":
    from keras_univrep.backend import jax as implementation  # type: ignore[no-redef]
elif keras.backend.backend() == "torch":
    from keras_univrep.backend import torch as implementation  # type: ignore[no-redef]
else:
    raise ImportError(
        "keras_univrep needs Keras to run on TensorFlow, JAX or PyTorch. "
        f"Received: KERAS_BACKEND={keras.backend.backend()!r}. "
        "Set KERAS_BACKEND to 'tensorflow', 'jax' or 'torch' before Keras is imported."
    )


def vjp(
    fn: Callable[..., tuple[Any, Any]],
    variables: Sequence[keras.Variable],
    inputs: Sequence[Tensor] = (),
) -> tuple[Any, Any, Pullback]:
    """One forward pass and any number of backward passes (vector-Jacobian products).

    Args:
        fn: `fn(*inputs) -> (outputs, aux)`. `outputs` is a tensor or a structure of tensors, `aux`
            anything. It reads variables as usual; what it assigns (moving statistics, seeds,
            metrics) is carried out. Read `model.losses` inside it.
        variables: The n variables to differentiate with respect to, frozen ones included.
        inputs: The m floating tensors to pass to `fn` and to differentiate with respect to.

    Returns:
        `outputs`, `aux`, and `pullback(cotangents) -> (variable_grads, input_grads)`. The
        cotangents have the structure and shapes of `outputs`, or `None` in the place of a tensor:
        that output counts for nothing, and what leads to it alone is not passed through. The n and
        m gradients have the shapes of what they belong to, with zeros where nothing depends on it.
        Results are first order: to differentiate again use `value_and_grad`.

    Raises:
        TypeError: If `variables` holds something else.
        ValueError: If a layer's `call` casts the variables under mixed precision.

    Example:

    >>> from keras_univrep import backend
    >>> a, b = keras.Variable(2.0), keras.Variable(3.0)
    >>> outputs, aux, pullback = backend.vjp(lambda: ([a * b, a * a], "kept"), [a, b])
    >>> [float(grad) for grad in pullback([1.0, 0.0])[0]]
    [3.0, 2.0]
    >>> [float(grad) for grad in pullback([None, 1.0])[0]]
    [4.0, 0.0]
    """
    return implementation.vjp(fn, variables, inputs)


def gradients(
    fn: Callable[[], tuple[Tensor, Any]],
    variables: Sequence[keras.Variable],
    optimizer: keras.optimizers.Optimizer | None = None,
) -> tuple[Tensor, Any, list[Tensor]]:
    """Loss and its gradients with respect to variables.

    Args:
        fn: `fn() -> (loss, aux)` with a scalar `loss`. What it assigns is carried out.
        variables: The n variables to differentiate with respect to.
        optimizer: If given, the gradients carry this optimizer's loss scale and are ready for
            `apply_gradients`. A float16 model needs it: unscaled gradients underflow, and are then
            divided by the scale as well, so that nothing trains and nothing complains.

    Returns:
        `loss` (scalar, never scaled), `aux`, and n tensors of the variables' shapes.

    Example:

    >>> variable = keras.Variable(3.0)
    >>> loss, _, (grad,) = gradients(lambda: (variable * variable, ()), [variable])
    >>> float(loss), float(grad)
    (9.0, 6.0)
    """
    loss, aux, pullback = vjp(fn, variables)
    cotangent = ops.ones_like(loss)
    if optimizer is not None:
        cotangent = ops.cast(optimizer.scale_loss(cotangent), loss.dtype)
    return loss, aux, pullback(cotangent)[0]


def value_and_grad(
    fn: Callable[[list[Tensor]], tuple[Tensor, Any]],
    values: Sequence[Tensor],
    create_graph: bool = True,
) -> tuple[tuple[Tensor, Any], list[Tensor]]:
    """Value and gradients of a function of tensors, differentiable again.

    Args:
        fn: `fn(values) -> (value, aux)` with a scalar `value`; `aux` may be anything. State that
            it assigns is carried out, unless `functional` drops it.
        values: The n tensors (or variables, taken at their current value).
        create_graph: If False, the gradients are constants to any further differentiation
            (first-order meta-learning).

    Returns:
        `(value, aux), grads`, with n gradients of the shapes of `values`, zeros where `value` does
        not depend on an entry.

    Example:

    >>> from keras_univrep import backend
    >>> cube = lambda values: (values[0] ** 3, ())
    >>> slope = lambda values: (backend.value_and_grad(cube, values)[1][0], ())
    >>> (first, _), (second,) = backend.value_and_grad(slope, [2.0])
    >>> float(first), float(second)
    (12.0, 12.0)
    """
    return implementation.value_and_grad(fn, values, create_graph)


def functional(
    fn: Callable[..., Any],
    variables: Sequence[keras.Variable],
    states: Sequence[keras.Variable] = (),
) -> Callable[..., tuple[Any, list[Tensor]]]:
    """Turn a function that reads variables into one that takes their values.

    Args:
        fn: Function of tensors that reads `variables` and may assign to any variable.
        variables: The n variables whose values become arguments.
        states: Variables whose new values become results. What `fn` assigns to any other variable
            is dropped, and no variable is changed.

    Returns:
        `pure(values, *args) -> (outputs, new_states)`, with n tensors `values` of the variables'
        shapes and one tensor per entry of `states`.

    Example:

    >>> weight = keras.Variable(2.0)
    >>> pure = functional(lambda x: weight * x, [weight])
    >>> outputs, new_states = pure([5.0], 3.0)
    >>> float(outputs)
    15.0
    """
    variables, states = list(variables), list(states)

    def pure(values: Sequence[Tensor], *args: Any) -> tuple[Any, list[Tensor]]:
        check_same_length("values", values, "variables", variables)
        with Scope(zip(variables, values, strict=True)) as scope:
            outputs = fn(*args)
            return outputs, [scope.get_current_value(state) for state in states]

    return pure


def repeat(
    body: Callable[[Any, Any], tuple[Any, Tensor]], state: Any, steps: int, unroll: bool = False
) -> tuple[Any, Tensor]:
    """Runs a body again and again on its own result, in a form that can be differentiated.

    JAX compiles the body once for all steps, which saves minutes where it is large. On a processor
    XLA's convolutions are several times slower in such a loop than outside of it.

    Args:
        body: `body(number, state) -> (state, output)` with the number of the step from 0, an
            integer or (JAX) an integer tensor; the state keeps its structure and shapes. What it
            assigns to variables must stay within it, in a `Scope`.
        state: Structure of tensors.
        steps: Number of steps, from 0 on.
        unroll: Whether JAX, too, is to compile each step by itself.

    Returns:
        The last state, and the outputs stacked, (steps, ...); zeros (0,) of no steps.

    Example:

    >>> from keras_univrep import backend
    >>> state, seen = backend.repeat(lambda number, x: (2.0 * x, x), keras.ops.ones(()), steps=3)
    >>> float(state), [float(x) for x in seen]
    (8.0, [1.0, 2.0, 4.0])
    """
    if steps == 0:
        return state, ops.zeros((0,))
    return implementation.repeat(body, state, steps, unroll)


def on_processor() -> bool:
    """Whether the framework computes on a CPU, for choices between forms that do the same.

    Example:

    >>> from keras_univrep import backend
    >>> isinstance(backend.on_processor(), bool)
    True
    """
    return implementation.on_processor()


def apply_gradients(
    optimizer: keras.optimizers.Optimizer,
    grads: Sequence[Tensor | None],
    variables: Sequence[keras.Variable],
    condition: Tensor | None = None,
) -> None:
    """Apply gradients to variables.

    Args:
        optimizer: Any Keras optimizer, `MultiOptimizer` and `LossScaleOptimizer` included. It is
            built with `variables` if it is not yet built.
        grads: The n gradients, carrying the optimizer's loss scale (`gradients` sees to it). None
            leaves a variable where it is; a zero gradient does not, as momentum and decay go on.
        variables: The n variables, all or some of those that the optimizer was built with.
        condition: A boolean; where False, neither variables nor the optimizer change. None for
            always.

    Raises:
        ValueError: If the lengths differ, or a variable is unknown to the optimizer.

    Example:

    >>> from keras_univrep import backend
    >>> variable = keras.Variable(1.0)
    >>> backend.apply_gradients(keras.optimizers.SGD(0.5), [2.0], [variable])
    >>> float(variable)
    0.0
    """
    implementation.apply_gradients(optimizer, grads, variables, condition)


def batch_normalization(
    inputs: Tensor,
    gamma: Tensor,
    beta: Tensor,
    epsilon: float,
    moments: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Batch normalisation in the backend's fastest form that can be differentiated twice.

    Args:
        inputs: (batch, ..., channels), in float32 or wider.
        gamma: Scale, (channels,).
        beta: Shift, (channels,).
        epsilon: Positive number added to the variance.
        moments: Mean and variance to use, (channels,) each, constants to any gradient; None for
            those of the batch.

    Returns:
        Outputs of the shape of `inputs`; the mean and the (biased) variance used, (channels,).

    Example:

    >>> import numpy as np
    >>> from keras_univrep import backend
    >>> x = np.array([[1.0], [3.0]], "float32")
    >>> y, mean, variance = backend.batch_normalization(x, [1.0], [0.0], 1e-5)
    >>> float(mean[0]), float(variance[0])
    (2.0, 1.0)
    """
    inputs = ops.convert_to_tensor(inputs)
    dtype = inputs.dtype
    gamma, beta = ops.convert_to_tensor(gamma, dtype), ops.convert_to_tensor(beta, dtype)
    if moments is not None:
        mean, variance = (
            ops.stop_gradient(ops.convert_to_tensor(moment, dtype)) for moment in moments
        )
        outputs = implementation.normalize(inputs, gamma, beta, epsilon, mean, variance)
        return outputs, mean, variance
    return implementation.batch_normalization(inputs, gamma, beta, epsilon)


def adadelta(
    gradient: Callable[[Tensor], Tensor],
    start: Tensor,
    rates: Tensor,
    steps: int,
    decay: float = 0.9,
    epsilon: float = 1e-6,
) -> Tensor:
    """Runs Adadelta from zero accumulators, each entry by itself, in the backend's fastest form.

    Args:
        gradient: `gradient(values) -> (episodes, ...)`, at values of the shape of `start`. It must
            not keep its argument, which may be changed in place afterwards.
        start: Values to start at, (episodes, ...) in float32.
        rates: Learning rates, (episodes, 1, ...) with the axes of `start`.
        steps: Number of steps.
        decay: Of the averages of squared gradients and squared moves; PyTorch's rho, not Keras's.
        epsilon: Added to both averages; PyTorch's, not Keras's.

    Returns:
        The values after the last step, of the shape of `start`; `start` is left as it is.

    Example:

    >>> from keras_univrep import backend
    >>> values = backend.adadelta(lambda x: 2.0 * x, [[1.0, -1.0]], [[1.0]], steps=2)
    >>> [round(float(value), 4) for value in values[0]]
    [0.9936, -0.9936]
    """
    start = ops.stop_gradient(ops.convert_to_tensor(start, "float32"))
    rates = ops.convert_to_tensor(rates, "float32")
    return implementation.adadelta(gradient, start, rates, steps, decay, epsilon)


class TrainStep(implementation.TrainStep):
    """Mixin that makes one method `update(data) -> logs` the train step of every backend.

    Put it before `keras.Model` and write `update` with `vjp`, `gradients`, `value_and_grad`,
    `apply_gradients` and plain assignments to variables and metrics. `fit`, `train_on_batch`,
    compilation, callbacks, loss scaling and `MultiOptimizer` work as they do with Keras's own step.
    A second method `evaluate_update(data) -> logs`, if there is one, becomes the test step;
    gradients are allowed in it. Create every variable before the first step: Keras builds a model
    whose `call` takes the `x` of its data, build any other by hand.

    Raises:
        TypeError: At class definition, if `update` is missing or `keras.Model` comes first.

    Example:

    >>> from keras_univrep import backend
    >>> class Regression(backend.TrainStep, keras.Model):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.head = keras.layers.Dense(1)
    ...     def call(self, inputs):
    ...         return self.head(inputs)
    ...     def update(self, data):
    ...         x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
    ...         def forward():
    ...             y_pred = self(x, training=True)
    ...             return self.compute_loss(x, y, y_pred), y_pred
    ...         variables = self.trainable_variables
    ...         loss, y_pred, grads = backend.gradients(forward, variables, self.optimizer)
    ...         backend.apply_gradients(self.optimizer, grads, variables)
    ...         self.track_loss(loss, x)
    ...         return self.compute_metrics(x, y, y_pred)
    >>> x = keras.ops.convert_to_numpy(keras.random.normal((32, 3), seed=0))
    >>> model = Regression()
    >>> model.compile(keras.optimizers.SGD(0.1), "mse")
    >>> losses = model.fit(x, x[:, :1], epochs=5, verbose=0).history["loss"]
    >>> losses[-1] < losses[0]
    True
    """
