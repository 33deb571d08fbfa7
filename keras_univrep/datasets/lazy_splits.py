"""Splits of a domain that are read when they are first asked for."""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import keras

Split = TypeVar("Split")


class LazySplits(Mapping[str, Split]):
    """A mapping of split to arrays that calls a reader at first use and keeps what it gave.

    The arrays are made read-only: every pipeline over the domain shares them.

    Args:
        readers: Dict of split to a function without arguments that returns (images, labels), as
            `Domain` wants them, or (images, dict of targets), as `DenseDomain` does.

    Example:

    >>> import numpy as np
    >>> from keras_univrep.datasets.lazy_splits import LazySplits
    >>> images = np.zeros((2, 8, 8, 3), "uint8")
    >>> splits = LazySplits({"train": lambda: (images, np.array([0, 1], "int32"))})
    >>> list(splits), splits["train"][1].tolist()
    (['train'], [0, 1])
    """

    def __init__(self, readers: Mapping[str, Callable[[], Split]]) -> None:
        self._readers = dict(readers)
        self._cache: dict[str, Split] = {}

    def __getitem__(self, split: str) -> Split:
        reader = self._readers[split]
        if split not in self._cache:
            arrays = reader()
            for array in keras.tree.flatten(arrays):
                array.setflags(write=False)
            self._cache[split] = arrays
        return self._cache[split]

    def __contains__(self, split: object) -> bool:
        # The mapping's own test would read the images.
        return split in self._readers

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    def __len__(self) -> int:
        return len(self._readers)
