"""`FixedViews` numbers a few augmentations of each image and reads the same pixels every time."""

import numpy as np
import pytest

from keras_univrep.datasets import Domain, FixedViews, domain_from_arrays

RNG = np.random.default_rng(0)


def toy(size: int = 6, side: int = 8, flip: bool = True) -> Domain:
    images = RNG.integers(0, 256, (size, side, side, 3)).astype("uint8")
    return domain_from_arrays("a", (images, np.arange(size)), flip=flip)


def test_the_first_view_is_the_image_itself() -> None:
    domain = toy()
    views = FixedViews(domain, "train", views=3)
    images, labels = views.read(np.arange(6))
    np.testing.assert_allclose(images, domain.normalize(domain.arrays("train")[0]), atol=1e-6)
    np.testing.assert_array_equal(labels, np.arange(6))
    assert (len(views), views.size) == (18, 6)


def test_other_views_are_crops_of_the_reflected_image_maybe_mirrored() -> None:
    domain = toy()
    views = FixedViews(domain, "train", views=5, padding=2)
    found, mirrored = views.read(np.arange(len(views)))[0], 0
    pixels = domain.normalize(domain.arrays("train")[0])
    differ = 0
    for sample, image in enumerate(found):
        padded = np.pad(pixels[sample % 6], ((2, 2), (2, 2), (0, 0)), mode="reflect")
        crops = [padded[i : i + 8, j : j + 8] for i in range(5) for j in range(5)]
        plain = any(np.allclose(image, crop, atol=1e-5) for crop in crops)
        flipped = any(np.allclose(image, crop[:, ::-1], atol=1e-5) for crop in crops)
        assert plain or flipped
        mirrored += flipped and not plain
        differ += not np.allclose(image, pixels[sample % 6], atol=1e-5)
    assert 0 < mirrored < 24 and differ > 15


def test_mirrors_only_where_the_domain_and_the_augmentation_allow() -> None:
    for domain, augmentation in ((toy(flip=False), "crop_flip"), (toy(), "crop")):
        assert not FixedViews(domain, "train", 4, augmentation)._flips.any()
    domain = toy()
    same = FixedViews(domain, "train", 3, None).read(np.arange(18))[0]
    np.testing.assert_array_equal(same[:6], same[12:])


def test_views_depend_on_the_seed_and_on_nothing_else() -> None:
    domain = toy()
    first, again, other = (FixedViews(domain, "train", 3, seed=seed) for seed in (1, 1, 2))
    samples = np.array([17, 3, 8, 8])
    np.testing.assert_array_equal(first.read(samples)[0], again.read(samples)[0])
    # Read alone or among others, an image is the same.
    np.testing.assert_array_equal(first.read(samples)[0][1:2], first.read([3])[0])
    assert np.abs(first.read(np.arange(6, 18))[0] - other.read(np.arange(6, 18))[0]).max() > 0


def test_batches_are_all_samples_in_order() -> None:
    views = FixedViews(toy(), "train", views=2)
    batches = list(views.batches(5))
    assert [len(batch) for batch in batches] == [5, 5, 2]
    np.testing.assert_array_equal(np.concatenate(batches), views.read(np.arange(12))[0])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"views": 0}, "`views` must be an integer of at least 1"),
        ({"seed": -1}, "`seed` at least 0"),
        ({"augmentation": "colour"}, "`augmentation` must be one of"),
        ({"padding": 8}, "`padding` must be in"),
    ],
)
def test_arguments_are_checked(arguments: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        FixedViews(toy(), "train", **arguments)
