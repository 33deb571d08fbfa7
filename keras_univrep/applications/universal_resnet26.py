"""ResNet-26 with a classifier for each of several domains, with trained weights."""

from typing import Any

import keras

from keras_univrep.applications._build import Classes, Domains, Size, Weights, build_classifier
from keras_univrep.backbones import AdaptedBackbone, ResNet26


def UniversalResNet26(
    weights: Weights = "five_domains",
    domains: Domains = None,
    classes: Classes = None,
    include_top: bool = True,
    input_shape: Size = None,
    **architecture: Any,
) -> keras.Model:
    """Returns a ResNet-26 that serves several domains, trained if `weights` says so.

    Equation:
        li2022, eq. 2 and 3: logits h_t(f(x)) of the domain t, with f shared by all; with adapters,
        rebuffi2018, section 3: h_t(f(x; w, alpha_t)).

    Args:
        weights: A name of `list_weights()`, the path of a `.weights.h5` file of a network with
            these arguments, or `None` for random weights.
        domains: Number of classes by domain, or names of domains with `classes` beside them. Of
            named weights: some of their domains, all by default.
        classes: Number of classes: of each domain in their order or by name, one number for all, or
            that of the only domain, which is then called "images". Not with named weights.
        include_top: Whether the classifiers are part of the model, or the backbone is returned,
            which gives features (batch, channels); it then needs no `domains`.
        input_shape: (height, width, channels) of the images: checked, and the channels used. Other
            sizes that are multiples of 8 are taken too.
        **architecture: Arguments of `ResNet26`, and `frozen_trunk=True` for parts of the domains
            over a trunk that does not train (`AdaptedBackbone`): domains can then be added, packed
            and dropped. Come with named weights.

    Returns:
        A `MultiDomainModel`. Called with `{domain: images}` or `(images, domain=name)`; images are
        normalised by `preprocess_input`. Without top, its backbone.

    Raises:
        ValueError: If the weights are unknown, altered, or made for another architecture.
        FileNotFoundError: If there is no file at the path.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.applications import UniversalResNet26
        >>> model = UniversalResNet26(weights="five_domains")
        >>> tuple(model(np.zeros((1, 32, 32, 3), "float32"), domain="eurosat").shape)
        (1, 10)

    References:
        - Li, Liu, Bilen. Universal representations: a unified look at multiple task and domain
          learning. 2022.
        - Rebuffi, Bilen, Vedaldi. Efficient parametrization of multi-domain deep neural networks.
          CVPR 2018.
    """
    return build_classifier(
        "UniversalResNet26", _backbone, weights, include_top, domains, classes, input_shape,
        architecture, multiple=8,
    )  # fmt: skip


def _backbone(
    names: list[str] | None,
    frozen_trunk: bool = False,
    adapter: str | None = None,
    placement: Any = "all",
    normalization: str | None = None,
    **architecture: Any,
) -> keras.Model:
    if frozen_trunk:
        trunk = ResNet26(name="trunk", **architecture)
        if names is None:
            return trunk
        return AdaptedBackbone(
            trunk, names, adapter, placement, normalization or "domain", name="backbone"
        )
    own = adapter is not None or normalization == "domain"
    return ResNet26(
        names if own else None, adapter, placement, normalization, name="backbone", **architecture
    )
