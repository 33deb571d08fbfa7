"""Makes the readers behind `source_pipeline` and `SourceSequence`, in NumPy alone."""

import types
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_univrep.datasets.batch_plan import BatchPlan
from keras_univrep.datasets.batch_reader import BatchReader
from keras_univrep.datasets.box_reader import BoxReader
from keras_univrep.datasets.dense_domain import DenseDomain
from keras_univrep.datasets.dense_reader import DenseReader
from keras_univrep.datasets.domain import Domain
from keras_univrep.datasets.readers import make_reader
from keras_univrep.datasets.source import Source
from keras_univrep.datasets.source_checks import SOURCE_KINDS
from keras_univrep.datasets.source_shares import Sources, check_sources, source_shares

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
AUGMENTATION = types.MappingProxyType(
    {
        "classification": "crop_flip",
        "detection": "scale_crop_flip",
        "segmentation": "scale_crop_flip",
        "depth": "scale_crop_flip",
    }
)
ENDS = ("repeat", "stop", "error")
# `DenseReader` gives targets by task.
_MAPS = ("segmentation", "depth")
# `DenseReader` gives their maps by task.


class SourceReader:
    """Maps a step number to a normalised batch of a source.

    Args:
        source: The `Source`.
        split: Name of a split.
        batch_size: Images a batch.
        training: Whether to shuffle, repeat and augment.
        augmentation: Of the source's kind.
        mean: Per channel, of images in [0, 1].
        std: The same, positive.
        scales: Factors of enlarging.
        min_visible: Share of a box that must stay.
        seed: Integer from 0.
        stream: Name of the stream.

    Attributes:
        plan: The `BatchPlan`.
        passes: Whole batches of a pass over the split.
        once: Whether to refuse steps beyond the first pass.
    """

    def __init__(
        self,
        source: Source,
        split: str,
        batch_size: int,
        training: bool,
        augmentation: str | None,
        mean: Sequence[float],
        std: Sequence[float],
        scales: Sequence[float],
        min_visible: float,
        seed: int,
        stream: str,
    ) -> None:
        self.source, self._stream, self._split = source, stream, split
        arrays = source.arrays(split)
        # No dict: its arrays have been checked.
        splits: Any = types.MappingProxyType({split: arrays})
        self._reader: BatchReader | BoxReader | DenseReader
        self._factor = 1 / np.asarray(std, "float32")
        self._shift = -np.asarray(mean, "float32") * self._factor
        if source.kind == "classification":
            names, shape = source.class_names, source.image_shape
            domain = Domain(
                stream, len(names), names, shape, tuple(mean), tuple(std), splits, source.flip
            )
            self._reader = make_reader(
                domain, split, batch_size, training, augmentation, None, seed, stream
            )
        elif source.kind == "detection":
            self._reader = BoxReader(
                source, split, batch_size, training, augmentation, scales, min_visible, seed, stream
            )
        else:
            kind = source.kind
            dense = DenseDomain(
                stream,
                {kind: kind},
                {kind: source.class_names} if kind == "segmentation" else {},
                source.image_shape,
                types.MappingProxyType({split: (arrays[0], {kind: arrays[1]})}),
                source.flip,
            )
            self._reader = DenseReader(
                dense, split, batch_size, training, augmentation, scales, None, seed
            )
        self.passes = len(arrays[0]) // batch_size
        self.once = False

    @property
    def plan(self) -> BatchPlan:
        return self._reader.plan

    def divide(self, steps: int) -> None:
        """Divides an evaluation evenly into a number of steps."""
        plan = self.plan
        self._reader.plan = BatchPlan(
            plan.size, self.source.image_shape, plan.batch_size, steps=steps, stream=self._stream
        )

    def __call__(self, step: int) -> tuple[np.ndarray, Any]:
        """Reads a step.

        Args:
            step: Number of the step, from 0.

        Returns:
            Images, float32 (b, height, width, channels), normalised (dimensionless), and targets,
            as `Source` has them, with classes in int32 and depth in float32.

        Raises:
            ValueError: If the source has run dry and must not begin again.
        """
        if self.once and step >= self.passes:
            raise ValueError(
                f"Split '{self._split}' of source '{self.source.name}' must have images for every "
                f"step. Received: step {int(step)}, and {self.passes} batches of "
                f"{self.plan.batch_size} images in {self.plan.size}. Train for fewer steps, or "
                "pass on_end='repeat'."
            )
        kind = self.source.kind
        images, targets = self._reader(step)
        # A `BatchReader` normalises itself.
        if kind != "classification":
            images *= self._factor
            images += self._shift
        return images, targets[kind] if kind in _MAPS else targets


def make_source_readers(
    sources: Sources,
    split: str,
    batch_size: int | Mapping[str, Any],
    training: bool,
    mix: str | float,
    on_end: str,
    augmentation: str | None | Mapping[str, str | None],
    mean: Sequence[float],
    std: Sequence[float],
    scales: Sequence[float],
    min_visible: float,
    seed: int,
) -> dict[str, dict[str, SourceReader]]:
    """Makes one reader for each source; without training all have the same number of steps."""
    rows = check_sources(sources)
    if on_end not in ENDS or (on_end != "repeat" and not training):
        raise ValueError(
            f"`on_end` must be one of {list(ENDS)}, and 'repeat' without training, where each "
            f"image comes once. Received: on_end={on_end!r}, training={training}. Pass "
            "on_end='repeat'."
        )
    by_kind = _augmentations(augmentation)
    for task, row in rows.items():
        for name, source in row.items():
            channels = source.image_shape[-1]
            if len(mean) != channels or len(std) != channels or not min(std) > 0:
                raise ValueError(
                    f"`mean` and `std` must hold one number for each of the {channels} channels of "
                    f"'{name}' of task '{task}', and `std` positive ones. Received: mean={mean}, "
                    f"std={std}. Pass as many, or repeat a grey channel three times."
                )
    sizes = {t: {n: source.size(split) for n, source in row.items()} for t, row in rows.items()}
    shares = source_shares(sizes, batch_size, mix)
    readers = {
        task: {
            name: SourceReader(
                source, split, shares[task][name], training, by_kind[source.kind], mean, std,
                scales, min_visible, seed, f"{task}.{name}",
            )
            for name, source in row.items()
        }
        for task, row in rows.items()
    }  # fmt: skip
    every = [reader for row in readers.values() for reader in row.values()]
    if not training:
        steps = min(max(r.plan.pass_steps for r in every), min(r.plan.size for r in every))
        for reader in every:
            reader.divide(steps)
    elif on_end != "repeat":
        small = {r.source.name: r.plan.size for r in every if not r.passes}
        if small:
            raise ValueError(
                f"A source must have images for a batch with on_end={on_end!r}. Received: "
                f"{small} images. Pass a smaller `batch_size`, or on_end='repeat'."
            )
        for reader in every:
            reader.once = on_end == "error"
    return readers


def least_passes(readers: Mapping[str, Mapping[str, SourceReader]]) -> int:
    """Steps before the first source would begin again."""
    return min(reader.passes for row in readers.values() for reader in row.values())


def _augmentations(
    augmentation: str | None | Mapping[str, str | None],
) -> dict[str, str | None]:
    if augmentation == "default":
        return dict(AUGMENTATION)
    if augmentation is None:
        return dict.fromkeys(SOURCE_KINDS)
    if isinstance(augmentation, Mapping) and set(augmentation) <= set(SOURCE_KINDS):
        return dict(AUGMENTATION) | dict(augmentation)
    raise ValueError(
        "`augmentation` must be 'default', None, or a dict of some of the kinds "
        f"{list(SOURCE_KINDS)}. Received: augmentation={augmentation!r}. Pass, for example, "
        "{'detection': 'flip'}."
    )
