"""SimCLR: a backbone that learns from two views of each image, without labels."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from keras_univrep import backend
from keras_univrep.losses import NTXent
from keras_univrep.models._task_gradients import total
from keras_univrep.types import Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class SimCLR(keras.Model):
    """Trains a backbone to tell the two views of an image from those of all others of the batch.

    Equation:
        Chen et al. (2020), section 2, for two random views a(x), a'(x) of each image:

            h = mean over positions of f(a(x)),   z = W_2 max(W_1 h + b_1, 0),   L = NTXent(z, z')

        | symbol | here | shape |
        |---|---|---|
        | f | `backbone` | |
        | h | `features` | (batch, channels) |
        | W_1, W_2 | `hidden`, `projection` | (channels, hidden), (hidden, units) |

    Differences: The released code normalises both layers of the head by the batch; the text does
        not. Its batches of 4096 images, their learning rate and the views are for the caller to
        choose. he2022 prints SimCLR's results in table 2 and nothing of how they came about.

    Args:
        backbone: A network of images, whose output is a map (batch, height, width, channels),
            features (batch, channels), or a dictionary of these. It is trained in place.
        augmentation: A Keras layer from images to one random view of each, such as a
            `keras.Sequential` of `keras.layers.RandomFlip` and so on, or `None` if the
            batches hold both views.
        level: Name of the map to take where the output of the backbone is a dictionary.
        hidden_units: Units of W_1; as many as h has channels by default.
        units: Units of W_2.
        temperature: As for `NTXent`.
        **kwargs: `name` and `dtype` of a Keras model.

    Call arguments:
        inputs: Images (batch, height, width, channels); without `augmentation` two views of
            them, `{"first": images, "second": images}`.
        training: As for any layer. Views are drawn either way.

    Returns:
        Both projections, (batch, 2, units).

    Raises:
        ValueError: If inputs do not fit `augmentation`, or the level is missing.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.models import SimCLR
        >>> images = keras.Input((8, 8, 3))
        >>> backbone = keras.Model(images, keras.layers.Conv2D(4, 3)(images))
        >>> model = SimCLR(backbone, keras.layers.GaussianNoise(0.1), units=6)
        >>> model.compile("sgd")
        >>> x = np.ones((4, 8, 8, 3), "float32")
        >>> list(model.fit(x, verbose=0).history), tuple(model(x).shape)
        (['loss'], (4, 2, 6))
        >>> tuple(model.features(x).shape)
        (4, 4)

    References:
        - Chen, Kornblith, Norouzi, Hinton. A simple framework for contrastive learning of visual
          representations. ICML 2020.
        - He et al. X-Learner: learning cross sources and tasks for universal visual
          representation. ECCV 2022.
    """

    def __init__(
        self,
        backbone: keras.Model,
        augmentation: keras.layers.Layer | None = None,
        level: str | None = None,
        hidden_units: int | None = None,
        units: int = 128,
        temperature: float = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.backbone = backbone
        self.augmentation = augmentation
        self.level = level
        self.hidden_units = hidden_units
        self.units = units
        self.contrast = NTXent(temperature)
        image = keras.KerasTensor((None, *backbone.input_shape[1:]))
        channels = self._map_of(backbone(image)).shape[-1]
        self.hidden = keras.layers.Dense(
            hidden_units or channels, "relu", name="hidden", dtype=self.dtype_policy
        )
        self.projection = keras.layers.Dense(
            units, use_bias=False, name="projection", dtype=self.dtype_policy
        )
        self.hidden.build((None, channels))
        self.projection.build((None, hidden_units or channels))
        self.built: bool = True

    def call(self, inputs: Any, training: bool | None = None) -> Tensor:
        first, second = self._views(inputs)
        count = ops.shape(first)[0]
        # One batch: the statistics of both views must not tell them apart.
        features = self.features(ops.concatenate([first, second]), training=training)
        z = self.projection(self.hidden(features))
        return ops.stack([z[:count], z[count:]], axis=1)

    def features(self, images: Tensor, training: bool | None = False) -> Tensor:
        """Returns h, what is kept after training.

        Args:
            images: (batch, height, width, channels), not augmented.
            training: Whether batch normalisation uses the statistics of the batch.

        Returns:
            Features (batch, channels).
        """
        x = self._map_of(self.backbone(images, training=training))
        return ops.mean(x, axis=(1, 2)) if len(x.shape) == 4 else x

    def _views(self, inputs: Any) -> tuple[Tensor, Tensor]:
        if isinstance(inputs, Mapping) != (self.augmentation is None):
            came = list(inputs) if isinstance(inputs, Mapping) else "images"
            raise ValueError(
                "Without `augmentation` the inputs must be {'first': .., 'second': ..}, with it "
                f"images. Received: {came} with augmentation={self.augmentation!r}. Pass a layer "
                "that draws views, or both views."
            )
        if self.augmentation is None:
            return ops.convert_to_tensor(inputs["first"]), ops.convert_to_tensor(inputs["second"])
        images = ops.convert_to_tensor(inputs)
        first, second = (self.augmentation(images, training=True) for _ in range(2))
        return first, second

    def _map_of(self, outputs: Any) -> Tensor:
        if not isinstance(outputs, Mapping):
            return outputs
        if self.level not in outputs:
            raise ValueError(
                "`level` must name one of the maps of the backbone. Received: "
                f"level={self.level!r}, where there are {list(outputs)}. Pass one of these."
            )
        return outputs[self.level]

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        value = self.contrast(y_pred[:, 0], y_pred[:, 1], sample_weight)
        return value + backend.share(total(self.losses))

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "backbone": serialize(self.backbone),
            "augmentation": serialize(self.augmentation),
            "level": self.level,
            "hidden_units": self.hidden_units,
            "units": self.units,
            "temperature": self.contrast.temperature,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "SimCLR":
        """Returns a model with this configuration.

        Args:
            config: What `get_config` returned.
            custom_objects: As for `keras.saving.deserialize_keras_object`.
        """
        config = dict(config)
        for name in ("backbone", "augmentation"):
            config[name] = keras.saving.deserialize_keras_object(config[name], custom_objects)
        return cls(**config)
