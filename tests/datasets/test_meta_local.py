"""`meta_local` reads, divides, resizes and caches the sets of a folder."""

import os
import pathlib
import re
import shutil
import sys
import zipfile
from typing import Any

import numpy as np
import pytest

from keras_univrep.datasets import (
    MetaDomains,
    episode_batches,
    episode_pipeline,
    meta_local,
    multi_domain_pipeline,
)
from keras_univrep.datasets.meta_sources import META_SOURCES
from tests.datasets.local_sets import write_meta_sets

SPLITS = ("train", "validation", "test")
UNSEEN = ("gtsrb", "mnist", "cifar10", "cifar100", "eurosat")
REAL = os.environ.get("KERAS_UNIVREP_DATA", "")
needs_real_sets = pytest.mark.skipif(
    not pathlib.Path(REAL or "absent").is_dir(),
    reason="KERAS_UNIVREP_DATA names no folder of real image sets",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return write_meta_sets(tmp_path_factory.mktemp("sets"))


@pytest.fixture(scope="module")
def domains(folder: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> MetaDomains:
    return meta_local(folder, 16, cache_dir=tmp_path_factory.mktemp("cache"))


def rows(images: np.ndarray) -> list[bytes]:
    return [image.tobytes() for image in images]


def counts(domains: MetaDomains, name: str) -> list[int]:
    """Classes and images of the splits."""
    found = []
    for split in SPLITS:
        own = getattr(domains, split).get(name)
        found += [own.num_classes, own.size(split)] if own is not None else [0, 0]
    return found


def test_all_sets_open_with_their_classes_and_images(domains: MetaDomains) -> None:
    assert {name: counts(domains, name) for name in domains.test} == {
        "mini_imagenet": [6, 24, 6, 24, 6, 24],
        "omniglot28": [14, 56, 26, 104, 11, 44],
        "quickdraw8": [8, 48, 8, 16, 8, 16],
        "dtd10": [5, 30, 5, 10, 5, 40],
        "flowers17": [7, 56, 5, 40, 5, 40],
        "cub10": [5, 30, 5, 10, 5, 40],
        "cars196": [7, 56, 5, 40, 5, 40],
        "gtsrb": [0, 0, 0, 0, 6, 18],
        "mnist": [0, 0, 0, 0, 6, 18],
        "cifar10": [0, 0, 0, 0, 6, 18],
        "cifar100": [0, 0, 0, 0, 6, 18],
        "eurosat": [0, 0, 0, 0, 10, 80],
    }
    assert domains.unseen == UNSEEN and domains.seen_classes == ("quickdraw8",)


def test_test_classes_are_new_where_there_are_enough(domains: MetaDomains) -> None:
    for name in domains.seen:
        train, test = (set(getattr(domains, s)[name].class_names) for s in ("train", "test"))
        assert test == train if name == "quickdraw8" else not test & train
        validation = set(domains.validation[name].class_names)
        assert not test & validation or name == "quickdraw8"
        by_images = name in ("quickdraw8", "dtd10", "cub10")
        assert validation == train if by_images else not validation & train


def test_domains_are_scaled_alike_and_state_their_origin(domains: MetaDomains) -> None:
    for split in SPLITS:
        for name, domain in getattr(domains, split).items():
            images, labels = domain.arrays(split)
            assert domain.image_shape == (16, 16, 3) and images.dtype == np.uint8
            assert domain.mean == domain.std == (0.5, 0.5, 0.5)
            assert sorted(set(labels.tolist())) == list(range(domain.num_classes))
            assert domain.licence and domain.source and domain.citation
            assert domain.flip is META_SOURCES[name].flip
    extremes = domains.test["mnist"].normalize(np.array([[[[0, 128, 255]]]], "uint8"))
    np.testing.assert_allclose(extremes.ravel(), [-1, 1 / 255, 1], atol=1e-6)


def test_images_keep_their_classes(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    names = ["mini_imagenet", "quickdraw8", "cifar10"]
    domains = meta_local(folder, 28, names, cache_dir=tmp_path)
    with np.load(folder / "quickdraw8/quickdraw.npz") as file:
        drawings = {
            np.repeat(image[..., None], 3, -1).tobytes(): str(name)
            for name, images in zip(file["class_names"], file["x"], strict=True)
            for image in images
        }
    found = []
    for split in SPLITS:
        domain = domains.domain("quickdraw8", split)
        images, labels = domain.arrays(split)
        found += rows(images)
        assert [drawings[key] for key in rows(images)] == [domain.class_names[i] for i in labels]
    assert sorted(found) == sorted(drawings)
    same = meta_local(folder, 32, ["cifar10"], cache_dir=tmp_path).test["cifar10"]
    with np.load(folder / "cifar10/cifar10.npz") as file:
        np.testing.assert_array_equal(same.arrays("test")[0], file["x_test"])
        assert same.arrays("test")[1].tolist() == file["y_test"].tolist()
    official = {s: domains.domain("mini_imagenet", s).class_names for s in SPLITS}
    assert official["test"][0] == "n00" and official["train"][0] == "n10"
    assert official["validation"][0] == "n20"


def test_the_five_smallest_alphabets_of_the_background_half_validate(domains: MetaDomains) -> None:
    alphabets = {
        split: {name.split(" ")[0] for name in domains.domain("omniglot28", split).class_names}
        for split in SPLITS
    }
    assert alphabets == {
        "train": {"Bg0", "Bg1"},
        "validation": {"Bg2", "Bg3", "Bg4", "Bg5", "Bg6"},
        "test": {"Ev0", "Ev1"},
    }
    sampler = domains.sampler("omniglot28", "test")
    names = domains.test["omniglot28"].class_names
    drawn = [{names[label].split(" ")[0] for label in sampler(n).classes} for n in range(10)]
    assert all(len(own) == 1 for own in drawn) and set.union(*drawn) == {"Ev0", "Ev1"}


def test_the_domains_train_and_give_episodes(domains: MetaDomains) -> None:
    images, labels = next(iter(multi_domain_pipeline(domains.train, "train", 2, training=True)))
    assert set(images) == set(labels) == set(domains.seen)
    assert all(tuple(own.shape) == (2, 16, 16, 3) for own in images.values())
    for name in ("cub10", "eurosat"):
        sampler = domains.sampler(name, "test", "five_way_one_shot")
        fed = next(iter(episode_pipeline(domains.test[name], "test", sampler, episodes=1)))
        batch = episode_batches(domains.test[name], "test", sampler, episodes=1)[0]
        assert batch["support_images"].shape == (5, 16, 16, 3)
        for key, values in batch.items():
            np.testing.assert_array_equal(fed[key], values)


def test_a_copy_is_dropped_from_the_earlier_split(
    folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / META_SOURCES["mini_imagenet"].file
    path.parent.mkdir()
    with zipfile.ZipFile(folder / META_SOURCES["mini_imagenet"].file) as old:
        content = {name: old.read(name) for name in old.namelist()}
    content["train/n10/0.jpg"] = content["test/n01/2.jpg"]
    content["train/n11/3.jpg"] = content["train/n12/0.jpg"]  # within a split, they stay
    with zipfile.ZipFile(path, "w") as new:
        for name, data in content.items():
            new.writestr(name, data)
    opened = meta_local(tmp_path, 12, ["mini_imagenet"], cache_dir=tmp_path / "cache")
    assert counts(opened, "mini_imagenet") == [6, 23, 6, 24, 6, 24]
    train, test = (rows(getattr(opened, s)["mini_imagenet"].arrays(s)[0]) for s in SPLITS[::2])
    assert not set(train) & set(test)


def test_the_source_is_read_once_and_images_when_asked_for(
    folder: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_UNIVREP_DATA", str(folder))
    first = rows(meta_local(size=8, names=["dtd10"]).test["dtd10"].arrays("test")[0])
    cache = tmp_path / "keras_univrep" / "meta_local"
    (file,) = cache.iterdir()
    stamp = file.stat().st_mtime_ns
    again = meta_local(size=8, names=["dtd10"])
    assert rows(again.test["dtd10"].arrays("test")[0]) == first
    assert file.stat().st_mtime_ns == stamp
    shutil.rmtree(cache)
    assert again.test["dtd10"].size("test") == 40 and not cache.exists()
    assert again.train["dtd10"].size("train") == 30 and len(list(cache.iterdir())) == 1
    meta_local(size=9, names=["dtd10"])
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 7}, "`size` must be an integer of at least 8"),
        ({"names": []}, "`names` must hold some of"),
        ({"names": ["dtd10", "fungi"]}, r"unknown: \['fungi'\]"),
    ],
)
def test_arguments_out_of_range_are_refused(
    folder: pathlib.Path, tmp_path: pathlib.Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        meta_local(folder, cache_dir=tmp_path, **arguments)


def test_missing_folders_and_files_are_named(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KERAS_UNIVREP_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="environment variable KERAS_UNIVREP_DATA, must be"):
        meta_local()
    with pytest.raises(FileNotFoundError, match="must be the folder"):
        meta_local(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match=r"The file of 'mini_imagenet' must be"):
        meta_local(tmp_path)


def test_files_of_something_else_are_refused(tmp_path: pathlib.Path) -> None:
    path = tmp_path / META_SOURCES["mnist"].file
    path.parent.mkdir()
    np.savez(path, x=np.zeros(3))
    with pytest.raises(ValueError, match=r"mnist.npz' must hold the set 'mnist'"):
        meta_local(tmp_path, 8, ["mnist"], cache_dir=tmp_path / "cache")
    path = tmp_path / META_SOURCES["dtd10"].file
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("banded/0.jpg", "no image")
    with pytest.raises(ValueError, match=r"dtd10_84.zip' must hold the set 'dtd10'"):
        meta_local(tmp_path, 8, ["dtd10"], cache_dir=tmp_path / "cache")


# One file holds arrays, the other pictures.
@pytest.mark.parametrize("name", ["gtsrb", "dtd10"])
def test_without_pillow_the_function_and_the_extra_are_named(
    folder: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(
        ImportError, match=r"`meta_local` decodes.*pip install keras_univrep\[data\]"
    ):
        meta_local(folder, 8, [name], cache_dir=tmp_path)


def stated_counts() -> dict[str, list[int]]:
    """The table of the docstring: classes and images of the splits."""
    cell = r" (?:(\d+) \((\d+)\)|-) \|"
    table = re.findall(rf"\| (\w+) \| [\w-]+ \|{cell * 3}", meta_local.__doc__)
    return {name: [int(number or 0) for number in numbers] for name, *numbers in table}


@needs_real_sets
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=pytest.mark.slow if n in ("mini_imagenet", "omniglot28") else ())
        for n in META_SOURCES
    ],
)
def test_real_sets_are_divided_as_the_docstring_says(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cache = tmp_path_factory.getbasetemp() / "real"
    domains = meta_local(REAL, 32, [name], cache_dir=cache)
    assert counts(domains, name) == stated_counts()[name]
    for split in ("validation", "test"):
        if name in getattr(domains, split):
            for protocol in ("varying_way_varying_shot", "varying_way_five_shot"):
                episode = domains.sampler(name, split, protocol)(0)
                assert episode.way >= 5 and len(episode.query_indices) >= episode.way
            domains.sampler(name, split, "five_way_one_shot")
            domains.sampler(name, split, "five_way_five_shot", query=1)


def test_the_tables_of_the_docstring_name_every_set_and_its_file() -> None:
    assert list(stated_counts()) == list(META_SOURCES)
    for name, source in META_SOURCES.items():
        assert f"| {name} | {source.file} |" in meta_local.__doc__
