"""`LazySplits` reads a split when it is asked for, once."""

import numpy as np
import pytest

from keras_univrep.datasets.domain import Arrays
from keras_univrep.datasets.lazy_splits import LazySplits


def test_a_split_is_read_when_asked_for_and_once() -> None:
    read = []

    def reader() -> Arrays:
        read.append("train")
        return np.zeros((2, 8, 8, 3), "uint8"), np.array([0, 1], "int32")

    splits = LazySplits({"train": reader, "test": reader})
    assert list(splits) == ["train", "test"] and len(splits) == 2
    assert "train" in splits and "validation" not in splits and not read
    first = splits["train"]
    assert splits["train"] is first and read == ["train"]
    with pytest.raises(ValueError, match="read-only"):
        first[0][0] = 1
    with pytest.raises(KeyError):
        splits["validation"]
