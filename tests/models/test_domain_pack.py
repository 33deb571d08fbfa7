"""A domain travels as one small file, and only onto the trunk that it was made for."""

from __future__ import annotations

import json
import pathlib
import zipfile

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
    """Loading raises an error, and leaves every bit and domain as it was."""
    before, domains = bits(model), model.domains
    with pytest.raises(ValueError, match=match):
        load_domain_pack(model, path, name="new")
    assert model.domains == model.backbone.domains == domains
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


def test_a_pack_of_other_shapes_is_refused(tmp_path: pathlib.Path) -> None:
    """The same layers with other options than the manifest can tell apart."""
    path = tmp_path / "sketch.zip"
    save_domain_pack(trained(adapter_options={"rank": 2}), "sketch", path)
    refuses(network({"digits": 4}), path, "other names or shapes")


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
def test_a_truncated_pack_is_refused(keep: float, tmp_path: pathlib.Path) -> None:
    model, path = trained(), tmp_path / "sketch.zip"
    save_domain_pack(model, "sketch", path)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    refuses(model, path, "whole, unaltered domain pack")


def rewrite(path: pathlib.Path, change: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**files, **change}.items():
            archive.writestr(name, content)


def test_an_altered_pack_is_refused(tmp_path: pathlib.Path) -> None:
    model, path = trained(), tmp_path / "sketch.zip"
    save_domain_pack(model, "sketch", path)
    with zipfile.ZipFile(path) as archive:
        array = bytearray(archive.read("head/kernel.npy"))
    array[-1] ^= 1
    rewrite(path, {"head/kernel.npy": bytes(array)})
    refuses(model, path, "checksum of 'head/kernel'")


@pytest.mark.parametrize("manifest", [b"{}", b"[]", b"no json", json.dumps({"format": 1}).encode()])
def test_another_manifest_is_refused(manifest: bytes, tmp_path: pathlib.Path) -> None:
    model, path = trained(), tmp_path / "sketch.zip"
    save_domain_pack(model, "sketch", path)
    rewrite(path, {"manifest.json": manifest})
    refuses(model, path, "whole, unaltered domain pack")


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
