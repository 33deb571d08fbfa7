"""Which weight of ours is which of the authors' networks."""

from collections.abc import Iterator
from typing import Any

import keras

from keras_univrep.backbones import ResNet18, ResNet26
from keras_univrep.layers import ParallelAdapter, SeriesAdapter
from keras_univrep.models import MultiDomainModel

# Of each weight: the variable, the name in a state dictionary, and how the axes go.
Pair = tuple[Any, str]


def _normalization(layer: Any, name: str) -> Iterator[Pair]:
    yield layer.gamma, f"{name}.weight"
    yield layer.beta, f"{name}.bias"
    yield layer.moving_mean, f"{name}.running_mean"
    yield layer.moving_variance, f"{name}.running_var"


def _dense(layer: Any, name: str) -> Iterator[Pair]:
    yield layer.kernel, f"{name}.weight"
    yield layer.bias, f"{name}.bias"


def _parts(layer: Any) -> list[Any]:
    """The parts of each domain; one where the domains share it."""
    return list(getattr(layer, "parts", [layer]))


def residual_adapters(model: MultiDomainModel) -> Iterator[Pair]:
    """Of github.com/srebuffi/residual_adapters: normalisations of each task behind every unit."""
    network: ResNet26 = model.backbone
    units = [(network.stem, "pre_layers_conv")]
    for number, block in enumerate(network.blocks):
        place = f"layer{number // 4 + 1}.{number % 4}"
        units += [(block.unit1, f"{place}.conv1"), (block.unit2, f"{place}.conv2.1")]
    for unit, place in units:
        convolution = unit.convolution
        adapted = isinstance(convolution, (ParallelAdapter, SeriesAdapter))
        yield (convolution.layer if adapted else convolution).kernel, f"{place}.conv.weight"
        for task, part in enumerate(_parts(unit.normalization)):
            name = f"{place}.bns.{task}"
            if isinstance(convolution, ParallelAdapter):
                yield convolution.parts[task].kernel, f"{place}.parallel_conv.{task}.conv.weight"
            if isinstance(convolution, SeriesAdapter):
                yield convolution.parts[task].kernel, f"{name}.0.conv.1.weight"
                yield from _normalization(convolution.parts[task].normalization, f"{name}.0.conv.0")
                name = f"{name}.1"
            yield from _normalization(part, name)
    for task, part in enumerate(_parts(network.end_normalization)):
        yield from _normalization(part, f"end_bns.{task}.0")
    for task, head in enumerate(model.heads):
        yield from _dense(head, f"linears.{task}")


def universal_representations(model: MultiDomainModel) -> Iterator[Pair]:
    """Of VisualDecathlon in github.com/VICO-UoE/UniversalRepresentations: all is shared."""
    network: ResNet26 = model.backbone
    units = [(network.stem, "conv1", "bn1")]
    for number, block in enumerate(network.blocks):
        place = f"layer{number // 4 + 1}.{number % 4}"
        units += [(block.unit1, f"{place}.conv1", f"{place}.bn1")]
        units += [(block.unit2, f"{place}.conv2", f"{place}.bn2")]
    for unit, convolution, normalization in units:
        yield unit.convolution.kernel, f"{convolution}.weight"
        yield from _normalization(unit.normalization, normalization)
    yield from _normalization(network.end_normalization, "end_bn")
    for task, head in enumerate(model.heads):
        yield from _dense(head, "cls_fn" if len(model.heads) == 1 else f"cls_fn.{task}")


def url_resnet18(model: keras.Model) -> Iterator[Pair]:
    """Of github.com/VICO-UoE/URL, the trunk."""
    network: ResNet18 = model
    units = [(network.stem, "conv1", "bn1")]
    for number, block in enumerate(network.blocks):
        place = f"layer{number // 2 + 1}.{number % 2}"
        units += [(block.unit1, f"{place}.conv1", f"{place}.bn1")]
        units += [(block.unit2, f"{place}.conv2", f"{place}.bn2")]
        if block.projection is not None:
            units += [(block.projection, f"{place}.downsample.0", f"{place}.downsample.1")]
    for unit, convolution, normalization in units:
        yield unit.convolution.kernel, f"{convolution}.weight"
        yield from _normalization(unit.normalization, normalization)


NAMES = {
    "residual_adapters": residual_adapters,
    "universal_representations": universal_representations,
    "url": url_resnet18,
}

# What checkpoints have beside the weights of a network, and why it is left out.
_COUNTS = {r"(.*\.)?num_batches_tracked": "the output depends on no count of batches"}
UNUSED = {
    "residual_adapters": _COUNTS,
    "universal_representations": _COUNTS,
    "url": {
        **_COUNTS,
        r"cls_fn(\.\d+)?\.(weight|bias|scale)": "training classes, which no test has",
    },
}
# Dictionaries around a network's weights, and what stands beside these in them.
WRAPPERS = ("net.", "state_dict.", "model.")
BESIDE = {
    r"(\w+_)?optimizer(_\w+)?\..*": "moments of the optimizers",
    r"(adaptors|adaptor_\w+)\..*": "alignment adapters, which only the losses of training see",
}
