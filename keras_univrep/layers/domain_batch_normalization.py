"""Batch normalisation with parameters and statistics of its own for each domain."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_univrep.layers.batch_normalization import BatchNormalization
from keras_univrep.layers.domain_bank import DomainBank
from keras_univrep.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class DomainBatchNormalization(DomainBank):
    """One batch normalisation for each domain, chosen by name.

    Equation:
        rebuffi2018, section 3.1 (figure 2), for a domain t:

            y = gamma_t (x - mu_t) / sqrt(var_t + epsilon) + beta_t

        | symbol | here | shape |
        |---|---|---|
        | x | `inputs` | (batch, *spatial, channels) |
        | gamma_t, beta_t | scale and shift of `normalization(domain)` | (channels,) |
        | mu_t, var_t | batch or moving moments of the domain | (channels,) |

    Args:
        domains: Names of the domains.
        momentum: Share of the old moving moments that a step keeps, in [0, 1].
        epsilon: Small number added to the variance.
        **kwargs: `name`, `dtype` and `trainable` of a Keras layer.

    Call arguments:
        inputs: Tensor of shape (batch, *spatial, channels), all of one domain.
        domain: One of `domains`; may be omitted when there is only one.
        training: Whether to use, and update from, the moments of the batch.

    Returns:
        A tensor of the shape of `inputs`.

    Raises:
        ValueError: If the domain is unknown.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.layers import DomainBatchNormalization
        >>> layer = DomainBatchNormalization(["photo", "sketch"])
        >>> tuple(layer(np.ones((2, 5, 5, 3), "float32"), domain="photo").shape)
        (2, 5, 5, 3)

    References:
        Bilen, Vedaldi. Universal representations: the missing link between faces, text,
        planktons, and cat breeds. 2017.
    """

    def __init__(
        self,
        domains: Sequence[str],
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        **kwargs: Any,
    ) -> None:
        if domains is None:
            raise ValueError(
                "`domains` of DomainBatchNormalization must hold at least one name. Received: "
                "domains=None. Use BatchNormalization for statistics that all domains share."
            )
        super().__init__(domains, **kwargs)
        self.momentum = momentum
        self.epsilon = epsilon

    def build(self, input_shape: Shape) -> None:
        self.any_shape = (None,) * (len(input_shape) - 1) + (input_shape[-1],)
        self.make_parts()

    def make_part(self, domain: str | None) -> BatchNormalization:
        part = BatchNormalization(
            momentum=self.momentum,
            epsilon=self.epsilon,
            name=f"normalization_{domain}",
            dtype=self.dtype_policy,
        )
        part.build(self.any_shape)
        return part

    def normalization(self, domain: str | None = None) -> BatchNormalization:
        """Returns the batch normalisation of `domain`."""
        return self.part(domain)

    def call(
        self, inputs: Tensor, domain: str | None = None, training: bool | None = None
    ) -> Tensor:
        return self.normalization(domain)(inputs, training=training)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "epsilon": self.epsilon,
        }
