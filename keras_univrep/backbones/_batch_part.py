"""What one domain has of a batch of several."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_univrep.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class BatchPart(keras.layers.Layer):
    """Takes the samples of one domain out of a joint batch.

    Args:
        index: Place of the domain among those of the batch.
        **kwargs: `name` and `dtype` of a Keras layer; inputs keep their own dtype.

    Call arguments:
        inputs: The joint tensor, (sum of the batches, ...), and after it tensors whose first
            sides are the batches of its domains, in order.

    Returns:
        A tensor of shape (batch of the domain, ...).

    Example:
        >>> import numpy as np
        >>> from keras_univrep.backbones._batch_part import BatchPart
        >>> first, second = np.zeros((2, 3)), np.ones((1, 3))
        >>> tuple(BatchPart(1)([np.concatenate([first, second]), first, second]).shape)
        (1, 3)
    """

    def __init__(self, index: int, **kwargs: Any) -> None:
        super().__init__(**{"autocast": False, **kwargs})
        self.index = index
        self.built: bool = True

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        joint, *batches = inputs
        sizes = [ops.shape(batch)[0] for batch in batches]
        start = sum(sizes[: self.index])
        return joint[start : start + sizes[self.index]]

    def compute_output_spec(self, inputs: Sequence[Tensor]) -> keras.KerasTensor:
        """Returns the shape and dtype of the part, without taking it."""
        shape = self.compute_output_shape([tuple(part.shape) for part in inputs])
        return keras.KerasTensor(shape, inputs[0].dtype)

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> Shape:
        """Returns the shape of the part."""
        return (input_shape[1 + self.index][0], *input_shape[0][1:])

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "index": self.index,
        }
