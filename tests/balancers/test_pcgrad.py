"""PCGrad by the Gram matrix is PCGrad on the gradients."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from keras_univrep.balancers import PCGrad
from tests.balancers import oracles
from tests.balancers.helpers import combined, weights


def test_a_fixed_order_projects_as_the_vectors_do() -> None:
    for tasks in (2, 3, 5):
        gradients = oracles.conflicting(tasks)
        order = np.tile(np.arange(tasks), (tasks, 1))
        expected = oracles.pcgrad(gradients, order)
        scale = np.abs(gradients).max()
        total = combined(PCGrad("sum", order="fixed"), gradients)
        np.testing.assert_allclose(total, expected, atol=1e-5 * scale)
        mean = combined(PCGrad(order="fixed"), gradients)
        np.testing.assert_allclose(mean, expected / tasks, atol=1e-5 * scale)


def test_a_random_order_is_one_of_the_orders_and_differs_from_step_to_step() -> None:
    possible = oracles.pcgrad_results(oracles.GOLDEN)
    balancer = PCGrad("sum", seed=3)
    drawn = [combined(balancer, oracles.GOLDEN) for _ in range(60)]
    errors = [np.abs(possible - d).max(axis=1).min() for d in drawn]
    assert max(errors) < 1e-5
    assert len({tuple(np.round(d, 4)) for d in drawn}) > 3
    # The expectation over all orders, and what the released code gives for it.
    np.testing.assert_allclose(
        possible.mean(axis=0), [0.677513, 0.808634, 1.732658, 1.269362], atol=1e-6
    )
    spread = possible.std(axis=0) / np.sqrt(len(drawn))
    assert np.all(np.abs(np.mean(drawn, axis=0) - possible.mean(axis=0)) < 4 * spread + 1e-6)


def test_the_same_seed_draws_the_same_orders_also_after_saving() -> None:
    first, second = PCGrad(seed=5), PCGrad(seed=5)
    for _ in range(3):
        a, b = weights(first, oracles.GOLDEN), weights(second, oracles.GOLDEN)
        np.testing.assert_array_equal(a, b)
    states = [v for v in first.state.variables if "seed" in v.path]
    assert len(states) == 1
    before = ops.convert_to_numpy(states[0]).copy()
    weights(first, oracles.GOLDEN)
    assert not np.array_equal(before, ops.convert_to_numpy(states[0]))


def test_gradients_without_conflict_are_left_alone() -> None:
    w = weights(PCGrad("sum"), np.array([[1.0, 0.0, 0.1], [0.2, 1.0, 0.0], [0.0, 0.1, 1.0]]))
    np.testing.assert_array_equal(w, 1.0)


def test_a_gradient_may_be_projected_on_itself() -> None:
    rng = np.random.default_rng(1)
    differ = 0
    for _ in range(200):
        gradients = rng.normal(size=(4, 3))
        for include in (True, False):
            others = [[j for j in range(4) if include or j != i] for i in range(4)]
            expected = oracles.pcgrad(gradients, others)
            if include:
                with_self = expected
        differ += not np.allclose(with_self, expected)
        if differ == 1 and not np.allclose(with_self, expected):
            for include, vector in ((True, with_self), (False, expected)):
                balancer = PCGrad("sum", order="fixed", include_self=include)
                np.testing.assert_allclose(combined(balancer, gradients), vector, atol=1e-4)
    assert differ


def test_the_generator_belongs_to_the_state() -> None:
    balancer = PCGrad()
    balancer.build(3)
    assert isinstance(balancer.generator, keras.random.SeedGenerator)
    assert len(balancer.state.variables) == 1
