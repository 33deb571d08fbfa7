"""Several high-level tasks, each of many sub-tasks, in NumPy alone."""

from collections.abc import Iterator, Mapping

import numpy as np

from keras_univrep.datasets.domain import Arrays
from keras_univrep.datasets.episodes import EpisodeSampler

MetaArrays = dict[str, tuple[np.ndarray, np.ndarray]]
# Images, their labels, and the numbers of their environments.
Views = tuple[np.ndarray, np.ndarray, np.ndarray]


class MultiMetaTasks:
    """Maps the number of a batch to sub-tasks of each high-level task.

    A batch is a pure function of the seed and its number: it can be asked in any order. A sub-task
    of classification is `way` classes of one image set, the sets taking turns. A sub-task of any
    other task is an environment: images that belong together, of which support and query images
    are drawn, different ones.

    Args:
        classes: `{image set: (images, labels)}`, uint8 (n, height, width, channels) and integers
            (n,), for the task "classification"; empty for none.
        views: `{task: (images, labels, environments)}` of the other tasks: uint8 (n, height, width,
            channels); maps (n, height, width, ...) or vectors (n, entries); the number of the
            environment of each image, integers (n,). Tasks may share arrays. `None` for none.
        way: Classes of a sub-task of classification.
        shot: Support images of each class.
        query: Query images of each class.
        support_views: Support images of a sub-task of the other tasks.
        query_views: Query images of it; environments with fewer images are left out.
        seed: Integer from 0.

    Raises:
        ValueError: If there is no task, a number is out of range, or no environment is large
            enough.

    Example:

    >>> from keras_univrep.datasets import MultiMetaTasks
    >>> rng = np.random.default_rng(0)
    >>> images = rng.integers(0, 256, (40, 8, 8, 3)).astype("uint8")
    >>> depth = rng.random((40, 8, 8, 1)).astype("float32")
    >>> tasks = MultiMetaTasks({"toy": (images, np.arange(40) % 10)},
    ...                        {"depth": (images, depth, np.arange(40) // 8)}, query=2)
    >>> batch = tasks.batch(number=0, sub_tasks=2)
    >>> [x.shape for x in batch["classification"]["support"]]
    [(2, 5, 8, 8, 3), (2, 5)]
    >>> [x.shape for x in batch["depth"]["query"]]
    [(2, 5, 8, 8, 3), (2, 5, 8, 8, 1)]

    References:
        - Lekkala, Itti. Attentive feature reuse for multi task meta learning. 2020, section 5.
    """

    def __init__(
        self,
        classes: Mapping[str, Arrays],
        views: Mapping[str, Views] | None = None,
        way: int = 5,
        shot: int = 1,
        query: int = 5,
        support_views: int = 3,
        query_views: int = 5,
        seed: int = 0,
    ) -> None:
        views = dict(views or {})
        if not classes and not views:
            raise ValueError(
                "There must be an image set or another task. Received: neither. Pass `classes` or "
                "`views`."
            )
        if "classification" in views:
            raise ValueError(
                "The task 'classification' is that of `classes`. Received: views of that name. "
                "Call them otherwise."
            )
        for name, value in (("support_views", support_views), ("query_views", query_views)):
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
                raise ValueError(
                    f"`{name}` must be an integer of at least 1. Received: {name}={value!r}. Pass, "
                    "for example, 5."
                )
        self.tasks = (*(("classification",) if classes else ()), *views)
        self.seed, self.support_views, self.query_views = seed, support_views, query_views
        self._classes = list(classes.values())
        self._samplers = [
            EpisodeSampler(labels, way, shot, query, seed=seed, stream=name)
            for name, (_, labels) in classes.items()
        ]
        self._views = views
        self._members = {
            task: _members(task, *found, support_views + query_views)
            for task, found in views.items()
        }

    def environments(self, task: str) -> int:
        """Number of the environments that a task draws from."""
        return len(self._members[task])

    def batch(self, number: int, sub_tasks: int = 2) -> dict[str, MetaArrays]:
        """A batch of sub-tasks of every task.

        Args:
            number: Of the batch, from 0.
            sub_tasks: Sub-tasks of each task.

        Returns:
            `{task: {"support": (x, y), "query": (x, y)}}`, x float32 in [-1, 1], (sub-tasks,
            samples, height, width, channels), and y int32 (sub-tasks, samples) or float32 maps
            or vectors (sub-tasks, samples, ...).
        """
        found = {}
        for place, task in enumerate(self.tasks):
            if task == "classification":
                episodes = range(number * sub_tasks, (number + 1) * sub_tasks)
                parts = [self._of_classes(episode) for episode in episodes]
            else:
                rng = np.random.default_rng((self.seed, 2, place, number))
                parts = [self._of_environment(task, rng) for _ in range(sub_tasks)]
            found[task] = {
                name: (
                    np.stack([part[name][0] for part in parts]).astype("float32") / 127.5 - 1.0,
                    np.stack([part[name][1] for part in parts]),
                )
                for name in ("support", "query")
            }
        return found

    def batches(self, sub_tasks: int = 2, first: int = 0) -> Iterator[tuple[dict[str, MetaArrays]]]:
        """Batches without end, each in a tuple as `fit` takes them.

        Args:
            sub_tasks: Sub-tasks of each task.
            first: Number of the first batch.

        Yields:
            (batch,), see `batch`.
        """
        while True:
            yield (self.batch(first, sub_tasks),)
            first += 1

    def _of_classes(self, number: int) -> MetaArrays:
        turn, place = divmod(number, len(self._classes))
        images, _ = self._classes[place]
        episode = self._samplers[place](turn)
        return {
            "support": (images[episode.support_indices], episode.support_labels.astype("int32")),
            "query": (images[episode.query_indices], episode.query_labels.astype("int32")),
        }

    def _of_environment(self, task: str, rng: np.random.Generator) -> MetaArrays:
        images, labels, _ = self._views[task]
        members = self._members[task]
        chosen = members[rng.integers(len(members))]
        rows = rng.permutation(chosen)[: self.support_views + self.query_views]
        return {
            name: (images[own], labels[own].astype("float32"))
            for name, own in (
                ("support", rows[: self.support_views]),
                ("query", rows[self.support_views :]),
            )
        }


def _members(
    task: str, images: np.ndarray, labels: np.ndarray, environments: np.ndarray, least: int
) -> list[np.ndarray]:
    """Images of each environment that has enough of them."""
    if not len(images) == len(labels) == len(environments):
        raise ValueError(
            f"There must be as many labels and environments of {task!r} as images. Received: "
            f"{len(images)} images, {len(labels)} labels, {len(environments)} environments."
        )
    numbers, counts = np.unique(np.asarray(environments, "int64"), return_counts=True)
    found = [np.flatnonzero(environments == n) for n in numbers[counts >= least]]
    if not found:
        raise ValueError(
            f"An environment of {task!r} must have {least} images. Received: "
            f"{counts.max(initial=0)} at most. Lower `support_views` or `query_views`."
        )
    return found
