"""PAD-Net: predictions of all tasks, which then inform one another."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_univrep.backbones._dense_blocks import DenseBlocks, maps_of
from keras_univrep.backbones._dense_checks import check_auxiliary, check_tasks, check_width, scaled
from keras_univrep.backbones._named_tasks import NamedTasks
from keras_univrep.backbones.hrnet18 import HRNet18


@keras.saving.register_keras_serializable(package="keras_univrep")
class PADNet(NamedTasks):
    """The prediction-and-distillation network: a first prediction of each task, then a better one.

    Every task has features of its own, which a first prediction supervises. Each task then takes
    from the features of the others what an attention lets through, and predicts again.

    Equation:
        Xu et al. (2018), multi-modal distillation with attention, for each task k:

            F'_k = F_k + sum_(l != k) sigmoid(W_kl * F_l) V_kl * F_l

        | symbol | here | shape |
        |---|---|---|
        | F_k | features of task k, layer `"<task>_features"` | (batch, h / 4, w / 4, 256) |
        | W_kl, V_kl | 3x3 convolutions `"<k>_from_<l>_attention"`, `"<k>_from_<l>_message"` | |
        | F'_k | layer `"<task>_distilled"` | as F_k |

    Differences: From Xu et al., as li2022 runs it: the trunk is HRNet-18 with its maps joined at
        stride 4, in place of a ResNet-50 and deconvolutions; the tasks of the first and of the
        second prediction are the same; attention comes from the task that sends, one for each
        pair, where Xu et al. compute it from the task that receives and share each message. Left
        open there and chosen here: two bottleneck blocks make a task's features, convolutions of
        the distillation have no bias, and the last heads are those of `HRNet18`.

    Args:
        tasks: Output channels by task, `{"segmentation": 13, "depth": 1, "normals": 3}`.
        width: Factor of all channel numbers.
        channels: Channels of the images, for the backbone that is built here.
        distillation_filters: Channels of each task's features, before `width`.
        normalized: Tasks whose output vectors have unit length; by default `"normals"`, if it is
            among the tasks.
        backbone: A functional model with four maps at the strides 4, 8, 16 and 32, whose layers
            become part of this network; by default a new `HRNet18`.
        dtype: Dtype or policy of all layers; outputs are float32.
        **kwargs: `name` and `trainable` of a Keras model.

    Call arguments:
        images: Images of shape (batch, height, width, channels) in [0, 1]; height and width are
            multiples of 32.
        training: Whether batch normalisation uses the statistics of the batch.

    Returns:
        `{task: (batch, height, width, channels of the task)}`, and after them the first
        predictions of the same shapes, `"<task>_initial"`. The attribute `auxiliary` has the task
        of each of those.

    Raises:
        ValueError: If an argument is none of the above, or a side of the images is no multiple
            of 32.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.backbones import HRNet18, PADNet
        >>> trunk = HRNet18(width=0.1, modules=(1, 1, 1), blocks=1)
        >>> network = PADNet({"depth": 1, "normals": 3}, width=0.1, backbone=trunk)
        >>> outputs = network(np.ones((2, 32, 32, 3), "float32"))
        >>> tuple(outputs["normals"].shape)
        (2, 32, 32, 3)
        >>> network.auxiliary
        {'depth_initial': 'depth', 'normals_initial': 'normals'}

    References:
        - Li, Liu, Bilen. Universal representations: a unified look at multiple task and domain
          learning. 2022.
        - Xu, Ouyang, Wang, Sebe. PAD-Net: multi-tasks guided prediction-and-distillation network
          for simultaneous depth estimation and scene parsing. CVPR 2018.
    """

    def __init__(
        self,
        tasks: Mapping[str, int],
        width: float = 1.0,
        channels: int = 3,
        distillation_filters: int = 256,
        normalized: Sequence[str] | None = None,
        backbone: keras.Model | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        check_width(width)
        tasks, normalized = check_tasks(tasks, normalized)
        auxiliary = {f"{task}_initial": task for task in tasks}
        check_auxiliary(auxiliary, tasks)
        if distillation_filters < 4:
            raise ValueError(
                "`distillation_filters` must be at least 4. Received: "
                f"distillation_filters={distillation_filters}. Pass 256 for the paper's."
            )
        make = DenseBlocks(dtype)
        trunk = backbone or HRNet18(width=width, channels=channels, dtype=dtype)
        joined = make.joined_scales(maps_of(trunk), "features")
        filters = scaled(distillation_filters, width)
        inner = max(1, filters // 4)
        features, initial = {}, {}
        for task, number in tasks.items():
            x = make.bottleneck(joined, inner, filters, f"{task}_block1")
            features[task] = x = make.bottleneck(x, inner, filters, f"{task}_features")
            initial[f"{task}_initial"] = make.head(
                x, number, 4, f"{task}_initial", task in normalized, hidden=False
            )
        distilled = make.distilled(features)  # Xu et al. (2018), section 3.4
        outputs = {
            task: make.head(x, tasks[task], 4, task, task in normalized, hidden=True)
            for task, x in distilled.items()
        }
        super().__init__(inputs=trunk.input, outputs={**outputs, **initial}, **kwargs)
        self.tasks = tasks
        self.width = width
        self.channels = channels
        self.distillation_filters = distillation_filters
        self.normalized = normalized
        self.auxiliary = auxiliary
        self.policy = make.dtype
        # In a function, which Keras does not look into: its layers are this network's already.
        self.backbone = lambda: backbone

    def get_config(self) -> dict[str, Any]:
        backbone = self.backbone()
        return {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": keras.dtype_policies.serialize(self.policy),
            "tasks": dict(self.tasks),
            "width": self.width,
            "channels": self.channels,
            "distillation_filters": self.distillation_filters,
            "normalized": list(self.normalized),
            "backbone": backbone and keras.saving.serialize_keras_object(backbone),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "PADNet":
        """Builds the network that `get_config` describes.

        Args:
            config: What `get_config` gave.
            custom_objects: Classes of the backbone that Keras does not know.

        Returns:
            A network with new weights.
        """
        backbone = config["backbone"]
        if backbone is not None:
            backbone = keras.saving.deserialize_keras_object(backbone, custom_objects)
        return cls(**{**config, "backbone": backbone})
