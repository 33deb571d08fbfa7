"""Domains of few-shot learning: classes to train on, classes to choose by, classes to test on."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_univrep.datasets.domain import Domain
from keras_univrep.datasets.episodes import PROTOCOLS, ClassSampler, EpisodeSampler

META_SPLITS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True, eq=False)
class MetaDomains:
    """Domains of each split of a few-shot benchmark, such as Meta-Dataset.

    A domain has in each split a `Domain` of its own, whose only split has that name and whose
    labels count the classes of that split: a head has an output for each training class and for no
    other. All carry the name of the domain, which its adapters and heads go by.

    Args:
        train: Dict of name to the `Domain` of the training classes, which has the split "train".
        validation: The same of the validation classes; some domains may be absent.
        test: The same of the test classes. The domains that `train` lacks are unseen.
        seen_classes: Names of the domains whose test images are new and whose test classes are
            not: they had too few classes.
        class_samplers: Dict of split to a dict of name to what draws the classes of an episode, as
            for `EpisodeSampler`; an absent domain's are drawn uniformly.

    Raises:
        ValueError: If a domain lacks its split, or a key is no domain.

    Example:

    >>> import numpy as np
    >>> from keras_univrep.datasets import Domain
    >>> images = np.zeros((60, 8, 8, 3), "uint8")
    >>> labels = np.arange(60, dtype="int32") % 6
    >>> def toy(name, split):
    ...     scale = {"mean": (0.5,) * 3, "std": (0.5,) * 3}
    ...     splits = {split: (images, labels)}
    ...     return Domain(name, 6, tuple("abcdef"), (8, 8, 3), splits=splits, **scale)
    >>> domains = MetaDomains(
    ...     train={"birds": toy("birds", "train")},
    ...     validation={},
    ...     test={"birds": toy("birds", "test"), "signs": toy("signs", "test")},
    ... )
    >>> domains.unseen, domains.sampler("signs", "test", "five_way_one_shot")(0).way
    (('signs',), 5)

    References:
        - Triantafillou et al., Meta-Dataset: A Dataset of Datasets for Learning to Learn from Few
          Examples, 2020.
        - Li, Liu and Bilen, Universal Representations: A Unified Look at Multiple Task and Domain
          Learning, 2022, section 5.3.
    """

    train: Mapping[str, Domain]
    validation: Mapping[str, Domain]
    test: Mapping[str, Domain]
    seen_classes: tuple[str, ...] = ()
    class_samplers: Mapping[str, Mapping[str, ClassSampler]] = dataclasses.field(
        default_factory=dict, repr=False
    )

    def __post_init__(self) -> None:
        for split in META_SPLITS:
            for name, domain in getattr(self, split).items():
                if domain.name != name or split not in domain.splits:
                    raise ValueError(
                        f"`{split}` must map each name to a domain of that name with the split "
                        f"'{split}'. Received: {name!r} -> '{domain.name}' with the splits "
                        f"{sorted(domain.splits)}. Make the domain with these."
                    )
        lost = sorted(set(self.seen_classes) - set(self.test))
        for split, samplers in self.class_samplers.items():
            known = getattr(self, split) if split in META_SPLITS else ()
            lost += sorted(set(samplers) - set(known))
        if lost:
            raise ValueError(
                "`seen_classes` and `class_samplers` must name domains of their split. Received: "
                f"{lost}, which are not there. Remove them."
            )

    @property
    def seen(self) -> tuple[str, ...]:
        """Names of the domains with training classes."""
        return tuple(self.train)

    @property
    def unseen(self) -> tuple[str, ...]:
        """Names of the domains that are there for tests alone."""
        return tuple(name for name in self.test if name not in self.train)

    def domain(self, name: str, split: str) -> Domain:
        """Gets the domain of a split.

        Args:
            name: Name of the domain.
            split: "train", "validation" or "test".

        Returns:
            A `Domain` with that split.

        Raises:
            ValueError: If there is no such split, or it lacks the domain.
        """
        if split not in META_SPLITS:
            raise ValueError(
                f"`split` must be one of {list(META_SPLITS)}. Received: split={split!r}. Pass one "
                "of these."
            )
        domains = getattr(self, split)
        if name not in domains:
            raise ValueError(
                f"`name` must be a domain with {split} classes: {list(domains)}. Received: "
                f"name={name!r}. Pass one of these."
            )
        return domains[name]

    def sampler(
        self, name: str, split: str, protocol: str = "varying_way_varying_shot", **kwargs: Any
    ) -> EpisodeSampler:
        """Makes the sampler of a domain's episodes, for `episode_pipeline` or `episode_batches`.

        Args:
            name: Name of the domain.
            split: "train", "validation" or "test".
            protocol: As for `EpisodeSampler.from_protocol`. A class sampler of the domain is used
                where the way varies, as in Meta-Dataset; with a fixed way classes are drawn
                uniformly.
            **kwargs: Other arguments of `EpisodeSampler`, such as `seed`; they prevail.

        Returns:
            An `EpisodeSampler` of the labels of that split.

        Raises:
            ValueError: If there is no such domain or protocol, or too few classes have enough
                images for an episode.
        """
        labels = self.domain(name, split).arrays(split)[1]
        given = {"stream": name, **kwargs}
        draw = self.class_samplers.get(split, {}).get(name)
        way = kwargs.get("way", PROTOCOLS.get(protocol, {}).get("way"))
        if draw is not None and not isinstance(way, (int, np.integer)):
            given.setdefault("class_sampler", draw)
        try:
            return EpisodeSampler.from_protocol(protocol, labels, **given)
        except ValueError as error:
            raise ValueError(f"Episodes of split '{split}' of domain '{name}': {error}") from error
