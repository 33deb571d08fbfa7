"""The stages of a hierarchical distillation, in the order in which they can be trained."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from keras_univrep.models.distillation_stage import DistillationStage

UNIVERSAL = "universal"

# li2022, section 5.4: ImageNet alone, the other nine drawn at random.
GROUPINGS = {
    "group 1": [
        ["imagenet12"],
        ["aircraft", "cifar100", "daimlerpedcls"],
        ["dtd", "gtsrb", "vgg-flowers"],
        ["omniglot", "svhn", "ucf101"],
    ],
    "group 2": [
        ["imagenet12"],
        ["aircraft", "svhn", "ucf101"],
        ["daimlerpedcls", "gtsrb", "vgg-flowers"],
        ["cifar100", "dtd", "omniglot"],
    ],
    "group 3": [
        ["imagenet12"],
        ["daimlerpedcls", "cifar100", "svhn"],
        ["gtsrb", "omniglot", "ucf101"],
        ["aircraft", "dtd", "vgg-flowers"],
    ],
}


def distillation_plan(
    domains: Sequence[str],
    groups: int | str | Sequence[Any] | Mapping[str, Any] | None = None,
    alone: Sequence[str] = (),
    seed: int = 0,
) -> tuple[DistillationStage, ...]:
    """Plans to distil teachers into group networks, and these into one universal network.

    Equation:
        li2022, section 4, "Hierarchical distillation with task grouping": the minimum of eq. 3 is
        approached in stages. Each group g of domains gets one network phi_g, with the
        single-domain networks of its domains as teachers; then the universal network gets the
        group networks as teachers, each for the domains of its group. Groups may hold groups.

    Differences:
        The paper tries one level of groups drawn at random. It does not say what becomes of a
        group of one domain; here that domain's teacher teaches the next level directly.

    Args:
        domains: Names of all domains.
        groups: `None` distils all teachers at once. A number draws so many groups at random, of
            sizes that differ by at most one. A name, `"group 1"`, `"group 2"` or `"group 3"`, is a
            grouping of the paper, of the Visual Decathlon's ten domains. Else a sequence of
            groups, or a dictionary of them by the names that their networks get; a group is a
            domain, or again a sequence or dictionary of groups.
        alone: Domains that a drawn grouping leaves by themselves, as the paper does with ImageNet.
        seed: Integer from 0, of the groups that are drawn.

    Returns:
        The stages in order: one `DistillationStage` for each single-domain network (level 0, named
        as its domain), for each group and for the universal network (`"universal"`, last).

    Raises:
        ValueError: If the groups do not hold every domain exactly once, or names are not unique.

    Example:
        >>> from keras_univrep.models import distillation_plan
        >>> groups = {"symbols": ["letters", "digits"], "photos": ["birds", "cars"]}
        >>> for stage in distillation_plan(["letters", "digits", "birds", "cars"], groups)[4:]:
        ...     print(stage.level, stage.name, list(stage.teachers.items())[::2])
        1 symbols [('letters', 'letters')]
        1 photos [('birds', 'birds')]
        2 universal [('letters', 'symbols'), ('birds', 'photos')]

    References:
        Li, Liu, Bilen. Universal representations: a unified look at multiple task and domain
        learning. 2022.
    """
    domains = list(domains)
    if len(domains) < 2 or len(set(domains)) < len(domains):
        raise ValueError(
            f"`domains` must hold at least two names and none twice. Received: {domains}. One "
            "domain needs no distillation."
        )
    tree = _tree(domains, groups, alone, seed)
    while not isinstance(tree, str) and len(tree) == 1:  # One group of everything is no grouping.
        ((_, tree),) = _members(tree, "")
    leaves = list(_leaves(tree))
    if sorted(leaves) != sorted(domains):
        raise ValueError(
            "`groups` must hold every domain exactly once. Received: "
            f"{leaves}, for the domains {domains}. Write a domain that is in no group by itself."
        )
    stages = [DistillationStage(name, (name,)) for name in domains]
    _plan(UNIVERSAL, tree, domains, stages)
    names = [stage.name for stage in stages]
    if len(set(names)) < len(names):
        raise ValueError(
            f"Groups must have names of their own, apart from {UNIVERSAL!r} and the domains. "
            f"Received: {names}. Pass `groups` as a dictionary, to name them."
        )
    return tuple(sorted(stages, key=lambda stage: stage.level))


def _tree(domains: Sequence[str], groups: Any, alone: Sequence[str], seed: int) -> Any:
    if groups is None:
        return domains
    if isinstance(groups, str):
        if groups not in GROUPINGS:
            raise ValueError(
                f"`groups` must be one of {list(GROUPINGS)}, or the groups themselves. Received: "
                f"groups={groups!r}."
            )
        return GROUPINGS[groups]
    if not isinstance(groups, (int, np.integer)):
        return groups
    rest = [name for name in domains if name not in alone]
    if not set(alone) <= set(domains) or not 1 <= groups <= len(rest):
        raise ValueError(
            "`groups` must be from 1 to the number of domains that are not `alone`, and these must "
            f"be domains. Received: groups={groups}, alone={list(alone)}, domains={domains}."
        )
    order = np.random.default_rng(seed).permutation(len(rest))
    # In the order of `domains` inside a group, so that a plan does not depend on the draw twice.
    drawn = [[rest[i] for i in sorted(part)] for part in np.array_split(order, groups)]
    return [*([name] for name in alone), *drawn]


def _members(tree: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """Names and values of the groups of a group."""
    if isinstance(tree, Mapping):
        yield from tree.items()
    else:
        number = 0
        for member in tree:
            # A group of one domain gets no network, and so no number.
            number += len(list(_leaves(member))) > 1
            yield f"{prefix}{number}", member


def _leaves(tree: Any) -> Iterator[str]:
    for _, member in [("", tree)] if isinstance(tree, str) else _members(tree, ""):
        if isinstance(member, str):
            yield member
        else:
            yield from _leaves(member)


def _plan(
    name: str, tree: Any, order: Sequence[str], stages: list[DistillationStage]
) -> DistillationStage:
    """Adds the stages that a group needs and its own; returns the one that teaches its domains."""
    known = {stage.name: stage for stage in stages if stage.level == 0}
    if isinstance(tree, str):
        return known[tree]
    prefix = "group" if name == UNIVERSAL else f"{name}_"
    parts = [_plan(key, member, order, stages) for key, member in _members(tree, prefix)]
    if not parts:
        raise ValueError(
            f"A group must hold at least one domain. Received: {name!r} without any. Leave it out."
        )
    if len(parts) == 1:
        return parts[0]
    taught_by = {domain: part for part in parts for domain in part.domains}
    names = tuple(domain for domain in order if domain in taught_by)
    stage = DistillationStage(
        name,
        names,
        {domain: taught_by[domain].name for domain in names},
        1 + max(part.level for part in parts),
    )
    stages.append(stage)
    return stage
