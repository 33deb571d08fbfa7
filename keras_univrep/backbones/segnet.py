"""SegNet: an encoder and a decoder that one or several dense tasks share."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_univrep.backbones._dense_checks import check_tasks
from keras_univrep.backbones._named_tasks import NamedTasks
from keras_univrep.backbones._segnet_parts import (
    encode_and_decode,
    task_outputs,
    widths,
)


@keras.saving.register_keras_serializable(package="keras_univrep")
class SegNet(NamedTasks):
    """The encoder and decoder of SegNet, with a head for each dense task.

    Thirteen convolutions down, which five poolings halve, thirteen up, which put values back where
    the maxima were, and two convolutions for each task. Layers by name: `"bottleneck"` is the map
    after the fifth pooling, `"features"` the last map of the decoder, where
    `models.MultiTaskModel(network, shared="features")` cuts.

    Equation:
        li2022, eq. 2, with the trunk phi and the head psi_t of each task t:

            y_t = psi_t(phi(x))

        | symbol | here | shape |
        |---|---|---|
        | x | images | (batch, height, width, channels) |
        | phi(x) | map of the layer "features" | (batch, height, width, 64 width) |
        | psi_t | `DenseHead` named "<task>_head" | |
        | y_t | output of task t | (batch, height, width, channels of t) |

    Differences: As in the paper's code, the tasks share one decoder, convolutions have biases
        under batch normalisation, and the heads are two convolutions without either (the paper
        says "decoders"). Classes come as logits, where that code gives the logarithm of the
        softmax. Running variances average the biased variance, PyTorch's the unbiased one.

    Args:
        tasks: Channels of each task by name, e.g. `{"segmentation": 13, "depth": 1,
            "normals": 3}`; `None` for the trunk, whose output is the map "features".
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
        Outputs by task, `{task: (batch, height, width, channels of the task)}`; or the map
        "features".

    Raises:
        ValueError: If an argument is none of the above, or a side is no multiple of 32.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.backbones import SegNet
        >>> network = SegNet({"segmentation": 13, "depth": 1, "normals": 3}, width=0.0625)
        >>> outputs = network(np.ones((1, 32, 64, 3), "float32"))
        >>> {task: tuple(outputs[task].shape) for task in network.tasks}
        {'segmentation': (1, 32, 64, 13), 'depth': (1, 32, 64, 1), 'normals': (1, 32, 64, 3)}

    References:
        - Li, Liu, Bilen. Universal representations: a unified look at multiple task and domain
          learning. 2022.
        - Badrinarayanan, Kendall, Cipolla. SegNet: a deep convolutional encoder-decoder
          architecture for image segmentation. TPAMI 2017.
    """

    def __init__(
        self,
        tasks: Mapping[str, int] | None = None,
        width: float = 1.0,
        channels: int = 3,
        normalized: Sequence[str] | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
        filters = widths(width)
        if tasks is not None or normalized:
            tasks, normalized = check_tasks(tasks or {}, normalized)
        images = keras.Input((None, None, channels), name="images")
        maps = encode_and_decode(images, filters, policy)
        outputs: Any = maps.decoder[0]
        if tasks is not None:
            features = dict.fromkeys(tasks, maps.decoder[0])
            outputs = task_outputs(features, tasks, filters[0], normalized or (), policy)
        super().__init__(inputs=images, outputs=outputs, **kwargs)
        self.dtype_policy = policy
        self.tasks = tasks
        self.width = width
        self.channels = channels
        self.normalized = tuple(normalized or ())
        self.filters = filters[0]

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "tasks": self.tasks if self.tasks is None else dict(self.tasks),
            "width": self.width,
            "channels": self.channels,
            "normalized": list(self.normalized),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "SegNet":
        """Builds the network anew from its arguments."""
        return cls(**config)
