"""The operations of every backend that losses need, with what they promise."""

from collections.abc import Callable, Sequence

from keras import ops

from keras_univrep.backend.interface import implementation
from keras_univrep.types import Tensor


def lower_median(x: Tensor, mask: Tensor | None = None) -> Tensor:
    """Exact lower median of non-negative values, without a gradient.

    Args:
        x: Non-negative tensor of any shape, taken in float32.
        mask: Boolean tensor that broadcasts to the shape of `x`, True where `x` counts. Their
            number n may depend on the data.

    Returns:
        Scalar float32: entry (n - 1) // 2 of the n counted values in ascending order, the lower of
        the two middle ones when n is even; 0 when n is 0.

    Example:

    >>> from keras_univrep import backend
    >>> float(backend.lower_median([4.0, 1.0, 3.0, 2.0]))
    2.0
    >>> float(backend.lower_median([4.0, 1.0, 3.0, 2.0], mask=[True, False, True, False]))
    3.0
    """
    return implementation.lower_median(x, mask)


def with_gradients(
    fn: Callable[..., tuple[Tensor, Sequence[Callable[[], Tensor]]]], inputs: Sequence[Tensor]
) -> Tensor:
    """A scalar function with formulas for its gradients, where those beat differentiation.

    Args:
        fn: `fn(*inputs) -> (value, pulls)`: a scalar, and for each input a function without
            arguments that gives the gradient of `value` with respect to it. Both are made of
            differentiable operations on `inputs` alone: second derivatives come from them.
        inputs: The n floating tensors to pass to `fn`.

    Returns:
        `value`, whose first-order gradients are those of `pulls`. Those that nothing asks for cost
        nothing in compiled code.

    Example:

    >>> from keras_univrep import backend
    >>> square = lambda x: (x * x, [lambda: 2.0 * x])
    >>> value = lambda values: (backend.with_gradients(square, values), ())
    >>> (result, _), (slope,) = backend.value_and_grad(value, [3.0])
    >>> float(result), float(slope)
    (9.0, 6.0)
    """
    return implementation.with_gradients(fn, [ops.convert_to_tensor(x) for x in inputs])
