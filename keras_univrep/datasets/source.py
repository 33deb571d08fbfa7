"""A source of one task: images with one kind of label."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_univrep.datasets.source_checks import SOURCE_KINDS, check_source

SourceArrays = tuple[np.ndarray, Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """An image set with one kind of label, one of several that X-Learner learns a task from.

    What the targets of a split are depends on the kind:

    | kind | targets | type | values |
    |---|---|---|---|
    | "classification" | (n,) | int32 | class |
    | "detection" | {"boxes": (n, max_boxes, 4), | float32 | (left, top, right, bottom) in pixels |
    | | "labels": (n, max_boxes)} | int32 | class, or -1 for no box |
    | "segmentation" | (n, height, width) | signed integers | class, or -1 without label |
    | "depth" | (n, height, width, 1) | float | metres, 0 where not measured |

    Boxes have Keras's format "xyxy" and its padding, so that a batch is what the layers for images
    (with `bounding_box_format="xyxy"`) and `keras.utils.bounding_boxes` take. Pixel i is the part
    from i to i + 1: a box of the whole image is (0, 0, width, height). An image may have no box.

    Args:
        name: Name of the source. Not empty, no `/`.
        kind: "classification", "detection", "segmentation" or "depth".
        class_names: One name per class, in the order of the labels; empty for depth.
        image_shape: (height, width, channels) in pixels.
        splits: Mapping of split to (images, targets): uint8 (n, height, width, channels) in
            [0, 255], and targets as above. A `dict` is checked at once, another mapping (one that
            reads lazily) when a split is first read.
        max_boxes: For detection, the fixed number of boxes of an image.
        flip: Whether pipelines may mirror images.
        description: What should be known, such as how splits came about.
        licence: Licence of the images.
        source: Address of the origin.
        citation: What to cite.

    Raises:
        ValueError: If the fields contradict each other or the arrays.
        TypeError: If an array is not of the type that its kind has.

    Example:

    >>> import numpy as np
    >>> from keras_univrep.datasets import Source
    >>> images = np.zeros((2, 8, 8, 3), "uint8")
    >>> boxes = np.array([[[0, 0, 4, 4]], [[0, 0, 0, 0]]], "float32")
    >>> targets = {"boxes": boxes, "labels": np.array([[0], [-1]], "int32")}
    >>> source = Source(
    ...     "toy", "detection", ("cat",), (8, 8, 3), {"train": (images, targets)}, max_boxes=1
    ... )
    >>> source.size("train"), source.channels
    (2, 1)

    References:
        - He et al. X-Learner: learning cross sources and tasks for universal visual representation.
          ECCV 2022.
    """

    name: str
    kind: str
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    splits: Mapping[str, SourceArrays] = dataclasses.field(repr=False)
    max_boxes: int = 0
    flip: bool = True
    description: str = ""
    licence: str = ""
    source: str = ""
    citation: str = ""
    _checked: set[str] = dataclasses.field(default_factory=set, init=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or "/" in self.name:
            raise ValueError(
                "`name` must be a string that is not empty and has no '/'. Received: "
                f"name={self.name!r}. Pass another name, such as 'birds'."
            )
        if self.kind not in SOURCE_KINDS:
            raise ValueError(
                f"`kind` of source '{self.name}' must be one of {list(SOURCE_KINDS)}. Received: "
                f"kind={self.kind!r}. Pass one of these."
            )
        if (self.kind == "depth") == bool(self.class_names):
            raise ValueError(
                f"`class_names` of source '{self.name}' must hold at least one name, and none for "
                f"depth. Received: {len(self.class_names)} names for kind={self.kind!r}. Name the "
                "classes."
            )
        shape = tuple(self.image_shape)
        if len(shape) != 3 or min(shape) < 1 or shape[-1] not in (1, 3):
            raise ValueError(
                f"`image_shape` of source '{self.name}' must be (height, width, channels) with "
                f"sides of at least 1 and 1 or 3 channels. Received: {shape}. Pass, for example, "
                "(64, 64, 3)."
            )
        if (self.kind == "detection") != (self.max_boxes > 0):
            raise ValueError(
                f"`max_boxes` of source '{self.name}' must be at least 1 for detection, and 0 "
                f"otherwise. Received: max_boxes={self.max_boxes} for kind={self.kind!r}. Pass the "
                "largest number of boxes of an image."
            )
        if isinstance(self.splits, dict):
            for split, arrays in self.splits.items():
                self._check(split, arrays)

    @property
    def channels(self) -> int:
        """Output channels of a network: the number of classes, or 1 for depth."""
        return len(self.class_names) or 1

    def arrays(self, split: str) -> SourceArrays:
        """Reads a split.

        Args:
            split: Name of a split, such as "train".

        Returns:
            Images, uint8 (n, height, width, channels) in [0, 255], and targets, see above.

        Raises:
            ValueError: If the source has no such split, or its arrays do not fit it.
        """
        if split not in self.splits:
            raise ValueError(
                f"`split` must be a split of source '{self.name}': {sorted(self.splits)}. "
                f"Received: split={split!r}. Pass one of these, or make the source again with the "
                "missing arrays."
            )
        arrays = self.splits[split]
        if split not in self._checked:
            self._check(split, arrays)
        return arrays

    def size(self, split: str) -> int:
        """Counts the images of a split."""
        return len(self.arrays(split)[0])

    def _check(self, split: str, arrays: SourceArrays) -> None:
        where = f"split '{split}' of source '{self.name}'"
        check_source(
            self.kind, *arrays, self.image_shape, self.channels, self.max_boxes, where
        )  # fmt: skip
        self._checked.add(split)
