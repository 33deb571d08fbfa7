"""Splits of a dense domain that are read when they are first asked for."""

from collections.abc import Callable, Iterator, Mapping

from keras_univrep.datasets.dense_domain import DenseArrays


class DenseSplits(Mapping[str, DenseArrays]):
    """A mapping of split to arrays that calls a reader at first use and keeps what it gave.

    The arrays are made read-only: every pipeline over the domain shares them.

    Args:
        readers: Dict of split to a function without arguments that returns (images, targets), as
            `DenseDomain` wants them.

    Example:

    >>> import numpy as np
    >>> from keras_univrep.datasets.dense_splits import DenseSplits
    >>> arrays = np.zeros((2, 8, 8, 3), "uint8"), {"depth": np.ones((2, 8, 8, 1), "float32")}
    >>> splits = DenseSplits({"train": lambda: arrays})
    >>> list(splits), splits["train"][1]["depth"].shape
    (['train'], (2, 8, 8, 1))
    """

    def __init__(self, readers: Mapping[str, Callable[[], DenseArrays]]) -> None:
        self._readers = dict(readers)
        self._cache: dict[str, DenseArrays] = {}

    def __getitem__(self, split: str) -> DenseArrays:
        reader = self._readers[split]
        if split not in self._cache:
            images, targets = reader()
            for array in (images, *targets.values()):
                array.setflags(write=False)
            self._cache[split] = images, targets
        return self._cache[split]

    def __contains__(self, split: object) -> bool:
        # The mapping's own test would read the images.
        return split in self._readers

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    def __len__(self) -> int:
        return len(self._readers)
