"""`x_learner_sources` opens sources through TensorFlow Datasets and from folders."""

import contextlib
import json
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from keras_univrep.datasets import Source, SourceSequence, x_learner_sources
from keras_univrep.datasets.x_learner_tables import X_LEARNER_SOURCES
from tests.datasets.dense_sets import encoded
from tests.datasets.source_sets import pixels

tfds = pytest.importorskip("tensorflow_datasets")

IMAGES = [pixels(8, 16) for _ in range(3)]


@contextlib.contextmanager
def holding(example: Callable[[int], dict[str, Any]]) -> Iterator[list[str]]:
    """Puts three examples, with encoded images, in place of those of every builder."""
    import tensorflow as tf

    asked: list[str] = []

    def as_dataset(self: Any, split: str, decoders: dict[str, Any], **kwargs: Any) -> Any:
        asked.append(f"{self.info.full_name.split(':')[0].rsplit('/', 1)[0]}:{split}")
        assert set(decoders) == {key for key in self.info.features if key.endswith("image")}
        rows = [example(i) for i in range(3)]
        flat = tf.nest.map_structure(tf.convert_to_tensor, rows[0])
        form = tf.nest.map_structure(
            lambda x: tf.TensorSpec((None, *x.shape[1:]) if x.shape.rank else (), x.dtype), flat
        )
        return tf.data.Dataset.from_generator(lambda: iter(rows), output_signature=form)

    with tfds.testing.mock_data(as_dataset_fn=as_dataset):
        yield asked


def opened(name: str, tmp_path: pathlib.Path, **options: Any) -> Source:
    arguments: dict[str, Any] = {"image_size": (8, 16), "cache_dir": tmp_path / "cache"}
    sources = x_learner_sources([name], **(arguments | options))
    assert list(sources) == [X_LEARNER_SOURCES[name].task]
    return sources[X_LEARNER_SOURCES[name].task][name]


@pytest.mark.parametrize(
    ("name", "builder", "classes"),
    [
        ("imagenet", "imagenet2012", 1000),
        ("places365", "places365_small", 365),
        ("dogs", "stanford_dogs", 120),
    ],
)
def test_classes_of_builders(name: str, builder: str, classes: int, tmp_path: pathlib.Path) -> None:
    def example(i: int) -> dict[str, Any]:
        return {"image": encoded(IMAGES[i]), "label": np.int64(10 * i)}

    with holding(example) as asked:
        source = opened(name, tmp_path, splits={name: {"train": "train[:3]"}})
        assert not asked
        images, labels = source.arrays("train")
        assert asked == [f"{builder}:train[:3]"]
        opened(name, tmp_path, splits={name: {"train": "train[:3]"}}).arrays("train")
        assert len(asked) == 1  # The cache is read.
    np.testing.assert_array_equal(images, IMAGES)
    assert labels.tolist() == [0, 10, 20] and source.channels == classes
    assert source.licence and source.citation


def detected(i: int) -> dict[str, Any]:
    boxes = np.array([[0.25, 0.5, 0.75, 1.0], [0, 0, 1, 1]], "float32")[: 2 if i else 0]
    objects = {"bbox": boxes, "label": np.array([5, 7])[: len(boxes)]}
    return {"image": encoded(IMAGES[i]), "image/filename": f"{i}.jpg", "objects": objects}


def test_boxes_of_coco_without_groups(tmp_path: pathlib.Path) -> None:
    def example(i: int) -> dict[str, Any]:
        found = detected(i)
        found["objects"]["is_crowd"] = np.array([False, i == 2])[: 2 if i else 0]
        return found

    with holding(example) as asked:
        source = opened("coco", tmp_path, max_boxes=3)
        targets = source.arrays("validation")[1]
        assert asked == ["coco/2017:validation"]
    assert source.channels == 80
    assert targets["labels"].tolist() == [[-1, -1, -1], [5, 7, -1], [5, -1, -1]]
    # 8 x 16 pixels: (top, left, bottom, right) of the file become (left, top, right, bottom).
    np.testing.assert_allclose(targets["boxes"][1, :2], [[8, 2, 16, 6], [0, 0, 16, 8]])


def test_faces_without_invalid_ones(tmp_path: pathlib.Path) -> None:
    def example(i: int) -> dict[str, Any]:
        objects = detected(i)["objects"]
        faces = {"bbox": objects["bbox"], "invalid": np.array([True, False])[: 2 if i else 0]}
        return {"image": encoded(IMAGES[i]), "image/filename": "x", "faces": faces}

    with holding(example):
        source = opened("wider_face", tmp_path, max_boxes=1)
        targets = source.arrays("train")[1]
    assert source.class_names == ("face",)
    assert targets["labels"].tolist() == [[-1], [0], [0]]
    np.testing.assert_allclose(targets["boxes"][1], [[0, 0, 16, 8]])


def test_panoptic_colours_become_classes(tmp_path: pathlib.Path) -> None:
    number = np.array([[3 + 256 * 2, 65536], [9, 9]]).repeat(4, 0).repeat(8, 1)
    colours = np.stack([number % 256, number // 256 % 256, number // 65536], -1).astype("uint8")

    def example(i: int) -> dict[str, Any]:
        objects = {"id": np.array([515, 65536]), "label": np.array([132, i])}
        return {
            "image": encoded(IMAGES[i]),
            "panoptic_image": encoded(colours),
            "panoptic_objects": objects,
        }

    with holding(example) as asked:
        source = opened("coco_stuff", tmp_path)
        images, labels = source.arrays("train")
        assert asked == ["coco/2017_panoptic:train"]
    assert source.channels == 133
    for i in range(3):
        expected = np.array([[132, i], [-1, -1]]).repeat(4, 0).repeat(8, 1)
        np.testing.assert_array_equal(labels[i], expected)
    np.testing.assert_array_equal(images, IMAGES)


def test_a_builder_without_its_files_says_what_to_do(tmp_path: pathlib.Path) -> None:
    try:
        tfds.builder("i_naturalist2021")
    except (OSError, RuntimeError):
        with pytest.raises(FileNotFoundError, match=r"`folders=\{'inat2021': ...\}`"):
            opened("inat2021", tmp_path)
    else:
        assert opened("inat2021", tmp_path).channels == 10_000


def test_a_builder_that_is_not_prepared_says_what_to_do(tmp_path: pathlib.Path) -> None:
    source = opened("places365", tmp_path, data_dir=tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="Source 'places365' must have been prepared"):
        source.arrays("train")


def save(path: pathlib.Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Losslessly, whatever the suffix says.
    path.write_bytes(encoded(image))


@pytest.mark.parametrize("name", ["imagenet", "inat2021", "places365", "dogs"])
def test_class_folders(name: str, tmp_path: pathlib.Path) -> None:
    for i, file in enumerate(("train/b/1.jpg", "train/a/2.JPG", "val/b/3.png")):
        save(tmp_path / file, IMAGES[i])
    source = opened(name, tmp_path, folders={name: tmp_path})
    assert source.class_names == ("a", "b") and sorted(source.splits) == ["train", "validation"]
    images, labels = source.arrays("train")
    np.testing.assert_array_equal(images, [IMAGES[1], IMAGES[0]])
    assert labels.tolist() == [0, 1] and source.arrays("validation")[1].tolist() == [1]
    save(tmp_path / "val/c/4.png", IMAGES[0])
    with pytest.raises(
        ValueError, match=f"of source '{name}' must hold .*unknown classes \\['c'\\]"
    ):
        opened(name, tmp_path, folders={name: tmp_path})


def test_compcars(tmp_path: pathlib.Path) -> None:
    files = ["78/1/2014/a.jpg", "5/22/2010/b.jpg", "78/1/2011/c.jpg"]
    for file, image in zip(files, IMAGES, strict=True):
        save(tmp_path / "image" / file, image)
    lists = tmp_path / "train_test_split/classification"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("\n".join(files[:2]) + "\n")
    (lists / "test.txt").write_text(files[2] + "\n")
    source = opened("compcars", tmp_path, folders={"compcars": tmp_path})
    assert source.class_names == ("5/22", "78/1")
    images, labels = source.arrays("train")
    np.testing.assert_array_equal(images, IMAGES[:2])
    assert labels.tolist() == [1, 0] and source.arrays("test")[1].tolist() == [1]
    (lists / "test.txt").write_text("9/9/2011/c.jpg\n")
    with pytest.raises(ValueError, match="must list MAKE/MODEL/YEAR/NAME.jpg .*'9/9/2011/c.jpg'"):
        opened("compcars", tmp_path, folders={"compcars": tmp_path})
    (lists / "test.txt").write_text("78/1/2011/lost.jpg\n")
    source = opened("compcars", tmp_path, folders={"compcars": tmp_path})
    with pytest.raises(ValueError, match="lost.jpg' of source 'compcars' must be a whole image"):
        source.arrays("test")


def write_coco(file: pathlib.Path, name: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "images": [{"id": 1, "file_name": name, "height": 8, "width": 16}],
        "categories": [{"id": 3, "name": "lamp"}],
        "annotations": [{"image_id": 1, "category_id": 3, "bbox": [2, 2, 8, 4]}],
    }
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("name", "file", "image"),
    [
        ("coco", "annotations/instances_train2017.json", "train2017/1.jpg"),
        ("objects365", "zhiyuan_objv2_train.json", "train/images/v1/patch0/1.jpg"),
        ("objects365", "zhiyuan_objv2_train.json", "train/patch0/1.jpg"),
        ("wider_face", "annotations/instances_train.json", "train/0--Parade/1.jpg"),
    ],
)
def test_folders_in_the_format_of_coco(
    name: str, file: str, image: str, tmp_path: pathlib.Path
) -> None:
    save(tmp_path / image, IMAGES[0])
    named = image.split("/", 1)[1]
    write_coco(tmp_path / file, f"images/v1/{named}" if named.startswith("patch") else named)
    source = opened(name, tmp_path, folders={name: tmp_path}, max_boxes=1)
    assert source.class_names == ("lamp",) and list(source.splits) == ["train"]
    assert source.arrays("train")[1]["boxes"].tolist() == [[[2, 2, 10, 6]]]


def test_ade20k(tmp_path: pathlib.Path) -> None:
    rows = ["Idx\tRatio\tTrain\tVal\tStuff\tName", "1\t0.1\t5\t6\t1\twall", "2\t0.1\t5\t6\t1\tsky"]
    (tmp_path / "objectInfo150.txt").write_text("\n".join(rows))
    values = np.tile(np.array([0, 1, 2, 2], "uint8"), (8, 4))
    save(tmp_path / "images/training/1.jpg", IMAGES[0])
    save(tmp_path / "annotations/training/1.png", values)
    source = opened("ade20k", tmp_path, folders={"ade20k": tmp_path})
    assert source.class_names == ("wall", "sky")
    np.testing.assert_array_equal(source.arrays("train")[1][0], values.astype(int) - 1)
    batch = SourceSequence({"segmentation": {"ade20k": source}}, "train", 1, training=True)[0]
    assert batch[1]["segmentation"]["ade20k"].shape == (1, 8, 16)


def test_coco_stuff_in_a_folder(tmp_path: pathlib.Path) -> None:
    names = "\n".join(f"{i}: class {i}" for i in range(183))
    (tmp_path / "labels.txt").write_text(names)
    values = np.tile(np.array([0, 181, 255, 12], "uint8"), (8, 4))
    save(tmp_path / "train2017/1.jpg", IMAGES[0])
    save(tmp_path / "stuffthingmaps/train2017/1.png", values)
    source = opened("coco_stuff", tmp_path, folders={"coco_stuff": tmp_path})
    assert source.channels == 171
    labels = source.arrays("train")[1][0, 0, :4].tolist()
    assert [source.class_names[i] for i in labels if i >= 0] == ["class 1", "class 182", "class 13"]
    assert labels[2] == -1
    # Number 12 is no class of COCO: no pixel may be 11.
    save(tmp_path / "stuffthingmaps/train2017/1.png", np.full((8, 16), 11, "uint8"))
    source = opened(
        "coco_stuff", tmp_path, folders={"coco_stuff": tmp_path}, cache_dir=tmp_path / "b"
    )
    with pytest.raises(ValueError, match=r"Received: \[11\]"):
        source.arrays("train")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"names": ["voc"]}, r"unknown: \['voc'\]"),
        ({"names": "coco"}, "`names` must be a list"),
        ({"names": ["objects365"]}, "`folders` must name the folder of 'objects365'"),
        ({"names": ["coco"], "folders": {"dogs": "x"}}, r"Received: \['dogs'\]"),
        (
            {"names": ["coco"], "folders": {"coco": "x"}, "splits": {"coco": {}}},
            "of no name both",
        ),
        ({"names": ["coco"], "max_boxes": 0}, "`max_boxes` must be at least 1"),
        ({"names": ["coco"], "image_size": 2}, "`image_size` must be a side"),
    ],
)
def test_wrong_arguments_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        x_learner_sources(**options)


def test_absent_folders_are_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"`folders\['coco'\]` must be a folder"):
        opened("coco", tmp_path, folders={"coco": tmp_path / "none"})
    with pytest.raises(FileNotFoundError, match="must hold source 'ade20k' as"):
        opened("ade20k", tmp_path, folders={"ade20k": tmp_path})
    for split in ("images", "annotations"):
        (tmp_path / split / "training").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="no file 'objectInfo150.txt'"):
        opened("ade20k", tmp_path, folders={"ade20k": tmp_path})


def test_the_table_is_that_of_the_paper() -> None:
    tasks = [facts.task for facts in X_LEARNER_SOURCES.values()]
    assert [tasks.count(t) for t in ("classification", "detection", "segmentation")] == [5, 3, 2]
    builders = {f.builder.split("/")[0] for f in X_LEARNER_SOURCES.values() if f.builder}
    assert builders <= set(tfds.list_builders())
    # What has no builder.
    assert not {"ade20k", "coco_stuff", "objects365", "compcars"} & set(tfds.list_builders())
