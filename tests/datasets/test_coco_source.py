"""`coco_source` reads annotations in COCO's format."""

import json
import pathlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from keras_univrep.datasets import Source, coco_source
from tests.datasets.source_sets import pixels


def content() -> dict[str, Any]:
    """Three images of 20 x 40 pixels: two boxes and a group, none, and one that leaves it."""
    images = [
        {"id": 30 + i, "file_name": f"part/{i}.png", "height": 20, "width": 40} for i in range(3)
    ]
    rows = [(30, 9, [4, 5, 8, 10], 0), (30, 2, [0, 0, 40, 20], 0), (30, 2, [0, 0, 9, 9], 1)]
    rows.append((32, 9, [30, 10, 20, 20], 0))
    keys = ("image_id", "category_id", "bbox", "iscrowd")
    return {
        "images": images,
        # Ids have gaps and no order.
        "categories": [{"id": 9, "name": "dog"}, {"id": 2, "name": "cat"}],
        "annotations": [{"id": i, **dict(zip(keys, row))} for i, row in enumerate(rows)],
    }


def write(root: pathlib.Path, found: dict[str, Any], name: str = "train") -> pathlib.Path:
    (root / "images/part").mkdir(parents=True, exist_ok=True)
    for i in range(3):
        if not (root / f"images/part/{i}.png").exists():
            Image.fromarray(pixels(20, 40)).save(root / f"images/part/{i}.png")
    file = root / f"{name}.json"
    file.write_text(json.dumps(found))
    return file


def opened(root: pathlib.Path, found: dict[str, Any], **options: Any) -> Source:
    splits = {"train": (write(root, found), root / "images")}
    arguments: dict[str, Any] = {"image_size": 10, "max_boxes": 2, "cache_dir": root / "cache"}
    return coco_source("toy", splits, **(arguments | options))


def test_boxes_classes_and_groups(tmp_path: pathlib.Path) -> None:
    source = opened(tmp_path, content(), image_size=(10, 20), licence="CC BY 4.0")
    assert source.class_names == ("cat", "dog") and source.licence == "CC BY 4.0"
    images, targets = source.arrays("train")
    assert images.shape == (3, 10, 20, 3)
    assert targets["labels"].tolist() == [[1, 0], [-1, -1], [1, -1]]
    expected = [[2, 2.5, 6, 7.5], [0, 0, 20, 10]]
    np.testing.assert_allclose(targets["boxes"][0], expected)
    np.testing.assert_allclose(targets["boxes"][2, 0], [15, 5, 20, 10])


def test_all_splits_have_the_same_classes(tmp_path: pathlib.Path) -> None:
    other = content() | {"categories": [{"id": 2, "name": "cat"}], "annotations": []}
    splits = {
        split: (write(tmp_path, found, split), tmp_path / "images")
        for split, found in (("train", content()), ("test", other))
    }
    with pytest.raises(ValueError, match=r"'toy' must have the same categories.*\['test'\]"):
        coco_source("toy", splits, cache_dir=tmp_path)


def test_a_changed_annotation_is_read_again(tmp_path: pathlib.Path) -> None:
    assert (opened(tmp_path, content()).arrays("train")[1]["labels"] >= 0).sum() == 3
    changed = content()
    del changed["annotations"][0]
    assert (opened(tmp_path, changed).arrays("train")[1]["labels"] >= 0).sum() == 2


def annotation(**changes: Any) -> dict[str, Any]:
    found = content()
    found["annotations"][0] |= changes
    return found


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (annotation(image_id=7), r"train.json' of source 'toy' .*image 7, category 9"),
        (annotation(category_id=1), "of source 'toy' .*image 30, category 1 in annotation 0"),
        (annotation(bbox=[4, 5, -8, 10]), "0.png' of source 'toy' .*format 'xywh'"),
        (annotation(bbox=[4, 5, 8]), "0.png' of source 'toy' .*one label for each box"),
        (
            content() | {"images": [{"id": 30, "file_name": "x.png"}], "annotations": []},
            "x.png' of source 'toy' must be a whole image file",
        ),
        (
            content()
            | {"images": content()["images"][:1] + [content()["images"][2] | {"width": 41}]},
            r"2.png' of source 'toy' must have the \(height, width\) .*Received: \(20, 40\)",
        ),
    ],
)
def test_wrong_annotations_are_refused_by_file(
    tmp_path: pathlib.Path, found: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        opened(tmp_path, found).arrays("train")


def test_other_files_are_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match="must be a JSON object with 'images'"):
        opened(tmp_path, {"images": []})
    with pytest.raises(ValueError, match="at least one"):
        opened(tmp_path, content() | {"categories": []})
    with pytest.raises(FileNotFoundError, match="Split 'train' of source 'toy'"):
        coco_source("toy", {"train": (tmp_path / "none.json", tmp_path)})
    with pytest.raises(ValueError, match="`max_boxes` must be at least 1"):
        opened(tmp_path, content(), max_boxes=0)
    with pytest.raises(ValueError, match="`splits` must name at least one"):
        coco_source("toy", {})
