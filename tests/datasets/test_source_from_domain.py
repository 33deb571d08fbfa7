"""Domains become sources without being read."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from keras_univrep.datasets import DenseDomain, load_domain, source_from_domain
from keras_univrep.datasets.lazy_splits import LazySplits
from tests.datasets.dense_sets import toy_domain


def test_a_domain_of_classes_is_a_source() -> None:
    domain = load_domain("signdigits")
    source = source_from_domain(domain, name="digits")
    assert (source.name, source.kind, source.flip) == ("digits", "classification", domain.flip)
    assert source.class_names == domain.class_names and source.licence == domain.licence
    for one, other in zip(source.arrays("test"), domain.arrays("test"), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_task_of_a_dense_domain_is_a_source() -> None:
    domain = toy_domain(licence="open", description="rooms")
    classes, depth = (source_from_domain(domain, task) for task in ("segmentation", "depth"))
    assert classes.class_names == ("a", "b", "c") and depth.class_names == ()
    assert (depth.channels, depth.licence, depth.description) == (1, "open", "rooms")
    images, targets = domain.arrays("train")
    for source in (classes, depth):
        np.testing.assert_array_equal(source.arrays("train")[0], images)
        np.testing.assert_array_equal(source.arrays("train")[1], targets[source.kind])


def test_nothing_is_read_before_it_is_asked_for() -> None:
    def read() -> Any:
        raise RuntimeError("read")

    whole = toy_domain()
    domain: DenseDomain = dataclasses.replace(whole, splits=LazySplits({"train": read}))
    source = source_from_domain(domain, "depth")
    assert list(source.splits) == ["train"] and "test" not in source.splits
    with pytest.raises(RuntimeError, match="read"):
        source.arrays("train")


def test_other_tasks_and_things_are_refused() -> None:
    with pytest.raises(ValueError, match=r"one of \['segmentation', 'depth'\].*task=None"):
        source_from_domain(toy_domain())
    with pytest.raises(ValueError, match="task='normals'"):
        source_from_domain(toy_domain(), "normals")
    with pytest.raises(ValueError, match="`task` must be None"):
        source_from_domain(load_domain("signdigits"), "depth")
    with pytest.raises(TypeError, match="must be a Domain or a DenseDomain. Received: int"):
        source_from_domain(3)  # type: ignore[arg-type]
