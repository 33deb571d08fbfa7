"""Pictures of a zip file come decoded, in order, with their classes."""

from __future__ import annotations

import io
import pathlib
import zipfile

import numpy as np
import PIL.Image
import pytest

from keras_univrep.datasets.zip_images import ZipImages


def png(colour: int) -> bytes:
    content = io.BytesIO()
    PIL.Image.fromarray(np.full((3, 2), colour, "uint8")).save(content, "png")
    return content.getvalue()


@pytest.fixture
def images(tmp_path: pathlib.Path) -> ZipImages:
    path = tmp_path / "pictures.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("new/zebra/1.png", png(3))
        file.writestr("old/ant/2.png", png(2))
        file.writestr("old/ant/1.png", png(1))
        file.writestr("notes.txt", "grüße")
    return ZipImages(path, r"(?P<age>old|new)/(?P<label>[^/]+)/\d\.png")


def test_images_are_rgb_in_the_order_of_their_names(images: ZipImages) -> None:
    assert len(images) == 3
    assert [image.shape for image in images] == [(3, 2, 3)] * 3
    assert [int(image[0, 0, 2]) for image in images] == [3, 1, 2]
    assert images[0].dtype == np.uint8


def test_classes_are_numbered_in_the_order_of_their_names(images: ZipImages) -> None:
    assert images.class_names == ("ant", "zebra")
    assert images.labels.tolist() == [1, 0, 0] and images.labels.dtype == np.int32
    assert [match["age"] for match in images.matches] == ["new", "old", "old"]


def test_other_files_are_read_as_text(images: ZipImages) -> None:
    assert images.text("notes.txt") == "grüße"
    with pytest.raises(KeyError):
        images.text("absent.txt")
