"""Reads the official class splits of Meta-Dataset."""

import dataclasses
import json
import pathlib
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

from keras_univrep.datasets.episodes import ClassSampler
from keras_univrep.datasets.hierarchical_classes import (
    classes_of_one_group,
    classes_under_one_node,
)

_SPLITS = {"train": "TRAIN", "validation": "VALID", "test": "TEST"}
_SUFFIX = "_dataset_spec.json"


@dataclasses.dataclass(frozen=True, eq=False)
class MetaDatasetSpec:
    """Classes of a source of Meta-Dataset in each split.

    Every mapping has the keys "train", "validation" and "test"; a split without classes is empty.
    The label of a class is its place in the split.

    Args:
        name: Name of the source, such as "cu_birds".
        class_names: Names of the classes of each split; ImageNet's are WordNet identifiers.
        images_per_class: Number of images of each of them.
        groups: Group (Omniglot's alphabet) of each of them, or None.
        children: Children of each node of the hierarchy of each split (ImageNet's WordNet), or
            None.

    Example:

    >>> splits = ("train", "validation", "test")
    >>> spec = MetaDatasetSpec(
    ...     name="toy",
    ...     class_names=dict(zip(splits, [("cat", "dog"), ("fox",), ()])),
    ...     images_per_class=dict(zip(splits, [(20, 30), (25,), ()])),
    ... )
    >>> spec.class_sampler("train") is None
    True

    References:
        - Triantafillou et al., Meta-Dataset: A Dataset of Datasets for Learning to Learn from Few
          Examples, 2020.
    """

    name: str
    class_names: Mapping[str, tuple[str, ...]]
    images_per_class: Mapping[str, tuple[int, ...]]
    groups: Mapping[str, tuple[str, ...]] | None = None
    children: Mapping[str, Mapping[str, tuple[str, ...]]] | None = None

    def class_sampler(self, split: str) -> ClassSampler | None:
        """Makes what `EpisodeSampler` needs to draw classes as the benchmark does.

        Args:
            split: "train", "validation" or "test".

        Returns:
            `classes_of_one_group` of the alphabets for Omniglot, `classes_under_one_node` of the
            hierarchy for ImageNet, None (uniform) for the others.

        Raises:
            ValueError: If there is no such split.
        """
        if split not in self.class_names:
            raise ValueError(
                f"`split` must be one of {list(self.class_names)}. Received: split={split!r}. Pass "
                "one of these."
            )
        if self.groups is not None:
            return classes_of_one_group(self.groups[split])
        if self.children is not None:
            return classes_under_one_node(self.children[split], self.class_names[split])
        return None


def read_meta_dataset_spec(path: str | pathlib.Path, name: str | None = None) -> MetaDatasetSpec:
    """Reads the specification of a source.

    Args:
        path: A `NAME_dataset_spec.json` file of the official repository, or a folder or zip archive
            that holds such files.
        name: Name of the source, such as "omniglot"; needed with a folder or an archive.

    Returns:
        A `MetaDatasetSpec`.

    Raises:
        FileNotFoundError: If there is no such file, or the folder or archive lacks the source.
        ValueError: If the archive or the specification is damaged.

    Example:

    >>> import json, pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "toy_dataset_spec.json"
    >>> _ = file.write_text(json.dumps({
    ...     "name": "toy",
    ...     "classes_per_split": {"TRAIN": 2, "VALID": 0, "TEST": 1},
    ...     "class_names": {"0": "cat", "1": "dog", "2": "fox"},
    ...     "images_per_class": {"0": 20, "1": 30, "2": 25},
    ... }))
    >>> spec = read_meta_dataset_spec(file.parent, "toy")
    >>> spec.class_names["test"], spec.images_per_class["train"]
    (('fox',), (20, 30))
    """
    path = pathlib.Path(path)
    content, where = _read(path, name)
    try:
        found = json.loads(content)
        if not isinstance(found, dict):
            raise TypeError("no JSON object")
        return _parse(found)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"'{where}' must be a dataset specification of Meta-Dataset. Received: "
            f"{type(error).__name__}: {error}. Download the file again from "
            "https://github.com/google-research/meta-dataset."
        ) from error


def _read(path: pathlib.Path, name: str | None) -> tuple[bytes, str]:
    if not path.exists():
        raise FileNotFoundError(
            "`path` must be a specification, or a folder or zip archive of specifications. "
            f"Received: path='{path}', which is not there. Check the path."
        )
    if path.is_file() and path.suffix != ".zip":
        return path.read_bytes(), str(path)
    if path.is_dir():
        known = {file.name: file for file in sorted(path.glob(f"*{_SUFFIX}"))}
        _check_known(path, name, list(known))
        file = known[f"{name}{_SUFFIX}"]
        return file.read_bytes(), str(file)
    try:
        with zipfile.ZipFile(path) as archive:
            members = {m.rsplit("/", 1)[-1]: m for m in archive.namelist() if m.endswith(_SUFFIX)}
            _check_known(path, name, list(members))
            member = members[f"{name}{_SUFFIX}"]
            return archive.read(member), f"{path}:{member}"
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ValueError(
            f"'{path}' must be a zip archive. Received: {error}. Download it again."
        ) from error


def _check_known(path: pathlib.Path, name: str | None, files: list[str]) -> None:
    if f"{name}{_SUFFIX}" not in files:
        known = sorted(file.removesuffix(_SUFFIX) for file in files)
        raise FileNotFoundError(
            f"`name` must be a source in '{path}': {known}. Received: name={name!r}. Pass one of "
            "these."
        )


def _parse(found: dict[str, Any]) -> MetaDatasetSpec:
    names = [found["class_names"][str(number)] for number in range(len(found["class_names"]))]
    if not names or not all(isinstance(name, str) for name in names):
        raise ValueError("`class_names` must hold a name for each class, numbered from 0")
    if "split_subgraphs" in found:
        return _parse_hierarchy(found, names)
    counts = {key: found["images_per_class"][str(key)] for key in range(len(names))}
    _check_counts(counts)
    groups = None
    if "classes_per_superclass" in found:
        sizes = _numbered(found["classes_per_superclass"])
        _check_counts(dict(enumerate(sizes)))
        supers = _numbered(found["superclass_names"])
        groups = [group for group, size in zip(supers, sizes, strict=True) for _ in range(size)]
        parts, first = {}, 0
        for split, key in _SPLITS.items():
            last = first + found["superclasses_per_split"][key]
            parts[split] = sum(sizes[first:last])
            first = last
        if first != len(sizes):
            raise ValueError(f"the splits hold {first} superclasses of {len(sizes)}")
    else:
        parts = {split: found["classes_per_split"][key] for split, key in _SPLITS.items()}
    _check_counts(parts)
    if sum(parts.values()) != len(names):
        raise ValueError(f"the splits hold {sum(parts.values())} classes of {len(names)}")
    ranges, first = {}, 0
    for split, size in parts.items():
        ranges[split] = range(first, first + size)
        first += size
    return MetaDatasetSpec(
        name=found["name"],
        class_names={split: tuple(names[i] for i in own) for split, own in ranges.items()},
        images_per_class={split: tuple(counts[i] for i in own) for split, own in ranges.items()},
        groups=None
        if groups is None
        else {split: tuple(groups[i] for i in own) for split, own in ranges.items()},
    )


def _parse_hierarchy(found: dict[str, Any], names: list[str]) -> MetaDatasetSpec:
    """Classes are the leaves of each split's graph, in the order of `class_names`."""
    chosen, counts, children = {}, {}, {}
    for split, key in _SPLITS.items():
        graph = {n["wn_id"]: tuple(n["children_ids"]) for n in found["split_subgraphs"][key]}
        lost = [child for own in graph.values() for child in own if child not in graph]
        if lost:
            raise ValueError(f"children of the {key} graph that are not in it: {lost[:5]}")
        leaves = {node for node, own in graph.items() if not own}
        chosen[split] = tuple(name for name in names if name in leaves)
        if len(chosen[split]) < len(leaves):
            raise ValueError(f"leaves of the {key} graph that `class_names` lacks")
        images = {name: found["images_per_class"][key][name] for name in chosen[split]}
        _check_counts(images)
        counts[split] = tuple(images.values())
        children[split] = graph
    total = sum(map(len, chosen.values()))
    if total != len(names) or len({name for own in chosen.values() for name in own}) != total:
        raise ValueError(f"the splits hold {total} classes of {len(names)}, or one class twice")
    return MetaDatasetSpec(found["name"], chosen, counts, children=children)


def _numbered(found: dict[str, Any]) -> list[Any]:
    return [found[str(number)] for number in range(len(found))]


def _check_counts(counts: Mapping[Any, Any]) -> None:
    bad = [key for key, n in counts.items() if not isinstance(n, int) or n < 0]
    if bad:
        raise ValueError(f"numbers of images or classes that are no counts, for {bad[:5]}")
