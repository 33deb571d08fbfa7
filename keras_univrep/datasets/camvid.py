"""CamVid: street scenes with eleven classes, from a compact archive."""

import functools
import pathlib

import numpy as np

from keras_univrep.datasets.dense_domain import DenseArrays, DenseDomain
from keras_univrep.datasets.dense_zip import DenseZip
from keras_univrep.datasets.lazy_splits import LazySplits
from keras_univrep.datasets.local_folder import local_folder

_CLASSES = (
    *("Sky", "Building", "Pole", "Road", "Pavement", "Tree", "SignSymbol", "Fence", "Car"),
    *("Pedestrian", "Bicyclist"),
)
_UNLABELLED = 11
_SIZE = (180, 240)
# Splits here and the archive's.
_SPLITS = {"train": "train", "validation": "val", "test": "test"}


def camvid(
    data_dir: str | pathlib.Path | None = None, pad_to: tuple[int, int] | None = None
) -> DenseDomain:
    """Opens CamVid at 180x240 pixels, with 11 classes.

    The one task is "segmentation"; what the set calls unlabelled is -1. The splits are the official
    ones: 367 images to train, 101 for validation, 233 for the test. The file, in the folder of the
    image sets, is camvid/camvid_180x240.zip with SPLIT/rgb/NAME.jpg and SPLIT/seg/NAME.png.

    Args:
        data_dir: Folder of the image sets; None for the environment variable KERAS_UNIVREP_DATA.
        pad_to: (height, width) to pad images to with black pixels without label, below and on the
            right; (192, 256) for networks whose stride must divide the sides. None for no padding.

    Returns:
        A `DenseDomain`; its images are read when they are first asked for.

    Raises:
        FileNotFoundError: If there is no folder or the file is missing.
        ValueError: If the file is not what it must be, or `pad_to` is smaller than the images.
        ImportError: If Pillow is not installed.

    Example:

    >>> import os
    >>> if "KERAS_UNIVREP_DATA" in os.environ:
    ...     domain = camvid()
    ...     assert [domain.size(split) for split in domain.splits] == [367, 101, 233]

    References:
        - Brostow, Fauqueur and Cipolla, Semantic Object Classes in Video: A High-Definition Ground
          Truth Database, 2009.
    """
    height, width = _SIZE if pad_to is None else pad_to
    if height < _SIZE[0] or width < _SIZE[1]:
        raise ValueError(
            f"`pad_to` must be at least the size of the images, {_SIZE}. Received: pad_to={pad_to}."
            " Pass, for example, (192, 256)."
        )
    path = local_folder(data_dir, "camvid") / "camvid" / "camvid_180x240.zip"
    archive = DenseZip(path, tuple(_SPLITS.values()), ("rgb", "seg"), _SIZE, "`camvid`")
    return DenseDomain(
        name="camvid",
        tasks={"segmentation": "segmentation"},
        class_names={"segmentation": _CLASSES},
        image_shape=(height, width, 3),
        splits=LazySplits(
            {
                split: functools.partial(_read, archive, folder, (height, width))
                for split, folder in _SPLITS.items()
            }
        ),
        description="Frames of drives through a town, 4 times as small as published.",
        licence="research data, no explicit licence",
        source="http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/",
        citation=(
            "G. J. Brostow, J. Fauqueur, R. Cipolla. Semantic Object Classes in Video: A "
            "High-Definition Ground Truth Database. Pattern Recognition Letters, 2009."
        ),
    )


def _read(archive: DenseZip, split: str, size: tuple[int, int]) -> DenseArrays:
    names = archive.names[split]
    images, labels = (archive.read(split, folder, names) for folder in ("rgb", "seg"))
    if (labels > _UNLABELLED).any():
        raise ValueError(
            f"Labels of '{archive.path}' must be in [0, {_UNLABELLED}]. Received: up to "
            f"{labels.max()}. Fetch the archive again."
        )
    classes = np.where(labels == _UNLABELLED, -1, labels).astype("int8")
    pads = [(0, 0), *((0, to - side) for to, side in zip(size, _SIZE, strict=True))]
    return np.pad(images, [*pads, (0, 0)]), {
        "segmentation": np.pad(classes, pads, constant_values=-1)
    }
