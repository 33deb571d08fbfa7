"""Balancers that keep something from step to step: values, gradients and what they converge to."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep import backend, balancers
from tests.balancers.helpers import numpy, weights
from tests.balancers.oracles import GOLDEN, GOLDEN_LOSSES

LOSSES = GOLDEN_LOSSES.astype("float32")
GRAM = (GOLDEN @ GOLDEN.T).astype("float32")


def built(balancer: balancers.Balancer, **values) -> balancers.Balancer:
    balancer.build(3)
    for name, value in values.items():
        getattr(balancer, name).assign(np.array(value, "float32"))
    return balancer


def built_for(balancer: balancers.Balancer, tasks: int) -> balancers.Balancer:
    balancer.build(tasks)
    return balancer


def optimizer_like(optimizer: keras.Optimizer) -> keras.Optimizer:
    return type(optimizer).from_config(optimizer.get_config())


def step(balancer: balancers.Balancer, optimizer: keras.Optimizer, losses, gram) -> None:
    """What a model does with a balancer in a step."""
    balancer(losses, gram)
    grads = balancer.variable_gradients(losses, gram)
    backend.apply_gradients(optimizer, grads, balancer.trainable_variables)
    balancer.update(losses, gram)


@pytest.mark.parametrize(
    ("balancer", "expected"),
    [
        (balancers.Uncertainty(2.0), 2.629879),
        (balancers.Uncertainty([1.0, 2.0, 2.0]), 3.619111),
    ],
)
def test_uncertainty_has_the_objective_of_the_released_code(balancer, expected) -> None:
    np.testing.assert_allclose(float(built(balancer).objective(LOSSES)), expected, rtol=1e-6)


def test_imtl_l_has_the_objective_of_the_released_code() -> None:
    balancer = built(balancers.IMTLL(), scales=[0.1, -0.2, 0.3])
    np.testing.assert_allclose(float(balancer.objective(LOSSES)), 4.828344, rtol=1e-6)


@pytest.mark.parametrize(
    ("balancer", "name"),
    [(balancers.Uncertainty(1.5), "sigma"), (balancers.IMTLL(), "scales")],
)
def test_trained_variables_follow_the_gradient_of_the_objective(balancer, name) -> None:
    balancer = built(balancer, **{name: [0.1, -0.2, 0.3]})
    variable = getattr(balancer, name)
    _, _, (expected,) = backend.gradients(lambda: (balancer.objective(LOSSES), ()), [variable])
    (actual,) = balancer.variable_gradients(LOSSES)
    np.testing.assert_allclose(numpy(actual), numpy(expected), rtol=1e-5)


def test_uncertainty_and_imtl_l_end_where_the_tasks_weigh_alike() -> None:
    for balancer, product in ((balancers.Uncertainty(), 0.5), (balancers.IMTLL(), 1.0)):
        built(balancer)
        optimizer = keras.optimizers.SGD(0.3)
        for _ in range(60):
            step(balancer, optimizer, LOSSES, None)
        np.testing.assert_allclose(numpy(balancer(LOSSES)) * GOLDEN_LOSSES, product, rtol=1e-2)


def test_imtl_h_scales_the_losses_and_then_projects_equally() -> None:
    scales = np.array([0.1, -0.2, 0.3])
    balancer = built(balancers.IMTLH(), scales=scales)
    w = weights(balancer, GOLDEN, GOLDEN_LOSSES)
    plain = weights(balancers.IMTLG(), np.exp(scales)[:, None] * GOLDEN)
    np.testing.assert_allclose(w, plain * np.exp(scales), rtol=1e-4)
    np.testing.assert_allclose(numpy(balancer.head_weights(LOSSES, w)), np.exp(scales), rtol=1e-6)
    (gradient,) = balancer.variable_gradients(LOSSES)
    np.testing.assert_allclose(numpy(gradient), np.exp(scales) * GOLDEN_LOSSES - 1, rtol=1e-5)


def test_gradnorm_has_the_numbers_of_the_definition() -> None:
    balancer = built(balancers.GradNorm(), first=[2.0, 0.5, 2.6])
    np.testing.assert_allclose(
        numpy(balancer.targets(LOSSES, GRAM)), [0.839823, 1.292992, 1.703769], rtol=1e-5
    )
    np.testing.assert_allclose(float(balancer.balance_loss(LOSSES, GRAM)), 0.720301, rtol=1e-5)
    (gradient,) = balancer.variable_gradients(LOSSES, GRAM)
    np.testing.assert_allclose(numpy(gradient), [1.174734, -1.081665, -1.529706], rtol=1e-5)


def test_gradnorm_evens_out_lengths_and_keeps_the_sum_of_its_weights() -> None:
    balancer = built(balancers.GradNorm())
    optimizer = keras.optimizers.SGD(0.002)
    gram = np.diag([1.0, 16.0, 4.0]).astype("float32")
    for _ in range(250):
        step(balancer, optimizer, LOSSES, gram)
    w = numpy(balancer(LOSSES, gram))
    np.testing.assert_allclose(w.sum(), 3.0, rtol=1e-5)
    lengths = w * [1.0, 4.0, 2.0]
    np.testing.assert_allclose(lengths, lengths.mean(), rtol=0.05)
    np.testing.assert_allclose(numpy(balancer.first), GOLDEN_LOSSES, rtol=1e-6)


def test_gradnorm_leaves_out_a_task_without_targets() -> None:
    balancer = built(balancers.GradNorm())
    lengths = np.array([1.0, 4.0, 2.0])
    empty, gram = np.array([0.0, 0.4, 2.5], "float32"), np.diag([0.0, 16.0, 4.0]).astype("float32")
    optimizer = keras.optimizers.SGD(0.002)
    step(balancer, optimizer, empty, gram)
    np.testing.assert_allclose(numpy(balancer.first), empty, rtol=1e-6)
    step(balancer, optimizer, np.zeros(3, "float32"), np.zeros((3, 3), "float32"))
    w = numpy(balancer(LOSSES, gram))
    # The two others are pulled towards the mean of their own lengths, as if they were alone.
    pair = balancers.GradNorm()
    step(built_for(pair, 2), optimizer_like(optimizer), empty[1:], gram[1:, 1:])
    ratio = numpy(pair(empty[1:], gram[1:, 1:]))
    np.testing.assert_allclose(w[2] / w[1], ratio[1] / ratio[0], rtol=1e-5)
    # Its first loss is that of the first batch where it has one.
    step(balancer, optimizer, LOSSES, np.diag(lengths**2).astype("float32"))
    np.testing.assert_allclose(numpy(balancer.first), LOSSES, rtol=1e-6)


def test_gradnorm_by_softmax_waits_for_the_first_epoch() -> None:
    balancer = built(balancers.GradNorm(form="softmax", reference="first_epoch"))
    balancer.start_epoch()
    optimizer = keras.optimizers.SGD(0.01)
    for losses in (LOSSES, 3 * LOSSES):
        step(balancer, optimizer, losses, GRAM)
    np.testing.assert_allclose(numpy(balancer(LOSSES, GRAM)), 1.0, rtol=1e-6)
    balancer.start_epoch()
    np.testing.assert_allclose(numpy(balancer.first), 2 * GOLDEN_LOSSES, rtol=1e-6)
    for _ in range(5):
        step(balancer, optimizer, LOSSES, GRAM)
    w = numpy(balancer(LOSSES, GRAM))
    assert not np.allclose(w, 1.0) and np.isclose(w.sum(), 3.0)
    balancer.start_epoch()
    np.testing.assert_allclose(numpy(balancer.first), 2 * GOLDEN_LOSSES, rtol=1e-6)


def test_the_softmax_of_gradnorm_has_the_gradient_of_its_loss() -> None:
    balancer = built(
        balancers.GradNorm(form="softmax"), trained=[0.2, -0.1, 0.4], first=[2.0, 0.5, 2.6]
    )
    targets = numpy(balancer.targets(LOSSES, GRAM))
    lengths = np.linalg.norm(GOLDEN, axis=1)

    def loss(p: np.ndarray) -> float:
        w = 3 * np.exp(p) / np.exp(p).sum()
        return np.abs(w * lengths - targets).sum()

    point = np.array([0.2, -0.1, 0.4])
    slopes = [(loss(point + 1e-6 * e) - loss(point - 1e-6 * e)) / 2e-6 for e in np.eye(3)]
    (gradient,) = balancer.variable_gradients(LOSSES, GRAM)
    np.testing.assert_allclose(numpy(gradient), slopes, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("temperature", "expected"),
    [(1.0, [0.865715, 1.031909, 1.102376]), (2.0, [0.931616, 1.017115, 1.051269])],
)
def test_dwa_weighs_by_the_means_of_the_last_two_epochs(temperature, expected) -> None:
    balancer = built(balancers.DWA(temperature))
    epochs = np.array([[1.5, 0.41, 2.4], [1.2, 0.4, 2.5]], "float32")
    balancer.start_epoch()
    for losses in epochs:
        np.testing.assert_array_equal(numpy(balancer(LOSSES)), 1.0)
        for factor in (0.5, 1.5):
            balancer.update(factor * losses)
        balancer.start_epoch()
    np.testing.assert_allclose(numpy(balancer(LOSSES)), expected, atol=2e-6)
    # An epoch without steps, as a resumed training may begin with, changes nothing.
    balancer.start_epoch()
    np.testing.assert_allclose(numpy(balancer(LOSSES)), expected, atol=2e-6)


def test_famo_weighs_and_moves_as_its_paper_says() -> None:
    balancer = built(balancers.FAMO(learning_rate=0.1, decay=0.01), logits=[0.3, -0.2, 0.1])
    logits = np.array([0.3, -0.2, 0.1])
    shares = np.exp(logits) / np.exp(logits).sum()
    expected = shares / GOLDEN_LOSSES
    np.testing.assert_allclose(numpy(balancer(LOSSES)), expected / expected.sum(), rtol=1e-5)
    after = np.array([1.0, 0.39, 1.5])
    delta = np.log(GOLDEN_LOSSES) - np.log(after)
    jacobian = np.diag(shares) - np.outer(shares, shares)
    gradient = jacobian @ delta + 0.01 * logits
    balancer.after_step(LOSSES, after.astype("float32"))
    # The first step of Adam is of the size of the rate.
    moved = logits - 0.1 * np.sign(gradient)
    np.testing.assert_allclose(numpy(balancer.logits), moved, atol=1e-5)
    # The task that fell least weighs more than before.
    assert numpy(balancer.logits)[1] > logits[1]


def test_fixed_and_uniform_weigh_as_they_are_told() -> None:
    balancer = balancers.Fixed({"normals": 2.0, "depth": 0.5})
    balancer.build(["depth", "normals"])
    np.testing.assert_array_equal(numpy(balancer([3.0, 4.0])), [0.5, 2.0])
    np.testing.assert_array_equal(numpy(balancers.Uniform()([3.0, 4.0])), [1.0, 1.0])
    with pytest.raises(ValueError, match="`values` must name each task once"):
        balancers.Fixed({"normals": 2.0}).build(["depth", "normals"])


def test_what_is_kept_is_saved(tmp_path) -> None:
    balancer = built(balancers.GradNorm(), trained=[0.5, 1.0, 1.5], first=[2.0, 0.5, 2.6])

    class Holder(keras.Model):
        def __init__(self, balancer: balancers.Balancer) -> None:
            super().__init__()
            self.held = balancer.state
            self.built = True

    Holder(balancer).save_weights(tmp_path / "a.weights.h5")
    other = built(balancers.GradNorm())
    Holder(other).load_weights(tmp_path / "a.weights.h5")
    for a, b in zip(balancer.state.variables, other.state.variables, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(a), ops.convert_to_numpy(b))


def test_nash_mtl_keeps_its_weights_for_some_steps() -> None:
    balancer = built(balancers.NashMTL(update_weights_every=2))
    plain = balancers.NashMTL()
    found = []
    for factor in (1.0, 2.0, 4.0):
        found.append(numpy(balancer(LOSSES, factor * GRAM)))
        balancer.update(LOSSES, factor * GRAM)
    np.testing.assert_allclose(found[0], numpy(plain(LOSSES, GRAM)), rtol=1e-5)
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_allclose(found[2], numpy(plain(LOSSES, 4.0 * GRAM)), rtol=1e-5)
