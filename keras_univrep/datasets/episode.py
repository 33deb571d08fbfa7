"""What a few-shot episode holds."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Episode:
    """A support set to adapt to and a query set to be judged on, as positions in a labelled set.

    Images stand class by class, in the order of `classes`. A block of episodes of one size has one
    more axis in front of every array.

    Args:
        support_indices: Positions of the support images, int64 (support,).
        support_labels: Their labels in the episode, int32 (support,), in [0, way).
        query_indices: Positions of the query images, int64 (query,); none is in the support set.
        query_labels: Their labels in the episode, int32 (query,), in [0, way).
        classes: Label in the labelled set of each label of the episode, int64 (way,); none twice.

    Example:

    >>> import numpy as np
    >>> episode = Episode(
    ...     support_indices=np.array([4, 9]),
    ...     support_labels=np.array([0, 1], "int32"),
    ...     query_indices=np.array([3, 7]),
    ...     query_labels=np.array([0, 1], "int32"),
    ...     classes=np.array([12, 5]),
    ... )
    >>> episode.way, episode.shots.tolist()
    (2, [1, 1])
    """

    support_indices: np.ndarray
    support_labels: np.ndarray
    query_indices: np.ndarray
    query_labels: np.ndarray
    classes: np.ndarray

    @property
    def way(self) -> int:
        """Number of classes."""
        return self.classes.shape[-1]

    @property
    def shots(self) -> np.ndarray:
        """Support images of each class, int64 (..., way)."""
        return (self.support_labels[..., None] == np.arange(self.way)).sum(axis=-2)
