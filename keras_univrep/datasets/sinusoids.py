"""Sine waves as regression tasks, in NumPy alone."""

from collections.abc import Iterator

import numpy as np

MetaArrays = dict[str, tuple[np.ndarray, np.ndarray]]

_AMPLITUDE, _INPUT = (0.1, 5.0), (-5.0, 5.0)


class Sinusoids:
    """Maps the number of a batch to sine waves with points to adapt to and points to predict.

    A batch is a pure function of the seed and its number: it can be asked in any order. Of a wave
    y = a sin(x - p) the amplitude a is uniform in [0.1, 5), the phase p in [0, `phase`) and points
    x in [-5, 5).

    Args:
        support: Points of a task to adapt to.
        query: Points of a task to be judged by.
        phase: Largest phase, in radians.
        waves: Number of waves of a fixed set, of which batches are drawn without repetition within
            a batch; `None` for fresh ones in each batch.
        points: Points of each wave of a fixed set, of which support and query points are drawn,
            different ones; `None` for fresh ones in each batch.
        seed: Integer from 0.

    Raises:
        ValueError: If an argument is out of range, or a wave has fewer points than a task needs.

    Example:

    >>> from keras_univrep.datasets import Sinusoids
    >>> tasks = Sinusoids(support=5, query=10, phase=3.14)
    >>> batch = tasks.batch(number=0, tasks=25)
    >>> {part: [array.shape for array in arrays] for part, arrays in batch.items()}
    {'support': [(25, 5, 1), (25, 5, 1)], 'query': [(25, 10, 1), (25, 10, 1)]}
    """

    def __init__(
        self,
        support: int = 10,
        query: int = 10,
        phase: float = float(np.pi),
        waves: int | None = None,
        points: int | None = None,
        seed: int = 0,
    ) -> None:
        for name, value in (("support", support), ("query", query), ("waves", waves)):
            if name == "waves" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
                raise ValueError(
                    f"`{name}` must be an integer of at least 1. Received: {name}={value!r}. "
                    "Pass, for example, 10."
                )
        if not phase > 0:
            raise ValueError(
                f"`phase` must be positive. Received: phase={phase!r}. Pass, for example, np.pi."
            )
        if points is not None and (waves is None or points < support + query):
            raise ValueError(
                "`points` must be at least `support` + `query`, of a fixed number of `waves`. "
                f"Received: points={points}, waves={waves}, support={support}, query={query}. "
                "Pass None for fresh points."
            )
        self.support, self.query, self.phase = support, query, float(phase)
        self.waves, self.points, self.seed = waves, points, seed
        if waves is not None:
            rng = np.random.default_rng((seed, 0))
            self._amplitudes, self._phases = self._draw(rng, waves)
            if points is not None:
                self._x = rng.uniform(*_INPUT, (waves, points))

    def batch(self, number: int, tasks: int = 25) -> MetaArrays:
        """A batch of tasks.

        Args:
            number: Of the batch, from 0.
            tasks: Waves of the batch.

        Returns:
            {"support": (x, y), "query": (x, y)}, float32, (tasks, points, 1) each.

        Raises:
            ValueError: If there are fewer waves than tasks.
        """
        rng = np.random.default_rng((self.seed, 1, number))
        size = self.support + self.query
        if self.waves is None:
            amplitudes, phases = self._draw(rng, tasks)
        else:
            if tasks > self.waves:
                raise ValueError(
                    "`tasks` must be at most the number of waves. Received: "
                    f"tasks={tasks}, waves={self.waves}. Pass fewer."
                )
            chosen = rng.choice(self.waves, tasks, replace=False)
            amplitudes, phases = self._amplitudes[chosen], self._phases[chosen]
        if self.points is None:
            x = rng.uniform(*_INPUT, (tasks, size))
        else:
            columns = np.argsort(rng.random((tasks, self.points)), axis=1)[:, :size]
            x = self._x[chosen[:, None], columns]
        y = amplitudes[:, None] * np.sin(x - phases[:, None])
        x, y = x.astype("float32")[..., None], y.astype("float32")[..., None]
        parts = (slice(None, self.support), slice(self.support, None))
        return {
            name: (x[:, part], y[:, part])
            for name, part in zip(("support", "query"), parts, strict=True)
        }

    def batches(self, tasks: int = 25, first: int = 0) -> Iterator[tuple[MetaArrays]]:
        """Batches without end, each in a tuple as `fit` takes them.

        Args:
            tasks: Waves of a batch.
            first: Number of the first batch.

        Yields:
            (batch,), see `batch`.
        """
        while True:
            yield (self.batch(first, tasks),)
            first += 1

    def all_points(self) -> tuple[np.ndarray, np.ndarray]:
        """All points of a fixed set, for a training that knows no tasks.

        Returns:
            x and y, float32, (waves, points, 1) each.

        Raises:
            ValueError: If waves or points are fresh in each batch.
        """
        if self.points is None:
            raise ValueError(
                "All points are known of a fixed set alone. Received: "
                f"waves={self.waves}, points=None. Pass both."
            )
        y = self._amplitudes[:, None] * np.sin(self._x - self._phases[:, None])
        return self._x.astype("float32")[..., None], y.astype("float32")[..., None]

    def _draw(self, rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
        return rng.uniform(*_AMPLITUDE, count), rng.uniform(0.0, self.phase, count)
