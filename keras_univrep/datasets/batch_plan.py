"""Decides which images a batch holds and how each is cropped and mirrored, in NumPy alone."""

import zlib

import numpy as np

from keras_univrep.datasets.colour_jitter import CONTRAST, HUE, SATURATION

AUGMENTATIONS = (None, "crop", "crop_flip")
# The same, and colours drawn anew at each step.
COLOURED = ("crop_colour", "crop_flip_colour")

Plan = tuple[np.ndarray, np.ndarray, np.ndarray]


class BatchPlan:
    """Maps a step number to the images of its batch and to the pixels to read from each.

    A crop from a reflected border and a mirror image are both a choice of rows and columns, so a
    plan holds index maps and a reader only gathers. A step is a pure function of the seed: it can
    be asked in any order, by any worker.

    Args:
        size: Number of images.
        image_shape: (height, width, channels) in pixels.
        batch_size: Images of a step.
        training: True: endless, shuffled anew at each pass over the images, augmented. False: each
            image once, in order.
        augmentation: None, "crop", "crop_flip", "crop_colour" or "crop_flip_colour"; without effect
            where `training=False`.
        padding: Largest shift of a crop in pixels; None for an eighth of each side.
        steps: Without training, the number of equal parts (to one image) to divide the images into;
            None for parts of `batch_size` images, the last of which may be smaller.
        seed: Integer from 0.
        stream: Name of the stream: two domains of one seed are drawn independently.

    Raises:
        ValueError: If the batch size, augmentation or padding is out of range.

    Example:

    >>> plan = BatchPlan(5, (32, 32, 3), batch_size=2)
    >>> [plan(step)[0].tolist() for step in range(plan.steps)]
    [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self,
        size: int,
        image_shape: tuple[int, int, int],
        batch_size: int,
        training: bool = False,
        augmentation: str | None = None,
        padding: int | None = None,
        steps: int | None = None,
        seed: int = 0,
        stream: str = "",
    ) -> None:
        if not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
            raise ValueError(
                "`batch_size` must be an integer of at least 1. Received: "
                f"batch_size={batch_size!r}. Pass, for example, 64."
            )
        if augmentation not in AUGMENTATIONS + COLOURED:
            raise ValueError(
                f"`augmentation` must be one of {list(AUGMENTATIONS + COLOURED)}. Received: "
                f"augmentation={augmentation!r}. Pass one of these, or None and augment the "
                "batches with Keras layers."
            )
        height, width, _ = image_shape
        pads = (height // 8, width // 8) if padding is None else (padding, padding)
        if not 0 <= min(pads) or not max(pads) < min(height, width):
            raise ValueError(
                "`padding` must be in [0, shorter side of the image), since the border is a "
                f"reflection of the image. Received: padding={padding}, "
                f"image_shape={tuple(image_shape)}. Pass a smaller `padding`."
            )
        if seed < 0:
            raise ValueError(
                f"`seed` must be at least 0. Received: seed={seed}. Pass an integer from 0."
            )
        self.size = size
        self.batch_size = int(batch_size)
        self.training = training
        self._sides = (height, width)
        self._pads = pads if training and augmentation is not None else (0, 0)
        self._flip = training and augmentation in ("crop_flip", "crop_flip_colour")
        self.changes_colours = training and augmentation in COLOURED
        self.augments = self._flip or max(self._pads) > 0
        self._entropy = (seed, zlib.crc32(stream.encode()))
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, "int64"))
        self.pass_steps = -(-size // self.batch_size) if steps is None else steps
        self.steps: int | None = None if training else self.pass_steps
        self._divided = steps is not None

    def __call__(self, step: int) -> Plan:
        """Plans a step.

        Args:
            step: Number of the step, from 0.

        Returns:
            Indices of the images, int64 (b,); rows to read, int64 (b, height); columns to read,
            int64 (b, width).
        """
        indices = self._training_indices(step) if self.training else self._evaluation_indices(step)
        n = len(indices)
        rng = np.random.default_rng((*self._entropy, 1, step))
        rows, columns = (
            reflect(rng.integers(-pad, pad + 1, (n, 1)) + np.arange(side), side)
            for pad, side in zip(self._pads, self._sides, strict=True)
        )
        if self._flip:
            columns = np.where(rng.random((n, 1)) < 0.5, columns[:, ::-1], columns)
        return indices, rows, columns

    def colours(self, step: int) -> np.ndarray:
        """Draws what `colour_jitter` does to each image of a training step.

        Args:
            step: Number of the step, from 0.

        Returns:
            Factors of saturation and contrast and turns of hue, float64 (3, batch_size).
        """
        rng = np.random.default_rng((*self._entropy, 2, step))
        draws = rng.uniform(-1.0, 1.0, (3, self.batch_size))
        return draws * [[SATURATION], [CONTRAST], [HUE]] + [[1.0], [1.0], [0.0]]

    def _training_indices(self, step: int) -> np.ndarray:
        positions = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        passes, within = np.divmod(positions, self.size)
        return np.concatenate(
            [self._permutation(p)[within[passes == p]] for p in np.unique(passes)]
        )

    def _permutation(self, number: int) -> np.ndarray:
        # One tuple is read and replaced as a whole: loader threads may share the plan.
        cached_number, order = self._order
        if cached_number != number:
            order = np.random.default_rng((*self._entropy, 0, int(number))).permutation(self.size)
            self._order = (number, order)
        return order

    def _evaluation_indices(self, step: int) -> np.ndarray:
        if self._divided:
            return np.arange(
                step * self.size // self.pass_steps, (step + 1) * self.size // self.pass_steps
            )
        return np.arange(step * self.batch_size, min((step + 1) * self.batch_size, self.size))


def reflect(positions: np.ndarray, side: int) -> np.ndarray:
    """Reflects pixel positions at the first and last pixel, which are not repeated."""
    return (side - 1) - np.abs((side - 1) - np.abs(positions))
