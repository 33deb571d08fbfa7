"""A linear map of the features, learned on the support set before the nearest centroid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_univrep import backend
from keras_univrep.few_shot._checks import positive_number, whole_number
from keras_univrep.few_shot._compiled import episodes_at_a_time, run_compiled
from keras_univrep.few_shot._cosine_gradient import (
    cosine_logits,
    cross_entropy_gradient,
    shares_of,
)
from keras_univrep.few_shot._episodes import Sets
from keras_univrep.few_shot._episodic_classifier import EpisodicClassifier
from keras_univrep.few_shot._similarity import cosine
from keras_univrep.types import Tensor

RELEASED_RATES = {"seen": 0.1, "unseen": 1.0}
CROSS_VALIDATED = "cross_validated"


class PreClassifierAlignment(EpisodicClassifier):
    """Learns a linear map on the support set, then classifies by the nearest centroid.

    Equation:
        li2022 eq. 6, from theta = identity:

            min_theta  1/|S| sum_{(x, y) in S} ce(NCC(theta f(x)), y)

        | symbol | here | shape |
        |---|---|---|
        | f(x) | `features` | (episodes, samples, channels) |
        | theta | `theta_`, applied as f theta' | (episodes, channels, channels) |
        | NCC | `scale` times cosines to class means of theta f | (episodes, samples, classes) |

    Differences:
        None known from the released code, Adadelta (rho 0.9, epsilon 1e-6) for 40 steps on cosines
        times 10, with `learning_rate="seen"` or `"unseen"`; the paper prints no scale. Cross
        validation of the rate is ours, for where nobody says whether the domain was seen. The
        gradient is taken by hand. Fewer samples than channels make it a product of low rank, but
        Adadelta divides each of its entries by a root of its own, so theta stays a full matrix.

    Args:
        learning_rate: `"unseen"` is 1.0 and `"seen"` 0.1, the released rates for episodes of new
            domains and of those that trained the network; a number; or `"cross_validated"`, for
            each episode the one of `candidates` with the lowest cross-entropy of held-out samples.
            That takes 1 + `folds` times the number of candidates as many runs.
        steps: Steps of Adadelta.
        candidates: Rates for `"cross_validated"`. Classes of one sample hold nothing out; an
            episode without others takes the first.
        folds: Parts for `"cross_validated"`, 2 or more. The samples of a class are dealt out to
            them in turn; as many as the largest class has samples leave out one of each class.
        scale: Factor of the cosine.
        batch_size: Episodes at a time: theta, its gradient and its accumulators take four times
            channels squared numbers an episode. `None` for as many as the cache of a CPU holds, and
            for all on an accelerator.

    Raises:
        ValueError: If an argument is out of its range or unknown.
        TypeError: If an argument is no number.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.few_shot import PreClassifierAlignment
        >>> rng = np.random.default_rng(0)
        >>> support, labels = rng.normal(size=(3, 10, 4)), np.tile([0, 1], (3, 5))
        >>> classifier = PreClassifierAlignment(steps=5).fit(support, labels)
        >>> classifier.predict(rng.normal(size=(3, 7, 4))).shape
        (3, 7)

    References:
        - Li, Liu, Bilen. Universal representations: a unified look at multiple task and domain
          learning. 2022.
        - Zeiler. Adadelta: an adaptive learning rate method. 2012.
    """

    def __init__(
        self,
        learning_rate: float | str = "unseen",
        steps: int = 40,
        candidates: Sequence[float] = (0.1, 1.0),
        folds: int = 5,
        scale: float = 10.0,
        batch_size: int | None = None,
    ) -> None:
        if isinstance(learning_rate, str):
            names = [*RELEASED_RATES, CROSS_VALIDATED]
            if learning_rate not in names:
                raise ValueError(
                    f"`learning_rate` must be a number or one of {names}. Received: "
                    f"learning_rate={learning_rate!r}. Pass one of these."
                )
        else:
            positive_number("learning_rate", learning_rate)
        if not candidates:
            raise ValueError(
                "`candidates` must hold at least one rate. Received: none. Pass (0.1, 1.0)."
            )
        self.learning_rate = learning_rate
        self.steps = whole_number("steps", steps, 0)
        self.candidates = tuple(positive_number("candidates", rate) for rate in candidates)
        self.folds = whole_number("folds", folds, 2)
        self.scale = positive_number("scale", scale)
        self.batch_size = None if batch_size is None else whole_number("batch_size", batch_size, 1)

    theta_: np.ndarray
    learning_rates_: np.ndarray

    def _learn(self, support: Sets, one_hot: np.ndarray) -> None:
        self._support = [support.x, one_hot]
        channels = int(support.x.shape[-1])
        self._constants = {"steps": self.steps, "scale": self.scale, "channels": channels}
        # Theta of so many episodes at a time.
        self._at_a_time = self.batch_size or episodes_at_a_time(support.x, channels**2)
        self.learning_rates_ = self._rates(support, one_hot)
        self.theta_ = run_compiled(
            _align,
            [*self._support, support.present, self.learning_rates_],
            self._at_a_time,
            **self._constants,
        )

    def _answer(self, queries: Sets) -> Any:
        return run_compiled(
            _scores, [queries.x, *self._support, self.theta_], self.batch_size, scale=self.scale
        )

    def _rates(self, support: Sets, one_hot: np.ndarray) -> np.ndarray:
        """The rate of each episode, (episodes,)."""
        episodes = len(one_hot)
        if self.learning_rate != CROSS_VALIDATED:
            rate = RELEASED_RATES.get(self.learning_rate, self.learning_rate)  # type: ignore[arg-type]
            return np.full(episodes, rate, "float32")
        kept = _kept_samples(one_hot, self.folds)
        folds, rates = kept.shape[1], self.candidates
        losses = run_compiled(
            _held_out_losses,
            [*self._support, kept * support.present[:, None]],
            # Together as many runs at a time as without cross validation.
            max(1, (self._at_a_time or episodes) // (folds * len(rates))),
            folds=folds,
            candidates=rates,
            **self._constants,
        )
        return np.array(rates, "float32")[np.argmin(losses, axis=-1)]


def _mapped(x: Tensor, theta: Tensor) -> Tensor:
    """Features (episodes, samples, channels) through theta (episodes, channels, channels)."""
    return ops.matmul(x, ops.swapaxes(theta, 1, 2))


def _align(
    x: Tensor,
    one_hot: Tensor,
    weights: Tensor,
    rates: Tensor,
    steps: int,
    scale: float,
    channels: int,
) -> Tensor:
    """Theta of each episode, learned on the samples of weight one."""
    shares = shares_of(one_hot, weights)
    weights = weights / ops.sum(weights, axis=1, keepdims=True)

    def gradient(theta: Tensor) -> Tensor:
        z = _mapped(x, theta)
        by_z = cross_entropy_gradient(z, one_hot, shares, weights, scale)  # li2022 eq. 6
        return ops.matmul(ops.swapaxes(by_z, 1, 2), x)

    identity = ops.broadcast_to(ops.eye(channels), (ops.shape(x)[0], channels, channels))
    return backend.adadelta(gradient, identity, rates[:, None, None], steps)


def _held_out_losses(
    x: Tensor,
    one_hot: Tensor,
    kept: Tensor,
    folds: int,
    candidates: tuple[float, ...],
    steps: int,
    scale: float,
    channels: int,
) -> Tensor:
    """Summed cross-entropy of the samples left out, at each rate, (episodes, candidates).

    Args:
        x: (episodes, samples, channels).
        one_hot: (episodes, samples, classes).
        kept: One for the samples that a fold learns from, (episodes, folds, samples).
        folds: Their number.
        candidates: Rates.
        steps: Steps of Adadelta.
        scale: Factor of the cosine.
        channels: Their number.
    """
    episodes, count = ops.shape(kept)[0], len(candidates)
    # Each rate and fold is an episode of its own, beside the others of the same.
    x, one_hot = (ops.repeat(part, count * folds, axis=0) for part in (x, one_hot))
    weights = ops.reshape(ops.tile(kept, (1, count, 1)), ops.shape(x)[:2])
    rates = ops.tile(np.repeat(np.array(candidates, "float32"), folds), (episodes,))
    theta = _align(x, one_hot, weights, rates, steps, scale, channels)
    logits = cosine_logits(_mapped(x, theta), shares_of(one_hot, weights), scale)
    log_odds = ops.sum(one_hot * ops.log_softmax(logits, axis=-1), axis=-1)
    losses = ops.sum((weights - 1.0) * log_odds, axis=1)
    return ops.sum(ops.reshape(losses, (episodes, count, folds)), axis=-1)


def _scores(x: Tensor, support: Tensor, one_hot: Tensor, theta: Tensor, scale: float) -> Tensor:
    """Scaled cosines of queries to the class means, (episodes, queries, classes)."""
    shares = shares_of(one_hot)
    # Of the mapped samples, as a mean of the mapped is the map of the mean.
    means = _mapped(ops.matmul(ops.swapaxes(shares, 1, 2), support), theta)
    return scale * cosine(_mapped(x, theta), means)  # li2022 eq. 6, NCC


def _kept_samples(one_hot: np.ndarray, folds: int) -> np.ndarray:
    """Ones for the samples that a fold learns from, (episodes, folds, samples)."""
    same = one_hot @ one_hot.swapaxes(1, 2) > 0.0
    place = np.tril(same, -1).sum(axis=-1)
    sizes = same.sum(axis=-1)
    folds = min(folds, int(sizes.max()))
    fold = np.where(sizes > 1, place % folds, -1)
    return (fold[:, None] != np.arange(folds)[None, :, None]).astype("float32")
