"""How good features are without a head."""

import numpy as np
import numpy.typing as npt


def nil_accuracy(
    support: npt.ArrayLike,
    support_labels: npt.ArrayLike,
    queries: npt.ArrayLike,
    query_labels: npt.ArrayLike,
) -> np.ndarray:
    """Accuracy of each episode with no inner loop: queries take the label of the nearest sample.

    Equation:
        lekkala2020, section 5.2, the column NIL, for the features x of the samples n:

            y_q = y_n,   n = argmax_n <x_q, x_n> / (|x_q| |x_n|)

    Differences: None known. Raghu et al. (2020), who name it, weigh the labels of all samples; the
        same with one sample of each class. Of samples that are equally near, the first counts.

    Args:
        support: Features (episodes, samples, channels), or of one episode (samples, channels).
        support_labels: Integers (episodes, samples); -1 for padding.
        queries: Features (episodes, queries, channels).
        query_labels: Integers (episodes, queries); -1 for padding.

    Returns:
        Accuracies in [0, 1], (episodes,); a number for one episode.

    Raises:
        ValueError: If features and labels do not have the same episodes and samples, or an episode
            has no samples or no queries.

    Example:
        >>> from keras_univrep.metrics import nil_accuracy
        >>> float(nil_accuracy([[1, 0], [0, 1]], [0, 1], [[2, 1], [1, 3], [1, 0]], [0, 1, 1]))
        0.6666666666666666

    References:
        - Raghu, Raghu, Bengio, Vinyals. Rapid learning or feature reuse? Towards understanding the
          effectiveness of MAML. 2020.
        - Lekkala, Itti. Attentive feature reuse for multi task meta learning. 2020.
    """
    x, q = np.asarray(support, "float64"), np.asarray(queries, "float64")
    y, wanted = np.asarray(support_labels), np.asarray(query_labels)
    if x.shape[:-1] != y.shape or q.shape[:-1] != wanted.shape or x.ndim not in (2, 3):
        raise ValueError(
            "Features must be (episodes, samples, channels) with labels (episodes, samples). "
            f"Received: features {x.shape} and {q.shape}, labels {y.shape} and {wanted.shape}. "
            "Stack episodes of one size."
        )
    if not ((y >= 0).any(-1).all() and (wanted >= 0).any(-1).all()):
        raise ValueError(
            "Every episode must have samples and queries. Received: labels "
            f"{y.shape} and {wanted.shape}, of which some episode has none that is not -1. Leave "
            "it out."
        )
    x, q = (v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-12) for v in (x, q))
    similarity = np.where((y >= 0)[..., None, :], q @ np.swapaxes(x, -1, -2), -np.inf)
    found = np.take_along_axis(y, similarity.argmax(-1), axis=-1)  # lekkala2020 sec. 5.2
    return np.asarray(((found == wanted) & (wanted >= 0)).sum(-1) / (wanted >= 0).sum(-1))
