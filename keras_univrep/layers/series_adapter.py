"""Series residual adapters: a small 1x1 filter bank after a convolution."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_univrep.layers.adapted_layer import (
    affine_of,
    check_layer,
    filters_of,
    finish,
    fresh_initializer,
    run,
)
from keras_univrep.layers.batch_normalization import BatchNormalization
from keras_univrep.layers.layer_bank import LayerBank
from keras_univrep.types import Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class SeriesAdapter(LayerBank):
    """A convolution followed by a 1x1 residual adapter, one for each domain.

    Equation:
        rebuffi2018, section 3.1.1:

            z = rho(f * x; alpha),    rho(u; alpha) = u + diag_1(alpha) * N(u)

        | symbol | here | shape |
        |---|---|---|
        | x | `inputs` | (batch, *spatial, channels) |
        | f | `layer.kernel` | (*kernel_size, channels / groups, filters) |
        | u | output of `layer` | (batch, *spatial, filters) |
        | alpha | `adapter_kernel(domain)` | (filters, filters) |
        | N | batch normalisation of the domain, or identity | |

    Differences: The paper's equation has no N; its figure 2 and the official code normalise the
        branch and leave the skip as it is, which is the default here. `normalize=False` gives
        the equation. The official code starts alpha like any convolution; the default is zero.

    Args:
        layer: A `Conv1D`, `Conv2D`, `Conv3D`, `DepthwiseConv2D` or `Dense` layer, channels last.
        domains: Names of the domains, each with its own alpha, or `None` for one unnamed alpha.
        normalize: Whether the branch has a batch normalisation of its own.
        adapter_initializer: Initializer of alpha.
        adapter_regularizer: Regularizer of alpha.
        **kwargs: `name`, `dtype` and `trainable` of a Keras layer.

    Call arguments:
        inputs: Tensor of shape (batch, *spatial, channels).
        domain: One of `domains`; may be omitted when there is only one.
        training: Whether the normalisation uses the statistics of the batch.

    Returns:
        A tensor of the shape that `layer` returns.

    Raises:
        TypeError: If `layer` is none of these Keras layers.
        ValueError: If the layer is channels first, or the domain is unknown.

    Example:
        >>> import keras, numpy as np
        >>> from keras_univrep.layers import SeriesAdapter
        >>> layer = SeriesAdapter(keras.layers.Conv2D(8, 3), domains=["photo", "sketch"])
        >>> tuple(layer(np.ones((2, 5, 5, 3), "float32"), domain="photo").shape)
        (2, 3, 3, 8)

    References:
        Rebuffi, Bilen, Vedaldi. Efficient parametrization of multi-domain deep neural networks.
        CVPR 2018.
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        domains: Sequence[str] | None = None,
        normalize: bool = True,
        adapter_initializer: Any = "zeros",
        adapter_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(layer, domains, **kwargs)
        check_layer(layer, type(self).__name__, odd=False)
        self.normalize = normalize
        self.adapter_initializer = keras.initializers.get(adapter_initializer)
        self.adapter_regularizer = keras.regularizers.get(adapter_regularizer)

    def make_part(self, domain: str | None) -> keras.layers.Layer:
        filters = filters_of(self.layer)
        with self.new_part(domain) as part:
            part.kernel = part.add_weight(
                shape=(filters, filters),
                initializer=fresh_initializer(self.adapter_initializer),
                regularizer=self.adapter_regularizer,
                name="kernel",
            )
            if self.normalize:
                part.normalization = BatchNormalization(
                    name="normalization", dtype=self.dtype_policy
                )
                rank = len(self.layer.compute_output_shape(self.any_shape))
                part.normalization.build((None,) * (rank - 1) + (filters,))
        return part

    def adapter_kernel(self, domain: str | None = None) -> keras.Variable:
        """Returns alpha of `domain`, of shape (filters, filters)."""
        return self.part(domain).kernel

    def call(
        self, inputs: Tensor, domain: str | None = None, training: bool | None = None
    ) -> Tensor:
        part = self.part(domain)
        u = finish(self.layer, run(self.layer, inputs))
        branch = part.normalization(u, training=training) if self.normalize else u
        alpha = ops.convert_to_tensor(part.kernel)
        return u + ops.matmul(branch, alpha)  # rebuffi2018 sec. 3.1.1

    def merged_weights(self, domain: str | None = None) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns kernel and bias with which `layer` alone computes what this does at inference.

        Args:
            domain: One of `domains`; may be omitted when there is only one.

        Returns:
            The kernel, float32, of the shape of the layer's; and the bias, or `None` for none.

        Raises:
            ValueError: If the layer has an activation or groups, or is depthwise.
        """
        linear = self.layer.activation in (None, keras.activations.linear)
        split = getattr(self.layer, "groups", 1) > 1
        if not linear or split or isinstance(self.layer, keras.layers.DepthwiseConv2D):
            raise ValueError(
                "A series adapter can be merged into a layer without activation whose filters see "
                f"all channels. Received: {self.layer!r}. Use a parallel adapter there."
            )
        part = self.part(domain)
        matrix = ops.convert_to_numpy(part.kernel).astype("float64")
        scale, shift = np.ones(len(matrix)), np.zeros(len(matrix))
        if self.normalize:
            scale, shift = affine_of(part.normalization)
        # u + (scale u + shift) alpha = u (1 + diag(scale) alpha) + shift alpha
        mix = np.eye(len(matrix)) + scale[:, None] * matrix
        kernel = ops.convert_to_numpy(self.layer.kernel).astype("float64")
        bias = shift @ matrix
        if self.layer.use_bias:
            bias = bias + ops.convert_to_numpy(self.layer.bias) @ mix
        has_bias = self.layer.use_bias or self.normalize
        return (kernel @ mix).astype("float32"), bias.astype("float32") if has_bias else None

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "normalize": self.normalize,
            "adapter_initializer": keras.initializers.serialize(self.adapter_initializer),
            "adapter_regularizer": keras.regularizers.serialize(self.adapter_regularizer),
        }
