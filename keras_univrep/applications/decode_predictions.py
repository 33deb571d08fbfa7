"""Predictions in words."""

from typing import Any

import numpy as np
from keras import ops

from keras_univrep.applications.find_entry import find_entry


def decode_predictions(
    predictions: Any,
    weights: str,
    domain: str | None = None,
    top: int = 5,
    from_logits: bool = True,
) -> list[list[tuple[int, str, float]]]:
    """Returns the likeliest classes of each image, by name.

    Args:
        predictions: Logits or probabilities of one domain, (batch, classes).
        weights: The name of the network's weights.
        domain: The domain; may be omitted where the weights have only one.
        top: How many classes of each image, at most all.
        from_logits: Whether `predictions` are logits, as the networks give them.

    Returns:
        For each image a list of (class, its name, its probability in [0, 1]), likeliest first.

    Raises:
        ValueError: If weights or domain are unknown, or the classes are not theirs.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.applications import decode_predictions
        >>> logits = np.zeros((1, 10)); logits[0, 1] = 9.0
        >>> decode_predictions(logits, "five_domains", "eurosat", top=1)
        [[(1, 'Forest', 0.99...)]]
    """
    entry = find_entry(weights).domain(domain)
    scores = np.asarray(ops.convert_to_numpy(predictions), "float64")
    if scores.ndim != 2 or scores.shape[1] != entry.num_classes or top < 1:
        raise ValueError(
            f"`predictions` must have shape (batch, {entry.num_classes}) for {entry.name!r}, and "
            f"`top` be at least 1. Received: {scores.shape}, top={top}. Check the domain."
        )
    if from_logits:
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        scores /= scores.sum(axis=1, keepdims=True)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    return [
        [(int(i), entry.class_names[i], float(row[i])) for i in best]
        for row, best in zip(scores, order, strict=True)
    ]
