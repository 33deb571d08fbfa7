"""`policy_samples`: advantages against their definition."""

import numpy as np

from keras_univrep.reinforcement import (
    LinearFeatureBaseline,
    Trajectories,
    discounted_returns,
    policy_samples,
)


def test_advantages_are_normalised_over_the_steps_of_a_task() -> None:
    rng = np.random.default_rng(0)
    states, actions = rng.normal(size=(2, 3, 5, 2)), rng.normal(size=(2, 3, 5, 3))
    alive = np.ones((2, 3, 5), bool)
    alive[0, 1, 2:] = False
    rewards = np.where(alive, rng.normal(size=(2, 3, 5)), 0.0)
    seen = Trajectories(states, actions, rewards, alive)
    x, y = policy_samples(seen, 0.9)
    assert x.shape == (2, 15, 2) and y.shape == (2, 15, 6) and x.dtype == y.dtype == "float32"
    np.testing.assert_allclose(x.reshape(states.shape), states, rtol=1e-6)
    np.testing.assert_allclose(y[..., :3].reshape(actions.shape), actions, rtol=1e-6)
    values = LinearFeatureBaseline().fit(seen, 0.9).predict(seen)
    raw = discounted_returns(rewards, 0.9) - values
    for task in range(2):
        own = raw[task][alive[task]]
        wanted = np.zeros((3, 5))
        wanted[alive[task]] = (own - own.mean()) / own.std()
        for action in range(3, 6):
            found = y[task, :, action].reshape(3, 5)
            np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-5)


def test_equal_returns_have_no_advantage() -> None:
    states = np.zeros((1, 2, 3, 1))
    seen = Trajectories(states, states, np.zeros((1, 2, 3)), np.ones((1, 2, 3), bool))
    assert np.all(policy_samples(seen)[1] == 0.0)
