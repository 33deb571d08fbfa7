"""A domain with a map of targets for each image and task."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from keras_univrep.datasets.dense_checks import KINDS, check_dense

DenseArrays = tuple[np.ndarray, dict[str, np.ndarray]]


@dataclasses.dataclass(frozen=True, eq=False)
class DenseDomain:
    """An image set in which every pixel has targets, of one task or several.

    What the maps of a task hold depends on its kind:

    | kind | shape | type | values |
    |---|---|---|---|
    | "segmentation" | (n, height, width) | signed integers | class, or -1 without label |
    | "depth" | (n, height, width, 1) | float | metres, 0 where not measured |
    | "disparity" | (n, height, width, 1) | float | grows with 1 / depth, 0 where not measured |
    | "normals" | (n, height, width, 3) | float | unit vectors, zero vectors where unknown |

    The first number of a normal is its horizontal axis, which a mirror image turns around.

    Args:
        name: Key of the domain. Not empty, no `/`.
        tasks: Dict of task to kind, in the order of batches and outputs.
        class_names: Dict of each segmentation task to the names of its classes, in the order of
            the labels.
        image_shape: (height, width, channels) in pixels.
        splits: Mapping of split to (images, targets): uint8 (n, height, width, channels) in
            [0, 255], and a dict of task to maps as above. A `dict` is checked at once, another
            mapping (one that reads lazily) when a split is first read.
        flip: Whether pipelines may mirror images.
        description: What should be known about the targets, such as how they came about.
        licence: Licence of the images.
        source: Address of the origin.
        citation: What to cite.

    Raises:
        ValueError: If the fields contradict each other or the arrays.
        TypeError: If an array is not of the type that its kind has.

    Example:

    >>> import numpy as np
    >>> from keras_univrep.datasets import DenseDomain
    >>> images = np.zeros((4, 8, 8, 3), "uint8")
    >>> targets = {"segmentation": np.zeros((4, 8, 8), "int32"), "depth": np.ones((4, 8, 8, 1))}
    >>> domain = DenseDomain(
    ...     name="rooms",
    ...     tasks={"segmentation": "segmentation", "depth": "depth"},
    ...     class_names={"segmentation": ("wall", "floor")},
    ...     image_shape=(8, 8, 3),
    ...     splits={"train": (images, targets)},
    ... )
    >>> domain.size("train"), domain.channels
    (4, {'segmentation': 2, 'depth': 1})
    """

    name: str
    tasks: Mapping[str, str]
    class_names: Mapping[str, tuple[str, ...]]
    image_shape: tuple[int, int, int]
    splits: Mapping[str, DenseArrays] = dataclasses.field(repr=False)
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
                f"name={self.name!r}. Pass another name, such as 'rooms'."
            )
        unknown = {task: kind for task, kind in self.tasks.items() if kind not in KINDS}
        if not self.tasks or unknown:
            raise ValueError(
                f"`tasks` of domain '{self.name}' must map at least one task to one of "
                f"{list(KINDS)}. Received: {dict(self.tasks)}. Pass, for example, "
                "{'depth': 'depth'}."
            )
        labelled = {task for task, kind in self.tasks.items() if kind == "segmentation"}
        if set(self.class_names) != labelled or not all(map(len, self.class_names.values())):
            raise ValueError(
                f"`class_names` of domain '{self.name}' must name the classes of each segmentation "
                f"task: {sorted(labelled)}. Received: "
                f"{ {task: len(names) for task, names in self.class_names.items()} } names. Pass "
                "one tuple of names for each."
            )
        if len(self.image_shape) != 3:
            raise ValueError(
                f"`image_shape` of domain '{self.name}' must be (height, width, channels). "
                f"Received: {self.image_shape}. Pass, for example, (288, 384, 3)."
            )
        if isinstance(self.splits, dict):
            for split, arrays in self.splits.items():
                self._check(split, arrays)

    @property
    def channels(self) -> dict[str, int]:
        """Output channels of a network for each task: classes, 1 or 3."""
        sizes = {"depth": 1, "disparity": 1, "normals": 3}
        return {
            task: len(self.class_names[task]) if kind == "segmentation" else sizes[kind]
            for task, kind in self.tasks.items()
        }

    def arrays(self, split: str) -> DenseArrays:
        """Reads a split.

        Args:
            split: Name of a split, such as "train".

        Returns:
            Images, uint8 (n, height, width, channels) in [0, 255], and a dict of task to maps.

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
        if split not in self._checked:
            self._check(split, arrays)
        return arrays

    def size(self, split: str) -> int:
        """Counts the images of a split."""
        return len(self.arrays(split)[0])

    def chosen(self, tasks: Sequence[str] | None) -> dict[str, str]:
        """Picks tasks, all if None: a dict of task to kind in the domain's order."""
        names = list(self.tasks) if tasks is None else list(tasks)
        if not names or not set(names) <= set(self.tasks) or isinstance(tasks, str):
            raise ValueError(
                f"`tasks` must hold some of the tasks of domain '{self.name}': "
                f"{list(self.tasks)}. Received: {tasks!r}. Pass a list of these, or None for all."
            )
        return {task: kind for task, kind in self.tasks.items() if task in names}

    def _check(self, split: str, arrays: DenseArrays) -> None:
        where = f"split '{split}' of domain '{self.name}'"
        images, targets = arrays
        check_dense(images, targets, self.tasks, self.channels, where)
        if images.shape[1:] != tuple(self.image_shape):
            raise ValueError(
                f"Images of {where} must have shape (n, {', '.join(map(str, self.image_shape))}). "
                f"Received: {images.shape}. Pass the matching `image_shape`, or resize images and "
                "maps."
            )
        self._checked.add(split)
