"""The loss whose gradient is that of the expected return."""

import math
from typing import Any

import keras
from keras import ops

from keras_univrep.types import Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class PolicyGradientLoss(keras.losses.Loss):
    """REINFORCE: advantages times the negative log-likelihood of the actions taken.

    Equation:
        shu2021, equation 18, over states s and actions a that the policy itself has visited:

            L = - mean over (s, a) of  A(s, a) log pi(a | s)

        | symbol | here | shape |
        |---|---|---|
        | log pi(a given s) | of means and logarithms of standard deviations, `y_pred` | (batch,) |
        | a, A | the two halves of `y_true` | (batch, actions) each |

    Differences: The paper writes the return, to be made large, and Q in place of A; A is Q less a
        baseline of the state, which leaves the expected gradient as it is. For the shape of the
        outputs the advantage stands once for each number of the action.

    Args:
        **kwargs: `name`, `reduction` and `dtype` of a Keras loss.

    Call arguments:
        y_true: Actions, then advantages, (batch, 2 actions): `policy_samples` makes them.
        y_pred: What a `GaussianHead` says, (batch, 2 actions).

    Example:
        >>> import numpy as np
        >>> from keras_univrep.reinforcement import PolicyGradientLoss
        >>> standard_normal = np.zeros((1, 2), "float32")
        >>> loss = PolicyGradientLoss()(np.array([[0.0, 2.0]], "float32"), standard_normal)
        >>> round(float(loss), 4)  # 2 log(sqrt(2 pi))
        1.8379

    References:
        - Shu, Cao, Gao, Wang, Long. Omni-Training for data-efficient deep learning. 2021.
        - Williams. Simple statistical gradient-following algorithms for connectionist
          reinforcement learning. 1992.
    """

    def __init__(self, name: str = "policy_gradient_loss", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        if y_true.shape[-1] != y_pred.shape[-1] or y_pred.shape[-1] % 2:
            raise ValueError(
                "Targets must be actions and advantages, as many as means and standard deviations. "
                f"Received: targets {tuple(y_true.shape)}, outputs {tuple(y_pred.shape)}. Make "
                "targets by `policy_samples` and outputs by `GaussianHead`."
            )
        actions, advantages = ops.split(y_true, 2, axis=-1)
        means, log_std = ops.split(y_pred, 2, axis=-1)
        errors = (actions - means) * ops.exp(-log_std)
        likelihoods = -0.5 * ops.square(errors) - log_std - 0.5 * math.log(2 * math.pi)
        return -ops.sum(advantages * likelihoods, axis=-1)  # shu2021 eq. 18
