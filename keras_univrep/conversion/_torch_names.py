"""Which weight of ours is which of the authors' networks."""

from collections.abc import Iterator
from typing import Any

import keras

from keras_univrep.backbones import AdaptedBackbone, ResNet18, ResNet26, SegNet
from keras_univrep.backbones._segnet_parts import CONVOLUTIONS
from keras_univrep.layers import DomainCopy, ParallelAdapter, SeriesAdapter
from keras_univrep.layers.domain_bank import DomainBank
from keras_univrep.models import MultiDomainModel

# Of each weight: the variable, the name in a state dictionary, and how the axes go.
Pair = tuple[Any, str]


class UnsuitableError(Exception):
    """Says what a network must have to be one of a repository's."""


def _normalization(layer: Any, name: str) -> Iterator[Pair]:
    yield layer.gamma, f"{name}.weight"
    yield layer.beta, f"{name}.bias"
    yield layer.moving_mean, f"{name}.running_mean"
    yield layer.moving_variance, f"{name}.running_var"


def _dense(layer: Any, name: str) -> Iterator[Pair]:
    yield layer.kernel, f"{name}.weight"
    yield layer.bias, f"{name}.bias"


class _Parts:
    """The trunk of a network for several domains, and what each domain has of its own in it."""

    def __init__(self, model: MultiDomainModel, end_activation: bool) -> None:
        backbone = model.backbone
        # Banks of an AdaptedBackbone stand for the layers of its trunk.
        banks = backbone.banks.values() if isinstance(backbone, AdaptedBackbone) else ()
        self.banks = {id(bank.layer): bank for bank in banks}
        self.trunk: ResNet26 = backbone.trunk if self.banks else backbone
        if self.trunk.end_activation != end_activation:
            raise UnsuitableError(
                f"end_activation={end_activation}, not {self.trunk.end_activation}"
            )
        if self.trunk.pooling is None:
            raise UnsuitableError("pooling='avg', not None")

    def convolution(self, unit: Any) -> tuple[Any, Any]:
        """The convolution that domains share, and the bank of their adapters, if any."""
        layer = self.banks.get(id(unit.convolution), unit.convolution)
        return (layer.layer, layer) if isinstance(layer, DomainBank) else (layer, None)

    def normalization(self, layer: Any, domain: str) -> Any:
        """The batch normalisation of a domain, which it may share."""
        layer = self.banks.get(id(layer), layer)
        return layer.part(domain) if isinstance(layer, DomainBank) else layer

    @property
    def has_own_normalizations(self) -> bool:
        layer = self.trunk.end_normalization
        return isinstance(self.banks.get(id(layer), layer), DomainBank)


def residual_adapters(model: MultiDomainModel) -> Iterator[Pair]:
    """Of github.com/srebuffi/residual_adapters: normalisations of each task behind every unit."""
    parts = _Parts(model, end_activation=True)
    network = parts.trunk
    units = [(network.stem, "pre_layers_conv")]
    for number, block in enumerate(network.blocks):
        place = f"layer{number // 4 + 1}.{number % 4}"
        units += [(block.unit1, f"{place}.conv1"), (block.unit2, f"{place}.conv2.1")]
    kinds = {place: type(parts.convolution(unit)[1]) for unit, place in units}
    first = {kind for place, kind in kinds.items() if place.endswith(".conv1")}
    others = {kind for place, kind in kinds.items() if not place.endswith(".conv1")}
    if len(first) > 1 or len(others) > 1 or not first <= others | {type(None)}:
        raise UnsuitableError("adapters at all convolutions, or at the stem and half of the others")
    if not others <= {ParallelAdapter, SeriesAdapter, type(None)}:
        raise UnsuitableError("parallel, series or no adapters")
    for unit, place in units:
        layer, bank = parts.convolution(unit)
        yield layer.kernel, f"{place}.conv.weight"
        for task, domain in enumerate(model.domains):
            name = f"{place}.bns.{task}"
            if isinstance(bank, ParallelAdapter):
                yield bank.part(domain).kernel, f"{place}.parallel_conv.{task}.conv.weight"
            if isinstance(bank, SeriesAdapter):
                yield bank.part(domain).kernel, f"{name}.0.conv.1.weight"
                yield from _normalization(bank.part(domain).normalization, f"{name}.0.conv.0")
                name = f"{name}.1"
            yield from _normalization(parts.normalization(unit.normalization, domain), name)
    for task, domain in enumerate(model.domains):
        end = parts.normalization(network.end_normalization, domain)
        yield from _normalization(end, f"end_bns.{task}.0")
    for task, head in enumerate(model.heads):
        yield from _dense(head, f"linears.{task}")


def universal_representations(model: MultiDomainModel) -> Iterator[Pair]:
    """Of VisualDecathlon in github.com/VICO-UoE/UniversalRepresentations: all is shared, or
    each convolution has adapters and each domain its own normalisations."""
    parts = _Parts(model, end_activation=False)
    network = parts.trunk
    units = [(network.stem, "conv1", "bn1")]
    for number, block in enumerate(network.blocks):
        place = f"layer{number // 4 + 1}.{number % 4}"
        units += [(block.unit1, f"{place}.conv1", f"{place}.bn1")]
        units += [(block.unit2, f"{place}.conv2", f"{place}.bn2")]
    kinds = {type(parts.convolution(unit)[1]) for unit, _, _ in units}
    adapted = kinds == {ParallelAdapter}
    if not adapted and (kinds != {type(None)} or parts.has_own_normalizations):
        raise UnsuitableError(
            "parallel adapters at all convolutions, or no part that domains have of their own"
        )
    normalizations: list[tuple[Any, str]] = [(network.end_normalization, "end_bn")]
    for unit, convolution, normalization in units:
        layer, bank = parts.convolution(unit)
        normalizations.append((unit.normalization, normalization))
        yield layer.kernel, f"{convolution}.conv.weight" if adapted else f"{convolution}.weight"
        for task, domain in enumerate(model.domains if adapted else ()):
            yield bank.part(domain).kernel, f"{convolution}.parallel_conv.{task}.conv.weight"
    for layer, name in normalizations:
        if not adapted:
            yield from _normalization(layer, name)
        for task, domain in enumerate(model.domains if adapted else ()):
            yield from _normalization(parts.normalization(layer, domain), f"{name}.bns.{task}")
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


# Our names of tasks, and theirs.
TASKS = {"segmentation": "semantic", "normals": "normal"}


def universal_representations_dense(model: SegNet) -> Iterator[Pair]:
    """Of DensePred in github.com/VICO-UoE/UniversalRepresentations: SegNet, one task or several."""
    if not isinstance(model, SegNet) or not model.tasks:
        raise UnsuitableError("another architecture")
    theirs = {task: TASKS.get(task, task) for task in model.tasks}
    directions = {task for task, name in theirs.items() if name == "normal"}
    if set(model.normalized) != directions:
        raise UnsuitableError(f"normalized={sorted(directions)}, not {sorted(model.normalized)}")
    for way, first, others in (
        ("encoder", "encoder_block", "conv_block_enc"),
        ("decoder", "decoder_block", "conv_block_dec"),
    ):
        for level, count in enumerate(CONVOLUTIONS):
            for number in range(count):
                place = f"backbone.{others if number else first}.{level}"
                # Two further convolutions are in a sequence, a single one is not.
                place += f".{number - 1}" if number and count > 2 else ""
                unit = f"{way}{level + 1}_unit{number + 1}"
                yield from _dense(model.get_layer(f"{unit}_conv"), f"{place}.0")
                yield from _normalization(model.get_layer(f"{unit}_norm"), f"{place}.1")
    for task, name in theirs.items():
        head = model.get_layer(f"{task}_head")
        place = "decoder" if len(theirs) == 1 else f"decoders.{name}"
        yield from _dense(head.convolution, f"{place}.pred_task.0")
        yield from _dense(head.projection, f"{place}.pred_task.1")


NAMES = {
    "residual_adapters": residual_adapters,
    "universal_representations": universal_representations,
    "universal_representations_dense": universal_representations_dense,
    "url": url_resnet18,
}


def all_pairs(model: keras.Model, source: str) -> list[Pair]:
    """The pairs of a network of ours, all weights of which have a place among them."""
    try:
        pairs = list(NAMES[source](model))
    except AttributeError as error:
        raise UnsuitableError("another architecture") from error
    placed = {id(weight) for weight, _ in pairs}
    # Copies of each domain stand for the layer that they were copied from.
    banks = getattr(getattr(model, "backbone", None), "banks", {}).values()
    copied = [bank.layer for bank in banks if isinstance(bank, DomainCopy)]
    placed |= {id(weight) for layer in copied for weight in layer.weights}
    left = [weight.path for weight in model.weights if id(weight) not in placed]
    if left:
        raise UnsuitableError(f"no weights such as {left[0]!r}, which have no place there")
    return pairs


# What checkpoints have beside the weights of a network, and why it is left out.
_COUNTS = {r"(.*\.)?num_batches_tracked": "the output depends on no count of batches"}
UNUSED = {
    "residual_adapters": _COUNTS,
    "universal_representations": _COUNTS,
    "universal_representations_dense": _COUNTS,
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
