"""Hierarchical class samplers draw related classes, as often as they should."""

import collections
import math
import os
import pathlib
import pickle
from typing import Any

import numpy as np
import pytest

from keras_univrep.datasets import (
    EpisodeSampler,
    classes_of_one_group,
    classes_under_one_node,
    read_meta_dataset_spec,
)

ARCHIVE = (
    pathlib.Path(os.environ.get("KERAS_UNIVREP_DATA", "absent"))
    / "meta_dataset_specs/dataset_specs.zip"
)
# x is below both a and b; d has one child, c none that is a class.
CHILDREN = {
    "root": ["a", "b", "c"],
    "a": ["u", "v", "x"],
    "b": ["d", "x", "y"],
    "c": ["z"],
    "d": ["w"],
    "u": [],
}
LEAVES = ["u", "v", "w", "x", "y"]


def draws(sampler: Any, classes: Any, low: int, high: int, count: int) -> list[list[int]]:
    draw = sampler(np.array(classes), low, high)
    rng = np.random.default_rng(0)
    return [draw(rng).tolist() for _ in range(count)]


def uniform(counts: collections.Counter, cells: int) -> bool:
    total = sum(counts.values())
    error = math.sqrt(total / cells * (1 - 1 / cells))
    return len(counts) == cells and all(
        abs(n - total / cells) < 4.5 * error for n in counts.values()
    )


def test_a_group_then_a_way_then_its_classes_are_drawn_uniformly() -> None:
    groups = {label: "long" if label < 9 else "short" for label in range(12)}
    found = draws(classes_of_one_group(groups), range(12), 2, 6, 6000)
    assert all(len(set(classes)) == len(classes) for classes in found)
    assert all(len({groups[label] for label in classes}) == 1 for classes in found)
    assert uniform(collections.Counter(groups[classes[0]] for classes in found), 2)
    for group, ways in (("long", range(2, 7)), ("short", range(2, 4))):
        own = [classes for classes in found if groups[classes[0]] == group]
        assert {len(classes) for classes in own} == set(ways)
        assert uniform(collections.Counter(len(classes) for classes in own), len(ways))
        first = collections.Counter(classes[0] for classes in own)
        assert uniform(first, 9 if group == "long" else 3)


def test_groups_may_be_a_sequence_and_leave_classes_out() -> None:
    as_mapping = classes_of_one_group({0: "a", 1: "a", 2: "b", 3: "b"})
    as_sequence = classes_of_one_group(["a", "a", "b", "b"])
    assert draws(as_mapping, range(4), 1, 2, 50) == draws(as_sequence, range(4), 1, 2, 50)
    assert {c for found in draws(as_mapping, range(9), 1, 2, 200) for c in found} == {0, 1, 2, 3}


def test_groups_that_are_too_small_are_refused() -> None:
    labels = np.repeat(np.arange(7), [9, 9, 9, 9, 9, 9, 1])
    sampler = classes_of_one_group(["a"] * 3 + ["b"] * 4)
    EpisodeSampler(labels, way=(2, 3), class_sampler=sampler)
    # Class 6 has one image: only three of b are left.
    with pytest.raises(ValueError, match=r"at least 4 classes .* Received: 2 groups, of which 2"):
        EpisodeSampler(labels, way=4, class_sampler=sampler)
    with pytest.raises(ValueError, match="Received: 0 groups"):
        EpisodeSampler(labels, way=2, class_sampler=classes_of_one_group({}))


def test_a_node_is_drawn_uniformly_and_gives_all_classes_below_it() -> None:
    sampler = classes_under_one_node(CHILDREN, LEAVES)
    found = collections.Counter(tuple(sorted(c)) for c in draws(sampler, range(5), 2, 50, 3000))
    assert set(found) == {(0, 1, 2, 3, 4), (0, 1, 3), (2, 3, 4)}
    assert uniform(found, 3)


def test_the_way_is_capped_by_a_uniform_choice() -> None:
    sampler = classes_under_one_node(CHILDREN, LEAVES, max_leaves=3)
    found = draws(sampler, range(5), 2, 2, 6000)
    assert {len(set(classes)) for classes in found} == {2}
    pairs = collections.Counter(tuple(sorted(classes)) for classes in found)
    assert uniform(pairs, 6)
    assert set(pairs) == {(0, 1), (0, 3), (1, 3), (2, 3), (2, 4), (3, 4)}


def test_nodes_above_the_limit_or_without_enough_classes_are_not_drawn() -> None:
    sampler = classes_under_one_node(CHILDREN, LEAVES, max_leaves=4)
    found = {tuple(sorted(c)) for c in draws(sampler, range(5), 2, 50, 300)}
    assert found == {(0, 1, 3), (2, 3, 4)}
    # Classes with too few images do not count.
    found = {tuple(sorted(c)) for c in draws(sampler, [0, 1, 4], 2, 50, 300)}
    assert found == {(0, 1), (0, 1, 4)}
    with pytest.raises(ValueError, match="between 6 and 4 classes"):
        sampler(np.arange(5), 6, 50)


def test_episodes_are_drawn_from_hierarchies() -> None:
    labels = np.repeat(np.arange(5), 20)
    sampler = EpisodeSampler(
        labels, way=(2, 50), class_sampler=classes_under_one_node(CHILDREN, LEAVES, 3)
    )
    ways = {tuple(sorted(sampler(number).classes.tolist())) for number in range(100)}
    assert ways == {(0, 1, 3), (2, 3, 4)}
    fixed = EpisodeSampler(
        labels, way=2, shot=1, class_sampler=classes_of_one_group(["a"] * 3 + ["b"] * 2)
    )
    assert {bool((c < 3).all() or (c >= 3).all()) for c in fixed.block(0, 100).classes} == {True}
    again = pickle.loads(pickle.dumps(fixed))
    np.testing.assert_array_equal(again.block(0, 9).classes, fixed.block(0, 9).classes)


def test_a_deep_hierarchy_needs_no_deep_recursion() -> None:
    children: dict[Any, list[Any]] = {i: [i + 1, f"leaf{i}"] for i in range(5000)}
    children[5000] = []
    sampler = classes_under_one_node(children, ["leaf1500", "leaf3000", "leaf4999"])
    assert {len(c) for c in draws(sampler, range(3), 2, 3, 200)} == {2, 3}


@pytest.mark.parametrize("children", [{"a": ["a"]}, {"a": ["b", "x"], "b": ["c"], "c": ["a"]}])
def test_cycles_are_refused(children: dict[str, list[str]]) -> None:
    with pytest.raises(ValueError, match="graph without cycles"):
        classes_under_one_node(children, ["x"])


@pytest.mark.parametrize("leaves", [["u", "u"], ["u", "a"], ["u", "unknown"]])
def test_leaves_that_are_none_are_refused(leaves: list[str]) -> None:
    with pytest.raises(ValueError, match="`leaves` must hold nodes without children"):
        classes_under_one_node(CHILDREN, leaves)


# ---- the official hierarchies --------------------------------------------------------------------

official = pytest.mark.skipif(
    not ARCHIVE.is_file(), reason="KERAS_UNIVREP_DATA has no specifications of Meta-Dataset"
)


def reachable(graph: Any, names: tuple[str, ...]) -> dict[str, frozenset[int]]:
    """Classes below every inner node, from the leaves upwards, edge by edge until nothing moves."""
    below = {node: {names.index(node)} if not own else set() for node, own in graph.items()}
    size = -1
    while size != sum(map(len, below.values())):
        size = sum(map(len, below.values()))
        for node, own in graph.items():
            for child in own:
                below[node] |= below[child]
    return {node: frozenset(found) for node, found in below.items() if graph[node]}


@official
@pytest.mark.parametrize(("split", "nodes"), [("train", 113), ("validation", 18), ("test", 15)])
def test_imagenet_episodes_come_from_its_eligible_nodes(split: str, nodes: int) -> None:
    spec = read_meta_dataset_spec(ARCHIVE, "ilsvrc_2012")
    names = spec.class_names[split]
    below = reachable(spec.children[split], names)
    eligible = [found for found in below.values() if 5 <= len(found) <= 392]
    assert len(eligible) == nodes
    found = draws(spec.class_sampler(split), range(len(names)), 5, 10**6, 40 * nodes)
    assert {frozenset(classes) for classes in found} == set(eligible)
    assert set().union(*eligible) == set(range(len(names)))
    capped = draws(spec.class_sampler(split), range(len(names)), 5, 50, 200)
    assert max(map(len, capped)) <= 50 and min(map(len, capped)) >= 5


@official
def test_392_is_the_least_limit_that_reaches_every_training_class_of_imagenet() -> None:
    spec = read_meta_dataset_spec(ARCHIVE, "ilsvrc_2012")
    names = spec.class_names["train"]
    sizes = {392: 712, 391: None}
    for limit in sizes:
        sampler = classes_under_one_node(spec.children["train"], names, limit)
        found = draws(sampler, range(712), 5, 10**6, 4000)
        sizes[limit] = len({label for classes in found for label in classes})
    assert sizes[392] == 712 and sizes[391] < 712


@official
@pytest.mark.parametrize(("split", "alphabets"), [("train", 25), ("validation", 5), ("test", 20)])
def test_omniglot_episodes_keep_to_an_alphabet(split: str, alphabets: int) -> None:
    spec = read_meta_dataset_spec(ARCHIVE, "omniglot")
    groups = spec.groups[split]
    labels = np.repeat(np.arange(len(groups)), spec.images_per_class[split])
    sampler = EpisodeSampler(labels, class_sampler=spec.class_sampler(split))
    seen = set()
    for number in range(150):
        episode = sampler(number)
        own = {groups[label] for label in episode.classes}
        assert len(own) == 1
        assert 5 <= episode.way <= min(50, groups.count(*own))
        seen |= own
    assert len(seen) > 0.9 * alphabets
