"""Reads the detection sets of `sources_local`."""

import dataclasses
import functools
import json
import pathlib
import re
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from keras_univrep.datasets.detection_examples import BoxRules, Example, detection_examples
from keras_univrep.datasets.hold_out import hold_out
from keras_univrep.datasets.source import Source
from keras_univrep.datasets.source_images import decode_image
from keras_univrep.datasets.streamed_source import streamed_source
from keras_univrep.datasets.zip_fingerprint import zip_fingerprint

# Member of the zip file, boxes, labels.
Annotated = list[tuple[str, Any, Any]]
# Neighbouring numbers of pennfudan show one street.
_BLOCK = 5


@dataclasses.dataclass(frozen=True)
class _Content:
    class_names: tuple[str, ...]
    box_format: str
    splits: dict[str, Annotated]


def _coco128(file: zipfile.ZipFile) -> _Content:
    text = file.read("config/object_detection_config.yaml").decode()
    names = dict(re.findall(r"^  (\d+): (.+)$", text, re.MULTILINE))
    members = set(file.namelist())
    parts: dict[str, Annotated] = {}
    for part in ("train2017", "val2017"):
        parts[part] = []
        for image in sorted(m for m in members if re.fullmatch(rf"images/{part}/[^/]+\.jpg", m)):
            # An image without objects has an empty file, or none.
            own = image.replace("images/", "object_detection/").replace(".jpg", ".txt")
            rows = file.read(own).decode().split("\n") if own in members else []
            numbers = [[float(number) for number in row.split()] for row in rows if row.strip()]
            labels = [int(row[0]) for row in numbers]
            parts[part].append((image, [row[1:] for row in numbers], labels))
    train = parts["train2017"]
    held = hold_out(np.arange(len(train)), round(len(train) * 28 / 128))
    return _Content(
        tuple(names[str(number)] for number in range(len(names))),
        "rel_center_xywh",
        {**_part(train, {"train": ~held, "validation": held}), "test": parts["val2017"]},
    )


def _pennfudan(file: zipfile.ZipFile) -> _Content:
    boxes = json.loads(file.read("boxes_xyxy.json"))
    images = [(f"images/{name}.jpg", own, [0] * len(own)) for name, own in sorted(boxes.items())]
    groups = np.arange(len(images)) // _BLOCK
    test = hold_out(groups, len(images) * 4 // 17)
    rest = np.flatnonzero(~test)
    validation = np.zeros_like(test)
    validation[rest[hold_out(groups[rest], len(images) * 2 // 17)]] = True
    masks = {"train": ~test & ~validation, "validation": validation, "test": test}
    return _Content(("person",), "xyxy", _part(images, masks))


def _bccd(file: zipfile.ZipFile) -> _Content:
    found = json.loads(file.read("annotations.json"))
    names = ("RBC", "WBC", "Platelets")
    splits: dict[str, Annotated] = {}
    for split, part in (("train", "train"), ("validation", "val"), ("test", "test")):
        splits[split] = []
        for image in found["splits"][part]:
            own = found["boxes_xyxy_320x240"][image]
            labels = [names.index(row[0]) for row in own]
            splits[split].append((f"images/{image}.jpg", [row[1:] for row in own], labels))
    return _Content(names, "xyxy", splits)


def _part(images: Annotated, masks: dict[str, np.ndarray]) -> dict[str, Annotated]:
    return {split: [images[i] for i in np.flatnonzero(mask)] for split, mask in masks.items()}


@dataclasses.dataclass(frozen=True)
class _Set:
    file: str
    read: Callable[[zipfile.ZipFile], _Content]
    licence: str
    source: str
    citation: str


DETECTION_SETS = {
    "coco128": _Set(
        "coco128/coco128_320.zip",
        _coco128,
        "annotations CC BY 4.0; images: licences of Flickr, one by one",
        "https://github.com/lightly-ai/coco128_yolo",
        "T.-Y. Lin, M. Maire, S. Belongie, J. Hays, P. Perona, D. Ramanan, P. Dollar, C. L. "
        "Zitnick. Microsoft COCO: Common Objects in Context. ECCV, 2014.",
    ),
    "pennfudan": _Set(
        "pennfudan/pennfudan_half.zip",
        _pennfudan,
        "none stated; public research data",
        "https://github.com/gmguarino/PennFudan",
        "L. Wang, J. Shi, G. Song, I. Shen. Object Detection Combining Recognition and "
        "Segmentation. ACCV, 2007.",
    ),
    "bccd": _Set(
        "bccd/bccd_320.zip",
        _bccd,
        "MIT",
        "https://github.com/Shenggan/BCCD_Dataset",
        "Shenggan. BCCD Dataset: Blood Cell Count and Detection. 2017.",
    ),
}


def detection_local(
    name: str,
    folder: pathlib.Path,
    image_size: tuple[int, int],
    resize: str,
    max_boxes: int | None,
    cache_dir: pathlib.Path,
) -> Source:
    """Opens a detection set of `sources_local`.

    Args:
        name: One of `DETECTION_SETS`.
        folder: Folder of the image sets.
        image_size: (height, width) to resize to, in pixels.
        resize: "square" or "pad".
        max_boxes: Boxes of an image; None for the most of any image of the set.
        cache_dir: Folder of the prepared arrays.

    Returns:
        A `Source` with the splits "train", "validation" and "test".

    Raises:
        FileNotFoundError: If the file is missing.
        ValueError: If the file is not the set's.
    """
    facts = DETECTION_SETS[name]
    path = folder / facts.file
    fingerprint = zip_fingerprint(path, name)
    try:
        with zipfile.ZipFile(path) as file:
            content = facts.read(file)
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise ValueError(
            f"'{path}' must hold the set '{name}'. Received: {error!r}. Fetch it again."
        ) from error
    if max_boxes is None:
        every = [labels for images in content.splits.values() for _, _, labels in images]
        max_boxes = max([1, *map(len, every)])
    rules = BoxRules(content.class_names, image_size, max_boxes, resize, content.box_format)
    identity = f"{resize} {fingerprint}"
    return streamed_source(
        name,
        "detection",
        content.class_names,
        image_size,
        {
            split: (identity, functools.partial(_examples, path, images, rules, name, split))
            for split, images in content.splits.items()
        },
        cache_dir,
        max_boxes,
        licence=facts.licence,
        source=facts.source,
        citation=facts.citation,
    )


def _examples(
    path: pathlib.Path, images: Annotated, rules: BoxRules, name: str, split: str
) -> Iterator[Example]:
    def annotated() -> Iterator[tuple[np.ndarray, Any, Any, str]]:
        with zipfile.ZipFile(path) as file:
            members = set(file.namelist())
            for member, boxes, labels in images:
                where = f"'{member}' of source '{name}' ('{path}')"
                content = file.read(member) if member in members else b""
                yield decode_image(content, where), boxes, labels, where

    yield from detection_examples(annotated(), rules, f"split '{split}' of source '{name}'")
