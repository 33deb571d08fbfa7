"""ResNet-12 with the three flows of Omni-Training."""

from typing import Any

import keras

from keras_univrep.applications._build import Classes, Domains, Size, Weights
from keras_univrep.applications._omni import build_omni
from keras_univrep.backbones import ResNet12


def OmniResNet12(
    weights: Weights = None,
    domains: Domains = None,
    classes: Classes = None,
    include_top: bool = True,
    flow: str = "joint",
    input_shape: Size = None,
    **architecture: Any,
) -> keras.Model:
    """Returns a ResNet-12 as an Omni-Net, with classifiers on one of its flows.

    Equation:
        shu2021, eq. 4 to 6: H(F_flow(x)) with the flow `flow` of the three.

    Args:
        weights: As for `UniversalResNet26`.
        domains: As for `UniversalResNet26`.
        classes: As for `UniversalResNet26`.
        include_top: Whether there are classifiers, or the `OmniNet` is returned, which
            `models.OmniTraining` trains; it then needs no `domains`.
        flow: `"joint"`, `"pre"` or `"meta"`: the flow that the classifiers take.
        input_shape: (height, width, channels) of the images: checked, and the channels used.
        **architecture: Arguments of `ResNet12`, and `layers` and `start` of `OmniNet`.

    Returns:
        A `MultiDomainModel` over an `OmniFlow`, or without top the `OmniNet`, called as
        `network(images, flow=...)`.

    Raises:
        ValueError: If the weights are unknown, altered, or made for another architecture.
        FileNotFoundError: If there is no file at the path.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.applications import OmniResNet12
        >>> network = OmniResNet12(include_top=False, width=0.125)
        >>> tuple(network(np.zeros((1, 32, 32, 3), "float32"), flow="meta").shape)
        (1, 80)

    References:
        Shu, Cao, Gao, Wang, Long. Omni-Training for data-efficient deep learning. 2021.
    """
    return build_omni(
        "OmniResNet12", ResNet12, weights, domains, classes, include_top, flow, input_shape,
        architecture,
    )  # fmt: skip
