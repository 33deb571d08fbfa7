"""`CosineClassifier` against cosines in NumPy."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

from keras_univrep.layers import CosineClassifier
from tests.harness import Weights, check_layer


def oracle(x: np.ndarray, w: Weights) -> np.ndarray:
    """Chen et al. 2019 sec. 3.1."""
    kernel = w["kernel"]
    norms = np.linalg.norm(x, axis=-1)[:, None] * np.linalg.norm(kernel, axis=0)
    return 2.0 * (x @ kernel) / norms


def test_owes_what_every_layer_owes(tmp_path: pathlib.Path) -> None:
    x = np.random.default_rng(0).normal(size=(5, 4))
    check_layer(CosineClassifier(3, name="layer"), x, oracle, tmp_path)


def test_the_scale_follows_the_number_of_classes() -> None:
    assert CosineClassifier(200).scale == 2.0
    assert CosineClassifier(201).scale == 10.0
    with pytest.raises(ValueError, match="`units` must be a positive integer"):
        CosineClassifier(0)
    with pytest.raises(ValueError, match="`scale` must be positive"):
        CosineClassifier(3, scale=0.0)
