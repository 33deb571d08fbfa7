"""Domains of image sets that are divided and resized once, and then kept in a file."""

import functools
import hashlib
import pathlib
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from keras_univrep.datasets.decathlon_sources import Pool
from keras_univrep.datasets.domain import Arrays, Domain
from keras_univrep.datasets.domain_from_arrays import statistics
from keras_univrep.datasets.lazy_splits import LazySplits
from keras_univrep.datasets.resize_pool import SPLITS, resize_pool
from keras_univrep.datasets.split_cache import read_or_make
from keras_univrep.datasets.zip_fingerprint import zip_fingerprint

Read = Callable[[Sequence[str]], list[np.ndarray]]


class Facts(Protocol):
    """What is known of a set beside its images."""

    @property
    def flip(self) -> bool: ...
    @property
    def licence(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def citation(self) -> str: ...


def read_pool(
    name: str,
    path: pathlib.Path,
    size: int,
    read: Callable[[pathlib.Path], Pool],
    resize: str = "square",
) -> tuple[Pool, dict[str, np.ndarray]]:
    """Reads and resizes a set, and says which file is wrong if one is.

    Args:
        name: Name of the set, for the error.
        path: Its file.
        size: Side of the images, in pixels.
        read: What reads it.
        resize: As for `resize_image`.

    Returns:
        The images and their division, and what `resize_pool` makes of them.

    Raises:
        ValueError: If the file does not hold the set.
    """
    try:
        pool = read(path)
        return pool, resize_pool(pool, size, resize)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(
            f"'{path}' must hold the set '{name}'. Received: {error!r}. Fetch it again."
        ) from error


def open_cached(
    name: str,
    path: pathlib.Path,
    size: int,
    rules: str,
    cache: pathlib.Path,
    make: Callable[[], dict[str, np.ndarray]],
) -> tuple[Read, Callable[[str], Arrays]]:
    """Opens what was made of a file; it is made when something is first read.

    Args:
        name: Name of the set.
        path: Its file, whose content names the cache file too.
        size: Side of the images, in pixels.
        rules: What else names the cache file: how images were divided and resized.
        cache: Folder of the cache files.
        make: Returns the arrays to keep: "x_SPLIT", "y_SPLIT" and others.

    Returns:
        A function of names of arrays, and one of a split that returns its images (n, size, size, 3)
        and labels.

    Raises:
        FileNotFoundError: If there is no file.
    """
    key = f"{rules} {zip_fingerprint(path, name)}"
    file = cache / f"{name}-{size}-{hashlib.sha256(key.encode()).hexdigest()[:12]}.npz"
    read = functools.partial(read_or_make, file, make=make)

    def arrays(split: str) -> Arrays:
        images, labels = read([f"x_{split}", f"y_{split}"])
        # Grey sets keep one channel on disk.
        return (np.repeat(images[..., None], 3, axis=-1) if images.ndim == 3 else images), labels

    return read, arrays


def cached_domain(
    name: str,
    facts: Facts,
    path: pathlib.Path,
    size: int,
    rules: str,
    cache: pathlib.Path,
    read: Callable[[pathlib.Path], Pool],
    resize: str = "square",
) -> Domain:
    """Opens a set as a domain of three splits.

    Args:
        name: Name of the set.
        facts: What is known of it.
        path: Its file.
        size: Side of the images, in pixels.
        rules: As for `open_cached`.
        cache: As for `open_cached`.
        read: Reads the file and divides its images.
        resize: As for `resize_image`.

    Returns:
        The domain, whose mean and deviation are those of its training images.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If it does not hold the set.
    """

    def make() -> dict[str, np.ndarray]:
        pool, kept = read_pool(name, path, size, read, resize)
        train = kept["x_train"]
        mean, std = statistics(train[..., None] if train.ndim == 3 else train)
        kept["mean"], kept["std"] = (np.resize(np.array(values), 3) for values in (mean, std))
        kept["class_names"] = np.array(pool.class_names)
        return kept

    get, arrays = open_cached(name, path, size, rules, cache, make)
    class_names, mean, std = get(["class_names", "mean", "std"])
    return Domain(
        name=name,
        num_classes=len(class_names),
        class_names=tuple(class_names.tolist()),
        image_shape=(size, size, 3),
        mean=tuple(mean.tolist()),
        std=tuple(std.tolist()),
        splits=LazySplits({split: functools.partial(arrays, split) for split in SPLITS}),
        flip=facts.flip,
        licence=facts.licence,
        source=facts.source,
        citation=facts.citation,
    )
