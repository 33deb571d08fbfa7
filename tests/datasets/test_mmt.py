"""`mmt` makes sub-tasks of four tasks from domains of builders, folders and arrays."""

from __future__ import annotations

import numpy as np
import pytest

from keras_univrep.datasets import (
    DenseDomain,
    cross_domain_few_shot,
    fit_normals,
    mmt,
    nyuv2,
    room_vanishing_points,
)
from keras_univrep.datasets.nyu_local import NYU_CAMERA
from tests.datasets.test_meta_dataset import holding
from tests.datasets.test_road_vanishing_points import street

RNG = np.random.default_rng(0)
COUNT, HEIGHT, WIDTH = 24, 48, 64
SCALED = [number * WIDTH / 640 for number in NYU_CAMERA]


def wall(turn: float) -> np.ndarray:
    """Depth of a wall that is turned by an angle about the vertical, in metres."""
    x = (np.arange(WIDTH) - SCALED[2]) / SCALED[0]
    return np.broadcast_to(3 / (1 + np.tan(turn) * x), (HEIGHT, WIDTH))[..., None]


@pytest.fixture(scope="module")
def rooms() -> DenseDomain:
    depth = np.stack([wall(turn) for turn in np.linspace(-0.4, 0.4, COUNT)]).astype("float32")
    images = RNG.integers(0, 256, (COUNT, HEIGHT, WIDTH, 3)).astype("uint8")
    return DenseDomain(
        name="walls", tasks={"depth": "depth"}, class_names={}, image_shape=(HEIGHT, WIDTH, 3),
        splits={"train": (images, {"depth": depth})},
    )  # fmt: skip


@pytest.fixture(scope="module")
def roads() -> DenseDomain:
    images = np.stack([street(60 + n, 45) for n in range(20)])
    labels = np.zeros(images.shape[:3], "int8")
    return DenseDomain(
        name="streets", tasks={"segmentation": "segmentation"}, image_shape=images.shape[1:],
        class_names={"segmentation": ("road",)},
        splits={"train": (images, {"segmentation": labels})},
    )  # fmt: skip


def test_labels_are_those_of_the_depth(rooms):
    tasks = mmt("train", rooms=rooms, size=32, tasks=["depth", "normals", "vanishing_point"],
                environments=12)  # fmt: skip
    assert tasks.tasks == ("depth", "normals", "vanishing_point")
    assert [tasks.environments(task) for task in tasks.tasks] == [2, 2, 2]
    batch = tasks.batch(0, 3)
    x, depth = batch["depth"]["query"]
    assert x.shape == (3, 5, 32, 32, 3) and depth.shape == (3, 5, 32, 32, 1)
    assert 0.2 < depth.min() and depth.max() < 0.5
    # A wall that is turned by an angle has the vanishing point of its normal.
    points = batch["vanishing_point"]["support"][1]
    assert points.shape == (3, 3, 2)
    depths = rooms.arrays("train")[1]["depth"][..., 0]
    normals = fit_normals(depths, *SCALED, radius=2, step=0.04)
    known = room_vanishing_points(normals, *SCALED)
    assert {tuple(point) for point in points.reshape(-1, 2)} <= {tuple(point) for point in known}
    turns = np.linspace(-0.4, 0.4, COUNT)
    wanted = 2 * (SCALED[0] * np.tan(turns) + SCALED[2] - (WIDTH - 1) / 2) / WIDTH
    np.testing.assert_allclose(known[:, 0], wanted, atol=0.05)
    found = batch["normals"]["query"][1]
    np.testing.assert_allclose(np.linalg.norm(found, axis=-1), 1, atol=1e-5)
    assert np.abs(found[..., 0]).max() < np.sin(0.5) and found[..., 2].max() < -np.cos(0.5)


def test_normals_of_a_domain_are_taken_as_they_are(rooms):
    images, maps = rooms.arrays("train")
    own = np.zeros((COUNT, HEIGHT, WIDTH, 3), "float32")
    own[..., 0] = -1
    both = DenseDomain(
        name="both", tasks={"depth": "depth", "normals": "normals"}, class_names={},
        image_shape=(HEIGHT, WIDTH, 3), splits={"train": (images, {**maps, "normals": own})},
    )  # fmt: skip
    names = ["normals", "vanishing_point"]
    batch = mmt("train", rooms=both, size=32, tasks=names).batch(0)
    assert np.all(batch["normals"]["query"][1] == [-1, 0, 0])
    assert len(np.unique(batch["vanishing_point"]["query"][1][..., 0])) > 1
    # By their axes all walls are seen from the side: one point for all images.
    batch = mmt("train", rooms=both, size=32, tasks=names, camera_normals=True).batch(0)
    assert len(np.unique(batch["vanishing_point"]["query"][1][..., 0])) == 1


def test_roads_are_environments_of_their_own(rooms, roads):
    tasks = mmt("train", rooms=rooms, roads=roads, size=32, tasks=["vanishing_point"],
                environments=12)  # fmt: skip
    assert tasks.environments("vanishing_point") == 3
    points = np.concatenate([tasks.batch(n, 4)["vanishing_point"]["query"][1] for n in range(4)])
    # Those of the streets are one pixel apart, at the row of the middle.
    of_roads = points[np.ptp(points[..., 0], axis=1) < 0.35]
    assert len(of_roads) and np.abs(of_roads[..., 1]).max() < 0.1
    alone = mmt("train", roads=roads, size=32, tasks=["vanishing_point"])
    assert alone.environments("vanishing_point") == 1


def test_scenes_come_from_a_builder_and_rooms_from_files(tmp_path):
    for split in ("train", "val"):
        for folder, shape in (("image", (3,)), ("depth", (1,))):
            path = tmp_path / split / folder
            path.mkdir(parents=True)
            for number in range(9):
                values = RNG.uniform(0.2, 1, (HEIGHT, WIDTH, *shape)).astype("float32")
                np.save(path / f"{number}.npy", values)
    # Two images of each of the builder's 365 classes, the class in every pixel.
    labels = [number % 365 for number in range(730)]
    pictures = [np.full((12, 12, 3), label % 256, "uint8") for label in labels]
    with holding(pictures, labels):
        places = cross_domain_few_shot("places", size=32, cache_dir=tmp_path / "cache").train
        places["places"].arrays("train")
    files = nyuv2(tmp_path, tasks=("depth",), image_size=(HEIGHT, WIDTH))
    tasks = mmt(
        "train", places, files, size=32, tasks=["classification", "depth"], environments=9, query=1
    )
    batch = tasks.batch(0)
    x, y = batch["classification"]["query"]
    assert x.shape == (2, 5, 32, 32, 3)
    # The other image of each class is the same.
    shown = batch["classification"]["support"][0][:, np.arange(5), 0, 0, 0]
    np.testing.assert_array_equal(x[..., 0, 0, 0], np.take_along_axis(shown, y, axis=1))
    assert batch["depth"]["support"][1].shape == (2, 3, 32, 32, 1)


def test_what_cannot_be_is_refused(rooms, roads):
    with pytest.raises(ValueError, match="`tasks` must hold"):
        mmt("train", rooms=rooms, tasks=["segmentation"])
    with pytest.raises(ValueError, match=r"none for \['classification'\]"):
        mmt("train", rooms=rooms)
    with pytest.raises(ValueError, match=r"none for \['depth'\]"):
        mmt("train", roads=roads, tasks=["depth", "vanishing_point"])
    with pytest.raises(ValueError, match="must have the task 'depth'"):
        mmt("train", rooms=roads, tasks=["normals"])
    with pytest.raises(ValueError, match="`environments` must be"):
        mmt("train", rooms=rooms, tasks=["depth"], environments=0)
