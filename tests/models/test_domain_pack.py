"""A domain travels as one small file, and only onto the trunk that it was made for."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.backbones import AdaptedBackbone
from keras_univrep.models import (
    MultiDomainModel,
    load_domain_pack,
    read_pack,
    save_domain_pack,
)
from tests.harness import bits
from tests.models import toys
from tests.models.packs import X, logits, network, refuses, trained

CONVS = ("conv0", "conv1")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"adapter": "series"},
        {"adapter": None},
        {"normalization": "shared", "adapter_options": {"rank": 2}},
        {"adapter": "copy", "placement": ".*"},
    ],
)
def test_a_domain_comes_back_bit_for_bit(options: dict, tmp_path: pathlib.Path) -> None:
    model, path = trained(**options), tmp_path / "sketch.zip"
    written = save_domain_pack(
        model,
        "sketch",
        path,
        class_names=["cat", "dog", "fox"],
        description="three animals",
        preprocessing={"mean": [0.5, 0.5, 0.5]},
    )
    other = network({"digits": 4}, **options)
    before = logits(other, "digits")
    pack = load_domain_pack(other, path)
    assert pack == written
    assert (pack.class_names, pack.description) == (("cat", "dog", "fox"), "three animals")
    assert other.domains == ("digits", "sketch")
    np.testing.assert_array_equal(logits(other, "sketch"), logits(model, "sketch"))
    np.testing.assert_array_equal(logits(other, "digits"), before)


def test_a_pack_holds_the_domain_alone(tmp_path: pathlib.Path) -> None:
    model, path = trained(), tmp_path / "sketch.zip"
    save_domain_pack(model, "sketch", path)
    _, arrays = read_pack(path)
    own = sum(v.shape.num_elements() if hasattr(v.shape, "num_elements") else np.prod(v.shape)
              for v in model.backbone.domain_weights("sketch").values())  # fmt: skip
    assert sum(array.size for array in arrays.values()) == own + 3 * 8 + 3


def test_a_pack_may_take_another_name(tmp_path: pathlib.Path) -> None:
    model, path = trained(), tmp_path / "sketch.zip"
    save_domain_pack(model, "sketch", path)
    with pytest.raises(ValueError, match="new to the network.*Received: name='sketch'"):
        load_domain_pack(model, path)
    load_domain_pack(model, path, name="drawing")
    np.testing.assert_array_equal(logits(model, "drawing"), logits(model, "sketch"))


def test_another_trunk_is_refused(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "sketch.zip"
    save_domain_pack(trained(), "sketch", path)
    refuses(network({"digits": 4}, trunk_seed=2), path, "must have the trunk.*fingerprint")


@pytest.mark.parametrize(
    "options", [{"adapter": "series"}, {"placement": "conv1"}, {"normalization": "shared"}]
)
def test_other_adapters_are_refused(options: dict, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "sketch.zip"
    save_domain_pack(trained(), "sketch", path)
    refuses(network({"digits": 4}, **options), path, "kind of adapters")


def test_the_kind_is_named_in_words(tmp_path: pathlib.Path) -> None:
    options = {"normalization": "shared", "placement": "conv1"}
    path = tmp_path / "sketch.zip"
    save_domain_pack(trained(**options), "sketch", path)
    refuses(network({"digits": 4}, **{**options, "placement": "all"}), path, "at 1 layer. Received")
    save_domain_pack(trained(normalization="shared"), "sketch", path)
    words = r"at 2 layers. Received: .* at 1 layer, of which only one of them has \['conv0'\]"
    refuses(network({"digits": 4}, **options), path, words)


@pytest.mark.parametrize(
    ("options", "other", "words"),
    [
        (
            {"adapter": "piggyback", "adapter_options": {"threshold": 5e-3}},
            {"adapter": "piggyback", "adapter_options": {"threshold": 1.5e-2}},
            "threshold=0.005 at 'conv0' and 1 more. Received: threshold=0.015",
        ),
        ({"adapter_options": {"rank": 2}}, {}, "rank=2 at 'conv0' and 1 more. Received: rank=None"),
        (
            {},
            {"layer_options": {"conv1": {"rank": 3}}},
            "rank=None at 'conv1'. Received: rank=3. Pass",
        ),
        (
            {"adapter": "series"},
            {"adapter": "series", "adapter_options": {"normalize": False}},
            "normalize=True at 'conv0' and 1 more. Received: normalize=None",
        ),
    ],
)
def test_other_options_are_refused(
    options: dict, other: dict, words: str, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "sketch.zip"
    save_domain_pack(trained(**options), "sketch", path)
    refuses(network({"digits": 4}, **other), path, f"have the options .*: {words}")


@pytest.mark.parametrize(
    ("options", "other"),
    [
        ({"adapter_options": {"dropout": 0.5}}, {}),
        ({}, {"adapter_options": {"adapter_initializer": "he_normal"}}),
        ({"adapter_options": {"rank": 2}}, {"layer_options": {n: {"rank": 2} for n in CONVS}}),
        (
            {"adapter": "piggyback"},
            {"adapter": "piggyback", "adapter_options": {"threshold": 5e-3}},
        ),
        ({}, {"normalization": "new"}),
    ],
)
def test_options_that_compute_the_same_fit(
    options: dict, other: dict, tmp_path: pathlib.Path
) -> None:
    model, path = trained(**options), tmp_path / "sketch.zip"
    save_domain_pack(model, "sketch", path)
    fresh = network({"digits": 4}, **other)
    load_domain_pack(fresh, path)
    np.testing.assert_array_equal(logits(fresh, "sketch"), logits(model, "sketch"))


def unnamed(domains: dict[str, int], strides: int = 1) -> MultiDomainModel:
    """Over a trunk whose layers Keras names, and so differently each time."""
    entry = x = keras.Input((None, None, 3))
    for number in range(2):
        x = keras.layers.Conv2D(4, 3, strides=strides if number else 1)(x)
        x = keras.layers.BatchNormalization()(x)
    trunk = toys.draw_weights(keras.Model(entry, x), 1)
    return MultiDomainModel(AdaptedBackbone(trunk, list(domains)), domains)


def test_a_trunk_whose_layers_keras_names_is_known_again(tmp_path: pathlib.Path) -> None:
    model, path = unnamed({"sketch": 3}), tmp_path / "sketch.zip"
    for variable in model.backbone.domain_weights("sketch").values():
        variable.assign(np.random.default_rng(2).uniform(0.1, 1.0, variable.shape))
    save_domain_pack(model, "sketch", path)
    other = unnamed({"digits": 4})
    assert not set(other.backbone.banks) & set(model.backbone.banks)
    load_domain_pack(other, path)
    np.testing.assert_array_equal(logits(other, "sketch"), logits(model, "sketch"))
    other.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    load_domain_pack(loaded, path, name="again")
    np.testing.assert_array_equal(logits(loaded, "again"), logits(model, "sketch"))


def test_another_trunk_of_equal_weights_is_refused(tmp_path: pathlib.Path) -> None:
    model, path = unnamed({"sketch": 3}), tmp_path / "sketch.zip"
    save_domain_pack(model, "sketch", path)
    other = unnamed({"digits": 4}, strides=2)
    for mine, theirs in zip(model.backbone.trunk.weights, other.backbone.trunk.weights):
        np.testing.assert_array_equal(ops.convert_to_numpy(mine), ops.convert_to_numpy(theirs))
    refuses(other, path, "must have the trunk.*fingerprint.*other weights, layers or options")


def test_a_domain_of_the_backbone_alone_is_not_written_over(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "sketch.zip"
    save_domain_pack(trained(), "sketch", path)
    trunk = toys.draw_weights(toys.conv_backbone(8), 1)
    model = MultiDomainModel(AdaptedBackbone(trunk, ["digits", "new"]), {"digits": 4})
    before = bits(model)
    with pytest.raises(ValueError, match=r"which has \['digits', 'new'\]. Received: name='new'"):
        load_domain_pack(model, path, name="new")
    for name, value in bits(model).items():
        np.testing.assert_array_equal(before[name], value)


def test_a_domain_of_low_precision_comes_back(tmp_path: pathlib.Path) -> None:
    def model(domains: dict[str, int]) -> MultiDomainModel:
        entry = keras.Input((None, None, 3))
        x = keras.layers.Conv2D(4, 3, dtype="bfloat16")(entry)
        trunk = toys.draw_weights(keras.Model(entry, x), 1)
        return MultiDomainModel(AdaptedBackbone(trunk, list(domains)), domains)

    first, path = model({"sketch": 3}), tmp_path / "sketch.zip"
    for variable in first.backbone.domain_weights("sketch").values():
        variable.assign(np.random.default_rng(2).normal(size=variable.shape))
    save_domain_pack(first, "sketch", path)
    other = model({"digits": 4})
    load_domain_pack(other, path)
    np.testing.assert_array_equal(logits(other, "sketch"), logits(first, "sketch"))


def test_what_is_written_is_what_is_read(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "sketch.zip"
    written = save_domain_pack(
        trained(), "sketch", path, np.array(["cat", "dog", "fox"]), preprocessing={1: (2, None)}
    )
    assert read_pack(path)[0] == written
    assert (written.class_names, written.preprocessing) == (("cat", "dog", "fox"), {"1": [2, None]})


def test_what_cannot_be_packed_says_so(tmp_path: pathlib.Path) -> None:
    plain = MultiDomainModel(toys.conv_backbone(8), {"photo": 5})
    with pytest.raises(TypeError, match="over an AdaptedBackbone"):
        save_domain_pack(plain, "photo", tmp_path / "photo.zip")
    with pytest.raises(ValueError, match="Received: domain='x'"):
        save_domain_pack(trained(), "x", tmp_path / "x.zip")
    with pytest.raises(ValueError, match="2 names for 3 classes"):
        save_domain_pack(trained(), "sketch", tmp_path / "x.zip", class_names=["a", "b"])
    with pytest.raises(FileNotFoundError):
        load_domain_pack(trained(), tmp_path / "x.zip")
    assert not list(tmp_path.iterdir())


def test_a_loaded_domain_trains(tmp_path: pathlib.Path) -> None:
    model, path = trained(), tmp_path / "sketch.zip"
    save_domain_pack(model, "sketch", path)
    other = network({"digits": 4})
    other.compile(keras.optimizers.SGD(0.1))
    load_domain_pack(other, path)
    x, y = {"sketch": X}, {"sketch": np.zeros(len(X), "int32")}
    with pytest.raises(ValueError, match="compile"):
        other.fit(x, y, verbose=0)
    other.compile(keras.optimizers.SGD(0.01, weight_decay=0.1), domains=["sketch"])
    before, old = logits(other, "sketch"), logits(other, "digits")
    other.fit(x, y, verbose=0)
    assert not np.array_equal(logits(other, "sketch"), before)
    np.testing.assert_array_equal(logits(other, "digits"), old)
