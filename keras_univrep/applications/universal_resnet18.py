"""ResNet-18 for images of about 84 pixels, with a classifier for each of several domains."""

from typing import Any

import keras

from keras_univrep.applications._build import Classes, Domains, Size, Weights, build_classifier
from keras_univrep.backbones import ResNet18


def UniversalResNet18(
    weights: Weights = None,
    domains: Domains = None,
    classes: Classes = None,
    include_top: bool = True,
    input_shape: Size = None,
    **architecture: Any,
) -> keras.Model:
    """Returns the ResNet-18 of the few-shot experiments over many domains (URL).

    Equation:
        li2022, eq. 2 and 3: logits h_t(f(x)) of the domain t, with f shared by all.

    Args:
        weights: As for `UniversalResNet26`; `conversion.from_torch` reads the authors' own.
        domains: As for `UniversalResNet26`.
        classes: As for `UniversalResNet26`.
        include_top: Whether the classifiers are part of the model, or the backbone is returned,
            whose features few-shot classifiers work on; it then needs no `domains`.
        input_shape: (height, width, channels) of the images: checked, and the channels used.
        **architecture: Arguments of `ResNet18`.

    Returns:
        A `MultiDomainModel`, or without top a `ResNet18` of features (batch, 512 width).

    Raises:
        ValueError: If the weights are unknown, altered, or made for another architecture.
        FileNotFoundError: If there is no file at the path.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.applications import UniversalResNet18
        >>> model = UniversalResNet18(None, domains=["birds", "signs"], classes=[5, 3], width=0.125)
        >>> tuple(model(np.zeros((1, 84, 84, 3), "float32"), domain="signs").shape)
        (1, 3)

    References:
        Li, Liu, Bilen. Universal representations: a unified look at multiple task and domain
        learning. 2022.
    """
    return build_classifier(
        "UniversalResNet18", _backbone, weights, include_top, domains, classes, input_shape,
        architecture,
    )  # fmt: skip


def _backbone(names: list[str] | None, **architecture: Any) -> keras.Model:
    return ResNet18(name="backbone", **architecture)
