"""A domain travels as one small file, and only onto the trunk that it was made for."""

from __future__ import annotations

import hashlib
import io
import json
import pathlib
import zipfile
from typing import Any

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

X = toys.images(1, 4)
CONVS = ("conv0", "conv1")


def network(domains: dict[str, int], trunk_seed: int = 1, **options: object) -> MultiDomainModel:
    trunk = toys.draw_weights(toys.conv_backbone(8), trunk_seed)
    return MultiDomainModel(AdaptedBackbone(trunk, list(domains), **options), domains)


def trained(**options: object) -> MultiDomainModel:
    model = network({"photo": 5, "sketch": 3}, **options)
    rng = np.random.default_rng(5)
    for domain in model.domains:
        for variable in (
            *model.backbone.domain_weights(domain).values(),
            *model.head(domain).weights,
        ):
            variable.assign(np.abs(rng.normal(size=variable.shape)) + 0.1)
    return model


def logits(model: MultiDomainModel, domain: str) -> np.ndarray:
    return ops.convert_to_numpy(model(X, domain=domain))


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


def refuses(model: MultiDomainModel, path: pathlib.Path, match: str) -> None:
    """Loading raises an error, and leaves every bit and domain, and what is compiled, as it was."""
    model.compile("sgd")
    model.predict_on_batch({domain: X for domain in model.domains})
    predict = model.predict_function
    before, domains = bits(model), model.domains
    with pytest.raises(ValueError, match=match):
        load_domain_pack(model, path, name="new")
    assert model.domains == model.backbone.domains == domains
    assert model.compiled and model.predict_function is predict is not None
    after = bits(model)
    assert list(after) == list(before)
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value)


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


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
def test_a_truncated_pack_is_refused(keep: float, tmp_path: pathlib.Path) -> None:
    model, path = trained(), tmp_path / "sketch.zip"
    save_domain_pack(model, "sketch", path)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    refuses(model, path, "whole, unaltered domain pack")


def test_a_flipped_byte_is_found_or_harmless(tmp_path: pathlib.Path) -> None:
    model, path = trained(), tmp_path / "sketch.zip"
    save_domain_pack(model, "sketch", path, class_names=["cat", "dog", "fox"])
    expected, arrays = read_pack(path)
    content = path.read_bytes()
    rng, found = np.random.default_rng(0), 0
    for place in rng.choice(len(content), 120, replace=False):
        broken = bytearray(content)
        broken[place] ^= rng.integers(1, 256)
        path.write_bytes(bytes(broken))
        try:
            pack, same = read_pack(path)
        except ValueError as error:
            assert "must be a whole, unaltered domain pack. Received" in str(error)
            found += 1
        else:
            # The archive has times and attributes that say nothing.
            assert pack == expected and same.keys() == arrays.keys()
            for name, array in arrays.items():
                np.testing.assert_array_equal(same[name], array)
    assert found > 60


def rewrite(path: pathlib.Path, change: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**files, **change}.items():
            archive.writestr(name, content)


def checked(manifest: bytes) -> dict[str, bytes]:
    """A manifest with the checksum that belongs to it."""
    checksum = hashlib.sha256(manifest).hexdigest().encode()
    return {"manifest.json": manifest, "manifest.sha256": checksum}


def manifest_of(path: pathlib.Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("manifest.json"))


def test_an_altered_pack_is_refused(tmp_path: pathlib.Path) -> None:
    model, path = trained(), tmp_path / "sketch.zip"
    save_domain_pack(model, "sketch", path)
    with zipfile.ZipFile(path) as archive:
        array = bytearray(archive.read("head/kernel.npy"))
    array[-1] ^= 1
    rewrite(path, {"head/kernel.npy": bytes(array)})
    refuses(model, path, "checksum of 'head/kernel'")


@pytest.mark.parametrize(
    "change",
    [
        {"class_names": ["fox", "dog", "cat"]},
        {"preprocessing": {"mean": [0.0, 0.0, 0.0]}},
        {"description": "no animals"},
    ],
)
def test_an_altered_manifest_is_refused(change: dict, tmp_path: pathlib.Path) -> None:
    model, path = trained(), tmp_path / "sketch.zip"
    save_domain_pack(
        model, "sketch", path, ["cat", "dog", "fox"], preprocessing={"mean": [0.5, 0.5, 0.5]}
    )
    rewrite(path, {"manifest.json": json.dumps({**manifest_of(path), **change}).encode()})
    refuses(model, path, "checksum of its manifest")


@pytest.mark.parametrize(
    "manifest",
    [b"{}", b"[]", b"[1]", b'"words"', b"3", b"null", b"true", b"no json", b"\xff", b"[" * 99999],
)
def test_another_manifest_is_refused(manifest: bytes, tmp_path: pathlib.Path) -> None:
    model, path = trained(), tmp_path / "sketch.zip"
    save_domain_pack(model, "sketch", path)
    rewrite(path, checked(manifest))
    refuses(model, path, "whole, unaltered domain pack. Received")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        *[
            ({name: value}, f"'{name}' in its manifest cannot be {value!r}")
            for name in ("layers", "trunk", "sha256", "num_classes", "class_names", "preprocessing")
            for value in (None, True)
        ],
        ({"adapter": 3}, "'adapter' in its manifest cannot be 3"),
        ({"num_classes": "3"}, "'num_classes' in its manifest cannot be '3'"),
        ({"num_classes": 0}, "0 classes"),
        ({"class_names": ["cat"]}, "1 names for 3 classes"),
        ({"layers": {"conv0": None}}, "layer 'conv0'.*position and options, and has None"),
        ({"layers": {"conv0": {"position": "0", "options": {}}}}, "layer 'conv0'"),
        ({"sha256": {"head/kernel": 3}}, "checksum of 'head/kernel'"),
        ({"sha256": {"elsewhere": ""}}, "elsewhere"),
        ({"more": 1}, "its manifest must have .* and has .*'more'"),
        ({"format": "keras_univrep domain pack 1"}, "domain pack 2' and has '.*domain pack 1'"),
    ],
)
def test_a_manifest_of_the_wrong_form_is_refused(
    change: dict, words: str, tmp_path: pathlib.Path
) -> None:
    model, path = trained(), tmp_path / "sketch.zip"
    save_domain_pack(model, "sketch", path)
    rewrite(path, checked(json.dumps({**manifest_of(path), **change}).encode()))
    refuses(model, path, f"whole, unaltered domain pack. Received.*{words}.*write it again")


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((8, 4), "float32"), r"names and shapes. Received others: \['head/kernel'\]"),
        (np.full((8, 3), "x"), "'head/kernel' must hold numbers and holds <U1"),
        (np.full((8, 3), None), "allow_pickle"),
    ],
)
def test_other_arrays_are_refused(array: np.ndarray, words: str, tmp_path: pathlib.Path) -> None:
    model, path = trained(), tmp_path / "sketch.zip"
    save_domain_pack(model, "sketch", path)
    buffer = io.BytesIO()
    np.save(buffer, array)
    manifest = manifest_of(path)
    manifest["sha256"]["head/kernel"] = hashlib.sha256(buffer.getvalue()).hexdigest()
    change = checked(json.dumps(manifest).encode())
    rewrite(path, {**change, "head/kernel.npy": buffer.getvalue()})
    refuses(model, path, words)


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
