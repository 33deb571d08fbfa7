"""`cityscapes` reads the files of Liu et al. and joins two builders of TensorFlow Datasets."""

import pathlib
from typing import Any

import numpy as np
import pytest

from keras_univrep.datasets import cityscapes, dense_pipeline
from tests.datasets.dense_sets import RNG, write_liu

tfds = pytest.importorskip("tensorflow_datasets")

SIZE = (6, 8)
NAMES = ["bonn_0", "bonn_1", "ulm_0"]
IMAGES = RNG.integers(0, 256, (3, 12, 16, 3)).astype("uint8")
# Road, void, sky, bicycle; the last two are what 19 classes leave out or void.
LABELS = np.array([7, 0, 23, 33, 9, 6], "uint8")
DISPARITY = np.array([0, 1, 257, 32257], "uint16")


def builders(self: Any, split: str, decoders: dict[str, Any], **kwargs: Any) -> Any:
    """Three images; the configuration with disparity has them in another order."""
    import tensorflow as tf

    rows = {"image_id": [name.encode() for name in NAMES], "image_left": list(IMAGES)}
    if self.builder_config.name == "semantic_segmentation":
        rows["segmentation_label"] = [np.full((12, 16, 1), LABELS[i]) for i in range(3)]
    else:
        rows["disparity_map"] = [
            tf.io.encode_png(np.full((12, 16, 1), DISPARITY[i + 1])).numpy() for i in range(3)
        ]
        rows = {key: values[::-1] for key, values in rows.items()}
        assert set(decoders) == {"disparity_map"}
    if split == "part":
        rows = {key: values[:2] for key, values in rows.items()}
    return tf.data.Dataset.from_tensor_slices({key: np.array(v) for key, v in rows.items()})


def test_files_are_read_with_the_label_folder_of_the_classes(tmp_path: pathlib.Path) -> None:
    maps = {"segmentation": "label_7", "disparity": "depth"}
    written = write_liu(tmp_path, {"train": 5, "val": 2}, maps, SIZE)
    domain = cityscapes(tmp_path, image_size=SIZE)
    assert domain.tasks == {"segmentation": "segmentation", "disparity": "disparity"}
    names = ("flat", "construction", "object", "nature", "sky", "human", "vehicle")
    assert domain.class_names["segmentation"] == names
    images, targets = domain.arrays("test")
    np.testing.assert_array_equal(images, written["val"]["image"])
    for task in maps:
        np.testing.assert_allclose(targets[task], written["val"][task], atol=1e-6)
    with pytest.raises(FileNotFoundError, match="label_19"):
        cityscapes(tmp_path, image_size=SIZE, classes=19)
    batch = next(iter(dense_pipeline(domain, "train", 2, training=True)))
    assert tuple(batch[1]["disparity"].shape) == (2, 6, 8, 1)


def test_nineteen_classes_are_the_official_ones_in_their_order() -> None:
    domain = cityscapes(layout="tfds", classes=19)
    assert domain.class_names["segmentation"] == (
        *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light"),
        *("traffic sign", "vegetation", "terrain", "sky", "person", "rider", "car", "truck"),
        *("bus", "train", "motorcycle", "bicycle"),
    )


def test_two_configurations_are_joined_by_the_names_of_their_images() -> None:
    with tfds.testing.mock_data(as_dataset_fn=builders):
        images, targets = cityscapes(layout="tfds", image_size=SIZE).arrays("train")
    assert images.shape == (3, *SIZE, 3)
    np.testing.assert_allclose(images.mean((1, 2, 3)), IMAGES.mean((1, 2, 3)), atol=2)
    assert [np.unique(labels).tolist() for labels in targets["segmentation"]] == [[0], [-1], [4]]
    # All 16 bits of the disparity are there, beside the image of the same name.
    expected = DISPARITY[1:].astype("float64") / 65535
    np.testing.assert_allclose(targets["disparity"][:, 0, 0, 0], expected, rtol=1e-6)
    assert round(float(targets["disparity"].max()), 4) == 0.4922


@pytest.mark.parametrize(
    ("classes", "expected"), [(7, [0, -1, 4, 6, 0, -1]), (19, [0, -1, 10, 18, -1, -1])]
)
def test_numbers_of_label_images_become_classes(classes: int, expected: list[int]) -> None:
    from keras_univrep.datasets.cityscapes import _label_table

    assert _label_table(classes)[LABELS].tolist() == expected


def test_configurations_with_other_images_and_wrong_arguments_are_refused() -> None:
    with tfds.testing.mock_data(as_dataset_fn=builders):
        domain = cityscapes(layout="tfds", image_size=SIZE, splits={"train": "part"})
        with pytest.raises(ValueError, match="must hold the same images"):
            domain.arrays("train")
    with pytest.raises(ValueError, match="`classes` must be one of"):
        cityscapes(classes=8)
    with pytest.raises(ValueError, match="`tasks` must hold some of"):
        cityscapes(layout="tfds", tasks=["normals"])
    with pytest.raises(ValueError, match="`validation` must be 0"):
        cityscapes(layout="tfds", validation=3)
    with pytest.raises(ValueError, match="`splits` must be None"):
        cityscapes(splits={"train": "train"})
