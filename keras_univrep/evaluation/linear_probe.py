"""Linear classifiers on the frozen features of a backbone."""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from keras import ops

SPLITS = ("train", "validation", "test")
Splits = Mapping[str, tuple[Any, Any]]


def linear_probe(
    data: Mapping[str, Splits],
    strengths: Sequence[float] | None = None,
    max_iterations: int = 1000,
    standardize: bool = False,
    per_sample: bool = False,
    refit: bool = True,
) -> dict[str, Any]:
    """Returns the accuracy of logistic regression on the features of several data sets.

    The strength of the penalty is the one of the highest accuracy on the validation split (the
    stronger penalty of equals); the test split is read once, with it.

    Equation:
        he2022, section 4.2, for the n features h_i of the training split of a data set, with
        classes y_i, by L-BFGS:

            min_(W, b)  sum_i ce(softmax(W h_i + b), y_i) + lambda m ||W||^2 / 2

        | symbol | here |
        |---|---|
        | lambda | an entry of `strengths` |
        | m | 1, or n if `per_sample` |

    Differences: Printed are L-BFGS with at most 1000 iterations, and lambda "distributed evenly"
        from 10^-1 to 10^-5. How many values that are is not, nor whether the loss is a sum or a
        mean (`per_sample=True`). As Radford et al. (2021), whose setting he2022 follows: a sum,
        steps that are even in the logarithm, features as they are, and a last fit to the training
        and validation splits together (`refit=False` leaves it out).

    Args:
        data: For each data set the splits "train", "validation" and "test", each `(features,
            labels)` of shapes (samples, channels) and (samples,).
        strengths: Values of lambda; by default 9, from 10^-1 to 10^-5.
        max_iterations: At most as many steps of L-BFGS.
        standardize: Whether to take off the mean of each channel of the training split and to
            divide by its deviation.
        per_sample: Whether the loss is a mean.
        refit: Whether to fit the classifier that is tested to the validation split too.

    Returns:
        `{"accuracy": {name: per cent}, "strength": {name: lambda}, "average": per cent}`.

    Raises:
        ImportError: If scikit-learn is not installed.
        ValueError: If a split is missing, shapes do not match, a number is not finite, or a label
            occurs that the training split does not have.

    Example:
        >>> from keras_univrep.evaluation import linear_probe
        >>> x, y = np.array([[0.0], [1.0], [4.0], [5.0]]), np.array([0, 0, 1, 1])
        >>> sets = {"steps": {name: (x, y) for name in ("train", "validation", "test")}}
        >>> linear_probe(sets)["average"]  # doctest: +SKIP
        100.0

    References:
        - He et al. X-Learner: learning cross sources and tasks for universal visual
          representation. ECCV 2022.
        - Radford et al. Learning transferable visual models from natural language supervision.
          ICML 2021.
    """
    make = _scikit_learn().LogisticRegression
    values = np.logspace(-1, -5, 9) if strengths is None else np.asarray(strengths, "float64")
    if values.ndim != 1 or not len(values) or not np.all(values > 0) or max_iterations < 1:
        raise ValueError(
            "`strengths` must be positive numbers and `max_iterations` positive. Received: "
            f"strengths={strengths}, max_iterations={max_iterations}. Leave them out for the "
            "paper's."
        )
    if not data:
        raise ValueError("`data` must hold a data set. Received: none. Name at least one.")
    accuracy: dict[str, float] = {}
    chosen: dict[str, float] = {}
    for name, splits in data.items():
        (x, y), (x_val, y_val), (x_test, y_test) = _checked(name, splits)
        if standardize:
            mean, deviation = x.mean(axis=0), x.std(axis=0)
            deviation = np.where(deviation > 0, deviation, 1.0)
            x, x_val, x_test = ((v - mean) / deviation for v in (x, x_val, x_test))

        def fitted(x: np.ndarray, y: np.ndarray, strength: float) -> Any:
            c = 1.0 / (strength * (len(y) if per_sample else 1))
            return make(C=c, max_iter=max_iterations).fit(x, y)  # he2022 section 4.2

        ordered = sorted((float(v) for v in values), reverse=True)
        scores = [fitted(x, y, strength).score(x_val, y_val) for strength in ordered]
        chosen[name] = ordered[int(np.argmax(scores))]
        if refit:
            x, y = np.concatenate([x, x_val]), np.concatenate([y, y_val])
        accuracy[name] = 100.0 * float(fitted(x, y, chosen[name]).score(x_test, y_test))
    average = float(np.mean(list(accuracy.values())))
    return {"accuracy": accuracy, "strength": chosen, "average": average}


def _scikit_learn() -> Any:
    try:
        return importlib.import_module("sklearn.linear_model")
    except ImportError as error:
        raise ImportError(
            "The linear probe runs scikit-learn. Received: no module `sklearn`. "
            "Install it by `pip install 'keras_univrep[few-shot]'`."
        ) from error


def _checked(name: str, splits: Splits) -> list[tuple[np.ndarray, np.ndarray]]:
    if not isinstance(splits, Mapping) or not set(SPLITS) <= set(splits):
        came = sorted(splits) if isinstance(splits, Mapping) else type(splits).__name__
        raise ValueError(
            f"Each data set must have the splits {list(SPLITS)}. Received: {came} for {name!r}. "
            "Hold out a part of the training split for validation."
        )
    found = []
    for split in SPLITS:
        features, labels = splits[split]
        x = np.asarray(ops.convert_to_numpy(features), "float64")
        y = np.asarray(labels)
        if x.ndim != 2 or y.shape != x.shape[:1] or not len(y):
            raise ValueError(
                "Features must be (samples, channels) and labels (samples,). Received: "
                f"{x.shape} and {y.shape} for {split!r} of {name!r}. Average maps first."
            )
        if not np.all(np.isfinite(x)):
            raise ValueError(
                f"Features must be finite. Received: NaN or infinity in {split!r} of {name!r}. "
                "Look at the images and at the network that gave them."
            )
        found.append((x, y))
    known = set(found[0][1].tolist())
    unknown = sorted({label for _, y in found[1:] for label in y.tolist()} - known)
    if unknown or len(known) < 2:
        raise ValueError(
            "The training split must have two classes at least, and all that the others have. "
            f"Received: {sorted(known)[:10]} in it and {unknown[:10]} besides for {name!r}. Split "
            "the data class by class."
        )
    return found
