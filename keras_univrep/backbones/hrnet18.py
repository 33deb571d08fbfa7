"""HRNet-18: maps of four resolutions side by side, for dense prediction."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_univrep.backbones._dense_blocks import DenseBlocks
from keras_univrep.backbones._dense_checks import check_tasks, check_width, scaled
from keras_univrep.types import Tensor

FILTERS = (18, 36, 72, 144)


@keras.saving.register_keras_serializable(package="keras_univrep")
class HRNet18(keras.Model):
    """The high-resolution network that keeps four resolutions and lets them exchange their maps.

    A stem of stride 4, a stage of bottlenecks, and three stages which each add a branch of half
    the resolution and twice the channels. With `tasks` a head on all four maps for each, which is
    the usual multi-task baseline; without, the four maps.

    Equation:
        Sun et al. (2019), the exchange at the end of a module, for each of its branches i:

            y_i = max(sum_j T_ij(x_j), 0)

        | symbol | here | shape |
        |---|---|---|
        | x_j | residual blocks of branch j = 1 .. 4 | (batch, h / 2^(j+1), w / 2^(j+1), 9 2^j) |
        | T_ij, i = j | identity | |
        | T_ij, i < j | 1x1 convolution, normalisation, up-sampling by 2^(j-i) | |
        | T_ij, i > j | i - j 3x3 convolutions of stride 2, each normalised, ReLU between them | |

    Differences: li2022 says HRNet-18; its code takes the small network of version 2, with 1, 3 and
        2 modules of 2 blocks, which is the default here. `modules=(1, 4, 3), blocks=4` is the
        large one of Sun et al. Maps are up-sampled inside the trunk by the nearest position, as in
        the networks trained on ImageNet; the code for segmentation has bilinear maps there. The
        convolution before the normalisation of a head has no bias, which would cancel.

    Args:
        tasks: Output channels by task, `{"segmentation": 13, "depth": 1, "normals": 3}`, or
            `None` for the four maps.
        width: Factor of all channel numbers.
        channels: Channels of the images.
        modules: Number of modules of the second, third and fourth stage.
        blocks: Residual blocks of each branch of a module, and of the first stage.
        normalized: Tasks whose output vectors have unit length; by default `"normals"`, if it is
            among the tasks.
        dtype: Dtype or policy of all layers; outputs of tasks are float32.
        **kwargs: `name` and `trainable` of a Keras model.

    Call arguments:
        images: Images of shape (batch, height, width, channels) in [0, 1]; height and width are
            multiples of 32.
        training: Whether batch normalisation uses the statistics of the batch.

    Returns:
        `{task: (batch, height, width, channels of the task)}`: logits, depths or unit vectors,
        whatever the losses make them. Without tasks the maps `{"scale1": (batch, height / 4,
        width / 4, 18 width), "scale2": (.. / 8, 36 width), "scale3": (.. / 16, 72 width),
        "scale4": (.. / 32, 144 width)}`, which are also the names of their layers.

    Raises:
        ValueError: If an argument is none of the above, or a side of the images is no multiple
            of 32.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.backbones import HRNet18
        >>> network = HRNet18({"depth": 1}, width=0.1, modules=(1, 1, 1), blocks=1)
        >>> tuple(network(np.ones((2, 32, 64, 3), "float32"))["depth"].shape)
        (2, 32, 64, 1)

    References:
        - Li, Liu, Bilen. Universal representations: a unified look at multiple task and domain
          learning. 2022.
        - Sun, Xiao, Liu, Wang. Deep high-resolution representation learning for human pose
          estimation. CVPR 2019.
        - Wang et al. Deep high-resolution representation learning for visual recognition. 2020.
    """

    def __init__(
        self,
        tasks: Mapping[str, int] | None = None,
        width: float = 1.0,
        channels: int = 3,
        modules: Sequence[int] = (1, 3, 2),
        blocks: int = 2,
        normalized: Sequence[str] | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        check_width(width)
        if len(modules) != 3 or min(*modules, blocks) < 1:
            raise ValueError(
                "`modules` must hold three positive numbers, and `blocks` be positive. Received: "
                f"modules={modules!r}, blocks={blocks!r}. Leave them out for the paper's."
            )
        if tasks is not None:
            tasks, normalized = check_tasks(tasks, normalized)
        elif normalized:
            raise ValueError(
                "`normalized` names tasks. Received: "
                f"normalized={normalized!r} with tasks=None. Name the tasks, or leave it out."
            )
        make = DenseBlocks(dtype)
        filters = [scaled(size, width) for size in FILTERS]
        images = keras.Input((None, None, channels), name="images", dtype=make.dtype.compute_dtype)
        maps = _trunk(make, images, width, filters, modules, blocks)
        outputs = {f"scale{number}": x for number, x in enumerate(maps, start=1)}
        if tasks is not None:
            features = make.joined_scales(maps, "features")
            outputs = {
                task: make.head(features, number, 4, task, task in (normalized or ()), hidden=True)
                for task, number in tasks.items()
            }
        super().__init__(inputs=images, outputs=outputs, **kwargs)
        self.tasks = tasks
        self.width = width
        self.channels = channels
        self.modules = tuple(modules)
        self.blocks = blocks
        self.normalized = tuple(normalized or ())
        self.filters = tuple(filters)
        self.policy = make.dtype

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": keras.dtype_policies.serialize(self.policy),
            "tasks": None if self.tasks is None else dict(self.tasks),
            "width": self.width,
            "channels": self.channels,
            "modules": list(self.modules),
            "blocks": self.blocks,
            "normalized": list(self.normalized),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "HRNet18":
        """Builds the network that `get_config` describes.

        Args:
            config: What `get_config` gave.
            custom_objects: Not used; Keras passes it for models of this kind.

        Returns:
            A network with new weights.
        """
        return cls(**config)


def _trunk(
    make: DenseBlocks,
    images: Tensor,
    width: float,
    filters: Sequence[int],
    modules: Sequence[int],
    blocks: int,
) -> list[Tensor]:
    """The four maps from the finest to the coarsest."""
    stem, wide = scaled(64, width), scaled(256, width)
    x = make.checked(images)
    for number in (1, 2):
        x = make.unit(x, stem, 3, f"stem{number}", strides=2)
    for number in range(1, blocks + 1):
        x = make.bottleneck(x, stem, wide, f"stage1_block{number}")
    maps = [make.unit(x, filters[0], 3, "stage2_new1")]
    coarsest = x
    for stage, count in enumerate(modules, start=2):
        # The new branch starts from the coarsest map there is.
        maps.append(make.unit(coarsest, filters[stage - 1], 3, f"stage{stage}_new{stage}", 2))
        for module in range(1, count + 1):
            last = stage == 4 and module == count
            name = f"stage{stage}_module{module}"
            maps = _module(make, maps, blocks, name, "" if last else f"{name}_")
        coarsest = maps[-1]
    return maps


def _module(
    make: DenseBlocks, maps: Sequence[Tensor], blocks: int, name: str, prefix: str
) -> list[Tensor]:
    """Residual blocks on each resolution, and the exchange between all of them."""
    branches = []
    for number, x in enumerate(maps, start=1):
        for block in range(1, blocks + 1):
            x = make.basic(x, x.shape[-1], f"{name}_branch{number}_block{block}")
        branches.append(x)
    outputs = []
    for to, target in enumerate(branches, start=1):
        parts = []
        for of, x in enumerate(branches, start=1):
            path = f"{name}_from{of}_to{to}"
            if of > to:
                x = make.unit(x, target.shape[-1], 1, path, activation=False)
                x = make.enlarged(x, 2 ** (of - to), path, "nearest")
            for step in range(1, to - of + 1):
                end = step == to - of
                size = target.shape[-1] if end else x.shape[-1]
                x = make.unit(x, size, 3, f"{path}_step{step}", 2, activation=not end)
            parts.append(x)
        total = make.added(parts, f"{name}_sum{to}")
        outputs.append(make.relu(total, f"{prefix}scale{to}"))  # Sun et al. (2019), section 3
    return outputs
