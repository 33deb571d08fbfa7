"""Cityscapes at 128x256, as the dense experiments of the paper use it."""

import functools
import pathlib
import types
from collections.abc import Mapping, Sequence

import numpy as np

from keras_univrep.datasets.dense_domain import DenseArrays, DenseDomain
from keras_univrep.datasets.dense_layouts import check_layout, choose_tasks, folder_splits
from keras_univrep.datasets.dense_tfds import read_tfds, resize_image, resize_map
from keras_univrep.datasets.lazy_splits import LazySplits
from keras_univrep.types import Tensor

_KINDS = {"segmentation": "segmentation", "disparity": "disparity"}
# Official names, with the numbers that the label images hold. Numbers that are not listed are void.
_GROUPS: dict[str, dict[str, int]] = {
    "flat": {"road": 7, "sidewalk": 8, "parking": 9, "rail track": 10},
    "construction": {
        **{"building": 11, "wall": 12, "fence": 13, "guard rail": 14},
        **{"bridge": 15, "tunnel": 16},
    },
    "object": {"pole": 17, "polegroup": 18, "traffic light": 19, "traffic sign": 20},
    "nature": {"vegetation": 21, "terrain": 22},
    "sky": {"sky": 23},
    "human": {"person": 24, "rider": 25},
    "vehicle": {
        **{"car": 26, "truck": 27, "bus": 28, "caravan": 29, "trailer": 30, "train": 31},
        **{"motorcycle": 32, "bicycle": 33},
    },
}
# Of these the benchmark's 19 classes have none.
_NOT_EVALUATED = (9, 10, 14, 15, 16, 18, 29, 30)
_CLASSES = {
    7: tuple(_GROUPS),
    19: tuple(
        name
        for group in _GROUPS.values()
        for name, number in group.items()
        if number not in _NOT_EVALUATED
    ),
}
_TFDS_SPLITS = {"train": "train", "test": "validation"}


def cityscapes(
    data_dir: str | pathlib.Path | None = None,
    layout: str = "liu2019",
    classes: int = 7,
    tasks: Sequence[str] | None = None,
    image_size: tuple[int, int] = (128, 256),
    validation: int = 0,
    splits: Mapping[str, str] | None = None,
) -> DenseDomain:
    """Opens Cityscapes: 7 or 19 classes, and disparity.

    | layout | data_dir | train | test |
    |---|---|---|---|
    | "liu2019" | folder of `train` and `val` | 2975 | 500 |
    | "tfds" | of TensorFlow Datasets, or None | 2975, or `splits` | 500 |

    The test split is the official validation split: the official test labels are not public.

    "liu2019" are the files that Liu et al. published and li2022 uses: in each of `train` and `val`
    the folders `image` (height, width, 3) in [0, 1], `label_7` or `label_19` (height, width) with
    -1 for no label, and `depth` (height, width, 1), which is disparity, with files `0.npy`,
    `1.npy`, and so on.

    "tfds" is the builder `cityscapes`, from archives that its users fetch by hand: labels of the
    configuration `semantic_segmentation`, disparity of `stereo_disparity`, joined by the names of
    the images. Images are resized with antialiasing, maps by their nearest pixel.

    Disparity is the official 16-bit number divided by 65535, dimensionless, 0 where not measured;
    that gives the published files' range, up to 0.4922 for 32257. The 7 classes are the official
    categories; "void" has none.

    Differences:
        Images are rounded to whole levels of 8 bits. How the published files resize is not known.

    Args:
        data_dir: Folder, see above.
        layout: "liu2019" or "tfds".
        classes: 7 or 19.
        tasks: "segmentation" and "disparity", or one of them; None for both. Only their files must
            be there.
        image_size: (height, width) in pixels: what the files have, or what "tfds" resizes to.
        validation: With "liu2019", images to hold out of the training images for a split
            "validation", in blocks of 20 consecutive files; "train+validation" is all of them.
        splits: With "tfds", dict of split to an expression of TensorFlow Datasets; None for
            {"train": "train", "test": "validation"}.

    Returns:
        A `DenseDomain`; its images are read when they are first asked for. All training images take
        0.8 GB.

    Raises:
        FileNotFoundError: If there is no folder or a file is missing.
        ValueError: If an argument is out of range, or a file is not what it must be.
        ImportError: If "tfds" misses TensorFlow Datasets.

    Example:

    >>> import tensorflow_datasets as tfds
    >>> with tfds.testing.mock_data(num_examples=1):  # random numbers in place of the real ones
    ...     domain = cityscapes(layout="tfds", tasks=["disparity"], image_size=(8, 16))
    ...     domain.size("train"), domain.channels
    (1, {'disparity': 1})

    References:
        - Cordts et al., The Cityscapes Dataset for Semantic Urban Scene Understanding, 2016.
        - Liu, Johns and Davison, End-to-End Multi-Task Learning with Attention, 2019.
        - Li, Liu and Bilen, Universal Representations: A Unified Look at Multiple Task and Domain
          Learning, 2022.
    """
    check_layout(layout)
    if classes not in _CLASSES:
        raise ValueError(
            f"`classes` must be one of {list(_CLASSES)}. Received: classes={classes}. Pass one of "
            "these."
        )
    size = (int(image_size[0]), int(image_size[1]))
    chosen = choose_tasks(tasks, _KINDS)
    if layout == "liu2019":
        if splits is not None:
            raise ValueError(
                "`splits` must be None with layout='liu2019', which has its own. Received: "
                f"splits={splits}. Pass `validation` to hold images out."
            )
        folders = {"segmentation": f"label_{classes}", "disparity": "depth"}
        channels = {"segmentation": classes, "disparity": 1}
        lazy = folder_splits(data_dir, size, folders, chosen, channels, validation)
    else:
        if validation:
            raise ValueError(
                "`validation` must be 0 with layout='tfds'. Received: "
                f"validation={validation}. Pass `splits`, such as {{'validation': 'train[-100:]'}}."
            )
        named = _TFDS_SPLITS if splits is None else splits
        lazy = LazySplits(
            {
                split: functools.partial(
                    _read_tfds, expression, data_dir, size, tuple(chosen), classes
                )
                for split, expression in named.items()
            }
        )
    return DenseDomain(
        name="cityscapes",
        tasks=chosen,
        class_names={"segmentation": _CLASSES[classes]} if "segmentation" in chosen else {},
        image_shape=(*size, 3),
        splits=lazy,
        description="Disparity is the official number divided by 65535.",
        licence="Cityscapes terms: non-commercial research",
        source="https://www.cityscapes-dataset.com",
        citation=(
            "M. Cordts, M. Omran, S. Ramos, T. Rehfeld, M. Enzweiler, R. Benenson, U. Franke, "
            "S. Roth, B. Schiele. The Cityscapes Dataset for Semantic Urban Scene Understanding. "
            "CVPR, 2016."
        ),
    )


def _label_table(classes: int) -> np.ndarray:
    """Class of each number of a label image, int8 (256,)."""
    table = np.full(256, -1, "int8")
    for position, members in enumerate(_GROUPS.values()):
        for name, number in members.items():
            if classes == 7:
                table[number] = position
            elif number not in _NOT_EVALUATED:
                table[number] = _CLASSES[19].index(name)
    return table


def _read_tfds(
    split: str,
    data_dir: str | pathlib.Path | None,
    image_size: tuple[int, int],
    tasks: tuple[str, ...],
    classes: int,
) -> DenseArrays:
    parts: dict[str, dict[str, np.ndarray]] = {}
    for task, config, feature in (
        ("segmentation", "semantic_segmentation", "segmentation_label"),
        ("disparity", "stereo_disparity", "disparity_map"),
    ):
        if task in tasks:
            convert = functools.partial(_convert, task, feature, not parts, image_size)
            # Decoded to 8 bits, a disparity loses its lower half.
            encoded = ("disparity_map",) if task == "disparity" else ()
            parts[task] = read_tfds(f"cityscapes/{config}", split, data_dir, convert, encoded)
    first = next(iter(parts.values()))
    targets = {}
    for task, arrays in parts.items():
        places = {name: row for row, name in enumerate(arrays["name"].tolist())}
        if set(places) != set(first["name"].tolist()):
            raise ValueError(
                f"Split {split!r} of the two configurations of 'cityscapes' must hold the same "
                f"images. Received: {len(first['name'])} and {len(places)} images with other "
                "names. Pass whole splits, such as 'train', or one task."
            )
        targets[task] = arrays[task][[places[name] for name in first["name"].tolist()]]
    if "segmentation" in targets:
        targets["segmentation"] = _label_table(classes)[targets["segmentation"][..., 0]]
    return first["image"], targets


def _convert(
    task: str,
    feature: str,
    with_image: bool,
    image_size: tuple[int, int],
    tf: types.ModuleType,
    example: dict[str, Tensor],
) -> dict[str, Tensor]:
    values = example[feature]
    if task == "disparity":
        values = tf.cast(tf.io.decode_png(values, channels=1, dtype=tf.uint16), tf.float32) / 65535
    kept = {"name": example["image_id"], task: resize_map(tf, values, image_size)}
    if with_image:
        kept["image"] = resize_image(tf, example["image_left"], image_size)
    return kept
