"""Learning features whose nearest support samples classify."""

from typing import Any

import keras
from keras import ops

from keras_univrep.models._episode_tensors import embed, membership
from keras_univrep.models.episodic_model import EpisodicModel
from keras_univrep.models.prototypical_network import check_backbone
from keras_univrep.types import Tensor

# Smallest probability of a class, whose logarithm is a logit.
LEAST = 1e-6


@keras.saving.register_keras_serializable(package="keras_univrep")
class MatchingNetwork(EpisodicModel):
    """Classifies queries by an attention over the support samples.

    Equation:
        Vinyals et al., 2016, equation 1, for an episode with support samples (x_i, y_i):

            a(x, x_i) = softmax_i(scale cos(f(x), f(x_i)))
            p(y = k | x) = sum_{y_i = k} a(x, x_i)

        | symbol | here | shape |
        |---|---|---|
        | f(x) | `backbone` | (episodes, samples, channels) |
        | a | attention | (episodes, queries, support) |
        | log(p + 1e-6) | logits | (episodes, queries, way) |

    Differences: The features are not read again by LSTMs (the paper's full context embeddings),
        which shu2021's base has; the factor 100 is that base's.

    Args:
        backbone: A built model of images that returns features (batch, channels).
        way: Most classes of an episode; labels are in [0, way).
        scale: A positive number.
        **kwargs: `name` and `dtype` of a Keras model.

    Call arguments:
        inputs: As for `EpisodicModel`.
        training: As for `EpisodicModel`.

    Returns:
        Logits, as for `EpisodicModel`.

    Raises:
        ValueError: If the backbone is not built or `scale` not positive.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.backbones import Conv4
        >>> from keras_univrep.models import MatchingNetwork
        >>> model = MatchingNetwork(Conv4(4, image_size=16, channels=1), way=2)
        >>> rng = np.random.default_rng(0)
        >>> episode = {
        ...     "support_images": rng.random((4, 16, 16, 1), "float32"),
        ...     "support_labels": np.array([0, 0, 1, 1]),
        ...     "query_images": rng.random((3, 16, 16, 1), "float32"),
        ... }
        >>> tuple(model(episode).shape)
        (3, 2)

    References:
        Vinyals, Blundell, Lillicrap, Kavukcuoglu, Wierstra. Matching networks for one shot
        learning. 2016.
    """

    def __init__(
        self, backbone: keras.Model, way: int, scale: float = 100.0, **kwargs: Any
    ) -> None:
        super().__init__(way, **kwargs)
        if not scale > 0:
            raise ValueError(
                f"`scale` must be positive. Received: scale={scale!r}. Pass 100.0 for the usual."
            )
        self.backbone = check_backbone(backbone)
        self.scale = float(scale)
        self.build(None)

    def episode_scores(
        self,
        support_images: Tensor,
        support_labels: Tensor,
        query_images: Tensor,
        training: bool | None = None,
    ) -> Tensor:
        """Logarithms of the attention that each class gets.

        Args:
            support_images: (episodes, support, ...).
            support_labels: Integers (episodes, support), -1 for padding.
            query_images: (episodes, queries, ...).
            training: Whether batch normalisation uses the statistics of the batch.

        Returns:
            Logits, (episodes, queries, way).
        """
        images = ops.concatenate([support_images, query_images], axis=1)
        features = ops.normalize(embed(self.backbone, images, training), axis=-1)
        count = support_images.shape[1] or ops.shape(support_images)[1]
        support, queries = features[:, :count], features[:, count:]
        alike = self.scale * ops.matmul(queries, ops.swapaxes(support, 1, 2))
        # Padding gets no attention.
        alike = ops.where((support_labels >= 0)[:, None], alike, ops.cast(-1e9, alike.dtype))
        attention = ops.softmax(alike, axis=-1)
        members = membership(support_labels, self.way, features.dtype)
        return ops.log(ops.matmul(attention, members) + LEAST)  # Vinyals et al. 2016 eq. 1

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "way": self.way,
            "scale": self.scale,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "MatchingNetwork":
        backbone = keras.saving.deserialize_keras_object(config["backbone"])
        return cls(**{**config, "backbone": backbone})
