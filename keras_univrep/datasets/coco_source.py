"""Makes a detection source of a folder with annotations in the format of COCO."""

import functools
import json
import pathlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from keras_univrep.datasets.detection_examples import BoxRules, Example, detection_examples
from keras_univrep.datasets.source import Source
from keras_univrep.datasets.source_images import check_image_size, decode_image
from keras_univrep.datasets.streamed_source import cache_folder, streamed_source

Split = tuple[str | pathlib.Path, str | pathlib.Path]


def coco_source(
    name: str,
    splits: Mapping[str, Split],
    image_size: int | tuple[int, int] = 64,
    max_boxes: int = 100,
    resize: str = "square",
    cache_dir: str | pathlib.Path | None = None,
    **fields: Any,
) -> Source:
    """Opens a detection set that is annotated in COCO's format, such as COCO or Objects365.

    An annotation file is a JSON object with "images" (id, file_name, height, width), "categories"
    (id, name) and "annotations" (image_id, category_id, bbox, iscrowd), where bbox is (left, top,
    width, height) in pixels. Classes are the categories in the order of their ids, which may have
    gaps. Groups ("iscrowd") are left out. An image without annotations is a negative one and stays.
    What is done with boxes that leave their image, or are too many, says `detection_source`.

    Images are resized once, when a split is first read, and then mapped from the disk.

    Args:
        name: Name of the source.
        splits: Dict of split to (annotation file, folder that the file names, or their last two
            parts, are under). All files have the same categories.
        image_size: Side, or (height, width), to resize to, in pixels, at least 8.
        max_boxes: Boxes of an image; of more the largest stay, with a warning.
        resize: "square" takes each side to its size, "pad" keeps the proportions and fills the
            right or the bottom with black.
        cache_dir: Folder of the resized images, 3 bytes a pixel; None for
            `keras_univrep/coco_source` in KERAS_HOME or `~/.keras`.
        **fields: Further fields of `Source`: `flip`, `description`, `licence`, `source`,
            `citation`.

    Returns:
        A `Source` of the kind "detection".

    Raises:
        FileNotFoundError: If a file or folder is missing.
        ValueError: If an annotation does not fit; the error names source and image.
        ImportError: If Pillow is not installed.

    Example:

    >>> import json, pathlib, tempfile
    >>> from PIL import Image
    >>> from keras_univrep.datasets import coco_source
    >>> root = pathlib.Path(tempfile.mkdtemp())
    >>> Image.new("RGB", (32, 16)).save(root / "1.png")
    >>> content = {
    ...     "images": [{"id": 1, "file_name": "1.png", "height": 16, "width": 32}],
    ...     "categories": [{"id": 7, "name": "cat"}],
    ...     "annotations": [{"image_id": 1, "category_id": 7, "bbox": [8, 4, 8, 8], "iscrowd": 0}],
    ... }
    >>> _ = (root / "train.json").write_text(json.dumps(content))
    >>> source = coco_source("toy", {"train": (root / "train.json", root)}, 16, max_boxes=1,
    ...     cache_dir=root)
    >>> source.class_names, source.arrays("train")[1]["boxes"].tolist()
    (('cat',), [[[4.0, 4.0, 8.0, 12.0]]])

    References:
        - Lin et al., Microsoft COCO: Common Objects in Context, 2014.
        - Shao et al., Objects365: A Large-Scale, High-Quality Dataset for Object Detection, 2019.
    """
    size = check_image_size(image_size, resize)
    if max_boxes < 1:
        raise ValueError(
            f"`max_boxes` must be at least 1. Received: max_boxes={max_boxes}. Pass, for example, "
            "100."
        )
    if not splits:
        raise ValueError(
            "`splits` must name at least one split. Received: none. Pass {'train': (annotation "
            "file, folder of images)}."
        )
    cache = cache_folder(cache_dir, "coco_source")
    parts = {}
    for split, (file, folder) in splits.items():
        file, folder = pathlib.Path(file), pathlib.Path(folder)
        if not file.is_file() or not folder.is_dir():
            raise FileNotFoundError(
                f"Split '{split}' of source '{name}' must be an annotation file and a folder of "
                f"images. Received: '{file}' and '{folder}', not both of which are there. Check "
                "the paths."
            )
        parts[split] = (file, folder)
    class_names = _class_names(name, parts)
    rules = BoxRules(class_names, size, max_boxes, resize, "xywh")
    readers = {
        split: (
            f"{resize} {class_names} {file} {_state(file)} {folder}",
            functools.partial(_examples, name, split, file, folder, rules),
        )
        for split, (file, folder) in parts.items()
    }
    return streamed_source(
        name, "detection", class_names, size, readers, cache, max_boxes, **fields
    )  # fmt: skip


def _state(file: pathlib.Path) -> str:
    return f"{file.stat().st_size} {file.stat().st_mtime_ns}"


def _load(name: str, file: pathlib.Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_bytes())
        good = all(isinstance(found[key], list) for key in ("images", "categories", "annotations"))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"'{file}' of source '{name}' must be a JSON object with 'images', 'categories' and "
            f"'annotations'. Received: {error!r}. Fetch it again."
        ) from error
    if not good:
        raise ValueError(
            f"'{file}' of source '{name}' must have lists of images, categories and annotations. "
            "Received: something else. Fetch it again."
        )
    return found


def _categories(content: dict[str, Any]) -> dict[int, str]:
    return dict(sorted((int(row["id"]), str(row["name"])) for row in content["categories"]))


def _class_names(name: str, parts: dict[str, tuple[pathlib.Path, pathlib.Path]]) -> tuple[str, ...]:
    """Class names, which all annotation files must have."""
    found = {split: _categories(_load(name, file)) for split, (file, _) in parts.items()}
    first = next(iter(found.values()))
    wrong = [split for split, own in found.items() if own != first]
    if wrong or not first:
        raise ValueError(
            f"All splits of source '{name}' must have the same categories, at least one. Received: "
            f"others in {wrong} than in '{next(iter(found))}', which has {len(first)}. Open the "
            "files as several sources."
        )
    return tuple(first.values())


def _examples(
    name: str, split: str, file: pathlib.Path, folder: pathlib.Path, rules: BoxRules
) -> Iterator[Example]:
    content = _load(name, file)
    numbers = {category: number for number, category in enumerate(_categories(content))}
    images = {row["id"]: row for row in content["images"]}
    boxes, labels = defaultdict(list), defaultdict(list)
    for row in content["annotations"]:
        if row["image_id"] not in images or row["category_id"] not in numbers:
            raise ValueError(
                f"Annotations of '{file}' of source '{name}' must be of its images and categories. "
                f"Received: image {row['image_id']}, category {row['category_id']} in annotation "
                f"{row.get('id')}. Fetch the file again."
            )
        if not row.get("iscrowd", 0):
            boxes[row["image_id"]].append(row["bbox"])
            labels[row["image_id"]].append(numbers[row["category_id"]])

    def annotated() -> Iterator[tuple[np.ndarray, Any, Any, str]]:
        for number, row in images.items():
            path = folder / row["file_name"]
            if not path.is_file():
                # Objects365 names images/v1/patch0/NAME.jpg what its archives unpack to patch0.
                shorter = folder.joinpath(*pathlib.PurePosixPath(row["file_name"]).parts[-2:])
                path = shorter if shorter.is_file() else path
            where = f"'{path}' of source '{name}'"
            pixels = decode_image(path, where)
            sides = (row.get("height"), row.get("width"))
            if None not in sides and sides != pixels.shape[:2]:
                raise ValueError(
                    f"{where} must have the (height, width) of its annotation, {sides}. Received: "
                    f"{pixels.shape[:2]}. Boxes would be misplaced: pass the images that were "
                    "annotated."
                )
            yield pixels, boxes[number], labels[number], where

    yield from detection_examples(annotated(), rules, f"split '{split}' of source '{name}'")
