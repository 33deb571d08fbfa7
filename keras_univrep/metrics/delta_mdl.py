"""Mean relative change of the accuracy over domains against single-domain networks."""

from collections.abc import Mapping, Sequence

from keras_univrep.metrics.delta_mtl import delta_mtl


def delta_mdl(
    accuracies: Mapping[str, float] | Sequence[float],
    baselines: Mapping[str, float] | Sequence[float],
) -> float:
    """Multi-domain performance: the average relative gain in accuracy, in per cent.

    Equation:
        li2022 eq. 7 with l_t = 0

            Delta = 100 / T sum_t (P_t - P_t^s) / P_t^s

        | symbol | here | shape |
        |---|---|---|
        | P_t | `accuracies`: of the universal network on domain t | (T,) |
        | P_t^s | `baselines`: of the network of that domain alone | (T,) |

    Differences:
        None known: it reproduces the column of li2022 tables 6 and 9.

    Args:
        accuracies: Mapping from domain to accuracy, or a sequence with one per domain; per cent
            or fractions, the same as in `baselines`.
        baselines: The same for the single-domain networks; not zero.

    Returns:
        The mean relative change in per cent; positive is better than single-domain networks.

    Raises:
        ValueError: For domains that differ between the arguments, no domain, a baseline of zero,
            or a number that is not finite.
        TypeError: For a mapping with a sequence.

    Example:
        >>> from keras_univrep.metrics import delta_mdl
        >>> round(delta_mdl({"svhn": 97.0, "dtd": 66.0}, {"svhn": 97.0, "dtd": 60.0}), 2)
        5.0

    References:
        - Li, Liu and Bilen, Universal Representations, 2022, section 5.2.
    """
    flags: Mapping[str, bool] | Sequence[bool]
    if isinstance(accuracies, Mapping):
        flags = dict.fromkeys(accuracies, False)
    else:
        flags = [False] * len(accuracies)
    return delta_mtl(accuracies, baselines, flags)  # li2022 eq. 7
