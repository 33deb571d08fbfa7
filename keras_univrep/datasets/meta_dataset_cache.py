"""Keeps the resized images of a domain of Meta-Dataset on the disk."""

import functools
import hashlib
import os
import pathlib
import shutil
import uuid

import numpy as np

from keras_univrep.datasets.domain import Arrays, Domain
from keras_univrep.datasets.lazy_splits import LazySplits
from keras_univrep.datasets.meta_dataset_images import MetaImages
from keras_univrep.datasets.meta_dataset_sources import MetaDatasetSource
from keras_univrep.datasets.resize_image import resize_image

Classes = dict[str, tuple[str, ...]]
# Counts up when the rules of reading or resizing change: older cache folders are then not read.
_PROTOCOL = 2


class ImageCache:
    """Resized images of a domain on the disk; all splits are made at once.

    Args:
        source: The images.
        classes: Names of the classes of each split.
        size: Side of the resized images, in pixels.
        most: Most images of a class, or None.
        folder: Folder of the cache.
    """

    def __init__(
        self,
        source: MetaImages,
        classes: Classes,
        size: int,
        most: int | None,
        folder: pathlib.Path,
    ) -> None:
        self._source, self._classes, self._size, self._most = source, classes, size, most
        every = [name for own in classes.values() for name in own]
        key = f"{_PROTOCOL} {most} {classes} {source.identity(every)}"
        digest = hashlib.sha256(key.encode()).hexdigest()[:12]
        self._folder = folder / f"{source.name}-{size}-{digest}"

    def arrays(self, split: str) -> Arrays:
        """Images, mapped from the disk, and labels of a split."""
        if not self._folder.is_dir():
            self._make()
        labels = np.load(self._folder / f"y_{split}.npy", allow_pickle=False)
        shape = (len(labels), self._size, self._size, 3)
        path = self._folder / f"x_{split}.bin"
        if path.stat().st_size != np.prod(shape):
            raise ValueError(
                f"'{path}' must hold {len(labels)} images. Received: {path.stat().st_size} bytes. "
                f"Remove '{self._folder}': it is made again."
            )
        return np.memmap(path, "uint8", "r", shape=shape), labels

    def domain(self, split: str, facts: MetaDatasetSource) -> Domain:
        """The domain of a split's classes, whose images are read when they are asked for."""
        classes = self._classes[split]
        return Domain(
            name=self._source.name,
            num_classes=len(classes),
            class_names=classes,
            image_shape=(self._size, self._size, 3),
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
            splits=LazySplits({split: functools.partial(self.arrays, split)}),
            flip=facts.flip,
            licence=facts.licence,
            source=facts.source,
            citation=facts.citation,
        )

    def _make(self) -> None:
        owners = [(split, i) for split, own in self._classes.items() for i in range(len(own))]
        every = [name for own in self._classes.values() for name in own]
        counts = np.zeros(len(every), "int64")
        labels: dict[str, list[int]] = {split: [] for split in self._classes}
        partial = self._folder.with_name(f".{self._folder.name}.{uuid.uuid4().hex}.partial")
        partial.mkdir(parents=True)
        try:
            files = {split: open(partial / f"x_{split}.bin", "wb") for split in labels}
            try:
                for number, read in self._source.read(every):
                    if self._most is not None and counts[number] >= self._most:
                        continue
                    split, label = owners[number]
                    files[split].write(resize_image(read(), self._size, "square").tobytes())
                    labels[split].append(label)
                    counts[number] += 1
            finally:
                for file in files.values():
                    file.close()
            empty = [name for name, count in zip(every, counts, strict=True) if not count]
            if empty:
                raise ValueError(
                    f"Every class of '{self._source.name}' must have an image. Received: "
                    f"{len(empty)} classes of {len(every)} without, such as {empty[:3]}. Complete "
                    "the images."
                )
            for split, own in labels.items():
                np.save(partial / f"y_{split}.npy", np.array(own, "int32"))
            if not self._folder.is_dir():
                os.replace(partial, self._folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def check_numbers(size: int, most: int | None) -> None:
    """Refuses a side of the images or a bound of a class's images that is no such number."""
    for argument, value, least in (("size", size, 8), ("images_per_class", most, 1)):
        if value is None and argument == "images_per_class":
            continue
        if not isinstance(value, (int, np.integer)) or value < least:
            raise ValueError(
                f"`{argument}` must be an integer of at least {least}. Received: "
                f"{argument}={value!r}. Pass, for example, 84."
            )
