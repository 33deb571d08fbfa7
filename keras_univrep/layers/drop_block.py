"""DropBlock: dropout of squares of a map."""

from typing import Any

import keras
from keras import ops

from keras_univrep.types import Shape, Tensor

_RANK_OF_MAPS = 4


@keras.saving.register_keras_serializable(package="keras_univrep")
class DropBlock(keras.layers.Layer):
    """Drops squares of feature maps while training, each channel by itself.

    Equation:
        Ghiasi et al., 2018, algorithm 1 and equation 1, for a map of height h and width w:

            gamma = p h w / (b^2 (h - b + 1) (w - b + 1))
            M = 1 outside of the squares of side b about Bernoulli(gamma) centres, else 0
            y = x M |M| / sum(M)

        | symbol | here | shape |
        |---|---|---|
        | x, y | `inputs`, outputs | (batch, height, width, channels) |
        | M | mask | (batch, height, width, channels) |
        | p | `rate` | scalar |
        | b | `block_size`, at most the smaller side of the map | scalar |

    Differences: Squares lie inside the map, as in the paper. The scale is one number for the batch,
        as in the paper; a batch of which everything is dropped gives zeros.

    Args:
        rate: Share of the map to drop, about, in [0, 1).
        block_size: Side of a square, in pixels.
        seed: Seed of the draws.
        **kwargs: `name` and `dtype` of a Keras layer.

    Call arguments:
        inputs: Tensor of shape (batch, height, width, channels); height and width are known.
        training: Whether to drop.

    Returns:
        A tensor of the shape of `inputs`.

    Raises:
        ValueError: If an argument is out of range, or inputs are no maps of known size.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.layers import DropBlock
        >>> layer = DropBlock(0.1, 3, seed=0)
        >>> tuple(layer(np.ones((2, 8, 8, 4), "float32"), training=True).shape)
        (2, 8, 8, 4)

    References:
        Ghiasi, Lin, Le. DropBlock: a regularization method for convolutional networks. 2018.
    """

    def __init__(
        self, rate: float = 0.1, block_size: int = 7, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if not 0.0 <= rate < 1.0:
            raise ValueError(
                f"`rate` must be in [0, 1). Received: rate={rate}. Pass 0 to drop nothing."
            )
        if isinstance(block_size, bool) or not isinstance(block_size, int) or block_size < 1:
            raise ValueError(
                f"`block_size` must be a positive integer. Received: block_size={block_size!r}. "
                "Pass 1 for plain dropout."
            )
        self.rate = float(rate)
        self.block_size = block_size
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.built: bool = True

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        shape = tuple(inputs.shape)
        if len(shape) != _RANK_OF_MAPS or None in shape[1:3]:
            raise ValueError(
                f"`inputs` of {self.name} must be maps (batch, height, width, channels) of known "
                f"size. Received: shape={shape}. Give the network its image size."
            )
        if not training or self.rate == 0.0:
            return inputs
        kept = self._mask(ops.shape(inputs), *shape[1:3])
        share = ops.mean(kept)
        # All may be dropped in a tiny map; then there is nothing to scale.
        scale = ops.where(share > 0, 1.0 / ops.maximum(share, 1e-6), 0.0)
        return inputs * ops.cast(kept * scale, inputs.dtype)  # Ghiasi et al. 2018 alg. 1

    def _mask(self, shape: Any, height: int, width: int) -> Tensor:
        """Ones where a pixel stays, float32 (batch, height, width, channels)."""
        size = min(self.block_size, height, width)
        rows, columns = height - size + 1, width - size + 1
        gamma = self.rate / size**2 * height * width / (rows * columns)  # eq. 1
        draws = keras.random.uniform(
            (shape[0], rows, columns, shape[3]), dtype="float32", seed=self.seed_generator
        )
        # Where a square begins; the window that looks back at its beginnings finds its pixels.
        starts = ops.cast(draws < gamma, "float32")
        around = [[0, 0], [size - 1, size - 1], [size - 1, size - 1], [0, 0]]
        dropped = ops.max_pool(
            ops.pad(starts, around), size, 1, padding="valid", data_format="channels_last"
        )
        return 1.0 - dropped

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "rate": self.rate,
            "block_size": self.block_size,
            "seed": self.seed,
        }
