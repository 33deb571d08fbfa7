"""The class of the nearest mean."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from keras_univrep.few_shot._checks import positive_number
from keras_univrep.few_shot._compiled import run_light
from keras_univrep.few_shot._episodes import Sets, class_means
from keras_univrep.few_shot._episodic_classifier import EpisodicClassifier
from keras_univrep.few_shot._similarity import check_similarity, similarity
from keras_univrep.types import Tensor


class NearestCentroid(EpisodicClassifier):
    """Classifies by the similarity to the mean of each class.

    Equation:
        li2022 section 4.3, the classifier NCC of eq. 6:

            p(y = j | x) = softmax_j(gamma s(f(x), c_j)),   c_j = mean of f over class j

        | symbol | here | shape |
        |---|---|---|
        | f(x) | `features` | (episodes, samples, channels) |
        | c | mean of the support samples of a class | (episodes, classes, channels) |
        | s | `similarity` | (episodes, samples, classes) |
        | gamma | `scale` | scalar |

    Differences:
        The paper gives no gamma; the released code multiplies cosines by 10. Where the paper says
        "negative cosine distance", this is the cosine. `"correlation"` is Pearson's, the cosine
        of features whose mean over channels is taken away.

    Args:
        similarity: `"cosine"`, `"euclidean"` (minus the squared distance), `"dot"` or
            `"correlation"`.
        scale: Factor of the similarity, or `None` for the released one: 10 for `"cosine"` and
            `"correlation"`, 1 for the others.

    Raises:
        ValueError: If `similarity` is unknown or `scale` is not positive.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.few_shot import NearestCentroid
        >>> support = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
        >>> classifier = NearestCentroid().fit(support, ["cat", "cat", "dog", "dog"])
        >>> [str(label) for label in classifier.predict(np.array([[3.0, 1.0], [0.2, 0.3]]))]
        ['cat', 'dog']

    References:
        - Li, Liu, Bilen. Universal representations: a unified look at multiple task and domain
          learning. 2022.
        - Snell, Swersky, Zemel. Prototypical networks for few-shot learning. 2017.
    """

    def __init__(self, similarity: str = "cosine", scale: float | None = None) -> None:
        self.similarity = check_similarity("similarity", similarity)
        default = 10.0 if similarity in ("cosine", "correlation") else 1.0
        self.scale = default if scale is None else positive_number("scale", scale)

    def _learn(self, support: Sets, one_hot: np.ndarray) -> None:
        self._centroids = run_light(class_means, [support.x, one_hot])
        self._present = one_hot.any(axis=1).astype("float32")

    def _answer(self, queries: Sets) -> Any:
        return run_light(
            _scores,
            [queries.x, self._centroids, self._present],
            kind=self.similarity,
            scale=self.scale,
        )


def _scores(x: Tensor, centroids: Tensor, present: Tensor, kind: str, scale: float) -> Tensor:
    return ops.multiply(scale, similarity(kind, x, centroids, present))  # li2022 eq. 6, NCC
