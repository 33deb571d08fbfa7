"""Piggyback: a binary mask over the kernel of a fixed layer for each domain."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_univrep.layers.adapted_layer import check_layer, finish, run
from keras_univrep.layers.layer_bank import LayerBank
from keras_univrep.types import Tensor

MARGIN = 5e-3


@keras.saving.register_keras_serializable(package="keras_univrep")
class PiggybackMask(LayerBank):
    """A convolution or dense layer whose kernel each domain masks for itself.

    Equation:
        Mallya, Davis and Lazebnik 2018, section 3:

            y = (f . b) * x,    b = 1[m > tau],    d L / d m := d L / d b

        | symbol | here | shape |
        |---|---|---|
        | x | `inputs` | (batch, *spatial, channels) |
        | f | `layer.kernel` | (*kernel_size, channels / groups, filters) |
        | m | `mask(domain)` | as f |
        | tau | `threshold` | |
        | . | product of elements | |

        The gradient of the binary mask b passes to the real mask m unchanged, for the step
        function has none.

    Differences: none known. With m above tau at the start, as here and there, an untrained domain
        leaves the layer as it is.

    Args:
        layer: A `Conv1D`, `Conv2D`, `Conv3D`, `DepthwiseConv2D` or `Dense` layer, channels last.
            It is part of this layer; set its `trainable` to `False` to keep the trunk.
        domains: Names of the domains, each with its own mask, or `None` for one unnamed mask.
        initial_value: What each element of m is at the start.
        threshold: Elements of m above it keep their weight.
        **kwargs: `name`, `dtype` and `trainable` of a Keras layer.

    Call arguments:
        inputs: Tensor of shape (batch, *spatial, channels).
        domain: One of `domains`; may be omitted when there is only one.
        training: Not used.

    Returns:
        A tensor of the shape that `layer` returns.

    Raises:
        TypeError: If `layer` is none of these Keras layers.
        ValueError: If the layer is channels first, or the domain unknown.

    Example:
        >>> import keras, numpy as np
        >>> from keras_univrep.layers import PiggybackMask
        >>> layer = PiggybackMask(keras.layers.Conv2D(8, 3), domains=["photo", "sketch"])
        >>> tuple(layer(np.ones((2, 5, 5, 3), "float32"), domain="sketch").shape)
        (2, 3, 3, 8)
        >>> layer.packed_mask("sketch").nbytes  # 3 * 3 * 3 * 8 weights
        27

    References:
        Mallya, Davis, Lazebnik. Piggyback: adapting a single network to multiple tasks by
        learning to mask weights. ECCV 2018.
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        domains: Sequence[str] | None = None,
        initial_value: float = 1e-2,
        threshold: float = 5e-3,
        **kwargs: Any,
    ) -> None:
        super().__init__(layer, domains, **kwargs)
        check_layer(layer, type(self).__name__, odd=False)
        self.initial_value = initial_value
        self.threshold = threshold

    def make_part(self, domain: str | None) -> keras.layers.Layer:
        with self.new_part(domain) as part:
            part.mask = part.add_weight(
                shape=self.layer.kernel.shape,
                initializer=keras.initializers.Constant(self.initial_value),
                # A low precision would round m to the other side of the threshold.
                autocast=False,
                name="mask",
            )
        return part

    def mask(self, domain: str | None = None) -> keras.Variable:
        """Returns m of `domain`, of the shape of the layer's kernel."""
        return self.part(domain).mask

    def call(
        self, inputs: Tensor, domain: str | None = None, training: bool | None = None
    ) -> Tensor:
        real = ops.convert_to_tensor(self.mask(domain))
        kernel = ops.convert_to_tensor(self.layer.kernel)
        binary = ops.cast(real > self.threshold, real.dtype)
        binary = binary + (real - ops.stop_gradient(real))  # Mallya et al. 2018 sec. 3
        return finish(self.layer, run(self.layer, inputs, kernel * ops.cast(binary, kernel.dtype)))

    def merged_weights(self, domain: str | None = None) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns kernel and bias with which `layer` alone computes what this does.

        Args:
            domain: One of `domains`; may be omitted when there is only one.

        Returns:
            The kernel, float32, of the shape of the layer's; and its bias, or `None`.
        """
        kernel = ops.convert_to_numpy(self.layer.kernel) * self._binary(domain)
        return kernel, ops.convert_to_numpy(self.layer.bias) if self.layer.use_bias else None

    def packed_mask(self, domain: str | None = None) -> np.ndarray:
        """Returns the binary mask of `domain`, one bit a weight.

        Args:
            domain: One of `domains`; may be omitted when there is only one.

        Returns:
            Bytes, uint8 of shape (weights / 8, rounded up), in the order of the kernel in memory.
        """
        return np.packbits(self._binary(domain))

    def set_packed_mask(self, packed: np.ndarray, domain: str | None = None) -> None:
        """Gives `domain` a binary mask; m itself comes to lie 5e-3 beside the threshold.

        Args:
            packed: What `packed_mask` returned.
            domain: One of `domains`; may be omitted when there is only one.

        Raises:
            ValueError: If there is not one bit for each weight.
        """
        mask = self.mask(domain)
        shape = tuple(mask.shape)
        count = int(np.prod(shape))
        if packed.dtype != np.uint8 or packed.shape != (-(-count // 8),):
            raise ValueError(
                f"`packed` must be uint8 of shape ({-(-count // 8)},), for a bit for each of "
                f"{count} weights. Received: {packed.dtype} of shape {packed.shape}. Pass what "
                "`packed_mask` of the same layer returned."
            )
        binary = np.unpackbits(packed, count=count).reshape(shape)
        mask.assign(self.threshold + MARGIN * (2.0 * binary - 1.0))

    def _binary(self, domain: str | None) -> np.ndarray:
        return ops.convert_to_numpy(self.mask(domain)) > np.float32(self.threshold)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "initial_value": self.initial_value,
            "threshold": self.threshold,
        }
