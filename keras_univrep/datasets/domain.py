"""A visual domain: images, labels, and what is needed to feed them to a network."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from keras_univrep.datasets.checks import check_split

Arrays = tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Domain:
    """A labelled image set with its splits, normalisation and origin.

    Args:
        name: Key of the domain in batches, heads and adapters. Not empty, no `/`.
        num_classes: Number of classes; labels are in [0, num_classes).
        class_names: One name per class, in the order of the labels.
        image_shape: (height, width, channels) in pixels.
        mean: Mean per channel of the training images in [0, 1], dimensionless.
        std: Standard deviation per channel of the training images in [0, 1], dimensionless;
            positive.
        splits: Mapping of split to (images, labels): uint8 (n, height, width, channels) in [0, 255]
            and int32 (n,). A `dict` is checked at once, another mapping (one that reads lazily)
            when a split is read.
        flip: Whether a mirrored image keeps its class. Pipelines mirror only domains where it does.
        licence: Licence of the images.
        source: Address of the origin.
        citation: What to cite.

    Raises:
        ValueError: If the fields contradict each other or the arrays.
        TypeError: If images or labels are not of an integer type.

    Example:

    >>> import numpy as np
    >>> images = np.zeros((4, 32, 32, 3), "uint8")
    >>> labels = np.array([0, 1, 0, 1], "int32")
    >>> splits = {"train": (images, labels)}
    >>> statistics = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}
    >>> domain = Domain("toy", 2, ("cat", "dog"), (32, 32, 3), splits=splits, **statistics)
    >>> domain.size("train")
    4
    """

    name: str
    num_classes: int
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    splits: Mapping[str, Arrays] = dataclasses.field(repr=False)
    flip: bool = False
    licence: str = ""
    source: str = ""
    citation: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or "/" in self.name:
            raise ValueError(
                "`name` must be a string that is not empty and has no '/', because layers carry "
                f"it. Received: name={self.name!r}. Pass another name, such as 'birds'."
            )
        if self.num_classes < 1 or len(self.class_names) != self.num_classes:
            raise ValueError(
                f"`class_names` of domain '{self.name}' must hold one name per class. Received: "
                f"num_classes={self.num_classes}, {len(self.class_names)} names. Pass "
                "`num_classes` names."
            )
        channels = self.image_shape[-1]
        mean, std = np.asarray(self.mean, "float64"), np.asarray(self.std, "float64")
        if len(self.image_shape) != 3 or mean.shape != (channels,) or std.shape != (channels,):
            raise ValueError(
                f"`mean` and `std` of domain '{self.name}' must hold one value per channel of "
                f"`image_shape`. Received: image_shape={self.image_shape}, mean={self.mean}, "
                f"std={self.std}. Use `domain_from_arrays`, which computes them."
            )
        if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()):
            raise ValueError(
                f"`mean` of domain '{self.name}' must be finite and `std` finite and positive. "
                f"Received: mean={self.mean}, std={self.std}. Pass std=(1.0, ...) for images of "
                "one colour."
            )
        if isinstance(self.splits, dict):
            for split, arrays in self.splits.items():
                self._check(split, arrays)

    def arrays(self, split: str) -> Arrays:
        """Reads a split.

        Args:
            split: Name of a split, such as "train".

        Returns:
            Images, uint8 (n, height, width, channels) in [0, 255], and labels, int32 (n,).

        Raises:
            ValueError: If the domain has no such split, or its arrays do not fit the domain.
        """
        if split not in self.splits:
            raise ValueError(
                f"`split` must be a split of domain '{self.name}': {sorted(self.splits)}. "
                f"Received: split={split!r}. Pass one of these, or make the domain again with the "
                "missing arrays."
            )
        arrays = self.splits[split]
        if not isinstance(self.splits, dict):
            self._check(split, arrays)
        return arrays

    def size(self, split: str) -> int:
        """Counts the images of a split."""
        return len(self.arrays(split)[1])

    def normalize(self, images: np.ndarray) -> np.ndarray:
        """Prepares images of this domain for a network that was trained on it.

        Args:
            images: uint8 images of shape (..., height, width, channels), in [0, 255].

        Returns:
            The images scaled to [0, 1], less `mean` and divided by `std`; float32, same shape.

        Raises:
            TypeError: If the images are not uint8.
            ValueError: If their last axis is not the domain's channels.
        """
        images = np.asarray(images)
        if images.dtype != np.uint8:
            raise TypeError(
                f"`images` must be uint8 in [0, 255]. Received: {images.dtype}. Convert images in "
                "[0, 1] with `(255 * images).round().astype('uint8')`."
            )
        if images.ndim < 3 or images.shape[-1] != len(self.mean):
            raise ValueError(
                f"`images` of domain '{self.name}' must have shape (..., height, width, "
                f"{len(self.mean)}). Received: {images.shape}. Repeat a grey channel three times."
            )
        mean, std = np.asarray(self.mean, "float32"), np.asarray(self.std, "float32")
        return (images.astype("float32") / 255.0 - mean) / std

    def _check(self, split: str, arrays: Arrays) -> None:
        where = f"split '{split}' of domain '{self.name}'"
        images, labels = arrays
        check_split(images, labels, self.num_classes, where)
        if images.dtype != np.uint8 or labels.dtype != np.int32:
            raise TypeError(
                f"Images of {where} must be uint8 and labels int32. Received: {images.dtype} and "
                f"{labels.dtype}. Use `domain_from_arrays`, which converts them."
            )
        if images.shape[1:] != tuple(self.image_shape):
            raise ValueError(
                f"Images of {where} must have shape (n, {', '.join(map(str, self.image_shape))}). "
                f"Received: {images.shape}. Pass the matching `image_shape` or resize the images."
            )
