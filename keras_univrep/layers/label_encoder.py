"""Labels of any kind as vectors."""

from typing import Any

import keras
from keras import ops

from keras_univrep import backend
from keras_univrep.layers.conv2d import Conv2D
from keras_univrep.types import Shape, Tensor

KINDS = ("classes", "vector", "map")
_BLOCKS = 3


class LabelEncoder(keras.layers.Layer):
    """Makes a vector of a label: a class, a vector, or a dense map.

    Equation:
        lekkala2020, sections 4.2 and 5; with three blocks c of convolution, ReLU, 2x2 maximum:

            classes: one-hot(y);   vector: y;   map: mean over positions of c(c(c(y)))

    Differences: The paper prints the number of blocks and of filters; the rest is chosen here.

    Args:
        kind: `"classes"`, `"vector"` or `"map"`.
        size: Number of classes, of entries of a vector, or of channels of a map.
        filters: Channels of each block for maps.
        **kwargs: `name`, `dtype` and `trainable` of a Keras layer.

    Call arguments:
        inputs: Classes (tasks, samples) or (tasks, samples, 1), vectors (tasks, samples, size), or
            maps (tasks, samples, height, width, size), at least 8 pixels high and wide.

    Returns:
        Tensor (tasks, samples, units).

    Raises:
        ValueError: If an argument is none of the above, or labels have another shape.
    """

    def __init__(self, kind: str, size: int, filters: int = 4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if kind not in KINDS:
            raise ValueError(
                f"`labels` must be one of {list(KINDS)}. Received: labels={kind!r}. Pass "
                "'classes', 'vector' or 'map'."
            )
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ValueError(
                f"`label_size` must be a positive integer. Received: label_size={size!r}. Pass the "
                "number of classes, of entries of a vector, or of channels of a map."
            )
        self.kind, self.size, self.filters = kind, size, filters
        self.units = filters if kind == "map" else size
        self.convolutions = [
            Conv2D(filters, 3, padding="same", data_format="channels_last",
                   name=f"convolution{number + 1}", dtype=self.dtype_policy)
            for number in range(_BLOCKS if kind == "map" else 0)
        ]  # fmt: skip

    def build(self, input_shape: Shape | None = None) -> None:
        channels = self.size
        for convolution in self.convolutions:
            convolution.build((None, None, None, channels))
            channels = self.filters
        self.built: bool = True

    def call(self, inputs: Tensor) -> Tensor:
        shape = tuple(inputs.shape)
        if self.kind == "classes":
            if len(shape) == 3 and shape[-1] == 1:
                inputs = inputs[..., 0]
            elif len(shape) != 2:
                self._refuse(shape, "(tasks, samples)")
            classes = ops.arange(self.size)
            known = ops.equal(ops.cast(inputs, classes.dtype)[..., None], classes)
            return ops.cast(known, self.compute_dtype)
        if self.kind == "vector":
            if len(shape) != 3 or shape[-1] != self.size:
                self._refuse(shape, f"(tasks, samples, {self.size})")
            return ops.cast(inputs, self.compute_dtype)
        if (
            len(shape) != 5
            or shape[-1] != self.size
            or any(n is not None and n < 2**_BLOCKS for n in shape[2:4])
        ):
            self._refuse(shape, f"(tasks, samples, height, width, {self.size}), from 8 pixels on")
        x = ops.reshape(ops.cast(inputs, self.compute_dtype), (-1, *shape[2:]))
        for convolution in self.convolutions:
            x = ops.relu(backend.max_pool(convolution(x), 2))
        x = ops.cast(ops.mean(ops.cast(x, "float32"), axis=(1, 2)), self.compute_dtype)
        return ops.reshape(x, (-1, shape[1] or ops.shape(inputs)[1], self.filters))

    def _refuse(self, shape: Shape, wanted: str) -> None:
        raise ValueError(
            f"Labels of the kind {self.kind!r} must have the shape {wanted}. Received: {shape}. "
            "Reshape them, or pass another `labels` or `label_size`."
        )
