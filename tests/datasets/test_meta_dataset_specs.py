"""Specifications of Meta-Dataset give the official splits, or say what is wrong with them."""

import json
import os
import pathlib
import zipfile
from typing import Any

import numpy as np
import pytest

from keras_univrep.datasets import EpisodeSampler, read_meta_dataset_spec

ARCHIVE = (
    pathlib.Path(os.environ.get("KERAS_UNIVREP_DATA", "absent"))
    / "meta_dataset_specs/dataset_specs.zip"
)
# Classes of train, validation and test: Triantafillou et al., 2020, appendix; images of the files.
OFFICIAL = {
    "ilsvrc_2012": ((712, 158, 130), (915249, 199833, 165682)),
    "omniglot": ((883, 81, 659), (17660, 1620, 13180)),
    "aircraft": ((70, 15, 15), (7000, 1500, 1500)),
    "cu_birds": ((140, 30, 30), (8239, 1779, 1770)),
    "dtd": ((33, 7, 7), (3960, 840, 840)),
    "quickdraw": ((241, 52, 52), (34776331, 7939640, 7710295)),
    "fungi": ((994, 200, 200), (64449, 12195, 13116)),
    "vgg_flower": ((71, 15, 16), (5655, 1109, 1425)),
    "traffic_sign": ((0, 0, 43), (0, 0, 39209)),
    "mscoco": ((0, 40, 40), (0, 513021, 346980)),
}

FLAT = {
    "name": "toy",
    "classes_per_split": {"TRAIN": 2, "VALID": 0, "TEST": 1},
    "class_names": {"0": "cat", "1": "dog", "2": "fox"},
    "images_per_class": {"2": 25, "0": 20, "1": 30},
}
GROUPED = {
    "name": "letters",
    "superclasses_per_split": {"TRAIN": 1, "VALID": 1, "TEST": 1},
    "classes_per_superclass": {"0": 2, "1": 1, "2": 2},
    "superclass_names": {"0": "Greek", "1": "Latin", "2": "Tamil"},
    "class_names": {str(i): f"letter{i}" for i in range(5)},
    "images_per_class": {str(i): 20 + i for i in range(5)},
}


def node(name: str, *children: str) -> dict[str, Any]:
    return {"wn_id": name, "words": name, "children_ids": list(children), "parents_ids": []}


TREE = {
    "name": "tree",
    "split_subgraphs": {
        "TRAIN": [node("n1", "n2", "n3"), node("n2", "n5", "n4"), *map(node, ("n3", "n4", "n5"))],
        "VALID": [node("n6", "n7", "n8"), node("n7"), node("n8")],
        "TEST": [],
    },
    "class_names": {"0": "n4", "1": "n5", "2": "n3", "3": "n8", "4": "n7"},
    "images_per_class": {
        "TRAIN": {"n1": 60, "n2": 40, "n3": 20, "n4": 19, "n5": 21},
        "VALID": {"n6": 7, "n7": 3, "n8": 4},
        "TEST": {},
    },
}


def write(folder: pathlib.Path, *specs: dict[str, Any]) -> None:
    for spec in specs:
        (folder / f"{spec['name']}_dataset_spec.json").write_text(json.dumps(spec))


def test_classes_are_divided_in_the_order_of_their_numbers(tmp_path: pathlib.Path) -> None:
    write(tmp_path, FLAT)
    spec = read_meta_dataset_spec(tmp_path, "toy")
    assert spec.name == "toy" and spec.groups is None and spec.children is None
    assert spec.class_names == {"train": ("cat", "dog"), "validation": (), "test": ("fox",)}
    assert spec.images_per_class == {"train": (20, 30), "validation": (), "test": (25,)}
    assert spec.class_sampler("train") is None
    with pytest.raises(ValueError, match="`split` must be one of .*Received: split='dev'"):
        spec.class_sampler("dev")


def test_groups_stand_beside_their_classes(tmp_path: pathlib.Path) -> None:
    write(tmp_path, GROUPED)
    spec = read_meta_dataset_spec(tmp_path, "letters")
    assert spec.class_names["test"] == ("letter3", "letter4")
    assert spec.images_per_class["validation"] == (22,)
    assert spec.groups == {
        "train": ("Greek", "Greek"),
        "validation": ("Latin",),
        "test": ("Tamil", "Tamil"),
    }
    labels = np.repeat([0, 1], spec.images_per_class["test"])
    sampler = EpisodeSampler(labels, way=2, class_sampler=spec.class_sampler("test"))
    assert sorted(sampler(0).classes.tolist()) == [0, 1]


def test_leaves_of_a_hierarchy_are_its_classes(tmp_path: pathlib.Path) -> None:
    write(tmp_path, TREE)
    spec = read_meta_dataset_spec(tmp_path, "tree")
    assert spec.class_names == {"train": ("n4", "n5", "n3"), "validation": ("n8", "n7"), "test": ()}
    assert spec.images_per_class["train"] == (19, 21, 20)
    assert spec.children["train"]["n2"] == ("n5", "n4")
    draw = spec.class_sampler("train")(np.arange(3), 2, 50)
    found = {frozenset(draw(np.random.default_rng(i)).tolist()) for i in range(50)}
    assert found == {frozenset([0, 1]), frozenset([0, 1, 2])}


def test_folder_archive_and_file_are_the_same(tmp_path: pathlib.Path) -> None:
    write(tmp_path, FLAT, GROUPED)
    archive = tmp_path / "specs.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for name in ("toy", "letters"):
            member = f"{name}_dataset_spec.json"
            file.write(tmp_path / member, f"meta_dataset/dataset_specs/{member}")
    for name in ("toy", "letters"):
        specs = [
            read_meta_dataset_spec(tmp_path, name),
            read_meta_dataset_spec(archive, name),
            read_meta_dataset_spec(tmp_path / f"{name}_dataset_spec.json"),
        ]
        for spec in specs:
            assert (spec.name, spec.class_names, spec.groups) == (
                name,
                specs[0].class_names,
                specs[0].groups,
            )
    for path in (tmp_path, archive):
        for name in ("birds", None):
            with pytest.raises(FileNotFoundError, match=r"\['letters', 'toy'\]"):
                read_meta_dataset_spec(path, name)


def test_a_missing_path_is_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent.zip', which is not there"):
        read_meta_dataset_spec(tmp_path / "absent.zip", "toy")


def test_damaged_archives_are_refused(tmp_path: pathlib.Path) -> None:
    write(tmp_path, GROUPED)
    archive = tmp_path / "specs.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.write(tmp_path / "letters_dataset_spec.json", "letters_dataset_spec.json")
    whole = archive.read_bytes()
    start = 30 + len("letters_dataset_spec.json")
    flipped = bytes(byte ^ 255 for byte in whole[start : start + 60])
    for damaged in (whole[:200], b"", whole[:start] + flipped + whole[start + 60 :]):
        archive.write_bytes(damaged)
        with pytest.raises(ValueError, match="must be a zip archive"):
            read_meta_dataset_spec(archive, "letters")


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "{}", '{"name": "toy"}', "\x00"])
def test_files_that_are_no_specification_are_refused(content: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "toy_dataset_spec.json").write_text(content)
    with pytest.raises(ValueError, match="toy_dataset_spec.json' must be a dataset specification"):
        read_meta_dataset_spec(tmp_path, "toy")


@pytest.mark.parametrize(
    ("spec", "changes", "message"),
    [
        (FLAT, {"classes_per_split": {"TRAIN": 2, "VALID": 1, "TEST": 1}}, "hold 4 classes of 3"),
        (FLAT, {"classes_per_split": {"TRAIN": 4, "VALID": -2, "TEST": 1}}, "no counts"),
        (FLAT, {"classes_per_split": {"TRAIN": 2, "VALID": 1}}, "KeyError: 'TEST'"),
        (FLAT, {"images_per_class": {"0": 20, "1": 30}}, "KeyError: '2'"),
        (FLAT, {"images_per_class": {"0": 20, "1": 30, "2": "many"}}, "no counts"),
        (FLAT, {"images_per_class": {"0": 20, "1": -30, "2": 4}}, "no counts"),
        (FLAT, {"class_names": {"0": "cat", "2": "dog"}}, "KeyError: '1'"),
        (FLAT, {"class_names": {}}, "a name for each class"),
        (GROUPED, {"superclasses_per_split": {"TRAIN": 1, "VALID": 1, "TEST": 0}}, "2 super"),
        (GROUPED, {"classes_per_superclass": {"0": 2, "1": 1, "2": 3}}, "hold 6 classes of 5"),
        (TREE, {"class_names": {"0": "n4", "1": "n5", "2": "n3"}}, "leaves of the VALID graph"),
        (TREE, {"class_names": {**TREE["class_names"], "5": "n9"}}, "hold 5 classes of 6"),
        (TREE, {"images_per_class": {"TRAIN": {}, "VALID": {}, "TEST": {}}}, "KeyError: 'n4'"),
        (
            TREE,
            {"split_subgraphs": {"TRAIN": [node("n1", "n4")], "VALID": [], "TEST": []}},
            r"children of the TRAIN graph that are not in it: \['n4'\]",
        ),
    ],
)
def test_contradictions_are_named(
    spec: dict[str, Any], changes: dict[str, Any], message: str, tmp_path: pathlib.Path
) -> None:
    write(tmp_path, {**spec, **changes})
    with pytest.raises(ValueError, match=message):
        read_meta_dataset_spec(tmp_path, spec["name"])


@pytest.mark.skipif(
    not ARCHIVE.is_file(), reason="KERAS_UNIVREP_DATA has no specifications of Meta-Dataset"
)
@pytest.mark.parametrize("name", OFFICIAL)
def test_official_counts(name: str) -> None:
    spec = read_meta_dataset_spec(ARCHIVE, name)
    classes, images = OFFICIAL[name]
    assert spec.name == name
    assert tuple(map(len, spec.class_names.values())) == classes
    assert tuple(map(sum, spec.images_per_class.values())) == images
    names = [name for own in spec.class_names.values() for name in own]
    assert len(set(names)) == sum(classes)
    if name == "omniglot":
        for split, alphabets in (("train", 25), ("validation", 5), ("test", 20)):
            assert len(set(spec.groups[split])) == alphabets
            pairs = zip(spec.class_names[split], spec.groups[split], strict=True)
            assert all(letter.startswith(f"{alphabet}-character") for letter, alphabet in pairs)
