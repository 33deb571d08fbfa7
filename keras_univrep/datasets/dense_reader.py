"""Reads and augments the batches of a plan over a dense domain, in NumPy alone."""

import zlib
from collections.abc import Sequence

import numpy as np

from keras_univrep.datasets.batch_plan import BatchPlan
from keras_univrep.datasets.dense_augment import SCALES, check_augmentation, dense_augment
from keras_univrep.datasets.dense_domain import DenseArrays, DenseDomain


class DenseReader:
    """Maps a step number to a batch of a dense domain.

    The one transform behind `dense_pipeline` and `DenseSequence`. A step is a pure function of the
    seed: it can be asked in any order, by any thread.

    Args:
        domain: The `DenseDomain`.
        split: Name of a split.
        batch_size: Images a batch.
        training: Whether to shuffle, repeat and augment.
        augmentation: "scale_crop_flip", "scale_crop", "flip" or None; used in training only,
            mirrors only where `DenseDomain.flip` allows.
        scales: Factors of enlarging, see `dense_augment`.
        tasks: Tasks to read; None for all of the domain.
        seed: Integer from 0.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_univrep.datasets import DenseDomain
    >>> from keras_univrep.datasets.dense_reader import DenseReader
    >>> arrays = np.zeros((5, 8, 8, 3), "uint8"), {"depth": np.ones((5, 8, 8, 1), "float32")}
    >>> domain = DenseDomain("toy", {"depth": "depth"}, {}, (8, 8, 3), {"train": arrays})
    >>> images, targets = DenseReader(domain, "train", batch_size=2, training=True)(7)
    >>> images.shape, targets["depth"].shape
    ((2, 8, 8, 3), (2, 8, 8, 1))
    """

    def __init__(
        self,
        domain: DenseDomain,
        split: str,
        batch_size: int,
        training: bool = False,
        augmentation: str | None = "scale_crop_flip",
        scales: Sequence[float] = SCALES,
        tasks: Sequence[str] | None = None,
        seed: int = 0,
    ) -> None:
        check_augmentation(augmentation, scales)
        self.tasks = domain.chosen(tasks)
        self._images, targets = domain.arrays(split)
        self._targets = {task: targets[task] for task in self.tasks}
        size, shape = len(self._images), domain.image_shape
        # The plan gives the order alone: an enlarged crop is more than a choice of rows.
        self.plan = BatchPlan(
            size, shape, batch_size, training, augmentation=None, seed=seed, stream=domain.name
        )
        if not domain.flip and augmentation is not None:
            augmentation = {"flip": None, "scale_crop_flip": "scale_crop"}.get(
                augmentation, augmentation
            )
        self._augmentation = augmentation if training else None
        self._scales = tuple(scales)
        self._entropy = (seed, zlib.crc32(domain.name.encode()), 2)

    def __call__(self, step: int) -> DenseArrays:
        """Reads a step.

        Args:
            step: Number of the step, from 0.

        Returns:
            Images, float32 (b, height, width, channels) in [0, 1], and a dict of task to maps:
            int32 (b, height, width) or float32 (b, height, width, channels).
        """
        indices = self.plan(step)[0]
        if self._augmentation is None:
            images = self._images[indices].astype("float32")
            images *= np.float32(1 / 255)
            maps = {task: maps[indices] for task, maps in self._targets.items()}
        else:
            rng = np.random.default_rng((*self._entropy, int(step)))
            images = np.empty((len(indices), *self._images.shape[1:]), "float32")
            maps = {
                task: np.empty((len(indices), *maps.shape[1:]), maps.dtype)
                for task, maps in self._targets.items()
            }
            for row, index in enumerate(indices):
                one = {task: maps[index] for task, maps in self._targets.items()}
                images[row], augmented = dense_augment(
                    self._images[index], one, self.tasks, rng, self._augmentation, self._scales
                )
                for task, values in augmented.items():
                    maps[task][row] = values
        return images, {
            task: maps[task].astype("int32" if kind == "segmentation" else "float32", copy=False)
            for task, kind in self.tasks.items()
        }
