"""Reads the image sets of the local few-shot benchmark, each divided by classes."""

import csv
import dataclasses
import io
import pathlib
from collections import Counter
from collections.abc import Callable

import numpy as np

from keras_univrep.datasets.decathlon_sources import SOURCES, Pool, Splits, divide
from keras_univrep.datasets.zip_images import ZipImages

# A 5-way episode of new classes needs so many.
_LEAST_WAY = 5
# Meta-Dataset's share of the validation classes, and of the test classes, of a source.
_SHARE = 0.15


def divide_classes(labels: np.ndarray) -> Splits:
    """Divides the classes of a set, at random with seed 0, as far as there are enough.

    | classes | test | validation | train |
    |---|---|---|---|
    | 15 or more | 15 %, at least 5 classes | the same | the other classes |
    | 10 to 14 | 5 classes | a quarter of each other class | the rest of each other class |
    | fewer | a fifth of each class | a fifth of each class | the rest of each class |

    Args:
        labels: Labels of all images.

    Returns:
        Dict of split to sorted positions.
    """
    every = np.arange(len(labels))
    classes = np.unique(labels)
    order = np.random.default_rng(0).permutation(classes)
    if len(classes) < 2 * _LEAST_WAY:
        return divide(labels, every, {"test": 0.2, "validation": 0.2}, "train")
    if len(classes) < 3 * _LEAST_WAY:
        new = np.isin(labels, order[:_LEAST_WAY])
        splits = divide(labels, every[~new], {"validation": 0.25}, "train")
        return {**splits, "test": every[new]}
    held_out = max(_LEAST_WAY, round(_SHARE * len(classes)))
    parts = np.split(order, (held_out, 2 * held_out))
    named = zip(("test", "validation", "train"), parts, strict=True)
    return {split: every[np.isin(labels, part)] for split, part in named}


def _mini_imagenet(path: pathlib.Path) -> Pool:
    images = ZipImages(path, r"(?P<split>train|val|test)/(?P<label>n\d+)/[^/]+\.jpg")
    official = np.array([match["split"] for match in images.matches])
    splits = {
        split: np.flatnonzero(official == folder)
        for split, folder in (("train", "train"), ("validation", "val"), ("test", "test"))
    }
    return Pool(images, images.labels, images.class_names, splits)


def _omniglot28(path: pathlib.Path) -> Pool:
    pool = SOURCES["omniglot28"].read(path)
    with np.load(path, allow_pickle=False) as file:
        alphabets, evaluation = file["alphabet"], file["is_evaluation"]
    sizes = Counter(alphabets[~evaluation].tolist())
    # Meta-Dataset validates on the five smallest alphabets of the background half.
    smallest = sorted(sizes, key=lambda alphabet: (sizes[alphabet], alphabet))[:5]
    chosen = np.where(np.isin(alphabets, smallest), "validation", "train")
    chosen = np.where(evaluation, "test", chosen)[pool.labels]
    splits = {split: np.flatnonzero(chosen == split) for split in ("train", "validation", "test")}
    return dataclasses.replace(pool, splits=splits)


def _quickdraw8(path: pathlib.Path) -> Pool:
    with np.load(path, allow_pickle=False) as file:
        images, names = file["x"], tuple(file["class_names"].tolist())
    labels = np.repeat(np.arange(len(images), dtype="int32"), images.shape[1])
    return Pool(images.reshape(-1, *images.shape[2:]), labels, names, divide_classes(labels))


def _folders(pattern: str) -> Callable[[pathlib.Path], Pool]:
    def read(path: pathlib.Path) -> Pool:
        images = ZipImages(path, pattern)
        return Pool(images, images.labels, images.class_names, divide_classes(images.labels))

    return read


def _cars196(path: pathlib.Path) -> Pool:
    images = ZipImages(path, r"(?P<label>\d+)/[^/]+\.jpg")
    rows = csv.reader(io.StringIO(images.text("classes.tsv")), delimiter="\t")
    models = {row[0]: row[1] for row in rows}
    class_names = tuple(models[name] for name in images.class_names)
    return Pool(images, images.labels, class_names, divide_classes(images.labels))


def _official_test(path: pathlib.Path) -> Pool:
    with np.load(path, allow_pickle=False) as file:
        images, labels = file["x_test"], file["y_test"].astype("int32")
        names = file["class_names"].tolist() if "class_names" in file else None
    if names is None:
        names = list(map(str, range(int(labels.max()) + 1)))
    return Pool(images, labels, tuple(names), {"test": np.arange(len(labels))})


def _all_for_test(path: pathlib.Path) -> Pool:
    images = ZipImages(path, r"(?P<label>[^/]+)/[^/]+\.jpg")
    return Pool(images, images.labels, images.class_names, {"test": np.arange(len(images))})


@dataclasses.dataclass(frozen=True)
class MetaSource:
    """Where a set is, how it is read, and what is known of it.

    Args:
        file: Its file below the folder of the sets.
        read: Maps the file's path to a `Pool`; labels count all classes of the set.
        seen: Whether it has training classes.
        new_classes: Whether its test classes are not those of training.
        grouped: Whether episodes keep to the classes whose names have the same first part.
        flip: Whether a mirrored image keeps its class.
        licence: Licence of the images.
        source: Address of the origin.
        citation: What to cite.
    """

    file: str
    read: Callable[[pathlib.Path], Pool]
    seen: bool
    new_classes: bool
    grouped: bool
    flip: bool
    licence: str
    source: str
    citation: str


def _as_in_decathlon(
    name: str, read: Callable[[pathlib.Path], Pool], seen: bool, grouped: bool = False
) -> MetaSource:
    known = SOURCES[name]
    facts = (known.flip, known.licence, known.source, known.citation)
    return MetaSource(known.file, read, seen, True, grouped, *facts)


META_SOURCES = {
    "mini_imagenet": MetaSource(
        "mini_imagenet/mini_imagenet84_40.zip",
        _mini_imagenet,
        *(True, True, False, True),
        "ImageNet terms: non-commercial research only",
        "https://github.com/Deo0330/split_minidataset",
        "S. Ravi, H. Larochelle. Optimization as a Model for Few-Shot Learning. ICLR, 2017.",
    ),
    "omniglot28": _as_in_decathlon("omniglot28", _omniglot28, True, grouped=True),
    "quickdraw8": MetaSource(
        "quickdraw8/quickdraw.npz",
        _quickdraw8,
        *(True, False, False, False),
        "CC BY 4.0",
        "https://github.com/googlecreativelab/quickdraw-dataset",
        "J. Jongejan, H. Rowley, T. Kawashima, J. Kim, N. Fox-Gieg. The Quick, Draw! A.I. "
        "Experiment. 2016.",
    ),
    "dtd10": _as_in_decathlon("dtd10", _folders(r"(?P<label>[^/]+)/[^/]+\.jpg"), True),
    "flowers17": _as_in_decathlon("flowers17", _folders(r"\d+_(?P<label>[^/]+)/[^/]+\.jpg"), True),
    "cub10": MetaSource(
        "cub10/cub10_84.zip",
        _folders(r"\d+\.(?P<label>[^/]+)/[^/]+\.jpg"),
        *(True, True, False, True),
        "non-commercial research and education",
        "https://github.com/yinlingmei/CUB_200",
        "P. Welinder, S. Branson, T. Mita, C. Wah, F. Schroff, S. Belongie, P. Perona. "
        "Caltech-UCSD Birds 200. Technical Report CNS-TR-2010-001, 2010.",
    ),
    "cars196": MetaSource(
        "cars196_train/cars196_84_10.zip",
        _cars196,
        *(True, True, False, True),
        "non-commercial research",
        "https://github.com/fmejbah/car_dataset1",
        "J. Krause, M. Stark, J. Deng, L. Fei-Fei. 3D Object Representations for Fine-Grained "
        "Categorization. 3dRR, 2013.",
    ),
    "gtsrb": _as_in_decathlon("gtsrb", _official_test, False),
    "mnist": MetaSource(
        "mnist/mnist.npz",
        _official_test,
        *(False, True, False, False),
        "CC BY-SA 3.0",
        "https://github.com/rasbt/mnist-pngs",
        "Y. LeCun, L. Bottou, Y. Bengio, P. Haffner. Gradient-Based Learning Applied to Document "
        "Recognition. Proceedings of the IEEE, 1998.",
    ),
    "cifar10": MetaSource(
        "cifar10/cifar10.npz",
        _official_test,
        *(False, True, False, True),
        "none stated; public research data",
        "https://github.com/cyizhuo/CIFAR-10-dataset",
        "A. Krizhevsky. Learning Multiple Layers of Features from Tiny Images. 2009.",
    ),
    "cifar100": _as_in_decathlon("cifar100", _official_test, False),
    "eurosat": MetaSource(
        "eurosat/eurosat64_125.zip",
        _all_for_test,
        *(False, True, False, True),
        "MIT; Copernicus Sentinel data terms",
        "https://github.com/phelber/EuroSAT",
        "P. Helber, B. Bischke, A. Dengel, D. Borth. EuroSAT: A Novel Dataset and Deep Learning "
        "Benchmark for Land Use and Land Cover Classification. IEEE JSTARS, 2019.",
    ),
}
