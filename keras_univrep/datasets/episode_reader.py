"""Reads the images and labels of few-shot episodes, in NumPy."""

from typing import Any

import numpy as np

from keras_univrep.datasets.batch_plan import reflect
from keras_univrep.datasets.domain import Arrays, Domain
from keras_univrep.datasets.episode import Episode
from keras_univrep.datasets.episodes import EpisodeSampler

Batch = dict[str, np.ndarray]
# Floats of half a megabyte.
_CACHED_VALUES = 2**17


class EpisodeReader:
    """Maps numbers of episodes to their images and labels."""

    def __init__(
        self,
        images: np.ndarray,
        domain: Domain | None,
        sampler: EpisodeSampler,
        pad_to: tuple[int, int] | None,
        padding: int,
    ) -> None:
        self.sampler = sampler
        self._padding = padding
        self._pad_to = pad_to
        self.image_shape = images.shape[1:]
        self._images = images
        self._scale = self._shift = None
        if domain is not None:
            # A factor and an addend for every value of an image: NumPy is ten times slower over an
            # inner axis of three.
            repeats = domain.image_shape[0] * domain.image_shape[1]
            std = np.tile(np.asarray(domain.std, "float64"), repeats)
            mean = np.tile(np.asarray(domain.mean, "float64"), repeats)
            self._scale = (1 / (255 * std)).astype("float32")
            self._shift = (-mean / std).astype("float32")

    def __call__(self, first: int, count: int | None) -> Batch:
        if count is None or self.sampler.has_one_size:
            episode = self.sampler(first) if count is None else self.sampler.block(first, count)
            parts = self._parts(episode, first)
        else:
            rows = [self._parts(self.sampler(first + i), first + i) for i in range(count)]
            parts = [np.stack(arrays) for arrays in zip(*rows)]
        support, support_labels, queries, query_labels = parts
        return {
            "support_images": self._gather(support, first, 0),
            "support_labels": support_labels,
            "query_images": self._gather(queries, first, 1),
            "query_labels": query_labels,
        }

    def _parts(self, episode: Episode, number: int) -> list[np.ndarray]:
        """Indices and labels of the support set, then of the queries; padded if so asked."""
        found = []
        for place, part in enumerate(("support", "query")):
            indices, labels = (
                getattr(episode, f"{part}_indices"),
                getattr(episode, f"{part}_labels"),
            )
            size, wanted = indices.shape[-1], (self._pad_to or (None, None))[place]
            if wanted is not None and size > wanted:
                raise ValueError(
                    "`pad_to` must hold the images of each episode. Received: "
                    f"pad_to={self._pad_to}, episode {number} with {size} {part} images. Pass "
                    f"`pad_to=sampler.largest_size`, {self.sampler.largest_size}."
                )
            if wanted is not None:
                rows = np.arange(wanted)
                # Images of the episode, not zeros: batch normalisation sees them as well.
                indices = indices[..., rows % size]
                labels = np.where(rows < size, labels[..., rows % size], np.int32(-1))
            found += [indices, labels]
        return found

    def _gather(self, indices: np.ndarray, first: int, part: int) -> np.ndarray:
        if self._scale is None or self._shift is None:
            return self._images[indices].astype("float32", copy=False)
        pixels = self._pixels(indices, first, part) if self._padding else None
        flat = indices.ravel()
        values = np.empty((len(flat), len(self._scale)), "float32")
        # Few images at a time stay in the processor's cache from one operation to the next.
        few = max(1, _CACHED_VALUES // len(self._scale))
        for start in range(0, len(flat), few):
            rows = slice(start, start + few)
            if pixels is None:
                images = self._images[flat[rows]]
            else:
                images = self._images.reshape(-1, self.image_shape[-1]).take(pixels[rows], axis=0)
            part_values = values[rows]
            part_values[...] = images.reshape(part_values.shape)
            part_values *= self._scale
            part_values += self._shift
        return values.reshape(*indices.shape, *self.image_shape)

    def _pixels(self, indices: np.ndarray, first: int, part: int) -> np.ndarray:
        """Numbers, among all pixels of the split, of those of each shifted image."""
        height, width, _ = self.image_shape
        largest, size = self._padding, indices.shape[-1]
        # What an episode's images are shifted by depends on its number alone.
        shifts = np.concatenate(
            [
                self.sampler.random_numbers(number, part).integers(-largest, largest + 1, (2, size))
                for number in range(first, first + indices.size // size)
            ],
            axis=1,
        )[..., None]
        rows = reflect(shifts[0] + np.arange(height), height)
        columns = reflect(shifts[1] + np.arange(width), width)
        corners = (indices.ravel().astype("int64") * (height * width))[:, None, None]
        return corners + (rows * width)[:, :, None] + columns[:, None, :]


def make_episode_reader(
    source: Domain | Arrays,
    split: str | None,
    sampler: EpisodeSampler | str,
    seed: int,
    pad_to: tuple[int, int] | None,
    padding: int,
) -> EpisodeReader:
    """Makes the reader behind the episodes of a domain, or of arrays, and checks its arguments."""
    domain = source if isinstance(source, Domain) else None
    if domain is not None:
        images, labels = domain.arrays(str(split))
        where = f"split '{split}' of domain '{domain.name}'"
    else:
        images, labels = _check_arrays(source, split)
        where = "the arrays"
    if isinstance(sampler, str):
        stream = "" if domain is None else domain.name
        sampler = EpisodeSampler.from_protocol(sampler, labels, seed=seed, stream=stream)
    if not isinstance(sampler, EpisodeSampler):
        raise TypeError(
            "`sampler` must be an EpisodeSampler or the name of a protocol. Received: "
            f"{type(sampler).__name__}. Make one with `EpisodeSampler(labels)`."
        )
    if not np.array_equal(sampler.labels, labels):
        raise ValueError(
            f"`sampler` must be made of the labels of {where}. Received: a sampler of "
            f"{len(sampler.labels)} labels, {len(labels)} images. Pass "
            "`EpisodeSampler(labels)` with the labels of this split."
        )
    shorter = 1 if domain is None else min(domain.image_shape[:2])
    if not isinstance(padding, (int, np.integer)) or not 0 <= padding < shorter:
        raise ValueError(
            "`padding` must be an integer in [0, shorter side of a domain's images), and 0 with "
            f"arrays. Received: padding={padding!r}, images of shape {images.shape[1:]}. Pass a "
            "smaller `padding`."
        )
    return EpisodeReader(images, domain, sampler, pad_to, int(padding))


def _check_arrays(source: Any, split: str | None) -> Arrays:
    if not isinstance(source, (tuple, list)) or len(source) != 2 or split is not None:
        raise TypeError(
            "`source` must be a Domain with the name of a split, or a pair (images, labels) with "
            f"split=None. Received: {type(source).__name__} with split={split!r}. Pass, for "
            "example, `load_domain('eurosat'), 'test'`."
        )
    images, labels = np.asarray(source[0]), np.asarray(source[1])
    if images.dtype.kind != "f":
        raise TypeError(
            "Images or features must be floats, ready to use. Received: dtype "
            f"{images.dtype}. Make a domain of integers with `domain_from_arrays`."
        )
    if images.ndim < 2 or labels.shape != images.shape[:1]:
        raise ValueError(
            "Arrays must have the shapes (n, ...) and (n,). Received: images "
            f"{images.shape}, labels {labels.shape}. Pass one label for each image."
        )
    return images, labels
