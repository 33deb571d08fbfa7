"""The helpers of `recipes/build_embedded.py` divide as documented."""

import importlib.util
import pathlib
import types

import numpy as np
import pytest


@pytest.fixture(scope="module")
def recipe() -> types.ModuleType:
    path = pathlib.Path(__file__).parents[2] / "recipes" / "build_embedded.py"
    spec = importlib.util.spec_from_file_location("build_embedded", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_stratified_draws_the_asked_number_of_each_class(recipe: types.ModuleType) -> None:
    labels = np.repeat([0, 1, 2], 10)[np.random.default_rng(0).permutation(30)]
    parts = recipe.stratified(labels, (6, 1, 3), seed=0)
    assert [np.bincount(labels[part]).tolist() for part in parts] == [[6] * 3, [1] * 3, [3] * 3]
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(30))


def test_no_run_of_rising_digits_is_in_two_splits(recipe: types.ModuleType) -> None:
    rng = np.random.default_rng(1)
    photographs = [
        (p, d) for p in range(40) for d in range(10) if d in (0, 9) or rng.random() < 0.7
    ]
    people, digits = np.array(photographs).T
    # A row's number is its place in time; the rows themselves come in any order.
    numbers = rng.permutation(len(people))
    people, digits = people[numbers], digits[numbers]
    parts = recipe.by_run(numbers, digits, seed=0)
    found = [set(people[part]) for part in parts]
    assert sum(map(len, found)) == 40 and len(set.union(*found)) == 40
    assert sum(map(len, parts)) == len(people)


def test_copies_are_dropped_from_the_earlier_split(recipe: types.ModuleType) -> None:
    images = np.arange(6, dtype="uint8").reshape(6, 1, 1)
    labels = np.arange(6)
    arrays = {
        "train": (images[[0, 1, 2, 0]], labels[:4]),
        "validation": (images[[3, 2]], labels[:2]),
        "test": (images[[4, 1]], labels[:2]),
    }
    kept = recipe.drop_copies(arrays)
    assert [kept[split][0].ravel().tolist() for split in arrays] == [[0, 0], [3, 2], [4, 1]]
    assert kept["train"][1].tolist() == [0, 3]


def test_statistics_count_the_border_of_grey_images(recipe: types.ModuleType) -> None:
    images = np.full((2, 28, 28), 255, "uint8")
    mean, std = recipe.statistics(images)
    share = 28 * 28 / 32**2
    assert mean == pytest.approx([share] * 3, abs=1e-6)
    assert std == pytest.approx([np.sqrt(share * (1 - share))] * 3, abs=1e-6)
