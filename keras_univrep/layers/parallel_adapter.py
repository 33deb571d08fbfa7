"""Parallel residual adapters: a small 1x1 filter bank beside a convolution."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_univrep.layers.adapted_layer import (
    adapter_shape,
    check_layer,
    finish,
    fresh_initializer,
    run,
)
from keras_univrep.layers.layer_bank import LayerBank
from keras_univrep.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class ParallelAdapter(LayerBank):
    """A convolution with a parallel 1x1 residual adapter, one for each domain.

    Equation:
        rebuffi2018, section 3.1.2:

            y = f * x + diag_1(alpha) * x = (f + diag_L(alpha)) * x

        | symbol | here | shape |
        |---|---|---|
        | x | `inputs` | (batch, *spatial, channels) |
        | f | `layer.kernel` | (*kernel_size, channels / groups, filters) |
        | alpha | `adapter_kernel(domain)` | (*1, channels / groups, filters) |
        | diag_L | zero padding around the centre tap | |

        With `rank` K (section 3.4) alpha is a product gamma beta of (channels / groups, K) and
        (K, filters); with `shared` all domains have one beta, which does not train.

        The second form is computed: adding alpha to the centre of the filter and convolving
        once is cheaper than two convolutions, and samples the same positions whatever the
        stride, dilation, padding and groups. Where f is frozen, the gradient of alpha is taken at
        the centre alone. Only with `dropout` while training does the branch run by itself.

    Differences: The official code starts alpha like any convolution; the default here is zero,
        which leaves the network as it was. Pass `adapter_initializer` to follow the code.

    Args:
        layer: A `Conv1D`, `Conv2D`, `Conv3D` or `DepthwiseConv2D` with odd kernel sizes, or a
            `Dense`. It is part of this layer; set its `trainable` to `False` to keep the trunk.
        domains: Names of the domains, each with its own alpha, or `None` for one unnamed alpha.
        dropout: Fraction in [0, 1) of channels dropped before the adapter while training
            (rebuffi2018, section 3.3).
        adapter_initializer: Initializer of alpha, or of gamma where there is a `rank`.
        adapter_regularizer: Regularizer of alpha.
        seed: Seed of the dropout.
        rank: K, or `None` for a full alpha.
        shared: Whether domains share beta. Needs a `rank`.
        **kwargs: `name`, `dtype` and `trainable` of a Keras layer.

    Call arguments:
        inputs: Tensor of shape (batch, *spatial, channels).
        domain: One of `domains`; may be omitted when there is only one.
        training: Whether dropout is applied.

    Returns:
        A tensor of the shape that `layer` returns.

    Raises:
        TypeError: If `layer` is none of these Keras layers.
        ValueError: If a kernel size is even, the rank above what alpha can have, or the domain
            unknown.

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
        layer: keras.layers.Layer,
        domains: Sequence[str] | None = None,
        dropout: float = 0.0,
        adapter_initializer: Any = "zeros",
        adapter_regularizer: Any = None,
        seed: int | None = None,
        rank: int | None = None,
        shared: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(layer, domains, **kwargs)
        check_layer(layer, type(self).__name__)
        if not 0.0 <= dropout < 1.0:
            raise ValueError(
                f"`dropout` must be in [0, 1). Received: dropout={dropout}. Pass 0 for no dropout."
            )
        if shared and rank is None:
            raise ValueError(
                "`shared` needs a `rank`: domains share one factor of alpha. Received: "
                "rank=None, shared=True. Pass a rank."
            )
        self.dropout = dropout
        self.adapter_initializer = keras.initializers.get(adapter_initializer)
        self.adapter_regularizer = keras.regularizers.get(adapter_regularizer)
        self.seed = seed
        self.rank = rank
        self.shared = shared
        self.seed_generator = keras.random.SeedGenerator(seed) if dropout else None

    def build(self, input_shape: Shape) -> None:
        self.build_layer(input_shape)
        self.adapter_shape = adapter_shape(self.layer)
        if self.rank is not None:
            limit = min(self.adapter_shape[-2:])
            if not 1 <= self.rank <= limit:
                raise ValueError(
                    f"`rank` of {self.name} must be in [1, {limit}], the smaller side of alpha. "
                    f"Received: rank={self.rank}. Pass a smaller one, or None for a full alpha."
                )
            if self.shared:
                self.beta = self._add_beta(self, trainable=False)
        self.make_parts()

    def make_part(self, domain: str | None) -> keras.layers.Layer:
        shape = self.adapter_shape if self.rank is None else (self.adapter_shape[-2], self.rank)
        with self.new_part(domain) as part:
            part.kernel = part.add_weight(
                shape=shape,
                initializer=fresh_initializer(self.adapter_initializer),
                regularizer=self.adapter_regularizer,
                name="kernel" if self.rank is None else "gamma",
            )
            if self.rank is not None and not self.shared:
                part.beta = self._add_beta(part, trainable=True)
        return part

    def _add_beta(self, owner: keras.layers.Layer, trainable: bool) -> keras.Variable:
        # From the start: what is frozen later, a layer unfreezes with its other weights.
        return owner.add_weight(
            shape=(self.rank, self.adapter_shape[-1]),
            initializer="orthogonal",
            trainable=trainable,
            name="beta",
        )

    def adapter_kernel(self, domain: str | None = None) -> Any:
        """Returns alpha of `domain`, (*1, channels / groups, filters).

        Args:
            domain: One of `domains`; may be omitted when there is only one.

        Returns:
            The variable itself, or with a `rank` the product of its factors.
        """
        part = self.part(domain)
        if self.rank is None:
            return part.kernel
        beta = self.beta if self.shared else part.beta
        return ops.reshape(ops.matmul(part.kernel, beta), self.adapter_shape)

    def call(
        self, inputs: Tensor, domain: str | None = None, training: bool | None = None
    ) -> Tensor:
        alpha = ops.convert_to_tensor(self.adapter_kernel(domain))
        if not (training and self.dropout):
            outputs = run(self.layer, inputs, adapter=alpha)  # rebuffi2018 sec. 3.1.2
        else:
            nothing = ops.zeros_like(ops.convert_to_tensor(self.layer.kernel))
            branch = run(self.layer, self._drop_channels(inputs), nothing, alpha)
            outputs = run(self.layer, inputs) + branch
        return finish(self.layer, outputs)

    def merged_weights(self, domain: str | None = None) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns kernel and bias with which `layer` alone computes what this does at inference.

        Args:
            domain: One of `domains`; may be omitted when there is only one.

        Returns:
            The kernel, float32, of the shape of the layer's; and its bias, or `None`.
        """
        alpha = ops.convert_to_numpy(self.adapter_kernel(domain))
        sizes = self.layer.kernel.shape[:-2]
        diagonal = np.pad(alpha, [[(size - 1) // 2] * 2 for size in sizes] + [[0, 0]] * 2)
        kernel = ops.convert_to_numpy(self.layer.kernel) + diagonal
        return kernel, ops.convert_to_numpy(self.layer.bias) if self.layer.use_bias else None

    def _drop_channels(self, inputs: Tensor) -> Tensor:
        spatial = len(inputs.shape) - 2
        batch, channels = ops.shape(inputs)[0], inputs.shape[-1]
        return keras.random.dropout(
            inputs,
            self.dropout,
            noise_shape=(batch,) + (1,) * spatial + (channels,),
            seed=self.seed_generator,
        )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "dropout": self.dropout,
            "adapter_initializer": keras.initializers.serialize(self.adapter_initializer),
            "adapter_regularizer": keras.regularizers.serialize(self.adapter_regularizer),
            "seed": self.seed,
            "rank": self.rank,
            "shared": self.shared,
        }
