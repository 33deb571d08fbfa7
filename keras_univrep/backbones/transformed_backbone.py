"""Any Keras network with random scales and shifts behind its normalisations while it trains."""

import math
import re
from collections.abc import Sequence
from typing import Any

import keras

from keras_univrep.backbones.adaptable_layers import leaves
from keras_univrep.backbones.call_modulated import call_modulated, film_layers
from keras_univrep.layers import FeatureWiseTransformation
from keras_univrep.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class TransformedBackbone(keras.Model):
    """A trunk, functional or subclassed, with feature-wise transformations while it trains.

    The baseline of shu2021, tables 4 and 5, for domains that differ: whatever is meta-trained on
    this backbone is meta-trained with them. The trunk is not changed and shares its weights; it
    alone is what an inference computes.

    Equation:
        Tseng et al., 2020, equations 1 and 2, for the map z of each chosen normalisation:

            gamma ~ N(1, s^2),   beta ~ N(0, t^2),   z' = gamma z + beta

        | symbol | here | shape |
        |---|---|---|
        | z, z' | output of a normalisation, and what follows sees | (batch, ..., channels) |
        | gamma, beta | drawn by `transformations[name]` for each batch | (channels,) |
        | s, t | `scale_deviation`, `shift_deviation` | scalar |

    Differences: The paper writes that s and t are softplus(0.3) = 0.85 and softplus(0.5) = 0.97;
        the softplus of its code is 100 times as steep, so that they are 0.3 and 0.5, as here. The
        two do not train, as in its tests on one training domain; with several it learns them by an
        outer loop. The code starts from a backbone that was pre-trained.

    Args:
        trunk: A built Keras model.
        layers: Regular expressions of the names of normalisations, as `film_layers` gives them. All
            by default, as that code does in plain convolutional networks; in residual networks it
            chooses the last of each block and of each projection, which are
            `".*(convolution2|projection)_normalization"` of `ResNet10`.
        scale_deviation: s, positive.
        shift_deviation: t, positive.
        seed: Seed of the draws.
        **kwargs: `name` and `dtype` of a Keras model.

    Call arguments:
        images: What the trunk takes.
        training: Whether to transform, and as for the trunk.

    Returns:
        What the trunk returns.

    Raises:
        ValueError: If the trunk is not built, an expression matches no normalisation, one has its
            channels elsewhere than last, or a deviation is not positive.

    Example:
        >>> import numpy as np
        >>> from keras import ops
        >>> from keras_univrep.backbones import Conv4, TransformedBackbone
        >>> trunk, x = Conv4(4, image_size=16), np.ones((2, 16, 16, 3), "float32")
        >>> backbone = TransformedBackbone(trunk, seed=0)
        >>> list(backbone.transformations)[:2]
        ['normalization1', 'normalization2']
        >>> def moved(training):
        ...     difference = backbone(x, training=training) - trunk(x, training=training)
        ...     return bool(ops.any(difference != 0.0))
        >>> moved(training=False), moved(training=True)
        (False, True)

    References:
        - Tseng, Lee, Huang, Yang. Cross-domain few-shot classification via learned feature-wise
          transformation. ICLR 2020.
        - Shu, Cao, Gao, Wang, Long. Omni-Training for data-efficient deep learning. 2021.
    """

    # Keras's, on TensorFlow, traces the call on inputs of its own making.
    _default_save_signature = None

    def __init__(
        self,
        trunk: keras.Model,
        layers: str | Sequence[str] = ".*",
        scale_deviation: float = 0.3,
        shift_deviation: float = 0.5,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not trunk.built:
            raise ValueError(
                "`trunk` must be built, so that there are layers with weights. Received: "
                f"{trunk!r}. Call it once on an image, or give it an input shape."
            )
        for argument, value in (
            ("scale_deviation", scale_deviation),
            ("shift_deviation", shift_deviation),
        ):
            if not (value > 0 and math.isfinite(value)):
                raise ValueError(
                    f"`{argument}` must be positive. Received: {argument}={value}. Pass 0.3 and "
                    "0.5 for those of the paper's code."
                )
        self.scale_deviation = float(scale_deviation)
        self.shift_deviation = float(shift_deviation)
        self.seed = seed
        self.trunk = trunk
        self.filters = _channels_of(trunk)
        self.channels = getattr(trunk, "channels", None)
        known = dict(leaves(trunk))
        self.transformations: dict[str, FeatureWiseTransformation] = {}
        for place, name in enumerate(film_layers(trunk, layers)):
            layer = FeatureWiseTransformation(
                _before_softplus(self.scale_deviation),
                _before_softplus(self.shift_deviation),
                seed=None if seed is None else seed + place,
                name=name.replace("/", "__"),
                dtype=known[name].dtype_policy,
            )
            layer.build(_shape_of(name, known[name]))
            self.transformations[name] = layer
        self.build(None)

    def build(self, input_shape: Shape | None) -> None:
        self.built: bool = True

    def call(self, images: Tensor, training: bool | None = None) -> Tensor:
        if not training:
            return self.trunk(images, training=training)

        def after(name: str, outputs: Tensor) -> Tensor:
            return self.transformations[name](outputs, training=training)

        names = list(self.transformations)
        return call_modulated(
            self.trunk, images, names, after, training=training, average=False
        )  # Tseng et al. 2020 eq. 1, 2

    def compute_output_spec(self, images: Tensor, training: bool | None = None) -> Any:
        """Returns the shape and dtype of what the trunk returns, without running it."""
        return self.trunk.compute_output_spec(images)

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "trunk": keras.saving.serialize_keras_object(self.trunk),
            "names": [name for name, _ in leaves(self.trunk)],
            "layers": list(self.transformations),
            "scale_deviation": self.scale_deviation,
            "shift_deviation": self.shift_deviation,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "TransformedBackbone":
        config = dict(config)
        trunk = keras.saving.deserialize_keras_object(config.pop("trunk"))
        # Names that Keras chose are others in another process; the order of the layers is not.
        names = dict(zip(config.pop("names"), (name for name, _ in leaves(trunk)), strict=True))
        layers = [re.escape(names[name]) for name in config.pop("layers")]
        return cls(trunk, layers, **config)


def _before_softplus(deviation: float) -> float:
    """What the softplus of is this deviation."""
    return math.log(math.expm1(deviation))


def _channels_of(trunk: keras.Model) -> int | None:
    size, shape = getattr(trunk, "filters", None), getattr(trunk, "output_shape", None)
    return shape[-1] if size is None and isinstance(shape, tuple) else size


def _shape_of(name: str, layer: keras.layers.Layer) -> Shape:
    shape = layer.get_build_config()["input_shape"]
    axis = getattr(layer, "axis", -1)
    if isinstance(axis, int) and axis not in (-1, len(shape) - 1):
        raise ValueError(
            "A normalisation that is transformed must have its channels last. Received: "
            f"{name!r} with axis={axis}. Build the trunk with data_format='channels_last'."
        )
    return shape
