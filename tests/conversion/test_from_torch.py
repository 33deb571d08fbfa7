"""Checkpoints of the authors' networks give the authors' outputs, and go back again.

The networks here are written anew from the layouts, with the names of the authors' weights.
"""

from __future__ import annotations

import pathlib
import subprocess
import sys
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.applications import UniversalResNet26
from keras_univrep.backbones import AdaptedBackbone, ResNet18, ResNet26, SegNet
from keras_univrep.conversion import from_torch, to_torch
from keras_univrep.models import MultiDomainModel

WRITER = pathlib.Path(__file__).parent / "torch_networks.py"
KINDS = ["normal", "parallel", "half", "series", "shared", "single", "attached", "url", "dense",
         "dense_single"]  # fmt: skip
DOMAINS = {"single": ["photo"], "url": [], "dense": [], "dense_single": ["normals"]}
SOURCES = {
    **dict.fromkeys(("normal", "parallel", "half", "series"), "residual_adapters"),
    **dict.fromkeys(("shared", "single", "attached"), "universal_representations"),
    **dict.fromkeys(("dense", "dense_single"), "universal_representations_dense"),
    "url": "url",
}


def write(folder: pathlib.Path, width: int) -> None:
    process = subprocess.run(
        [sys.executable, str(WRITER), str(folder), str(width)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr[-2000:]


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("networks")
    write(folder, 4)
    return folder


def convert(folder: pathlib.Path, kind: str) -> keras.Model:
    return from_torch(
        folder / f"{kind}.pth", SOURCES[kind], DOMAINS.get(kind, ["photo", "sketch"]),
        modules=["torch_networks"],
    )  # fmt: skip


def check_outputs(model: keras.Model, folder: pathlib.Path, kind: str) -> None:
    with np.load(folder / f"{kind}.npz") as stored:
        expected = dict(stored)
    images = expected.pop("images").transpose(0, 2, 3, 1)
    for number, (name, right) in enumerate(sorted(expected.items())):
        if kind.startswith("dense"):
            task = list(model.tasks)[number]
            found = model(images, training=False)[task]
            found = ops.log_softmax(found) if task == "segmentation" else found
            right = right.transpose(0, 2, 3, 1)
        elif kind == "url":
            found = model(images, training=False)
        else:
            found = model(images, domain=model.domains[number], training=False)
        found = ops.convert_to_numpy(found)
        scale = np.abs(right).max()
        np.testing.assert_allclose(found / scale, right / scale, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_are_the_authors_and_weights_go_back(files, kind) -> None:
    model = convert(files, kind)
    check_outputs(model, files, kind)
    state = to_torch(model, SOURCES[kind])
    again = from_torch(state, SOURCES[kind], DOMAINS.get(kind, ["photo", "sketch"]))
    for one, other in zip(model.variables, again.variables, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(one), ops.convert_to_numpy(other))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["parallel", "shared", "attached", "url"])
def test_networks_of_full_size_convert(tmp_path, kind) -> None:
    write(tmp_path, 32)
    check_outputs(convert(tmp_path, kind), tmp_path, kind)


def changed(state: dict[str, np.ndarray], what: str) -> dict[str, np.ndarray]:
    names = sorted(state)
    if what == "missing":
        return {name: state[name] for name in names[1:]}
    if what == "unused":
        return {**state, "layer9.0.conv1.weight": np.zeros((4, 4, 3, 3))}
    return {**state, "layer1.0.bn1.weight": np.zeros(7)}


@pytest.mark.parametrize(
    "what, message",
    [("missing", "1 missing"), ("unused", "1 unused"), ("shape", "layer1.0.bn1.weight.*\\(7,\\)")],
)
def test_weights_that_do_not_fit_are_refused(files, what, message) -> None:
    state = to_torch(convert(files, "shared"), "universal_representations")
    with pytest.raises(ValueError, match=message):
        from_torch(changed(state, what), "universal_representations", ["photo", "sketch"])


# What the authors' programs save beside the weights, and what they do not.
KNOWN = ["optimizer.state.0.momentum_buffer", "adaptor_optimizer.state.1.step", "adaptors.0.weight",
         "optimizer_adaptor.state.0.exp_avg", "adaptor_depth.conv1.weight"]  # fmt: skip
UNKNOWN = ["layer9.weight", "classifier.bias", "conv1.weight", "bn1.num_batches_tracked"]


@pytest.mark.parametrize("wrapper", ["net.", "state_dict."])
def test_what_stands_beside_the_weights_is_known_or_refused(files, wrapper) -> None:
    state = to_torch(convert(files, "single"), "universal_representations")
    wrapped = {wrapper + name: value for name, value in state.items()}
    known = dict.fromkeys(KNOWN, np.ones(3)) | {f"{wrapper}bn1.num_batches_tracked": np.ones(())}
    from_torch(wrapped | known, "universal_representations", ["photo"])
    for name in UNKNOWN:
        with pytest.raises(ValueError, match=f"0 missing.*1 unused.*{name}"):
            from_torch({**wrapped, name: np.ones(3)}, "universal_representations", ["photo"])


def test_no_part_of_urls_classifiers_but_those_that_there_are_is_left_out(files) -> None:
    state = to_torch(convert(files, "url"), "url")
    for name in ("cls_fn.weight", "cls_fn.7.weight", "cls_fn.0.bias", "cls_fn.2.scale"):
        from_torch({**state, name: np.ones(3)}, "url")
    for name in ("cls_fn.bogus", "cls_fn.weight.0", "cls_fns.0.weight"):
        with pytest.raises(ValueError, match=f"1 unused.*{name}"):
            from_torch({**state, name: np.ones(3)}, "url")


CLASSES = {"photo": 3, "sketch": 4}


def adapted(
    adapter: str | None = "parallel", placement: Any = "all", normalization: str = "domain",
    domains: tuple[str, ...] = ("photo", "sketch"), **trunk: Any,
) -> MultiDomainModel:  # fmt: skip
    """A frozen trunk with parts of each domain, as the shipped networks are."""
    backbone = AdaptedBackbone(
        ResNet26(width=0.0625, **trunk), domains, adapter, placement, normalization
    )
    return MultiDomainModel(backbone, CLASSES)


def own(adapter: str | None = "parallel", **options: Any) -> MultiDomainModel:
    """A network whose backbone knows the domains by itself."""
    named = adapter is not None or options.get("normalization") == "domain"
    network = ResNet26(list(CLASSES) if named else None, adapter, width=0.0625, **options)
    return MultiDomainModel(network, CLASSES)


def draw(model: keras.Model) -> None:
    rng = np.random.default_rng(0)
    for variable in model.weights:
        shape, positive = tuple(variable.shape), "variance" in variable.path
        scale = 1.0 / np.sqrt(np.prod(shape[:-1])) if len(shape) > 1 else 0.2
        variable.assign(scale * rng.normal(size=shape) ** (2 if positive else 1) + 0.5 * positive)


def logits(model: keras.Model, domain: str) -> np.ndarray:
    images = np.random.default_rng(1).normal(size=(2, 16, 16, 3)).astype("float32")
    return ops.convert_to_numpy(model(images, domain=domain, training=False))


def check_there_and_back(model: MultiDomainModel, source: str) -> None:
    again = from_torch(to_torch(model, source), source, model.domains)
    for name in model.domains:
        expected = logits(model, name)
        assert np.ptp(expected) > 1e-3
        np.testing.assert_allclose(logits(again, name), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "make",
    [
        adapted,
        lambda: adapted("series"),
        lambda: adapted("parallel", ["stem", ".*unit2/convolution"]),
        lambda: adapted(None),
        lambda: adapted(normalization="shared"),
        lambda: adapted(domains=("sketch", "photo")),
        lambda: own(normalization="shared"),
        lambda: own(None),
    ],
)
def test_networks_with_parts_of_each_domain_go_to_residual_adapters_and_back(make) -> None:
    model = make()
    draw(model)
    check_there_and_back(model, "residual_adapters")


def test_adapters_over_a_frozen_trunk_go_to_universal_representations_and_back() -> None:
    model = adapted(end_activation=False)
    draw(model)
    check_there_and_back(model, "universal_representations")


@pytest.mark.slow
def test_the_shipped_network_goes_to_residual_adapters_and_back() -> None:
    check_there_and_back(UniversalResNet26("vdd"), "residual_adapters")


@pytest.mark.parametrize(
    "source, make, message",
    [
        ("universal_representations", lambda: own(None), "end_activation=False, not True"),
        ("residual_adapters", lambda: own(None, end_activation=False), "end_activation=True"),
        ("residual_adapters", lambda: own(None, pooling=None), "pooling='avg', not None"),
        ("residual_adapters", lambda: own(placement="stem"), "at the stem and half"),
        ("residual_adapters", lambda: own(placement="late"), "at the stem and half"),
        ("residual_adapters", lambda: own(placement="half"), "at the stem and half"),
        ("residual_adapters", lambda: adapted("piggyback"), "parallel, series or no adapters"),
        ("residual_adapters", lambda: adapted("copy"), "parallel, series or no adapters"),
        (
            "residual_adapters",
            lambda: adapted(domains=("photo", "sketch", "other")),
            "no weights such as .*other",
        ),
        ("universal_representations", lambda: own(end_activation=False, placement="half"), "all"),
        (
            "universal_representations",
            lambda: own(None, end_activation=False, normalization="domain"),
            "no part that domains have",
        ),
        (
            "universal_representations_dense",
            lambda: SegNet({"depth": 1, "normals": 3}, width=0.0625, normalized=["depth"]),
            r"normalized=\['normals'\], not \['depth'\]",
        ),
        ("universal_representations_dense", lambda: SegNet(width=0.0625), "another architecture"),
        ("residual_adapters", lambda: ResNet18(width=0.0625), "another architecture"),
    ],
)
def test_a_network_that_a_repository_does_not_have_is_not_written(source, make, message) -> None:
    with pytest.raises(ValueError, match=f"{message}.*Choose another `source`"):
        to_torch(make(), source)


def test_wrong_sources_and_domains_are_refused(files) -> None:
    state: dict[str, Any] = to_torch(convert(files, "shared"), "universal_representations")
    with pytest.raises(ValueError, match="must be one of residual_adapters"):
        from_torch(state, "timm")
    with pytest.raises(ValueError, match=r"\['photo'\] for 2 classifiers, of \[5, 7\]"):
        from_torch(state, "universal_representations", ["photo"])
    with pytest.raises(ValueError, match="Choose another `source`"):
        to_torch(convert(files, "url"), "residual_adapters")
    for kind, names in (("dense", ["a", "b", "c"]), ("dense_single", [])):
        with pytest.raises(ValueError, match="may be left out where there are several"):
            from_torch(files / f"{kind}.pth", "universal_representations_dense", names)
