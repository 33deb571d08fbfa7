"""Draws related classes for an episode: of one group, or below one node of a hierarchy."""

import functools
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from keras_univrep.datasets.episodes import ClassSampler, Draw


def classes_of_one_group(
    groups: Mapping[int, Hashable] | Sequence[Hashable],
) -> ClassSampler:
    """Makes a class sampler that keeps to one group, as Meta-Dataset does for Omniglot's alphabets.

    A group is drawn uniformly, then the way, uniform in [least, min(most, classes of the group)],
    then so many of its classes, uniform.

    Args:
        groups: Group of each class: a mapping of label to group, or a sequence in the order of the
            labels. A class that a mapping lacks is never drawn.

    Returns:
        A function for `class_sampler=` of `EpisodeSampler`.

    Raises:
        ValueError: When the sampler is made, if a group has fewer classes than the least way.

    Example:

    >>> import numpy as np
    >>> from keras_univrep.datasets import EpisodeSampler
    >>> alphabets = ["Greek"] * 24 + ["Latin"] * 26
    >>> sampler = EpisodeSampler(
    ...     np.repeat(np.arange(50), 20), class_sampler=classes_of_one_group(alphabets)
    ... )
    >>> len({alphabets[label] for label in sampler(0).classes})
    1

    References:
        - Triantafillou et al., Meta-Dataset: A Dataset of Datasets for Learning to Learn from Few
          Examples, 2020, section 3.2.
    """
    pairs = groups.items() if isinstance(groups, Mapping) else enumerate(groups)
    return functools.partial(_bind_groups, {int(label): group for label, group in pairs})


def classes_under_one_node(
    children: Mapping[Any, Sequence[Hashable]],
    leaves: Sequence[Hashable],
    max_leaves: int = 392,
) -> ClassSampler:
    """Makes a class sampler that keeps below one node, as Meta-Dataset does for ImageNet's WordNet.

    A node is drawn uniformly out of those with children from which at least the least way and at
    most `max_leaves` of the classes can be reached. The episode takes all of these classes, or a
    uniform choice of the most way if there are more.

    Args:
        children: Children of each node of a directed graph without cycles. A node may have several
            parents; one without children, or that the mapping lacks, is a leaf.
        leaves: Leaf of each class, in the order of the labels; none twice.
        max_leaves: Most classes below a node that may be drawn. 392 is the least with which every
            training class of ImageNet can be drawn.

    Returns:
        A function for `class_sampler=` of `EpisodeSampler`.

    Raises:
        ValueError: If the graph has a cycle, a class is no leaf of it or comes twice; when the
            sampler is made, if no node has enough classes below it.

    Example:

    >>> import numpy as np
    >>> from keras_univrep.datasets import EpisodeSampler
    >>> children = {"animal": ["dog", "cat"], "dog": ["pug", "spitz", "boxer"], "cat": ["manx"]}
    >>> sampler = EpisodeSampler(
    ...     np.repeat(np.arange(4), 20),
    ...     way=(2, 50),
    ...     class_sampler=classes_under_one_node(children, ["pug", "spitz", "boxer", "manx"]),
    ... )
    >>> {sampler(number).way for number in range(20)} == {3, 4}
    True

    References:
        - Triantafillou et al., Meta-Dataset: A Dataset of Datasets for Learning to Learn from Few
          Examples, 2020, section 3.2.
    """
    below = _classes_below(children, set(leaves))
    inner = {node for node, own in children.items() if len(own)}
    wrong = [leaf for leaf in leaves if leaf in inner or leaf not in below]
    if wrong or len(set(leaves)) < len(leaves):
        raise ValueError(
            "`leaves` must hold nodes without children of the graph, none twice. Received: "
            f"{len(leaves)} leaves, {len(set(leaves))} different, {len(wrong)} of them no leaf: "
            f"{wrong[:5]}. Pass the leaves of the split, in the order of its labels."
        )
    label = {leaf: number for number, leaf in enumerate(leaves)}
    nodes = [
        np.array(sorted(label[leaf] for leaf in below[node]), "int64")
        for node in children
        if node in inner
    ]
    return functools.partial(_bind_nodes, nodes, max_leaves)


def _bind_groups(
    groups: Mapping[int, Hashable], classes: np.ndarray, least: int, most: int
) -> Draw:
    members: dict[Hashable, list[int]] = {}
    for label in classes.tolist():
        if label in groups:
            members.setdefault(groups[label], []).append(label)
    small = [group for group, labels in members.items() if len(labels) < least]
    if small or not members:
        raise ValueError(
            f"Every group must have at least {least} classes with enough images. Received: "
            f"{len(members)} groups, of which {len(small)} have fewer: {small[:5]}. Pass a smaller "
            "`way`, or a mapping without the classes of these groups."
        )
    pools = [np.array(labels, "int64") for labels in members.values()]
    return functools.partial(_draw_group, pools, least, most)


def _draw_group(
    pools: Sequence[np.ndarray], least: int, most: int, rng: np.random.Generator
) -> np.ndarray:
    pool = pools[int(rng.integers(len(pools)))]
    way = int(rng.integers(least, min(most, len(pool)), endpoint=True))
    return rng.choice(pool, way, replace=False)


def _bind_nodes(
    nodes: Sequence[np.ndarray], max_leaves: int, classes: np.ndarray, least: int, most: int
) -> Draw:
    found = [node[np.isin(node, classes)] for node in nodes]
    pools = [node for node in found if least <= len(node) <= max_leaves]
    if not pools:
        raise ValueError(
            f"A node must have between {least} and {max_leaves} classes with enough images below "
            f"it. Received: {len(nodes)} nodes with from {min(map(len, found), default=0)} to "
            f"{max(map(len, found), default=0)}. Pass a smaller `way` or a larger `max_leaves`."
        )
    return functools.partial(_draw_node, pools, most)


def _draw_node(pools: Sequence[np.ndarray], most: int, rng: np.random.Generator) -> np.ndarray:
    pool = pools[int(rng.integers(len(pools)))]
    return rng.choice(pool, most, replace=False) if len(pool) > most else rng.permutation(pool)


def _classes_below(
    children: Mapping[Any, Sequence[Hashable]], classes: set[Hashable]
) -> dict[Hashable, frozenset]:
    """Maps every node to the classes that can be reached from it, a class to itself.

    Depth first without recursion, which a long chain of nodes would exhaust.
    """
    below: dict[Hashable, frozenset] = {}
    for root in children:
        path, on_path = [root], {root}
        while path:
            node = path[-1]
            own = () if node in below else children.get(node, ())
            waiting = next((child for child in own if child not in below), None)
            if waiting is None:
                if node not in below:
                    itself = {node} & classes if not own else ()
                    below[node] = frozenset(itself).union(*(below[child] for child in own))
                on_path.discard(path.pop())
                continue
            if waiting in on_path:
                raise ValueError(
                    "`children` must be a graph without cycles. Received: node "
                    f"{waiting!r} is below itself. Remove the edge {node!r} -> {waiting!r}."
                )
            path.append(waiting)
            on_path.add(waiting)
    return below
