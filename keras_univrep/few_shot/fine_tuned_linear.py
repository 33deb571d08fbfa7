"""A linear classifier trained anew on each support set by small steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_univrep.few_shot._checks import positive_number, whole_number
from keras_univrep.few_shot._episodes import Sets, as_array
from keras_univrep.few_shot._episodic_classifier import EpisodicClassifier

# Of classes that an episode lacks: probability 0.
_MISSING = -1e9


class FineTunedLinear(EpisodicClassifier):
    """The new head of pre-training: a linear classifier, trained by SGD on the support set.

    Equation:
        Chen et al., 2019, section 3.1 (Baseline), for batches B of the support set:

            g = d / d W mean over B of ce(softmax(W f(x) + b), y) + weight_decay W
            v = momentum v + (1 - dampening) g    (v = g in the first step)
            W <- W - learning_rate v

        | symbol | here | shape |
        |---|---|---|
        | f(x) | `features` | (episodes, samples, channels) |
        | W, b, v | of each episode | (episodes, channels, classes), (episodes, 1, classes) |

    Differences:
        The numbers are those of the released code, which the paper does not print: 100 epochs of
        batches of 4, rate 0.01, momentum 0.9, dampening 0.9, weight decay 0.001. Episodes of as
        many samples share the order of their batches and the start of their weights, so that an
        episode's answer does not depend on those beside it.

    Args:
        epochs: Passes over the support set.
        batch_size: Samples of a step.
        learning_rate: Positive number.
        momentum: In [0, 1).
        dampening: In [0, 1].
        weight_decay: Not negative; of the bias as well.
        seed: Of the first weights and of the order of the samples.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.few_shot import FineTunedLinear
        >>> support = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
        >>> classifier = FineTunedLinear(epochs=300).fit(support, ["cat", "cat", "dog", "dog"])
        >>> [str(label) for label in classifier.predict(np.array([[1.0, 0.1], [0.2, 0.8]]))]
        ['cat', 'dog']

    References:
        - Chen, Liu, Kira, Wang, Huang. A closer look at few-shot classification. ICLR 2019.
        - Shu, Cao, Gao, Wang, Long. Omni-Training for data-efficient deep learning. 2021.
    """

    def __init__(
        self,
        epochs: int = 100,
        batch_size: int = 4,
        learning_rate: float = 0.01,
        momentum: float = 0.9,
        dampening: float = 0.9,
        weight_decay: float = 0.001,
        seed: int = 0,
    ) -> None:
        self.epochs = whole_number("epochs", epochs, 1)
        self.batch_size = whole_number("batch_size", batch_size, 1)
        self.learning_rate = positive_number("learning_rate", learning_rate)
        for name, value, top in (("momentum", momentum, 0.999), ("dampening", dampening, 1.0)):
            if not 0.0 <= value <= top:
                raise ValueError(
                    f"`{name}` must be in [0, {top}]. Received: {name}={value}. Pass 0.9 for the "
                    "released code's."
                )
        if not weight_decay >= 0:
            raise ValueError(
                "`weight_decay` must not be negative. Received: "
                f"weight_decay={weight_decay}. Pass 0 for none."
            )
        self.momentum, self.dampening = float(momentum), float(dampening)
        self.weight_decay = float(weight_decay)
        self.seed = whole_number("seed", seed, 0)

    def _learn(self, support: Sets, one_hot: np.ndarray) -> None:
        x = as_array(support.x).astype("float32")
        episodes, _, channels = x.shape
        self._kernel = np.zeros((episodes, channels, one_hot.shape[-1]), "float32")
        self._bias = np.zeros((episodes, 1, one_hot.shape[-1]), "float32")
        sizes = np.array(support.sizes)
        for size in np.unique(sizes):
            own = np.flatnonzero(sizes == size)
            found = self._train(x[own, :size], one_hot[own, :size])
            self._kernel[own], self._bias[own] = found

    def _train(self, x: np.ndarray, one_hot: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Kernels and biases of episodes of one size."""
        rng = np.random.default_rng((self.seed, x.shape[1]))
        channels, classes = x.shape[-1], one_hot.shape[-1]
        bound = channels**-0.5
        # A row for each class, so that more classes of another episode change none of them.
        start = rng.uniform(-bound, bound, (classes, channels + 1)).astype("float32").T
        absent = np.where(one_hot.any(1, keepdims=True), 0.0, _MISSING).astype("float32")
        # The bias is the weight of a channel of ones.
        x = np.concatenate([x, np.ones_like(x[..., :1])], axis=-1)
        weights = np.repeat(start[None], len(x), axis=0)
        velocity = None
        orders = np.random.default_rng((self.seed, x.shape[1], 1))
        for _ in range(self.epochs):
            order = orders.permutation(x.shape[1])
            for first in range(0, len(order), self.batch_size):
                rows = order[first : first + self.batch_size]
                batch = x[:, rows]
                scores = batch @ weights + absent
                odds = np.exp(scores - scores.max(-1, keepdims=True))
                error = odds / odds.sum(-1, keepdims=True) - one_hot[:, rows]
                gradient = np.swapaxes(batch, 1, 2) @ error / len(rows)
                gradient += self.weight_decay * weights
                if velocity is None:
                    velocity = gradient
                else:
                    velocity = self.momentum * velocity + (1.0 - self.dampening) * gradient
                weights = weights - self.learning_rate * velocity  # Chen et al. 2019 sec. 3.1
        return weights[:, :-1], weights[:, -1:] + absent

    def _answer(self, queries: Sets) -> Any:
        return as_array(queries.x) @ self._kernel + self._bias
