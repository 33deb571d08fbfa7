"""Random scales and shifts of channels, which stand for domains that were not seen."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_univrep.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class FeatureWiseTransformation(keras.layers.Layer):
    """Scales and shifts each channel of a batch at random while training.

    The baseline for domains that differ that shu2021 compares with (tables 4 and 5). It stands
    behind a batch normalisation.

    Equation:
        Tseng et al., 2020, equations 1 and 2, for a map z and each of its channels:

            gamma ~ N(1, softplus(theta_gamma)^2),   beta ~ N(0, softplus(theta_beta)^2)
            z' = gamma z + beta

        | symbol | here | shape |
        |---|---|---|
        | z, z' | `inputs`, outputs | (batch, ..., channels) |
        | theta_gamma, theta_beta | `scale_spread`, `shift_spread` | (channels,) |

    Differences: The paper writes N(1, softplus(theta)) and its code takes the softplus for the
        standard deviation, as here; but its softplus is 100 times as steep, so that the printed 0.3
        and 0.5 are the deviations themselves, where ours give 0.85 and 0.97.
        `backbones.TransformedBackbone` takes deviations. One draw serves a batch, as there.

    Args:
        scale_spread: theta_gamma, or where it starts if it is learned.
        shift_spread: theta_beta.
        learned: Whether the two are weights that train; Tseng et al. learn them by an outer loop
            over domains.
        seed: Seed of the draws.
        **kwargs: `name`, `dtype` and `trainable` of a Keras layer.

    Call arguments:
        inputs: Tensor of shape (batch, ..., channels).
        training: Whether to transform.

    Returns:
        A tensor of the shape of `inputs`.

    Raises:
        ValueError: If a spread is not finite.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.layers import FeatureWiseTransformation
        >>> layer, x = FeatureWiseTransformation(seed=0), np.ones((2, 4, 4, 3), "float32")
        >>> np.array_equal(layer(x), x), np.array_equal(layer(x, training=True), x)
        (True, False)

    References:
        - Tseng, Lee, Huang, Yang. Cross-domain few-shot classification via learned feature-wise
          transformation. ICLR 2020.
        - Shu, Cao, Gao, Wang, Long. Omni-Training for data-efficient deep learning. 2021.
    """

    def __init__(
        self,
        scale_spread: float = 0.3,
        shift_spread: float = 0.5,
        learned: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not (np.isfinite(scale_spread) and np.isfinite(shift_spread)):
            raise ValueError(
                "`scale_spread` and `shift_spread` must be finite. Received: "
                f"scale_spread={scale_spread}, shift_spread={shift_spread}. Pass 0.3 and 0.5 for "
                "the paper's."
            )
        self.scale_start, self.shift_start = float(scale_spread), float(shift_spread)
        self.learned = bool(learned)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape: Shape) -> None:
        self.scale_spread, self.shift_spread = (
            self.add_weight(
                shape=(input_shape[-1],),
                initializer=keras.initializers.Constant(start),
                trainable=self.learned,
                name=name,
            )
            for name, start in (
                ("scale_spread", self.scale_start),
                ("shift_spread", self.shift_start),
            )
        )

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        inputs = ops.convert_to_tensor(inputs)
        if not training:
            return inputs
        scale, shift = (
            ops.softplus(ops.convert_to_tensor(spread))
            * keras.random.normal(tuple(spread.shape), dtype=inputs.dtype, seed=self.seed_generator)
            for spread in (self.scale_spread, self.shift_spread)
        )  # Tseng et al. 2020 eq. 1
        return (1.0 + scale) * inputs + shift  # Tseng et al. 2020 eq. 2

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "scale_spread": self.scale_start,
            "shift_spread": self.shift_start,
            "learned": self.learned,
            "seed": self.seed,
        }
