"""MTI-Net on HRNet-18 for several dense tasks, with trained weights where there are."""

from collections.abc import Mapping
from typing import Any

import keras

from keras_univrep import backbones
from keras_univrep.applications._build import Size, Weights, build_dense
from keras_univrep.backbones import HRNet18


def MTINet(
    weights: Weights = None,
    tasks: Mapping[str, int] | None = None,
    include_top: bool = True,
    input_shape: Size = None,
    **architecture: Any,
) -> keras.Model:
    """Returns the multi-scale task interaction network on HRNet-18.

    Equation:
        li2022, section 5.1, MTI-Net: y_t = psi_t(F_t), with F_t joined from four scales.

    Args:
        weights: A name of `list_weights()`, the path of a `.weights.h5` file of a network with
            these arguments, or `None` for random weights.
        tasks: Channels of each task, such as `{"segmentation": 13, "depth": 1, "normals": 3}`.
            Come with named weights.
        include_top: Whether the heads are part of the model, or the maps under them are returned.
        input_shape: (height, width, channels) of the images: checked, and the channels used. Other
            sizes that are multiples of 32 are taken too.
        **architecture: Arguments of `backbones.MTINet`, and `modules` and `blocks` of `HRNet18`.

    Returns:
        A `backbones.MTINet`: `{task: (batch, height, width, channels of the task)}` and the first
        predictions. Without top a model of the joined maps, `{task: (batch, height / 4, ...)}`.

    Raises:
        ValueError: If the weights are unknown, altered, or made for another architecture.
        FileNotFoundError: If there is no file at the path.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.applications import MTINet
        >>> small = {"width": 0.1, "modules": (1, 1, 1), "blocks": 1}
        >>> network = MTINet(None, {"depth": 1, "normals": 3}, **small)
        >>> maps = network(np.zeros((1, 32, 64, 3), "float32"))
        >>> tuple(maps["normals"].shape)
        (1, 32, 64, 3)

    References:
        - Li, Liu, Bilen. Universal representations: a unified look at multiple task and domain
          learning. 2022.
        - Vandenhende, Georgoulis, Van Gool. MTI-Net: multi-scale task interaction networks for
          multi-task learning. ECCV 2020.
    """
    return build_dense(
        "MTINet", _network, weights, include_top, tasks, input_shape, architecture,
        "{task}_features",
    )  # fmt: skip


def _network(tasks: Mapping[str, int], **architecture: Any) -> keras.Model:
    # A small trunk for small networks: `modules` and `blocks` are the trunk's.
    own = {key: architecture.pop(key) for key in ("modules", "blocks") if key in architecture}
    if own:
        shared = {key: architecture[key] for key in ("width", "channels") if key in architecture}
        architecture = {**architecture, "backbone": HRNet18(**own, **shared)}
    return backbones.MTINet(tasks, **architecture)
