"""`BilinearResize`: weights of the two nearest pixels, with either meaning of their places."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.layers import BilinearResize
from tests.harness import check_config, check_gradients, check_saving, check_values

RNG = np.random.default_rng(0)


def resized(x: np.ndarray, size: tuple[int, int], align_corners: bool) -> np.ndarray:
    for axis, new in enumerate(size, start=1):
        old, i = x.shape[axis], np.arange(new)
        if align_corners:
            places = i * (old - 1) / max(new - 1, 1)
        else:
            places = np.clip((i + 0.5) * old / new - 0.5, 0, old - 1)
        matrix = np.maximum(0, 1 - np.abs(places[:, None] - np.arange(old)))
        x = np.moveaxis(np.tensordot(matrix, x, (1, axis)), 0, axis)
    return x


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("options", "size"), [({"scale": 2}, (6, 10)), ({"size": (7, 4)}, (7, 4))])
def test_owes_what_every_layer_owes(
    options: dict, size: tuple[int, int], align_corners: bool, tmp_path: pathlib.Path
) -> None:
    layer = BilinearResize(**options, align_corners=align_corners, name="layer")
    x = RNG.normal(size=(2, 3, 5, 2))
    oracle = lambda x, _: resized(x, size, align_corners)  # noqa: E731
    check_values(layer, x, oracle, 1e-5)
    check_gradients(layer, x, oracle, 1e-5)
    check_config(layer)
    check_saving(layer, x, tmp_path)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (2, 1, 4, 1), (1, 9, 12, 2)])
def test_every_factor_of_every_map(shape: tuple[int, ...], align_corners: bool) -> None:
    x = RNG.normal(size=shape)
    for scale in (1, 3, 8):
        outputs = BilinearResize(scale, align_corners=align_corners)(x.astype("float32"))
        expected = resized(x, (scale * shape[1], scale * shape[2]), align_corners)
        np.testing.assert_allclose(ops.convert_to_numpy(outputs), expected, rtol=1e-5, atol=1e-5)


def test_aligned_corners_and_all_old_pixels_between_them_are_kept() -> None:
    x = RNG.normal(size=(1, 4, 3, 2)).astype("float32")
    outputs = BilinearResize(size=(10, 5), align_corners=True)(x)
    # Three new rows for an old one, and two new columns: 9 = 3 * 3, 4 = 2 * 2.
    np.testing.assert_allclose(ops.convert_to_numpy(outputs)[:, ::3, ::2], x, rtol=1e-6)


@pytest.mark.parametrize("align_corners", [False, True])
def test_a_constant_map_stays_constant(align_corners: bool) -> None:
    outputs = BilinearResize(5, align_corners=align_corners)(np.full((1, 7, 3, 1), 2.5, "float32"))
    np.testing.assert_allclose(ops.convert_to_numpy(outputs), 2.5, rtol=1e-6)


@pytest.mark.parametrize("align_corners", [False, True])
def test_sizes_may_be_known_at_the_call_alone(align_corners: bool) -> None:
    images = keras.Input((None, None, 2))
    outputs = BilinearResize(2, align_corners=align_corners)(images)
    assert outputs.shape == (None, None, None, 2)
    model = keras.Model(images, outputs)
    for size in ((2, 3), (4, 2)):
        x = RNG.normal(size=(1, *size, 2)).astype("float32")
        expected = resized(x, (2 * size[0], 2 * size[1]), align_corners)
        np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("align_corners", [False, True])
def test_half_precision_stays_as_it_is(align_corners: bool) -> None:
    layer = BilinearResize(2, align_corners=align_corners, dtype="mixed_bfloat16")
    x = RNG.normal(size=(1, 3, 4, 2))
    outputs = layer(x.astype("float32"))
    assert keras.backend.standardize_dtype(outputs.dtype) == "bfloat16"
    actual = ops.convert_to_numpy(ops.cast(outputs, "float32"))
    np.testing.assert_allclose(actual, resized(x, (6, 8), align_corners), atol=0.05)


@pytest.mark.parametrize(
    "options",
    [{}, {"scale": 2, "size": (4, 4)}, {"scale": 0}, {"scale": 1.5}, {"size": (4,)}],
)
def test_bad_arguments_are_refused(options: dict) -> None:
    with pytest.raises(ValueError, match="Received: scale=.*, size="):
        BilinearResize(**options)
