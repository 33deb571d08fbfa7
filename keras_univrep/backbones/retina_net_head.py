"""The detector of RetinaNet on the maps of any backbone."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_univrep.backbones.decode_boxes import decode_boxes
from keras_univrep.layers import Conv2D
from keras_univrep.losses import DetectionLoss, anchor_boxes
from keras_univrep.types import Shape, Tensor

LEVELS = {"level3": 8, "level4": 16, "level5": 32}
Maps = Mapping[str, Tensor]


@keras.saving.register_keras_serializable(package="keras_univrep")
class RetinaNetHead(keras.layers.Layer):
    """A feature pyramid over named maps, and towers that classify and correct its anchors.

    Equation:
        Lin et al. (2017, pyramid networks), section 3, for the maps C_1 .. C_n of a backbone, from
        fine to coarse, with L_i a 1x1, O_i a 3x3 and Q_j a 3x3 convolution of stride 2:

            M_n = L_n * C_n,   M_i = L_i * C_i + up(M_(i+1)),   P_i = O_i * M_i
            P_(n+1) = Q_1 * C_n,   P_(n+j) = Q_j * max(P_(n+j-1), 0)

        and Lin et al. (2017, focal loss), section 4, for T convolutions and ReLUs each, shared by
        all P:

            classes = A_c * T_c(P),   boxes = A_b * T_b(P)

        | symbol | here | shape |
        |---|---|---|
        | C_i | `inputs[level]` | (batch, height, width, its channels) |
        | P | `pyramid(inputs)` | (batch, height, width, filters) |
        | up | nearest pixel, to the size of the finer map | |

    Differences: None known from these papers but that Q_1 takes C_n, as the second has it. he2022
        fine-tunes Faster R-CNN downstream (section 4.2) and does not print its detection head of
        the pre-training; this is a detector of one stage in its place. KerasHub's
        `RetinaNetObjectDetector` has towers of 256 filters only, needs sides that divide by the
        strides and its own backbones, starts its boxes and not its classes at the prior, and
        cannot be installed without tensorflow-text. From the same weights its outputs are these,
        as long as strided maps have odd sides (Keras pads even ones on one side).

    Args:
        num_classes: Number of classes.
        levels: Stride of each map, `{name: stride}`; by default those of `ResNet50` without
            its finest. For images of 64 pixels or less add `"level2": 4`.
        extra_levels: Number of coarser maps that are added.
        filters: Channels of the pyramid and the towers.
        tower_depth: T, convolutions of a tower.
        groups: Groups of a group normalisation behind each of them; `None` for none.
        anchor_size: As for `losses.anchor_boxes`.
        anchor_scales: As for `losses.anchor_boxes`.
        anchor_ratios: As for `losses.anchor_boxes`.
        prior: Probability of each class at the start.
        kernel_initializer: Of the towers; by default normal of deviation 0.01, which is meant for
            256 filters: with few, `"he_normal"` learns sooner.
        **kwargs: `name` and `dtype` of a Keras layer.

    Call arguments:
        inputs: `{level: (batch, height, width, channels)}` with all of `levels`; what else there
            is does not count.

    Returns:
        `{"boxes": (batch, anchors, 4), "classes": (batch, anchors, num_classes)}`, float32 at
        least: differences from `anchors(image_shape)` and logits.

    Raises:
        ValueError: If an argument is out of its range, or a level is missing.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.backbones import RetinaNetHead
        >>> head = RetinaNetHead(3, {"level3": 8, "level4": 16}, 0, filters=4, tower_depth=1)
        >>> maps = {"level3": np.ones((1, 4, 4, 2)), "level4": np.ones((1, 2, 2, 6))}
        >>> outputs = head(maps)  # 9 anchors at each of 16 + 4 positions
        >>> {name: tuple(y.shape) for name, y in outputs.items()}
        {'boxes': (1, 180, 4), 'classes': (1, 180, 3)}
        >>> head.anchors((32, 32)).shape, head.detection_loss((32, 32)).strides
        ((180, 4), (8, 16))

    References:
        - Lin, Dollár, Girshick, He, Hariharan, Belongie. Feature pyramid networks for object
          detection. CVPR 2017.
        - Lin, Goyal, Girshick, He, Dollár. Focal loss for dense object detection. ICCV 2017.
        - He et al. X-Learner: learning cross sources and tasks for universal visual
          representation. ECCV 2022.
    """

    def __init__(
        self,
        num_classes: int,
        levels: Mapping[str, int] | None = None,
        extra_levels: int = 2,
        filters: int = 256,
        tower_depth: int = 4,
        groups: int | None = None,
        anchor_size: float = 4.0,
        anchor_scales: int = 3,
        anchor_ratios: Sequence[float] = (0.5, 1.0, 2.0),
        prior: float = 0.01,
        kernel_initializer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        levels = LEVELS if levels is None else levels
        _check(num_classes, levels, extra_levels, filters, tower_depth, groups, prior)
        self.num_classes = num_classes
        # In the order of their strides: a configuration does not keep that of a dictionary.
        self.levels = dict(sorted(levels.items(), key=lambda item: item[1]))
        self.extra_levels = extra_levels
        self.filters = filters
        self.tower_depth = tower_depth
        self.groups = groups
        self.anchor_size = anchor_size
        self.anchor_scales = anchor_scales
        self.anchor_ratios = tuple(anchor_ratios)
        self.prior = prior
        if kernel_initializer is None:
            kernel_initializer = keras.initializers.RandomNormal(stddev=0.01)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.lateral = [self._convolution(filters, 1, f"lateral_{name}") for name in self.levels]
        self.smooth = [self._convolution(filters, 3, f"smooth_{name}") for name in self.levels]
        self.coarser = [
            self._convolution(filters, 3, f"coarser_{number}", strides=2)
            for number in range(1, extra_levels + 1)
        ]
        places = anchor_scales * len(self.anchor_ratios)
        start = keras.initializers.Constant(-math.log((1.0 - prior) / prior))
        self.class_tower = self._tower("class")
        self.class_projection = self._convolution(
            places * num_classes, 3, "class_projection", self.kernel_initializer,
            bias_initializer=start,
        )  # fmt: skip
        self.box_tower = self._tower("box")
        self.box_projection = self._convolution(
            places * 4, 3, "box_projection", self.kernel_initializer
        )

    def _convolution(
        self, filters: int, size: int, name: str, kernel: Any = "glorot_uniform", **kwargs: Any
    ) -> Conv2D:
        return Conv2D(
            filters, size, padding=size // 2, data_format="channels_last",
            kernel_initializer=kernel, name=name, dtype=self.dtype_policy, **kwargs,
        )  # fmt: skip

    def _tower(self, name: str) -> list[keras.layers.Layer]:
        """Convolutions, each with its normalisation behind it if there are any."""
        found: list[keras.layers.Layer] = []
        for number in range(1, self.tower_depth + 1):
            part = f"{name}_tower_{number}"
            found.append(self._convolution(self.filters, 3, part, self.kernel_initializer))
            if self.groups:
                found.append(
                    keras.layers.GroupNormalization(
                        self.groups, epsilon=1e-5, name=f"{part}_norm", dtype=self.dtype_policy
                    )
                )
        return found

    def build(self, input_shape: Mapping[str, Shape]) -> None:
        self._check_levels(input_shape)
        channels = [input_shape[name][-1] for name in self.levels]
        inner = (None, None, None, self.filters)
        for layer, count in zip(self.lateral, channels, strict=True):
            layer.build((None, None, None, count))
        for number, layer in enumerate(self.coarser):
            layer.build(inner if number else (None, None, None, channels[-1]))
        towers = [*self.class_tower, self.class_projection, *self.box_tower, self.box_projection]
        for layer in (*self.smooth, *towers):
            layer.build(inner)
        self.built: bool = True

    def call(self, inputs: Maps) -> dict[str, Tensor]:
        maps = self.pyramid(inputs)
        towers = {
            "boxes": (self.box_tower, self.box_projection, 4),
            "classes": (self.class_tower, self.class_projection, self.num_classes),
        }
        outputs = {}
        for name, (tower, projection, channels) in towers.items():
            answers = []
            for x in maps:
                for layer in tower:
                    x = layer(x)
                    if not self.groups or not isinstance(layer, Conv2D):
                        x = ops.relu(x)
                x = projection(x)
                batch, height, width, count = ops.shape(x)
                anchors = None if None in (height, width) else height * width * count // channels
                shape = (batch or -1, -1 if anchors is None else anchors, channels)
                answers.append(ops.reshape(x, shape))
            outputs[name] = ops.cast(ops.concatenate(answers, axis=1), self._output_dtype)
        return outputs

    def pyramid(self, inputs: Maps) -> list[Tensor]:
        """Returns the maps P, from fine to coarse.

        Args:
            inputs: As for the call.

        Returns:
            Tensors of shape (batch, height, width, filters).
        """
        self._check_levels(inputs)
        maps = [inputs[name] for name in self.levels]
        merged = [layer(x) for layer, x in zip(self.lateral, maps, strict=True)]
        for i in range(len(maps) - 2, -1, -1):
            merged[i] = merged[i] + _enlarged(merged[i + 1], merged[i])
        found = [layer(x) for layer, x in zip(self.smooth, merged, strict=True)]
        for number, layer in enumerate(self.coarser):
            found.append(layer(ops.relu(found[-1]) if number else maps[-1]))
        return found

    @property
    def strides(self) -> tuple[int, ...]:
        """Of all maps of the pyramid, from fine to coarse."""
        known = tuple(self.levels.values())
        return known + tuple(known[-1] * 2**n for n in range(1, self.extra_levels + 1))

    def _anchor_options(self) -> dict[str, Any]:
        return {
            "strides": self.strides,
            "anchor_size": self.anchor_size,
            "anchor_scales": self.anchor_scales,
            "anchor_ratios": self.anchor_ratios,
        }

    def anchors(self, image_shape: Sequence[int]) -> np.ndarray:
        """Returns the anchors of images of a size.

        Args:
            image_shape: Height and width, in pixels.

        Returns:
            Left, top, right and bottom in pixels, (anchors, 4).
        """
        return anchor_boxes(image_shape, **self._anchor_options())

    def detection_loss(self, image_shape: Sequence[int], **kwargs: Any) -> DetectionLoss:
        """Returns the loss of this head's outputs for images of a size.

        Args:
            image_shape: Height and width, in pixels.
            **kwargs: Further arguments of `losses.DetectionLoss`.
        """
        return DetectionLoss(image_shape, **self._anchor_options(), **kwargs)

    def predict_boxes(
        self, outputs: Maps, image_shape: Sequence[int], **kwargs: Any
    ) -> dict[str, Tensor]:
        """Returns the objects that this head's outputs stand for.

        Args:
            outputs: What the call returned.
            image_shape: Height and width of the images, in pixels.
            **kwargs: Further arguments of `decode_boxes`.

        Returns:
            `{"boxes", "labels", "scores"}`, as of `decode_boxes`.
        """
        return decode_boxes(outputs, self.anchors(image_shape), image_shape, **kwargs)

    def _check_levels(self, inputs: Mapping[str, Any]) -> None:
        if not isinstance(inputs, Mapping) or not set(self.levels) <= set(inputs):
            came = sorted(inputs) if isinstance(inputs, Mapping) else type(inputs).__name__
            raise ValueError(
                f"`inputs` must be a dictionary with the maps {list(self.levels)}. Received: "
                f"{came}. Name the levels in `levels`; in an X-Learner name the task in `pyramid`."
            )

    def compute_output_spec(self, inputs: Maps) -> dict[str, keras.KerasTensor]:
        """Returns the shapes and dtype of the outputs, without computing them."""
        self._check_levels(inputs)
        sides: list[Any] = [tuple(inputs[name].shape[1:3]) for name in self.levels]
        for _ in range(self.extra_levels):
            sides.append(tuple(n and (n + 1) // 2 for n in sides[-1]))
        known = all(None not in pair for pair in sides)
        places = self.anchor_scales * len(self.anchor_ratios)
        count = places * sum(a * b for a, b in sides) if known else None
        batch = inputs[next(iter(self.levels))].shape[0]
        return {
            name: keras.KerasTensor((batch, count, channels), self._output_dtype)
            for name, channels in (("boxes", 4), ("classes", self.num_classes))
        }

    @property
    def _output_dtype(self) -> str:
        narrow = self.compute_dtype in ("float16", "bfloat16")
        return "float32" if narrow else self.compute_dtype

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "num_classes": self.num_classes,
            "levels": dict(self.levels),
            "extra_levels": self.extra_levels,
            "filters": self.filters,
            "tower_depth": self.tower_depth,
            "groups": self.groups,
            "anchor_size": self.anchor_size,
            "anchor_scales": self.anchor_scales,
            "anchor_ratios": list(self.anchor_ratios),
            "prior": self.prior,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


def _enlarged(x: Tensor, like: Tensor) -> Tensor:
    """Each pixel twice along both axes, without the last row or column where there is no room."""
    _, height, width, _ = ops.shape(like)
    x = ops.repeat(ops.repeat(x, 2, axis=1), 2, axis=2)
    return x[:, :height, :width]


def _check(
    num_classes: int,
    levels: Mapping[str, int],
    extra_levels: int,
    filters: int,
    tower_depth: int,
    groups: int | None,
    prior: float,
) -> None:
    strides = sorted(levels.values()) if isinstance(levels, Mapping) else []
    doubled = all(b == 2 * a for a, b in zip(strides, strides[1:]))
    if not strides or strides[0] < 1 or not doubled:
        raise ValueError(
            "`levels` must name maps and their strides, each twice the one before. Received: "
            f"levels={levels!r}. Pass for example {LEVELS}."
        )
    counts = (num_classes, filters, tower_depth + 1, extra_levels + 1)
    if min(counts) < 1 or (groups is not None and (groups < 1 or filters % groups)):
        raise ValueError(
            "`num_classes` and `filters` must be positive, `tower_depth` and `extra_levels` not "
            "negative, and `groups` must divide `filters`. Received: "
            f"num_classes={num_classes}, filters={filters}, tower_depth={tower_depth}, "
            f"extra_levels={extra_levels}, groups={groups}. Change what is out of range."
        )
    if not 0.0 < prior < 1.0:
        raise ValueError(
            f"`prior` must be between 0 and 1. Received: prior={prior}. Pass 0.01 for the paper's."
        )
