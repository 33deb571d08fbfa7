"""The random numbers that a framework draws outside of Keras's generators."""

from collections.abc import Sequence

import keras
import numpy as np


def generator_states() -> list[np.ndarray]:
    """Returns how far the framework's own random generators are.

    Keras draws from `SeedGenerator`s, but on PyTorch the masks of a `Dropout` without a seed come
    from PyTorch's own generators, of the processor and of each accelerator.

    Returns:
        The state of each, uint8; none on TensorFlow and JAX.

    Example:

    >>> from keras_univrep import backend
    >>> backend.set_generator_states(backend.generator_states())
    """
    if keras.backend.backend() != "torch":
        return []
    import torch

    states = [torch.get_rng_state(), *torch.cuda.get_rng_state_all()]
    return [state.cpu().numpy().copy() for state in states]


def set_generator_states(states: Sequence[np.ndarray]) -> None:
    """Sets the framework's own random generators back, on the devices that are there.

    Args:
        states: What `generator_states` returned, on the same backend.
    """
    if keras.backend.backend() != "torch" or not states:
        return
    import torch

    torch.set_rng_state(torch.as_tensor(states[0]))
    for device, state in zip(range(torch.cuda.device_count()), states[1:]):
        torch.cuda.set_rng_state(torch.as_tensor(state), device)
