"""One domain's network without adapters, and without most batch normalisations."""

from typing import Any

import keras
import numpy as np

from keras_univrep.compression._anatomy import (
    Anatomy,
    backbone_of,
    dissect,
    is_merged,
    merged,
    of_domain,
    plain_network,
    scale_of,
)
from keras_univrep.compression._copying import copy_variables, walk
from keras_univrep.layers.adapted_layer import affine_of
from keras_univrep.layers.domain_names import check_domain
from keras_univrep.models import MultiDomainModel


def fuse(model: keras.Model, domain: str | None = None, normalization: bool = True) -> keras.Model:
    """Merges the parts of a domain into the trunk: a plain network with the same outputs.

    Equation:
        rebuffi2018, sections 3.1.1 and 3.1.2 ("fuse"), here of a parallel adapter; and at
        inference a batch normalisation N after it:

            N((f + diag_L(alpha)) * x) = f' * x + b',
            f' = s (f + diag_L(alpha)),    b' = beta - s mean,    s = gamma / sqrt(var + epsilon)

        | symbol | here | shape |
        |---|---|---|
        | f + diag_L(alpha) | `merged_weights(domain)` | (*kernel_size, channels, filters) |
        | s, b' | scale and shift of N for the domain | (filters,) |
        | f', b' | kernel and bias of the fused layer | as f, (filters,) |

    Differences: The paper's code does not fuse. Folding normalisations is an addition.

    Args:
        model: A `MultiDomainModel` or its backbone: an `AdaptedBackbone` over any trunk, a
            `ResNet26`, or a model that does not depend on the domain. It is left as it is.
        domain: One of the domains; may be omitted where there is only one.
        normalization: Whether batch normalisations are folded: in a functional trunk those whose
            only input is a `Conv1D`, `Conv2D`, `Conv3D`, `DepthwiseConv2D` or `Dense` without
            activation whose output goes nowhere else, in a `ResNet26` all but the last, in other
            subclassed trunks none. The others stay, with the values of the domain.

    Returns:
        A new functional model: images to logits (batch, classes), or to features (batch, channels)
        where `model` is a backbone. It predicts, saves and exports without the adapted network.
        Where the trunk is a subclassed one, images have the size that the trunk was built with.

    Raises:
        TypeError: If `model` is none of these.
        ValueError: If the domain is unknown, or an adapter cannot be merged into its layer.

    Example:
        >>> import keras
        >>> from keras_univrep.backbones import AdaptedBackbone
        >>> from keras_univrep.compression import fuse
        >>> from keras_univrep.models import MultiDomainModel
        >>> images = keras.Input((16, 16, 3))
        >>> maps = keras.layers.Conv2D(8, 3, use_bias=False)(images)
        >>> trunk = keras.Model(images, keras.layers.BatchNormalization()(maps))
        >>> backbone = AdaptedBackbone(trunk, ["photo", "sketch"])
        >>> model = MultiDomainModel(backbone, {"photo": 10, "sketch": 5})
        >>> [type(layer).__name__ for layer in fuse(model, "sketch").layers]
        ['InputLayer', 'Conv2D', 'GlobalAveragePooling2D', 'Dense']

    References:
        Rebuffi, Bilen, Vedaldi. Efficient parametrization of multi-domain deep neural networks.
        CVPR 2018.
    """
    backbone = backbone_of(model, "fuse")
    domains = getattr(model, "domains", None)
    domain = check_domain(domain, domains, model.name)
    anatomy = dissect(backbone)
    pairs = anatomy.foldable if normalization else {}
    values = _values(anatomy, domain, pairs)
    biased = [name for name, (_, bias) in values.items() if bias is not None]
    network, layers = plain_network(anatomy, biased, pairs.values())
    originals = dict(walk(anatomy.trunk))
    for name, layer in layers.items():
        if name not in values and layer.weights:
            source = anatomy.sources[name] if name in anatomy.sources else originals[name]
            copy_variables(of_domain(source, domain), layer)
    for name, (kernel, bias) in values.items():
        if bias is not None and not layers[name].use_bias:
            _absorb(bias, layers.get(anatomy.foldable.get(name, "")), layers[name])
            bias = None
        weights = [kernel] if bias is None else [kernel, bias]
        layers[name].set_weights([np.array(weight, "float32") for weight in weights])
    # Each by itself: on TensorFlow a model that trains does not pass the same on again.
    for layer in (network, *layers.values()):
        layer.trainable = True
    return _assemble(network, model, domain)


def _values(
    anatomy: Anatomy, domain: str | None, pairs: dict[str, str]
) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    """New kernels and biases, of the layers that do not simply keep theirs."""
    values = {}
    for name, source in anatomy.sources.items():
        if name not in pairs and not is_merged(source):
            continue
        kernel, bias = merged(source, domain)
        if name in pairs:
            scale, shift = affine_of(of_domain(anatomy.sources[pairs[name]], domain))
            kernel = kernel.astype("float64") * scale_of(kernel, scale)
            bias = shift if bias is None else shift + scale * bias
        values[name] = kernel, bias
    return values


def _absorb(
    bias: np.ndarray, normalization: keras.layers.Layer | None, layer: keras.layers.Layer
) -> None:
    """Takes a bias that a layer cannot hold off the mean that is subtracted right after it."""
    if normalization is not None:
        mean = normalization.moving_mean
        mean.assign(mean - np.asarray(bias, "float32"))
    elif np.any(bias):
        raise ValueError(
            "A layer whose merged adapter gives it a bias must be able to have one. Received: "
            f"{layer!r} inside a subclassed layer or trunk, with use_bias=False. Give that layer a "
            "bias, or adapt another."
        )


def _assemble(network: keras.Model, model: keras.Model, domain: str | None) -> keras.Model:
    """Adds the mean over positions and the classifier."""
    if getattr(network, "inputs", None):
        images, features = network.inputs[0], network.outputs[0]
    else:
        images = keras.Input(_image_shape(network), name="images")
        features = network(images)
    rank = len(features.shape) - 2
    if rank > 0:
        pooling: Any = getattr(keras.layers, f"GlobalAveragePooling{rank}D")
        features = pooling(
            data_format="channels_last", name="mean_over_positions", dtype=features.dtype
        )(features)
    name = model.name if domain is None else f"{model.name}_{domain}"
    if not isinstance(model, MultiDomainModel):
        return keras.Model(images, features, name=name)
    source = model.head(domain)
    head = type(source).from_config(source.get_config())
    fused = keras.Model(images, head(features), name=name)
    copy_variables(source, head)
    return fused


def _image_shape(network: keras.Model) -> tuple[int | None, ...]:
    """The shape of one image for a network that has no input of its own."""
    if hasattr(network, "channels"):
        return (None, None, network.channels)
    return tuple(network.get_build_config()["input_shape"][1:])
