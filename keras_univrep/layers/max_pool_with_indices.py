"""Max-pooling that remembers where the maxima were."""

from typing import Any

import keras

from keras_univrep import backend
from keras_univrep.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class MaxPoolWithIndices(keras.layers.Layer):
    """The maximum of each 2x2 window, and where it was, for `MaxUnpool` to put it back.

    Equation:
        For each window W and channel, with positions p in reading order (Badrinarayanan et al.,
        2017):

            index = min {p in W: x_p = max_(q in W) x_q},    y = x_index

        | symbol | here | shape |
        |---|---|---|
        | x | `inputs` | (batch, height, width, channels) |
        | y | maxima | (batch, height // 2, width // 2, channels) |
        | index | row * (2 (width // 2)) + column | integers of the shape of y |

        The gradient goes to the one pixel at the index, at ties too. A window with a NaN gives
        NaN.

    Differences: None known: indices of even maps are those of PyTorch. An odd row or column at the
        end is dropped, as there, and here not counted in the indices either, so that `MaxUnpool`
        gives the even map without it.

    Args:
        **kwargs: `name` and `dtype` of a Keras layer.

    Call arguments:
        inputs: Floating tensor of shape (batch, height, width, channels), from 2 rows and columns
            on.

    Returns:
        The maxima and the indices, (batch, height // 2, width // 2, channels) each.

    Raises:
        ValueError: If the inputs have other axes, or fewer than 2 rows or columns.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.layers import MaxPoolWithIndices
        >>> image = np.array([[0, 5, 1, 1], [2, 3, 1, 1]], "float32").reshape(1, 2, 4, 1)
        >>> maxima, indices = MaxPoolWithIndices()(image)
        >>> [int(index) for index in indices[0, 0, :, 0]]
        [1, 2]

    References:
        Badrinarayanan, Kendall, Cipolla. SegNet: a deep convolutional encoder-decoder architecture
        for image segmentation. TPAMI 2017.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.built: bool = True

    def call(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        self._check(inputs.shape)
        return backend.max_pool_with_indices(inputs)

    def compute_output_shape(self, input_shape: Shape) -> tuple[Shape, Shape]:
        """Returns the shapes of the maxima and of the indices."""
        self._check(input_shape)
        batch, height, width, channels = input_shape
        shape = (batch, height and height // 2, width and width // 2, channels)
        return shape, shape

    def compute_output_spec(self, inputs: Tensor) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Returns shapes and dtypes of the maxima and of the indices, without computing them."""
        maxima, indices = self.compute_output_shape(inputs.shape)
        return (
            keras.KerasTensor(maxima, self.compute_dtype),
            keras.KerasTensor(indices, backend.INDEX_DTYPE),
        )

    def _check(self, shape: Shape) -> None:
        if len(shape) != 4 or any(size is not None and size < 2 for size in shape[1:3]):
            raise ValueError(
                f"`inputs` of {self.name} must have shape (batch, height, width, channels) with "
                f"height and width from 2 on. Received: shape={tuple(shape)}. Give it larger "
                "images, or stack single ones into a batch."
            )

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "dtype": keras.dtype_policies.serialize(self.dtype_policy)}
