"""Alignment, then class means that take part of the queries in."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from keras_univrep.few_shot._checks import whole_number
from keras_univrep.few_shot._compiled import run_compiled
from keras_univrep.few_shot._cosine_gradient import shares_of
from keras_univrep.few_shot._episodes import Sets
from keras_univrep.few_shot._episodic_classifier import EpisodicClassifier
from keras_univrep.few_shot._similarity import cosine
from keras_univrep.few_shot.pre_classifier_alignment import PreClassifierAlignment
from keras_univrep.types import Tensor


class TransductiveAlignment(EpisodicClassifier):
    """Aligns features on the support set, then refines the class means with the queries.

    All queries of one call of `predict`, `predict_proba` or `scores` are used jointly: the answer
    for a query depends on those beside it. Nothing of them is kept for the next call.

    Equation:
        Soft k-means of Ren et al. on features aligned by li2022 eq. 6, `refinements` times:

            p_qj = softmax_j(gamma cos(z_q, c_j))
            c_j = (sum_{s of class j} z_s + sum_q p_qj z_q) / (n_j + sum_q p_qj),   z = theta f

        | symbol | here | shape |
        |---|---|---|
        | f | `features` | (episodes, samples, channels) |
        | theta | `alignment.theta_` | (episodes, channels, channels) |
        | c, from the class means of the support set | class means | (episodes, classes, channels) |
        | gamma | `alignment.scale` | scalar |

    Differences:
        Ren et al. train with one refinement and negative squared distances; here nothing is
        trained on queries and the similarity is that of li2022. Of the transductive forms this one
        adds no learning rate and no gradient: tuning by the entropy of queries (Dhillon et al.)
        would move channels squared numbers by a signal that way and shot can mislead, and whose
        rate nobody knows for an unseen domain.

    Args:
        alignment: What learns theta on the support set; `None` for `PreClassifierAlignment()`.
            With `PreClassifierAlignment(steps=0)` this is soft k-means on the features as they are.
        refinements: Times that the means are taken anew, 0 for the answer of `alignment` itself.

    Raises:
        ValueError: If `refinements` is negative.
        TypeError: If `alignment` is something else.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.few_shot import PreClassifierAlignment, TransductiveAlignment
        >>> classifier = TransductiveAlignment(PreClassifierAlignment(steps=5))
        >>> _ = classifier.fit(np.array([[1.0, 0.0], [0.0, 1.0]]), ["a", "b"])
        >>> queries = np.array([[5.0, 1.0], [4.0, 2.0], [0.0, 3.0]])
        >>> classifier.predict(queries).tolist()
        ['a', 'a', 'b']

    References:
        - Ren et al. Meta-learning for semi-supervised few-shot classification. 2018.
        - Dhillon, Chaudhari, Ravichandran, Soatto. A baseline for few-shot image classification.
          2020.
        - Li, Liu, Bilen. Universal representations: a unified look at multiple task and domain
          learning. 2022.
    """

    def __init__(
        self, alignment: PreClassifierAlignment | None = None, refinements: int = 10
    ) -> None:
        alignment = PreClassifierAlignment() if alignment is None else alignment
        if not isinstance(alignment, PreClassifierAlignment):
            raise TypeError(
                "`alignment` must be a `PreClassifierAlignment`. Received: "
                f"alignment={alignment!r}. Pass one, with `steps=0` to align nothing."
            )
        self.alignment = alignment
        self.refinements = whole_number("refinements", refinements, 0)

    def fit(self, features: Any, labels: Any) -> TransductiveAlignment:
        """Aligns support sets.

        Args:
            features: As every estimator.
            labels: As every estimator.

        Returns:
            The estimator itself, with `classes_`; its `alignment` is fitted as well.

        Raises:
            ValueError: As every estimator.
        """
        self.alignment.fit(features, labels)
        return super().fit(features, labels)

    def _learn(self, support: Sets, one_hot: np.ndarray) -> None:
        self._support = [support.x, one_hot]

    def _answer(self, queries: Sets) -> Any:
        return run_compiled(
            _refined_scores,
            [queries.x, queries.present, *self._support, self.alignment.theta_],
            self.alignment.batch_size,
            scale=self.alignment.scale,
            refinements=self.refinements,
        )


def _refined_scores(
    x: Tensor,
    present: Tensor,
    support: Tensor,
    one_hot: Tensor,
    theta: Tensor,
    scale: float,
    refinements: int,
) -> Tensor:
    """Scaled cosines of queries to refined class means, (episodes, queries, classes).

    Args:
        x: Queries, (episodes, queries, channels).
        present: One for a query, zero for padding, (episodes, queries).
        support: (episodes, samples, channels).
        one_hot: (episodes, samples, classes).
        theta: (episodes, channels, channels).
        scale: Factor of the cosine.
        refinements: Times that the means are taken anew.
    """
    theta = ops.swapaxes(theta, 1, 2)
    z = ops.matmul(x, theta)
    counts = ops.sum(one_hot, axis=1)[..., None]
    shares = shares_of(one_hot)
    of_support = ops.matmul(ops.matmul(ops.swapaxes(shares, 1, 2), support), theta)
    means = of_support
    # A class without a sample is padding and takes no part.
    absent = ops.swapaxes(counts == 0.0, 1, 2)
    for _ in range(refinements):
        logits = ops.where(absent, -1e9, scale * cosine(z, means))
        odds = ops.swapaxes(ops.softmax(logits, axis=-1) * present[..., None], 1, 2)
        totals = counts + ops.sum(odds, axis=-1, keepdims=True)
        totals = ops.where(totals > 0.0, totals, ops.ones_like(totals))
        means = (counts * of_support + ops.matmul(odds, z)) / totals
    return scale * cosine(z, means)
