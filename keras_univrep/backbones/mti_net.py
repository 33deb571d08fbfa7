"""MTI-Net: tasks inform one another at each of four scales."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_univrep.backbones._dense_blocks import DenseBlocks, maps_of
from keras_univrep.backbones._dense_checks import check_auxiliary, check_tasks, check_width
from keras_univrep.backbones._named_tasks import NamedTasks
from keras_univrep.backbones.hrnet18 import HRNet18
from keras_univrep.types import Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class MTINet(NamedTasks):
    """The multi-scale task interaction network.

    From the coarsest scale to the finest every task makes features and a first prediction. What
    the tasks found at a scale is propagated to the next finer one. At each scale the tasks then
    distil from one another, and each task predicts from its features of all scales.

    Equation:
        Vandenhende et al. (2020). Distillation at scale s, for each task k:

            F'_k = F_k + sum_(l != k) sigmoid(W_kl * F_l) V_kl * F_l

        Propagation from scale s to the next finer one:

            M = softmax over tasks of f([F_1 .. F_T])
            S = g([M_1 F_1 .. M_T F_T])
            P_k = F_k + SE_k(S)

        | symbol | here | shape |
        |---|---|---|
        | F_k | `"<task>_features_scale<s>"` | (batch, h / 2^(s+1), w / 2^(s+1), C_s) |
        | F'_k | `"<task>_distilled_scale<s>"` | as F_k |
        | W_kl | 3x3 convolution, `"<k>_from_<l>_scale<s>_attention"` | to C_s |
        | V_kl | 3x3 convolution, `"<k>_from_<l>_scale<s>_message"` | to C_s |
        | f | two residual blocks of T C_s / 4 channels, and a 1x1 convolution | to T C_s |
        | S, g | residual block, `"propagation<s>_shared"` | to C_s |
        | SE_k | squeeze and excitation by 16 | |
        | P_k | `"<task>_propagated<s>"`, joined to the backbone's next map at its size | as F_k |

    Differences: Left open by the paper and chosen here: two residual blocks make a task's features
        at a scale; convolutions of the distillation and squeeze and excitation have no bias; maps
        are up-sampled bilinearly with half-pixel centres; the last heads are those of `HRNet18`.

    Args:
        tasks: Output channels by task, `{"segmentation": 13, "depth": 1, "normals": 3}`.
        width: Factor of all channel numbers of the backbone that is built here, and so of all
            others, which follow its maps.
        channels: Channels of the images, for the backbone that is built here.
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
        predictions of the same shapes, `"<task>_scale1"` (of stride 4) to `"<task>_scale4"`. The
        attribute `auxiliary` has the task of each of those.

    Raises:
        ValueError: If an argument is none of the above, or a side of the images is no multiple
            of 32.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.backbones import HRNet18, MTINet
        >>> trunk = HRNet18(width=0.1, modules=(1, 1, 1), blocks=1)
        >>> network = MTINet({"depth": 1, "normals": 3}, backbone=trunk)
        >>> outputs = network(np.ones((2, 32, 32, 3), "float32"))
        >>> tuple(outputs["depth_scale4"].shape)
        (2, 32, 32, 1)
        >>> network.auxiliary["depth_scale4"]
        'depth'

    References:
        - Li, Liu, Bilen. Universal representations: a unified look at multiple task and domain
          learning. 2022.
        - Vandenhende, Georgoulis, Van Gool. MTI-Net: multi-scale task interaction networks for
          multi-task learning. ECCV 2020.
        - Hu, Shen, Sun. Squeeze-and-excitation networks. CVPR 2018.
    """

    def __init__(
        self,
        tasks: Mapping[str, int],
        width: float = 1.0,
        channels: int = 3,
        normalized: Sequence[str] | None = None,
        backbone: keras.Model | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        check_width(width)
        tasks, normalized = check_tasks(tasks, normalized)
        auxiliary = {f"{task}_scale{scale}": task for task in tasks for scale in (1, 2, 3, 4)}
        check_auxiliary(auxiliary, tasks)
        make = DenseBlocks(dtype)
        trunk = backbone or HRNet18(width=width, channels=channels, dtype=dtype)
        maps = maps_of(trunk)
        initial: dict[str, Tensor] = {}
        scales: dict[str, list[Tensor]] = {task: [] for task in tasks}
        propagated: dict[str, Tensor] = {}
        for scale in (4, 3, 2, 1):
            x = maps[scale - 1]
            features = {}
            for task, number in tasks.items():
                name = f"{task}_features_scale{scale}"
                taken = x
                if propagated:
                    up = make.enlarged(propagated[task], 2, f"{name}_enlarged")
                    taken = make.joined([x, up], f"{name}_joined")
                taken = make.basic(taken, x.shape[-1], f"{name}_block1")
                features[task] = taken = make.basic(taken, x.shape[-1], name)
                initial[f"{task}_scale{scale}"] = make.head(
                    taken,
                    number,
                    2 ** (scale + 1),
                    f"{task}_scale{scale}",
                    task in normalized,
                    hidden=False,
                )
            if scale > 1:
                propagated = _propagated(make, features, scale)
            # Vandenhende et al. (2020), section 3.2
            for task, distilled in make.distilled(features, f"_scale{scale}").items():
                scales[task].insert(0, distilled)
        outputs = {}
        for task, number in tasks.items():
            joined = make.joined_scales(scales[task], f"{task}_features")
            outputs[task] = make.head(joined, number, 4, task, task in normalized, hidden=True)
        super().__init__(
            inputs=trunk.input,
            outputs={**outputs, **{name: initial[name] for name in auxiliary}},
            **kwargs,
        )
        self.tasks = tasks
        self.width = width
        self.channels = channels
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
            "normalized": list(self.normalized),
            "backbone": backbone and keras.saving.serialize_keras_object(backbone),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "MTINet":
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


def _propagated(make: DenseBlocks, features: Mapping[str, Tensor], scale: int) -> dict[str, Tensor]:
    """What each task hands to the next finer scale; Vandenhende et al. (2020), section 3.3."""
    joined = make.joined(list(features.values()), f"propagation{scale}_joined")
    number = joined.shape[-1]
    x = joined
    for block in (1, 2):
        x = make.basic(x, max(1, number // 4), f"propagation{scale}_block{block}")
    logits = make.conv(x, number, 1, f"propagation{scale}_logits")
    x = make.attended(logits, joined, len(features), f"propagation{scale}_attended")
    shared = make.basic(x, number // len(features), f"propagation{scale}_shared")
    return {
        task: make.added(
            [own, make.excited(shared, f"{task}_excited{scale}")], f"{task}_propagated{scale}"
        )
        for task, own in features.items()
    }
