"""The parts that SegNet and its form with attention have in common, as functional graphs."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras

from keras_univrep.backbones._convolution_unit import ConvolutionUnit
from keras_univrep.backbones._dense_checks import check_width, scaled
from keras_univrep.backbones._divisible_sizes import DivisibleSizes
from keras_univrep.backbones.dense_head import DenseHead
from keras_univrep.layers import MaxPoolWithIndices, MaxUnpool
from keras_univrep.types import Tensor

FILTERS = (64, 128, 256, 512, 512)
CONVOLUTIONS = (2, 2, 3, 3, 3)
STRIDE = 2 ** len(FILTERS)


class Maps(NamedTuple):
    """What the shared network computes, finest level first; channels of a level in `filters`."""

    encoder: list[list[Tensor]]
    """Outputs of the first and the last convolution of each level."""
    bottleneck: Tensor
    unpooled: list[Tensor]
    decoder: list[Tensor]


def widths(width: float) -> list[int]:
    """Channels of the five levels."""
    check_width(width)
    return [scaled(filters, width) for filters in FILTERS]


def decoded(filters: Sequence[int], level: int) -> int:
    """Channels of the decoder's outputs at a level, the finest being 0."""
    return filters[max(level - 1, 0)]


def encode_and_decode(images: Tensor, filters: Sequence[int], dtype: Any) -> Maps:
    """The 13 convolutions down and the 13 up; the last map is named "features"."""
    x = DivisibleSizes(STRIDE, name="images_check", dtype=dtype)(images)
    encoder: list[list[Tensor]] = []
    indices: list[Tensor] = []
    unpooled: list[Tensor] = []
    decoder: list[Tensor] = []
    for level, count in enumerate(CONVOLUTIONS):
        outputs = []
        for number in range(1, count + 1):
            x = ConvolutionUnit(filters[level], 3, f"encoder{level + 1}_unit{number}", dtype)(x)
            outputs.append(x)
        encoder.append([outputs[0], outputs[-1]])
        x, where = MaxPoolWithIndices(name=f"encoder{level + 1}_pool", dtype=dtype)(x)
        indices.append(where)
    # The pooling has two outputs, and who asks for a layer by name wants one.
    bottleneck = x = keras.layers.Identity(name="bottleneck", dtype=dtype)(x)
    for level in reversed(range(len(CONVOLUTIONS))):
        name = f"decoder{level + 1}"
        x = MaxUnpool(name=f"{name}_unpool", dtype=dtype)(x, indices[level])
        unpooled.insert(0, x)
        for number in range(1, CONVOLUTIONS[level] + 1):
            last = level == 0 and number == CONVOLUTIONS[level]
            unit = ConvolutionUnit(
                decoded(filters, level), 3, f"{name}_unit{number}", dtype,
                output_name="features" if last else None,
            )  # fmt: skip
            x = unit(x)
        decoder.insert(0, x)
    return Maps(encoder, bottleneck, unpooled, decoder)


def task_outputs(
    features: Mapping[str, Tensor], tasks: Mapping[str, int], filters: int,
    normalized: Sequence[str], dtype: Any,
) -> dict[str, Tensor]:  # fmt: skip
    """Outputs of a head for each task, on the features of that task."""
    return {
        task: DenseHead(
            channels, filters, normalize=task in normalized, name=f"{task}_head", dtype=dtype
        )(features[task])
        for task, channels in tasks.items()
    }
