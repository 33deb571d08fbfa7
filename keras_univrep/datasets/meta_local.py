"""Meta-Dataset's protocol on compact image sets in a folder of the user."""

import functools
import pathlib
from collections.abc import Sequence

import numpy as np

from keras_univrep.datasets.cached_domain import open_cached, read_pool
from keras_univrep.datasets.domain import Domain
from keras_univrep.datasets.episodes import ClassSampler
from keras_univrep.datasets.hierarchical_classes import classes_of_one_group
from keras_univrep.datasets.lazy_splits import LazySplits
from keras_univrep.datasets.local_folder import local_folder
from keras_univrep.datasets.meta_domains import META_SPLITS, MetaDomains
from keras_univrep.datasets.meta_sources import META_SOURCES
from keras_univrep.datasets.pillow_loader import load_pillow
from keras_univrep.datasets.streamed_source import cache_folder

# Counts up when the rules of splitting or resizing change: older cache files are then not read.
_PROTOCOL = 1


def meta_local(
    data_dir: str | pathlib.Path | None = None,
    size: int = 32,
    names: Sequence[str] | None = None,
    cache_dir: str | pathlib.Path | None = None,
) -> MetaDomains:
    """Opens compact image sets for few-shot learning as Meta-Dataset divides its own.

    Train on the training classes of seven seen domains, choose by episodes of their validation
    classes, test on episodes of their test classes and of five unseen domains. Classes (images):

    | set | stands for | train | validation | test | division |
    |---|---|---|---|---|---|
    | mini_imagenet | ilsvrc_2012 | 64 (2560) | 16 (640) | 20 (800) | official classes |
    | omniglot28 | omniglot | 883 (17660) | 81 (1620) | 659 (13180) | official alphabets |
    | quickdraw8 | quickdraw | 8 (4800) | 8 (1600) | 8 (1600) | images of seen classes |
    | dtd10 | dtd | 5 (450) | 5 (150) | 5 (600) | 5 classes; 1/4 of the others' images |
    | flowers17 | vgg_flower | 7 (560) | 5 (400) | 5 (400) | classes |
    | cub10 | cu_birds | 5 (112) | 5 (36) | 5 (146) | 5 classes; 1/4 of the others' images |
    | cars196 | aircraft | 138 (1378) | 29 (290) | 29 (290) | classes |
    | gtsrb | traffic_sign | - | - | 43 (1075) | official test images |
    | mnist | mnist | - | - | 10 (1000) | official test images |
    | cifar10 | cifar10 | - | - | 10 (500) | official test images |
    | cifar100 | cifar100 | - | - | 100 (1500) | official test images |
    | eurosat | - | - | - | 10 (1250) | all images |

    What is not official is drawn with seed 0. Of 15 classes or more, 15 % as in Meta-Dataset, but
    at least 5, are for the test, and as many for validation. Of 10 to 14 classes, 5 are for the
    test; validation holds a quarter of the images of the training classes. With fewer classes
    (quickdraw8, in `seen_classes`) test images are new and test classes are not: a fifth of each
    class for validation, a fifth for the test. omniglot28
    validates, as Meta-Dataset, on the five smallest alphabets of the background half, and an
    episode of varying way keeps to one alphabet. An image whose exact copy is in a later split is
    dropped. Mirrors: all but omniglot28, quickdraw8, gtsrb and mnist. Files:

    | set | file | content |
    |---|---|---|
    | mini_imagenet | mini_imagenet/mini_imagenet84_40.zip | train, val, test: SPLIT/ID/*.jpg |
    | omniglot28 | omniglot28/omniglot28.npz | as `decathlon_local`, and is_evaluation |
    | quickdraw8 | quickdraw8/quickdraw.npz | x (8, 1000, 28, 28), class_names |
    | dtd10 | dtd10/dtd10_84.zip | CLASS/*.jpg |
    | flowers17 | flowers17/flowers17_84.zip | NUMBER_CLASS/*.jpg |
    | cub10 | cub10/cub10_84.zip | NUMBER.CLASS/*.jpg |
    | cars196 | cars196_train/cars196_84_10.zip | NUMBER/*.jpg; classes.tsv |
    | gtsrb | gtsrb/gtsrb32.npz | x_test, y_test; 32x32x3 |
    | mnist | mnist/mnist.npz | x_test, y_test, class_names; 28x28 |
    | cifar10 | cifar10/cifar10.npz | the same; 32x32x3 |
    | cifar100 | cifar100/cifar100.npz | the same |
    | eurosat | eurosat/eurosat64_125.zip | CLASS/*.jpg |

    Differences:
        These are small parts of other releases, not Meta-Dataset's images: accuracies do not
        compare with the papers'. Images are scaled to [-1, 1], as in li2022: mean and deviation
        are 0.5 in every domain, for nothing is known of an unseen one before its test. cars196 has
        10 images a class and cub10's validation 6 to 9: for "five_way_five_shot" there pass
        `query=1`. Test images of cifar10, cifar100 and mini_imagenet
        show some of the same things.

    Args:
        data_dir: Folder with the files of the table; None for the environment variable
            KERAS_UNIVREP_DATA.
        size: Side of the images, in pixels, at least 8; the paper's is 84.
        names: Sets to open; None for all twelve.
        cache_dir: Folder for the resized images; None for `keras_univrep/meta_local` in KERAS_HOME
            or `~/.keras`. A damaged file in it is made again.

    Returns:
        `MetaDomains`, in the order of the table. A split is read when it is first asked for.

    Raises:
        FileNotFoundError: If there is no folder or a set's file is missing.
        ValueError: If an argument is out of range, or a file is not one of the sets.
        ImportError: If Pillow is not installed.

    Example:

    >>> import os
    >>> from keras_univrep.datasets import episode_pipeline, multi_domain_pipeline
    >>> if "KERAS_UNIVREP_DATA" in os.environ:
    ...     domains = meta_local(names=["cub10", "mnist"])
    ...     batches = multi_domain_pipeline(domains.train, "train", 8, training=True)
    ...     sampler = domains.sampler("mnist", "test", "five_way_one_shot")
    ...     episodes = episode_pipeline(domains.test["mnist"], "test", sampler, episodes=2)

    References:
        - Triantafillou et al., Meta-Dataset: A Dataset of Datasets for Learning to Learn from Few
          Examples, 2020.
        - Li, Liu and Bilen, Universal Representations: A Unified Look at Multiple Task and Domain
          Learning, 2022, section 5.3.
    """
    if not isinstance(size, (int, np.integer)) or size < 8:
        raise ValueError(
            f"`size` must be an integer of at least 8. Received: size={size!r}. Pass, for example, "
            "32."
        )
    chosen = list(META_SOURCES) if names is None else list(names)
    unknown = sorted(set(chosen) - set(META_SOURCES))
    if unknown or not chosen:
        raise ValueError(
            f"`names` must hold some of {list(META_SOURCES)}. Received: {chosen}, unknown: "
            f"{unknown}. Pass `names=None` for all."
        )
    folder = local_folder(data_dir, "meta_local")
    cache = cache_folder(cache_dir, "meta_local")
    domains: dict[str, dict[str, Domain]] = {split: {} for split in META_SPLITS}
    samplers: dict[str, dict[str, ClassSampler]] = {split: {} for split in META_SPLITS}
    chosen = [name for name in META_SOURCES if name in chosen]
    for name in chosen:
        for split, domain in _open(name, folder, int(size), cache).items():
            domains[split][name] = domain
            if META_SOURCES[name].grouped:
                groups = [class_name.rsplit(" ", 1)[0] for class_name in domain.class_names]
                samplers[split][name] = classes_of_one_group(groups)
    return MetaDomains(
        train=domains["train"],
        validation=domains["validation"],
        test=domains["test"],
        seen_classes=tuple(name for name in chosen if not META_SOURCES[name].new_classes),
        class_samplers=samplers,
    )


def _open(name: str, folder: pathlib.Path, size: int, cache: pathlib.Path) -> dict[str, Domain]:
    source = META_SOURCES[name]
    path = folder / source.file
    make = functools.partial(_make, name, path, size)
    read, arrays = open_cached(name, path, size, str(_PROTOCOL), cache, make)
    splits = META_SPLITS if source.seen else ("test",)
    class_names = read([f"names_{split}" for split in splits])
    return {
        split: Domain(
            name=name,
            num_classes=len(own),
            class_names=tuple(own.tolist()),
            image_shape=(size, size, 3),
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
            splits=LazySplits({split: functools.partial(arrays, split)}),
            flip=source.flip,
            licence=source.licence,
            source=source.source,
            citation=source.citation,
        )
        for split, own in zip(splits, class_names, strict=True)
    }


def _make(name: str, path: pathlib.Path, size: int) -> dict[str, np.ndarray]:
    """Reads, divides and resizes a set, and numbers the classes of each split."""
    load_pillow("`meta_local`")
    pool, arrays = read_pool(name, path, size, META_SOURCES[name].read)
    for split in pool.splits:
        classes, own = np.unique(arrays[f"y_{split}"], return_inverse=True)
        arrays[f"y_{split}"] = own.astype("int32")
        arrays[f"names_{split}"] = np.array([pool.class_names[label] for label in classes])
    return arrays
