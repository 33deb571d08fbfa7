"""Weights for the authors' PyTorch networks."""

import keras
import numpy as np
from keras import ops

from keras_univrep.conversion._torch_names import NAMES, UnsuitableError, all_pairs


def to_torch(model: keras.Model, source: str) -> dict[str, np.ndarray]:
    """Returns a network's weights as a state dictionary of one of the papers' repositories.

    Args:
        model: What `from_torch` gives for the source, or a network of the same kind; of
            "residual_adapters" also an `AdaptedBackbone` over a `ResNet26`, such as the shipped
            `UniversalResNet26("vdd")`. What domains share is written for each of them.
        source: As for `from_torch`.

    Returns:
        Arrays by the names of the repository, in PyTorch's order of axes. `{name:
        torch.from_numpy(value) for ...}` goes into `load_state_dict(..., strict=False)`: the counts
        of batches, which no output depends on, are not there.

    Raises:
        ValueError: If the source is unknown, or the network is of another kind: has another
            architecture, or weights that have no place there.

    Example:
        >>> from keras_univrep.backbones import ResNet18
        >>> from keras_univrep.conversion import to_torch
        >>> state = to_torch(ResNet18(width=0.125), "url")
        >>> state["layer2.0.downsample.0.weight"].shape
        (16, 8, 1, 1)
    """
    if source not in NAMES:
        raise ValueError(
            f"`source` must be one of {', '.join(NAMES)}. Received: source={source!r}. Pass one of "
            "these."
        )
    try:
        pairs = all_pairs(model, source)
    except UnsuitableError as error:
        raise ValueError(
            f"`model` must be a network that {source!r} has, as `from_torch` builds it: with "
            f"{error}. Received: {type(model).__name__} {model.name!r}. Choose another `source`."
        ) from error
    return {name: _to_torch(ops.convert_to_numpy(variable), name) for variable, name in pairs}


def _to_torch(value: np.ndarray, name: str) -> np.ndarray:
    # PyTorch keeps the 1x1 kernels of series adapters as convolutions.
    if value.ndim == 2 and ".conv.1." in name:
        value = value[None, None]
    turned = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T
    return np.ascontiguousarray(turned)
