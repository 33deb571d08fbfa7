"""The batches of several domains as one."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_univrep.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class JoinedBatch(keras.layers.Layer):
    """Puts the samples of several batches into one, in order.

    Args:
        **kwargs: `name` and `dtype` of a Keras layer; inputs keep their own dtype.

    Call arguments:
        inputs: Tensors of shape (batch of each, ...), alike but for their batches.

    Returns:
        A tensor of shape (sum of the batches, ...).

    Raises:
        ValueError: If the samples of two batches differ in size, as far as sizes are known.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.backbones._joined_batch import JoinedBatch
        >>> tuple(JoinedBatch()([np.zeros((2, 8, 8, 3)), np.ones((1, 8, 8, 3))]).shape)
        (3, 8, 8, 3)
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"autocast": False, **kwargs})
        self.built: bool = True

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        self._check([tuple(part.shape) for part in inputs])
        return ops.concatenate(list(inputs), axis=0)

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> Shape:
        """Returns the shape of all samples."""
        self._check(input_shape)
        batches = [shape[0] for shape in input_shape]
        sizes = [
            next((size for size in sizes if size is not None), None)
            for sizes in zip(*(shape[1:] for shape in input_shape), strict=True)
        ]
        return (None if None in batches else sum(batches), *sizes)  # type: ignore[arg-type]

    def _check(self, shapes: Sequence[Shape]) -> None:
        for sizes in zip(*(shape[1:] for shape in shapes), strict=True):
            if len({size for size in sizes if size is not None}) > 1:
                raise ValueError(
                    "Samples of all domains must have one size, to go through the shared layers "
                    f"as one batch. Received: shapes={[tuple(shape) for shape in shapes]}. Resize "
                    "them, for example with `datasets.resize_dense`."
                )
