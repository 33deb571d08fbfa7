"""Batches are divided among sources as they are asked to be."""

import pytest

from keras_univrep.datasets.source_shares import check_sources, source_shares
from tests.datasets.source_sets import toy_boxes, toy_classes

SIZES = {"a": {"x": 900, "y": 90, "z": 10}, "b": {"x": 5}}


def test_equal_shares_are_the_batch_size() -> None:
    assert source_shares(SIZES, 4) == {"a": {"x": 4, "y": 4, "z": 4}, "b": {"x": 4}}
    assert source_shares(SIZES, {"a": 2, "b": 8})["b"] == {"x": 8}


def test_proportional_shares_keep_the_sum_and_every_source() -> None:
    # 99 images: 99 * (0.9, 0.09, 0.01) = 89.1, 8.91 and 0.99.
    shares = source_shares({"a": SIZES["a"]}, {"a": 100 // 3}, "proportional")["a"]
    assert sum(shares.values()) == 99
    assert shares == {"x": 89, "y": 9, "z": 1}
    # 6 images: 5.4, 0.54 and 0.06, where each has at least one.
    assert source_shares(SIZES, 2, "proportional")["a"] == {"x": 4, "y": 1, "z": 1}
    assert source_shares(SIZES, 1, "proportional")["a"] == {"x": 1, "y": 1, "z": 1}


def test_a_power_between_is_between() -> None:
    half = source_shares({"a": {"x": 900, "y": 100}}, 50, 0.5)["a"]
    # Roots 30 and 10.
    assert half == {"x": 75, "y": 25}
    assert source_shares(SIZES, 7, 0.0) == source_shares(SIZES, 7)
    assert source_shares(SIZES, 7, 1.0) == source_shares(SIZES, 7, "proportional")


def test_shares_may_be_given() -> None:
    given = {"a": {"z": 1, "x": 5, "y": 2}, "b": 3}
    assert source_shares(SIZES, given) == {"a": {"x": 5, "y": 2, "z": 1}, "b": {"x": 3}}


@pytest.mark.parametrize(
    ("batch_size", "mix", "message"),
    [
        (0, "equal", "`batch_size` of task 'a' must be an integer of at least 1"),
        (2.5, "equal", "`batch_size` of task 'a' must be an integer"),
        ({"a": 2}, "equal", "one entry for each task"),
        ({"a": {"x": 1}, "b": 1}, "equal", r"`batch_size\['a'\]` must have one entry"),
        ({"a": {"x": 1, "y": 0, "z": 1}, "b": 1}, "equal", "source 'y' of task 'a'"),
        (2, "random", "`mix` must be one of"),
        (2, 1.5, "`mix` must be one of"),
    ],
)
def test_wrong_numbers_are_refused(batch_size: object, mix: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        source_shares(SIZES, batch_size, mix)  # type: ignore[arg-type]


def test_sources_of_a_task_must_be_alike() -> None:
    small, large = toy_classes(side=16), toy_classes(side=32, name="large")
    with pytest.raises(ValueError, match=r"\(16, 16, 3\) for 'classes' and .*for 'large'"):
        check_sources({"classification": {"a": small, "b": large}})
    with pytest.raises(ValueError, match="must be of one kind"):
        check_sources({"mixed": {"a": small, "b": toy_boxes()}})
    with pytest.raises(TypeError, match="Sources must be of the type Source. Received: int"):
        check_sources({"classification": {"a": 3}})
    for wrong in ({}, small, {"classification": small}, {"classification": {}}):
        with pytest.raises(TypeError, match="`sources` must be"):
            check_sources(wrong)
