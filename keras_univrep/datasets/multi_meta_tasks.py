"""Several high-level tasks, each of many sub-tasks, in NumPy alone."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from keras_univrep.datasets.domain import Arrays
from keras_univrep.datasets.episodes import EpisodeSampler

MetaArrays = dict[str, tuple[np.ndarray, np.ndarray]]


class MultiMetaTasks:
    """Maps the number of a batch to sub-tasks of each high-level task.

    A batch is a pure function of the seed and its number: it can be asked in any order. A sub-task
    of classification is `way` classes of one image set, the sets taking turns. A sub-task of a
    dense task is an environment: images that belong together, of which support and query images
    are drawn, different ones.

    Args:
        classes: `{image set: (images, labels)}`, uint8 (n, height, width, channels) and integers
            (n,), for the task "classification"; empty for none.
        images: Images of the dense tasks, uint8 (n, height, width, channels).
        maps: `{task: maps}`, float (n, height, width, ...), or `None` for no dense task.
        environments: Number of the environment of each of these images, integers (n,).
        way: Classes of a sub-task of classification.
        shot: Support images of each class.
        query: Query images of each class.
        support_views: Support images of a sub-task of a dense task.
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
    >>> tasks = MultiMetaTasks({"toy": (images, np.arange(40) % 10)}, images, {"depth": depth},
    ...                        environments=np.arange(40) // 8, query=2)
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
        images: np.ndarray | None = None,
        maps: Mapping[str, np.ndarray] | None = None,
        environments: Sequence[int] | np.ndarray = (),
        way: int = 5,
        shot: int = 1,
        query: int = 5,
        support_views: int = 3,
        query_views: int = 5,
        seed: int = 0,
    ) -> None:
        maps = dict(maps or {})
        if not classes and not maps:
            raise ValueError(
                "There must be an image set or a dense task. Received: neither. Pass `classes`, or "
                "`images`, `maps` and `environments`."
            )
        if "classification" in maps:
            raise ValueError(
                "The task 'classification' is that of `classes`. Received: maps of that name. Call "
                "them otherwise."
            )
        for name, value in (("support_views", support_views), ("query_views", query_views)):
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
                raise ValueError(
                    f"`{name}` must be an integer of at least 1. Received: {name}={value!r}. Pass, "
                    "for example, 5."
                )
        sizes = {len(environments), *(len(found) for found in maps.values())}
        if maps and (images is None or sizes != {len(images)}):
            raise ValueError(
                "There must be as many maps and environments as images. Received: "
                f"{'no' if images is None else len(images)} images, {sorted(sizes)} others."
            )
        self.tasks = (*(("classification",) if classes else ()), *maps)
        self.seed, self.support_views, self.query_views = seed, support_views, query_views
        self._classes = list(classes.values())
        self._samplers = [
            EpisodeSampler(labels, way, shot, query, seed=seed, stream=name)
            for name, (_, labels) in classes.items()
        ]
        self._images, self._maps = images, maps
        numbers, counts = np.unique(np.asarray(environments, "int64"), return_counts=True)
        self.environments = numbers[counts >= support_views + query_views]
        if maps and not len(self.environments):
            raise ValueError(
                f"An environment must have {support_views + query_views} images. Received: "
                f"{counts.max(initial=0)} at most. Lower `support_views` or `query_views`."
            )
        self._members = [np.flatnonzero(environments == n) for n in self.environments]

    def batch(self, number: int, sub_tasks: int = 2) -> dict[str, MetaArrays]:
        """A batch of sub-tasks of every task.

        Args:
            number: Of the batch, from 0.
            sub_tasks: Sub-tasks of each task.

        Returns:
            `{task: {"support": (x, y), "query": (x, y)}}`, x float32 in [-1, 1], (sub-tasks,
            samples, height, width, channels), and y int32 (sub-tasks, samples) or float32 maps.
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
        images = np.asarray(self._images)
        members = self._members[rng.integers(len(self._members))]
        rows = rng.permutation(members)[: self.support_views + self.query_views]
        return {
            name: (images[own], self._maps[task][own].astype("float32"))
            for name, own in (
                ("support", rows[: self.support_views]),
                ("query", rows[self.support_views :]),
            )
        }
