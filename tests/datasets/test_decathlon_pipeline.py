"""`decathlon_pipeline` prepares what TensorFlow Datasets holds as the papers' code does."""

import contextlib
import importlib.resources
import importlib.resources.abc
import io
import itertools
import json
import pathlib
import sys
import tarfile
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from keras_univrep.datasets import decathlon_pipeline, visual_decathlon

tfds = pytest.importorskip("tensorflow_datasets")

RNG = np.random.default_rng(0)


@contextlib.contextmanager
def holding(images: list[np.ndarray], labels: list[int] | None = None) -> Iterator[None]:
    """Puts images, losslessly encoded, in place of those of every domain and split."""
    import tensorflow as tf

    labels = list(range(len(images))) if labels is None else labels
    encoded = np.array([tf.io.encode_png(image).numpy() for image in images], object)

    def as_dataset(
        self: Any, split: str, decoders: dict[str, Any], **kwargs: Any
    ) -> "tf.data.Dataset":
        assert set(decoders) == {"image"}
        numbers = range(1, 1 + len(images))
        names = [f"{self.builder_config.name}/{split}/{i:06d}.jpg" for i in numbers]
        return tf.data.Dataset.from_tensor_slices(
            {
                "image": tf.constant(encoded, tf.string),
                "label": np.array(labels, "int64"),
                "name": tf.constant(names, tf.string),
            }
        )

    with tfds.testing.mock_data(as_dataset_fn=as_dataset):
        yield


def read(count: int | None = None, **arguments: Any) -> list[tuple[np.ndarray, ...]]:
    return list(itertools.islice(decathlon_pipeline(**arguments).as_numpy_iterator(), count))


def pixels(name: str, images: np.ndarray) -> np.ndarray:
    """Undoes the normalisation."""
    domain = visual_decathlon()[name]
    values = (images * np.array(domain.std) + np.array(domain.mean)) * 255
    np.testing.assert_allclose(values, values.round(), atol=1e-2)
    return values.round().astype("int64")


def marked(count: int, height: int = 72, width: int = 80) -> list[np.ndarray]:
    """Images whose pixels tell their row (red) and column (green)."""
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    return [
        np.stack([rows, columns, np.full_like(rows, i)], -1).astype("uint8") for i in range(count)
    ]


def corners(name: str, images: np.ndarray) -> np.ndarray:
    """(top, left, mirrored) of crops of `marked` images, which must be whole crops."""
    found = []
    for crop in pixels(name, images):
        top, left = crop[..., 0].min(), crop[..., 1].min()
        mirrored = crop[0, 0, 1] > crop[0, 1, 1]
        side = len(crop)
        columns = left + np.arange(side)
        np.testing.assert_array_equal(crop[:, 0, 0], top + np.arange(side))
        np.testing.assert_array_equal(crop[0, :, 1], columns[::-1] if mirrored else columns)
        found.append((top, left, mirrored))
    return np.array(found)


@pytest.mark.parametrize(
    ("name", "preset"),
    [(name, "rebuffi2018") for name in visual_decathlon()]
    + [(name, "li2022") for name in ("imagenet12", "aircraft", "svhn")],
)
def test_every_domain_of_tensorflow_datasets_can_be_read(name: str, preset: str) -> None:
    domain = visual_decathlon(preset)[name]
    with tfds.testing.mock_data(num_examples=3):
        assert tfds.builder(f"visual_domain_decathlon/{name}").info.features[
            "label"
        ].num_classes == (domain.num_classes)
        for training, sizes in ((False, [2, 1]), (True, [2, 2])):
            batches = read(
                2, name=name, split="train", batch_size=2, training=training, preset=preset
            )
            assert [len(labels) for _, labels in batches] == sizes
            for images, labels in batches:
                assert images.shape == (len(labels), *domain.image_shape)
                assert images.dtype == np.float32 and labels.dtype == np.int32
                assert np.isfinite(images).all()


@pytest.mark.parametrize(("height", "width"), [(72, 72), (72, 121), (85, 72), (72, 123)])
def test_evaluation_crops_the_centre_and_normalises(height: int, width: int) -> None:
    images = [RNG.integers(0, 256, (height, width, 3)).astype("uint8") for _ in range(3)]
    with holding(images):
        batches = read(name="cifar100", split="validation", batch_size=2)
    top, left = (round((side - 64) / 2) for side in (height, width))
    crops = np.stack(images)[:, top : top + 64, left : left + 64] / 255.0
    mean, std = (0.50705882, 0.48666667, 0.44078431), (0.26745098, 0.25647059, 0.27607843)
    expected = (crops - np.array(mean)) / np.array(std)
    np.testing.assert_allclose(np.concatenate([x for x, _ in batches]), expected, atol=1e-5)
    assert np.concatenate([y for _, y in batches]).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("name", "preset", "sides", "wanted"),
    [
        ("aircraft", "rebuffi2018", (100, 150), (72, 108)),
        ("aircraft", "rebuffi2018", (150, 101), (106, 72)),
        ("aircraft", "li2022", (72, 108), (72, 72)),
        ("daimlerpedcls", "li2022", (144, 72), (72, 72)),
        ("ucf101", "li2022", (30, 40), (72, 96)),
    ],
)
def test_other_sizes_are_resized_as_pillow_resizes(
    name: str, preset: str, sides: tuple[int, int], wanted: tuple[int, int]
) -> None:
    smooth = np.cumsum(RNG.integers(-9, 10, (*sides, 3)), axis=0) % 256
    image = smooth.astype("uint8")
    resized = Image.fromarray(image).resize(wanted[::-1], Image.Resampling.BILINEAR)
    top, left = (round((side - 64) / 2) for side in wanted)
    expected = np.asarray(resized, "int64")[top : top + 64, left : left + 64]
    with holding([image]):
        ((images, _),) = read(name=name, split="train", batch_size=1, preset=preset)
    assert np.abs(pixels(name, images)[0] - expected).max() <= 1


def test_training_crops_and_mirrors_at_random() -> None:
    with holding(marked(8)):
        batches = read(40, name="dtd", split="train", batch_size=8, training=True)
    found = corners("dtd", np.concatenate([images for images, _ in batches]))
    assert np.unique(found[:, 0]).tolist() == list(range(9))
    assert np.unique(found[:, 1]).tolist() == list(range(17))
    # 320 fair draws: five deviations from a half are 0.14.
    assert abs(found[:, 2].mean() - 0.5) < 0.14


@pytest.mark.parametrize("name", ["gtsrb", "omniglot", "svhn"])
def test_upright_domains_are_never_mirrored(name: str) -> None:
    with holding(marked(8)):
        whole, cropped = (
            read(10, name=name, split="train", batch_size=8, training=True, preset=preset)
            for preset in ("rebuffi2018", "li2022")
        )
    for images, _ in whole:
        assert (corners(name, images) == [0, 4, 0]).all()
    found = np.concatenate([corners(name, images) for images, _ in cropped])
    assert not found[:, 2].any() and len(np.unique(found[:, 0])) == 9


def test_a_seed_gives_the_same_batches_each_time_and_another_seed_others() -> None:
    arguments = {"name": "dtd", "split": "train", "batch_size": 4, "training": True}
    with holding(marked(6)):
        dataset = decathlon_pipeline(**arguments, seed=3)
        one, again = (list(itertools.islice(dataset.as_numpy_iterator(), 5)) for _ in range(2))
        keras.utils.set_random_seed(7)  # The global seeds have no say.
        anew, other = read(5, **arguments, seed=3), read(5, **arguments, seed=4)
    for first, second, third in zip(one, again, anew, strict=True):
        for a, b, c in zip(first, second, third, strict=True):
            np.testing.assert_array_equal(a, b)
            np.testing.assert_array_equal(a, c)
    assert any((a != b).any() for (a, _), (b, _) in zip(one, other, strict=True))


def test_each_pass_gives_every_image_once_in_another_order() -> None:
    with holding(marked(20)):
        batches = read(12, name="dtd", split="train", batch_size=5, training=True)
    passes = np.concatenate([labels for _, labels in batches]).reshape(3, 20)
    np.testing.assert_array_equal(np.sort(passes, axis=1), np.tile(np.arange(20), (3, 1)))
    assert len({tuple(one) for one in passes} | {tuple(range(20))}) == 4


def test_blocks_are_shuffled_where_the_buffer_is_smaller_than_the_split() -> None:
    arguments = {"name": "dtd", "split": "train", "batch_size": 20, "training": True}
    with holding(marked(20)):
        batches = read(2, **arguments, shuffle_buffer=8)
    orders = [labels.tolist() for _, labels in batches]
    for order in orders:
        assert [sorted(part) for part in (order[:8], order[8:16], order[16:])] == [
            list(range(8)),
            list(range(8, 16)),
            list(range(16, 20)),
        ]
        assert [label % 8 for label in order[:8]] != [label % 8 for label in order[8:16]]
    assert orders[0] != orders[1] != list(range(20))


def test_an_empty_split_cannot_train() -> None:
    with holding([], labels=[]), pytest.raises(ValueError, match="empty split"):
        decathlon_pipeline("dtd", "train", 2, training=True)


def test_a_resumed_training_goes_on_where_it_stopped() -> None:
    arguments = {"name": "dtd", "split": "train", "batch_size": 4, "training": True}
    with holding(marked(6)):
        whole = read(9, **arguments)
        resumed = read(4, **arguments, first_step=5)
    for (a, la), (b, lb) in zip(whole[5:], resumed, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(la, lb)


def test_test_batches_come_in_order_with_names_and_without_labels() -> None:
    with holding(marked(5), labels=[-1] * 5):
        batches = read(name="svhn", split="test", batch_size=3, with_names=True)
    names = np.concatenate([names for _, _, names in batches])
    assert [visual_decathlon()["svhn"].image_id(name) for name in names] == list(
        range(80273258, 80273263)
    )
    blue = np.concatenate([pixels("svhn", images)[:, 0, 0, 2] for images, _, _ in batches])
    assert blue.tolist() == [0, 1, 2, 3, 4]
    assert np.concatenate([labels for _, labels, _ in batches]).tolist() == [-1] * 5


def test_shapes_and_lengths_are_known_before_reading() -> None:
    import tensorflow as tf

    with holding(marked(5)):
        training = decathlon_pipeline("dtd", "train", 2, training=True)
        evaluation = decathlon_pipeline("dtd", "validation", 2)
    assert training.element_spec[0].shape.as_list() == [2, 64, 64, 3]
    assert evaluation.element_spec[0].shape.as_list() == [None, 64, 64, 3]
    assert int(training.cardinality()) == tf.data.INFINITE_CARDINALITY
    assert int(evaluation.cardinality()) == 3


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("name", "cifar10", "`name` must be a domain of the Visual Decathlon"),
        ("preset", "paper", "`preset` must be one of"),
        ("batch_size", 0, "`batch_size` must be an integer of at least 1"),
        ("seed", -1, "`seed` must be an integer of at least 0"),
        ("first_step", 1.5, "`first_step` must be an integer of at least 0"),
        ("shuffle_buffer", 0, "`shuffle_buffer` must be an integer of at least 1"),
    ],
)
def test_arguments_out_of_range_are_refused(argument: str, value: Any, message: str) -> None:
    arguments: dict[str, Any] = {"name": "dtd", "split": "train", "batch_size": 2}
    with pytest.raises(ValueError, match=message):
        decathlon_pipeline(**{**arguments, argument: value})


def test_a_domain_that_was_never_prepared_says_how(tmp_path: pathlib.Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"must have been prepared.*`download=True`"):
        decathlon_pipeline("dtd", "train", 2, data_dir=tmp_path)


def test_without_tensorflow_datasets_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ImportError, match=r"pip install keras_univrep\[data\]"):
        decathlon_pipeline("dtd", "train", 2)


def write_archive(folder: pathlib.Path) -> list[pathlib.Path]:
    """Writes the official download of "dtd", with images of one grey level each, 10, 20, ..."""
    annotations = folder / "kit" / "decathlon-1.0" / "annotations"
    annotations.mkdir(parents=True)
    (folder / "data").mkdir()
    categories = [{"id": 40000001 + label, "name": str(label)} for label in range(47)]
    number = 0
    with tarfile.open(folder / "data" / "dtd.tar", "w") as archive:
        for split, count in (("train", 6), ("val", 4), ("test", 5)):
            images, labels = [], []
            for i in range(1, count + 1):
                number += 1
                buffer = io.BytesIO()
                Image.new("RGB", (80, 72), (10 * number,) * 3).save(buffer, "JPEG")
                entry = tarfile.TarInfo(f"dtd/{split}/{i:06d}.jpg")
                entry.size = buffer.tell()
                buffer.seek(0)
                archive.addfile(entry, buffer)
                images.append({"id": number, "file_name": f"data/{entry.name}"})
                labels.append({"image_id": number, "category_id": 40000001 + number})
            content = {"images": images, "categories": categories}
            suffix = "_stripped" if split == "test" else ""
            content |= {} if suffix else {"annotations": labels}
            (annotations / f"dtd_{split}{suffix}.json").write_text(json.dumps(content))
    return [folder / "kit", folder / "data"]


def test_what_was_downloaded_is_prepared_and_read(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_archive(tmp_path)
    monkeypatch.setattr(
        tfds.download.DownloadManager, "download_and_extract", lambda self, urls: paths
    )
    # TensorFlow Datasets asks for the backport by name.
    monkeypatch.setitem(sys.modules, "importlib_resources", importlib.resources)
    arguments = {"name": "dtd", "batch_size": 3, "data_dir": tmp_path / "tfds"}
    test = read(split="test", with_names=True, download=True, **arguments)
    names = np.concatenate([names for _, _, names in test])
    numbers = [visual_decathlon()["dtd"].image_id(name) - 40203761 for name in names]
    assert sorted(numbers) == [0, 1, 2, 3, 4]
    greys = np.concatenate([pixels("dtd", images)[:, 5, 5, 0] for images, _, _ in test])
    assert greys.tolist() == [10 * (11 + number) for number in numbers]
    assert {label for _, labels, _ in test for label in labels} == {-1}
    training = read(10, split="train+validation", training=True, **arguments)
    found = np.concatenate([labels for _, labels in training])
    assert sorted(found) == sorted(list(range(1, 11)) * 3)
    greys = np.concatenate([pixels("dtd", images)[:, 5, 5, 0] for images, _ in training])
    np.testing.assert_array_equal(greys, 10 * found)


def test_a_module_that_preparing_lacks_is_named(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Any) -> None:
        raise ModuleNotFoundError("No module named 'backport'", name="backport")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
    with pytest.raises(ImportError, match="`pip install backport`"):
        decathlon_pipeline("dtd", "train", 2, data_dir=tmp_path, download=True)
