"""Classifying a query by messages between it and the support samples."""

from typing import Any

import keras
from keras import ops

from keras_univrep import backend
from keras_univrep.models._episode_tensors import embed, membership
from keras_univrep.models.episodic_model import EpisodicModel
from keras_univrep.models.prototypical_network import check_backbone
from keras_univrep.types import Shape, Tensor

# Channels of an edge network, of a graph convolution, and how many of these there are but the last.
EDGES, NODES, LAYERS = (192, 192, 96, 96), 48, 2
EPSILON = 1e-5


@keras.saving.register_keras_serializable(package="keras_univrep")
class GraphNetwork(EpisodicModel):
    """Classifies each query in a graph of its own with all support samples (GNN).

    Equation:
        Garcia and Bruna, 2018, equations 2 to 4, with nodes v_i = [f(x_i), label of x_i or zeros]:

            A_ij = softmax_j(e(|v_i - v_j|)),  j != i
            v <- [v, lrelu(N(W [v, A v] + b))]   twice;   then  W [v, A v] + b at the query

        | symbol | here | shape |
        |---|---|---|
        | f | `backbone`, and a dense layer to `channels` numbers, normalised | |
        | e | five dense layers, normalised, with leaky ReLU | |
        | A | adjacency | (graphs, nodes, nodes) |
        | N | batch normalisation | |

    Differences: The sizes are those of the code that shu2021 compares with; a 5-way head behind 512
        channels has 401,914 weights. As there, all its batch normalisations use the moments of
        their batch, in training and evaluation alike. That code puts one query of each class into
        a graph, which tells the network that all classes differ; here a graph has one query. Edges
        to padding are left out.

    Args:
        backbone: A built model of images that returns features (batch, channels).
        way: Most classes of an episode; labels are in [0, way).
        channels: Numbers of a node besides its label.
        **kwargs: `name` and `dtype` of a Keras model.

    Call arguments:
        inputs: As for `EpisodicModel`.
        training: As for `EpisodicModel`.

    Returns:
        Logits, as for `EpisodicModel`.

    Raises:
        ValueError: If the backbone is not built or `channels` not positive.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.backbones import Conv4
        >>> from keras_univrep.models import GraphNetwork
        >>> model = GraphNetwork(Conv4(4, image_size=16, channels=1), way=2, channels=8)
        >>> rng = np.random.default_rng(0)
        >>> episode = {
        ...     "support_images": rng.random((4, 16, 16, 1), "float32"),
        ...     "support_labels": np.array([0, 0, 1, 1]),
        ...     "query_images": rng.random((3, 16, 16, 1), "float32"),
        ... }
        >>> tuple(model(episode).shape)
        (3, 2)

    References:
        - Garcia, Bruna. Few-shot learning with graph neural networks. ICLR 2018.
        - Tseng, Lee, Huang, Yang. Cross-domain few-shot classification via learned feature-wise
          transformation. ICLR 2020.
    """

    def __init__(self, backbone: keras.Model, way: int, channels: int = 128, **kwargs: Any) -> None:
        super().__init__(way, **kwargs)
        if isinstance(channels, bool) or not isinstance(channels, int) or channels < 1:
            raise ValueError(
                f"`channels` must be a positive integer. Received: channels={channels!r}. Pass 128 "
                "for the usual."
            )
        self.backbone = check_backbone(backbone)
        self.channels = channels
        dtype = self.dtype_policy
        self.projection = _DenseUnit(channels, name="projection", dtype=dtype)
        self.projection.build(
            (None, getattr(backbone, "filters", None) or backbone.output_shape[-1])
        )
        self.edges: list[list[_DenseUnit]] = []
        self.nodes: list[_DenseUnit] = []
        size = channels + way
        for number in range(LAYERS + 1):
            below, edge = size, []
            for place, units in enumerate((*EDGES, 1)):
                name = f"edge{number + 1}_{place + 1}"
                edge.append(_DenseUnit(units, normalize=units > 1, name=name, dtype=dtype))
                edge[-1].build((None, below))
                below = units
            last = number == LAYERS
            self.edges.append(edge)
            units = way if last else NODES
            name = f"node{number + 1}"
            self.nodes.append(_DenseUnit(units, normalize=not last, name=name, dtype=dtype))
            self.nodes[-1].build((None, 2 * size))
            size += NODES
        self.build(None)

    def episode_scores(
        self,
        support_images: Tensor,
        support_labels: Tensor,
        query_images: Tensor,
        training: bool | None = None,
    ) -> Tensor:
        """What the query's node says at the end.

        Args:
            support_images: (episodes, support, ...).
            support_labels: Integers (episodes, support), -1 for padding.
            query_images: (episodes, queries, ...).
            training: Whether the backbone's batch normalisation uses the statistics of the batch.

        Returns:
            Logits, (episodes, queries, way).
        """
        images = ops.concatenate([support_images, query_images], axis=1)
        features = self.projection(embed(self.backbone, images, training))
        support = support_images.shape[1] or ops.shape(support_images)[1]
        queries = query_images.shape[1] or ops.shape(query_images)[1]
        labels = membership(support_labels, self.way, features.dtype)
        known = ops.concatenate([features[:, :support], labels], axis=-1)
        asked = features[:, support:]
        asked = ops.concatenate([asked, ops.zeros_like(asked[..., :1] * labels[:, :1, :])], axis=-1)
        # (episodes, queries, nodes, channels): the support set, and behind it one query.
        nodes = ops.concatenate(
            [ops.repeat(known[:, None], queries, axis=1), asked[:, :, None]], axis=2
        )
        absent = ops.pad(support_labels < 0, [[0, 0], [0, 1]])[:, None, None]
        itself = ops.eye(support + 1, dtype="bool")
        masked = ops.logical_or(absent, itself)
        for number, node in enumerate(self.nodes):
            adjacency = self._adjacency(number, nodes, masked)
            both = ops.concatenate([nodes, ops.matmul(adjacency, nodes)], axis=-1)
            if number == LAYERS:
                return node(both[:, :, -1])  # Garcia and Bruna 2018 eq. 2
            nodes = ops.concatenate([nodes, ops.leaky_relu(node(both), 0.01)], axis=-1)
        return nodes

    def _adjacency(self, number: int, nodes: Tensor, masked: Tensor) -> Tensor:
        """Weights of the neighbours of each node, (episodes, queries, nodes, nodes)."""
        x = ops.abs(nodes[:, :, :, None] - nodes[:, :, None])
        *hidden, last = self.edges[number]
        for unit in hidden:
            x = ops.leaky_relu(unit(x), 0.01)
        scores = ops.where(masked, ops.cast(-1e9, x.dtype), last(x)[..., 0])
        return ops.softmax(scores, axis=-1)  # eq. 3, 4

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "way": self.way,
            "channels": self.channels,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "GraphNetwork":
        backbone = keras.saving.deserialize_keras_object(config["backbone"])
        return cls(**{**config, "backbone": backbone})


class _DenseUnit(keras.layers.Layer):
    """A dense layer, and a batch normalisation that knows no moments but those of its batch."""

    def __init__(self, units: int, normalize: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.normalize = normalize

    def build(self, input_shape: Shape) -> None:
        self.kernel = self.add_weight(
            shape=(input_shape[-1], self.units), initializer="glorot_uniform", name="kernel"
        )
        self.bias = self.add_weight(shape=(self.units,), initializer="zeros", name="bias")
        if self.normalize:
            self.gamma = self.add_weight(shape=(self.units,), initializer="ones", name="gamma")
            self.beta = self.add_weight(shape=(self.units,), initializer="zeros", name="beta")
        self.built: bool = True

    def call(self, inputs: Tensor) -> Tensor:
        kernel, bias = (ops.convert_to_tensor(v) for v in (self.kernel, self.bias))
        x = ops.matmul(inputs, kernel) + bias
        if not self.normalize:
            return x
        # Half precision is too coarse for statistics.
        wide = ops.cast(x, "float32")
        gamma, beta = ops.cast(self.gamma, "float32"), ops.cast(self.beta, "float32")
        found, _, _ = backend.batch_normalization(wide, gamma, beta, EPSILON)
        return ops.cast(found, x.dtype)
