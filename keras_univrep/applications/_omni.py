"""What the constructors of Omni-Nets share."""

from collections.abc import Callable, Mapping
from typing import Any

import keras

from keras_univrep.applications._build import Classes, Domains, Size, Weights, build_classifier
from keras_univrep.backbones import OmniFlow, OmniNet


def build_omni(
    constructor: str,
    trunk: Callable[..., keras.Model],
    weights: Weights,
    domains: Domains,
    classes: Classes,
    include_top: bool,
    flow: str,
    input_shape: Size,
    architecture: Mapping[str, Any],
    multiple: int = 1,
) -> keras.Model:
    """Classifiers on one flow of an Omni-Net over `trunk(**architecture)`, or the Omni-Net."""

    def backbone(names: list[str] | None, **options: Any) -> keras.Model:
        own = {name: options.pop(name) for name in ("layers", "start") if name in options}
        network = OmniNet(trunk(name="trunk", **options), name="network", **own)
        return network if names is None else OmniFlow(network, flow, name="backbone")

    model = build_classifier(
        constructor, backbone, weights, include_top, domains, classes, input_shape, architecture,
        multiple,
    )  # fmt: skip
    return model.network if isinstance(model, OmniFlow) else model
