"""Functions of tensors that run compiled on every backend that compiles."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_univrep.types import Tensor

COMPILES_SHAPES = keras.backend.backend() == "jax"
"""Whether every new shape costs a compilation."""
CACHE = 2**18
"""Numbers that an episode's state may have, for the few tensors of it to stay near the core."""


class _Function(keras.Model):
    """A function in a model's clothes, so that `predict_on_batch` compiles it."""

    def __init__(self, function: Callable[..., Any]) -> None:
        # Float32 whatever the policy: half precision would round the optimiser's epsilon away.
        super().__init__(name="function", dtype="float32")
        self.function = function
        # TensorFlow runs a graph: its compiler has no fast matrix product on a CPU.
        self.compile(jit_compile=keras.backend.backend() == "jax")

    def call(self, inputs: Sequence[Tensor]) -> Any:
        return self.function(*inputs)


@functools.lru_cache(maxsize=64)
def _compiled(function: Callable[..., Any], constants: tuple[tuple[str, Any], ...]) -> _Function:
    return _Function(functools.partial(function, **dict(constants)))


def bucket(size: int) -> int:
    """The next of 8, 12, 16, 24, 32, 48, ...: at most half as much again from 8 on."""
    power = 8
    while power < size:
        power *= 2
    return power * 3 // 4 if 8 < power and size <= power * 3 // 4 else power


def padded_size(size: int) -> int:
    """How many samples or classes to make of so many: `bucket` where a new shape costs."""
    return bucket(size) if COMPILES_SHAPES else size


def episodes_at_a_time(x: Tensor, entries: int) -> int | None:
    """How many episodes, of so many numbers each, a CPU's cache holds; `None` elsewhere: all."""
    # Every backend names the device of a tensor, each in another class.
    if "cpu" not in str(getattr(x, "device", "cpu")).lower():
        return None
    return max(1, CACHE // entries)


def run_compiled(
    function: Callable[..., Any],
    inputs: Sequence[Any],
    batch_size: int | None = None,
    **constants: Any,
) -> Any:
    """Calls a function compiled, on all episodes or on some at a time.

    Args:
        function: A function of a module, `function(*inputs, **constants)`: what it gives and gets
            has the episodes first. It is traced once for each set of shapes and constants.
        inputs: Tensors or arrays (episodes, ...).
        batch_size: Episodes at a time, or `None` for all.
        **constants: Hashable arguments that the trace holds fixed. A size that the function makes
            tensors of belongs here: TensorFlow's graph knows none that has changed between calls.

    Returns:
        NumPy array (episodes, ...), or as many as the function gives.
    """
    model = _compiled(function, tuple(sorted(constants.items())))
    inputs = [ops.convert_to_tensor(x) for x in inputs]
    episodes = int(inputs[0].shape[0])
    if batch_size is None or batch_size >= episodes:
        return keras.tree.map_structure(np.asarray, model.predict_on_batch(inputs))
    parts: list[Any] = []
    done = 0
    while done < episodes:
        # The last batch repeats episodes of the one before, so that all have one shape.
        start = min(done, episodes - batch_size)
        found = model.predict_on_batch([x[start : start + batch_size] for x in inputs])
        cut = functools.partial(_rows_from, start=done - start)
        parts.append(keras.tree.map_structure(cut, found))
        done = start + batch_size
    return keras.tree.map_structure(lambda *arrays: np.concatenate(arrays), *parts)


def _rows_from(x: Any, start: int) -> np.ndarray:
    return np.asarray(x)[start:]


def run_light(function: Callable[..., Any], inputs: Sequence[Any], **constants: Any) -> Any:
    """Calls a function of few operations, compiled only where each would compile by itself.

    Args:
        function: As for `run_compiled`; its inputs need no axis of episodes.
        inputs: As for `run_compiled`.
        **constants: As for `run_compiled`.

    Returns:
        Tensors or NumPy arrays.
    """
    if COMPILES_SHAPES:
        return run_compiled(function, inputs, **constants)
    return function(*(ops.convert_to_tensor(x) for x in inputs), **constants)
