"""What every balancer owes: symmetry, finite numbers over all scales, configuration, errors."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_univrep import balancers
from tests.balancers import oracles
from tests.balancers.helpers import combined, weights

NAMES = [
    "aligned_mtl", "cagrad", "dwa", "famo", "graddrop", "gradnorm", "imtl_g", "imtl_h", "imtl_l",
    "mgda", "mgda_ub", "nash_mtl", "pcgrad", "uncertainty", "uniform", "upgrad",
]  # fmt: skip
every = pytest.mark.parametrize("name", NAMES)


def make(name: str) -> balancers.Balancer:
    # The order of the projections would hide the symmetry.
    return balancers.PCGrad(order="fixed") if name == "pcgrad" else balancers.get(name)


@every
def test_tasks_may_be_renamed(name: str) -> None:
    # With two tasks, as the result of PCGrad depends on the order of more.
    gradients = oracles.GOLDEN[:2] if name == "pcgrad" else oracles.GOLDEN
    losses = oracles.GOLDEN_LOSSES[: len(gradients)]
    there = np.roll(np.arange(len(gradients)), 1)
    expected = weights(make(name), gradients, losses)[there]
    actual = weights(make(name), gradients[there], losses[there])
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


@every
def test_weights_stay_finite_over_all_scales(name: str) -> None:
    balancer = make(name)
    for scale in (0.0, 1e-10, 1.0, 1e10):
        found = weights(balancer, scale * oracles.GOLDEN, oracles.GOLDEN_LOSSES)
        assert np.all(np.isfinite(found)), scale
    for gradients in (
        np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]]),  # opposite
        np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]]),  # equal, and none
    ):
        assert np.all(np.isfinite(weights(balancer, gradients)))


@pytest.mark.parametrize("name", ["cagrad", "mgda", "pcgrad", "upgrad", "imtl_g", "aligned_mtl"])
@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_the_combination_scales_with_the_gradients(name: str, scale: float) -> None:
    expected = scale * combined(make(name), oracles.GOLDEN)
    actual = combined(make(name), scale * oracles.GOLDEN)
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-4 * scale)


@pytest.mark.parametrize("name", ["nash_mtl", "imtl_g"])
def test_the_scale_of_one_task_does_not_matter(name: str) -> None:
    expected = combined(make(name), oracles.GOLDEN)
    actual = combined(make(name), np.array([[1.0], [100.0], [0.01]]) * oracles.GOLDEN)
    cosine = actual @ expected / np.linalg.norm(actual) / np.linalg.norm(expected)
    np.testing.assert_allclose(cosine, 1.0, atol=1e-5)


@pytest.mark.parametrize("name", ["mgda", "nash_mtl", "upgrad", "aligned_mtl", "imtl_g"])
def test_no_task_is_harmed(name: str) -> None:
    for seed in range(3):
        gradients = oracles.conflicting(3, seed=seed) * [[1.0], [0.05], [0.005]]
        d = combined(balancers.get(name), gradients)
        size = np.linalg.norm(d) * np.linalg.norm(gradients, axis=1)
        assert np.all(gradients @ d > -1e-4 * size)


@pytest.mark.parametrize("name", ["cagrad", "mgda", "mgda_ub", "nash_mtl", "famo"])
def test_a_task_without_a_gradient_is_left_out_of_the_balance(name: str) -> None:
    gradients, losses = oracles.GOLDEN[:2], oracles.GOLDEN_LOSSES[:2]
    there = [0, 2]
    wide = np.zeros((3, gradients.shape[1]))
    wide[there] = gradients
    size = np.zeros(3)
    size[there] = losses
    found = weights(balancers.get(name), wide, size)
    if name == "cagrad":
        # The mean around which it searches is that of three tasks.
        c = balancers.CAGrad(c=0.5, rescale=0)
        expected = 2 / 3 * weights(c, gradients, losses) / 1.25
        np.testing.assert_allclose(found[1], 1 / 3 / 1.25, rtol=1e-4)
    else:
        expected = weights(balancers.get(name), gradients, losses)
        np.testing.assert_allclose(found[1], 0.0 if name == "famo" else 1.0, rtol=1e-4)
    np.testing.assert_allclose(found[there], expected, rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["cagrad", "nash_mtl"])
@pytest.mark.parametrize("gap", [0.0, 1e-7, 1e-4, 1e-2])
def test_nearly_opposite_gradients_give_no_long_step(name: str, gap: float) -> None:
    gradients = np.array([[1.0, 0.0], [-1.0, gap]])
    found = weights(balancers.get(name), gradients)
    mean = np.linalg.norm(gradients.mean(axis=0))
    if name == "cagrad":
        assert np.linalg.norm(found @ gradients) < 1.6 * mean + 1e-3
    else:
        assert np.abs(found).max() < 10.1 and np.linalg.norm(found @ gradients) < 1.01


@every
def test_one_task_alone_goes_its_own_way(name: str) -> None:
    found = weights(balancers.get(name), oracles.GOLDEN[:1], oracles.GOLDEN_LOSSES[:1])
    assert found.shape == (1,) and found[0] > 0


@every
def test_the_configuration_gives_the_same_balancer(name: str) -> None:
    balancer = balancers.get(name)
    again = balancers.get(keras.saving.serialize_keras_object(balancer))
    assert type(again) is type(balancer)
    assert again.get_config() == balancer.get_config()
    assert balancers.get(balancer) is balancer


def test_each_option_is_in_the_configuration() -> None:
    for balancer in (
        balancers.CAGrad(0.4, 2, "sum", 30, "shared", "mean"),
        balancers.PCGrad("sum", "fixed", False, 7, "all", "weighted"),
        balancers.MGDA("l2", 30, "representation", "sum"),
        balancers.GradDrop("sum", [0.1, 0.2], 3, "representation", "mean"),
        balancers.GradNorm(0.5, "softmax", "first_epoch", "representation"),
        balancers.Uncertainty({"a": 1.0, "b": 2.0}, 0.0),
        balancers.Fixed({"a": 1.0, "b": 2.0}),
        balancers.UPGrad("sum", 1e-4, "all", "mean"),
        balancers.AlignedMTL("rmse", "sum", "all", "mean"),
        balancers.NashMTL(2.0, 10, 3, "all", "sum"),
        balancers.IMTLG("mean", "representation_mean", "mean"),
        balancers.IMTLH("mean", 0.1, "all"),
        balancers.FAMO(0.1, 0.2, [0.0, 0.1]),
        balancers.DWA(2.0),
    ):
        config = keras.saving.serialize_keras_object(balancer)
        again = keras.saving.deserialize_keras_object(config)
        assert again.get_config() == balancer.get_config()
        assert balancer.get_config() != {} and vars(again).keys() >= balancer.get_config().keys()
        for name, value in again.get_config().items():
            assert getattr(balancer, name) == value


def test_a_name_may_come_with_arguments() -> None:
    assert balancers.get("fixed", values=[1.0, 2.0]).values == [1.0, 2.0]
    assert balancers.get("mgda_ub", iterations=7).get_config() == {
        **balancers.get("mgda_ub").get_config(), "iterations": 7,
    }  # fmt: skip
    with pytest.raises(ValueError, match="'fixed' needs the weights"):
        balancers.get("fixed")
    with pytest.raises(ValueError, match="must come with the name"):
        balancers.get(balancers.Uniform(), reduction="mean")


def test_unusable_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="must be one of .*'pcgrad'"):
        balancers.get("pc_grad")
    with pytest.raises(TypeError, match="A balancer must be"):
        balancers.get(3)
    for make_it, words in (
        (lambda: balancers.CAGrad(-1), "`c` must be 0 or more"),
        (lambda: balancers.CAGrad(rescale=5), "`rescale` must be one of"),
        (lambda: balancers.MGDA("l3"), "`normalization` must be one of"),
        (lambda: balancers.PCGrad("max"), "`reduction` must be one of"),
        (lambda: balancers.PCGrad(scope="head"), "`scope` must be one of"),
        (lambda: balancers.DWA(0.0), "`temperature` must be above 0"),
        (lambda: balancers.NashMTL(0.0), "`max_norm` must be above 0"),
        (lambda: balancers.Uncertainty([1.0]).build(2), "`scales` must hold one number for each"),
        (lambda: balancers.Uniform().build(["a", "a"]), "names of the tasks must differ"),
        (lambda: balancers.PCGrad()([1.0, 2.0]), "needs `gram`"),
        (lambda: balancers.PCGrad()([1.0, 2.0], np.eye(3)), "`gram` must have the shape"),
        (lambda: balancers.Uniform()(1.0), "`losses` must have the shape"),
    ):
        with pytest.raises(ValueError, match=words):
            make_it()
    balancer = balancers.Uniform()
    balancer([1.0, 2.0])
    with pytest.raises(ValueError, match="keep its number of tasks"):
        balancer.build(3)
