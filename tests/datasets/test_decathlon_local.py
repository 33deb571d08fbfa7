"""`decathlon_local` reads, divides, resizes and caches the sets of a folder."""

import os
import pathlib
import re
import shutil
import sys
import zipfile
from typing import Any

import numpy as np
import pytest
from PIL import Image

from keras_univrep.datasets import (
    Domain,
    MultiDomainSequence,
    decathlon_local,
    multi_domain_pipeline,
    pipeline,
)
from keras_univrep.datasets.decathlon_sources import SOURCES
from tests.datasets.local_sets import write_local_sets

SPLITS = ("train", "validation", "test")
REAL = os.environ.get("KERAS_UNIVREP_DATA", "")
needs_real_sets = pytest.mark.skipif(
    not pathlib.Path(REAL or "absent").is_dir(),
    reason="KERAS_UNIVREP_DATA names no folder of real image sets",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return write_local_sets(tmp_path_factory.mktemp("sets"))


@pytest.fixture
def cache(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "cache"


def rows(images: np.ndarray) -> list[bytes]:
    return [image.tobytes() for image in images]


def keys(domain: Domain) -> dict[str, list[bytes]]:
    return {split: rows(domain.arrays(split)[0]) for split in SPLITS}


def load(folder: pathlib.Path, name: str) -> dict[str, np.ndarray]:
    with np.load(folder / SOURCES[name].file) as file:
        return dict(file)


def test_all_sets_open_with_their_classes_and_splits(
    folder: pathlib.Path, cache: pathlib.Path
) -> None:
    domains = decathlon_local(folder, 16, cache_dir=cache)
    counts = {name: [d.num_classes, *map(d.size, SPLITS)] for name, d in domains.items()}
    assert counts == {
        "tiny_imagenet": [3, 24, 6, 6],
        "cifar100": [2, 16, 4, 4],
        "daimlerpedcls": [2, 8, 4, 4],
        "dtd10": [2, 4, 4, 4],
        "gtsrb": [3, 24, 6, 6],
        "flowers17": [2, 8, 4, 4],
        "omniglot28": [3, 33, 12, 15],
        "chars74k36": [2, 9, 3, 3],
        "ucf101_subset": [2, 8, 16, 12],
    }
    for name, domain in domains.items():
        assert domain.name == name and domain.image_shape == (16, 16, 3)
        assert domain.flip is (name not in ("gtsrb", "omniglot28", "chars74k36"))
        assert domain.licence and domain.source and domain.citation
        parts = [set(part) for part in keys(domain).values()]
        assert len(set.union(*parts)) == sum(map(domain.size, SPLITS))
        images = domain.arrays("train")[0] / 255.0
        np.testing.assert_allclose(domain.mean, images.mean((0, 1, 2)), atol=1e-9)
        np.testing.assert_allclose(domain.std, images.std((0, 1, 2)), atol=1e-9)
    assert domains["tiny_imagenet"].class_names == ("goldfish, gold", "newt", "frog")
    assert domains["flowers17"].class_names == ("daffodil", "pansy")
    assert domains["omniglot28"].class_names[2] == "Latin character01"
    assert domains["gtsrb"].class_names == ("0", "1", "2")


def test_images_of_an_npz_file_keep_their_labels_and_the_official_test_split(
    folder: pathlib.Path, cache: pathlib.Path
) -> None:
    domain = decathlon_local(folder, 32, ["cifar100"], cache_dir=cache)["cifar100"]
    source = load(folder, "cifar100")
    images, labels = domain.arrays("test")
    np.testing.assert_array_equal(images, source["x_test"])
    assert labels.tolist() == source["y_test"].tolist() and labels.dtype == np.int32
    truth = dict(zip(rows(source["x_train"]), source["y_train"].tolist(), strict=True))
    found = {
        key: label
        for split in ("train", "validation")
        for key, label in zip(
            rows(domain.arrays(split)[0]), domain.arrays(split)[1].tolist(), strict=True
        )
    }
    assert found == truth
    assert np.bincount(domain.arrays("validation")[1]).tolist() == [2, 2]


def test_files_that_follow_each_other_stay_together(
    folder: pathlib.Path, cache: pathlib.Path
) -> None:
    domains = decathlon_local(folder, 32, ["gtsrb", "chars74k36"], cache_dir=cache)
    signs = load(folder, "gtsrb")["x_train"].reshape(3, 10, 32, 32, 3)
    found = keys(domains["gtsrb"])
    assert found["train"] == rows(signs[:, :8].reshape(-1, 32, 32, 3))
    assert found["validation"] == rows(signs[:, 8:].reshape(-1, 32, 32, 3))
    letters = rows(load(folder, "chars74k36")["x"])
    found = keys(domains["chars74k36"])
    assert found["train"] == letters[:6] + letters[10:13]
    assert found["validation"] == letters[6:8] + letters[13:14]
    assert found["test"] == letters[8:10] + letters[14:]


def test_a_drawer_of_omniglot_is_in_one_split(folder: pathlib.Path, cache: pathlib.Path) -> None:
    domain = decathlon_local(folder, 28, ["omniglot28"], cache_dir=cache)["omniglot28"]
    bits = np.unpackbits(load(folder, "omniglot28")["packed"], axis=-1)[..., : 28 * 28]
    drawers = {}
    for label, character in enumerate(bits.reshape(3, 20, 28, 28, 1)):
        for drawer, image in enumerate(character):
            drawers[np.tile(image * np.uint8(255), 3).tobytes()] = drawer, label
    parts = []
    for split, count in zip(SPLITS, (11, 4, 5), strict=True):
        images, labels = domain.arrays(split)
        found = [drawers[key] for key in rows(images)]
        assert [label for _, label in found] == labels.tolist()
        parts.append({drawer for drawer, _ in found})
        assert len(parts[-1]) == count and len(found) == 3 * count
    assert set.union(*parts) == set(range(20))


def test_an_official_set_of_pedestrians_is_in_one_split(
    folder: pathlib.Path, cache: pathlib.Path
) -> None:
    arguments = {"names": ["daimlerpedcls"], "cache_dir": cache}
    source = load(folder, "daimlerpedcls")
    domain = decathlon_local(folder, 16, **arguments)["daimlerpedcls"]
    whole = [
        np.asarray(Image.fromarray(image).resize((16, 16), Image.Resampling.BILINEAR))
        for image in source["x_train"]
    ]
    colours = rows(np.repeat(np.stack(whole)[..., None], 3, -1))
    assert keys(domain)["train"] == colours[:8] and keys(domain)["validation"] == colours[8:]
    assert domain.arrays("validation")[1].tolist() == source["y_train"][8:].tolist()


def test_a_group_of_videos_is_in_one_split(folder: pathlib.Path, cache: pathlib.Path) -> None:
    domain = decathlon_local(folder, 84, ["ucf101_subset"], cache_dir=cache)["ucf101_subset"]
    groups = {}
    with zipfile.ZipFile(folder / SOURCES["ucf101_subset"].file) as file:
        for name in file.namelist():
            if name.startswith("dynamic/"):
                with file.open(name) as image:
                    key = np.asarray(Image.open(image)).tobytes()
                label = ("Archery", "Surfing").index(name.split("/")[2])
                groups[key] = int(re.search(r"_g(\d+)_", name)[1]), label
    expected = {"train": {12, 13}, "validation": {8, 9, 10, 11}, "test": {1, 2, 3}}
    for split, wanted in expected.items():
        images, labels = domain.arrays(split)
        found = [groups[key] for key in rows(images)]
        assert {group for group, _ in found} == wanted
        assert [label for _, label in found] == labels.tolist()


def triangle(image: np.ndarray, size: int) -> np.ndarray:
    """Bilinear resizing with antialiasing along both axes, in float64."""
    values = image.astype("float64")
    for axis in (0, 1):
        old = values.shape[axis]
        width = max(1.0, old / size)
        centres = (np.arange(size) + 0.5) * old / size - 0.5
        weights = np.maximum(0, 1 - np.abs(np.arange(old)[None] - centres[:, None]) / width)
        weights /= weights.sum(axis=1, keepdims=True)
        values = np.moveaxis(np.tensordot(weights, values, (1, axis)), 0, axis)
    return values


@pytest.mark.parametrize("size", [8, 13, 36, 72])
def test_resizing_does_not_alias(folder: pathlib.Path, cache: pathlib.Path, size: int) -> None:
    domain = decathlon_local(folder, size, ["gtsrb"], cache_dir=cache)["gtsrb"]
    expected = np.stack([triangle(image, size) for image in load(folder, "gtsrb")["x_test"]])
    # Pillow rounds after each axis.
    assert np.abs(domain.arrays("test")[0] - expected).max() <= 1.01


def test_shorter_cuts_the_central_square(folder: pathlib.Path, cache: pathlib.Path) -> None:
    arguments = {"names": ["daimlerpedcls", "gtsrb"], "cache_dir": cache}
    cut = decathlon_local(folder, 18, resize="shorter", **arguments)
    square = decathlon_local(folder, 18, **arguments)
    centre = load(folder, "daimlerpedcls")["x_test"][:, 9:27, :, None]
    np.testing.assert_array_equal(
        cut["daimlerpedcls"].arrays("test")[0], np.repeat(centre, 3, axis=-1)
    )
    assert keys(cut["daimlerpedcls"]) != keys(square["daimlerpedcls"])
    assert keys(cut["gtsrb"]) == keys(square["gtsrb"])


def test_a_copy_is_dropped_from_the_earlier_split(
    folder: pathlib.Path, cache: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    source = load(folder, "gtsrb")
    source["x_train"][0] = source["x_test"][3]  # train 0: a copy of test 3
    source["x_train"][9] = source["x_train"][11]  # validation 1 of class 0: a copy of train
    source["x_train"][5] = source["x_train"][4]  # a copy within a split stays
    path = tmp_path / SOURCES["gtsrb"].file
    path.parent.mkdir()
    np.savez(path, **source)
    domain = decathlon_local(tmp_path, 32, ["gtsrb"], cache_dir=cache)["gtsrb"]
    found = keys(domain)
    assert found["test"] == rows(source["x_test"])
    assert domain.size("validation") == 6
    kept = [i for i in range(30) if i % 10 < 8 and i not in (0, 11)]
    assert found["train"] == rows(source["x_train"][kept])
    assert domain.arrays("train")[1].tolist() == source["y_train"][kept].tolist()


def count_reads(monkeypatch: pytest.MonkeyPatch, name: str) -> list[str]:
    source, calls = SOURCES[name], []

    class Counted:
        def __getattr__(self, attribute: str) -> Any:
            if attribute == "read":
                calls.append(name)
            return getattr(source, attribute)

    monkeypatch.setitem(SOURCES, name, Counted())
    return calls


def test_the_source_is_read_once_and_a_damaged_cache_is_made_again(
    folder: pathlib.Path, cache: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = count_reads(monkeypatch, "dtd10")

    def opened() -> dict[str, list[bytes]]:
        return keys(decathlon_local(folder, 16, ["dtd10"], cache_dir=cache)["dtd10"])

    first = opened()
    assert opened() == first and calls == ["dtd10"]
    (file,) = cache.iterdir()
    content = bytearray(file.read_bytes())
    position = content.find(first["validation"][1])
    content[position + 5] ^= 1
    file.write_bytes(content)
    assert opened() == first and calls == ["dtd10"] * 2
    assert list(cache.iterdir()) == [file]


def test_another_size_or_source_has_its_own_cache(
    folder: pathlib.Path, cache: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    def opened(root: pathlib.Path, size: int) -> Domain:
        return decathlon_local(root, size, ["cifar100"], cache_dir=cache)["cifar100"]

    assert opened(folder, 8).image_shape == (8, 8, 3)
    assert opened(folder, 16).image_shape == (16, 16, 3)
    shutil.copytree(folder / "cifar100", tmp_path / "cifar100")
    opened(tmp_path, 16)
    assert len(list(cache.iterdir())) == 2
    source = load(folder, "cifar100")
    np.savez(tmp_path / SOURCES["cifar100"].file, **{**source, "x_test": source["x_test"][::-1]})
    changed = opened(tmp_path, 16)
    assert len(list(cache.iterdir())) == 3
    assert keys(changed)["test"] == keys(opened(folder, 16))["test"][::-1]


def test_images_are_read_when_asked_for(folder: pathlib.Path, cache: pathlib.Path) -> None:
    decathlon_local(folder, 8, ["cifar100"], cache_dir=cache)
    domain = decathlon_local(folder, 8, ["cifar100"], cache_dir=cache)["cifar100"]
    shutil.rmtree(cache)
    assert "train" in domain.splits and not cache.exists()
    assert domain.size("train") == 16 and len(list(cache.iterdir())) == 1
    shutil.rmtree(cache)
    assert domain.size("train") == 16 and not cache.exists()


def test_the_cache_is_in_the_home_of_keras(
    folder: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_UNIVREP_DATA", str(folder))
    assert list(decathlon_local(size=8, names=["dtd10"])) == ["dtd10"]
    assert len(list((tmp_path / "keras_univrep" / "decathlon_local").iterdir())) == 1


def test_the_domains_feed_every_pipeline(folder: pathlib.Path, cache: pathlib.Path) -> None:
    domains = decathlon_local(folder, 16, ["daimlerpedcls", "dtd10"], cache_dir=cache)
    images, labels = next(iter(pipeline(domains["dtd10"], "train", 4, training=True, padding=1)))
    assert tuple(images.shape) == (4, 16, 16, 3) and tuple(labels.shape) == (4,)
    joint = next(iter(multi_domain_pipeline(domains, "train", 4, training=True)))
    sequence = MultiDomainSequence(domains, "train", 4, training=True)[0]
    for one, other in zip(joint, sequence, strict=True):
        for name in domains:
            np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 7}, "`size` must be an integer of at least 8"),
        ({"size": 16.0}, "`size` must be an integer"),
        ({"resize": "crop"}, "`resize` must be one of"),
        ({"names": []}, "`names` must hold some of"),
        ({"names": ["dtd10", "aircraft"]}, r"unknown: \['aircraft'\]"),
    ],
)
def test_arguments_out_of_range_are_refused(
    folder: pathlib.Path, cache: pathlib.Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        decathlon_local(folder, cache_dir=cache, **arguments)


def test_missing_folders_and_files_are_named(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KERAS_UNIVREP_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="environment variable KERAS_UNIVREP_DATA, must be"):
        decathlon_local()
    with pytest.raises(FileNotFoundError, match="must be the folder"):
        decathlon_local(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match=r"The file of 'tiny_imagenet' must be"):
        decathlon_local(tmp_path)


@pytest.mark.parametrize("content", ["text", "another set"])
def test_files_of_something_else_are_refused(
    tmp_path: pathlib.Path, cache: pathlib.Path, content: str
) -> None:
    path = tmp_path / SOURCES["cifar100"].file
    path.parent.mkdir()
    if content == "text":
        path.write_text("no archive")
    else:
        np.savez(path, x=np.zeros(3))
    with pytest.raises(ValueError, match=r"cifar100.npz' must (be a .zip|hold the set)"):
        decathlon_local(tmp_path, 8, ["cifar100"], cache_dir=cache)


# One file holds arrays, the other pictures.
@pytest.mark.parametrize("name", ["gtsrb", "dtd10"])
def test_without_pillow_the_function_and_the_extra_are_named(
    folder: pathlib.Path, cache: pathlib.Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(
        ImportError, match=r"`decathlon_local` decodes.*pip install keras_univrep\[data\]"
    ):
        decathlon_local(folder, 8, [name], cache_dir=cache)


def stated_counts() -> dict[str, list[int]]:
    """The table of the docstring: classes, train, validation, test."""
    table = re.findall(
        r"\| (\w+) \| [\w-]+ \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|", decathlon_local.__doc__
    )
    return {name: list(map(int, numbers)) for name, *numbers in table}


@needs_real_sets
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name, marks=pytest.mark.slow if name in ("tiny_imagenet", "omniglot28") else ()
        )
        for name in SOURCES
    ],
)
def test_real_sets_are_divided_as_the_docstring_says(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cache = tmp_path_factory.getbasetemp() / "real"
    domain = decathlon_local(REAL, 32, [name], cache_dir=cache)[name]
    assert [domain.num_classes, *map(domain.size, SPLITS)] == stated_counts()[name]
    for split in SPLITS:
        assert len(np.unique(domain.arrays(split)[1])) == domain.num_classes
    if name != "omniglot28":  # Different drawings of a few strokes can be alike after resizing.
        parts = [set(part) for part in keys(domain).values()]
        assert sum(map(len, parts)) == len(set.union(*parts))


def test_the_table_of_the_docstring_names_every_set_and_its_file() -> None:
    assert set(stated_counts()) == set(SOURCES)
    for name, source in SOURCES.items():
        folder, file = source.file.split("/")
        assert folder == name and f"| {name} | {file} |" in decathlon_local.__doc__
