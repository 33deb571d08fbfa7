"""Multi Meta Tasks on compact sets of real images."""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_univrep.datasets.camvid import camvid
from keras_univrep.datasets.dense_zip import DenseZip
from keras_univrep.datasets.hold_out import hold_out, runs
from keras_univrep.datasets.local_folder import local_folder
from keras_univrep.datasets.meta_local import meta_local
from keras_univrep.datasets.mmt import MMT_TASKS, Environments, mmt
from keras_univrep.datasets.multi_meta_tasks import MultiMetaTasks
from keras_univrep.datasets.nyu_local import nyu_local

_SETS = {
    "train": ("mini_imagenet",),
    "validation": ("mini_imagenet",),
    "test": ("mini_imagenet", "eurosat"),
}
_SIZE, _HELD_OUT = (144, 192), 100


def mmt_local(
    data_dir: str | pathlib.Path | None = None,
    split: str = "train",
    size: int = 64,
    tasks: Sequence[str] = MMT_TASKS,
    cache_dir: str | pathlib.Path | None = None,
    **kwargs: Any,
) -> MultiMetaTasks:
    """Opens a small stand-in for the Multi Meta Tasks set, whose own is not public.

    | task | sub-tasks | train | validation | test |
    |---|---|---|---|---|
    | classification | 5 classes | 64 of mini_imagenet | 16 of it | 20 of it, and 10 of eurosat |
    | depth | an environment of nyuv2 | official training images | 100 of these | official test |
    | normals | an environment of nyuv2 | as depth | as depth | as depth |
    | vanishing_point | an environment | as depth | as depth | as depth, and roads of camvid |

    An environment is a run of consecutive images of one split of NYU Depth V2: they are numbered
    scene by scene and the official splits keep scenes together, so that a run is one scene or some
    whole ones; of CamVid, 20 consecutive test frames. Labels are those of `mmt`: depth is rounded
    to 4 cm, normals are derived from it as in `nyu_local`, and vanishing points are estimates.

    Differences:
        lekkala2020 classifies scenes, this objects and land use. Its depths and normals are of
        other sets for the test; these are of other scenes.

    Args:
        data_dir: Folder of the image sets; None for the environment variable KERAS_UNIVREP_DATA.
        split: "train", "validation" or "test".
        size: Height and width of the images and maps, in pixels: NYU's are squeezed.
        tasks: Some of "classification", "depth", "normals" and "vanishing_point".
        cache_dir: Folder of what is computed; None for those of `meta_local` and `nyu_local`.
        **kwargs: Numbers of `MultiMetaTasks`, such as `shot` and `seed`.

    Returns:
        `MultiMetaTasks`.

    Raises:
        FileNotFoundError: If there is no folder or a file is missing.
        ValueError: If an argument is none of the above.
        ImportError: If Pillow is not installed.

    Example:

    >>> import os
    >>> if "KERAS_UNIVREP_DATA" in os.environ:
    ...     tasks = mmt_local(split="validation", size=32, tasks=["depth"])
    ...     assert tasks.batch(0)["depth"]["query"][1].shape == (2, 5, 32, 32, 1)

    References:
        - Lekkala, Itti. Attentive feature reuse for multi task meta learning. 2020.
        - Silberman, Hoiem, Kohli and Fergus, Indoor Segmentation and Support Inference from RGBD
          Images, 2012.
    """
    if split not in _SETS:
        raise ValueError(f"`split` must be one of {list(_SETS)}. Received: split={split!r}.")
    classes, rooms, roads = None, None, None
    groups: Environments = 20
    if "classification" in tasks:
        classes = getattr(meta_local(data_dir, size, _SETS[split], cache_dir), split)
    if set(tasks) & set(MMT_TASKS[1:]):
        normals = ["normals"] if set(tasks) & {"normals", "vanishing_point"} else []
        rooms = nyu_local(data_dir, _SIZE, ["depth", *normals], _HELD_OUT, cache_dir)
        groups = _environments(data_dir, split)
    if "vanishing_point" in tasks and split == "test":
        roads = camvid(data_dir)
    return mmt(split, classes, rooms, roads, size, tasks, groups, camera_normals=True, **kwargs)


def _environments(data_dir: str | pathlib.Path | None, split: str) -> np.ndarray:
    """Number of the run of each image of a split of `nyu_local`, in its order."""
    path = local_folder(data_dir, "mmt_local") / "nyuv2" / "nyuv2_144x192_full.zip"
    names = DenseZip(path, ("train", "test"), ("rgb", "depth", "seg13"), _SIZE, "`mmt_local`").names
    if split == "test":
        return runs(np.array([int(name) for name in names["test"]]))
    groups = runs(np.array(sorted(int(name) for name in names["train"])))
    held = hold_out(groups, _HELD_OUT)
    return groups[held if split == "validation" else ~held]
