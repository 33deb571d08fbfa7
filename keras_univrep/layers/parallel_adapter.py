"""Parallel residual adapters: a small 1x1 filter bank beside a convolution."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_univrep.layers.convolution_adapter import (
    check_convolution,
    convolve,
    fresh_initializer,
    restore_convolution,
)
from keras_univrep.layers.domain_names import check_domain, check_domains
from keras_univrep.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class ParallelAdapter(keras.layers.Layer):
    """A convolution with a parallel 1x1 residual adapter, one for each domain.

    Equation:
        rebuffi2018, section 3.1.2:

            y = f * x + diag_1(alpha) * x = (f + diag_L(alpha)) * x

        | symbol | here | shape |
        |---|---|---|
        | x | `inputs` | (batch, *spatial, channels) |
        | f | `convolution.kernel` | (*kernel_size, channels / groups, filters) |
        | alpha | `adapter_kernel(domain)` | (*1, channels / groups, filters) |
        | diag_L | zero padding around the centre tap | |

        The second form is computed: adding alpha to the centre of the filter and convolving
        once is cheaper than two convolutions, and samples the same positions whatever the
        stride, dilation, padding and groups. Only with `dropout` while training does the branch
        run by itself.

    Differences: The official code starts alpha like any convolution; the default here is zero,
        which leaves the network as it was. Pass `adapter_initializer` to follow the code.

    Args:
        convolution: A `Conv1D`, `Conv2D` or `Conv3D` layer with odd kernel sizes. It is part of
            this layer; set its `trainable` to `False` to keep the trunk as it is.
        domains: Names of the domains, each with its own alpha, or `None` for one unnamed alpha.
        dropout: Fraction in [0, 1) of channels dropped before the adapter while training
            (rebuffi2018, section 3.3).
        adapter_initializer: Initializer of alpha.
        adapter_regularizer: Regularizer of alpha.
        seed: Seed of the dropout.
        **kwargs: `name`, `dtype` and `trainable` of a Keras layer.

    Call arguments:
        inputs: Tensor of shape (batch, *spatial, channels).
        domain: One of `domains`; may be omitted when there is only one.
        training: Whether dropout is applied.

    Returns:
        A tensor of the shape that `convolution` returns.

    Raises:
        TypeError: If `convolution` is not a Keras convolution.
        ValueError: If a kernel size is even, or the domain is unknown.

    Example:
        >>> import keras, numpy as np
        >>> from keras_univrep.layers import ParallelAdapter
        >>> layer = ParallelAdapter(keras.layers.Conv2D(8, 3), domains=["photo", "sketch"])
        >>> tuple(layer(np.ones((2, 5, 5, 3), "float32"), domain="sketch").shape)
        (2, 3, 3, 8)

    References:
        Rebuffi, Bilen, Vedaldi. Efficient parametrization of multi-domain deep neural networks.
        CVPR 2018.
    """

    def __init__(
        self,
        convolution: keras.layers.Layer,
        domains: Sequence[str] | None = None,
        dropout: float = 0.0,
        adapter_initializer: Any = "zeros",
        adapter_regularizer: Any = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_convolution(convolution, type(self).__name__)
        if not 0.0 <= dropout < 1.0:
            raise ValueError(
                f"`dropout` must be in [0, 1). Received: dropout={dropout}. Pass 0 for no dropout."
            )
        self.convolution = convolution
        self.domains = check_domains(domains, self.name)
        self.dropout = dropout
        self.adapter_initializer = keras.initializers.get(adapter_initializer)
        self.adapter_regularizer = keras.regularizers.get(adapter_regularizer)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed) if dropout else None

    def build(self, input_shape: Shape) -> None:
        if not self.convolution.built:
            self.convolution.build(input_shape)
        shape = tuple(self.convolution.kernel.shape)
        rank = len(shape) - 2
        # One weight a domain, and not one stacked weight, so that a domain can be saved,
        # frozen, or added without touching the others.
        self.adapter_kernels = [
            self.add_weight(
                shape=(1,) * rank + shape[-2:],
                initializer=fresh_initializer(self.adapter_initializer),
                regularizer=self.adapter_regularizer,
                name="adapter" if name is None else f"adapter_{name}",
            )
            for name in self.domains or (None,)
        ]

    def adapter_kernel(self, domain: str | None = None) -> keras.Variable:
        """Returns alpha of `domain`, of shape (*1, channels / groups, filters)."""
        domain = check_domain(domain, self.domains, self.name)
        return self.adapter_kernels[self.domains.index(domain) if self.domains else 0]

    def call(
        self, inputs: Tensor, domain: str | None = None, training: bool | None = None
    ) -> Tensor:
        alpha = ops.convert_to_tensor(self.adapter_kernel(domain))
        kernel = ops.convert_to_tensor(self.convolution.kernel)
        diagonal = ops.pad(  # diag_L(alpha)
            alpha, [[(size - 1) // 2] * 2 for size in self.convolution.kernel_size] + [[0, 0]] * 2
        )
        if not (training and self.dropout):
            return convolve(self.convolution, inputs, kernel + diagonal)  # rebuffi2018 sec. 3.1.2
        branch = self._drop_channels(inputs)
        return convolve(
            self.convolution,
            inputs,
            kernel,
            branch=self.convolution.convolution_op(branch, diagonal),
        )

    def _drop_channels(self, inputs: Tensor) -> Tensor:
        spatial = len(inputs.shape) - 2
        batch, channels = ops.shape(inputs)[0], inputs.shape[-1]
        return keras.random.dropout(
            inputs,
            self.dropout,
            noise_shape=(batch,) + (1,) * spatial + (channels,),
            seed=self.seed_generator,
        )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return self.convolution.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "convolution": keras.saving.serialize_keras_object(self.convolution),
            "domains": None if self.domains is None else list(self.domains),
            "dropout": self.dropout,
            "adapter_initializer": keras.initializers.serialize(self.adapter_initializer),
            "adapter_regularizer": keras.regularizers.serialize(self.adapter_regularizer),
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "ParallelAdapter":
        return cls(**{**config, "convolution": restore_convolution(config["convolution"])})
