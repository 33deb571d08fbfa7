"""Functions of tensors that run compiled on every backend that compiles."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_univrep.types import Tensor

COMPILES_SHAPES = keras.backend.backend() == "jax"
"""Whether every new shape costs a compilation."""
CACHE = 2**18
"""Numbers that an episode's state may have, for the few tensors of it to stay near the core."""


class _Function(keras.Model):
    """A function in a model's clothes, so that `predict_on_batch` compiles it."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        # Float32 whatever the policy: half precision would round the optimiser's epsilon away.
        super().__init__(name="function", dtype="float32")
        self.function = function
        # TensorFlow runs a graph: its compiler has no fast matrix product on a CPU.
        self.compile(jit_compile=COMPILES_SHAPES)

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        return self.function(*inputs)


@functools.lru_cache(maxsize=64)
def _compiled(function: Callable[..., Tensor], constants: tuple[tuple[str, Any], ...]) -> _Function:
    return _Function(functools.partial(function, **dict(constants)))


def bucket(size: int) -> int:
    """The next of 8, 12, 16, 24, 32, 48, ...: at most half as much again from 8 on."""
    power = 8
    while power < size:
        power *= 2
    return power * 3 // 4 if 8 < power and size <= power * 3 // 4 else power


def padded(x: Any, *axes: int) -> Any:
    """Zeros after the end of some axes, up to `bucket`, where new shapes cost a compilation.

    What comes in must give zeros no say, and what comes out be cut to size.

    Args:
        x: Array or tensor.
        *axes: Axes to pad.

    Returns:
        `x` itself, or a NumPy array.
    """
    if not COMPILES_SHAPES:
        return x
    widths = [(0, bucket(n) - n if i in axes else 0) for i, n in enumerate(x.shape)]
    # By NumPy: this is not to be compiled either.
    return np.pad(keras.ops.convert_to_numpy(x), widths)


def episodes_at_a_time(x: Tensor, entries: int) -> int | None:
    """How many episodes, of so many numbers each, a CPU's cache holds; `None` elsewhere: all."""
    # Every backend names the device of a tensor, each in another class.
    if "cpu" not in str(getattr(x, "device", "cpu")).lower():
        return None
    return max(1, CACHE // entries)


def run_compiled(
    function: Callable[..., Tensor],
    inputs: Sequence[Tensor],
    batch_size: int | None = None,
    **constants: Any,
) -> np.ndarray:
    """Calls a function compiled, on all episodes or on some at a time.

    Args:
        function: A function of a module, `function(*inputs, **constants)`: what it gives and gets
            has the episodes first. It is traced once for each set of shapes and constants.
        inputs: Tensors (episodes, ...).
        batch_size: Episodes at a time, or `None` for all.
        **constants: Hashable arguments that the trace holds fixed. A size that the function makes
            tensors of belongs here: TensorFlow's graph knows none that has changed between calls.

    Returns:
        NumPy array (episodes, ...).
    """
    model = _compiled(function, tuple(sorted(constants.items())))
    episodes = int(inputs[0].shape[0])
    if batch_size is None or batch_size >= episodes:
        return np.asarray(model.predict_on_batch(list(inputs)))
    parts: list[np.ndarray] = []
    for start in range(0, episodes, batch_size):
        # The last batch repeats episodes of the one before, so that all have one shape.
        start = min(start, episodes - batch_size)
        batch = [x[start : start + batch_size] for x in inputs]
        skipped = sum(len(part) for part in parts) - start
        parts.append(np.asarray(model.predict_on_batch(batch))[skipped:])
    return np.concatenate(parts)
