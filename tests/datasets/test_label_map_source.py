"""`label_map_source` reads label maps beside images."""

import pathlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from keras_univrep.datasets import Source, label_map_source
from tests.datasets.source_sets import pixels

LABELS = np.repeat(np.array([[0, 1], [2, 7]], "uint8"), 8, axis=0).repeat(8, axis=1)
VALUES = {1: 0, 2: 2, 7: 1}


def opened(root: pathlib.Path, labels: Image.Image | None = None, **options: Any) -> Source:
    for folder in ("images", "maps"):
        (root / folder).mkdir(exist_ok=True)
    Image.fromarray(pixels(16, 16)).save(root / "images/1.jpg")
    (Image.fromarray(LABELS) if labels is None else labels).save(root / "maps/1.png")
    splits = {"train": (root / "images", root / "maps")}
    arguments: dict[str, Any] = {
        "values": VALUES,
        "void": (0,),
        "image_size": 8,
        "cache_dir": root / "cache",
    }
    return label_map_source("toy", splits, ["a", "b", "c"], **(arguments | options))


def test_values_become_classes(tmp_path: pathlib.Path) -> None:
    images, labels = opened(tmp_path).arrays("train")
    assert images.shape == (1, 8, 8, 3) and labels.dtype == np.int16
    expected = np.repeat(np.array([[-1, 0], [2, 1]]), 4, axis=0).repeat(4, axis=1)
    np.testing.assert_array_equal(labels[0], expected)


def test_a_palette_or_sixteen_bits_hold_the_same(tmp_path: pathlib.Path) -> None:
    expected = opened(tmp_path).arrays("train")[1]
    indexed = Image.fromarray(LABELS)
    indexed.putpalette(list(range(255, -1, -1)) * 3)
    for kind, image in (("p", indexed), ("deep", Image.fromarray(LABELS.astype("uint16")))):
        source = opened(tmp_path, image, cache_dir=tmp_path / kind)
        np.testing.assert_array_equal(source.arrays("train")[1], expected)


def test_odd_sizes_take_the_pixel_under_the_centre(tmp_path: pathlib.Path) -> None:
    labels = opened(tmp_path, image_size=(8, 12)).arrays("train")[1][0]
    columns = ((np.arange(12) + 0.5) * 16 / 12).astype(int)
    table = np.array([-1, 0, 2, 0, 0, 0, 0, 1])
    np.testing.assert_array_equal(labels, table[LABELS[1::2][:, columns]])


def test_wrong_maps_are_refused_by_file(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match=r"1.png' of source 'toy' .*Received: \[7\]"):
        opened(tmp_path, values={1: 0, 2: 2}).arrays("train")
    with pytest.raises(ValueError, match=r"Received: \[0\]"):
        opened(tmp_path, void=(255,)).arrays("train")
    small = Image.fromarray(LABELS[:8])
    with pytest.raises(
        ValueError, match=r"1.png' of source 'toy' .*\(16, 16\). Received: \(8, 16\)"
    ):
        opened(tmp_path, small, cache_dir=tmp_path / "small").arrays("train")
    coloured = Image.fromarray(pixels(16, 16))
    with pytest.raises(ValueError, match="1.png' of source 'toy' must be a label map of one"):
        opened(tmp_path, coloured, cache_dir=tmp_path / "colour").arrays("train")
    source = opened(tmp_path, cache_dir=tmp_path / "lost")
    (tmp_path / "images/1.jpg").unlink()
    with pytest.raises(FileNotFoundError, match="1.png' of source 'toy' must have its image"):
        source.arrays("train")


def test_wrong_arguments_are_refused(tmp_path: pathlib.Path) -> None:
    for options in ({"values": {1: 3}}, {"void": (1,)}, {"void": (-1,)}):
        with pytest.raises(ValueError, match="`values` of source 'toy' must map"):
            opened(tmp_path, **options)
    with pytest.raises(FileNotFoundError, match="Split 'train' of source 'toy'"):
        label_map_source("toy", {"train": (tmp_path / "x", tmp_path)}, ["a"])
