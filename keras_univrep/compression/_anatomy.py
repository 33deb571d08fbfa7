"""Where the weights of an adapted network are, and the plain network that can hold them merged."""

from collections.abc import Collection
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_univrep.backbones import AdaptedBackbone, ResNet26
from keras_univrep.backbones.adaptable_layers import leaves
from keras_univrep.compression._copying import named_as, walk
from keras_univrep.compression._folding import foldable, graph_of
from keras_univrep.layers import DomainBatchNormalization, DomainCopy
from keras_univrep.layers.domain_bank import DomainBank
from keras_univrep.models import MultiDomainModel

# Banks whose parts are plain layers.
COPIES = (DomainCopy, DomainBatchNormalization)


class Anatomy(NamedTuple):
    """A network taken apart.

    Args:
        trunk: The network without what belongs to domains.
        sources: The layer, or the bank of all domains' layers, that stands for each of the trunk's
            layers with weights; by the names that `leaves` gives.
        foldable: The batch normalisations that can be folded, by the layers before them.
    """

    trunk: keras.Model
    sources: dict[str, keras.layers.Layer]
    foldable: dict[str, str]


def backbone_of(model: Any, function: str) -> keras.Model:
    """Returns the backbone of a `MultiDomainModel`, or `model` itself where it is one.

    Args:
        model: What the user passed.
        function: The name of the function, for the error.

    Raises:
        TypeError: If it is no Keras model.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"`model` of {function} must be a MultiDomainModel or its backbone. Received: "
            f"{model!r}. Build one with `MultiDomainModel(backbone, num_classes)`."
        )
    return model.backbone if isinstance(model, MultiDomainModel) else model


def dissect(backbone: keras.Model) -> Anatomy:
    """Takes a backbone apart.

    Args:
        backbone: A built model of images.

    Raises:
        TypeError: If it depends on the domain in a way of its own.
    """
    if isinstance(backbone, AdaptedBackbone):
        trunk = backbone.trunk
        sources = {name: backbone.banks.get(name, layer) for name, layer in leaves(trunk)}
    elif type(backbone) is ResNet26:
        trunk = _plain_resnet26(backbone, folded=False)
        sources = _sources_of_resnet26(backbone)
    elif getattr(backbone, "depends_on_domain", False):
        raise TypeError(
            "The backbone must be an AdaptedBackbone, a ResNet26, or a model that does not depend "
            f"on the domain. Received: {backbone!r}. Wrap its trunk in an AdaptedBackbone."
        )
    else:
        trunk, sources = backbone, dict(leaves(backbone))
    if type(trunk) is not ResNet26:
        return Anatomy(trunk, sources, foldable(trunk))
    ends = [name.removesuffix("convolution") for name in sources if name.endswith("convolution")]
    kept = {} if trunk.normalization == "folded" else ends
    return Anatomy(trunk, sources, {f"{end}convolution": f"{end}normalization" for end in kept})


def plain_network(
    anatomy: Anatomy, biased: Collection[str], folded: Collection[str]
) -> tuple[keras.Model, dict[str, keras.layers.Layer]]:
    """Returns a new network like the trunk, without weights of the trunk.

    Args:
        anatomy: The network taken apart.
        biased: Names of layers that get a bias, as far as they can.
        folded: Names of the normalisations that are left out: all that are foldable, or none.

    Returns:
        The network, and its layers by the names that those of the trunk have.
    """
    trunk = anatomy.trunk
    if graph_of(trunk) is not None:
        network = _clone(trunk, {id(x): name for name, x in leaves(trunk)}, biased, folded, {})
        return network, dict(walk(network))
    if type(trunk) is ResNet26:
        network = _plain_resnet26(trunk, folded=bool(folded))
        return network, dict(walk(network))
    config = keras.saving.serialize_keras_object(trunk)
    network = keras.saving.deserialize_keras_object(config)
    return network, named_as(trunk, network)


def is_merged(source: keras.layers.Layer) -> bool:
    """Returns whether a source is a bank that computes a domain's kernel, and not one of copies."""
    return hasattr(source, "merged_weights") and not isinstance(source, COPIES)


def of_domain(source: keras.layers.Layer, domain: str | None) -> keras.layers.Layer:
    """Returns the plain layer that a layer, or a bank of copies, is for a domain.

    Args:
        source: One of `Anatomy.sources`.
        domain: A known domain.

    Raises:
        ValueError: If the bank's parts are no such layers.
    """
    if isinstance(source, COPIES):
        return source.part(domain)
    if isinstance(source, DomainBank):
        raise ValueError(
            "A bank of domains can be merged if it has `merged_weights(domain)`. Received: "
            f"{source!r}. Write that method, or leave the layer unadapted."
        )
    return source


def merged(source: keras.layers.Layer, domain: str | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns kernel and bias, or `None`, with which a plain layer does what `source` does.

    Args:
        source: One of `Anatomy.sources`, of a layer with a kernel.
        domain: A known domain.
    """
    if is_merged(source):
        return source.merged_weights(domain)
    layer = of_domain(source, domain)
    bias = ops.convert_to_numpy(layer.bias) if layer.use_bias else None
    return ops.convert_to_numpy(layer.kernel), bias


def scale_of(kernel: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Returns the scale of each output channel in a shape that broadcasts with a kernel.

    Args:
        kernel: (*kernel_size, channels, filters), or (*kernel_size, channels, multiplier) of a
            depthwise convolution.
        scale: As many numbers as the layer has output channels.
    """
    return scale if len(scale) == kernel.shape[-1] else scale.reshape(kernel.shape[-2:])


def _plain_resnet26(network: ResNet26, folded: bool) -> ResNet26:
    normalization = "folded" if folded or network.normalization == "folded" else "shared"
    own = {"domains": None, "adapter": None, "dropout": 0.0, "normalization": normalization}
    return ResNet26.from_config({**network.get_config(), **own})


def _sources_of_resnet26(network: ResNet26) -> dict[str, keras.layers.Layer]:
    units = {"stem": network.stem}
    for block in network.blocks:
        units |= {f"{block.name}/{unit.name}": unit for unit in (block.unit1, block.unit2)}
    sources = {}
    for name, unit in units.items():
        sources[f"{name}/convolution"] = unit.convolution
        if unit.normalization is not None:
            sources[f"{name}/normalization"] = unit.normalization
    return {**sources, "normalization": network.end_normalization}


def _clone(
    model: keras.Model,
    names: dict[int, str],
    biased: Collection[str],
    folded: Collection[str],
    clones: dict[int, keras.layers.Layer],
) -> keras.Model:
    """Builds the graph anew; models inside it likewise, and each layer once."""
    left_out: set[int] = set()

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        if id(layer) not in clones:
            name = names.get(id(layer))
            if graph_of(layer) is not None:
                clones[id(layer)] = _clone(layer, names, biased, folded, clones)
            else:
                config = layer.get_config()
                more = {"use_bias": True} if name in biased and "use_bias" in config else {}
                clones[id(layer)] = type(layer).from_config({**config, **more})
            if name in folded:
                left_out.add(id(clones[id(layer)]))
        return clones[id(layer)]

    def call(layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> Any:
        return args[0] if id(layer) in left_out else layer(*args, **kwargs)

    return keras.models.clone_model(graph_of(model), clone_function=clone, call_function=call)
