"""Networks from the authors' PyTorch checkpoints."""

import pathlib
import re
from collections.abc import Mapping, Sequence

import keras
import numpy as np
from keras import ops

from keras_univrep.backbones import ResNet18, ResNet26, SegNet
from keras_univrep.conversion._torch_names import BESIDE, NAMES, TASKS, UNUSED, WRAPPERS
from keras_univrep.conversion.read_torch_checkpoint import read_torch_checkpoint
from keras_univrep.models import MultiDomainModel


def from_torch(
    checkpoint: str | pathlib.Path | Mapping[str, np.ndarray],
    source: str,
    domains: Sequence[str] = (),
    modules: Sequence[str] = ("models",),
) -> keras.Model:
    """Builds the network of a checkpoint of one of the papers' authors, with its weights.

    | source | repository | what it becomes |
    |---|---|---|
    | "residual_adapters" | srebuffi/residual_adapters | `MultiDomainModel` over `ResNet26`, with |
    | | | parallel, series or no adapters, as the weights say |
    | "universal_representations" | VICO-UoE/UniversalRepresentations, | the same, all shared or |
    | | VisualDecathlon | with parallel adapters |
    | "universal_representations_dense" | the same, DensePred: SegNet | `SegNet`: classes come as |
    | | of one or several tasks | logits, not their log-softmax |
    | "url" | VICO-UoE/URL | `ResNet18` as released, without classifiers |

    Every weight of the network must be in the checkpoint, with its shape, and every weight of the
    checkpoint must be used, but for the alignment adapters, moments of optimizers and counts of
    batches that the authors' programs save with it, and the classifiers of URL. The file is read
    as by `read_torch_checkpoint`: not executed.

    Args:
        checkpoint: The file, whole pickled networks included, or its state dictionary.
        source: One of the names above.
        domains: Names of the tasks, in their order in the checkpoint; not for "url". A checkpoint
            of several dense tasks has their names: "semantic" becomes "segmentation", "normal"
            "normals"; that of one has none.
        modules: As for `read_torch_checkpoint`.

    Returns:
        The network, of which the outputs for images of the same normalisation are the same.

    Raises:
        ValueError: If the source is unknown, a weight is missing, left over or of another shape,
            or the number of domains is wrong.

    Example:
        >>> from keras_univrep.backbones import ResNet26
        >>> from keras_univrep.conversion import from_torch, to_torch
        >>> from keras_univrep.models import MultiDomainModel
        >>> model = MultiDomainModel(ResNet26(width=0.125, end_activation=False), {"photo": 5})
        >>> state = to_torch(model, "universal_representations")
        >>> from_torch(state, "universal_representations", ["photo"]).num_classes
        {'photo': 5}

    References:
        - Rebuffi, Bilen, Vedaldi. Efficient parametrization of multi-domain deep neural networks.
          CVPR 2018.
        - Li, Liu, Bilen. Universal representations: a unified look at multiple task and domain
          learning. 2022.
    """
    if source not in NAMES:
        raise ValueError(
            f"`source` must be one of {', '.join(NAMES)}. Received: source={source!r}. Pass one of "
            "these."
        )
    if isinstance(checkpoint, Mapping):
        state = dict(checkpoint)
    else:
        state = read_torch_checkpoint(checkpoint, modules)
    state = _weights(state, source)
    model = _build(state, source, tuple(domains))
    assign(model, state, source)
    return model


def assign(model: keras.Model, state: Mapping[str, np.ndarray], source: str) -> None:
    """Gives a model the weights of a state dictionary, all of both."""
    pairs = {name: variable for variable, name in NAMES[source](model)}
    missing, unused = sorted(set(pairs) - set(state)), sorted(set(state) - set(pairs))
    if missing or unused:
        _refuse(source, missing, unused)
    values = {name: to_keras(np.asarray(state[name])) for name in pairs}
    wrong = [n for n, v in pairs.items() if _fitted(values[n], tuple(v.shape)) is None]
    if wrong:
        raise ValueError(
            "Weights must have the shapes of the network. Received: "
            f"{wrong[0]!r} of shape {tuple(state[wrong[0]].shape)} for "
            f"{tuple(pairs[wrong[0]].shape)}, and {len(wrong) - 1} others. Check `source`."
        )
    for name, variable in pairs.items():
        variable.assign(ops.convert_to_tensor(_fitted(values[name], tuple(variable.shape))))


def _refuse(source: str, missing: Sequence[str], unused: Sequence[str]) -> None:
    raise ValueError(
        f"A checkpoint of {source!r} must have the weights of the network, and no others. "
        f"Received: {len(missing)} missing {missing[:5]}, {len(unused)} unused {unused[:5]}. "
        "Check `source` and `domains`, and leave out what is known to be of no use."
    )


def to_keras(value: np.ndarray) -> np.ndarray:
    """Filters last: (out, in, height, width) to (height, width, in, out), matrices turned."""
    return value.transpose(2, 3, 1, 0) if value.ndim == 4 else value.T


def _fitted(value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    # Series adapters keep their 1x1 kernels as matrices.
    if value.ndim == 4 and len(shape) == 2 and value.shape[:2] == (1, 1):
        value = value[0, 0]
    return value if value.shape == shape else None


def _weights(state: Mapping[str, np.ndarray], source: str) -> dict[str, np.ndarray]:
    """The network's own weights, by its own names."""
    for wrapper in WRAPPERS:
        if not any(name.startswith(wrapper) for name in state):
            continue
        around = [name for name in state if not name.startswith(wrapper)]
        if unknown := [name for name in around if not _matches(name, BESIDE)]:
            _refuse(source, [], sorted(unknown))
        state = {n.removeprefix(wrapper): v for n, v in state.items() if n.startswith(wrapper)}
    return {name: value for name, value in state.items() if not _matches(name, UNUSED[source])}


def _matches(name: str, known: Mapping[str, str]) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in known)


def _build(state: Mapping[str, np.ndarray], source: str, domains: tuple[str, ...]) -> keras.Model:
    if source == "url":
        stem = state.get("conv1.weight")
        return ResNet18(width=1.0 if stem is None else len(stem) / 64)
    if source == "universal_representations_dense":
        return _build_dense(state, domains)
    pattern = r"linears\.(\d+)\.bias" if source == "residual_adapters" else r"cls_fn\.?(\d*)\.bias"
    found = {m.group(1): len(state[n]) for n in state if (m := re.fullmatch(pattern, n))}
    counts = [found[key] for key in sorted(found, key=lambda key: int(key or 0))]
    if len(counts) != len(domains):
        raise ValueError(
            "`domains` must name the tasks of the checkpoint, in their order. Received: "
            f"{list(domains)} for {len(counts)} classifiers, of {counts} classes."
        )
    stems = ("conv1.weight", "conv1.conv.weight", "pre_layers_conv.conv.weight")
    width = next((len(state[stem]) / 32 for stem in stems if stem in state), 1.0)
    if source == "universal_representations":
        adapter = _adapter(state)
        backbone = ResNet26(
            domains if adapter else None, adapter, width=width, end_activation=False,
            name="backbone",
        )  # fmt: skip
    else:
        backbone = ResNet26(
            width=width, domains=domains, normalization="domain", adapter=_adapter(state),
            placement=_placement(state), name="backbone",
        )  # fmt: skip
    return MultiDomainModel(backbone, dict(zip(domains, counts, strict=True)))


def _build_dense(state: Mapping[str, np.ndarray], domains: tuple[str, ...]) -> SegNet:
    pattern = r"decoders?(?:\.(\w+))?\.pred_task\.1\.bias"
    found = {m.group(1): len(state[n]) for n in state if (m := re.fullmatch(pattern, n))}
    ours = {theirs: task for task, theirs in TASKS.items()}
    names = tuple(ours.get(name, name) for name in found if name is not None)
    names = names if len(names) == len(found) else domains
    if len(names) != len(found) or (domains and domains != names):
        raise ValueError(
            "`domains` must name the task of a checkpoint of one, and may be left out where there "
            f"are several. Received: {list(domains)} for {list(found)}, of {list(found.values())} "
            "channels."
        )
    stem = state.get("backbone.encoder_block.0.0.weight")
    width = 1.0 if stem is None else len(stem) / 64
    return SegNet(dict(zip(names, found.values(), strict=True)), width=width)


def _adapter(state: Mapping[str, np.ndarray]) -> str | None:
    if any(".parallel_conv." in name for name in state):
        return "parallel"
    return "series" if any(re.search(r"\.bns\.\d+\.0\.conv\.", name) for name in state) else None


def _placement(state: Mapping[str, np.ndarray]) -> list[str]:
    """Whether both convolutions of a block have adapters (proj='11'), or the second ('01')."""
    both = any(re.match(r"layer1\.0\.conv1\.(parallel_conv|bns\.\d+\.0\.)", name) for name in state)
    return ["all"] if both else ["stem", "half"]
