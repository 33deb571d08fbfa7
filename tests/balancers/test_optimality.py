"""Each solver's answer is the optimum that its paper defines, also for badly scaled tasks."""

from __future__ import annotations

import numpy as np
import pytest

from keras_univrep import balancers
from tests.balancers import oracles
from tests.balancers.helpers import combined, weights

CASES = [(2, 0), (3, 0), (3, 1), (5, 0)]
cases = pytest.mark.parametrize(("tasks", "seed"), CASES)


@cases
def test_mgda_gives_the_shortest_vector_of_the_hull(tasks: int, seed: int) -> None:
    gradients = oracles.conflicting(tasks, seed=seed)
    w = weights(balancers.MGDA(), gradients)
    assert np.isclose(w.sum(), 1.0) and w.min() >= 0
    d = w @ gradients
    # The conditions of Karush, Kuhn and Tucker: no gradient reaches less far along d.
    products = gradients @ d
    largest = np.abs(gradients @ gradients.T).max()
    assert products.min() >= d @ d - 1e-5 * largest
    best = oracles.min_norm(gradients) @ gradients
    assert np.linalg.norm(d) <= np.linalg.norm(best) + 1e-4 * np.linalg.norm(gradients, axis=1)[0]


@cases
@pytest.mark.parametrize("c", [0.4, 0.9])
def test_cagrad_solves_its_problem(tasks: int, seed: int, c: float) -> None:
    gradients = oracles.conflicting(tasks, seed=seed)
    expected = oracles.cagrad(gradients, c)
    actual = combined(balancers.CAGrad(c, rescale=0), gradients)
    scale = np.linalg.norm(gradients.mean(axis=0))
    assert np.linalg.norm(actual - expected) < 2e-3 * scale
    # The worst task gains at least as much as with the solution of SciPy.
    assert (gradients @ actual).min() > (gradients @ expected).min() - 1e-4 * scale**2
    # On the ball around the mean.
    distance = np.linalg.norm(actual - gradients.mean(axis=0))
    np.testing.assert_allclose(distance, c * scale, rtol=1e-4)


@pytest.mark.parametrize(("tasks", "seeds"), [(2, 10), (3, 30), (5, 5)])
def test_cagrad_converges_for_all_gradients(tasks: int, seeds: int) -> None:
    balancer = balancers.CAGrad(rescale=0)
    for seed in range(seeds):
        gradients = oracles.conflicting(tasks, seed=seed)
        expected = oracles.cagrad(gradients, 0.5)
        actual = combined(balancer, gradients)
        scale = np.linalg.norm(gradients.mean(axis=0))
        assert np.linalg.norm(actual - expected) < 1e-3 * scale, seed
        assert (gradients @ actual).min() > (gradients @ expected).min() - 1e-4 * scale**2, seed


def test_cagrad_of_many_tasks_is_near_its_solution() -> None:
    gradients = oracles.conflicting(8)
    actual = combined(balancers.CAGrad(rescale=0), gradients)
    expected = oracles.cagrad(gradients, 0.5)
    scale = np.linalg.norm(gradients.mean(axis=0))
    assert np.linalg.norm(actual - expected) < 2e-2 * scale
    alone = combined(balancers.CAGrad(rescale=0), np.vstack([gradients, np.zeros(12)]) * 9 / 8)
    assert np.linalg.norm(alone - actual) < 2e-2 * scale


def test_cagrad_knows_its_conventions() -> None:
    gradients = oracles.GOLDEN
    plain = combined(balancers.CAGrad(0.5, rescale=0), gradients)
    total = combined(balancers.CAGrad(0.5, rescale=2, reduction="sum"), gradients)
    np.testing.assert_allclose(total, 3 * plain / 1.5, rtol=1e-5)
    mean = combined(balancers.CAGrad(0.0), gradients)
    np.testing.assert_allclose(mean, gradients.mean(axis=0), rtol=1e-5)


@cases
def test_nash_mtl_solves_its_equation(tasks: int, seed: int) -> None:
    gradients = oracles.conflicting(tasks, seed=seed)
    w = weights(balancers.NashMTL(max_norm=None), gradients)
    assert w.min() > 0
    np.testing.assert_allclose(w * (gradients @ gradients.T @ w), 1.0, rtol=2e-3)
    assert (gradients @ (w @ gradients)).min() > 0
    short = combined(balancers.NashMTL(max_norm=0.5), gradients)
    np.testing.assert_allclose(np.linalg.norm(short), 0.5, rtol=1e-4)


@cases
def test_upgrad_is_the_mean_of_projections_on_the_dual_cone(tasks: int, seed: int) -> None:
    gradients = oracles.conflicting(tasks, seed=seed)
    rows = [oracles.cone_projection(gradients, g) for g in gradients]
    actual = combined(balancers.UPGrad(), gradients)
    scale = np.linalg.norm(gradients, axis=1).max()
    np.testing.assert_allclose(actual, np.mean(rows, axis=0), atol=1e-4 * scale)
    assert oracles.projections(gradients, actual).min() > -1e-4 * scale
    total = combined(balancers.UPGrad("sum"), gradients)
    np.testing.assert_allclose(total, tasks * actual, rtol=1e-4, atol=1e-5 * scale)


@cases
def test_imtl_g_projects_equally_on_all_gradients(tasks: int, seed: int) -> None:
    gradients = oracles.conflicting(tasks, seed=seed)
    w = weights(balancers.IMTLG(), gradients)
    np.testing.assert_allclose(w.sum(), 1.0, rtol=1e-4)
    found = oracles.projections(gradients, w @ gradients)
    np.testing.assert_allclose(found, found.mean(), rtol=5e-3, atol=1e-5)
    half = weights(balancers.IMTLG("mean"), gradients)
    np.testing.assert_allclose(half, w / tasks, rtol=1e-5)


@pytest.mark.parametrize("scale", ["min", "median", "rmse"])
def test_aligned_mtl_makes_gradients_orthogonal_and_of_one_length(scale: str) -> None:
    gradients = oracles.GOLDEN
    u, s, v = np.linalg.svd(gradients, full_matrices=False)
    chosen = {"min": s[-1], "median": s[1], "rmse": np.sqrt((s**2).mean())}[scale]
    expected = (chosen * u @ v).mean(axis=0)
    actual = combined(balancers.AlignedMTL(scale), gradients)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-6)
    total = combined(balancers.AlignedMTL(scale, "sum"), gradients)
    np.testing.assert_allclose(total, 3 * expected, rtol=1e-4, atol=1e-6)


def test_aligned_mtl_leaves_out_directions_that_do_not_exist() -> None:
    gradients = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    u, s, v = np.linalg.svd(gradients, full_matrices=False)
    expected = s[1] * (u[:, :2] @ v[:2]).mean(axis=0)
    np.testing.assert_allclose(combined(balancers.AlignedMTL(), gradients), expected, atol=1e-5)
