"""Parameter ratios against the published ones."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_univrep.metrics import parameter_ratio

CONVOLUTIONS = 5_806_944  # of the ResNet-26 of rebuffi2018
ADAPTERS = 645_216  # parallel 1x1 adapters of one domain


def test_nine_domains_with_parallel_adapters_are_two_networks() -> None:
    assert parameter_ratio(CONVOLUTIONS + 9 * ADAPTERS, CONVOLUTIONS) == 2.0


def test_numpy_integers_are_integers() -> None:
    assert parameter_ratio(np.int64(3), np.int64(2)) == 1.5


def test_models_are_counted_whole() -> None:
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(4), keras.layers.BatchNormalization()]
    )
    assert parameter_ratio(model, 16) == 2.0
    assert parameter_ratio(64, model) == 2.0


def test_reference_without_parameters_is_refused() -> None:
    with pytest.raises(ValueError, match="`reference_params` must be positive"):
        parameter_ratio(3, 0)


def test_negative_count_is_refused() -> None:
    with pytest.raises(ValueError, match="model_params=-1"):
        parameter_ratio(-1, 3)


@pytest.mark.parametrize("params", [1.5, "3", None, True])
def test_other_types_are_refused(params: object) -> None:
    with pytest.raises(TypeError, match="`model_params` must be an integer or a built Keras"):
        parameter_ratio(params, 3)
