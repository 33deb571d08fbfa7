"""A constraint that keeps pruned weights at zero."""

import base64
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_univrep.types import Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class KeptWeights(keras.constraints.Constraint):
    """Sets the weights to zero that a mask has dropped, after every step of an optimizer.

    The mask is part of the configuration, a bit for each weight: the file of a model has the
    weights that it had before, and the model its plain layers.

    Args:
        mask: Booleans of the shape of the kernel, true where a weight is kept; or their bits in
            base64, with `shape`.
        shape: Shape of the kernel, where `mask` is base64.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.compression._kept_weights import KeptWeights
        >>> [float(w) for w in KeptWeights(np.array([True, False]))(np.array([2.0, 3.0]))]
        [2.0, 0.0]
    """

    def __init__(self, mask: Any, shape: Sequence[int] | None = None) -> None:
        if isinstance(mask, str):
            bits = np.frombuffer(base64.b64decode(mask), "uint8")
            count = int(np.prod(shape or ()))
            mask = np.unpackbits(bits, count=count).reshape(tuple(shape or ()))
        self.mask = np.asarray(mask, bool)

    def __call__(self, w: Tensor) -> Tensor:
        w = ops.convert_to_tensor(w)
        # Not a product, which would keep what is infinite.
        return ops.where(ops.convert_to_tensor(self.mask), w, ops.zeros_like(w))

    def get_config(self) -> dict[str, Any]:
        bits = np.packbits(self.mask).tobytes()
        return {"mask": base64.b64encode(bits).decode("ascii"), "shape": list(self.mask.shape)}
