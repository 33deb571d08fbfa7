"""Reads and augments the batches of a plan over a detection source, in NumPy alone."""

import zlib
from collections.abc import Sequence

import numpy as np

from keras_univrep.datasets.batch_plan import BatchPlan
from keras_univrep.datasets.boxes_augment import boxes_augment, check_min_visible
from keras_univrep.datasets.dense_augment import SCALES, check_augmentation
from keras_univrep.datasets.source import Source


class BoxReader:
    """Maps a step number to a batch of a detection source.

    A step is a pure function of the seed: it can be asked in any order, by any thread.

    Args:
        source: The `Source`, of the kind "detection".
        split: Name of a split.
        batch_size: Images a batch.
        training: Whether to shuffle, repeat and augment.
        augmentation: "scale_crop_flip", "scale_crop", "flip" or None; used in training only,
            mirrors only where `Source.flip` allows.
        scales: Factors of enlarging, see `boxes_augment`.
        min_visible: Share of a box that must stay, see `boxes_augment`.
        seed: Integer from 0.
        stream: Name of the stream: two sources of one seed are drawn independently.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_univrep.datasets import detection_source
    >>> from keras_univrep.datasets.box_reader import BoxReader
    >>> images = np.zeros((5, 8, 8, 3), "uint8")
    >>> parts = images, [[[0, 0, 4, 4]]] * 5, [[0]] * 5
    >>> source = detection_source("toy", {"train": parts}, ["cat"], 8)
    >>> images, targets = BoxReader(source, "train", batch_size=2, training=True)(7)
    >>> images.shape, targets["boxes"].shape
    ((2, 8, 8, 3), (2, 1, 4))
    """

    def __init__(
        self,
        source: Source,
        split: str,
        batch_size: int,
        training: bool = False,
        augmentation: str | None = "scale_crop_flip",
        scales: Sequence[float] = SCALES,
        min_visible: float = 0.25,
        seed: int = 0,
        stream: str = "",
    ) -> None:
        check_augmentation(augmentation, scales)
        check_min_visible(min_visible)
        self._images, targets = source.arrays(split)
        self._boxes, self._labels = targets["boxes"], targets["labels"]
        # The plan gives the order alone: an enlarged crop is more than a choice of rows.
        self.plan = BatchPlan(
            len(self._images), source.image_shape, batch_size, training, seed=seed, stream=stream
        )
        if not source.flip and augmentation is not None:
            augmentation = {"flip": None, "scale_crop_flip": "scale_crop"}.get(
                augmentation, augmentation
            )
        self._augmentation = augmentation if training else None
        self._scales = tuple(scales)
        self._min_visible = min_visible
        self._entropy = (seed, zlib.crc32(stream.encode()), 2)

    def __call__(self, step: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Reads a step.

        Args:
            step: Number of the step, from 0.

        Returns:
            Images, float32 (b, height, width, channels) in [0, 1], and {"boxes": float32
            (b, max_boxes, 4), "labels": int32 (b, max_boxes)}.
        """
        indices = self.plan(step)[0]
        if self._augmentation is None:
            images = self._images[indices].astype("float32")
            images *= np.float32(1 / 255)
            return images, {"boxes": self._boxes[indices], "labels": self._labels[indices]}
        rng = np.random.default_rng((*self._entropy, int(step)))
        rows = [
            boxes_augment(
                self._images[index], self._boxes[index], self._labels[index], rng,
                self._augmentation, self._scales, self._min_visible,
            )
            for index in indices
        ]  # fmt: skip
        images, boxes, labels = (np.stack(part) for part in zip(*rows, strict=True))
        return images, {"boxes": boxes, "labels": labels}
