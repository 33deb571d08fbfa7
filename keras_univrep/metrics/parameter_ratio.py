"""Size of a model relative to a single-task network."""

from typing import Any, SupportsInt, cast


def parameter_ratio(model_params: Any, reference_params: Any) -> float:
    """Number of parameters of a model divided by that of a reference.

    Equation:
        li2022 table 6, the column `#params`

            ratio = N / N_ref

        | symbol | here | shape |
        |---|---|---|
        | N | parameters of all domains together | scalar |
        | N_ref | parameters of one single-domain network | scalar |

    Differences:
        The papers leave classifiers and often normalisation out of both counts. A Keras model is
        counted whole (`count_params`, with moving statistics): pass integers to leave parts out.

    Args:
        model_params: Number of parameters, or a built Keras model or layer.
        reference_params: The same for the reference; not zero.

    Returns:
        The ratio, dimensionless; the papers print it as 2x.

    Raises:
        ValueError: For a count that is negative, or a reference of zero.
        TypeError: For anything but an integer or a Keras model or layer.

    Example:
        >>> from keras_univrep.metrics import parameter_ratio
        >>> parameter_ratio(11_613_888, 5_806_944)
        2.0

    References:
        - Li, Liu and Bilen, Universal Representations, 2022, section 5.2.
    """
    reference = _count("reference_params", reference_params)
    if reference == 0:
        raise ValueError(
            "`reference_params` must be positive. Received: reference_params=0. "
            "Build the reference before counting: call it once on an input."
        )
    return _count("model_params", model_params) / reference


def _count(name: str, params: Any) -> int:
    if hasattr(params, "count_params"):
        return int(params.count_params())
    if isinstance(params, (bool, float, str)) or not hasattr(params, "__index__"):
        raise TypeError(
            f"`{name}` must be an integer or a built Keras model. Received: {params!r} (of type "
            f"{type(params).__name__}). Pass `model.count_params()` or the model itself."
        )
    count = int(cast(SupportsInt, params))
    if count < 0:
        raise ValueError(
            f"`{name}` must not be negative. Received: {name}={count}. "
            "Pass the number of parameters."
        )
    return count
