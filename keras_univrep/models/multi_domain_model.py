"""One backbone and a classifier for each domain."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_univrep.layers.copy_weights import copy_weights
from keras_univrep.layers.domain_bank import DomainBank, unlocked
from keras_univrep.layers.domain_names import check_domain, check_domains
from keras_univrep.layers.stored_names import check_names, store_names
from keras_univrep.models._default_compile import default_compile
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

    # Keras's, on TensorFlow, calls a model without a domain when one around it is exported.
    _default_save_signature = None

    def __init__(
        self, backbone: keras.Model, num_classes: Mapping[str, int], **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.domains = check_domains(list(num_classes), self.name)
        for name, count in num_classes.items():
            _check_count(name, count)
        self.num_classes = dict(num_classes)
        self.backbone = backbone
        self.depends_on_domain = bool(getattr(backbone, "depends_on_domain", False))
        if self.depends_on_domain:
            for name in self.domains:
                check_domain(name, backbone.domains, backbone.name)
        self.trained_domains: tuple[str, ...] | None = None
        self.heads = [self._new_head(name) for name in self.domains]
        self.build(None)

    def _new_head(self, domain: str) -> keras.layers.Dense:
        # Logits stay in float32 under a mixed policy: a softmax of bfloat16 is too coarse.
        return keras.layers.Dense(self.num_classes[domain], dtype="float32", name=f"head_{domain}")

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
            copy_weights(trunk.head(name), self.head(name))

    def add_domain(self, domain: str, num_classes: int, like: str | None = None) -> None:
        """Adds a classifier, and what the backbone keeps for each domain.

        No output of another domain moves by a bit. The optimizer knows the old weights only, so
        the model must be compiled again before it trains: `compile(..., domains=[domain])` trains
        the new domain alone.

        Args:
            domain: A name that is not among `domains`.
            num_classes: Number of its classes.
            like: A domain whose parts of the backbone the new ones start with.

        Raises:
            ValueError: If the name is known or the number not positive.
        """
        names = check_domains([*self.domains, domain], self.name)
        _check_count(domain, num_classes)
        if hasattr(self.backbone, "add_domain") and domain not in (self.backbone.domains or ()):
            self.backbone.add_domain(domain, like)
        elif self.depends_on_domain and domain not in self.backbone.domains:
            raise ValueError(
                f"The backbone must know the domain, or be one that takes new domains. Received: "
                f"domain={domain!r}, {self.backbone.name} with {list(self.backbone.domains)}. "
                "Use an AdaptedBackbone over the trunk."
            )
        self.num_classes[domain] = num_classes
        with unlocked(self):
            head = self._new_head(domain)
            head.build((None, self.feature_size))
            self.heads.append(head)
        self.domains = names
        self._forget_compilation()

    def remove_domain(self, domain: str) -> None:
        """Drops a domain's classifier and what the backbone keeps for it.

        Args:
            domain: One of `domains`; not the last one left.

        Raises:
            ValueError: If it is unknown or the only one.
        """
        head = self.head(check_domain(domain, self.domains, self.name))
        names = check_domains([name for name in self.domains if name != domain], self.name)
        if hasattr(self.backbone, "remove_domain") and domain in (self.backbone.domains or ()):
            self.backbone.remove_domain(domain)
        with unlocked(self):
            self.heads.remove(head)
        del self.num_classes[domain]
        self.domains = names
        self._forget_compilation()

    def rename_domain(self, domain: str, name: str) -> None:
        """Gives a domain another name; it comes last among `domains` afterwards.

        Args:
            domain: One of `domains`.
            name: A name that is not among them.

        Raises:
            ValueError: If `domain` is unknown or `name` is not new.
        """
        check_domain(domain, self.domains, self.name)
        self.add_domain(name, self.num_classes[domain], like=domain)
        copy_weights(self.head(domain), self.head(name))
        self.remove_domain(domain)

    def _forget_compilation(self) -> None:
        """Drops the compiled functions, whose lists of weights are those of before."""
        self.compiled = False
        self.train_function = self.test_function = self.predict_function = None

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
        self,
        optimizer: Any = "sgd",
        loss: Any = None,
        metrics: Any = None,
        domains: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Configures training; by default cross-entropy on logits, and accuracy, of each domain.

        Args:
            optimizer: As for `keras.Model.compile`.
            loss: As for `keras.Model.compile`; the default takes integer labels.
            metrics: As for `keras.Model.compile`.
            domains: The domains that train, and that the batches hold; all by default. The parts
                and classifiers of the others are frozen: no weight decay reaches them either.
            **kwargs: As for `keras.Model.compile`.

        Raises:
            ValueError: If a domain is unknown.
        """
        if domains is not None:
            domains = check_domains(domains, self.name)
            for name in domains:
                check_domain(name, self.domains, self.name)
        if domains is not None or self.trained_domains is not None:
            # Also where they are the domains of before: others may have come since.
            self._freeze_all_but(self.domains if domains is None else domains)
            self.trained_domains = domains
        names = self.domains if domains is None else domains
        super().compile(optimizer=optimizer, **default_compile(names, loss, metrics), **kwargs)

    def _freeze_all_but(self, domains: Sequence[str]) -> None:
        for name, head in zip(self.domains, self.heads):
            head.trainable = name in domains
        for bank in self.backbone._flatten_layers():
            if isinstance(bank, DomainBank) and bank.domains:
                for name, part in zip(bank.domains, bank.parts):
                    part.trainable = name in domains

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles as before saving, so that a loaded model goes on with its optimizer's state.

        Args:
            config: What `get_compile_config` returned.
        """
        # Keras skips this for a class with its own `compile`.
        arguments = keras.saving.deserialize_keras_object(config)
        loss = arguments.get("loss")
        some = isinstance(loss, Mapping) and set(loss) != set(self.domains)
        self.compile(**arguments, domains=list(loss) if some else None)
        self.optimizer.build(self.trainable_variables)

    def save_own_variables(self, store: Any) -> None:
        """Writes the names of the outputs too.

        Args:
            store: Keras's store of this layer's own weights.
        """
        super().save_own_variables(store)
        store_names(store, self.num_classes)

    def load_own_variables(self, store: Any) -> None:
        """Refuses weights whose outputs are not called as this network's.

        Args:
            store: Keras's store of this layer's own weights.

        Raises:
            ValueError: If they are not, or come in another order.
        """
        super().load_own_variables(check_names(store, self.num_classes, self.name))

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


def _check_count(domain: str, count: Any) -> None:
    if not isinstance(count, int) or count < 1:
        message = "`num_classes` must map each domain to a positive integer. Received: "
        raise ValueError(f"{message}{domain!r}: {count!r}.")
