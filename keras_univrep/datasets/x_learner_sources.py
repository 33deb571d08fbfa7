"""The sources that X-Learner is trained on."""

import pathlib
from collections.abc import Mapping, Sequence

from keras_univrep.datasets.source import Source
from keras_univrep.datasets.source_images import check_image_size
from keras_univrep.datasets.streamed_source import cache_folder
from keras_univrep.datasets.x_learner_folders import open_folder
from keras_univrep.datasets.x_learner_tables import X_LEARNER_SOURCES
from keras_univrep.datasets.x_learner_tfds import open_builder


def x_learner_sources(
    names: Sequence[str],
    data_dir: str | pathlib.Path | None = None,
    folders: Mapping[str, str | pathlib.Path] | None = None,
    image_size: int | tuple[int, int] = 224,
    max_boxes: int = 100,
    resize: str = "square",
    splits: Mapping[str, Mapping[str, str]] | None = None,
    download: bool = False,
    cache_dir: str | pathlib.Path | None = None,
) -> dict[str, dict[str, Source]]:
    """Opens the sources of he2022, table 1, through TensorFlow Datasets or from folders.

    | name | task | builder | layout of a folder |
    |---|---|---|---|
    | imagenet | classification | imagenet2012 | train/CLASS/*.jpg, val/CLASS/*.jpg |
    | inat2021 | classification | i_naturalist2021 | the same |
    | places365 | classification | places365_small | the same |
    | dogs | classification | stanford_dogs | the same |
    | compcars | classification | - | image/MAKE/MODEL/YEAR/*.jpg, and lists of these paths |
    | | | | train_test_split/classification/train.txt and test.txt |
    | coco | detection | coco/2017 | annotations/instances_train2017.json, train2017/*.jpg; |
    | | | | the same with val2017 |
    | objects365 | detection | - | zhiyuan_objv2_train.json, train/patch*/*.jpg; the same with |
    | | | | val |
    | wider_face | detection | wider_face | in COCO's format: annotations/instances_train.json, |
    | | | | train/ with the paths of file_name; the same with val |
    | ade20k | segmentation | - | ADEChallengeData2016: images/training/*.jpg, |
    | | | | annotations/training/*.png, the same with validation; objectInfo150.txt |
    | coco_stuff | segmentation | coco/2017_panoptic | train2017/*.jpg, |
    | | | | stuffthingmaps/train2017/*.png, the same with val2017; labels.txt |

    Splits are "train" and "validation", the official ones; of dogs (by its builder) and compcars
    "train" and "test". A class of compcars is a model. Of coco, groups are left out, and of
    wider_face faces marked invalid.

    A set is resized once, when a split is first read, and then mapped from the disk: ImageNet takes
    190 GB at 224 pixels. Try a part of it first with `splits`.

    Differences:
        he2022 takes Places365-Challenge (8.0M images), here it is Places365-Standard (1.8M), and
        Tsinghua Dogs, which TensorFlow Datasets lacks: its folder, in class folders, is opened with
        `folders={"dogs": ...}`. coco_stuff by its builder has the 133 classes of COCO's panoptic
        task, by its folder the 171 of COCO-Stuff. The builder scene_parse150 is not ade20k: it
        holds the instance annotations of 100 things. How images are resized is not printed.

    Args:
        names: Sources to open, see the table.
        data_dir: Folder of TensorFlow Datasets; None for its default.
        folders: Dict of name to a folder, for sources to read from there.
        image_size: Side, or (height, width), to resize to, in pixels, at least 8.
        max_boxes: Boxes of a detection image; of more the largest stay.
        resize: Of detection images: "square" or "pad", see `detection_source`.
        splits: With a builder, dict of name to a dict of split to an expression of TensorFlow
            Datasets, such as {"imagenet": {"train": "train[:1%]"}}.
        download: Whether builders download and prepare what they lack, where they can.
        cache_dir: Folder of the resized images; None for `keras_univrep/x_learner_sources` in
            KERAS_HOME or `~/.keras`.

    Returns:
        `{task: {name: Source}}`, in the order of `names`.

    Raises:
        ValueError: If an argument is out of range, or a source without a builder lacks its folder.
        FileNotFoundError: If a folder is missing, or a builder has not been prepared.
        ImportError: If TensorFlow Datasets or Pillow is not installed.

    Example:

    >>> import tempfile
    >>> import tensorflow_datasets as tfds
    >>> from keras_univrep.datasets import x_learner_sources
    >>> with tfds.testing.mock_data(num_examples=2):  # random numbers in place of the real ones
    ...     sources = x_learner_sources(
    ...         ["places365"], image_size=32, cache_dir=tempfile.mkdtemp()
    ...     )
    ...     images, labels = sources["classification"]["places365"].arrays("train")
    >>> images.shape, labels.shape
    ((2, 32, 32, 3), (2,))

    References:
        - He et al. X-Learner: learning cross sources and tasks for universal visual representation.
          ECCV 2022.
    """
    size = check_image_size(image_size, resize)
    chosen = list(names)
    unknown = sorted(set(chosen) - set(X_LEARNER_SOURCES))
    if isinstance(names, str) or not chosen or unknown:
        raise ValueError(
            f"`names` must be a list of some of {list(X_LEARNER_SOURCES)}. Received: "
            f"names={names!r}, unknown: {unknown}. Pass these, or open your own with `coco_source`."
        )
    folders, splits = dict(folders or {}), dict(splits or {})
    lost = sorted((set(folders) | set(splits)) - set(chosen)) + sorted(set(folders) & set(splits))
    if lost:
        raise ValueError(
            f"`folders` and `splits` must be of `names`, and of no name both. Received: {lost}. "
            "Leave them out: a folder has its own splits."
        )
    if max_boxes < 1:
        raise ValueError(
            f"`max_boxes` must be at least 1. Received: max_boxes={max_boxes}. Pass, for example, "
            "100."
        )
    cache = cache_folder(cache_dir, "x_learner_sources")
    found: dict[str, dict[str, Source]] = {}
    for name in chosen:
        facts = X_LEARNER_SOURCES[name]
        if name in folders:
            folder = pathlib.Path(folders[name])
            source = open_folder(name, facts, folder, size, max_boxes, resize, cache)
        elif facts.builder is None:
            raise ValueError(
                f"`folders` must name the folder of '{name}', which TensorFlow Datasets does not "
                f"have. Received: folders without it. Fetch it from {facts.source}."
            )
        else:
            expressions = dict(splits.get(name, facts.splits))
            source = open_builder(
                name, facts, expressions, data_dir, download, size, max_boxes, resize, cache
            )
        found.setdefault(facts.task, {})[name] = source
    return found
