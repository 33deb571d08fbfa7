"""ResNet-26 with a classifier for each of several domains, with trained weights."""

import pathlib
from collections.abc import Mapping
from typing import Any

from keras_univrep.applications.weights_registry import find_weights
from keras_univrep.backbones import ResNet26
from keras_univrep.models import MultiDomainModel


def UniversalResNet26(
    weights: str | pathlib.Path | None = "five_domains",
    domains: Mapping[str, int] | None = None,
    **architecture: Any,
) -> MultiDomainModel:
    """Returns a ResNet-26 that serves several domains, trained if `weights` says so.

    Equation:
        li2022, eq. 2 and 3: logits h_t(f(x)) of the domain t, with f shared by all.

    Args:
        weights: A name of `list_weights()`, the path of a `.weights.h5` file, or `None` for random
            weights.
        domains: Number of classes by domain. Comes with named weights; else it is required.
        **architecture: Arguments of `ResNet26`. Come with named weights.

    Returns:
        A `MultiDomainModel`. Called with `{domain: images}` or `(images, domain=name)`; images are
        normalised as by the domain's `mean` and `std`.

    Raises:
        ValueError: If the weights are unknown, altered, or made for another architecture.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.applications import UniversalResNet26
        >>> model = UniversalResNet26(weights="five_domains")
        >>> tuple(model(np.zeros((1, 32, 32, 3), "float32"), domain="eurosat").shape)
        (1, 10)

    References:
        Li, Liu, Bilen. Universal representations: a unified look at multiple task and domain
        learning. 2022.
    """
    path: pathlib.Path | None = None
    if weights is not None and not str(weights).endswith(".h5"):
        entry, path = find_weights(str(weights))
        if architecture or (domains is not None and dict(domains) != entry["num_classes"]):
            raise ValueError(
                f"Weights {weights!r} bring their own architecture and domains: "
                f"{entry['architecture']}, {entry['num_classes']}. Received: {architecture}, "
                f"domains={domains}. Pass weights=None to choose them."
            )
        architecture, domains = entry["architecture"], entry["num_classes"]
    elif weights is not None:
        path = pathlib.Path(weights)
    if domains is None:
        raise ValueError(
            "`domains` must give the number of classes of each domain. Received: domains=None. "
            "Pass, for example, domains={'eurosat': 10}."
        )
    names = list(domains) if _has_domain_parts(architecture) else None
    backbone = ResNet26(domains=names, name="backbone", **architecture)
    model = MultiDomainModel(backbone, domains, name="universal_resnet26")
    if path is not None:
        model.load_weights(path)
    return model


def _has_domain_parts(architecture: Mapping[str, Any]) -> bool:
    return bool(architecture.get("adapter")) or architecture.get("normalization") == "domain"
