"""What a train step must know of the replicas of a `tf.distribute` strategy.

Each replica takes its step on its own part of the batch, and `apply_gradients` adds up the
gradients of all: what they are taken of must be a share of the whole, as Keras's losses are.
Elsewhere, and on JAX's devices, which compute one program, there is one replica.
"""

from keras_univrep.backend.interface import implementation
from keras_univrep.types import Tensor


def replicas() -> int:
    """Number of replicas that take a step together.

    Example:

    >>> from keras_univrep import backend
    >>> backend.replicas()
    1
    """
    return implementation.replicas()


def in_a_replica() -> bool:
    """Whether this is the step of one of several replicas, which has a part of the batch.

    Example:

    >>> from keras_univrep import backend
    >>> backend.in_a_replica()
    False
    """
    return implementation.in_a_replica()


def share(value: Tensor) -> Tensor:
    """What a replica adds of a mean or a penalty, which all of them compute.

    Args:
        value: Tensor of any shape, which no Keras loss has divided by the replicas.

    Returns:
        The tensor over the number of replicas; Keras losses with a mean are so already.

    Example:

    >>> from keras import ops
    >>> from keras_univrep import backend
    >>> float(backend.share(ops.ones(())))
    1.0
    """
    count = replicas()
    return value if count == 1 else value / count


def whole(value: Tensor) -> Tensor:
    """What a share would be if all replicas had what this one has: the inverse of `share`.

    Args:
        value: Tensor of any shape.

    Returns:
        The tensor times the number of replicas, to show or to adapt by.

    Example:

    >>> from keras import ops
    >>> from keras_univrep import backend
    >>> float(backend.whole(backend.share(ops.ones(()))))
    1.0
    """
    count = replicas()
    return value if count == 1 else value * count


def in_every_replica(condition: Tensor) -> Tensor:
    """Whether a condition holds in all replicas, so that they take a step or leave it out together.

    Args:
        condition: A boolean.

    Returns:
        A boolean, the same in each replica.

    Example:

    >>> from keras import ops
    >>> from keras_univrep import backend
    >>> bool(backend.in_every_replica(ops.convert_to_tensor(True)))
    True
    """
    return implementation.in_every_replica(condition)
