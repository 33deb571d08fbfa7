"""`PolicyRollouts`: each flow learns from what it did, and returns rise."""

import keras
import numpy as np
import pytest

from keras_univrep.backbones import MLP, OmniNet
from keras_univrep.models import OmniTraining
from keras_univrep.reinforcement import (
    GaussianHead,
    Navigation2D,
    PolicyGradientLoss,
    PolicyRollouts,
)
from tests.harness import bits


def make(**kwargs) -> OmniTraining:
    keras.utils.set_random_seed(0)
    network = OmniNet(MLP(2, (8,)), branch_initializer="glorot_uniform")
    options = {"steps": 1, "learning_rate": 0.1}
    return OmniTraining(network, GaussianHead(2, 0.5), "maml", options, **kwargs)


def compiled(model: OmniTraining) -> OmniTraining:
    model.compile(keras.optimizers.Adam(0.02), PolicyGradientLoss())
    return model


def test_items_hold_what_each_flow_did() -> None:
    model = compiled(make())
    source = PolicyRollouts(model, Navigation2D(5), tasks=2, rollouts=3, seed=1)
    before = bits(model)
    item = source.item(4)
    assert set(item["batch"]) == {"joint", "pre"} and set(item["episode"]) == {"joint", "meta"}
    assert item["batch"]["pre"][0].shape == (2 * 3 * 5, 2)
    support = item["episode"]["joint"]["support"]
    # The joint flow is pre-trained on what it adapts to.
    np.testing.assert_array_equal(item["batch"]["joint"][1], support[1].reshape(-1, 4))
    assert not np.array_equal(support[1], item["episode"]["meta"]["support"][1])
    assert not np.array_equal(support[1], item["episode"]["joint"]["query"][1])
    assert np.isnan(source.returns["pre"][1]) and source.returns["meta"][1] < 0.0
    again = source.item(4)
    np.testing.assert_allclose(item["batch"]["pre"][1], again["batch"]["pre"][1], rtol=1e-4)
    after = bits(model)
    assert all(np.array_equal(before[path], after[path]) for path in before)


class OneGoal(Navigation2D):
    """Always the same goal, which a policy can learn without adaptation."""

    def sample_goals(self, count, rng):
        return np.full((count, 2), 0.4)


def test_training_raises_the_return() -> None:
    keras.utils.set_random_seed(0)
    network = OmniNet(MLP(2, (8,)))
    model = compiled(OmniTraining(network, GaussianHead(2), losses=["joint"], joint_terms=["pre"]))
    source = PolicyRollouts(model, OneGoal(10), tasks=4, rollouts=5)
    returns = []
    for number in range(30):
        model.train_on_batch(source.item(number))
        returns.append(source.returns["joint"][0])
    assert np.mean(returns[-5:]) > np.mean(returns[:5]) + 0.5


def test_a_step_takes_what_all_flows_did() -> None:
    model = compiled(make())
    source = PolicyRollouts(model, Navigation2D(5), tasks=2, rollouts=3)
    for number in range(2):
        logs = model.train_on_batch(source.item(number), return_dict=True)
    assert float(logs["meta_distillation"]) > 0.0 and np.isfinite(float(logs["loss"]))
    item = source.item(2)
    del item["episode"]["meta"]
    with pytest.raises(ValueError, match="must hold each flow that is trained on it"):
        model.train_on_batch(item)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="`model` must be compiled"):
        PolicyRollouts(make(), Navigation2D())
    with pytest.raises(ValueError, match="`tasks` must be positive"):
        PolicyRollouts(compiled(make()), Navigation2D(), tasks=0)
