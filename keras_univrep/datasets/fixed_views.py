"""A few augmentations of each image, drawn once and for all, and numbered."""

import zlib
from collections.abc import Iterator

import numpy as np

from keras_univrep.datasets.batch_plan import AUGMENTATIONS, Plan, reflect
from keras_univrep.datasets.batch_reader import BatchReader
from keras_univrep.datasets.domain import Domain


class FixedViews:
    """Numbers the images of a split and their fixed augmentations, and reads them.

    What a frozen network answers to these views can be computed once (`models.cache_teacher`), and
    training can go through them again and again (`taught_pipeline`). View 0 of each image is the
    image itself; the others are crops and mirror images as `pipeline` draws them. Sample
    `view * size + image` is that view of that image, with `size` images in the split.

    Args:
        domain: The `Domain`.
        split: Name of a split.
        views: Views of each image, at least 1; 1 is no augmentation.
        augmentation: "crop", "crop_flip" or None; mirrors only where `Domain.flip` allows.
        padding: Largest shift of the crop in pixels; None for an eighth of each side.
        seed: Integer from 0.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> from keras_univrep.datasets import FixedViews, load_domain
    >>> views = FixedViews(load_domain("eurosat"), "train", views=4)
    >>> images, labels = views.read([0, views.size, 2 * views.size])
    >>> len(views) == 4 * views.size, images.shape, len(set(labels))
    (True, (3, 32, 32, 3), 1)
    """

    def __init__(
        self,
        domain: Domain,
        split: str,
        views: int = 1,
        augmentation: str | None = "crop_flip",
        padding: int | None = None,
        seed: int = 0,
    ) -> None:
        if not isinstance(views, (int, np.integer)) or views < 1 or seed < 0:
            raise ValueError(
                "`views` must be an integer of at least 1, and `seed` at least 0. Received: "
                f"views={views!r}, seed={seed!r}. Pass views=1 for the images as they are."
            )
        if augmentation not in AUGMENTATIONS:
            raise ValueError(
                f"`augmentation` must be one of {list(AUGMENTATIONS)}. Received: "
                f"augmentation={augmentation!r}. Colours are drawn anew at each step: use "
                "`pipeline` for them."
            )
        height, width, _ = domain.image_shape
        pads = (height // 8, width // 8) if padding is None else (padding, padding)
        if not 0 <= min(pads) or not max(pads) < min(height, width):
            raise ValueError(
                "`padding` must be in [0, shorter side of the image). Received: "
                f"padding={padding}, image_shape={tuple(domain.image_shape)}."
            )
        self.domain = domain
        self.size = domain.size(split)
        self.views = int(views)
        self.augments = views > 1 and augmentation is not None
        self.changes_colours = False
        self._sides = (height, width)
        rng = np.random.default_rng((seed, zlib.crc32(domain.name.encode()), 2))
        shape = (self.views, self.size)
        offsets = [rng.integers(-pad, pad + 1, shape) for pad in pads]
        flips = rng.random(shape) < 0.5
        for drawn in (*offsets, flips):
            drawn[0] = 0
            if augmentation is None:
                drawn[:] = 0
        if augmentation != "crop_flip" or not domain.flip:
            flips[:] = False
        self._offsets = [drawn.ravel() for drawn in offsets]
        self._flips = flips.ravel()
        # It reads samples where it otherwise reads a step.
        self._reader = BatchReader(domain, split, self)  # type: ignore[arg-type]

    def __len__(self) -> int:
        return self.views * self.size

    def read(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Reads samples.

        Args:
            samples: Their numbers, integers in [0, len(self)), of shape (batch,).

        Returns:
            Images, float32 (batch, height, width, channels), normalised (dimensionless), and
            labels, int32 (batch,).
        """
        return self._reader(np.asarray(samples))  # type: ignore[arg-type]

    def batches(self, batch_size: int) -> Iterator[np.ndarray]:
        """Yields the images of all samples in the order of their numbers.

        Args:
            batch_size: Images of a batch; the last one may be smaller.

        Yields:
            Images as `read` returns them.
        """
        for start in range(0, len(self), batch_size):
            yield self.read(np.arange(start, min(start + batch_size, len(self))))[0]

    def __call__(self, samples: np.ndarray) -> Plan:
        """Plans what to read: images, rows and columns, as `BatchPlan` does for a step."""
        rows, columns = (
            reflect(offset[samples][:, None] + np.arange(side), side)
            for offset, side in zip(self._offsets, self._sides, strict=True)
        )
        columns = np.where(self._flips[samples][:, None], columns[:, ::-1], columns)
        return samples % self.size, rows, columns
