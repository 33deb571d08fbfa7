"""`dense_augment` against enlarging pixel by pixel in float64."""

import numpy as np
import pytest

from keras_univrep.datasets import dense_augment

HEIGHT, WIDTH = 24, 36
TASKS = {"place": "segmentation", "depth": "depth", "inverse": "disparity", "normals": "normals"}
RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (HEIGHT, WIDTH, 3)).astype("uint8")
NORMALS = RNG.normal(size=(HEIGHT, WIDTH, 3)).astype("float32")
MAPS = {
    # Each label is a place of its own: they tell where a crop was.
    "place": np.arange(HEIGHT * WIDTH, dtype="int32").reshape(HEIGHT, WIDTH),
    "depth": RNG.uniform(1, 9, (HEIGHT, WIDTH, 1)).astype("float32"),
    "inverse": RNG.uniform(0, 1, (HEIGHT, WIDTH, 1)).astype("float32"),
    "normals": NORMALS / np.linalg.norm(NORMALS, axis=-1, keepdims=True),
}


def enlarged(image: np.ndarray, top: int, left: int, height: int, width: int) -> np.ndarray:
    """A crop enlarged to the image's size; its corner pixels stay corner pixels."""
    crop = image[top : top + height, left : left + width].astype("float64")
    result = np.empty((HEIGHT, WIDTH, 3))
    for i in range(HEIGHT):
        for j in range(WIDTH):
            y, x = i * (height - 1) / (HEIGHT - 1), j * (width - 1) / (WIDTH - 1)
            y0, x0 = min(int(y), height - 2), min(int(x), width - 2)
            wy, wx = y - y0, x - x0
            result[i, j] = (1 - wy) * ((1 - wx) * crop[y0, x0] + wx * crop[y0, x0 + 1]) + wy * (
                (1 - wx) * crop[y0 + 1, x0] + wx * crop[y0 + 1, x0 + 1]
            )
    return result


def find(maps: dict[str, np.ndarray]) -> tuple[bool, int, int]:
    """Whether the places are mirrored, and row and column of the crop's corner."""
    places = maps["place"]
    flip = bool(places[0, 0] > places[0, -1])
    top, left = divmod(int(places[0, -1 if flip else 0]), WIDTH)
    return flip, top, left


@pytest.mark.parametrize(
    ("scale", "height", "width"), [(1.0, 24, 36), (1.2, 20, 30), (1.5, 16, 24)]
)
@pytest.mark.parametrize("seed", range(3))
def test_image_and_maps_are_an_enlarged_crop(
    scale: float, height: int, width: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    image, maps = dense_augment(IMAGE, MAPS, TASKS, rng, scales=[scale])
    flip, top, left = find(maps)
    mirror = np.s_[:, ::-1] if flip else np.s_[:]
    expected = enlarged(IMAGE, top, left, height, width)[mirror] / 255
    assert image.dtype == np.float32
    np.testing.assert_allclose(image, expected, atol=1e-6)
    rows = [top + i * height // HEIGHT for i in range(HEIGHT)]
    columns = [left + j * width // WIDTH for j in range(WIDTH)]
    nearest = {task: values[np.ix_(rows, columns)][mirror] for task, values in MAPS.items()}
    np.testing.assert_array_equal(maps["place"], nearest["place"])
    np.testing.assert_allclose(maps["depth"], nearest["depth"] / scale, rtol=1e-6)
    np.testing.assert_allclose(maps["inverse"], nearest["inverse"] * scale, rtol=1e-6)
    turned = nearest["normals"] * np.array([-1 if flip else 1, 1, 1])
    np.testing.assert_array_equal(maps["normals"], turned.astype("float32"))
    assert {task: values.dtype for task, values in maps.items()} == {
        task: values.dtype for task, values in MAPS.items()
    }


def test_draws_are_uniform_over_scales_places_and_mirrors() -> None:
    rng = np.random.default_rng(0)
    tasks = {"place": "segmentation", "depth": "depth"}
    maps = MAPS | {"depth": np.ones((HEIGHT, WIDTH, 1), "float32")}
    scales, flips, corners = [], [], []
    for _ in range(900):
        _, found = dense_augment(IMAGE[..., :1], maps, tasks, rng)
        scales.append(round(1 / float(found["depth"][0, 0, 0]), 3))
        flip, top, left = find(found)
        flips.append(flip)
        if scales[-1] == 1.5:
            corners.append((top, left))
    values, counts = np.unique(scales, return_counts=True)
    assert values.tolist() == [1.0, 1.2, 1.5] and counts.min() > 240
    assert 0.43 < np.mean(flips) < 0.57
    top, left = np.array(corners).T
    assert (top.min(), top.max(), left.min(), left.max()) == (0, 8, 0, 12)


def test_the_same_generator_gives_the_same_and_inputs_stay() -> None:
    before = IMAGE.copy(), {task: values.copy() for task, values in MAPS.items()}
    one, other = (dense_augment(IMAGE, MAPS, TASKS, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(one[0], other[0])
    for task in TASKS:
        np.testing.assert_array_equal(one[1][task], other[1][task])
        np.testing.assert_array_equal(before[1][task], MAPS[task])
    np.testing.assert_array_equal(before[0], IMAGE)


def test_parts_of_the_augmentation_can_be_left_out() -> None:
    def result(augmentation: str | None, seed: int) -> tuple[bool, bool]:
        maps = dense_augment(IMAGE, MAPS, TASKS, np.random.default_rng(seed), augmentation)[1]
        return find(maps)[0], bool((maps["place"].max(), maps["place"].min()) != (863, 0))

    for augmentation, flips, crops in (
        (None, False, False),
        ("flip", True, False),
        ("scale_crop", False, True),
        ("scale_crop_flip", True, True),
    ):
        found = np.array([result(augmentation, seed) for seed in range(20)])
        assert found.any(0).tolist() == [flips, crops], augmentation


def test_float_images_stay_in_their_range_and_tasks_not_named_are_left_out() -> None:
    image, maps = dense_augment(
        np.full((8, 8, 3), 0.5), {"a": np.zeros((8, 8)), "b": np.zeros((3, 3))}, {"a": "depth"},
        np.random.default_rng(0),
    )  # fmt: skip
    np.testing.assert_allclose(image, 0.5)
    assert list(maps) == ["a"] and image.dtype == np.float32


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"augmentation": "zoom"}, "`augmentation` must be one of"),
        ({"scales": [0.5]}, "none below 1"),
        ({"scales": []}, "at least one factor"),
        ({"targets": {"depth": np.ones((9, 8, 1))}}, r"\(8, 8\).*Received: .*\(9, 8, 1\)"),
    ],
)
def test_wrong_arguments_are_refused(changes: dict[str, object], message: str) -> None:
    arguments = {
        "image": np.zeros((8, 8, 3), "uint8"),
        "targets": {"depth": np.ones((8, 8, 1))},
        "tasks": {"depth": "depth"},
        "rng": np.random.default_rng(0),
    }
    with pytest.raises(ValueError, match=message):
        dense_augment(**(arguments | changes))  # type: ignore[arg-type]
