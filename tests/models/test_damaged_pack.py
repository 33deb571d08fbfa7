"""A pack that is damaged, altered or of another form is refused, and changes nothing."""

from __future__ import annotations

import hashlib
import io
import json
import pathlib
import zipfile
from typing import Any

import numpy as np
import pytest

from keras_univrep.models import read_pack, save_domain_pack
from tests.models.packs import refuses, trained


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
