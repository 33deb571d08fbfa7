"""Learning features and how to compare them."""

from typing import Any

import keras
from keras import ops

from keras_univrep.models._episode_tensors import class_means, embed, membership
from keras_univrep.models.episodic_model import EpisodicModel
from keras_univrep.models.prototypical_network import check_backbone
from keras_univrep.types import Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class RelationNetwork(EpisodicModel):
    """Classifies queries by a learned comparison with the mean features of each class.

    Equation:
        Sung et al., 2018, equations 1 and 2, for an episode with class means c_k and a query x:

            r_k(x) = g([c_k, f(x)])

        | symbol | here | shape |
        |---|---|---|
        | f(x) | `backbone` | (episodes, samples, channels) |
        | c | class means | (episodes, way, channels) |
        | g | `relation`, two dense layers | |
        | r | logits | (episodes, queries, way) |

    Differences: The paper compares maps by convolutions and fits scores in (0, 1) to 0 and 1 by
        squared errors. Here features are vectors, g has one hidden layer with ReLU, and its scores
        are logits of the cross-entropy, so that any backbone will do.

    Args:
        backbone: A built model of images that returns features (batch, channels).
        way: Most classes of an episode; labels are in [0, way).
        hidden: Units of the hidden layer of g.
        **kwargs: `name` and `dtype` of a Keras model.

    Call arguments:
        inputs: As for `EpisodicModel`.
        training: As for `EpisodicModel`.

    Returns:
        Logits, as for `EpisodicModel`.

    Raises:
        ValueError: If the backbone is not built.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.backbones import Conv4
        >>> from keras_univrep.models import RelationNetwork
        >>> model = RelationNetwork(Conv4(4, image_size=16, channels=1), way=2, hidden=8)
        >>> rng = np.random.default_rng(0)
        >>> episode = {
        ...     "support_images": rng.random((4, 16, 16, 1), "float32"),
        ...     "support_labels": np.array([0, 0, 1, 1]),
        ...     "query_images": rng.random((3, 16, 16, 1), "float32"),
        ... }
        >>> tuple(model(episode).shape)
        (3, 2)

    References:
        Sung, Yang, Zhang, Xiang, Torr, Hospedales. Learning to compare: relation network for
        few-shot learning. CVPR 2018.
    """

    def __init__(self, backbone: keras.Model, way: int, hidden: int = 64, **kwargs: Any) -> None:
        super().__init__(way, **kwargs)
        self.backbone = check_backbone(backbone)
        self.hidden = hidden
        dtype = self.dtype_policy
        self.relation = [
            keras.layers.Dense(hidden, "relu", name="relation_hidden", dtype=dtype),
            keras.layers.Dense(1, name="relation_score", dtype=dtype),
        ]
        channels = getattr(backbone, "filters", None) or backbone.output_shape[-1]
        self.relation[0].build((None, None, None, 2 * channels))
        self.relation[1].build((None, None, None, hidden))
        self.build(None)

    def episode_scores(
        self,
        support_images: Tensor,
        support_labels: Tensor,
        query_images: Tensor,
        training: bool | None = None,
    ) -> Tensor:
        """What the comparison says of each query and class.

        Args:
            support_images: (episodes, support, ...).
            support_labels: Integers (episodes, support), -1 for padding.
            query_images: (episodes, queries, ...).
            training: Whether batch normalisation uses the statistics of the batch.

        Returns:
            Logits, (episodes, queries, way).
        """
        images = ops.concatenate([support_images, query_images], axis=1)
        features = embed(self.backbone, images, training)
        count = support_images.shape[1] or ops.shape(support_images)[1]
        support, queries = features[:, :count], features[:, count:]
        members = membership(support_labels, self.way, features.dtype)
        means = class_means(support, members)
        pairs = [
            ops.broadcast_to(means[:, None], (*ops.shape(queries)[:2], *ops.shape(means)[1:])),
            ops.repeat(queries[:, :, None], self.way, axis=2),
        ]
        x = ops.concatenate(pairs, axis=-1)  # Sung et al. 2018 eq. 1
        for layer in self.relation:
            x = layer(x)
        return x[..., 0]

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "way": self.way,
            "hidden": self.hidden,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "RelationNetwork":
        backbone = keras.saving.deserialize_keras_object(config["backbone"])
        return cls(**{**config, "backbone": backbone})
