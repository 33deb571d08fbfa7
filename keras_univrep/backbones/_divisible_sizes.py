"""Images whose sides a network can halve often enough."""

from typing import Any

import keras

from keras_univrep.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class DivisibleSizes(keras.layers.Layer):
    """Gives images on, and refuses those whose sides are no multiples of the network's stride.

    A layer, and not a test in the network's `call`, so that parts cut out of the network have it.

    Args:
        multiple: What the sides must be multiples of.
        **kwargs: `name` and `dtype` of a Keras layer.

    Call arguments:
        inputs: Images of shape (batch, height, width, channels).

    Returns:
        The images.

    Raises:
        ValueError: If a side is no multiple, as far as sides are known.

    Example:
        >>> from keras_univrep.backbones._divisible_sizes import DivisibleSizes
        >>> DivisibleSizes(32)(keras.Input((None, 64, 3))).shape
        (None, None, 64, 3)
    """

    def __init__(self, multiple: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.multiple = multiple
        self.built: bool = True

    def call(self, inputs: Tensor) -> Tensor:
        self._check(inputs.shape)
        return inputs

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns the shape of the images."""
        self._check(input_shape)
        return input_shape

    def _check(self, shape: Shape) -> None:
        sides = list(shape[1:3])
        if any(side is not None and (side % self.multiple or not side) for side in sides):
            raise ValueError(
                f"Height and width of the images must be multiples of {self.multiple}. Received: "
                f"shape={tuple(shape)}. Resize, crop or pad them."
            )

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "multiple": self.multiple,
        }
