"""`mmt_local` opens classes, and depths and normals by environment."""

from __future__ import annotations

import numpy as np
import pytest

from keras_univrep.datasets import mmt_local
from tests.datasets.dense_sets import nyu_files, write_archive
from tests.datasets.local_sets import write_meta_sets

# Runs of 9, 101 and 10 images to train; the second is too long to be held out.
TRAIN = [*range(1, 10), *range(20, 121), *range(130, 140)]
TEST = [*range(10, 19), *range(125, 128)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = write_meta_sets(tmp_path_factory.mktemp("sets"))
    write_archive(folder / "nyuv2/nyuv2_144x192_full.zip", nyu_files(TRAIN, TEST))
    return folder


def test_every_split_has_its_environments(folder, tmp_path):
    found = {
        split: mmt_local(folder, split, 16, ["depth"], tmp_path)
        for split in ("train", "validation", "test")
    }
    assert {split: tasks.environments("depth") for split, tasks in found.items()} == {
        "train": 1,
        "validation": 2,
        "test": 1,
    }
    x, y = found["test"].batch(0)["depth"]["query"]
    assert x.shape == (2, 5, 16, 16, 3) and x.min() >= -1 and x.max() <= 1
    # The files hold depths from 1 to 4 metres, growing to the right.
    assert 0.1 <= y.min() < 0.12 and 0.38 < y.max() <= 0.4
    assert np.all(np.diff(y[0, 0, 0, :, 0]) > 0)


def test_tasks_are_those_that_were_asked_for(folder, tmp_path):
    tasks = mmt_local(folder, "validation", 16, cache_dir=tmp_path, query=2)
    assert tasks.tasks == ("classification", "depth", "normals", "vanishing_point")
    batch = tasks.batch(0, 1)
    assert batch["classification"]["query"][0].shape == (1, 10, 16, 16, 3)
    normals = batch["normals"]["support"][1]
    assert normals.shape == (1, 3, 16, 16, 3)
    sizes = np.linalg.norm(normals, axis=-1)
    assert np.all((np.abs(sizes - 1) < 1e-5) | (sizes == 0)) and (sizes > 0).mean() > 0.8
    only = mmt_local(folder, "test", 16, ["classification"], tmp_path, query=2)
    assert only.tasks == ("classification",)


def test_roads_have_vanishing_points_in_the_test_alone(folder, tmp_path):
    # Two lines that meet at a quarter of the height and three quarters of the width.
    rows, columns = np.mgrid[:180, :240]
    sides = [columns - 180 - slope * (rows - 45) for slope in (-1.5, 0.4)]
    road = np.where((rows > 45) & (sides[0] > 0) & (sides[1] < 0), 220, 40)[..., None]
    rng = np.random.default_rng(0)
    frames = {
        f"{split}/{kind}/{number:02d}.{suffix}": pixels
        for split, count in (("train", 1), ("val", 1), ("test", 20))
        for number in range(count)
        for kind, suffix, pixels in (
            ("rgb", "jpg", (road + rng.integers(0, 9, (180, 240, 3))).astype("uint8")),
            ("seg", "png", np.zeros((180, 240), "uint8")),
        )
    }
    write_archive(folder / "camvid/camvid_180x240.zip", frames)
    counts = {}
    for split in ("validation", "test"):
        tasks = mmt_local(folder, split, 16, ["vanishing_point"], tmp_path, query=2)
        counts[split] = tasks.environments("vanishing_point")
    rooms = mmt_local(folder, "test", 16, ["depth"], tmp_path, query=2).environments("depth")
    assert counts["test"] == rooms + 1
    batch = tasks.batch(0, 40)["vanishing_point"]
    points = np.concatenate([batch[part][1] for part in ("support", "query")], axis=1)
    # In half widths and heights from the middle; an environment is of roads or of rooms.
    of_roads = np.all(np.abs(points - (0.5, -0.5)) < 0.1, axis=(1, 2))
    assert 5 < of_roads.sum() < 35
    np.testing.assert_array_equal(
        of_roads, np.any(np.abs(points - (0.5, -0.5)) < 0.1, axis=2).any(1)
    )


def test_what_cannot_be_is_refused(folder):
    with pytest.raises(ValueError, match="`split` must be"):
        mmt_local(folder, "val")
    with pytest.raises(ValueError, match="`tasks` must hold"):
        mmt_local(folder, tasks=["segmentation"])
