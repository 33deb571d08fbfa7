"""Series residual adapters: a small 1x1 filter bank after a convolution."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_univrep.layers.batch_normalization import BatchNormalization
from keras_univrep.layers.convolution_adapter import (
    check_convolution,
    fresh_initializer,
    restore_convolution,
)
from keras_univrep.layers.domain_names import check_domain, check_domains
from keras_univrep.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class SeriesAdapter(keras.layers.Layer):
    """A convolution followed by a 1x1 residual adapter, one for each domain.

    Equation:
        rebuffi2018, section 3.1.1:

            z = rho(f * x; alpha),    rho(u; alpha) = u + diag_1(alpha) * N(u)

        | symbol | here | shape |
        |---|---|---|
        | x | `inputs` | (batch, *spatial, channels) |
        | f | `convolution.kernel` | (*kernel_size, channels / groups, filters) |
        | u | output of `convolution` | (batch, *spatial, filters) |
        | alpha | `adapter_kernel(domain)` | (filters, filters) |
        | N | batch normalisation of the domain, or identity | |

    Differences: The paper's equation has no N; its figure 2 and the official code normalise the
        branch and leave the skip as it is, which is the default here. `normalize=False` gives
        the equation. The official code starts alpha like any convolution; the default is zero.

    Args:
        convolution: A `Conv1D`, `Conv2D` or `Conv3D` layer, channels last.
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
        A tensor of the shape that `convolution` returns.

    Raises:
        TypeError: If `convolution` is not a Keras convolution.
        ValueError: If a kernel size is even, or the domain is unknown.

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
        convolution: keras.layers.Layer,
        domains: Sequence[str] | None = None,
        normalize: bool = True,
        adapter_initializer: Any = "zeros",
        adapter_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_convolution(convolution, type(self).__name__)
        self.convolution = convolution
        self.domains = check_domains(domains, self.name)
        self.normalize = normalize
        self.adapter_initializer = keras.initializers.get(adapter_initializer)
        self.adapter_regularizer = keras.regularizers.get(adapter_regularizer)
        self.normalizations = [
            BatchNormalization(
                name="normalization" if name is None else f"normalization_{name}",
                dtype=self.dtype_policy,
            )
            for name in (self.domains or (None,) if normalize else ())
        ]

    def build(self, input_shape: Shape) -> None:
        if not self.convolution.built:
            self.convolution.build(input_shape)
        for normalization in self.normalizations:
            normalization.build(self.convolution.compute_output_shape(input_shape))
        filters = self.convolution.filters
        self.adapter_kernels = [
            self.add_weight(
                shape=(filters, filters),
                initializer=fresh_initializer(self.adapter_initializer),
                regularizer=self.adapter_regularizer,
                name="adapter" if name is None else f"adapter_{name}",
            )
            for name in self.domains or (None,)
        ]

    def _index(self, domain: str | None) -> int:
        domain = check_domain(domain, self.domains, self.name)
        return self.domains.index(domain) if self.domains else 0

    def adapter_kernel(self, domain: str | None = None) -> keras.Variable:
        """Returns alpha of `domain`, of shape (filters, filters)."""
        return self.adapter_kernels[self._index(domain)]

    def call(
        self, inputs: Tensor, domain: str | None = None, training: bool | None = None
    ) -> Tensor:
        index = self._index(domain)
        u = self.convolution(inputs)
        branch = self.normalizations[index](u, training=training) if self.normalize else u
        alpha = ops.convert_to_tensor(self.adapter_kernels[index])
        return u + ops.matmul(branch, alpha)  # rebuffi2018 sec. 3.1.1

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return self.convolution.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "convolution": keras.saving.serialize_keras_object(self.convolution),
            "domains": None if self.domains is None else list(self.domains),
            "normalize": self.normalize,
            "adapter_initializer": keras.initializers.serialize(self.adapter_initializer),
            "adapter_regularizer": keras.regularizers.serialize(self.adapter_regularizer),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "SeriesAdapter":
        return cls(**{**config, "convolution": restore_convolution(config["convolution"])})
