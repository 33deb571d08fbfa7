"""`colour_jitter` is the hexagonal HSV model of the standard library, and pipelines use it."""

import colorsys

import numpy as np
import pytest

from keras_univrep.datasets import MultiDomainSequence, domain_from_arrays, pipeline
from keras_univrep.datasets.batch_plan import BatchPlan
from keras_univrep.datasets.colour_jitter import CONTRAST, HUE, SATURATION, colour_jitter

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(20, 235, (3, 4, 5, 3)).astype("float32")
IMAGES[0, 0, 0] = 90.0
ONE = np.ones(3)


def oracle(image: np.ndarray, saturation: float, contrast: float, hue: float) -> np.ndarray:
    def each(pixels: np.ndarray, turns: float, factor: float) -> np.ndarray:
        found = []
        for pixel in pixels.reshape(-1, 3):
            h, s, v = colorsys.rgb_to_hsv(*pixel)
            found.append(colorsys.hsv_to_rgb((h + turns) % 1, min(s * factor, 1.0), v))
        return np.array(found).reshape(pixels.shape)

    x = each(image.astype("float64"), 0.0, saturation)
    mean = x.mean(axis=(0, 1))
    return each((x - mean) * contrast + mean, hue, 1.0)


@pytest.mark.parametrize(
    ("saturation", "contrast", "hue"),
    [
        ([1, 1, 1], [1, 1, 1], [0, 0, 0]),
        ([0.5, 1.2, 9.0], [1, 1, 1], [0, 0, 0]),
        ([1, 1, 1], [0.5, 0.9, 0.0], [0, 0, 0]),
        ([1, 1, 1], [1, 1, 1], [-0.03, 0.4, 0.97]),
        ([0.8, 1.1, 1.2], [0.8, 0.9, 1.0], [0.03, -0.2, 0.01]),
    ],
)
def test_colours_are_those_of_the_hexagonal_model(
    saturation: list[float], contrast: list[float], hue: list[float]
) -> None:
    expected = [oracle(*given) for given in zip(IMAGES, saturation, contrast, hue, strict=True)]
    found = colour_jitter(IMAGES, np.array(saturation), np.array(contrast), np.array(hue))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_the_colours_of_a_step_are_within_bounds_and_drawn_anew() -> None:
    plan = BatchPlan(50, (8, 8, 3), 20, True, "crop_colour")
    drawn = np.concatenate([plan.colours(step) for step in range(50)], axis=1)
    assert drawn.shape == (3, 1000)
    bounds = ((1 - SATURATION, 1 + SATURATION), (1 - CONTRAST, 1 + CONTRAST), (-HUE, HUE))
    for values, (low, high) in zip(drawn, bounds, strict=True):
        assert low <= values.min() < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < values.max() <= high
        assert abs(values.mean() - (low + high) / 2) < 0.05 * (high - low)
    assert abs(np.corrcoef(drawn) - np.eye(3)).max() < 0.12
    np.testing.assert_array_equal(plan.colours(3), drawn[:, 60:80])


def test_pipelines_change_colours_in_training_alone() -> None:
    images = RNG.integers(0, 256, (12, 8, 8, 3)).astype("uint8")
    domain = domain_from_arrays("toy", (images, np.arange(12) % 2))
    common = {"seed": 3, "padding": 2}
    plain, _ = next(iter(pipeline(domain, "train", 4, True, "crop", **common)))
    batches = pipeline(domain, "train", 4, True, "crop_colour", **common)
    coloured, _ = next(iter(batches))
    plan = BatchPlan(12, (8, 8, 3), 4, True, "crop_colour", 2, seed=3, stream="toy")
    mean, std = (np.array(values, "float32") for values in (domain.mean, domain.std))
    shown = (np.asarray(plain) * std + mean) * 255
    expected = (colour_jitter(shown, *plan.colours(0)) / 255 - mean) / std
    np.testing.assert_allclose(coloured, expected, atol=1e-3)
    assert np.abs(np.asarray(coloured) - plain).max() > 0.1
    sequence = MultiDomainSequence([domain], "train", 4, True, "crop_colour", **common)
    np.testing.assert_array_equal(sequence[0][0]["toy"], coloured)
    evaluated, _ = next(iter(pipeline(domain, "train", 4, False, "crop_colour")))
    np.testing.assert_allclose(evaluated, domain.normalize(images[:4]), atol=1e-5)


def test_mirrors_are_left_out_where_the_domain_does_not_allow_them() -> None:
    images = RNG.integers(0, 256, (12, 8, 8, 3)).astype("uint8")
    domain = domain_from_arrays("toy", (images, np.arange(12) % 2), flip=False)
    pair = [
        np.asarray(next(iter(pipeline(domain, "train", 8, True, kind)))[0])
        for kind in ("crop_colour", "crop_flip_colour")
    ]
    np.testing.assert_array_equal(*pair)
    allowed = domain_from_arrays("toy", (images, np.arange(12) % 2), flip=True)
    other = np.asarray(next(iter(pipeline(allowed, "train", 8, True, "crop_flip_colour")))[0])
    assert np.abs(other - pair[0]).max() > 0.1
