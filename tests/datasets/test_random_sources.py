"""`random_sources` has something to learn, and is the same each time."""

import numpy as np

from keras_univrep import datasets


def test_bright_boxes_are_where_and_in_what_the_targets_say() -> None:
    sources = datasets.random_sources(24, seed=3)
    kinds = {task: source.kind for task, row in sources.items() for source in row.values()}
    assert kinds == dict(zip(kinds, kinds)) and len(kinds) == 4
    images, targets = sources["detection"]["boxes"].arrays("train")
    present = sources["classification"]["boxes"].arrays("train")[1]
    np.testing.assert_array_equal(targets["labels"][:, 0] == 0, present == 1)
    for image, box, there in zip(images, targets["boxes"][:, 0].astype(int), present):
        bright = (image >= 128).all(axis=-1)
        expected = np.zeros_like(bright)
        expected[box[1] : box[3], box[0] : box[2]] = there
        np.testing.assert_array_equal(bright, expected)


def test_a_seed_gives_the_same_images() -> None:
    first, again, other = (
        datasets.random_sources(seed=seed)["detection"]["boxes"].arrays("test")[0]
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
