"""Average rank of methods over data sets."""

from collections.abc import Mapping, Sequence

import numpy as np

from keras_univrep.metrics._numbers import paired_with, real_number

TIES = ("average", "min")


def average_rank(
    results: Mapping[str, Mapping[str, float] | Sequence[float]],
    lower_is_better: bool = False,
    ties: str = "average",
) -> dict[str, float]:
    """Rank of each method on each data set, averaged over data sets.

    Equation:
        li2022 table 16, the row "Average Rank"

            rank_d(a) = 1 + #{b : x_bd > x_ad} + #{b != a : x_bd = x_ad} / 2,
            average(a) = mean_d rank_d(a)

        | symbol | here | shape |
        |---|---|---|
        | x_ad | `results[a][d]`: result of method a on data set d | (methods, data sets) |

    Differences:
        Confidence intervals play no part: a lead smaller than its interval counts as a lead. Equal
        results share the mean of their ranks, the convention of rank tests; `ties="min"` leaves
        the last term out and gives the one-shot half of li2022 table 16. The five-shot half does
        not follow from the results printed above it, and tables 7 and 20 rank more methods than
        they print.

    Args:
        results: Mapping from method to its results: a mapping from data set to number, or a
            sequence with one number per data set. Every method needs every data set.
        lower_is_better: Whether the results are errors. Defaults to `False`.
        ties: `"average"` or `"min"`, the rank of equal results. Defaults to `"average"`.

    Returns:
        A dictionary from method to its average rank, from 1 (best everywhere) to the number of
        methods, in the order of `results`.

    Raises:
        ValueError: For no method, methods on different data sets, results that are not finite, or
            an unknown `ties`.
        TypeError: For mappings mixed with sequences, or results that are no numbers.

    Example:
        >>> from keras_univrep.metrics import average_rank
        >>> average_rank({"ours": {"a": 80.0, "b": 70.0}, "theirs": {"a": 75.0, "b": 70.0}})
        {'ours': 1.25, 'theirs': 1.75}

    References:
        - Demsar, Statistical Comparisons of Classifiers over Multiple Data Sets, 2006.
        - Li, Liu and Bilen, Universal Representations, 2022, appendix.
    """
    if ties not in TIES:
        raise ValueError(
            f"`ties` must be one of {TIES}. Received: ties={ties!r}. "
            'Pass "average" for the convention of rank tests.'
        )
    if not results:
        raise ValueError(
            "`results` must hold at least one method. Received: an empty mapping. "
            "Pass a mapping from method to its results."
        )
    first_name, first = next(iter(results.items()))
    table = []
    for method, row in results.items():
        pairs = paired_with(first, row, (f"results of {first_name}", f"results of {method}"))
        table.append([real_number(f"The result of {method!r} on {d!r}", x) for d, _, x in pairs])
    x = np.asarray(table)
    if lower_is_better:
        x = -x
    better = np.sum(x[None] > x[:, None], axis=1)
    equal = np.sum(x[None] == x[:, None], axis=1) - 1
    share = 0.5 if ties == "average" else 0.0
    ranks = np.mean(1.0 + better + share * equal, axis=1)  # li2022 table 16
    return dict(zip(results, ranks.tolist(), strict=True))
