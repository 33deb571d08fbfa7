"""Policies that learn tasks of an environment: REINFORCE, its baseline, and environments."""

from keras_univrep.reinforcement.adapted_returns import adapted_returns
from keras_univrep.reinforcement.discounted_returns import discounted_returns
from keras_univrep.reinforcement.environment import Environment
from keras_univrep.reinforcement.gaussian_head import GaussianHead
from keras_univrep.reinforcement.half_cheetah import HalfCheetah
from keras_univrep.reinforcement.linear_feature_baseline import LinearFeatureBaseline
from keras_univrep.reinforcement.navigation_2d import Navigation2D
from keras_univrep.reinforcement.policy_gradient_loss import PolicyGradientLoss
from keras_univrep.reinforcement.policy_rollouts import PolicyRollouts
from keras_univrep.reinforcement.policy_samples import policy_samples
from keras_univrep.reinforcement.sample_trajectories import sample_trajectories
from keras_univrep.reinforcement.trajectories import Trajectories

__all__ = [
    "Environment",
    "GaussianHead",
    "HalfCheetah",
    "LinearFeatureBaseline",
    "Navigation2D",
    "PolicyGradientLoss",
    "PolicyRollouts",
    "Trajectories",
    "adapted_returns",
    "discounted_returns",
    "policy_samples",
    "sample_trajectories",
]
