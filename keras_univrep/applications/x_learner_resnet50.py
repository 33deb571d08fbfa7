"""ResNet-50 as X-Learner squeezes it, with a classifier for each of several sources."""

from typing import Any

import keras

from keras_univrep.applications._build import Classes, Domains, Size, Weights, build_classifier
from keras_univrep.backbones import ResNet50


def XLearnerResNet50(
    weights: Weights = None,
    domains: Domains = None,
    classes: Classes = None,
    include_top: bool = True,
    input_shape: Size = None,
    **architecture: Any,
) -> keras.Model:
    """Returns a ResNet-50 that serves the sources of X-Learner, after its squeeze stage.

    What `models.XLearnerSqueeze` trains is one backbone of the size of a single network: this one.

    Equation:
        he2022, section 3.3: G = squeeze(F), with F the expanded backbone and G this one.

    Args:
        weights: As for `UniversalResNet26`.
        domains: Sources of classes, as for `UniversalResNet26`.
        classes: As for `UniversalResNet26`.
        include_top: Whether the classifiers are part of the model, or the backbone is returned,
            with the maps of its four levels for dense heads; it then needs no `domains`.
        input_shape: (height, width, channels) of the images: checked, and the channels used.
        **architecture: Arguments of `ResNet50`; `pooling="avg"` is the default with `domains`.

    Returns:
        A `MultiDomainModel`, or without top a `ResNet50`: of features (batch, 2048 width) where
        `domains` were given, of `{"level2": ..., "level5": ...}` where not.

    Raises:
        ValueError: If the weights are unknown, altered, or made for another architecture.
        FileNotFoundError: If there is no file at the path.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.applications import XLearnerResNet50
        >>> network = XLearnerResNet50(None, include_top=False, width=0.0625)
        >>> tuple(network(np.zeros((1, 64, 64, 3), "float32"))["level5"].shape)
        (1, 2, 2, 128)

    References:
        He et al. X-Learner: learning cross sources and tasks for universal visual representation.
        ECCV 2022.
    """
    return build_classifier(
        "XLearnerResNet50", _backbone, weights, include_top, domains, classes, input_shape,
        architecture,
    )  # fmt: skip


def _backbone(names: list[str] | None, **architecture: Any) -> keras.Model:
    pooling = architecture.pop("pooling", "avg" if names else None)
    return ResNet50(pooling=pooling, name="backbone", **architecture)
