"""Bilinear resizing of maps, with either meaning of where the pixels lie."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_univrep.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class BilinearResize(keras.layers.Layer):
    """Resizes maps bilinearly, by a factor or to a size.

    Equation:
        Along each axis, from n to m pixels, with pixel i of the outputs at the place s_i:

            y_i = sum_j max(0, 1 - |s_i - j|) x_j
            s_i = (i + 1/2) n / m - 1/2, kept within 0 .. n - 1    (half-pixel centres)
            s_i = i (n - 1) / (m - 1)                              (aligned corners)

        | symbol | here | shape |
        |---|---|---|
        | x | `inputs` | (batch, height, width, channels) |
        | y | outputs | (batch, new height, new width, channels) |

    Differences: None known from PyTorch's `interpolate`, of which Keras has the half-pixel form
        alone. A smaller size takes the two nearest pixels, without antialiasing.

    Args:
        scale: Factor of height and width, a whole number; or `None` with `size`.
        size: New height and width; or `None` with `scale`.
        align_corners: Whether the corner pixels keep their place, as in the decoder of MTAN.
        **kwargs: `name` and `dtype` of a Keras layer.

    Call arguments:
        inputs: Tensor of shape (batch, height, width, channels).

    Returns:
        A tensor of shape (batch, new height, new width, channels).

    Raises:
        ValueError: If not just one of `scale` and `size` is given, or one is less than 1.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.layers import BilinearResize
        >>> row = np.array([0.0, 3.0], "float32").reshape(1, 1, 2, 1)
        >>> [round(float(x), 2) for x in BilinearResize(2, align_corners=True)(row)[0, 0, :, 0]]
        [0.0, 1.0, 2.0, 3.0]
        >>> [round(float(x), 2) for x in BilinearResize(2)(row)[0, 0, :, 0]]
        [0.0, 0.75, 2.25, 3.0]
    """

    def __init__(
        self,
        scale: int | None = None,
        size: Sequence[int] | None = None,
        align_corners: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (scale is None) == (size is None):
            raise ValueError(
                "One of `scale` and `size` must be given. Received: "
                f"scale={scale}, size={size}. Leave the other one out."
            )
        numbers = [scale] if size is None else list(size)
        if len(numbers) != (1 if size is None else 2) or any(
            not isinstance(number, int) or number < 1 for number in numbers
        ):
            raise ValueError(
                "`scale` must be a whole number from 1 on, and `size` two of them. Received: "
                f"scale={scale}, size={size}. Pass e.g. `scale=2` or `size=(288, 384)`."
            )
        self.scale = scale
        self.size = None if size is None else tuple(size)
        self.align_corners = align_corners
        self.built: bool = True

    def call(self, inputs: Tensor) -> Tensor:
        batch, height, width, channels = ops.shape(inputs)
        rows, columns = self.size or (self.scale * height, self.scale * width)
        sizes = (height, width, rows, columns)
        if not self.align_corners and all(isinstance(size, int) for size in sizes):
            resized = ops.image.resize(
                inputs, (rows, columns), interpolation="bilinear", data_format="channels_last"
            )
            return ops.cast(resized, self.compute_dtype)
        # Two matrix products, along the memory as it lies. The columns first: there are fewer rows
        # of them now than later.
        x = ops.matmul(self._weights(width, columns), inputs)
        x = ops.matmul(
            self._weights(height, rows), ops.reshape(x, (batch, height, columns * channels))
        )
        return ops.reshape(x, (batch, rows, columns, channels))

    def _weights(self, old: Any, new: Any) -> Tensor:
        """The matrix (new, old) that interpolates an axis."""
        # TensorFlow may know the sizes at run time alone.
        numbers: Any = np if isinstance(old, int) and isinstance(new, int) else ops
        # Places as quotients of whole numbers: those of float32 are off by a part in ten thousand.
        i = numbers.expand_dims(numbers.arange(new, dtype="int32"), 1)
        if self.align_corners:
            places, unit = i * (old - 1), numbers.maximum(new - 1, 1)
        else:
            unit = 2 * new
            places = numbers.clip((2 * i + 1) * old - new, 0, unit * (old - 1))
        floor = places // unit
        part = (places - unit * floor) / unit
        pixels = numbers.arange(old, dtype="int32")
        matrix = numbers.where(numbers.equal(pixels, floor), 1.0 - part, 0.0)
        matrix = numbers.where(numbers.equal(pixels, floor + 1), part, matrix)
        return ops.cast(ops.convert_to_tensor(matrix), self.compute_dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns the shape of the outputs."""
        batch, height, width, channels = input_shape
        if self.size is not None:
            return batch, *self.size, channels
        scale = self.scale or 1
        return batch, height and scale * height, width and scale * width, channels

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "scale": self.scale,
            "size": self.size,
            "align_corners": self.align_corners,
        }
