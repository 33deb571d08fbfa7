"""Any trained Keras network as a trunk that serves many domains through small parts of each."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_univrep.backbones._rerouted import Call, rerouted
from keras_univrep.backbones.adaptable_layers import (
    ADAPTERS,
    NORMALIZING,
    Placement,
    choose_layers,
    leaves,
)
from keras_univrep.layers import DomainCopy
from keras_univrep.layers.domain_bank import DomainBank
from keras_univrep.layers.domain_names import check_domain, check_domains
from keras_univrep.types import Tensor

NORMALIZATIONS = ("shared", "domain", "new")


@keras.saving.register_keras_serializable(package="keras_univrep")
class AdaptedBackbone(keras.Model):
    """A trunk, functional or subclassed, with adapters and normalisations for each domain.

    The trunk is not changed: while it is called with a domain, the chosen layers compute through
    that domain's parts. Domains come and go without touching each other.

    Equation:
        rebuffi2018, section 3.1: layer l of the trunk, with weights w_l, for domain t:

            y_l = g_l(x; w_l, alpha_(l,t))

        | symbol | here | shape |
        |---|---|---|
        | g_l | `banks[name of l]` | |
        | alpha_(l,t) | its `part(domain)` | what one domain has of its own |

    Differences: The code of rebuffi2018 adapts its own ResNet-26 only. With parallel adapters that
        start at zero, as here, an untrained domain gives the trunk's own features.

    Args:
        trunk: A built Keras model of images that returns features of shape (batch, channels), or
            maps (batch, height, width, channels), which are averaged over positions. Of several
            outputs choose one: `keras.Model(trunk.input, trunk.outputs[-1])`.
        domains: Names of the first domains.
        adapter: `"parallel"`, `"series"`, `"piggyback"` (binary masks), `"deep_adaptation"`
            (combinations of filters), `"copy"` (each domain has its own layers: fine-tuning), or
            `None` for no adapters.
        placement: Which layers are adapted. `"all"`: each convolution with a kernel larger than
            one; `"stem"`: the first of these; `"early"`, `"mid"`, `"late"`: a third each of the
            others; `"half"`: every second of the others. Or regular expressions on the names of
            `adaptable_layers`, or a function of name and layer. A warning names convolutions that
            a word means but no adapter takes, such as SeparableConv2D.
        normalization: `"domain"`: each domain has its own normalisations, which start as the
            trunk's; `"new"`: they start afresh; `"shared"`: the trunk's serve all.
        trunk_trainable: Whether the trunk trains. If not, all of it is frozen; if so, layers that
            are frozen one by one stay so, and a trunk that is frozen as a whole is not any more.
        adapter_options: Arguments of the adapters, such as `{"dropout": 0.5}`.
        layer_options: Further arguments for single layers, by their name.
        **kwargs: `name` and `dtype` of a Keras model.

    Call arguments:
        images: What the trunk takes; one tensor will do where it takes a dictionary of one.
        domain: One of `domains`; may be omitted when there is only one.
        training: Whether normalisations use the statistics of the batch.

    Returns:
        Features of shape (batch, channels).

    Raises:
        ValueError: If the trunk is not built, no layer is chosen, or the domain is unknown.
        TypeError: If a chosen layer cannot be adapted.

    Example:
        >>> import keras, numpy as np
        >>> from keras_univrep.backbones import AdaptedBackbone
        >>> trunk = keras.applications.MobileNetV3Small(
        ...     (32, 32, 3), 0.75, include_top=False, weights=None
        ... )
        >>> backbone = AdaptedBackbone(trunk, ["photo", "sketch"], placement="late")
        >>> tuple(backbone(np.ones((2, 32, 32, 3), "float32"), domain="sketch").shape)
        (2, 432)

    References:
        Rebuffi, Bilen, Vedaldi. Efficient parametrization of multi-domain deep neural networks.
        CVPR 2018.
    """

    depends_on_domain = True
    # Keras's, on TensorFlow, calls a model without a domain when one around it is exported.
    _default_save_signature = None

    def __init__(
        self,
        trunk: keras.Model,
        domains: Sequence[str],
        adapter: str | None = "parallel",
        placement: Placement = "all",
        normalization: str = "domain",
        trunk_trainable: bool = False,
        adapter_options: Mapping[str, Any] | None = None,
        layer_options: Mapping[str, Mapping[str, Any]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.domains = check_domains(domains, self.name)
        if adapter is not None and adapter not in ADAPTERS:
            raise ValueError(
                f"`adapter` must be one of {[*ADAPTERS, None]}. Received: adapter={adapter!r}."
            )
        if normalization not in NORMALIZATIONS:
            raise ValueError(
                f"`normalization` must be one of {list(NORMALIZATIONS)}. Received: "
                f"normalization={normalization!r}."
            )
        if not trunk.built:
            raise ValueError(
                "`trunk` must be built, so that there are layers with weights to adapt. Received: "
                f"{trunk!r}. Call it once on an image, or give it an input shape."
            )
        self.adapter = adapter
        self.normalization = normalization
        self.adapter_options = dict(adapter_options or {})
        self.layer_options = {name: dict(more) for name, more in (layer_options or {}).items()}
        self.filters = _feature_size(trunk)
        self.channels = _image_channels(trunk)
        self.input_name = _input_name(trunk)
        chosen = [] if adapter is None else choose_layers(trunk, adapter, placement)
        self.adapted = tuple(name for name, _ in chosen)
        self.banks: dict[str, DomainBank] = {
            name: self._bank(ADAPTERS[adapter], name, layer, **self.adapter_options)
            for name, layer in chosen
            if adapter is not None
        }
        if normalization != "shared":
            for name, layer in leaves(trunk):
                if isinstance(layer, NORMALIZING):
                    self.banks[name] = self._bank(
                        DomainCopy, name, layer, reinitialize=normalization == "new"
                    )
        unknown = [name for name in self.layer_options if name not in self.banks]
        if unknown:
            raise ValueError(
                f"`layer_options` must name layers with parts of their own: {list(self.banks)}. "
                f"Received: {unknown}. Choose them by `placement`, or leave them out."
            )
        if not (trunk_trainable and trunk.trainable):
            _set_trainable(trunk, trunk_trainable)
        self.trunk = trunk
        self.build(None)

    def _bank(
        self, kind: Callable[..., DomainBank], name: str, layer: keras.layers.Layer, **options: Any
    ) -> DomainBank:
        options |= self.layer_options.get(name, {})
        bank = kind(
            layer, self.domains, name=name.replace("/", "__"), dtype=layer.dtype_policy, **options
        )
        with keras.name_scope(self.name, caller=self):
            bank.build(layer.get_build_config()["input_shape"])
        return bank

    def build(self, input_shape: Any) -> None:
        self.built: bool = True

    def call(
        self, images: Tensor, domain: str | None = None, training: bool | None = None
    ) -> Tensor:
        domain = check_domain(domain, self.domains, self.name)
        if self.input_name is not None and not isinstance(images, Mapping):
            images = {self.input_name: images}
        banks = self.banks.values()
        with rerouted([(bank.layer, _call_of(bank, domain, training)) for bank in banks]):
            features = self.trunk(images)
        axes = tuple(range(1, len(features.shape) - 1))
        if axes:
            # A mean of low precision would lose what the maps have.
            features = ops.mean(ops.cast(features, "float32"), axis=axes)
        return ops.cast(features, self.compute_dtype)

    def compute_output_spec(
        self, images: Tensor, domain: str | None = None, training: bool | None = None
    ) -> keras.KerasTensor:
        """Returns the shape and dtype of the features, without running the trunk."""
        check_domain(domain, self.domains, self.name)
        first = keras.tree.flatten(images)[0]
        return keras.KerasTensor((first.shape[0], self.filters), self.compute_dtype)

    def add_domain(self, domain: str, like: str | None = None) -> None:
        """Adds the parts of a new domain; no other domain's output moves by a bit.

        Compile anew before training: an optimizer knows the weights that it was built with.

        Args:
            domain: A name that is not among `domains`.
            like: A domain whose parts the new ones start with; else they start from the trunk.

        Raises:
            ValueError: If the name is known.
        """
        names = check_domains([*self.domains, domain], self.name)
        if like is not None:
            check_domain(like, self.domains, self.name)
        for bank in self.banks.values():
            bank.add_domain(domain, like)
        self.domains = names

    def remove_domain(self, domain: str) -> None:
        """Drops the parts of a domain.

        Args:
            domain: One of `domains`; not the last one left.

        Raises:
            ValueError: If it is unknown or the only one.
        """
        check_domain(domain, self.domains, self.name)
        names = check_domains([name for name in self.domains if name != domain], self.name)
        for bank in self.banks.values():
            bank.remove_domain(domain)
        self.domains = names

    def rename_domain(self, domain: str, name: str) -> None:
        """Gives a domain another name; it comes last among `domains` afterwards.

        Args:
            domain: One of `domains`.
            name: A name that is not among them.

        Raises:
            ValueError: If `domain` is unknown or `name` is not new.
        """
        self.add_domain(name, like=check_domain(domain, self.domains, self.name))
        self.remove_domain(domain)

    def domain_weights(self, domain: str) -> dict[str, keras.Variable]:
        """Returns what a domain has of its own: its variables by layer and name.

        Args:
            domain: One of `domains`.
        """
        check_domain(domain, self.domains, self.name)
        return {
            f"{name}/{below_part(bank, domain, variable)}": variable
            for name, bank in self.banks.items()
            for variable in bank.part(domain).weights
        }

    def get_config(self) -> dict[str, Any]:
        layers = dict(leaves(self.trunk))
        singly = self.trunk.trainable
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "trunk": keras.saving.serialize_keras_object(self.trunk),
            "layers": list(layers),
            "domains": list(self.domains),
            "adapter": self.adapter,
            # What was chosen, and not how: a function cannot be saved.
            "placement": [_exactly(name) for name in self.adapted],
            "normalization": self.normalization,
            "trunk_trainable": self.trunk.trainable,
            "frozen": [name for name in layers if singly and not layers[name].trainable],
            "adapter_options": self.adapter_options,
            "layer_options": self.layer_options,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "AdaptedBackbone":
        trunk = keras.saving.deserialize_keras_object(config["trunk"])
        layers = dict(leaves(trunk))
        config = {**config, "trunk": trunk}
        # Names that Keras chose are others in another process; the order of the layers is not.
        names = dict(zip(config.pop("layers", layers), layers))
        words = {_exactly(old): _exactly(new) for old, new in names.items()}
        frozen = [layers[names[old]] for old in config.pop("frozen", ()) if old in names]
        options = {names.get(old, old): more for old, more in config["layer_options"].items()}
        placement = [words.get(word, word) for word in config["placement"]]
        backbone = cls(**{**config, "placement": placement, "layer_options": options})
        for layer in frozen:
            _set_trainable(layer, False)
        return backbone


def _exactly(name: str) -> str:
    """The expression for one layer; with the "^" a layer may be called "stem"."""
    return f"^{re.escape(name)}"


def _feature_size(trunk: keras.Model) -> int:
    size, shape = getattr(trunk, "filters", None), getattr(trunk, "output_shape", None)
    if size is None and isinstance(shape, tuple):
        size = shape[-1]
    if not isinstance(size, int) or len(getattr(trunk, "outputs", None) or [trunk]) > 1:
        raise ValueError(
            "`trunk` must return one tensor and say how many channels it has, by the output shape "
            f"or by the attribute `filters`. Received: {trunk!r} with output_shape={shape}. Set "
            "`trunk.filters`, cut its head off (`include_top=False`), or choose one output: "
            "`keras.Model(trunk.input, trunk.outputs[-1])`."
        )
    return size


def _image_channels(trunk: keras.Model) -> int:
    channels = getattr(trunk, "channels", None)
    if channels is None:
        inputs = getattr(trunk, "inputs", None)
        build_shape = (trunk.get_build_config() or {}).get("input_shape")
        channels = (inputs[0].shape if inputs else build_shape or (3,))[-1]
    return channels


def _input_name(trunk: keras.Model) -> str | None:
    """The name of the images where a trunk takes a dictionary of one tensor."""
    entry = getattr(trunk, "input", None)
    return next(iter(entry)) if isinstance(entry, Mapping) and len(entry) == 1 else None


def _set_trainable(layer: keras.layers.Layer, trainable: bool) -> None:
    # On TensorFlow Keras passes over an assignment of the value that is there, and so over the
    # layers below: a loaded model can be frozen in name while its layers train.
    for part in layer._flatten_layers():
        part.trainable = not trainable
        part.trainable = trainable


def below_part(bank: DomainBank, domain: str, variable: keras.Variable) -> str:
    """Returns a variable's path below its domain's part.

    Args:
        bank: The bank of a layer.
        domain: One of its domains.
        variable: A variable of the part of that domain.
    """
    return variable.path.rsplit(f"{bank.part(domain).name}/", 1)[1]


def _call_of(bank: DomainBank, domain: str, training: bool | None) -> Call:
    """What the layer of a bank computes for a domain, whatever else it is called with."""
    return lambda inputs, **_: bank(inputs, domain=domain, training=training)
