"""Sets are divided by classes, as far as there are enough."""

import numpy as np
import pytest

from keras_univrep.datasets.meta_sources import META_SOURCES, divide_classes


def labels(classes: int, images: int = 20) -> np.ndarray:
    return np.tile(np.arange(classes), images)


def classes_of(found: np.ndarray, splits: dict[str, np.ndarray]) -> dict[str, set[int]]:
    return {split: set(found[positions].tolist()) for split, positions in splits.items()}


@pytest.mark.parametrize(
    ("classes", "train", "held_out"), [(15, 5, 5), (17, 7, 5), (40, 28, 6), (196, 138, 29)]
)
def test_many_classes_are_in_one_split_each(classes: int, train: int, held_out: int) -> None:
    found = labels(classes)
    parts = classes_of(found, divide_classes(found))
    assert {split: len(part) for split, part in parts.items()} == {
        "train": train,
        "validation": held_out,
        "test": held_out,
    }
    assert len(set.union(*parts.values())) == classes


@pytest.mark.parametrize("classes", [10, 14])
def test_of_ten_classes_five_are_for_the_test(classes: int) -> None:
    found = labels(classes)
    splits = divide_classes(found)
    parts = classes_of(found, splits)
    assert len(parts["test"]) == 5 and not parts["test"] & parts["train"]
    assert parts["train"] == parts["validation"] and len(parts["train"]) == classes - 5
    assert np.bincount(found[splits["validation"]], minlength=classes).max() == 5


def test_few_classes_are_all_seen() -> None:
    found = labels(8)
    splits = divide_classes(found)
    counts = {split: np.bincount(found[own]).tolist() for split, own in splits.items()}
    assert counts == {"train": [12] * 8, "validation": [4] * 8, "test": [4] * 8}


@pytest.mark.parametrize("classes", [8, 10, 17])
def test_every_image_is_in_one_split(classes: int) -> None:
    splits = divide_classes(labels(classes))
    positions = np.concatenate(list(splits.values()))
    assert sorted(positions.tolist()) == list(range(20 * classes))


def test_every_set_states_its_origin() -> None:
    for name, source in META_SOURCES.items():
        assert source.licence and source.citation and source.source.startswith("https://"), name
    assert [name for name, source in META_SOURCES.items() if not source.new_classes] == [
        "quickdraw8"
    ]
    upright = {name for name, source in META_SOURCES.items() if not source.flip}
    assert upright == {"omniglot28", "quickdraw8", "gtsrb", "mnist"}
