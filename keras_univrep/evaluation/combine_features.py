"""Features of several networks as those of one."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from keras import ops

WAYS = ("sum", "concatenate")


def combine_features(features: Mapping[str, Any] | Sequence[Any], how: str) -> np.ndarray:
    """Adds or joins the unit features of several networks.

    Equation:
        li2022 section 5.3 and tables 8, 18 and 19, the rows "Sum" and "Concate"

            "sum":  sum_k f_k(x) / ||f_k(x)||,   "concatenate":  [f_1(x) / ||f_1(x)||, ...]

        | symbol | here | shape |
        |---|---|---|
        | f_k(x) | `features`, of network k | (samples, channels) |

    Differences:
        The paper does not say whether lengths are made equal first; without that the network with
        the longest features would decide alone. The cosine of two concatenations is then the mean
        of the networks' cosines.

    Args:
        features: For each network the features of the same samples. For `"sum"` all have as many
            channels; a feature of zeros stays zero.
        how: `"sum"` or `"concatenate"`.

    Returns:
        Array (samples, channels), or (samples, sum of channels), float32.

    Raises:
        ValueError: If there is no network, shapes do not match, or `how` is unknown.

    Example:
        >>> from keras_univrep.evaluation import combine_features
        >>> one, other = np.array([[3.0, 4.0]]), np.array([[0.0, 2.0]])
        >>> combine_features([one, other], "sum").round(2).tolist()
        [[0.6000000238418579, 1.7999999523162842]]
        >>> combine_features([one, other], "concatenate").shape
        (1, 4)

    References:
        - Li, Liu and Bilen, Universal Representations, 2022, section 5.3.
    """
    if how not in WAYS:
        raise ValueError(
            f"`how` must be one of {list(WAYS)}. Received: how={how!r}. Pass one of these names."
        )
    values = features.values() if isinstance(features, Mapping) else features
    arrays = [ops.convert_to_numpy(x) if ops.is_tensor(x) else np.asarray(x) for x in values]
    shapes = [x.shape for x in arrays]
    lengths = {shape[:1] if how == "concatenate" else shape for shape in shapes}
    if len(lengths) != 1 or any(len(shape) != 2 for shape in shapes):
        raise ValueError(
            "`features` must hold (samples, channels) of the same samples for each network, and "
            f'for "sum" as many channels. Received: shapes {shapes} for how={how!r}. '
            'Extract the same images by each network, or pass "concatenate".'
        )
    units = [_unit_rows(x.astype("float32")) for x in arrays]
    if how == "sum":
        return np.sum(units, axis=0)  # li2022 table 8
    return np.concatenate(units, axis=1)  # li2022 table 8


def _unit_rows(x: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(norms > 0.0, norms, 1.0)
