"""Image sets for linear probes, which X-Learner's local sources leave out."""

import dataclasses
import functools
import pathlib
from collections.abc import Sequence

import numpy as np

from keras_univrep.datasets.cached_domain import cached_domain
from keras_univrep.datasets.decathlon_local import decathlon_local
from keras_univrep.datasets.decathlon_sources import SOURCES, Pool, divide
from keras_univrep.datasets.domain import Domain
from keras_univrep.datasets.local_folder import local_folder
from keras_univrep.datasets.meta_sources import META_SOURCES
from keras_univrep.datasets.source_images import check_image_size
from keras_univrep.datasets.streamed_source import cache_folder

_DECATHLON = ("dtd10", "gtsrb", "ucf101_subset")
_WITH_TEST = ("mnist", "cifar10")
DOWNSTREAM = ("cars196", "cifar10", "cub10", "dtd10", "eurosat", "gtsrb", "mnist", "ucf101_subset")
# Counts up when the rules of splitting or resizing change: older cache files are then not read.
_PROTOCOL = 1


def downstream_local(
    data_dir: str | pathlib.Path | None = None,
    size: int = 64,
    names: Sequence[str] | None = None,
    cache_dir: str | pathlib.Path | None = None,
) -> dict[str, Domain]:
    """Opens sets of classes that no source of `sources_local` is of, for linear probes.

    | set | classes | train | validation | test | division |
    |---|---|---|---|---|---|
    | cars196 | 196 | 1174 | 392 | 392 | random: 3/5, 1/5, 1/5 of each class |
    | cifar10 | 10 | 800 | 200 | 500 | official test; 1/5 of train, random |
    | cub10 | 10 | 177 | 58 | 58 | random: 3/5, 1/5, 1/5 of each class |
    | dtd10 | 10 | 400 | 400 | 400 | as `decathlon_local` |
    | eurosat | 10 | 750 | 250 | 250 | random: 3/5, 1/5, 1/5 of each class |
    | gtsrb | 43 | 3440 | 860 | 1075 | as `decathlon_local` |
    | mnist | 10 | 4800 | 1200 | 1000 | official test; 1/5 of train, random |
    | ucf101_subset | 6 | 409 | 120 | 202 | as `decathlon_local` |

    "Random" has seed 0. An image whose exact copy is in a later split is dropped. Files are those
    of `decathlon_local` and `meta_local`.

    Differences:
        he2022 averages over CIFAR-10, CIFAR-100, Food-101, Cars, Aircraft, Pets, Flowers and
        others in full; these are small parts, and CIFAR-100 is a source here. cifar10 shows things
        that tiny_imagenet and cifar100 show as well. Images of one object, or of one bird, may be
        in two splits of cub10 and cars196.

    Args:
        data_dir: Folder of the image sets; None for the environment variable KERAS_UNIVREP_DATA.
        size: Side of the images, in pixels, at least 8.
        names: Sets to open; None for all eight.
        cache_dir: Folder of the resized images; None for folders in KERAS_HOME or `~/.keras`.

    Returns:
        Dict of name to `Domain`, in the order of the table, with the splits "train", "validation"
        and "test". Mean and deviation are those of the training images. A split is read when it is
        first asked for.

    Raises:
        FileNotFoundError: If there is no folder or a set's file is missing.
        ValueError: If an argument is out of range, or a file is not one of the sets.
        ImportError: If Pillow is not installed.

    Example:

    >>> import os
    >>> from keras_univrep.datasets import downstream_local
    >>> if "KERAS_UNIVREP_DATA" in os.environ:
    ...     domains = downstream_local(size=32, names=["cub10"])
    ...     assert domains["cub10"].num_classes == 10

    References:
        - He et al. X-Learner: learning cross sources and tasks for universal visual representation.
          ECCV 2022.
    """
    side, _ = check_image_size(size, "square")
    chosen = list(DOWNSTREAM) if names is None else list(names)
    if not chosen or not set(chosen) <= set(DOWNSTREAM) or isinstance(names, str):
        raise ValueError(
            f"`names` must hold some of {list(DOWNSTREAM)}. Received: names={names!r}. Pass a list "
            "of these, or None for all."
        )
    folder = local_folder(data_dir, "downstream_local")
    cache = cache_folder(cache_dir, "downstream_local")
    given = None if cache_dir is None else cache
    found: dict[str, Domain] = {}
    for name in DOWNSTREAM:
        if name in chosen and name in _DECATHLON:
            found |= decathlon_local(folder, side, [name], cache_dir=given)
        elif name in chosen:
            found[name] = _open(name, folder, side, cache)
    return found


def _open(name: str, folder: pathlib.Path, size: int, cache: pathlib.Path) -> Domain:
    facts, read = META_SOURCES[name], functools.partial(_read, name)
    return cached_domain(name, facts, folder / facts.file, size, str(_PROTOCOL), cache, read)


def _read(name: str, path: pathlib.Path) -> Pool:
    if name in _WITH_TEST:
        # The layout of cifar100 is that of every set with official training and test images.
        return SOURCES["cifar100"].read(path)
    pool = META_SOURCES[name].read(path)
    shares = {"validation": 0.2, "test": 0.2}
    splits = divide(pool.labels, np.arange(len(pool.labels)), shares, "train")
    return dataclasses.replace(pool, splits=splits)
