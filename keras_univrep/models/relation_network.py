"""Learning features and how to compare them."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_univrep import backend
from keras_univrep.layers import BatchNormalization, Conv2D
from keras_univrep.models._episode_tensors import class_means, membership
from keras_univrep.models.episodic_model import MISSING, EpisodicModel, episode_means
from keras_univrep.models.prototypical_network import check_backbone
from keras_univrep.types import Tensor

OBJECTIVES = ("cross_entropy", "squared_error")
# Sung et al. 2018, figure 2: blocks, channels of each, units of the layer behind them.
BLOCKS, FILTERS, UNITS = 2, 64, 8
# Maps of fewer positions than this keep their border, so that there is something left to pool.
UNPADDED = 10


@keras.saving.register_keras_serializable(package="keras_univrep")
class RelationNetwork(EpisodicModel):
    """Classifies queries by a learned comparison with the mean features of each class.

    The features are vectors, which two dense layers compare, or maps, which the relation module of
    the paper compares: two blocks of a 3x3 convolution with 64 filters, batch normalisation, ReLU
    and 2x2 max pooling, then dense layers of 8 units and 1.

    Equation:
        Sung et al., 2018, equations 1 to 3, for an episode with class means c_k and queries x of
        classes y:

            r_k(x) = sigmoid(g([c_k, f(x)]))
            l = sum_k (r_k(x) - 1[y = k])^2

        | symbol | here | shape |
        |---|---|---|
        | f(x) | `backbone` | (episodes, samples, channels), or (..., height, width, channels) |
        | c | class means | (episodes, way, ...) |
        | g | `relation`, the outputs of the model | (episodes, queries, way) |
        | l | loss with `objective="squared_error"`, as a mean over queries and classes | scalar |

    Differences: The loss is by default the cross-entropy of g as logits, as for the other episodic
        models. Class means stand for the sums of the paper over the support images of a class.
        The paper compares maps only; for vectors g has one hidden layer with ReLU. Maps of fewer
        than 10 rows or columns are padded by zeros before each convolution, as in the few-shot code
        that users of PyTorch share; larger ones are not, as in the paper. Inference normalises by
        moving moments, and not by those of the episode.

    Args:
        backbone: A built model of images that returns features (batch, channels) or maps
            (batch, height, width, channels).
        way: Most classes of an episode; labels are in [0, way).
        hidden: Units of the hidden layer for vectors.
        map_size: Height and width of the backbone's maps; `None` for what its output shape says,
            and for vectors if it says nothing of maps.
        objective: `"cross_entropy"`, or `"squared_error"` as in the paper.
        **kwargs: `name` and `dtype` of a Keras model.

    Call arguments:
        inputs: As for `EpisodicModel`.
        training: As for `EpisodicModel`.

    Returns:
        Logits, as for `EpisodicModel`.

    Raises:
        ValueError: If the backbone is not built, maps are too small to be pooled twice, features
            are not what `map_size` says, or the objective is none of the above.

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
        >>> maps = Conv4(4, channels=1, pooling=None)
        >>> published = RelationNetwork(maps, 2, map_size=(5, 5), objective="squared_error")
        >>> [layer.name for layer in published.relation][-2:]
        ['relation_hidden', 'relation_score']

    References:
        Sung, Yang, Zhang, Xiang, Torr, Hospedales. Learning to compare: relation network for
        few-shot learning. CVPR 2018.
    """

    def __init__(
        self,
        backbone: keras.Model,
        way: int,
        hidden: int = 64,
        map_size: Sequence[int] | None = None,
        objective: str = "cross_entropy",
        **kwargs: Any,
    ) -> None:
        super().__init__(way, **kwargs)
        if objective not in OBJECTIVES:
            raise ValueError(
                f"`objective` must be one of {list(OBJECTIVES)}. Received: objective={objective!r}."
            )
        self.backbone = check_backbone(backbone)
        self.hidden = hidden
        self.objective = objective
        self.map_size = _map_size(backbone, map_size)
        dtype = self.dtype_policy
        self.channels = getattr(backbone, "filters", None) or backbone.output_shape[-1]
        size, units = 2 * self.channels, hidden
        self.relation: list[keras.layers.Layer] = []
        if self.map_size is not None:
            padded = min(self.map_size) < UNPADDED
            sizes = list(self.map_size)
            for number in range(1, BLOCKS + 1):
                convolution = Conv2D(
                    FILTERS, 3, padding=int(padded), data_format="channels_last",
                    kernel_initializer=keras.initializers.VarianceScaling(
                        2.0, mode="fan_out", distribution="untruncated_normal"
                    ),
                    name=f"relation_convolution{number}", dtype=dtype,
                )  # fmt: skip
                convolution.build((None, *sizes, size))
                name, size = f"relation_normalization{number}", FILTERS
                normalization = BatchNormalization(name=name, dtype=dtype)
                normalization.build((None, *sizes, size))
                self.relation += [convolution, normalization]
                sizes = [(side if padded else side - 2) // 2 for side in sizes]
            size, units = FILTERS * sizes[0] * sizes[1], UNITS
        dense = [
            keras.layers.Dense(units, "relu", name="relation_hidden", dtype=dtype),
            keras.layers.Dense(1, name="relation_score", dtype=dtype),
        ]
        dense[0].build((None, None, None, size))
        dense[1].build((None, None, None, units))
        self.relation += dense
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
        features = self._embed(images, training)
        count = support_images.shape[1] or ops.shape(support_images)[1]
        support, queries = features[:, :count], features[:, count:]
        members = membership(support_labels, self.way, features.dtype)
        means = class_means(support, members)
        pairs = [
            ops.broadcast_to(means[:, None], (*ops.shape(queries)[:2], *ops.shape(means)[1:])),
            ops.repeat(queries[:, :, None], self.way, axis=2),
        ]
        if self.map_size is None:
            x = ops.concatenate(pairs, axis=-1)  # Sung et al. 2018 eq. 1
        else:
            x = self._convolve(pairs, training)
        for layer in self.relation[-2:]:
            x = layer(x)
        return x[..., 0]

    def _embed(self, images: Tensor, training: bool | None) -> Tensor:
        """Features of (episodes, samples, ...) images, (episodes, samples, values)."""
        features = self.backbone(ops.reshape(images, (-1, *images.shape[2:])), training=training)
        sizes, wanted = tuple(features.shape[1:-1]), self.map_size or ()
        if len(sizes) != len(wanted) or any(
            size is not None and size != side for size, side in zip(sizes, wanted)
        ):
            raise ValueError(
                f"`backbone` must return {'maps' if wanted else 'vectors'} by `map_size`. "
                f"Received: features of shape {tuple(features.shape)}, map_size={self.map_size}. "
                "Pass the height and width of its maps, or None for vectors."
            )
        # One size at most may be unknown in a shape.
        samples = images.shape[1] or ops.shape(images)[1]
        return ops.reshape(features, (-1, samples, math.prod(wanted) * self.channels))

    def _convolve(self, pairs: Sequence[Tensor], training: bool | None) -> Tensor:
        """Values (episodes, queries, way, values) of pairs of maps, which are flat in theirs."""
        shape = (*(self.map_size or ()), self.channels)
        maps = [ops.reshape(part, (-1, *shape)) for part in pairs]
        x = ops.concatenate(maps, axis=-1)  # Sung et al. 2018 eq. 1
        for convolution, normalization in zip(self.relation[:-2:2], self.relation[1:-2:2]):
            x = ops.relu(backend.max_pool(normalization(convolution(x), training=training), 2))
        queries = pairs[1].shape[1] or ops.shape(pairs[1])[1]
        return ops.reshape(x, (-1, queries, self.way, math.prod(x.shape[1:])))

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """The cross-entropy, or the squared errors of relation scores (called by Keras).

        Args:
            x: As for `EpisodicModel`.
            y: None.
            y_pred: Logits.
            sample_weight: None.
            training: As for `EpisodicModel`.

        Returns:
            A scalar.
        """
        if self.objective == "cross_entropy":
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        scores, labels = self._queries(x, y_pred)
        truth = membership(labels, self.way, scores.dtype)
        present = ops.cast(scores > MISSING / 2, scores.dtype)
        squares = ops.square(ops.sigmoid(scores) - truth) * present  # Sung et al. 2018 eq. 3
        loss = ops.sum(squares, axis=-1) / ops.maximum(ops.sum(present, axis=-1), 1.0)
        # A compiled step cannot raise; the first step's loss is NaN, not silently too small.
        loss = ops.where(labels >= self.way, ops.cast(float("nan"), loss.dtype), loss)
        means, weights = episode_means(loss, labels)
        total = ops.sum(means * weights) / ops.maximum(ops.sum(weights), 1.0)
        for penalty in self.losses:
            total = total + ops.cast(penalty, total.dtype)
        return backend.share(total)

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "way": self.way,
            "hidden": self.hidden,
            "map_size": None if self.map_size is None else list(self.map_size),
            "objective": self.objective,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "RelationNetwork":
        backbone = keras.saving.deserialize_keras_object(config["backbone"])
        return cls(**{**config, "backbone": backbone})


def _map_size(backbone: keras.Model, given: Sequence[int] | None) -> tuple[int, ...] | None:
    """Height and width of the maps, or `None` for vectors."""
    shape = getattr(backbone, "output_shape", None)
    if given is None and isinstance(shape, tuple) and len(shape) == 4:
        given = shape[1:-1]
    if given is None:
        return None
    sizes = tuple(given)
    if len(sizes) != 2 or any(
        isinstance(size, bool) or not isinstance(size, int) or size < 2**BLOCKS for size in sizes
    ):
        raise ValueError(
            f"`map_size` must be the height and width of the maps, at least {2**BLOCKS}, since "
            f"they are pooled {BLOCKS} times. Received: map_size={sizes}. Say it where the "
            "backbone does not, enlarge the images, or pool the features to vectors."
        )
    return sizes
