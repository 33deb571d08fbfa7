"""Adapting a whole network to an episode, from a head that its prototypes give."""

from typing import Any

import keras
from keras import ops

from keras_univrep.models._episode_tensors import class_means, membership
from keras_univrep.models._inner_loop import adapt, network_function, tensors_of
from keras_univrep.models.episodic_model import MISSING, EpisodicModel
from keras_univrep.models.prototypical_network import check_backbone
from keras_univrep.types import Tensor

MOMENTS = ("support", "batch")


@keras.saving.register_keras_serializable(package="keras_univrep")
class ProtoMAML(EpisodicModel):
    """Takes gradient steps on each support set, from a linear head made of class means.

    Equation:
        Triantafillou et al., 2020, section 3; for an episode with support set S, the backbone's
        weights theta and the class means c_k of f_theta over S:

            W_k = 2 c_k,   b_k = -|c_k|^2
            phi = (theta, W, b);   `steps` times:  phi <- phi - alpha d L_S(phi) / d phi
            p(y = k | x) = softmax_k(W_k f_theta(x) + b_k)

        | symbol | here | shape |
        |---|---|---|
        | f_theta(x) | `backbone` | (samples, channels) |
        | c | class means | (way, channels) |
        | W, b | the head, within the step | (channels, way), (way,) |
        | L_S | mean cross-entropy of the support set | scalar |
        | alpha | `learning_rate` | scalar |

        At no steps it is the prototypical network with the squared Euclidean distance.

    Differences: Batch normalisation uses the moments of the support set, under the weights of the
        moment, in training and evaluation alike; the moving ones are neither used nor moved. The
        queries are normalised with the support set's moments under the adapted weights, as in
        Meta-Dataset's code, so that no query sees another; these moments are constants to the
        outer gradient, which that code may let through (not checked). `query_moments="batch"` takes
        the queries' own moments as Finn et al. (2017) do, with their gradient. The paper's
        released settings are first-order, as here by default; the outer gradient flows through
        the class means in either case.

    Args:
        backbone: A built model of images that returns features (batch, channels), without dropout.
        way: Most classes of an episode; labels are in [0, way).
        steps: Gradient steps on the support set, at least 0. The attribute of that name may be
            changed before a new `compile`, for example to take more steps in evaluation.
        learning_rate: alpha, a positive number.
        first_order: Whether the inner gradients are constants to the outer one; `False` for the
            exact gradient, which takes several times the memory.
        query_moments: `"support"` or `"batch"`.
        **kwargs: `name` and `dtype` of a Keras model.

    Call arguments:
        inputs: As for `EpisodicModel`.
        training: Without effect.

    Returns:
        Logits, as for `EpisodicModel`.

    Raises:
        ValueError: If an argument is none of the above.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.backbones import Conv4
        >>> from keras_univrep.models import ProtoMAML
        >>> model = ProtoMAML(Conv4(4, image_size=16, channels=1), way=2, steps=1)
        >>> rng = np.random.default_rng(0)
        >>> episode = {
        ...     "support_images": rng.random((4, 16, 16, 1), "float32"),
        ...     "support_labels": np.array([0, 0, 1, 1]),
        ...     "query_images": rng.random((3, 16, 16, 1), "float32"),
        ... }
        >>> tuple(model(episode).shape)
        (3, 2)

    References:
        - Triantafillou et al. Meta-Dataset: a dataset of datasets for learning to learn from few
          examples. 2020.
        - Finn, Abbeel, Levine. Model-agnostic meta-learning for fast adaptation of deep networks.
          2017.
    """

    def __init__(
        self,
        backbone: keras.Model,
        way: int,
        steps: int = 5,
        learning_rate: float = 0.01,
        first_order: bool = True,
        query_moments: str = "support",
        **kwargs: Any,
    ) -> None:
        super().__init__(way, **kwargs)
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
            raise ValueError(
                f"`steps` must be an integer of at least 0. Received: steps={steps!r}. Pass 0 for "
                "the class means alone."
            )
        if not learning_rate > 0:
            raise ValueError(
                f"`learning_rate` must be positive. Received: learning_rate={learning_rate!r}. "
                "Pass steps=0 to adapt nothing."
            )
        if query_moments not in MOMENTS:
            raise ValueError(
                f"`query_moments` must be one of {list(MOMENTS)}. Received: "
                f"query_moments={query_moments!r}."
            )
        self.backbone = check_backbone(backbone)
        self.steps = steps
        self.learning_rate = float(learning_rate)
        self.first_order = bool(first_order)
        self.query_moments = query_moments
        self.build(None)

    def episode_scores(
        self,
        support_images: Tensor,
        support_labels: Tensor,
        query_images: Tensor,
        training: bool | None = None,
    ) -> Tensor:
        """Logits of the adapted network, each episode by itself.

        Args:
            support_images: (episodes, support, ...).
            support_labels: Integers (episodes, support), -1 for padding.
            query_images: (episodes, queries, ...).
            training: Without effect.

        Returns:
            Logits, (episodes, queries, way).
        """
        if support_images.shape[0] == 1:
            return self._adapt(support_images[0], support_labels[0], query_images[0])[None]
        return ops.map(
            lambda arrays: self._adapt(*arrays), (support_images, support_labels, query_images)
        )

    def _adapt(self, support: Tensor, labels: Tensor, queries: Tensor) -> Tensor:
        """Logits (queries, way) of one episode."""
        weights = tensors_of(self.backbone.trainable_variables)
        forward = network_function(self.backbone)
        features, _ = forward(weights, support)
        members = membership(labels, self.way, features.dtype)
        present = ops.any(members > 0, axis=0)
        means = class_means(features[None], members[None])[0]
        # Triantafillou et al. 2020 sec. 3, with its gradient through the means.
        head = [2.0 * ops.transpose(means), -ops.sum(ops.square(means), axis=-1)]

        def support_loss(values: list[Tensor], number: Any) -> Tensor:
            *own, kernel, bias = values
            scores = ops.matmul(forward(own, support)[0], kernel) + bias
            scores = ops.where(present, scores, ops.cast(MISSING, scores.dtype))
            log_odds = scores - ops.logsumexp(scores, axis=-1, keepdims=True)
            return -ops.sum(members * log_odds) / ops.maximum(ops.sum(members), 1.0)

        values, _ = adapt(
            support_loss, weights + head, self.learning_rate, self.steps, self.first_order
        )
        *weights, kernel, bias = values
        moments = None
        if self.query_moments == "support":
            _, moments = forward(weights, support)
        features, _ = forward(weights, queries, moments)
        return ops.matmul(features, kernel) + bias

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "way": self.way,
            "steps": self.steps,
            "learning_rate": self.learning_rate,
            "first_order": self.first_order,
            "query_moments": self.query_moments,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "ProtoMAML":
        backbone = keras.saving.deserialize_keras_object(config["backbone"])
        return cls(**{**config, "backbone": backbone})
