"""`join_dense_pipelines` puts the batches of dense domains side by side, and resumes exactly."""

import numpy as np
import pytest

from keras_univrep.datasets import dense_pipeline, join_dense_pipelines
from tests.datasets.dense_sets import toy_domain

DOMAINS = {
    "rooms": toy_domain(name="rooms"),
    "streets": toy_domain(5, name="streets"),
}
SIZES = {"rooms": 2, "streets": 3}


def parts(first_step: int = 0, tasks: dict | None = None) -> dict:
    return {
        name: dense_pipeline(
            domain, "train", SIZES[name], True, seed=3, first_step=first_step,
            tasks=None if tasks is None else tasks[name],
        )
        for name, domain in DOMAINS.items()
    }  # fmt: skip


def test_each_domain_has_the_batches_that_it_has_alone() -> None:
    single = {name: list(dataset.take(3)) for name, dataset in parts().items()}
    for step, (images, targets) in enumerate(join_dense_pipelines(parts()).take(3)):
        assert list(images) == list(DOMAINS)
        assert set(targets) == {f"{name}_{t}" for name, d in DOMAINS.items() for t in d.tasks}
        for name, batches in single.items():
            np.testing.assert_array_equal(images[name], batches[step][0])
            for task, maps in batches[step][1].items():
                np.testing.assert_array_equal(targets[f"{name}_{task}"], maps)


def test_goes_on_where_it_was() -> None:
    whole = list(join_dense_pipelines(parts()).take(4))[2:]
    again = list(join_dense_pipelines(parts(first_step=2)).take(2))
    for (images, targets), (wanted, maps) in zip(again, whole, strict=True):
        for name in DOMAINS:
            np.testing.assert_array_equal(images[name], wanted[name])
        for task in maps:
            np.testing.assert_array_equal(targets[task], maps[task])


def test_shapes_are_known_before_a_batch_is_read() -> None:
    tasks = {"rooms": ["segmentation"], "streets": ["depth"]}
    images, targets = join_dense_pipelines(parts(tasks=tasks)).element_spec
    assert {name: tuple(spec.shape) for name, spec in images.items()} == {
        "rooms": (2, 12, 18, 3), "streets": (3, 12, 18, 3),
    }  # fmt: skip
    assert {name: tuple(spec.shape) for name, spec in targets.items()} == {
        "rooms_segmentation": (2, 12, 18), "streets_depth": (3, 12, 18, 1),
    }  # fmt: skip


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="must hold at least one dataset"):
        join_dense_pipelines({})
    rooms = toy_domain(tasks={"b_c": "depth"}, class_names={}, splits={"train": _depths("b_c")})
    other = toy_domain(tasks={"c": "depth"}, class_names={}, splits={"train": _depths("c")})
    with pytest.raises(ValueError, match=r"must not go by one name.*'a_b_c', 'a_b_c'"):
        join_dense_pipelines(
            {"a": dense_pipeline(rooms, "train", 1), "a_b": dense_pipeline(other, "train", 1)}
        )


def _depths(task: str) -> tuple:
    maps = {task: np.ones((2, 12, 18, 1), "float32")}
    return np.zeros((2, 12, 18, 3), "uint8"), maps
