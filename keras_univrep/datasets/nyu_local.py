"""NYU Depth V2 at a quarter of its size, from a compact archive."""

import functools
import hashlib
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from keras_univrep.datasets.dense_domain import DenseArrays, DenseDomain
from keras_univrep.datasets.dense_layouts import choose_tasks
from keras_univrep.datasets.dense_zip import DenseZip
from keras_univrep.datasets.fit_normals import fit_normals
from keras_univrep.datasets.hold_out import hold_out, runs
from keras_univrep.datasets.lazy_splits import LazySplits
from keras_univrep.datasets.local_folder import local_folder
from keras_univrep.datasets.split_cache import read_or_make

NYU_CLASSES = (
    *("bed", "books", "ceiling", "chair", "floor", "furniture", "objects", "picture", "sofa"),
    *("table", "tv", "wall", "window"),
)
NYU_CITATION = (
    "N. Silberman, D. Hoiem, P. Kohli, R. Fergus. Indoor Segmentation and Support Inference from "
    "RGBD Images. ECCV, 2012."
)
NYU_PAGE = "https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html"
_FILES = {(144, 192): "nyuv2_144x192_full.zip", (288, 384): "nyuv2_288x384_40_20.zip"}
_LEVELS = 25.5  # Depth values per metre.
_VOID = 255
# Focal lengths and centre of the colour camera, in pixels of 640 columns.
NYU_CAMERA = (518.858, 519.470, 325.582, 253.736)
_KINDS = {"segmentation": "segmentation", "depth": "depth", "normals": "normals"}
# Counts up when the rule behind the normals changes: older cache files are then not read.
_PROTOCOL = 1


def nyu_local(
    data_dir: str | pathlib.Path | None = None,
    image_size: tuple[int, int] = (144, 192),
    tasks: Sequence[str] | None = None,
    validation: int = 100,
    cache_dir: str | pathlib.Path | None = None,
) -> DenseDomain:
    """Opens the 1449 labelled images of NYU Depth V2 at 144x192 pixels.

    | image_size | file, in the folder `nyuv2` | train | validation | test |
    |---|---|---|---|---|
    | (144, 192) | nyuv2_144x192_full.zip | 695 | 100 | 654 |
    | (288, 384) | nyuv2_288x384_40_20.zip | 40 | - | 20 |

    The test split is the official one. "validation" is taken out of the 795 official training
    images, in whole runs of consecutive numbers: the official splits keep a scene together and
    images are numbered scene by scene, so a run that the test images cut out holds whole scenes.
    "train+validation" is all of them, for a final training. The smaller file has no validation
    split.

    | task | targets |
    |---|---|
    | segmentation | 13 classes, -1 without label |
    | depth | metres along the optical axis, in steps of 1/25.5 m up to 10 m, 0 not measured |
    | normals | derived from that depth with `fit_normals`, not the published ones |

    Normals have the axes of `normals_from_depth`: x to the right, y down, z away from the camera;
    they point to the camera's side of the surface. They are computed when they are first read (half
    a minute) and kept in `cache_dir`.

    Differences:
        li2022 trains at 288x384 with depth that is not rounded and with the normals of Eigen and
        Fergus: errors do not compare with the paper's. `nyuv2` opens the paper's files.

    Args:
        data_dir: Folder of the image sets; None for the environment variable KERAS_UNIVREP_DATA.
        image_size: (height, width) in pixels: (144, 192) or (288, 384).
        tasks: Tasks to open; None for all. Without "normals" none are computed.
        validation: Images to hold out of the training images, at 144x192; at most so many, where
            runs do not add up to the number. 0 for no validation split.
        cache_dir: Folder of the computed normals; None for `keras_univrep/nyu_local` in the folder
            of Keras.

    Returns:
        A `DenseDomain`; its images are read when they are first asked for.

    Raises:
        FileNotFoundError: If there is no folder or the file is missing.
        ValueError: If an argument is out of range, or the file is not what it must be.
        ImportError: If Pillow is not installed.

    Example:

    >>> import os
    >>> if "KERAS_UNIVREP_DATA" in os.environ:
    ...     domain = nyu_local(tasks=("segmentation", "depth"))
    ...     assert domain.size("validation") == 100

    References:
        - Silberman, Hoiem, Kohli and Fergus, Indoor Segmentation and Support Inference from RGBD
          Images, 2012.
        - Li, Liu and Bilen, Universal Representations: A Unified Look at Multiple Task and Domain
          Learning, 2022.
    """
    if tuple(image_size) not in _FILES:
        raise ValueError(
            f"`image_size` must be one of {list(_FILES)}. Received: image_size={image_size}. "
            "Pass one of these."
        )
    chosen = choose_tasks(tasks, _KINDS)
    size = (int(image_size[0]), int(image_size[1]))
    path = local_folder(data_dir, "nyu_local") / "nyuv2" / _FILES[size]
    archive = DenseZip(path, ("train", "test"), ("rgb", "depth", "seg13"), size, "`nyu_local`")
    if cache_dir is None:
        home = os.environ.get("KERAS_HOME") or pathlib.Path.home() / ".keras"
        cache_dir = pathlib.Path(home) / "keras_univrep" / "nyu_local"
    names = _divide(archive, validation if size == (144, 192) else 0)
    read = functools.partial(_read, archive, tuple(chosen), pathlib.Path(cache_dir))
    return DenseDomain(
        name="nyu_local",
        tasks=chosen,
        class_names={"segmentation": NYU_CLASSES} if "segmentation" in chosen else {},
        image_shape=(*size, 3),
        splits=LazySplits({split: functools.partial(read, *part) for split, part in names.items()}),
        description=(
            "Depth is rounded to 1/25.5 m. Normals are derived from the depth, not the published "
            "ones: x right, y down, z away from the camera."
        ),
        licence="none stated; public research data",
        source=NYU_PAGE,
        citation=NYU_CITATION,
    )


def _divide(archive: DenseZip, validation: int) -> dict[str, tuple[str, list[str]]]:
    """Gives each split the split of the archive and the names that it holds."""
    train = archive.names["train"]
    wrong = [name for names in archive.names.values() for name in names if not name.isdigit()]
    if wrong:
        raise ValueError(
            f"Images of '{archive.path}' must be named by their number in NYU Depth V2. Received: "
            f"{wrong[:5]}. Fetch the archive again."
        )
    parts = {"train": ("train", train), "test": ("test", archive.names["test"])}
    if validation:
        train = sorted(train, key=int)
        held = hold_out(runs(np.array([int(name) for name in train])), validation)
        if not held.any():
            raise ValueError(
                "`validation` must be at least the length of the shortest run of training images, "
                f"or 0. Received: validation={validation}. Pass, for example, 100."
            )
        parts["train+validation"] = ("train", train)
        for split, wanted in (("train", False), ("validation", True)):
            parts[split] = (
                "train",
                [name for name, out in zip(train, held.tolist(), strict=True) if out == wanted],
            )
    return parts


def _read(
    archive: DenseZip, tasks: tuple[str, ...], cache: pathlib.Path, split: str, names: list[str]
) -> DenseArrays:
    images = archive.read(split, "rgb", names)
    targets: dict[str, np.ndarray] = {}
    if "segmentation" in tasks:
        labels = archive.read(split, "seg13", names)
        bad = (labels >= len(NYU_CLASSES)) & (labels != _VOID)
        if bad.any():
            number, row, column = (int(axis[0]) for axis in np.nonzero(bad))
            raise ValueError(
                f"Labels of '{archive.path}' must be in [0, {len(NYU_CLASSES)}), or {_VOID} "
                f"without label. Received: {labels[number, row, column]} in image "
                f"'{names[number]}'. Fetch the archive again."
            )
        targets["segmentation"] = np.where(labels == _VOID, -1, labels).astype("int8")
    if "depth" in tasks or "normals" in tasks:
        depth = (archive.read(split, "depth", names) / np.float32(_LEVELS)).astype("float32")
        if "depth" in tasks:
            targets["depth"] = depth[..., None]
        if "normals" in tasks:
            targets["normals"] = _normals(archive, depth, cache, names)
    return images, targets


def _normals(
    archive: DenseZip, depth: np.ndarray, cache: pathlib.Path, names: list[str]
) -> np.ndarray:
    height, width = archive.image_size
    key = f"{_PROTOCOL} {names} {archive.fingerprint}"
    digest = hashlib.sha256(key.encode()).hexdigest()[:12]
    scale = width / 640

    def make() -> dict[str, np.ndarray]:
        fx, fy, cx, cy = (number * scale for number in NYU_CAMERA)
        # The window covers the same part of the scene at either size.
        radius = round(5 * width / 192)
        return {"normals": fit_normals(depth, fx, fy, cx, cy, radius, step=1 / _LEVELS)}

    file = cache / f"normals-{height}x{width}-{len(names)}-{digest}.npz"
    return read_or_make(file, ["normals"], make)[0]
