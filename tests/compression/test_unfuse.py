"""`unfuse`: the trunk comes back from the fused kernels, and from nowhere else."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import keras
import numpy as np
import pytest

from keras_univrep.backbones import ResNet26
from keras_univrep.compression import fuse, unfuse
from keras_univrep.models import MultiDomainModel
from tests.compression.networks import (
    CLASSES,
    adapted,
    assert_close,
    conv_net,
    images,
    numpy,
    settle,
    subclassed,
    zoo,
)
from tests.harness import bits

NAMES = list(CLASSES)
WIDTH = 1 / 16


def resnet26(adapter: str) -> MultiDomainModel:
    return settle(MultiDomainModel(ResNet26(NAMES, adapter=adapter, width=WIDTH), CLASSES))


def without_trunk(model: keras.Model) -> keras.Model:
    """A copy of a network whose trunk's kernels and biases are lost."""
    copy = type(model).from_config(model.get_config())
    copy.set_weights([np.array(weight) for weight in model.get_weights()])
    backbone = copy.backbone
    kernels = [v for v in backbone.weights if v.path.endswith(("kernel", "bias"))]
    adapters = {id(v) for x in backbone._flatten_layers() for p in _parts(x) for v in p.weights}
    lost = [v for v in kernels if id(v) not in adapters]
    assert lost
    for variable in lost:
        variable.assign(np.full(variable.shape, 7.0, "float32"))
    return copy


def _parts(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    return getattr(layer, "parts", [])


CASES: dict[str, Callable[[], MultiDomainModel]] = {
    "graph": lambda: adapted(zoo(), placement="all"),
    "graph, shared": lambda: adapted(zoo(), placement="all", normalization="shared"),
    "series": lambda: adapted(conv_net(), adapter="series"),
    "copies": lambda: adapted(conv_net(), adapter="copy", placement="conv1"),
    "subclassed": lambda: adapted(subclassed(names=["first", "norm", "last"])),
    "subclassed, named by Keras": lambda: adapted(subclassed()),
    "resnet26": lambda: adapted(ResNet26(width=WIDTH), normalization="shared"),
    "resnet26, series": lambda: resnet26("series"),
}


@pytest.mark.parametrize("folds", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_undoes_fuse_for_all_domains(name: str, folds: bool) -> None:
    model = CASES[name]()
    expected = {domain: numpy(model(images(), domain=domain)) for domain in NAMES}
    like = model if name == "copies" else without_trunk(model)
    before = bits(like)
    again = unfuse(fuse(model, "sketch", normalization=folds), like, "sketch")
    assert type(again) is MultiDomainModel
    for domain in NAMES:
        assert_close(again(images(), domain=domain), expected[domain])
    after = bits(like)
    assert all(np.array_equal(value, after[path]) for path, value in before.items())
    for mine, theirs in zip(again.weights, model.weights, strict=True):
        np.testing.assert_allclose(numpy(mine), numpy(theirs), atol=2e-5, err_msg=mine.path)


def test_a_saved_fused_network_is_undone_as_well(tmp_path: pathlib.Path) -> None:
    model = adapted(conv_net())
    fuse(model, "photo").save(tmp_path / "fused.keras")
    fused = keras.saving.load_model(tmp_path / "fused.keras")
    again = unfuse(fused, without_trunk(model), "photo")
    assert_close(again(images(), domain="sketch"), model(images(), domain="sketch"))


def test_backbones_are_undone_as_well() -> None:
    backbone = adapted(conv_net()).backbone
    again = unfuse(fuse(backbone, "photo"), backbone, "photo")
    assert type(again) is type(backbone)
    assert_close(again(images(), domain="sketch"), backbone(images(), domain="sketch"))


def test_a_scale_of_zero_cannot_be_undone() -> None:
    model = adapted(conv_net())
    gamma = model.backbone.banks["norm1"].part("photo").gamma
    value = numpy(gamma)
    value[[1, 4]] = 0.0
    gamma.assign(value)
    with pytest.raises(ValueError, match=r"scale 0 in channels \[1, 4\] after 'conv1'"):
        unfuse(fuse(model, "photo"), model, "photo")
    unfuse(fuse(model, "photo", normalization=False), model, "photo")


def test_a_series_adapter_that_loses_a_channel_cannot_be_undone() -> None:
    model = adapted(conv_net(), adapter="series", adapter_options={"normalize": False})
    model.backbone.banks["conv1"].part("photo").kernel.assign(-np.eye(6))
    with pytest.raises(ValueError, match="invertible.*condition number.*'conv1'"):
        unfuse(fuse(model, "photo"), model, "photo")


def test_other_adapters_cannot_be_undone() -> None:
    model = adapted(conv_net(), adapter="piggyback")
    with pytest.raises(ValueError, match="Received: PiggybackMask at 'conv0'"):
        unfuse(fuse(model, "photo"), model, "photo")


@pytest.mark.parametrize("trunk", [conv_net, lambda: ResNet26(width=WIDTH)])
def test_another_domain_than_the_fused_one_is_noticed(trunk: Callable[[], keras.Model]) -> None:
    model = adapted(trunk())
    with pytest.raises(ValueError, match="too much in.*Pass the domain"):
        unfuse(fuse(model, "photo"), model, "sketch")


def test_other_structures_are_refused() -> None:
    model = adapted(conv_net())
    fused = fuse(model, "photo")
    for other, words in (
        (adapted(zoo()), "'stem' with weights"),
        (adapted(subclassed()), "one Subclassed. Received: 0"),
        (adapted(wider()), r"'conv0' with weights.*Received: \[\(3, 3, 3, 4\)"),
    ):
        with pytest.raises(ValueError, match=words):
            unfuse(fused, other, "photo")
    with pytest.raises(ValueError, match=r"no layers but its own. Received: \['extra'\]"):
        unfuse(fuse(adapted(deeper()), "photo"), model, "photo")
    with pytest.raises(TypeError, match="Received: 'fused'"):
        unfuse("fused", model, "photo")
    with pytest.raises(ValueError, match="Received: domain='video'"):
        unfuse(fused, model, "video")


def wider() -> keras.Model:
    entry = keras.Input((None, None, 3))
    return keras.Model(entry, keras.layers.Conv2D(5, 3, name="conv0")(entry))


def deeper() -> keras.Model:
    trunk = conv_net()
    return keras.Model(trunk.input, keras.layers.Conv2D(8, 1, name="extra")(trunk.output))
