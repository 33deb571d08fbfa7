"""Dynamic weight averaging."""

from typing import Any

import keras
from keras import ops

from keras_univrep.balancers.balancer import Balancer, check_positive
from keras_univrep.types import Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class DWA(Balancer):
    """Tasks whose loss falls more slowly weigh more in the next epoch.

    Equation:
        liu2019, eq. 7, for epoch k:

            w_t = tasks softmax_t(r_t / T),   r_t = L_t(k - 1) / L_t(k - 2)

        | symbol | here | shape |
        |---|---|---|
        | L_t(k) | mean of the loss over the steps of epoch k | (tasks,) |
        | T | `temperature` | |

        In the first two epochs w = 1.

    Differences:
        The released code of li2022 takes T = 1, as here by default; liu2019 T = 2.

    Args:
        temperature: T. The higher, the more even the weights.

    Example:
        >>> from keras_univrep.balancers import DWA
        >>> balancer = DWA()
        >>> for losses in ([4.0, 4.0], [2.0, 4.0]):
        ...     _ = balancer(losses)
        ...     balancer.update(losses)
        ...     balancer.start_epoch()
        >>> [round(float(w), 4) for w in balancer([2.0, 4.0])]
        [0.7551, 1.2449]

    References:
        - Liu, Johns and Davison, End-to-end multi-task learning with attention, 2019.
    """

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        self.temperature = check_positive("temperature", temperature)

    def make_variables(self) -> None:
        self.sums = self.add_variable("sums")
        self.steps = self.add_variable("steps", shape=())
        self.last = self.add_variable("last")
        self.before_last = self.add_variable("before_last")

    def weights(self, losses: Tensor, gram: Tensor | None = None) -> Tensor:
        last, before = self.last.value, self.before_last.value
        known = before > 0.0
        ratios = ops.where(known, last, 1.0) / ops.where(known, before, 1.0)
        return self.num_tasks * ops.softmax(ratios / self.temperature)  # liu2019 eq. 7

    def update(self, losses: Tensor, gram: Tensor | None = None) -> None:
        self.sums.assign_add(ops.cast(ops.convert_to_tensor(losses), "float32"))
        self.steps.assign_add(1.0)

    def start_epoch(self) -> None:
        # Also called before the first step: an epoch without steps does not count.
        ran = self.steps.value > 0.0
        means = self.sums.value / ops.maximum(self.steps.value, 1.0)
        before = ops.where(ran, self.last.value, self.before_last.value)
        self.last.assign(ops.where(ran, means, self.last.value))
        self.before_last.assign(before)
        self.sums.assign(ops.zeros_like(means))
        self.steps.assign(0.0)

    def get_config(self) -> dict[str, Any]:
        return {"temperature": self.temperature}
