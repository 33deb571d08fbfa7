"""Functions of tensors that run compiled on every backend that compiles."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_univrep.types import Tensor


class _Function(keras.Model):
    """A function in a model's clothes, so that `predict_on_batch` compiles it."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        # Float32 whatever the policy: half precision would round the optimiser's epsilon away.
        super().__init__(name="function", dtype="float32")
        self.function = function
        # TensorFlow runs a graph: its compiler has no fast matrix product on a CPU.
        self.compile(jit_compile=keras.backend.backend() == "jax")

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        return self.function(*inputs)


@functools.lru_cache(maxsize=64)
def _compiled(function: Callable[..., Tensor], constants: tuple[tuple[str, Any], ...]) -> _Function:
    return _Function(functools.partial(function, **dict(constants)))


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
