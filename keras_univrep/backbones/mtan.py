"""MTAN: SegNet with an attention network for each task."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_univrep.backbones._convolution_unit import ConvolutionUnit
from keras_univrep.backbones._dense_checks import check_tasks
from keras_univrep.backbones._named_tasks import NamedTasks
from keras_univrep.backbones._segnet_parts import (
    Maps,
    decoded,
    encode_and_decode,
    task_outputs,
    widths,
)
from keras_univrep.layers import BilinearResize, MaxPoolWithIndices
from keras_univrep.types import Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class MTAN(NamedTasks):
    """The multi-task attention network on SegNet: each task weighs the channels it attends to.

    Beside the shared encoder and decoder of `SegNet`, each task has ten attention modules, whose
    masks in [0, 1] choose from the shared maps; the convolutions between the modules are shared
    too. The last map of a task is the layer `"<task>_features"`.

    Equation:
        The baseline MTAN of li2022, section 5.1, is that of Liu, Johns, Davison (2019). For task t
        at level j, with the shared maps p_j and u_j, attention network g, convolution f, and [;]
        the concatenation of channels:

            a_t^1 = sigmoid(g_t^1(u_1)) p_1
            a_t^j = sigmoid(g_t^j([u_j; P(f^(j-1)(a_t^(j-1)))])) p_j      (encoder: equations 1, 2)
            a_t^j = sigmoid(g_t^j([u_j; f^j(U(a_t^(j-1)))])) p_j          (decoder: equations 1, 3)

        | symbol | here | shape |
        |---|---|---|
        | u_j | after the first convolution; decoder: the unpooled map | (batch, h_j, w_j, .) |
        | p_j | after the last convolution of the level | (batch, h_j, w_j, .) |
        | g_t^j | 1x1 convolution, normalisation, ReLU; 1x1 convolution, normalisation | |
        | f^j | 3x3 convolution, normalisation, ReLU, shared by the tasks | |
        | P, U | 2x2 max-pooling; bilinear doubling that keeps the corners | |

    Differences: As in the authors' code: the decoder's first module follows the last pooled map of
        the task's encoder, and the paper's "shared" f's are called on each task in turn, so that
        their normalisations see one task at a time, and their moving statistics move once for
        each task. Of the 44,229,076 parameters that are reported for 13 classes, depth and normals
        3 are weights of the losses, which are not of the network (`balancers.Uncertainty`).

    Args:
        tasks: Channels of each task by name, e.g. `{"segmentation": 13, "depth": 1,
            "normals": 3}`.
        width: Factor of all channel numbers, of the heads' inner ones too.
        channels: Channels of the images.
        normalized: Tasks whose outputs get the length 1 at each pixel; by default `"normals"`, if
            that is a task.
        dtype: Of all layers, as for any Keras layer.
        **kwargs: `name` of a Keras model.

    Call arguments:
        images: Images of shape (batch, height, width, channels) in [0, 1], height and width
            multiples of 32.
        training: Whether batch normalisation uses the statistics of the batch.

    Returns:
        Outputs by task, `{task: (batch, height, width, channels of the task)}`.

    Raises:
        ValueError: If an argument is none of the above, or a side is no multiple of 32.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.backbones import MTAN
        >>> network = MTAN({"segmentation": 7, "depth": 1}, width=0.0625)
        >>> outputs = network(np.ones((1, 32, 32, 3), "float32"))
        >>> {task: tuple(outputs[task].shape) for task in network.tasks}
        {'segmentation': (1, 32, 32, 7), 'depth': (1, 32, 32, 1)}

    References:
        - Liu, Johns, Davison. End-to-end multi-task learning with attention. CVPR 2019.
        - Li, Liu, Bilen. Universal representations: a unified look at multiple task and domain
          learning. 2022.
    """

    def __init__(
        self,
        tasks: Mapping[str, int],
        width: float = 1.0,
        channels: int = 3,
        normalized: Sequence[str] | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
        tasks, normalized = check_tasks(tasks, normalized)
        filters = widths(width)
        images = keras.Input((None, None, channels), name="images")
        maps = encode_and_decode(images, filters, policy)
        features = _attend(maps, filters, list(tasks), policy)
        outputs = task_outputs(features, tasks, filters[0], normalized, policy)
        super().__init__(inputs=images, outputs=outputs, **kwargs)
        self.dtype_policy = policy
        self.tasks = tasks
        self.width = width
        self.channels = channels
        self.normalized = normalized
        self.filters = filters[0]

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "tasks": dict(self.tasks),
            "width": self.width,
            "channels": self.channels,
            "normalized": list(self.normalized),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "MTAN":
        """Builds the network anew from its arguments."""
        return cls(**config)


def _attend(maps: Maps, filters: list[int], tasks: list[str], dtype: Any) -> dict[str, Tensor]:
    """The last attended map of each task."""
    levels = range(len(filters))
    down = [
        ConvolutionUnit(
            filters[min(level + 1, levels[-1])], 3, f"encoder{level + 1}_between", dtype
        )
        for level in levels
    ]
    up = [
        ConvolutionUnit(decoded(filters, level), 3, f"decoder{level + 1}_between", dtype)
        for level in levels
    ]
    features = {}
    for task in tasks:
        x: Tensor = None
        for level in levels:
            name = f"{task}_encoder{level + 1}"
            start, end = maps.encoder[level]
            if x is not None:
                start = keras.layers.Concatenate(name=f"{name}_concat", dtype=dtype)([start, x])
            mask = _mask(start, filters[level], name, dtype)
            x = keras.layers.Multiply(name=f"{name}_attended", dtype=dtype)([mask, end])
            x, _ = MaxPoolWithIndices(name=f"{name}_pool", dtype=dtype)(down[level](x))
        for level in reversed(levels):
            name = f"{task}_decoder{level + 1}"
            x = up[level](
                BilinearResize(2, align_corners=True, name=f"{name}_resize", dtype=dtype)(x)
            )
            start = keras.layers.Concatenate(name=f"{name}_concat", dtype=dtype)(
                [maps.unpooled[level], x]
            )
            mask = _mask(start, decoded(filters, level), name, dtype)
            last = f"{task}_features" if level == 0 else f"{name}_attended"
            x = keras.layers.Multiply(name=last, dtype=dtype)([mask, maps.decoder[level]])
        features[task] = x
    return features


def _mask(x: Tensor, filters: int, name: str, dtype: Any) -> Tensor:
    x = ConvolutionUnit(filters, 1, f"{name}_attention1", dtype)(x)
    return ConvolutionUnit(filters, 1, f"{name}_attention2", dtype, activation="sigmoid")(x)
