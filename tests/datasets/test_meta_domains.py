"""`MetaDomains` keeps the domains of each split and makes their episodes."""

from typing import Any

import numpy as np
import pytest

from keras_univrep.datasets import (
    Domain,
    MetaDomains,
    classes_of_one_group,
    domain_from_arrays,
    episode_batches,
)

RNG = np.random.default_rng(0)
GROUPS = ["a"] * 5 + ["b"] * 5


def make(name: str, split: str, images: int = 12, classes: int = 10) -> Domain:
    pixels = RNG.integers(0, 256, (images * classes, 8, 8, 3)).astype("uint8")
    labels = np.repeat(np.arange(classes, dtype="int32"), images)
    given = domain_from_arrays(name, (pixels, labels))
    return Domain(
        name,
        classes,
        given.class_names,
        (8, 8, 3),
        mean=given.mean,
        std=given.std,
        splits={split: (pixels, labels)},
    )


def benchmark(**changes: Any) -> MetaDomains:
    fields: dict[str, Any] = {
        "train": {"glyphs": make("glyphs", "train")},
        "validation": {"glyphs": make("glyphs", "validation")},
        "test": {"glyphs": make("glyphs", "test"), "signs": make("signs", "test")},
        "class_samplers": {"test": {"glyphs": classes_of_one_group(GROUPS)}},
    }
    return MetaDomains(**{**fields, **changes})


def test_domains_without_training_classes_are_unseen() -> None:
    domains = benchmark()
    assert domains.seen == ("glyphs",) and domains.unseen == ("signs",)
    assert domains.domain("signs", "test") is domains.test["signs"]


@pytest.mark.parametrize("arguments", [{}, {"way": (5, 10)}])
def test_the_class_sampler_is_used_where_the_way_varies(arguments: dict[str, Any]) -> None:
    sampler = benchmark().sampler("glyphs", "test", **arguments)
    groups = [{GROUPS[label] for label in sampler(number).classes} for number in range(20)]
    assert set(map(len, groups)) == {1}
    assert set.union(*groups) == {"a", "b"}


def test_with_a_fixed_way_and_in_other_splits_classes_are_drawn_uniformly() -> None:
    domains = benchmark()
    for split, protocol, arguments in (
        ("test", "five_way_one_shot", {}),
        ("test", "varying_way_varying_shot", {"way": 5}),
        ("validation", "varying_way_varying_shot", {}),
    ):
        sampler = domains.sampler("glyphs", split, protocol, **arguments)
        assert any(len({GROUPS[i] for i in sampler(n).classes}) == 2 for n in range(20))


def test_the_sampler_fits_the_episodes_of_its_split() -> None:
    domains = benchmark()
    sampler = domains.sampler("signs", "test", "five_way_five_shot", query=2, seed=3)
    batch = episode_batches(domains.test["signs"], "test", sampler, episodes=1)[0]
    assert batch["support_images"].shape == (25, 8, 8, 3)
    assert batch["query_labels"].tolist() == np.repeat(np.arange(5), 2).tolist()


def test_two_domains_of_one_seed_draw_different_episodes() -> None:
    domains = benchmark(class_samplers={})
    draws = [
        domains.sampler(name, "test", "five_way_one_shot")(0).support_indices.tolist()
        for name in ("glyphs", "signs")
    ]
    assert draws[0] != draws[1]


def test_too_few_images_are_reported_with_the_domain_and_split() -> None:
    small = benchmark(test={"signs": make("signs", "test", images=1)}, class_samplers={})
    for protocol in ("varying_way_varying_shot", "five_way_five_shot"):
        with pytest.raises(ValueError, match=r"split 'test' of domain 'signs'.*Received: 0 such"):
            small.sampler("signs", "test", protocol)
    few = benchmark(test={"signs": make("signs", "test", classes=4)}, class_samplers={})
    with pytest.raises(ValueError, match=r"At least 5 classes .* Received: 4 such"):
        few.sampler("signs", "test")
    with pytest.raises(ValueError, match="At least 20 classes"):
        benchmark().sampler("signs", "test", "twenty_way_one_shot")


def test_unknown_names_splits_and_protocols_are_refused() -> None:
    domains = benchmark()
    with pytest.raises(ValueError, match=r"domain with train classes: \['glyphs'\]"):
        domains.domain("signs", "train")
    with pytest.raises(ValueError, match="`split` must be one of"):
        domains.domain("signs", "eval")
    with pytest.raises(ValueError, match="`name` must be one of"):
        domains.sampler("signs", "test", "one_shot")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": {"glyphs": make("glyphs", "test")}}, "with the split 'train'"),
        ({"train": {"other": make("glyphs", "train")}}, "'other' -> 'glyphs'"),
        ({"seen_classes": ("birds",)}, r"Received: \['birds'\]"),
        ({"class_samplers": {"train": {"signs": None}}}, r"Received: \['signs'\]"),
        ({"class_samplers": {"eval": {"glyphs": None}}}, r"Received: \['glyphs'\]"),
    ],
)
def test_fields_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        benchmark(**changes)
