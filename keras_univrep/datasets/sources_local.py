"""Sources of four tasks from compact image sets in a folder of the user."""

import functools
import pathlib
from collections.abc import Callable, Sequence

from keras_univrep.datasets.camvid import camvid
from keras_univrep.datasets.decathlon_local import decathlon_local
from keras_univrep.datasets.detection_local import DETECTION_SETS, detection_local
from keras_univrep.datasets.local_folder import local_folder
from keras_univrep.datasets.nyu_local import nyu_local
from keras_univrep.datasets.resize_dense import resize_dense
from keras_univrep.datasets.source import Source
from keras_univrep.datasets.source_checks import SOURCE_KINDS
from keras_univrep.datasets.source_from_domain import source_from_domain
from keras_univrep.datasets.source_images import check_image_size
from keras_univrep.datasets.streamed_source import cache_folder

_SETS = {
    "classification": ("tiny_imagenet", "cifar100", "flowers17"),
    "detection": tuple(DETECTION_SETS),
    "segmentation": ("camvid", "nyuv2"),
    "depth": ("nyuv2",),
}


def sources_local(
    data_dir: str | pathlib.Path | None = None,
    image_size: int = 64,
    tasks: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    resize: str = "square",
    max_boxes: int | None = None,
    cache_dir: str | pathlib.Path | None = None,
) -> dict[str, dict[str, Source]]:
    """Opens sources of classification, detection, segmentation and depth, for X-Learner.

    | task | source | classes | train | validation | test | division |
    |---|---|---|---|---|---|---|
    | classification | tiny_imagenet | 200 | 4800 | 1200 | 1600 | as `decathlon_local` |
    | classification | cifar100 | 100 | 3999 | 1000 | 1500 | as `decathlon_local` |
    | classification | flowers17 | 17 | 680 | 340 | 340 | as `decathlon_local` |
    | detection | coco128 | 80 | 100 | 28 | 128 | train2017, 28 of it at random; val2017 |
    | detection | pennfudan | 1 | 110 | 20 | 40 | blocks of 5 numbers, at random |
    | detection | bccd | 3 | 205 | 87 | 72 | official |
    | segmentation | camvid | 11 | 367 | 101 | 233 | official |
    | segmentation, depth | nyuv2 | 13 | 695 | 100 | 654 | as `nyu_local` |

    What is at random has seed 0. Two of the 4888 boxes of bccd have no area and are left out, with
    a warning. Files, in the folder of the image sets; for the others see `decathlon_local`,
    `camvid` and `nyu_local`:

    | source | file | content |
    |---|---|---|
    | coco128 | coco128/coco128_320.zip | images/PART/ID.jpg; object_detection/PART/ID.txt, lines
    of class and relative centre, width and height; config/object_detection_config.yaml |
    | pennfudan | pennfudan/pennfudan_half.zip | images/NAME.jpg, boxes_xyxy.json |
    | bccd | bccd/bccd_320.zip | images/NAME.jpg, annotations.json with boxes and splits |

    Differences:
        he2022 trains on 13 thousand to 8 million images a source; `x_learner_sources` opens those.
        These are small enough to try all of it on, and its numbers do not compare with these.

    Args:
        data_dir: Folder of the image sets; None for the environment variable KERAS_UNIVREP_DATA.
        image_size: Side of all images, in pixels, at least 8.
        tasks: Some of "classification", "detection", "segmentation", "depth"; None for all.
        names: Sources to open; None for all of the tasks.
        resize: Of detection images: "square" takes each side to `image_size`, "pad" keeps the
            proportions. The others are "square".
        max_boxes: Boxes of a detection image, of more the largest stay; None for the most of any
            image of the source.
        cache_dir: Folder of the resized images; None for folders in KERAS_HOME or `~/.keras`.

    Returns:
        `{task: {name: Source}}`, in the order of the table, with the splits "train", "validation"
        and "test". A split is read when it is first asked for.

    Raises:
        FileNotFoundError: If there is no folder or a set's file is missing.
        ValueError: If an argument is out of range, or a file is not one of the sets.
        ImportError: If Pillow is not installed.

    Example:

    >>> import os
    >>> from keras_univrep.datasets import sources_local
    >>> if "KERAS_UNIVREP_DATA" in os.environ:
    ...     sources = sources_local(tasks=["detection"], names=["pennfudan"])
    ...     assert sources["detection"]["pennfudan"].class_names == ("person",)

    References:
        - He et al. X-Learner: learning cross sources and tasks for universal visual representation.
          ECCV 2022.
    """
    size = check_image_size(image_size, resize)
    if max_boxes is not None and max_boxes < 1:
        raise ValueError(
            f"`max_boxes` must be None or at least 1. Received: max_boxes={max_boxes}. Pass, for "
            "example, 20."
        )
    kinds = list(SOURCE_KINDS) if tasks is None else list(tasks)
    if not kinds or not set(kinds) <= set(SOURCE_KINDS) or isinstance(tasks, str):
        raise ValueError(
            f"`tasks` must hold some of {list(SOURCE_KINDS)}. Received: tasks={tasks!r}. Pass a "
            "list of these, or None for all."
        )
    known = {name for kind in kinds for name in _SETS[kind]}
    chosen = known if names is None else set(names)
    if not chosen or not chosen <= known or isinstance(names, str):
        raise ValueError(
            f"`names` must hold some of {sorted(known)}, the sources of {kinds}. Received: "
            f"names={names!r}. Pass a list of these, or None for all."
        )
    folder = local_folder(data_dir, "sources_local")
    given = None if cache_dir is None else pathlib.Path(cache_dir)
    cache = cache_folder(cache_dir, "sources_local")

    def classification(name: str) -> Source:
        domain = decathlon_local(folder, size[0], [name], cache_dir=given)[name]
        return source_from_domain(domain)

    def detection(name: str) -> Source:
        return detection_local(name, folder, size, resize, max_boxes, cache)

    def maps(kind: str, name: str) -> Source:
        domain = camvid(folder) if name == "camvid" else nyu_local(folder, tasks=[kind])
        return source_from_domain(resize_dense(domain, size), kind, name)

    makers: dict[str, Callable[[str], Source]] = {
        "classification": classification,
        "detection": detection,
        "segmentation": functools.partial(maps, "segmentation"),
        "depth": functools.partial(maps, "depth"),
    }
    found = {
        kind: {name: makers[kind](name) for name in _SETS[kind] if name in chosen}
        for kind in SOURCE_KINDS
        if kind in kinds
    }
    return {kind: row for kind, row in found.items() if row}
