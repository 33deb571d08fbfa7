"""The stages of a hierarchical distillation: levels, teachers, presets, errors."""

from __future__ import annotations

import pytest

from keras_univrep.models import DistillationStage, distillation_plan

# li2022, footnote 7.
DECATHLON = ["imagenet12", "aircraft", "cifar100", "daimlerpedcls", "dtd", "gtsrb", "vgg-flowers"]
DECATHLON += ["omniglot", "svhn", "ucf101"]
PRINTED = {
    "group 1": "aircraft cifar100 daimlerpedcls|dtd gtsrb vgg-flowers|omniglot svhn ucf101",
    "group 2": "aircraft svhn ucf101|daimlerpedcls gtsrb vgg-flowers|cifar100 dtd omniglot",
    "group 3": "cifar100 daimlerpedcls svhn|gtsrb omniglot ucf101|aircraft dtd vgg-flowers",
}


def check_order(plan: tuple[DistillationStage, ...]) -> None:
    """Every teacher comes earlier, on a lower level, and knows the domain that it teaches."""
    seen: dict[str, DistillationStage] = {}
    for stage in plan:
        assert stage.name not in seen
        for domain, teacher in stage.teachers.items():
            assert seen[teacher].level < stage.level
            assert domain in seen[teacher].domains
        assert set(stage.teachers) == (set(stage.domains) if stage.level else set())
        seen[stage.name] = stage
    assert [stage.level for stage in plan] == sorted(stage.level for stage in plan)


def test_without_groups_all_teachers_teach_the_universal_network() -> None:
    plan = distillation_plan(["b", "a", "c"])
    check_order(plan)
    assert [(s.name, s.domains, s.level) for s in plan] == [
        ("b", ("b",), 0),
        ("a", ("a",), 0),
        ("c", ("c",), 0),
        ("universal", ("b", "a", "c"), 1),
    ]
    assert plan[-1].teachers == {"b": "b", "a": "a", "c": "c"}
    assert distillation_plan(["b", "a", "c"], [["b", "a", "c"]]) == plan


@pytest.mark.parametrize("name", PRINTED)
def test_groupings_of_the_paper_are_the_printed_ones(name: str) -> None:
    plan = distillation_plan(DECATHLON, name)
    check_order(plan)
    groups = [set(stage.domains) for stage in plan if stage.level == 1]
    assert groups == [set(part.split()) for part in PRINTED[name].split("|")]
    # ImageNet is a group by itself: its own network teaches it to the end.
    assert plan[-1].teachers["imagenet12"] == "imagenet12"
    assert len(set(plan[-1].teachers.values())) == 4
    assert plan[-1].level == 2 and len(plan) == 10 + 3 + 1


def test_drawn_groups_are_even_leave_some_alone_and_follow_the_seed() -> None:
    plan = distillation_plan(DECATHLON, 3, alone=["imagenet12"], seed=5)
    check_order(plan)
    groups = [stage.domains for stage in plan if stage.level == 1]
    assert [len(group) for group in groups] == [3, 3, 3]
    assert set().union(*groups) == set(DECATHLON[1:])
    assert distillation_plan(DECATHLON, 3, ["imagenet12"], seed=5) == plan
    others = [distillation_plan(DECATHLON, 3, ["imagenet12"], seed=seed) for seed in range(4)]
    assert any(other != plan for other in others)
    sizes = sorted(len(s.domains) for s in distillation_plan(DECATHLON, 3) if s.level == 1)
    assert sizes == [3, 3, 4]


def test_groups_may_hold_groups_to_any_depth() -> None:
    groups = {"drawn": {"symbols": ["a", "b"], "sketches": ["c", ["d", "e"]]}, "photos": ["f", "g"]}
    plan = distillation_plan(list("abcdefg"), groups)
    check_order(plan)
    found = {s.name: (s.level, "".join(s.domains)) for s in plan if s.level}
    assert found == {
        "symbols": (1, "ab"),
        "sketches_1": (1, "de"),
        "photos": (1, "fg"),
        "sketches": (2, "cde"),
        "drawn": (3, "abcde"),
        "universal": (4, "abcdefg"),
    }
    assert plan[-1].teachers["c"] == "drawn" and plan[-1].teachers["g"] == "photos"
    assert {s.name: dict(s.teachers) for s in plan}["sketches"] == {
        "c": "c",
        "d": "sketches_1",
        "e": "sketches_1",
    }


def test_a_stage_picks_its_teachers_from_finished_networks() -> None:
    stage = distillation_plan(["a", "b", "c"], [["a", "b"], "c"])[-1]
    networks = {"group1": 1, "c": 2, "a": 3}
    assert stage.pick_teachers(networks) == {"a": 1, "b": 1, "c": 2}
    with pytest.raises(ValueError, match=r"teach 'universal'.*without \['group1'\]"):
        stage.pick_teachers({"c": 2})


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([["a", "b"]], "every domain exactly once"),
        ([["a", "b"], ["b", "c"]], "every domain exactly once"),
        ([["a", "b"], ["c", "d"]], "every domain exactly once"),
        ("group 4", "must be one of"),
        ("group 1", "every domain exactly once"),
        (0, "from 1 to"),
        (4, "from 1 to"),
        ({"a": ["a", "b"], "x": ["c"]}, "names of their own"),
        ({"universal": ["a", "b"], "x": "c"}, "names of their own"),
        ([["a", "b", "c"], []], "at least one domain"),
    ],
)
def test_refuses_groups_that_do_not_divide_the_domains(groups: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        distillation_plan(["a", "b", "c"], groups)


def test_refuses_domains_that_are_too_few_or_twice() -> None:
    for domains in (["a"], ["a", "a"]):
        with pytest.raises(ValueError, match="at least two names and none twice"):
            distillation_plan(domains)
