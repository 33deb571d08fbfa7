"""Back from one domain's fused network to the adapted one."""

from collections.abc import Collection

import keras
import numpy as np
from keras import ops

from keras_univrep.backbones import ResNet26
from keras_univrep.backbones.adaptable_layers import NORMALIZING
from keras_univrep.compression._anatomy import (
    COPIES,
    Anatomy,
    backbone_of,
    dissect,
    of_domain,
    scale_of,
)
from keras_univrep.compression._copying import copy_variables, named_as, rebuild, walk
from keras_univrep.compression._folding import graph_of
from keras_univrep.layers import ParallelAdapter, SeriesAdapter
from keras_univrep.layers.adapted_layer import affine_of
from keras_univrep.layers.domain_bank import DomainBank
from keras_univrep.layers.domain_names import check_domain
from keras_univrep.models import MultiDomainModel

# Layers that a fused network no longer has, or has in the values of one domain.
OWN = (*COPIES, *NORMALIZING)


def unfuse(fused: keras.Model, like: keras.Model, domain: str | None = None) -> keras.Model:
    """Takes the parts of a domain out of a fused network: the adapted network that it came from.

    Equation:
        rebuffi2018, section 3.1.2 ("easily undone"); s is the scale of the folded batch
        normalisation, M the matrix with which a series adapter multiplies the layer's outputs:

            f = f' / s - diag_L(alpha)        parallel
            f = (f' / s) M^-1                 series

        | symbol | here | shape |
        |---|---|---|
        | f' | kernel in `fused` | (*kernel_size, channels, filters) |
        | f | kernel of the trunk | (*kernel_size, channels, filters) |

    Differences: The paper undoes parallel adapters only, and its code neither.

    Args:
        fused: What `fuse` made, saved and loaded or not.
        like: The adapted network, a `MultiDomainModel` or its backbone. It gives all adapters,
            normalisations, copied layers and classifiers, and none of the kernels of its trunk
            that `fused` holds. It is left as it is.
        domain: The domain of `fused`; may be omitted where there is only one.

    Returns:
        A new network of the kind of `like`, with the trunk of `fused`, for all domains.

    Raises:
        TypeError: If `fused` or `like` is no such model.
        ValueError: If the structures differ, a scale is zero, an adapter cannot be undone, or the
            domain is not that of `fused`, as far as biases show.

    Example:
        >>> import keras
        >>> from keras_univrep.backbones import AdaptedBackbone
        >>> from keras_univrep.compression import fuse, unfuse
        >>> images = keras.Input((16, 16, 4))
        >>> trunk = keras.Model(images, keras.layers.Conv2D(8, 3, name="conv")(images))
        >>> backbone = AdaptedBackbone(trunk, ["photo", "sketch"])
        >>> again = unfuse(fuse(backbone, "sketch"), backbone, "sketch")
        >>> again.count_params() == backbone.count_params()
        True

    References:
        Rebuffi, Bilen, Vedaldi. Efficient parametrization of multi-domain deep neural networks.
        CVPR 2018.
    """
    backbone = backbone_of(like, "unfuse")
    domain = check_domain(domain, getattr(like, "domains", None), like.name)
    _layers_of(fused, dissect(backbone))  # Raises before anything is built.
    model = rebuild(like)
    anatomy = dissect(backbone_of(model, "unfuse"))
    # Anew: where Keras chose names, those of the new trunk are others.
    layers = _layers_of(fused, anatomy)
    folded = {name: end for name, end in anatomy.foldable.items() if end not in layers}
    heads = [head.name for head in like.heads] if isinstance(like, MultiDomainModel) else []
    _check_structure(layers, anatomy, folded, heads)
    for name, layer in walk(anatomy.trunk):
        if name in layers and name not in anatomy.sources:
            copy_variables(layers[name], layer)
    for name, source in anatomy.sources.items():
        if isinstance(source, OWN):
            continue
        if name not in folded and not isinstance(source, DomainBank):
            copy_variables(layers[name], source)
            continue
        end = anatomy.sources[folded[name]] if name in folded else None
        affine = None if end is None else affine_of(of_domain(end, domain))
        weights = _trunk_weights(name, layers[name], source, affine, domain)
        _plain(source).set_weights([weight.astype("float32") for weight in weights])
    return model


def _layers_of(fused: keras.Model, anatomy: Anatomy) -> dict[str, keras.layers.Layer]:
    """The layers of a fused network, by the names of those of the trunk."""
    if not isinstance(fused, keras.Model):
        raise TypeError(
            f"`fused` must be a model that `fuse` returned. Received: {fused!r}. Load a saved one "
            "with `keras.saving.load_model`."
        )
    trunk = anatomy.trunk
    if graph_of(trunk) is not None:
        return dict(walk(fused))
    networks = [layer for layer in fused.layers if type(layer) is type(trunk)]
    if len(networks) != 1:
        raise _other_structure(f"one {type(trunk).__name__}", f"{len(networks)} of them")
    if type(trunk) is ResNet26:
        return dict(walk(networks[0]))
    counts = [len(list(walk(network))) for network in (trunk, networks[0])]
    if counts[0] != counts[1]:
        raise _other_structure(f"{counts[0]} layers", f"{counts[1]} layers")
    return named_as(trunk, networks[0])


def _check_structure(
    layers: dict[str, keras.layers.Layer],
    anatomy: Anatomy,
    folded: dict[str, str],
    heads: Collection[str],
) -> None:
    """Raises an error unless every layer is there, with kernels of the right shapes."""
    if folded and folded != anatomy.foldable:
        kept = [end for end in anatomy.foldable.values() if end in layers]
        raise _other_structure("all normalisations folded, or none", f"{kept} kept")
    for name, source in anatomy.sources.items():
        if name in folded.values():
            continue
        expected = [tuple(weight.shape) for weight in _plain(source).weights]
        found = [tuple(weight.shape) for weight in layers[name].weights] if name in layers else []
        # Only the first: a bias may have come, or gone into the mean that follows.
        if found[:1] != expected[:1]:
            raise _other_structure(f"{name!r} with weights of shapes {expected}", f"{found}")
    known = {*anatomy.sources, *dict(walk(anatomy.trunk)), *heads}
    extra = [name for name, layer in layers.items() if layer.weights and name not in known]
    if extra:
        raise _other_structure("no layers but its own", f"{extra}")


def _plain(source: keras.layers.Layer) -> keras.layers.Layer:
    """The layer that a bank adapts, or stands for."""
    if not isinstance(source, DomainBank):
        return source
    return source.layer if hasattr(source, "layer") else source.parts[0]


def _other_structure(wanted: str, received: str) -> ValueError:
    return ValueError(
        f"`fused` must have the structure of `like`: {wanted}. Received: {received}. Pass the "
        "network that was fused."
    )


def _trunk_weights(
    name: str,
    layer: keras.layers.Layer,
    source: keras.layers.Layer,
    affine: tuple[np.ndarray, np.ndarray] | None,
    domain: str | None,
) -> list[np.ndarray]:
    """The trunk's kernel, and bias if it has one, in float64."""
    kernel, bias = _float64(layer.kernel), None
    if layer.use_bias:
        bias = _float64(layer.bias)
    largest = 0.0 if bias is None else np.abs(bias).max()
    if affine is not None:
        scale, shift = affine
        if not np.all(scale):
            raise ValueError(
                "A folded normalisation can be undone where no scale is zero. Received: scale 0 in "
                f"channels {np.flatnonzero(scale == 0).tolist()} after {name!r}. Keep the trunk, "
                "or fuse with normalization=False."
            )
        kernel = kernel / scale_of(kernel, scale)
        bias = -shift / scale if bias is None else (bias - shift) / scale
        largest = np.max((largest + np.abs(shift)) / np.abs(scale))
    if isinstance(source, DomainBank):
        kernel, bias = _without_adapter(name, source, kernel, bias, domain)
    if _plain(source).use_bias:
        return [kernel] if bias is None else [kernel, bias]
    exact = keras.backend.standardize_dtype(layer.dtype) in ("float32", "float64")
    if bias is not None and np.abs(bias).max() > (1e-3 if exact else 0.05) * max(largest, 1e-3):
        raise ValueError(
            f"The biases of `fused` must be those that the domain gives. Received: a bias of "
            f"{np.abs(bias).max():.3g} too much in {name!r}, domain={domain!r}. Pass the domain "
            "and the network that were fused."
        )
    return [kernel]


def _without_adapter(
    name: str,
    bank: DomainBank,
    kernel: np.ndarray,
    bias: np.ndarray | None,
    domain: str | None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Undoes `merged_weights`."""
    if isinstance(bank, ParallelAdapter):
        alpha = _float64(bank.adapter_kernel(domain))
        sides = [[(size - 1) // 2] * 2 for size in kernel.shape[:-2]]
        return kernel - np.pad(alpha, [*sides, [0, 0], [0, 0]]), bias
    if not isinstance(bank, SeriesAdapter):
        raise ValueError(
            "Parallel and series adapters can be undone. Received: "
            f"{type(bank).__name__} at {name!r}. Keep the trunk."
        )
    alpha = _float64(bank.adapter_kernel(domain))
    scale, shift = np.ones(len(alpha)), np.zeros(len(alpha))
    if bank.normalize:
        scale, shift = affine_of(bank.part(domain).normalization)
    mix = np.eye(len(alpha)) + scale[:, None] * alpha
    if np.linalg.cond(mix) > 1e6:
        raise ValueError(
            "A series adapter can be undone where 1 + diag(s) alpha is invertible. Received: a "
            f"condition number of {np.linalg.cond(mix):.3g} at {name!r}. Keep the trunk."
        )
    inverse = np.linalg.inv(mix)
    return kernel @ inverse, None if bias is None else (bias - shift @ alpha) @ inverse


def _float64(value: object) -> np.ndarray:
    return ops.convert_to_numpy(value).astype("float64")
