"""Training on few-shot episodes with Keras's own fit."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from keras_univrep import backend
from keras_univrep.models._episode_tensors import check_undivided, membership
from keras_univrep.types import Shape, Tensor

# Score of a class that an episode does not have: its probability is 0 in float32.
MISSING = -1e9
_RANK_OF_LABELS = 2


class EpisodicModel(keras.Model):
    """Base of models that classify the query images of an episode after its support set.

    A leaf implements `episode_scores`; this class trains it under plain `compile(optimizer)` and
    `fit` with the items of `datasets.episode_batches` or `datasets.episode_pipeline`, of one
    episode each or of several stacked ones. A step takes a batch of episodes; the loss is the
    cross-entropy of the queries and the metric "accuracy" their share of right answers in [0, 1],
    both averaged over the queries of an episode and then over the episodes. A leaf with layers
    of its own calls `self.build(None)` last in its constructor, so that they are there for the
    optimizer from the start.

    Equation:
        Vinyals et al., 2016, the objective of a batch of E episodes with Q_e counted queries:

            L = 1/E sum_e 1/Q_e sum_q -log softmax(s_eq)[y_eq]

        | symbol | here | shape |
        |---|---|---|
        | s | what `episode_scores` returns | (episodes, queries, way) |
        | y | "query_labels", -1 where a query does not count | (episodes, queries) |

    Differences: Labels of -1 mark padding. A support sample of such a label belongs to no class;
        a query of such a label has no loss and no part in the accuracy. Batch normalisation
        that uses the moments of its batch sees padding like any other image, which is why the
        pipelines of `datasets` pad with images of the episode itself.

    Args:
        way: Most classes of an episode; labels are in [0, way).
        **kwargs: `name` and `dtype` of a Keras model.

    Call arguments:
        inputs: A dictionary: "support_images" (episodes, support, ...), "support_labels", integers
            (episodes, support), "query_images" (episodes, queries, ...); other keys are ignored.
            Without the axis of episodes: one episode.
        training: Whether batch normalisation uses the statistics of the batch.

    Returns:
        Logits, (episodes, queries, way), float32 or wider, without the first axis for one episode.
        A class without support images has the logit -1e9, and no gradient.

    Raises:
        ValueError: If an input is missing, or `compile` is given a loss or metrics. Labels of `way`
            or more, which a compiled step cannot refuse, make the loss NaN.

    Example:
        >>> import numpy as np
        >>> from keras import ops
        >>> from keras_univrep.models import EpisodicModel
        >>> class NearestSample(EpisodicModel):
        ...     def episode_scores(self, support, labels, queries, training=None):
        ...         alike = ops.matmul(queries, ops.swapaxes(support, 1, 2))
        ...         own = ops.equal(labels[:, None], ops.arange(self.way)[:, None])
        ...         return ops.max(ops.where(own[:, None], alike[:, :, None], -1e9), axis=-1)
        >>> inputs = {"support_images": np.eye(3, dtype="float32"), "support_labels": np.arange(3)}
        >>> inputs |= {"query_images": np.eye(3, dtype="float32"), "query_labels": np.arange(3)}
        >>> model = NearestSample(way=5)
        >>> model.compile(optimizer="adam")
        >>> model.test_on_batch(inputs, return_dict=True)["accuracy"]
        1.0

    References:
        Vinyals, Blundell, Lillicrap, Kavukcuoglu, Wierstra. Matching networks for one shot
        learning. 2016.
    """

    # Keras's, on TensorFlow, traces the call on inputs of its own making.
    _default_save_signature = None

    def __init__(self, way: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if isinstance(way, bool) or not isinstance(way, int) or way < 2:
            raise ValueError(
                f"`way` must be an integer of at least 2. Received: way={way!r}. Pass the most "
                "classes that an episode may have."
            )
        self.way = way
        self.accuracy = keras.metrics.Mean(name="accuracy")

    def build(self, input_shape: Shape | None) -> None:
        self.built: bool = True

    def episode_scores(
        self,
        support_images: Tensor,
        support_labels: Tensor,
        query_images: Tensor,
        training: bool | None = None,
    ) -> Tensor:
        """Scores the classes for each query; the one method of a leaf.

        Args:
            support_images: (episodes, support, ...).
            support_labels: Integers (episodes, support), in [0, way); -1 for padding.
            query_images: (episodes, queries, ...).
            training: Whether batch normalisation uses the statistics of the batch.

        Returns:
            Logits, (episodes, queries, way), finite for every class: those of classes that an
            episode lacks are replaced.
        """
        raise NotImplementedError(
            "A leaf of `EpisodicModel` must define `episode_scores(support_images, support_labels, "
            f"query_images, training)`. Received: class {type(self).__name__} without it."
        )

    def call(self, inputs: Mapping[str, Tensor], training: bool | None = None) -> Tensor:
        missing = {"support_images", "support_labels", "query_images"} - set(inputs)
        if missing:
            raise ValueError(
                "`inputs` must hold support images, support labels and query images. Received: "
                f"{sorted(inputs)} without {sorted(missing)}. Pass items of `episode_batches`."
            )
        labels = ops.convert_to_tensor(inputs["support_labels"])
        single = len(labels.shape) < _RANK_OF_LABELS
        check_undivided(single)
        support, queries = (
            ops.convert_to_tensor(inputs[f"{part}_images"]) for part in ("support", "query")
        )
        if single:
            support, labels, queries = support[None], labels[None], queries[None]
        scores = self.episode_scores(support, labels, queries, training=training)
        if scores.shape[-1] != self.way:
            raise ValueError(
                f"`episode_scores` must return (episodes, queries, way={self.way}). Received: "
                f"{tuple(scores.shape)} from {type(self).__name__}. Score every class."
            )
        if keras.backend.standardize_dtype(scores.dtype) in ("float16", "bfloat16"):
            scores = ops.cast(scores, "float32")
        present = ops.any(membership(labels, self.way, "bool"), axis=1)
        scores = ops.where(present[:, None], scores, ops.cast(MISSING, scores.dtype))
        return scores[0] if single else scores

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        scores, labels = self._queries(x, y_pred)
        members = membership(labels, self.way, scores.dtype)
        log_odds = scores - ops.logsumexp(scores, axis=-1, keepdims=True)
        loss = -ops.sum(members * log_odds, axis=-1)
        # A compiled step cannot raise; the first step's loss is NaN, not silently too small.
        loss = ops.where(labels >= self.way, ops.cast(float("nan"), loss.dtype), loss)
        means, weights = episode_means(loss, labels)
        total = ops.sum(means * weights) / ops.maximum(ops.sum(weights), 1.0)  # eq. of the class
        for penalty in self.losses:
            total = total + ops.cast(penalty, total.dtype)
        return backend.share(total)

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        scores, labels = self._queries(x, y_pred)
        best = ops.cast(ops.argmax(scores, axis=-1), labels.dtype)
        right = ops.cast(ops.equal(best, labels), scores.dtype)
        self.accuracy.update_state(*episode_means(right, labels))
        return self.get_metrics_result()

    def _queries(self, x: Any, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (episodes, queries, way) and labels (episodes, queries)."""
        if "query_labels" not in x:
            raise ValueError(
                "A batch must hold 'query_labels' to learn from or to be judged by. Received: "
                f"{sorted(x)}. Pass items of `episode_batches`, or call `predict`."
            )
        labels = ops.convert_to_tensor(x["query_labels"])
        if len(labels.shape) < _RANK_OF_LABELS:
            return scores[None], labels[None]
        return scores, labels

    def compile(
        self, optimizer: Any = "adam", loss: Any = None, metrics: Any = None, **kwargs: Any
    ) -> None:
        """Configures training; the loss and the metric are those of the class.

        Args:
            optimizer: As for `keras.Model.compile`.
            loss: None.
            metrics: None.
            **kwargs: Other arguments of `keras.Model.compile`.

        Raises:
            ValueError: If a loss or metrics are given.
        """
        given = {"loss": loss, "metrics": metrics, **kwargs}
        for name in ("loss", "metrics", "weighted_metrics"):
            if given.get(name) is not None:
                raise ValueError(
                    f"`{name}` must be None: an episodic model has the cross-entropy and the "
                    f"accuracy of the queries. Received: {name}={given[name]!r}. Leave it out."
                )
        super().compile(optimizer=optimizer, **kwargs)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles as before saving, so that a loaded model goes on with its optimizer's state.

        Args:
            config: What `get_compile_config` returned.
        """
        # Keras skips this for a class with its own `compile`.
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)


def episode_means(values: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Means (episodes,) over the counted queries, and 1 where an episode has one, else 0."""
    counted = ops.cast(labels >= 0, values.dtype)
    counts = ops.sum(counted, axis=-1)
    means = ops.sum(ops.where(labels >= 0, values, 0.0), axis=-1) / ops.maximum(counts, 1.0)
    return means, ops.cast(counts > 0, values.dtype)
