"""MTAN on SegNet for several dense tasks, with trained weights where there are."""

from collections.abc import Mapping
from typing import Any

import keras

from keras_univrep.applications._build import Size, Weights, build_dense
from keras_univrep.backbones import MTAN


def MTANSegNet(
    weights: Weights = None,
    tasks: Mapping[str, int] | None = None,
    include_top: bool = True,
    input_shape: Size = None,
    **architecture: Any,
) -> keras.Model:
    """Returns the multi-task attention network on SegNet, a baseline of the dense tasks.

    Equation:
        li2022, section 5.1, baseline MTAN: y_t = psi_t(phi_t(x)), attention of each task t on phi.

    Args:
        weights: A name of `list_weights()`, the path of a `.weights.h5` file of a network with
            these arguments, or `None` for random weights.
        tasks: Channels of each task, such as `{"segmentation": 13, "depth": 1, "normals": 3}`.
            Come with named weights.
        include_top: Whether the heads are part of the model, or the maps under them are returned.
        input_shape: (height, width, channels) of the images: checked, and the channels used. Other
            sizes that are multiples of 32 are taken too.
        **architecture: Arguments of `MTAN`.

    Returns:
        An `MTAN`: `{task: (batch, height, width, channels of the task)}`. Without top a model of
        the last map of each task, `{task: (batch, height, width, 64 width)}`.

    Raises:
        ValueError: If the weights are unknown, altered, or made for another architecture.
        FileNotFoundError: If there is no file at the path.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.applications import MTANSegNet
        >>> network = MTANSegNet(None, {"depth": 1, "normals": 3}, width=0.0625)
        >>> maps = network(np.zeros((1, 32, 64, 3), "float32"))
        >>> tuple(maps["normals"].shape)
        (1, 32, 64, 3)

    References:
        - Li, Liu, Bilen. Universal representations: a unified look at multiple task and domain
          learning. 2022.
        - Liu, Johns, Davison. End-to-end multi-task learning with attention. CVPR 2019.
    """
    return build_dense(
        "MTANSegNet", MTAN, weights, include_top, tasks, input_shape, architecture,
        "{task}_features",
    )  # fmt: skip
