"""The score of the Visual Decathlon benchmark."""

from collections.abc import Mapping
from types import MappingProxyType

from keras_univrep.metrics._numbers import percentage, same_keys

DECATHLON_BASELINE: Mapping[str, float] = MappingProxyType(
    {
        "imagenet12": 59.87,
        "aircraft": 60.34,
        "cifar100": 82.12,
        "daimlerpedcls": 92.82,
        "dtd": 55.53,
        "gtsrb": 97.53,
        "vgg-flowers": 81.41,
        "omniglot": 87.69,
        "svhn": 96.55,
        "ucf101": 51.20,
    }
)
"""Test accuracies, in per cent, of the fine-tuned networks that define the score's zero points."""

POINTS_PER_DOMAIN = 1000.0


def decathlon_score(
    accuracies: Mapping[str, float], baseline: Mapping[str, float] | None = None
) -> float:
    """Sum of points over domains: 0 at twice the baseline's error, 1000 at no error.

    Equation:
        rebuffi2018 section 4.1, the score S of table 1 (defined with the benchmark in 2017)

            S = sum_d a_d max(0, E_d^max - E_d)^2,  E_d^max = 2 E_d^base,  a_d = 1000 / (E_d^max)^2

        | symbol | here | shape |
        |---|---|---|
        | E_d | 1 - accuracy / 100 of domain d | scalar |
        | E_d^base | the same for `baseline` | scalar |

    Differences:
        None known: the formula reproduces the printed scores of rebuffi2018 table 1 and of
        li2022 tables 6 and 9 to the rounding of the printed accuracies (about 2 points). The
        baseline is the fine-tuned network of the benchmark's paper (score 2500), not the
        "Finetuning" row of rebuffi2018, which is another network (score 3096).

    Args:
        accuracies: Mapping from domain to top-1 accuracy in per cent. With the default baseline
            the domains are the ten names of `DECATHLON_BASELINE`.
        baseline: Mapping from domain to accuracy in per cent below 100, for another benchmark.
            Defaults to `DECATHLON_BASELINE`.

    Returns:
        The score, from 0 to 1000 times the number of domains, dimensionless.

    Raises:
        ValueError: For a missing or unknown domain, for an accuracy outside 0 to 100, for
            accuracies that look like fractions, or for a baseline without error.
        TypeError: For an accuracy that is no number.

    Example:
        >>> from keras_univrep.metrics import DECATHLON_BASELINE, decathlon_score
        >>> round(decathlon_score(DECATHLON_BASELINE))
        2500
        >>> round(decathlon_score({"a": 90.0}, baseline={"a": 80.0}), 1)
        562.5

    References:
        - Rebuffi, Bilen and Vedaldi, Learning Multiple Visual Domains with Residual Adapters, 2017.
        - Rebuffi, Bilen and Vedaldi, Efficient Parametrization of Multi-Domain Deep Neural
          Networks, 2018.
    """
    reference = DECATHLON_BASELINE if baseline is None else baseline
    if not reference:
        raise ValueError(
            "`baseline` must hold at least one domain. Received: an empty mapping. "
            "Pass `baseline=None` for the ten domains of the Visual Decathlon."
        )
    same_keys(
        "Accuracies",
        reference,
        accuracies,
        "For another set of domains pass its own `baseline`; `delta_mdl` needs no fixed set.",
    )
    percents = {d: percentage(f"The accuracy of {d!r}", accuracies[d]) for d in reference}
    if 0.0 < max(percents.values()) <= 1.0:
        raise ValueError(
            "Accuracies must be in per cent, and these look like fractions. Received: "
            f"accuracies={dict(percents)}. Multiply them by 100."
        )
    score = 0.0
    for domain, accuracy in percents.items():
        base_error = 1.0 - percentage(f"The baseline of {domain!r}", reference[domain]) / 100.0
        if base_error <= 0.0:
            raise ValueError(
                "The baseline must leave some error, or no point can be won. Received: "
                f"baseline of {domain!r} = 100. Leave the domain out, or take a weaker baseline."
            )
        largest_error = 2.0 * base_error
        error = 1.0 - accuracy / 100.0
        scale = POINTS_PER_DOMAIN / largest_error**2
        score += scale * max(0.0, largest_error - error) ** 2  # rebuffi2018 section 4.1, S
    return score
