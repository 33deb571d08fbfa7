"""Reads the image sets of the local decathlon, each divided into three splits."""

import csv
import dataclasses
import io
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from keras_univrep.datasets.zip_images import ZipImages

Splits = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Pool:
    """All images of a set and the split of each.

    Args:
        images: uint8 images of any size, (height, width) or (height, width, 3).
        labels: int32 (n,).
        class_names: One name per class.
        splits: Dict of split to positions in `images`; no position is in two.
    """

    images: Sequence[np.ndarray] | np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    splits: Splits


def divide(labels: np.ndarray, among: np.ndarray, shares: dict[str, float], rest: str) -> Splits:
    """Divides images at random, in the same proportion in every class.

    Args:
        labels: Labels of all images.
        among: Positions to divide.
        shares: Dict of split to its share of each class, which is rounded.
        rest: Name of the split of the other images.

    Returns:
        Dict of split to sorted positions.
    """

    def order(label: int, size: int) -> np.ndarray:
        return np.random.default_rng((0, label)).permutation(size)

    return _divide(labels, among, shares, rest, order)


def divide_runs(
    labels: np.ndarray, among: np.ndarray, shares: dict[str, float], rest: str
) -> Splits:
    """Divides as `divide`, but cuts each class at two places, the first of `shares` at its end.

    Files that follow each other often show the same object: at most the objects at the cuts are in
    two splits.
    """
    return _divide(labels, among, shares, rest, lambda label, size: np.arange(size)[::-1])


def _divide(
    labels: np.ndarray,
    among: np.ndarray,
    shares: dict[str, float],
    rest: str,
    order: Callable[[int, int], np.ndarray],
) -> Splits:
    parts: dict[str, list[np.ndarray]] = {split: [] for split in (*shares, rest)}
    for label in np.unique(labels[among]):
        group = among[labels[among] == label]
        group = group[order(int(label), len(group))]
        cuts = np.cumsum([round(share * len(group)) for share in shares.values()])
        for split, part in zip(parts, np.split(group, cuts), strict=True):
            parts[split].append(part)
    return {split: np.sort(np.concatenate(part)) for split, part in parts.items()}


def _tiny_imagenet(path: pathlib.Path) -> Pool:
    images = ZipImages(path, r"(?P<split>train|val)/(?P<label>n\d+)/[^/]+\.JPEG")
    rows = csv.reader(io.StringIO(images.text("classes.tsv")), delimiter="\t")
    words = {row[0]: row[1] for row in rows}
    class_names = tuple(words[name] for name in images.class_names)
    official = np.array([match["split"] for match in images.matches])
    splits = divide(
        images.labels, np.flatnonzero(official == "train"), {"validation": 0.2}, "train"
    )
    splits["test"] = np.flatnonzero(official == "val")
    return Pool(images, images.labels, class_names, splits)


def _cifar100(path: pathlib.Path) -> Pool:
    return _train_and_test(path, divide)


def _gtsrb(path: pathlib.Path) -> Pool:
    return _train_and_test(path, divide_runs)


def _train_and_test(path: pathlib.Path, rule: Callable[..., Splits]) -> Pool:
    with np.load(path, allow_pickle=False) as file:
        parts = [(file[f"x_{split}"], file[f"y_{split}"]) for split in ("train", "test")]
        names = file["class_names"].tolist() if "class_names" in file else None
    images = np.concatenate([x for x, _ in parts])
    labels = np.concatenate([y for _, y in parts]).astype("int32")
    if names is None:
        names = list(map(str, range(int(labels.max()) + 1)))
    size = len(parts[0][1])
    splits = rule(labels, np.arange(size), {"validation": 0.2}, "train")
    splits["test"] = np.arange(size, len(labels))
    return Pool(images, labels, tuple(names), splits)


def _daimlerpedcls(path: pathlib.Path) -> Pool:
    with np.load(path, allow_pickle=False) as file:
        images = np.concatenate([file["x_train"], file["x_test"]])
        labels = np.concatenate([file["y_train"], file["y_test"]]).astype("int32")
        train_set, names = file["set_train"], tuple(file["class_names"].tolist())
    # A pedestrian is in one of the official sets, shifted and mirrored: the last set of the three
    # for training is held out whole.
    last = train_set == train_set.max()
    splits = {
        "train": np.flatnonzero(~last),
        "validation": np.flatnonzero(last),
        "test": np.arange(len(train_set), len(labels)),
    }
    return Pool(images, labels, names, splits)


def _dtd10(path: pathlib.Path) -> Pool:
    images = ZipImages(path, r"(?P<label>[^/]+)/[^/]+\.jpg")
    shares = {"validation": 1 / 3, "test": 1 / 3}
    splits = divide(images.labels, np.arange(len(images)), shares, "train")
    return Pool(images, images.labels, images.class_names, splits)


def _flowers17(path: pathlib.Path) -> Pool:
    images = ZipImages(path, r"\d+_(?P<label>[^/]+)/[^/]+\.jpg")
    shares = {"validation": 0.25, "test": 0.25}
    splits = divide(images.labels, np.arange(len(images)), shares, "train")
    return Pool(images, images.labels, images.class_names, splits)


def _omniglot28(path: pathlib.Path) -> Pool:
    with np.load(path, allow_pickle=False) as file:
        packed = file["packed"]
        names = tuple(
            f"{alphabet} {character}"
            for alphabet, character in zip(file["alphabet"], file["character"], strict=True)
        )
    characters, drawers = packed.shape[:2]
    images = np.unpackbits(packed, axis=-1, count=28 * 28).reshape(-1, 28, 28) * np.uint8(255)
    labels = np.repeat(np.arange(characters, dtype="int32"), drawers)
    drawer = np.tile(np.arange(drawers), characters)
    order = np.random.default_rng(0).permutation(drawers)
    # 11, 4 and 5 of the 20 drawers, as in the official decathlon.
    parts = dict(zip(("train", "validation", "test"), np.split(order, (11, 15)), strict=True))
    splits = {split: np.flatnonzero(np.isin(drawer, part)) for split, part in parts.items()}
    return Pool(images, labels, names, splits)


def _chars74k36(path: pathlib.Path) -> Pool:
    with np.load(path, allow_pickle=False) as file:
        images, labels = file["x"], file["y"].astype("int32")
        names = tuple(file["class_names"].tolist())
    shares = {"test": 0.2, "validation": 0.2}
    splits = divide_runs(labels, np.arange(len(labels)), shares, "train")
    return Pool(images, labels, names, splits)


def _ucf101_subset(path: pathlib.Path) -> Pool:
    images = ZipImages(
        path, r"dynamic/(?P<split>train|test)/(?P<label>[^/]+)/v_[^/]+_g(?P<group>\d+)_c\d+\.jpg"
    )
    official = np.array([match["split"] for match in images.matches])
    group = np.array([int(match["group"]) for match in images.matches])
    # Clips of a group come from one video: a group is in one split, as in the official lists.
    held_out = np.isin(group, np.unique(group[official == "train"])[:4])
    splits = {
        "train": np.flatnonzero((official == "train") & ~held_out),
        "validation": np.flatnonzero((official == "train") & held_out),
        "test": np.flatnonzero(official == "test"),
    }
    return Pool(images, images.labels, images.class_names, splits)


@dataclasses.dataclass(frozen=True)
class _Source:
    """Where a set is, how it is read, and what is known of it."""

    file: str
    read: Callable[[pathlib.Path], Pool]
    flip: bool
    licence: str
    source: str
    citation: str


SOURCES = {
    "tiny_imagenet": _Source(
        "tiny_imagenet/tiny_imagenet_30_8.zip",
        _tiny_imagenet,
        True,
        "ImageNet terms: non-commercial research only",
        "https://github.com/seshuad/IMagenet",
        "Y. Le, X. Yang. Tiny ImageNet Visual Recognition Challenge. Stanford CS 231N, 2015.",
    ),
    "cifar100": _Source(
        "cifar100/cifar100.npz",
        _cifar100,
        True,
        "none stated; public research data",
        "https://github.com/cyizhuo/CIFAR-100-dataset",
        "A. Krizhevsky. Learning Multiple Layers of Features from Tiny Images. 2009.",
    ),
    "daimlerpedcls": _Source(
        "daimlerpedcls/daimlerpedcls.npz",
        _daimlerpedcls,
        True,
        "research use; copy and distribute allowed; non-commercial",
        "https://github.com/pras-kolar/PeopleDetection",
        "S. Munder, D. M. Gavrila. An Experimental Study on Pedestrian Classification. IEEE TPAMI, "
        "2006.",
    ),
    "dtd10": _Source(
        "dtd10/dtd10_84.zip",
        _dtd10,
        True,
        "research purposes",
        "https://github.com/pan8915/DeepTexture",
        "M. Cimpoi, S. Maji, I. Kokkinos, S. Mohamed, A. Vedaldi. Describing Textures in the Wild. "
        "CVPR, 2014.",
    ),
    "gtsrb": _Source(
        "gtsrb/gtsrb32.npz",
        _gtsrb,
        False,
        "none stated; public research benchmark",
        "https://github.com/Avik9/GTSRB",
        "J. Stallkamp, M. Schlipsing, J. Salmen, C. Igel. Man vs. Computer: Benchmarking Machine "
        "Learning Algorithms for Traffic Sign Recognition. Neural Networks, 2012.",
    ),
    "flowers17": _Source(
        "flowers17/flowers17_84.zip",
        _flowers17,
        True,
        "none stated; research data",
        "https://github.com/995114879/17flowers",
        "M.-E. Nilsback, A. Zisserman. A Visual Vocabulary for Flower Classification. CVPR, 2006.",
    ),
    "omniglot28": _Source(
        "omniglot28/omniglot28.npz",
        _omniglot28,
        False,
        "MIT",
        "https://github.com/brendenlake/omniglot",
        "B. M. Lake, R. Salakhutdinov, J. B. Tenenbaum. Human-level Concept Learning through "
        "Probabilistic Program Induction. Science, 2015.",
    ),
    "chars74k36": _Source(
        "chars74k36/chars74k36_32.npz",
        _chars74k36,
        False,
        "none stated; research data",
        "https://github.com/rfstdh/100image",
        "T. E. de Campos, B. R. Babu, M. Varma. Character Recognition in Natural Images. VISAPP, "
        "2009.",
    ),
    "ucf101_subset": _Source(
        "ucf101_subset/ucf101_6cls_84.zip",
        _ucf101_subset,
        True,
        "none stated; research data",
        "https://github.com/Lundii1/ucf-101_visionpp",
        "K. Soomro, A. R. Zamir, M. Shah. UCF101: A Dataset of 101 Human Actions Classes from "
        "Videos in the Wild. 2012.",
    ),
}
