"""The decathlon's protocol on compact image sets in a folder of the user."""

import functools
import pathlib
from collections.abc import Sequence

import numpy as np

from keras_univrep.datasets.cached_domain import cached_domain
from keras_univrep.datasets.decathlon_sources import SOURCES, Pool
from keras_univrep.datasets.domain import Domain
from keras_univrep.datasets.local_folder import local_folder
from keras_univrep.datasets.pillow_loader import load_pillow
from keras_univrep.datasets.streamed_source import cache_folder

_RESIZES = ("square", "shorter")
# Counts up when the rules of splitting or resizing change: older cache files are then not read.
_PROTOCOL = 1


def decathlon_local(
    data_dir: str | pathlib.Path | None = None,
    size: int = 72,
    names: Sequence[str] | None = None,
    resize: str = "square",
    cache_dir: str | pathlib.Path | None = None,
) -> dict[str, Domain]:
    """Opens compact versions of the Visual Decathlon's sets, with fixed splits.

    Each set stands for a domain of the benchmark (aircraft has none). Images of each split, and
    what divides them:

    | set | for | classes | train | validation | test | division |
    |---|---|---|---|---|---|---|
    | tiny_imagenet | imagenet12 | 200 | 4800 | 1200 | 1600 | official test; 1/5 of train, random |
    | cifar100 | cifar100 | 100 | 3999 | 1000 | 1500 | official test; 1/5 of train, random |
    | daimlerpedcls | daimlerpedcls | 2 | 6400 | 3200 | 4000 | sets 1 and 2; 3; T1 and T2 |
    | dtd10 | dtd | 10 | 400 | 400 | 400 | random thirds of each class |
    | gtsrb | gtsrb | 43 | 3440 | 860 | 1075 | official test; last 1/5 of train |
    | flowers17 | vgg-flowers | 17 | 680 | 340 | 340 | random: 40, 20, 20 of each class |
    | omniglot28 | omniglot | 1623 | 17850 | 6491 | 8115 | 11, 4 and 5 of 20 drawers |
    | chars74k36 | svhn | 36 | 1752 | 582 | 582 | runs: first 3/5, next 1/5, last 1/5 |
    | ucf101_subset | ucf101 | 6 | 409 | 120 | 202 | official split 1; groups 8 to 11 of train |

    "Random" has seed 0 and keeps the proportions of the classes. Runs are cut in file order within
    each class, because neighbouring files show one sign or one scene: what is at a cut may be in
    two splits. A group of ucf101_subset (clips of one video) and an official daimlerpedcls set (a
    pedestrian shifted and mirrored) are never cut. An image whose exact copy is in a later split is
    dropped (3 + 1 of omniglot28, 1 of cifar100). tiny_imagenet is what to train a first network
    on. Mirrors: all but gtsrb, omniglot28 and chars74k36. Files, in folders of the sets' names:

    | set | file | content |
    |---|---|---|
    | tiny_imagenet | tiny_imagenet_30_8.zip | train/ID/*.JPEG, val/ID/*.JPEG; classes.tsv |
    | cifar100 | cifar100.npz | x_train, y_train, x_test, y_test, class_names; 32x32x3 |
    | daimlerpedcls | daimlerpedcls.npz | the same, 36x18, and set_train |
    | dtd10 | dtd10_84.zip | CLASS/*.jpg |
    | gtsrb | gtsrb32.npz | x_train, y_train, x_test, y_test; 32x32x3 |
    | flowers17 | flowers17_84.zip | NUMBER_CLASS/*.jpg |
    | omniglot28 | omniglot28.npz | packed (1623, 20, 98): 28x28 bits; alphabet, character |
    | chars74k36 | chars74k36_32.npz | x, y, class_names; 32x32x3 |
    | ucf101_subset | ucf101_6cls_84.zip | dynamic/SPLIT/CLASS/v_CLASS_gGROUP_cCLIP.jpg |

    Differences:
        These are small parts of other releases of the benchmark's sets, not its images: accuracies
        do not compare with the papers', nor does the Decathlon score's baseline apply. Mean and
        deviation are their own. Images of one object are kept out of two splits where the files
        tell them.

    Args:
        data_dir: Folder with one folder a set, which holds the file of the table; None for the
            environment variable KERAS_UNIVREP_DATA.
        size: Side of the images, in pixels, at least 8. Networks want what is left after a crop to
            be a multiple of 8.
        names: Sets to open; None for all nine.
        resize: "square" resizes the whole image to a square, "shorter" its central square. Only
            daimlerpedcls is not square.
        cache_dir: Folder for the resized images, about 3 * size**2 bytes a colour image; None for
            `keras_univrep/decathlon_local` in KERAS_HOME or `~/.keras`. A damaged file in it is
            made again.

    Returns:
        Dict of name to `Domain`, in the order of the table, with the splits "train", "validation"
        and "test". Mean and deviation are those of the training images at this size. A split is
        read when it is first asked for.

    Raises:
        FileNotFoundError: If there is no folder or a set's file is missing.
        ValueError: If an argument is out of range, or a file is not one of the sets.
        ImportError: If Pillow is not installed.

    Example:

    >>> import os
    >>> if "KERAS_UNIVREP_DATA" in os.environ:
    ...     domains = decathlon_local(size=32, names=["dtd10"])
    ...     assert domains["dtd10"].image_shape == (32, 32, 3)

    References:
        - Rebuffi, Bilen and Vedaldi, Efficient Parametrization of Multi-Domain Deep Neural
          Networks, 2018.
    """
    if not isinstance(size, (int, np.integer)) or size < 8:
        raise ValueError(
            f"`size` must be an integer of at least 8. Received: size={size!r}. Pass, for example, "
            "72."
        )
    if resize not in _RESIZES:
        raise ValueError(
            f"`resize` must be one of {list(_RESIZES)}. Received: resize={resize!r}. Pass one of "
            "these."
        )
    chosen = list(SOURCES) if names is None else list(names)
    unknown = sorted(set(chosen) - set(SOURCES))
    if unknown or not chosen:
        raise ValueError(
            f"`names` must hold some of {list(SOURCES)}. Received: {chosen}, unknown: {unknown}. "
            "Pass `names=None` for all."
        )
    folder = local_folder(
        data_dir,
        "decathlon_local",
        "To try without them, `benchmark('five_domains')` ships with the package.",
    )
    cache = cache_folder(cache_dir, "decathlon_local")
    return {
        name: cached_domain(
            name, SOURCES[name], folder / SOURCES[name].file, int(size), f"{_PROTOCOL} {resize}",
            cache, functools.partial(_read, name), resize,
        )
        for name in SOURCES
        if name in chosen
    }  # fmt: skip


def _read(name: str, path: pathlib.Path) -> Pool:
    load_pillow("`decathlon_local`")
    return SOURCES[name].read(path)
