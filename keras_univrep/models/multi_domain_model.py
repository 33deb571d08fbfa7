"""One backbone and a classifier for each domain."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from keras_univrep.layers.domain_names import check_domain, check_domains
from keras_univrep.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class MultiDomainModel(keras.Model):
    """A backbone shared by all domains, with a linear classifier for each.

    With one domain it is the single-domain network, with several the vanilla multi-domain
    network, and the student and the teachers of `UniversalDistiller`.

    Equation:
        li2022, section 3.1 and eq. 2, for an image x of domain t:

            y_t(x) = h_t(f(x))

        | symbol | here | shape |
        |---|---|---|
        | f(x) | `features(x, domain)` | (batch, channels) |
        | h_t | `head(domain)` | channels -> classes of the domain |

    Args:
        backbone: A model of images that returns features of shape (batch, channels). If it has
            the attribute `depends_on_domain` and it is true, it is called with `domain=`.
        num_classes: Number of classes of each domain, by name; its order is the heads' order.
        **kwargs: `name` and `dtype` of a Keras model.

    Call arguments:
        images: A batch of each of several domains, `{domain: (batch, height, width, channels)}`,
            or one batch.
        domain: The domain of one batch; may be omitted where there is only one.
        training: Whether batch normalisation uses the statistics of the batch. Domains that share
            every part of the backbone go through it as one joint batch, as in li2022's code.

    Returns:
        Logits, `{domain: (batch, classes)}` for a dictionary, else (batch, classes).

    Raises:
        ValueError: If a domain is unknown, or the images do not suit the backbone.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.backbones import ResNet26
        >>> from keras_univrep.models import MultiDomainModel
        >>> model = MultiDomainModel(ResNet26(width=0.25), {"photo": 10, "sketch": 5})
        >>> x = np.ones((2, 32, 32, 3), "float32")
        >>> {name: tuple(y.shape) for name, y in model({"photo": x, "sketch": x}).items()}
        {'photo': (2, 10), 'sketch': (2, 5)}

    References:
        Li, Liu, Bilen. Universal representations: a unified look at multiple task and domain
        learning. 2022.
    """

    def __init__(
        self, backbone: keras.Model, num_classes: Mapping[str, int], **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.domains = check_domains(list(num_classes), self.name)
        for name, count in num_classes.items():
            if not isinstance(count, int) or count < 1:
                raise ValueError(
                    "`num_classes` must map each domain to a positive integer. Received: "
                    f"{name!r}: {count!r}."
                )
        self.num_classes = dict(num_classes)
        self.backbone = backbone
        self.depends_on_domain = bool(getattr(backbone, "depends_on_domain", False))
        if self.depends_on_domain:
            for name in self.domains:
                check_domain(name, backbone.domains, backbone.name)
        # Logits stay in float32 under a mixed policy: a softmax of bfloat16 is too coarse.
        self.heads = [
            keras.layers.Dense(self.num_classes[name], dtype="float32", name=f"head_{name}")
            for name in self.domains
        ]
        self.build(None)

    def build(self, input_shape: Shape | None) -> None:
        if self.built:
            return
        if not self.backbone.built:
            raise ValueError(
                "`backbone` must be built, so that the weights exist before training. Received: "
                f"{self.backbone!r}. Call it once on an image, or give it an input shape."
            )
        for head in self.heads:
            head.build((None, self.feature_size))
        self.built: bool = True

    @property
    def feature_size(self) -> int:
        """Channels of the features."""
        if hasattr(self.backbone, "filters"):
            return self.backbone.filters
        return self.backbone.output_shape[-1]

    def head(self, domain: str | None = None) -> keras.layers.Dense:
        """Returns the classifier of `domain`."""
        return self.heads[self.domains.index(check_domain(domain, self.domains, self.name))]

    def features(
        self,
        images: Tensor | Mapping[str, Tensor],
        domain: str | None = None,
        training: bool | None = None,
    ) -> Tensor | dict[str, Tensor]:
        """Returns the universal features of images, called as the model is.

        Args:
            images: As for the call.
            domain: As for the call.
            training: As for the call.

        Returns:
            Features, `{domain: (batch, channels)}` for a dictionary, else (batch, channels).
        """
        if not isinstance(images, Mapping):
            domain = check_domain(domain, self.domains, self.name)
            return self._backbone(images, domain, training)
        names = [check_domain(name, self.domains, self.name) for name in images]
        if self.depends_on_domain or len(names) == 1:
            return {name: self._backbone(images[name], name, training) for name in names}
        sizes = {name: tuple(images[name].shape[1:]) for name in names}
        if len(set(sizes.values())) > 1:
            raise ValueError(
                "Domains that share the backbone go through it as one batch, so their images must "
                f"have one size. Received: {sizes}. Resize them in the data pipeline."
            )
        joint = self._backbone(ops.concatenate([images[n] for n in names]), None, training)
        ends = [0]
        for name in names:
            ends.append(ends[-1] + ops.shape(images[name])[0])
        return {name: joint[ends[i] : ends[i + 1]] for i, name in enumerate(names)}

    def classify(
        self, features: Tensor | Mapping[str, Tensor], domain: str | None = None
    ) -> Tensor | dict[str, Tensor]:
        """Returns the logits that belong to what `features` returned.

        Args:
            features: Features, (batch, channels) or `{domain: (batch, channels)}`.
            domain: The domain of features that are no dictionary.

        Returns:
            Logits, (batch, classes) or `{domain: (batch, classes)}`.
        """
        if isinstance(features, Mapping):
            return {name: self.head(name)(value) for name, value in features.items()}
        return self.head(domain)(features)

    def call(
        self,
        images: Tensor | Mapping[str, Tensor],
        domain: str | None = None,
        training: bool | None = None,
    ) -> Tensor | dict[str, Tensor]:
        features = self.features(images, domain=domain, training=training)
        return self.classify(features, domain)  # li2022 eq. 2

    def compute_output_spec(
        self,
        images: Tensor | Mapping[str, Tensor],
        domain: str | None = None,
        training: bool | None = None,
    ) -> Tensor | dict[str, Tensor]:
        """Returns the shapes and dtypes of the logits, without running the backbone.

        Keras would run it on made-up image sizes where the size is unknown, and those need not
        suit the backbone.

        Args:
            images: As for the call.
            domain: As for the call.
            training: As for the call.

        Returns:
            Symbolic logits, as the call returns them.
        """
        if isinstance(images, Mapping):
            return {name: self.compute_output_spec(images[name], name) for name in images}
        name = check_domain(domain, self.domains, self.name)
        return keras.KerasTensor((images.shape[0], self.num_classes[name]), "float32")

    def _backbone(self, images: Tensor, domain: str | None, training: bool | None) -> Tensor:
        if self.depends_on_domain:
            return self.backbone(images, domain=domain, training=training)
        return self.backbone(images, training=training)

    def initialize_from(self, trunk: "MultiDomainModel") -> None:
        """Starts from a trained network: its backbone, and its heads of the domains of both.

        Args:
            trunk: A network whose backbone this one's can take over (`initialize_from`).

        Raises:
            ValueError: If the backbones, or the classes of a domain, do not fit.
        """
        shared = [name for name in self.domains if name in trunk.domains]
        for name in shared:
            if self.num_classes[name] != trunk.num_classes[name]:
                raise ValueError(
                    f"{name!r} must have the same classes in both networks. Received: "
                    f"{trunk.num_classes[name]} for {self.num_classes[name]}. Rename one of them."
                )
        self.backbone.initialize_from(trunk.backbone)
        for name in shared:
            self.head(name).set_weights(trunk.head(name).get_weights())

    def for_domain(self, domain: str | None = None) -> keras.Model:
        """Returns a functional model of one domain, sharing the weights: images to logits.

        Args:
            domain: One of the domains; may be omitted where there is only one.

        Returns:
            A `keras.Model` to predict with, evaluate, save by itself or export.
        """
        domain = check_domain(domain, self.domains, self.name)
        images = keras.Input((None, None, getattr(self.backbone, "channels", 3)), name="images")
        return keras.Model(images, self(images, domain=domain), name=f"{self.name}_{domain}")

    def compile(
        self, optimizer: Any = "sgd", loss: Any = None, metrics: Any = None, **kwargs: Any
    ) -> None:
        """Configures training; by default cross-entropy on logits, and accuracy, of each domain.

        Args:
            optimizer: As for `keras.Model.compile`.
            loss: As for `keras.Model.compile`; the default takes integer labels.
            metrics: As for `keras.Model.compile`.
            **kwargs: As for `keras.Model.compile`.
        """
        super().compile(
            optimizer=optimizer, **default_compile(self.domains, loss, metrics), **kwargs
        )

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles as before saving, so that a loaded model goes on with its optimizer's state.

        Args:
            config: What `get_compile_config` returned.
        """
        # Keras skips this for a class with its own `compile`.
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "num_classes": [list(item) for item in self.num_classes.items()],
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "MultiDomainModel":
        config = dict(config)
        config["backbone"] = keras.saving.deserialize_keras_object(config["backbone"])
        config["num_classes"] = dict(config["num_classes"])
        return cls(**config)


def default_compile(domains: tuple[str, ...], loss: Any, metrics: Any) -> dict[str, Any]:
    """Returns the loss and metrics of a classifier of several domains, where none are given."""
    if loss is None:
        loss = {
            name: keras.losses.SparseCategoricalCrossentropy(from_logits=True) for name in domains
        }
    if metrics is None:
        metrics = {
            name: [keras.metrics.SparseCategoricalAccuracy(name="accuracy")] for name in domains
        }
    return {"loss": loss, "metrics": metrics}
