"""Unstructured pruning: the smallest weights are set to zero, for good."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_univrep.compression._copying import copy_variables, named_as, walk
from keras_univrep.compression._kept_weights import KeptWeights

SCOPES = ("global", "layer")


def prune(
    model: keras.Model,
    sparsity: float = 0.5,
    scope: str = "global",
    choose: Callable[[keras.layers.Layer], bool] | None = None,
) -> keras.Model:
    """Returns a copy of a model whose smallest weights are zero and stay zero.

    The squeeze of X-Learner_p. Training goes on from the copy with any optimizer: after each step
    the dropped weights are zero again. Saved and loaded they still are, as the masks are part of
    the layers' configuration. Pruning again, to more, keeps what is zero.

    Equation:
        he2022, section 3.4, by Liu et al. (2019), for the weights w_1 .. w_n of all kernels (or of
        each), with the order pi of their magnitudes:

            w_(pi(1)) = .. = w_(pi(m)) = 0,    m = round(sparsity n)

    Differences: he2022 prints neither the rate nor what is pruned. The default drops as many
        weights over all convolutions and dense layers as two sub-backbones have more than one. Of
        several equal magnitudes the first in the model are dropped, so that the number is exact.
        Biases and normalisations are left.

    Args:
        model: A built model that saves the configuration of its layers, as functional ones do,
            `ResNet50` and `XLearnerExpansion`; it is left as it is.
        sparsity: Share of the kernels' weights to drop, in [0, 1).
        scope: `"global"` for one threshold, `"layer"` for the same share of each kernel.
        choose: Which convolutions and dense layers to prune, a function of the layer; by default
            all that train.

    Returns:
        A model of the same kind, not compiled, with as many variables as before.

    Raises:
        ValueError: If an argument is none of the above, no layer is to be pruned, or one would
            lose its mask with the file.

    Example:
        >>> import keras, numpy as np
        >>> from keras_univrep.compression import prune
        >>> images = keras.Input((8, 8, 3))
        >>> model = keras.Model(images, keras.layers.Conv2D(4, 3, name="conv")(images))
        >>> pruned = prune(model, 0.75)
        >>> int(np.count_nonzero(keras.ops.convert_to_numpy(pruned.get_layer("conv").kernel)))
        27

    References:
        - He et al. X-Learner: learning cross sources and tasks for universal visual
          representation. ECCV 2022.
        - Liu, Sun, Zhou, Huang, Darrell. Rethinking the value of network pruning. ICLR 2019.
    """
    if not 0.0 <= sparsity < 1.0:
        raise ValueError(
            "`sparsity` must be in [0, 1). Received: "
            f"sparsity={sparsity!r}. Pass 0.5 to drop every other weight."
        )
    if scope not in SCOPES:
        raise ValueError(
            f"`scope` must be one of {list(SCOPES)}. Received: scope={scope!r}. Pass one of these."
        )
    copy = _copied(model)
    kernels = {
        name: np.array(ops.convert_to_numpy(layer.kernel), "float32")
        for name, layer in _prunable(copy, choose).items()
    }
    if not kernels:
        raise ValueError(
            "`model` must have convolutions or dense layers to prune, whose kernels train. "
            f"Received: {type(model).__name__} {model.name!r} with none that was chosen. Unfreeze "
            "it, or let `choose` take some."
        )
    layers = dict(walk(copy))
    for name, mask in _masks(kernels, sparsity, scope).items():
        constrain(layers[name], KeptWeights(mask))
        layers[name].kernel.assign(kernels[name] * mask)
    return copy


def constrain(layer: keras.layers.Layer, constraint: KeptWeights) -> None:
    """Gives a built layer a constraint, as if it had been made with it."""
    layer.kernel_constraint = constraint
    layer.kernel.constraint = constraint


def _copied(model: keras.Model) -> keras.Model:
    copy = type(model).from_config(model.get_config())
    copies = named_as(model, copy)
    copy_variables(model, copy)
    for name, layer in walk(model):
        copy_variables(layer, copies[name])
    return copy


def _prunable(
    copy: keras.Model, choose: Callable[[keras.layers.Layer], bool] | None
) -> dict[str, keras.layers.Layer]:
    """The chosen layers, of which the configuration of the model must keep the constraints."""
    found: dict[str, Any] = {}
    for name, layer in walk(copy):
        kernel = getattr(layer, "kernel", None)
        if (
            isinstance(kernel, keras.Variable)
            and hasattr(layer, "kernel_constraint")
            and kernel.trainable
            and (choose is None or choose(layer))
        ):
            found[name] = (layer, layer.kernel_constraint)
            # As a probe; no layer is left with it.
            layer.kernel_constraint = KeptWeights(np.ones(tuple(kernel.shape), bool))
    try:
        again = named_as(copy, type(copy).from_config(copy.get_config()))
    finally:
        for layer, constraint in found.values():
            layer.kernel_constraint = constraint
    lost = [n for n in found if not isinstance(again[n].kernel_constraint, KeptWeights)]
    if lost:
        raise ValueError(
            "`model` must save its layers one by one, or the masks would be lost with the file. "
            f"Received: {type(copy).__name__} {copy.name!r}, which makes {lost[0]!r} and "
            f"{len(lost) - 1} more layers itself. Build it as a functional model, or leave them "
            "out with `choose`."
        )
    return {name: layer for name, (layer, _) in found.items()}


def _masks(kernels: Mapping[str, np.ndarray], sparsity: float, scope: str) -> dict[str, np.ndarray]:
    """True where a weight is kept."""
    if scope == "layer":
        groups = [[name] for name in kernels]
    else:
        groups = [list(kernels)]
    masks = {}
    for names in groups:
        sizes = np.cumsum([kernels[name].size for name in names])
        magnitudes = np.concatenate([np.abs(kernels[name]).ravel() for name in names])
        order = np.argsort(magnitudes, kind="stable")
        kept = np.ones(len(order), bool)
        kept[order[: round(sparsity * len(order))]] = False
        for name, part in zip(names, np.split(kept, sizes[:-1]), strict=True):
            masks[name] = part.reshape(kernels[name].shape)
    return masks
