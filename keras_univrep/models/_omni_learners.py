"""The meta-training algorithms of Omni-Training, and what it asks of one of them."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from keras_univrep import backend
from keras_univrep.backbones import OmniFlow, OmniNet
from keras_univrep.layers import OmniHead
from keras_univrep.models._meta_batch import meta_batch
from keras_univrep.models.episodic_model import MISSING, EpisodicModel
from keras_univrep.models.graph_network import GraphNetwork
from keras_univrep.models.maml import MAML
from keras_univrep.models.matching_network import MatchingNetwork
from keras_univrep.models.meta_learner import MetaLearner
from keras_univrep.models.proto_maml import ProtoMAML
from keras_univrep.models.prototypical_network import PrototypicalNetwork
from keras_univrep.models.relation_network import RelationNetwork
from keras_univrep.types import Tensor

ALGORITHMS: dict[str, type[EpisodicModel] | type[MetaLearner]] = {
    "prototypical": PrototypicalNetwork,
    "matching": MatchingNetwork,
    "relation": RelationNetwork,
    "graph": GraphNetwork,
    "proto_maml": ProtoMAML,
    "maml": MAML,
}
Learner = EpisodicModel | MetaLearner


def algorithm(meta: Any) -> type[EpisodicModel] | type[MetaLearner]:
    """The class of a name, or the class itself.

    Raises:
        ValueError: If it is neither.
    """
    found = meta
    if isinstance(meta, str):
        # A saved model names a class of the user's own as it is registered.
        found = ALGORITHMS.get(meta) or keras.saving.get_registered_object(meta)
    if not isinstance(found, type) or not issubclass(found, (EpisodicModel, MetaLearner)):
        raise ValueError(
            f"`meta` must be one of {list(ALGORITHMS)}, or a subclass of EpisodicModel or "
            f"MetaLearner. Received: meta={meta!r}."
        )
    return found


def make_learner(
    kind: type[EpisodicModel] | type[MetaLearner],
    network: OmniNet,
    flow: str,
    head: OmniHead | None,
    options: Mapping[str, Any],
) -> Learner:
    """Makes the algorithm on one flow; one that adapts a whole network gets the flow's head.

    Raises:
        ValueError: If it needs a head and there is none.
    """
    adapts = issubclass(kind, MetaLearner)
    if adapts and head is None:
        raise ValueError(
            f"{kind.__name__} adapts a network with a head. Received: no head. Pass `meta_head` "
            "for one of its own, such as keras.layers.Dense(way), or `head` to share that one."
        )
    backbone = OmniFlow(network, flow, head if adapts else None, name=f"{flow}_flow")
    return kind(backbone, **options, name=f"{flow}_{kind.__name__.lower()}")


def episode_outputs(learner: Learner, episode: Any, training: bool) -> Tensor:
    """What the algorithm answers for the queries of an episode or a batch of them."""
    return learner(episode, training=training)


def episode_loss(learner: Learner, episode: Any, outputs: Tensor) -> Tensor:
    """The loss of the queries, without the penalties of the weights; a replica's share."""
    if isinstance(learner, MetaLearner):
        batch = meta_batch(episode)
        loss = learner._query_loss(batch, outputs[None] if batch.single else outputs)
    else:
        loss = learner.compute_loss(x=episode, y_pred=outputs)
    # The flows share weights: the model around them counts the penalties, once.
    for penalty in learner.losses:
        loss = loss - backend.share(ops.cast(penalty, loss.dtype))
    return loss


def episode_targets(episode: Any) -> Tensor:
    """Targets of the queries."""
    batch = meta_batch(episode)
    labels = episode.get("query_labels") if isinstance(episode, Mapping) else None
    return batch.query.y if labels is None else ops.convert_to_tensor(labels)


def squared_difference(
    compared: str, teacher: Tensor, student: Tensor, targets: Tensor | None = None
) -> Tensor:
    """Mean squared difference of outputs; those of padded queries and missing classes left out.

    A replica's share of it.

    Args:
        compared: "logits" for the outputs as they are, or "probabilities".
        teacher: Outputs (..., units).
        student: Outputs of the same shape.
        targets: Integers whose -1 marks queries that do not count, (...), or anything else.
    """
    teacher = ops.stop_gradient(teacher)
    present = teacher > MISSING / 2
    if compared == "probabilities":
        teacher, student = ops.softmax(teacher, axis=-1), ops.softmax(student, axis=-1)
    squares = ops.square(student - teacher)
    counts = ops.cast(present, squares.dtype)
    if (
        targets is not None
        and "int" in keras.backend.standardize_dtype(targets.dtype)
        and len(targets.shape) == len(squares.shape) - 1
    ):
        counts = counts * ops.cast(targets >= 0, squares.dtype)[..., None]
    return backend.share(ops.sum(squares * counts) / ops.maximum(ops.sum(counts), 1.0))


def share_right(outputs: Tensor, targets: Tensor) -> Tensor | None:
    """Share of right answers in [0, 1]; `None` where targets are no classes."""
    if "int" not in keras.backend.standardize_dtype(targets.dtype):
        return None
    if len(targets.shape) != len(outputs.shape) - 1:
        return None
    best = ops.cast(ops.argmax(outputs, axis=-1), targets.dtype)
    counted = ops.cast(targets >= 0, "float32")
    right = ops.cast(ops.equal(best, targets), "float32") * counted
    return ops.sum(right) / ops.maximum(ops.sum(counted), 1.0)
