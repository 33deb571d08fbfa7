"""Conditional neural adaptive processes: a network that adapts itself to each episode."""

import re
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_univrep.backbones.adaptable_layers import leaves
from keras_univrep.backbones.call_modulated import call_modulated, film_layers, part_of
from keras_univrep.layers import FiLM, FiLMGenerator, SetEncoder
from keras_univrep.layers.class_gaussians import class_gaussians, mahalanobis_scores
from keras_univrep.layers.set_encoder import masked_mean
from keras_univrep.models._episode_tensors import class_means, embed, membership
from keras_univrep.models.episodic_model import EpisodicModel
from keras_univrep.types import Shape, Tensor

HEADS = ("linear", "mahalanobis")


@keras.saving.register_keras_serializable(package="keras_univrep")
class CNAPS(EpisodicModel):
    """A frozen backbone that small networks adapt to the support set, in one forward pass.

    Equation:
        CNAPS section 2, for the support set S of an episode, and Simple CNAPS for the second head:

            z = 1/|S| sum_(x in S) phi(x)
            f(x) = backbone with y -> gamma_l(z) y + beta_l(z) after each chosen layer l
            score_j(x) = f(x)' w(c_j) + b(c_j)               head "linear"
            score_j(x) = -(f(x) - c_j)' Q_j^-1 (f(x) - c_j)  head "mahalanobis"

        | symbol | here | shape |
        |---|---|---|
        | phi | `set_encoder` | |
        | gamma_l, beta_l | `generators`, one a stage | (episodes, channels of l) each |
        | c_j | mean of f over class j of S | (episodes, way, channels) |
        | w, b | `weight_network`, `bias_network` of c_j | |
        | Q_j | regularised covariance of class j, as in `few_shot.SimpleCNAPS` | |

    Differences: From the papers: the auto-regressive parameters of a stage see what enters it,
        averaged over positions, as in the code. From the code: the scales of the generators start
        at zero (`FiLMGenerator`), so that an untrained model is the backbone with its head; a class
        of one sample has no spread; several episodes at a time, and those with padding; any
        backbone with normalisations, where the code has a ResNet-18. Simple CNAPS prints a factor
        1/2 before the distance, which its code does not have, nor this.

    Args:
        backbone: A built, trained model of images that returns features (batch, channels). It is
            frozen in place, and its normalisations keep their statistics.
        way: Most classes of an episode; labels are in [0, way).
        head: `"linear"` (CNAPS) or `"mahalanobis"` (Simple CNAPS, without parameters).
        auto_regressive: Whether the parameters of a stage depend on what the stages before it,
            adapted, make of the support set, and not on z alone.
        film: Regular expressions of the normalisations to modulate, as for
            `backbones.film_layers`; by default those of all blocks of a `ResNet18`.
        filters: Channels of the set encoder.
        blocks: Blocks of the set encoder; each halves the images.
        scale_decay: Factor of the sum of squares of the generators' scales in the loss.
        **kwargs: `name` and `dtype` of a Keras model.

    Call arguments:
        inputs: As for `EpisodicModel`. Images are of one known size.
        training: Whether the set encoder's batch normalisations use the statistics of the batch.

    Returns:
        Logits as of `EpisodicModel`, (episodes, queries, way).

    Raises:
        ValueError: If the backbone is not built, depends on a domain or has no such layers, or
            the head is unknown.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.backbones import ResNet18
        >>> from keras_univrep.models import CNAPS
        >>> rng = np.random.default_rng(0)
        >>> model = CNAPS(ResNet18(width=0.125), way=3, head="mahalanobis", filters=8, blocks=2)
        >>> episode = {
        ...     "support_images": rng.normal(size=(6, 16, 16, 3)).astype("float32"),
        ...     "support_labels": np.array([0, 0, 1, 1, 2, 2]),
        ...     "query_images": rng.normal(size=(4, 16, 16, 3)).astype("float32"),
        ... }
        >>> tuple(model(episode).shape)
        (4, 3)

    References:
        - Requeima, Gordon, Bronskill, Nowozin, Turner. Fast and flexible multi-task classification
          using conditional neural adaptive processes. 2019.
        - Bateni, Goyal, Masrani, Wood, Sigal. Improved few-shot visual classification. 2020.
    """

    def __init__(
        self,
        backbone: keras.Model,
        way: int,
        head: str = "linear",
        auto_regressive: bool = False,
        film: str | Sequence[str] | None = None,
        filters: int = 64,
        blocks: int = 5,
        scale_decay: float = 0.001,
        **kwargs: Any,
    ) -> None:
        super().__init__(way, **kwargs)
        _check(backbone, head)
        for layer in backbone._flatten_layers():
            layer.trainable = False
        self.backbone = backbone
        self.head = head
        self.auto_regressive = auto_regressive
        self.film_names = tuple(film_layers(backbone, film))
        self.filters = filters
        self.blocks = blocks
        self.scale_decay = scale_decay
        self.set_encoder = SetEncoder(filters, blocks, name="set_encoder", dtype=self.dtype_policy)
        self.set_encoder.build((None, None, None, None, _image_channels(backbone)))
        self.film = FiLM(name="film", dtype=self.dtype_policy)
        # The layers of a stage that have equally many channels share a generator.
        known = dict(leaves(backbone))
        stages: dict[tuple[str, int], list[str]] = {}
        for name in self.film_names:
            channels = int(known[name].weights[0].shape[-1])
            stages.setdefault((_stage(name), channels), []).append(name)
        self._place = {
            name: (number, names.index(name))
            for number, names in enumerate(stages.values())
            for name in names
        }
        self.generators: list[FiLMGenerator] = []
        self.local_encoders: list[_LocalEncoder] = []
        for (stage, channels), names in stages.items():
            generator = FiLMGenerator(
                channels,
                len(names),
                scale_regularizer=keras.regularizers.L2(scale_decay) if scale_decay else None,
                name=_layer_name("generator", stage, channels),
                dtype=self.dtype_policy,
            )
            generator.build((None, filters + (channels if auto_regressive else 0)))
            self.generators.append(generator)
            if auto_regressive:
                local = _LocalEncoder(
                    channels,
                    name=_layer_name("local_encoder", stage, channels),
                    dtype=self.dtype_policy,
                )
                entry = part_of(backbone, known[names[0]]).get_build_config()["input_shape"]
                local.build((None, None, entry[-1]))
                self.local_encoders.append(local)
        if head == "linear":
            size = _feature_size(backbone)
            self.weight_network = _DenseBlock(size, name="weight_network", dtype=self.dtype_policy)
            self.bias_network = _DenseBlock(1, name="bias_network", dtype=self.dtype_policy)
            for network in (self.weight_network, self.bias_network):
                network.build((None, None, size))

    def episode_scores(
        self,
        support_images: Tensor,
        support_labels: Tensor,
        query_images: Tensor,
        training: bool | None = None,
    ) -> Tensor:
        """Scores the classes for each query.

        Args:
            support_images: (episodes, support, height, width, channels).
            support_labels: Integers (episodes, support), in [0, way); -1 for padding.
            query_images: (episodes, queries, height, width, channels).
            training: Whether the set encoder uses the statistics of the batch.

        Returns:
            Logits, (episodes, queries, way).
        """
        support, queries = self.adapted_features(
            support_images, support_labels, query_images, training
        )
        members = membership(support_labels, self.way, support.dtype)
        if self.head == "mahalanobis":
            return mahalanobis_scores(queries, *class_gaussians(support, members))
        means = class_means(support, members)
        weights = ops.cast(self.weight_network(means), queries.dtype)
        biases = ops.cast(self.bias_network(means), queries.dtype)
        return ops.matmul(queries, ops.swapaxes(weights, 1, 2)) + ops.swapaxes(biases, 1, 2)

    def adapted_features(
        self,
        support_images: Tensor,
        support_labels: Tensor,
        query_images: Tensor,
        training: bool | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Features of both sets by the backbone as the support set adapts it.

        Args:
            support_images: As for `episode_scores`.
            support_labels: Likewise.
            query_images: Likewise.
            training: Likewise.

        Returns:
            Features (episodes, support, channels) and (episodes, queries, channels), float32.
        """
        counts = support_labels >= 0
        task = self.set_encoder(support_images, counts=counts, training=training)
        # Both sets go through the backbone at once; what adapts a stage is made when it is reached.
        images = ops.concatenate([support_images, query_images], axis=1)
        samples = images.shape[1] or ops.shape(images)[1]
        support = support_images.shape[1] or ops.shape(support_images)[1]
        embeddings: dict[int, Tensor] = {}
        parameters: dict[int, tuple[Tensor, Tensor]] = {}

        def before(name: str, inputs: Tensor) -> None:
            number, _ = self._place[name]
            if number not in embeddings:
                axes = tuple(range(1, len(inputs.shape) - 1))
                x = ops.mean(ops.cast(inputs, "float32"), axis=axes) if axes else inputs
                x = ops.reshape(x, (-1, samples, x.shape[-1]))[:, :support]
                local = self.local_encoders[number](x, counts=counts)
                embeddings[number] = ops.concatenate([local, task], axis=-1)

        def after(name: str, outputs: Tensor) -> Tensor:
            number, index = self._place[name]
            if number not in parameters:
                parameters[number] = self.generators[number](embeddings.get(number, task))
            gamma, beta = parameters[number]
            return self.film(outputs, gamma[:, index], beta[:, index])

        def run(flat: Tensor, training: bool | None) -> Tensor:
            return call_modulated(
                self.backbone,
                flat,
                self.film_names,
                after,
                before if self.auto_regressive else None,
                training,
            )

        # Never the statistics of a batch: the backbone is as it was trained.
        features = ops.cast(embed(run, images, training=False), "float32")
        return features[:, :support], features[:, support:]

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "way": self.way,
            "head": self.head,
            "auto_regressive": self.auto_regressive,
            "film": [re.escape(name) for name in self.film_names],
            "filters": self.filters,
            "blocks": self.blocks,
            "scale_decay": self.scale_decay,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "CNAPS":
        backbone = keras.saving.deserialize_keras_object(config["backbone"])
        return cls(**{**config, "backbone": backbone})


class _DenseBlock(keras.layers.Layer):
    """Three dense layers with ELU between them, and the inputs added where the sizes agree."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dense = [
            keras.layers.Dense(units, name=f"dense{number + 1}", dtype=self.dtype_policy)
            for number in range(3)
        ]

    def build(self, input_shape: Shape) -> None:
        for dense in self.dense:
            dense.build(input_shape)
            input_shape = (*input_shape[:-1], dense.units)

    def call(self, x: Tensor) -> Tensor:
        y = x
        for number, dense in enumerate(self.dense):
            y = dense(ops.elu(y) if number else y)
        return y + x if y.shape[-1] == x.shape[-1] else y


class _LocalEncoder(keras.layers.Layer):
    """The auto-regressive embedding of a stage, from the mean maps that enter it."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dense = [
            keras.layers.Dense(units, name=f"dense{number + 1}", dtype=self.dtype_policy)
            for number in range(5)
        ]

    def build(self, input_shape: Shape) -> None:
        for dense in self.dense:
            dense.build(input_shape)
            input_shape = (*input_shape[:-1], dense.units)

    def call(self, x: Tensor, counts: Tensor | None = None) -> Tensor:
        first, *residual, last = self.dense
        x = first(x)
        for dense in residual:
            x = ops.relu(x)
            x = dense(x) + x
        return ops.relu(last(masked_mean(x, counts)))


def _stage(name: str) -> str:
    """The stage of a layer: the part that holds it, without the number of a block."""
    return re.sub(r"_block\d+$", "", name.split("/")[0])


def _layer_name(kind: str, stage: str, channels: int) -> str:
    return f"{kind}_{stage}_{channels}"


def _feature_size(backbone: keras.Model) -> int:
    return getattr(backbone, "filters", None) or backbone.output_shape[-1]


def _image_channels(backbone: keras.Model) -> int:
    return getattr(backbone, "channels", None) or backbone.input_shape[-1]


def _check(backbone: keras.Model, head: str) -> None:
    if head not in HEADS:
        raise ValueError(
            f"`head` must be one of {list(HEADS)}. Received: head={head!r}. Pass one of these."
        )
    if not backbone.built or getattr(backbone, "depends_on_domain", False):
        raise ValueError(
            "`backbone` must be built, and one network for all domains. Received: "
            f"{backbone.name} with built={backbone.built}, depends_on_domain="
            f"{getattr(backbone, 'depends_on_domain', False)}. Call it once on an image, or take "
            "its trunk."
        )
