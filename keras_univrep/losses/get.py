"""Losses by name."""

from collections.abc import Callable
from typing import Any

import keras

from keras_univrep.losses.attention_transfer import AttentionTransfer
from keras_univrep.losses.cka import CKA
from keras_univrep.losses.cosine_distance import CosineDistance
from keras_univrep.losses.kl_distillation import KLDistillation
from keras_univrep.losses.normalized_l2 import NormalizedL2

_BY_NAME: dict[str, Callable[[], keras.losses.Loss]] = {
    "attention_transfer": AttentionTransfer,
    "cka": CKA,
    "cka_linear": lambda: CKA(kernel="linear", name="cka_linear"),
    "cosine": CosineDistance,
    "kl": KLDistillation,
    "normalized_l2": NormalizedL2,
}


def get(identifier: Any) -> Any:
    """Turns a name, a serialized loss or a loss into a loss.

    Args:
        identifier: One of `"attention_transfer"`, `"cka"`, `"cka_linear"`, `"cosine"`, `"kl"` and
            `"normalized_l2"` (each with its default arguments); or the dictionary that
            `keras.saving.serialize_keras_object` makes of a loss; or a loss or any other callable
            `loss(teacher, student)`, which is returned as it is.

    Returns:
        A `keras.losses.Loss`, or the callable that was passed.

    Raises:
        ValueError: For an unknown name.
        TypeError: For anything that is not a name, a dictionary or a callable.

    Example:
        >>> from keras_univrep import losses
        >>> losses.get("cka_linear").kernel
        'linear'
    """
    if isinstance(identifier, str):
        if identifier not in _BY_NAME:
            raise ValueError(
                f"The name of a loss must be one of {sorted(_BY_NAME)}. "
                f"Received: identifier={identifier!r}. Pass a loss object for any other loss."
            )
        return _BY_NAME[identifier]()
    if isinstance(identifier, dict):
        return keras.saving.deserialize_keras_object(identifier)
    if callable(identifier):
        return identifier
    raise TypeError(
        "A loss must be a name, a serialized loss or a callable `loss(teacher, student)`. "
        f"Received: identifier={identifier!r} (of type {type(identifier).__name__}). "
        f"Pass one of the names {sorted(_BY_NAME)}."
    )
