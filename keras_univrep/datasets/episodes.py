"""Samples few-shot episodes from the labels of a set, in NumPy alone."""

import warnings
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_univrep.datasets.episode import Episode
from keras_univrep.datasets.episode_checks import check_labels, check_number, way_range
from keras_univrep.datasets.episode_draws import draw_from_each, draw_rows

Draw = Callable[[np.random.Generator], np.ndarray]
ClassSampler = Callable[[np.ndarray, int, int], Draw]

PROTOCOLS: dict[str, dict[str, Any]] = {
    "varying_way_varying_shot": {},
    "varying_way_five_shot": {"shot": 5},
    "five_way_one_shot": {"way": 5, "max_support_per_class": 1},
    "five_way_five_shot": {"way": 5, "shot": 5},
    "twenty_way_one_shot": {"way": 20, "shot": 1},
}
# Episodes of one size are drawn so many at a time, from one generator; so many pages are kept.
_PAGE, _KEPT_PAGES = 128, 16
# Meta-Dataset's weight of a class is between half and double its number of images.
_LOG_WEIGHT = float(np.log(2))


class EpisodeSampler:
    """Maps the number of an episode to its support and query images.

    An episode is a pure function of the seed and its number: it can be asked in any order, by any
    worker. What varies follows Meta-Dataset, on which li2022 evaluates 600 episodes a domain:

    | number | drawn as |
    |---|---|
    | way | uniform in [5, min(50, classes)]; then that many classes, uniform |
    | query images of each class | min(`query`, half of the smallest class c, rounded down) |
    | support images | min(500, sum over c of ceil(b min(100, n_c - q))), b uniform in (0, 1] |
    | of them in class c | min(n_c - q, 1 + floor(w_c / sum of w (support images - way))) |
    | w_c | n_c exp(a_c), a_c uniform in [log 1/2, log 2) |

    with n_c images of class c and q query images of it. An integer `shot` gives every class so many
    support images, and min(`query`, smallest class - `shot`) query images.

    Differences:
        Meta-Dataset's code reads the images of a class pass by pass, shuffled within a buffer of
        1000; here each episode draws its images without regard to other episodes, which is what the
        paper describes. Support and query images keep the order of their classes.

    Args:
        labels: Class of each image, integers (n,), not negative.
        way: Classes of an episode; a pair (least, most) for a uniform number, None for (5, 50).
            The classes that there are bound the most, not the least.
        shot: Support images of each class; None to vary with the class.
        query: Most query images of each class.
        max_support: Most support images of an episode where the shot varies.
        max_support_per_class: What a class counts for at most where the size of the support set is
            drawn; it may get more of them.
        class_sampler: Chooses the classes: called with the labels that may be drawn (sorted), the
            least and the most of them, it returns a function of a NumPy generator that returns
            different ones of them. None for uniform. `classes_of_one_group` and
            `classes_under_one_node` make one from a hierarchy.
        min_images: Images that a class must have; None for what an episode needs: 2 with a varying
            shot; `shot + query` with a fixed one, and `shot + 1` where the way varies.
        exclude_small: Whether to leave out classes with fewer images; None to do so with a warning,
            False to refuse them.
        num_classes: Number of classes, to count those without an image as well; None for the
            classes among the labels.
        seed: Integer from 0.
        stream: Name of the stream: two domains of one seed are drawn independently.

    Raises:
        ValueError: If an argument is out of range, or too few classes have enough images.
        TypeError: If the labels are not integers.

    Example:

    >>> import numpy as np
    >>> labels = np.repeat(np.arange(8), 20)
    >>> sampler = EpisodeSampler(labels, way=5, shot=1, query=10)
    >>> episode = sampler(number=3)
    >>> episode.support_indices.shape, episode.query_indices.shape
    ((5,), (50,))
    >>> bool((labels[episode.query_indices] == episode.classes[episode.query_labels]).all())
    True
    >>> sampler.block(first=0, count=100).query_indices.shape
    (100, 50)

    References:
        - Triantafillou et al., Meta-Dataset: A Dataset of Datasets for Learning to Learn from Few
          Examples, 2020, section 3.2.
        - Li, Liu and Bilen, Universal Representations: A Unified Look at Multiple Task and Domain
          Learning, 2022, section 5.3 and appendix B.2.
    """

    def __init__(
        self,
        labels: npt.ArrayLike,
        way: int | tuple[int, int] | None = None,
        shot: int | None = None,
        query: int = 10,
        max_support: int = 500,
        max_support_per_class: int = 100,
        class_sampler: ClassSampler | None = None,
        min_images: int | None = None,
        exclude_small: bool | None = None,
        num_classes: int | None = None,
        seed: int = 0,
        stream: str = "",
    ) -> None:
        low, high = way_range(way)
        for name, value in (
            ("query", query),
            ("shot", 1 if shot is None else shot),
            ("max_support", max_support),
            ("max_support_per_class", max_support_per_class),
        ):
            if not isinstance(value, (int, np.integer)) or value < 1:
                raise ValueError(
                    f"`{name}` must be an integer of at least 1. Received: {name}={value!r}. Pass, "
                    "for example, 5."
                )
        if shot is None and max_support < high:
            raise ValueError(
                "`max_support` must be at least the largest way, since every class has a support "
                f"image. Received: max_support={max_support}, way up to {high}. Pass a smaller "
                "`way`."
            )
        if not isinstance(seed, (int, np.integer)) or seed < 0:
            raise ValueError(
                f"`seed` must be an integer of at least 0. Received: seed={seed!r}. Pass 0."
            )
        self.labels = check_labels(labels, num_classes)
        self.shot, self.query = shot, query
        self._max_support, self._max_support_per_class = max_support, max_support_per_class
        least = 2 if shot is None else shot + (query if low == high else 1)
        if min_images is None:
            min_images = least
        needed = 2 if shot is None else shot + 1
        if min_images < needed:
            raise ValueError(
                f"`min_images` must be at least {needed}: every class gives support and query "
                f"images. Received: min_images={min_images}, shot={shot}. Pass `min_images=None`."
            )
        self.classes, self.excluded, counts = self._choose_classes(
            min_images, exclude_small, num_classes
        )
        if len(self.classes) < low:
            raise ValueError(
                f"At least {low} classes must have {min_images} images or more, for the way is at "
                f"least {low}. Received: {len(self.classes)} such classes and "
                f"{len(self.excluded)} with fewer images. Pass a smaller `way`, `shot` or `query`."
            )
        self.way_range = low, min(high, len(self.classes))
        # Images of a class lie together in `_order`, from `_starts` on.
        order = np.argsort(self.labels, kind="stable")
        self._order = order
        self._starts = np.searchsorted(self.labels[order], self.classes)
        self._counts = counts
        self._draw = None if class_sampler is None else class_sampler(self.classes, low, high)
        self.has_one_size = low == high and shot is not None and min_images >= shot + query
        self._entropy = (int(seed), zlib.crc32(stream.encode()))
        if self.has_one_size:
            local = np.arange(low, dtype="int32")
            self._fixed_labels = np.repeat(local, int(shot or 0)), np.repeat(local, query)
        self._pages: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    @classmethod
    def from_protocol(cls, name: str, labels: npt.ArrayLike, **kwargs: Any) -> "EpisodeSampler":
        """Makes the sampler of a protocol.

        Args:
            name: "varying_way_varying_shot" (the standard one), "varying_way_five_shot" or
                "five_way_one_shot" of li2022; "five_way_five_shot" or "twenty_way_one_shot".
            labels: As for the class.
            **kwargs: Other arguments of the class; they prevail over those of the protocol.

        Returns:
            An `EpisodeSampler`.

        Raises:
            ValueError: If the name is unknown, or as for the class.
        """
        if name not in PROTOCOLS:
            raise ValueError(
                f"`name` must be one of {list(PROTOCOLS)}. Received: name={name!r}. Pass one of "
                "these, or `way` and `shot` to `EpisodeSampler`."
            )
        return cls(labels, **{**PROTOCOLS[name], **kwargs})

    @property
    def largest_size(self) -> tuple[int, int]:
        """Bounds (support, query) on the images of an episode; the sizes where they are fixed."""
        high = self.way_range[1]
        if self.shot is not None:
            return high * self.shot, high * min(self.query, int(self._counts.max()) - self.shot)
        # Every class leaves at least one image to the queries, and gives them half at most.
        rest = np.sort(np.minimum(self._counts - 1, self._max_support_per_class))
        support = min(int(rest[-high:].sum()), self._max_support)
        return support, high * min(self.query, int(self._counts.max()) // 2)

    def __call__(self, number: int) -> Episode:
        """Samples an episode.

        Args:
            number: Number of the episode, from 0.

        Returns:
            An `Episode`.

        Raises:
            ValueError: If the number is negative.
        """
        check_number("number", number, 0)
        if self.has_one_size:
            page, row = divmod(int(number), _PAGE)
            classes, indices = self._cached_page(page)
            return self._fixed(classes[row], indices[row])
        rng = np.random.default_rng((*self._entropy, 1, int(number)))
        rows = self._sample_classes(rng)
        counts = self._counts[rows]
        shots, query = self._sample_shots(rng, counts)
        offsets, ranks = draw_from_each(rng, counts, shots + query)
        local = np.repeat(np.arange(len(rows), dtype="int32"), shots + query)
        indices = self._order[self._starts[rows][local] + offsets]
        support = ranks < shots[local]
        return Episode(
            support_indices=indices[support],
            support_labels=local[support],
            query_indices=indices[~support],
            query_labels=local[~support],
            classes=self.classes[rows],
        )

    def block(self, first: int, count: int) -> Episode:
        """Samples episodes of one size at once: the same ones as one by one, many times faster.

        Args:
            first: Number of the first episode, from 0.
            count: Number of episodes, at least 1.

        Returns:
            An `Episode` with one more axis of length `count` in front of every array.

        Raises:
            ValueError: If a number is out of range, or the size of an episode varies.
        """
        check_number("first", first, 0)
        check_number("count", count, 1)
        if not self.has_one_size:
            raise ValueError(
                "A block needs episodes of one size. Received: a sampler whose way, shot or query "
                f"varies (way {self.way_range}, shot={self.shot}). Pass integers `way` and `shot`, "
                "or call the sampler episode by episode."
            )
        numbers = range(first // _PAGE, (first + count - 1) // _PAGE + 1)
        pages = [self._cached_page(number) for number in numbers]
        own = slice(first % _PAGE, first % _PAGE + count)
        parts = pages[0] if len(pages) == 1 else map(np.concatenate, zip(*pages))
        classes, indices = (part[own] for part in parts)
        return self._fixed(classes, indices)

    def random_numbers(self, number: int, stream: int) -> np.random.Generator:
        """Returns the generator of what else is drawn for an episode, such as shifts of its images.

        Args:
            number: Number of the episode, from 0.
            stream: Which of several independent generators, integer from 0.

        Returns:
            A generator in its first state, independent of the one that draws the episode.
        """
        return np.random.default_rng((*self._entropy, 2, int(number), int(stream)))

    def _choose_classes(
        self, min_images: int, exclude: bool | None, num_classes: int | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        classes, counts = np.unique(self.labels, return_counts=True)
        if num_classes is not None:
            classes, counts = np.arange(num_classes), np.bincount(self.labels, None, num_classes)
        enough = counts >= min_images
        if not exclude and not enough.all():
            bad = int(np.flatnonzero(~enough)[0])
            few = f"class {classes[bad]} with {counts[bad]}, and {(~enough).sum() - 1} more"
            if exclude is not None:
                raise ValueError(
                    f"Every class must have at least {min_images} images. Received: {few} with too "
                    "few. Pass `exclude_small=True` to leave them out."
                )
            warnings.warn(
                f"{(~enough).sum()} classes of {len(classes)} are left out, which have fewer than "
                f"{min_images} images: {few}. Pass `exclude_small=True` to leave them out without "
                "a warning, or False to refuse them.",
                stacklevel=3,
            )
        return classes[enough].astype("int64"), classes[~enough].astype("int64"), counts[enough]

    def _sample_classes(self, rng: np.random.Generator) -> np.ndarray:
        """Positions in `classes` of those of an episode, int64 (way,)."""
        if self._draw is None:
            way = int(rng.integers(*self.way_range, endpoint=True))
            return rng.choice(len(self.classes), way, replace=False)
        drawn = np.asarray(self._draw(rng))
        rows = np.searchsorted(self.classes, drawn)
        low, high = self.way_range
        known = drawn.ndim == 1 and bool(np.isin(drawn, self.classes).all())
        if not known or len(set(drawn.tolist())) < len(drawn) or not low <= len(drawn) <= high:
            raise ValueError(
                f"`class_sampler` must draw from {low} to {high} different classes out of those "
                f"with enough images. Received: {drawn.tolist()}. Draw from the labels that it is "
                "called with."
            )
        return rows

    def _sample_shots(self, rng: np.random.Generator, counts: np.ndarray) -> tuple[np.ndarray, int]:
        """Support images of each class, int64 (way,), and query images of all alike."""
        smallest, way = int(counts.min()), len(counts)
        if self.shot is not None:
            return np.full(way, self.shot), min(self.query, smallest - self.shot)
        query = min(self.query, smallest // 2)
        rest = counts - query
        beta = 1.0 - rng.random()  # In (0, 1].
        wanted = np.ceil(beta * np.minimum(self._max_support_per_class, rest)).sum()
        support = min(int(wanted), self._max_support)
        weights = counts * np.exp(rng.uniform(-_LOG_WEIGHT, _LOG_WEIGHT, way))
        shots = 1 + np.floor(weights / weights.sum() * (support - way)).astype("int64")
        return np.minimum(shots, rest), query

    def _fixed(self, classes: np.ndarray, indices: np.ndarray) -> Episode:
        """Parts images (..., way, shot + query) into an episode; nothing shares the page's memory.

        A caller who writes into an episode must not change the next one.
        """
        lead, shot = classes.shape[:-1], int(self.shot or 0)
        support, query = self._fixed_labels
        if lead:
            support, query = (np.broadcast_to(own, (*lead, len(own))) for own in (support, query))
        return Episode(
            support_indices=indices[..., :shot].copy().reshape(*lead, -1),
            support_labels=support.copy(),
            query_indices=indices[..., shot:].copy().reshape(*lead, -1),
            query_labels=query.copy(),
            classes=classes.copy(),
        )

    def _cached_page(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        # Loader threads share the sampler: a page is whole when it is put in, and one that another
        # thread takes out is made again.
        page = self._pages.get(number)
        if page is None:
            page = self._sample_page(number)
            if len(self._pages) >= _KEPT_PAGES:
                self._pages = {}
            self._pages[number] = page
        return page

    def _sample_page(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Classes (page, way) and images (page, way, shot + query) of the episodes of a page."""
        rng = np.random.default_rng((*self._entropy, 0, number))
        way = self.way_range[0]
        if self._draw is None:
            rows = draw_rows(rng, np.full(_PAGE, len(self.classes)), way)
        else:
            rows = np.stack([self._sample_classes(rng) for _ in range(_PAGE)])
        flat = rows.ravel()
        offsets = draw_rows(rng, self._counts[flat], int(self.shot or 0) + self.query)
        indices = self._order[offsets + self._starts[flat][:, None]]
        return self.classes[rows], indices.reshape(_PAGE, way, -1)
