"""GradDrop keeps one sign of each coordinate, with the chances of its paper."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from keras_univrep.balancers import GradDrop
from tests.balancers.helpers import numpy
from tests.balancers.oracles import GOLDEN


def built(*arguments, tasks: int = 3, **options) -> GradDrop:
    balancer = GradDrop(*arguments, **options)
    balancer.build(tasks)
    return balancer


def test_the_chance_of_the_positive_sign_is_that_of_the_released_code() -> None:
    share = numpy(built().positive_share(GOLDEN.astype("float32")))
    np.testing.assert_allclose(share, [0.666667, 0.565217, 0.866667, 0.909091], atol=1e-6)


def test_all_that_is_kept_of_a_coordinate_has_one_sign() -> None:
    gradients = GOLDEN.astype("float32")
    balancer = built("sum", seed=0)
    positive = np.maximum(GOLDEN, 0).sum(axis=0)
    negative = np.minimum(GOLDEN, 0).sum(axis=0)
    drawn = np.array([numpy(balancer.combine([gradients])[0]) for _ in range(200)])
    is_positive = np.isclose(drawn, positive, atol=1e-6)
    assert np.all(is_positive | np.isclose(drawn, negative, atol=1e-6))
    share = numpy(balancer.positive_share(gradients))
    assert np.all(np.abs(is_positive.mean(axis=0) - share) < 4 * np.sqrt(share * (1 - share) / 200))
    expected = share * positive + (1 - share) * negative
    np.testing.assert_allclose(expected, [0.6, 0.3, 1.1, 0.9], atol=1e-6)


def test_the_mean_is_the_sum_over_the_number_of_tasks() -> None:
    gradients = [GOLDEN.astype("float32")]
    total = numpy(built("sum", seed=1).combine(gradients)[0])
    mean = numpy(built("mean", seed=1).combine(gradients)[0])
    np.testing.assert_allclose(mean, total / 3, rtol=1e-6)


def test_what_leaks_is_kept_whatever_its_sign() -> None:
    gradients = [GOLDEN.astype("float32")]
    total = numpy(built("sum", leak=1.0).combine(gradients)[0])
    np.testing.assert_allclose(total, GOLDEN.sum(axis=0), rtol=1e-5, atol=1e-6)
    one = built("sum", leak=[1.0, 0.0, 0.0], seed=2)
    rest = numpy(one.combine(gradients)[0]) - GOLDEN[0]
    choices = [np.maximum(GOLDEN[1:], 0).sum(axis=0), np.minimum(GOLDEN[1:], 0).sum(axis=0)]
    assert np.all(np.isclose(rest, choices[0], atol=1e-6) | np.isclose(rest, choices[1], atol=1e-6))


def test_on_a_representation_the_signs_are_those_of_the_batch() -> None:
    rng = np.random.default_rng(0)
    gradients = rng.normal(size=(2, 5, 3)).astype("float32")
    values = rng.normal(size=(5, 3)).astype("float32")
    signed = (gradients * np.sign(values)).sum(axis=1)
    expected = 0.5 * (1 + signed.sum(axis=0) / np.abs(signed).sum(axis=0))
    balancer = built("sum", tasks=2, scope="representation")
    np.testing.assert_allclose(
        numpy(balancer.positive_share(gradients, values)), expected, atol=1e-5
    )
    result = numpy(balancer.combine([gradients], [ops.convert_to_tensor(values)])[0])
    keep_positive = np.einsum("tbc,tc->bc", gradients, signed > 0)
    keep_negative = np.einsum("tbc,tc->bc", gradients, signed < 0)
    for channel in range(3):
        options = (keep_positive[:, channel], keep_negative[:, channel])
        assert any(np.allclose(result[:, channel], option, atol=1e-5) for option in options)


def test_it_works_on_coordinates_alone() -> None:
    with pytest.raises(ValueError, match="`scope` must be one of"):
        GradDrop(scope="all")
