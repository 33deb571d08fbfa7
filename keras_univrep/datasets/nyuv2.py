"""NYU Depth V2 at 288x384, as the dense experiments of the paper use it."""

import functools
import pathlib
import types
from collections.abc import Mapping, Sequence

import numpy as np

from keras_univrep.datasets.dense_domain import DenseArrays, DenseDomain
from keras_univrep.datasets.dense_layouts import check_layout, choose_tasks, folder_splits
from keras_univrep.datasets.dense_tfds import read_tfds, resize_image, resize_map
from keras_univrep.datasets.lazy_splits import LazySplits
from keras_univrep.datasets.nyu_local import NYU_CITATION, NYU_CLASSES, NYU_PAGE
from keras_univrep.types import Tensor

_KINDS = {"segmentation": "segmentation", "depth": "depth", "normals": "normals"}
_FOLDERS = {"segmentation": "label", "depth": "depth", "normals": "normal"}
_CHANNELS = {"segmentation": len(NYU_CLASSES), "depth": 1, "normals": 3}
_TFDS_SPLITS = {"train": "train[:2000]", "test": "validation"}


def nyuv2(
    data_dir: str | pathlib.Path | None = None,
    layout: str = "liu2019",
    tasks: Sequence[str] | None = None,
    image_size: tuple[int, int] = (288, 384),
    validation: int = 0,
    splits: Mapping[str, str] | None = None,
) -> DenseDomain:
    """Opens NYU Depth V2: 13 classes, depth in metres and surface normals.

    | layout | data_dir | tasks | train | test |
    |---|---|---|---|---|
    | "liu2019" | folder of `train` and `val` | segmentation, depth, normals | 795 | 654 |
    | "tfds" | of TensorFlow Datasets, or None | depth | `splits` | 654 |

    "liu2019" are the files that Liu et al. published and li2022 uses: in each of `train` and `val`
    the folders `image` (height, width, 3) in [0, 1], `label` (height, width) with -1 for no label,
    `depth` (height, width, 1) in metres and `normal` (height, width, 3), with files `0.npy`,
    `1.npy`, and so on. `val` is the official test split. The axes of the normals are the files'
    own; their first number is horizontal.

    "tfds" is the builder `nyu_depth_v2`: 47584 video frames to train and the 654 test images,
    480x640, with depth alone. They are resized, images with antialiasing and depth by its nearest
    pixel. An image takes 0.8 MB of memory at 288x384, so the first 2000 frames are read unless
    `splits` names other parts; frames are stored in random order.

    Differences:
        Images are rounded to whole levels of 8 bits. Normals are scaled to length 1, and those
        shorter than a half are unknown.

    Args:
        data_dir: Folder, see above.
        layout: "liu2019" or "tfds".
        tasks: Tasks to open; None for all of the layout. Only their files must be there.
        image_size: (height, width) in pixels: what the files have, or what "tfds" resizes to.
        validation: With "liu2019", images to hold out of the training images for a split
            "validation", in blocks of 20 consecutive files; "train+validation" is all of them.
        splits: With "tfds", dict of split to an expression of TensorFlow Datasets; None for
            {"train": "train[:2000]", "test": "validation"}.

    Returns:
        A `DenseDomain`; its images are read when they are first asked for. All training images of
        "liu2019" take 1.8 GB.

    Raises:
        FileNotFoundError: If there is no folder or a file is missing.
        ValueError: If an argument is out of range, or a file is not what it must be.
        ImportError: If "tfds" misses TensorFlow Datasets.

    Example:

    >>> import tensorflow_datasets as tfds
    >>> with tfds.testing.mock_data(num_examples=2):  # random numbers in place of the real ones
    ...     domain = nyuv2(layout="tfds", image_size=(24, 32))
    ...     domain.size("train"), domain.channels
    (2, {'depth': 1})

    References:
        - Liu, Johns and Davison, End-to-End Multi-Task Learning with Attention, 2019.
        - Li, Liu and Bilen, Universal Representations: A Unified Look at Multiple Task and Domain
          Learning, 2022.
    """
    check_layout(layout)
    size = (int(image_size[0]), int(image_size[1]))
    if layout == "liu2019":
        if splits is not None:
            raise ValueError(
                "`splits` must be None with layout='liu2019', which has its own. Received: "
                f"splits={splits}. Pass `validation` to hold images out."
            )
        chosen = choose_tasks(tasks, _KINDS)
        lazy = folder_splits(data_dir, size, _FOLDERS, chosen, _CHANNELS, validation)
        description = "Files of Liu et al.; the axes of the normals are the files' own."
    else:
        if validation:
            raise ValueError(
                "`validation` must be 0 with layout='tfds'. Received: "
                f"validation={validation}. Pass `splits`, such as {{'validation': 'train[-100:]'}}."
            )
        chosen = choose_tasks(tasks, {"depth": "depth"})
        named = _TFDS_SPLITS if splits is None else splits
        lazy = LazySplits(
            {
                split: functools.partial(_read_tfds, expression, data_dir, size)
                for split, expression in named.items()
            }
        )
        description = "Video frames with depth, from the builder nyu_depth_v2."
    return DenseDomain(
        name="nyuv2",
        tasks=chosen,
        class_names={"segmentation": NYU_CLASSES} if "segmentation" in chosen else {},
        image_shape=(*size, 3),
        splits=lazy,
        description=description,
        licence="none stated; public research data",
        source=NYU_PAGE,
        citation=NYU_CITATION,
    )


def _read_tfds(
    split: str, data_dir: str | pathlib.Path | None, image_size: tuple[int, int]
) -> DenseArrays:
    def convert(tf: types.ModuleType, example: dict[str, Tensor]) -> dict[str, Tensor]:
        depth = tf.cast(example["depth"], tf.float32)[..., None]
        return {
            "image": resize_image(tf, example["image"], image_size),
            "depth": resize_map(tf, depth, image_size),
        }

    arrays = read_tfds("nyu_depth_v2", split, data_dir, convert)
    return arrays["image"], {"depth": np.asarray(arrays["depth"], "float32")}
