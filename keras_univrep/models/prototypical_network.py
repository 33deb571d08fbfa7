"""Learning features whose class means classify."""

from typing import Any

import keras
from keras import ops

from keras_univrep.models._episode_tensors import class_means, embed, membership
from keras_univrep.models.episodic_model import EpisodicModel
from keras_univrep.types import Tensor

DISTANCES = ("euclidean", "cosine")
SCALES = {"euclidean": 1.0, "cosine": 10.0}


@keras.saving.register_keras_serializable(package="keras_univrep")
class PrototypicalNetwork(EpisodicModel):
    """Classifies queries by their distance to the mean features of each class, end to end.

    Equation:
        Snell et al., 2017, equations 1 and 2, for an episode with support samples x_i of labels
        y_i and a query x:

            c_k = mean of f(x_i) over y_i = k
            p(y = k | x) = softmax_k(-gamma d(f(x), c_k))

        | symbol | here | shape |
        |---|---|---|
        | f(x) | `backbone` | (episodes, samples, channels) |
        | c | prototypes | (episodes, way, channels) |
        | d | squared Euclidean distance, or minus the cosine | (episodes, queries, way) |
        | gamma | `scale` | scalar |

    Differences: Support and query images of all episodes of a batch go through the backbone as
        one batch, as in the authors' code for its batches of one episode, so that in training
        they share the moments of batch normalisation.

    Args:
        backbone: A built model of images that returns features (batch, channels).
        way: Most classes of an episode; labels are in [0, way).
        distance: `"euclidean"` or `"cosine"`.
        scale: gamma, a positive number; `None` for 1 with the Euclidean distance and 10 with the
            cosine, which is too flat by itself.
        **kwargs: `name` and `dtype` of a Keras model.

    Call arguments:
        inputs: As for `EpisodicModel`.
        training: As for `EpisodicModel`.

    Returns:
        Logits, as for `EpisodicModel`.

    Raises:
        ValueError: If an argument is none of the above.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.backbones import Conv4
        >>> from keras_univrep.datasets import EpisodeSampler, episode_batches
        >>> from keras_univrep.models import PrototypicalNetwork
        >>> rng = np.random.default_rng(0)
        >>> images, labels = rng.random((40, 16, 16, 1), "float32"), np.arange(40) % 8
        >>> sampler = EpisodeSampler(labels, way=5, shot=1, query=2)
        >>> episodes = episode_batches((images, labels), None, sampler, 4, 2, training=True)
        >>> model = PrototypicalNetwork(Conv4(4, image_size=16, channels=1), way=5)
        >>> model.compile(optimizer="adam")
        >>> history = model.fit(episodes, epochs=1, verbose=0)
        >>> sorted(history.history)
        ['accuracy', 'loss']

    References:
        Snell, Swersky, Zemel. Prototypical networks for few-shot learning. 2017.
    """

    def __init__(
        self,
        backbone: keras.Model,
        way: int,
        distance: str = "euclidean",
        scale: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(way, **kwargs)
        if distance not in DISTANCES:
            raise ValueError(
                f"`distance` must be one of {list(DISTANCES)}. Received: distance={distance!r}."
            )
        if scale is not None and not scale > 0:
            raise ValueError(
                f"`scale` must be positive or None. Received: scale={scale!r}. Pass None for the "
                "one that suits the distance."
            )
        self.backbone = check_backbone(backbone)
        self.distance = distance
        self.scale = float(SCALES[distance] if scale is None else scale)
        self.build(None)

    def episode_scores(
        self,
        support_images: Tensor,
        support_labels: Tensor,
        query_images: Tensor,
        training: bool | None = None,
    ) -> Tensor:
        """Minus the scaled distances of each query to each prototype.

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
        prototypes = class_means(support, members)  # Snell et al. 2017 eq. 1
        return -self.scale * _distances(self.distance, queries, prototypes)  # eq. 2

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "way": self.way,
            "distance": self.distance,
            "scale": self.scale,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "PrototypicalNetwork":
        backbone = keras.saving.deserialize_keras_object(config["backbone"])
        return cls(**{**config, "backbone": backbone})


def check_backbone(backbone: keras.Model) -> keras.Model:
    """The backbone, if its weights exist."""
    if not backbone.built:
        raise ValueError(
            "`backbone` must be built, so that the weights exist before training. Received: "
            f"{backbone!r}. Call it once on an image, or give it an input shape."
        )
    return backbone


def _distances(kind: str, x: Tensor, prototypes: Tensor) -> Tensor:
    """Distances (episodes, queries, way) of x (episodes, queries, channels)."""
    if kind == "cosine":
        x, prototypes = _unit_vectors(x), _unit_vectors(prototypes)
        return -ops.matmul(x, ops.swapaxes(prototypes, 1, 2))
    # About a point near all of them, where the squares are small and little cancels. It moves no
    # distance, so it needs no gradient.
    centre = ops.stop_gradient(ops.mean(x, axis=1, keepdims=True))
    x, prototypes = x - centre, prototypes - centre
    squares = ops.sum(ops.square(x), axis=-1)[:, :, None]
    squares = squares + ops.sum(ops.square(prototypes), axis=-1)[:, None]
    return squares - 2.0 * ops.matmul(x, ops.swapaxes(prototypes, 1, 2))


def _unit_vectors(x: Tensor) -> Tensor:
    """Divides by the norm; the zero vector stays, with a finite gradient."""
    squared = ops.sum(ops.square(x), axis=-1, keepdims=True)
    return x * ops.rsqrt(ops.where(squared > 0.0, squared, ops.ones_like(squared)))
