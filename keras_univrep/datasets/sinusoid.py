"""The protocols by which papers regress sine waves from a few points."""

import numpy as np

from keras_univrep.datasets.sinusoids import Sinusoids

PROTOCOLS = ("finn2017", "shu2021")
_WAVES, _POINTS = 30_000, 50


def sinusoid(
    protocol: str = "finn2017",
    split: str = "train",
    support: int = 10,
    query: int | None = None,
    waves: int | None = None,
    points: int | None = None,
    seed: int = 0,
) -> Sinusoids:
    """Makes the sine waves of a protocol.

    | protocol | phase | train | test |
    |---|---|---|---|
    | finn2017 | [0, pi) | fresh waves, `support` query points | fresh, 100 query points |
    | shu2021 | [0, 2 pi) | 30000 waves of 50 points, the rest queries | fresh, 100 query points |

    Differences:
        Of shu2021: its numbers are in plots alone, and neither the number of query points of a
        test task nor what a training task does with the points that are not support is printed.

    Args:
        protocol: One of the above.
        split: `"train"` or `"test"`; their waves are drawn independently.
        support: Points to adapt to.
        query: Points to be judged by; `None` for those of the protocol.
        waves: Number of waves of shu2021's training set.
        points: Points of each of these.
        seed: Integer from 0.

    Returns:
        `Sinusoids`.

    Raises:
        ValueError: If there is no such protocol or split, or finn2017 is given waves or points.

    Example:

    >>> from keras_univrep.datasets import sinusoid
    >>> sinusoid("shu2021", support=5, waves=100).batch(0, tasks=4)["query"][0].shape
    (4, 45, 1)

    References:
        - Finn, Abbeel, Levine. Model-agnostic meta-learning for fast adaptation of deep networks.
          2017, section 5.1.
        - Shu, Cao, Gao, Wang, Long. Omni-Training: bridging pre-training and meta-training for
          few-shot learning. 2021.
    """
    for name, value, choices in (
        ("protocol", protocol, PROTOCOLS),
        ("split", split, ("train", "test")),
    ):
        if value not in choices:
            raise ValueError(
                f"`{name}` must be one of {list(choices)}. Received: {name}={value!r}."
            )
    fixed = protocol == "shu2021" and split == "train"
    if not fixed and (waves is not None or points is not None):
        raise ValueError(
            "`waves` and `points` are of the training set of 'shu2021'. Received: "
            f"protocol={protocol!r}, split={split!r}, waves={waves}, points={points}. Leave them "
            "out, or make a `Sinusoids`."
        )
    if fixed:
        waves, points = waves or _WAVES, points or _POINTS
    if query is None:
        query = support if split == "train" else 100
        if fixed and points is not None:
            query = points - support
    # Two streams of one seed.
    stream = 2 * seed + (split == "test")
    phase = np.pi if protocol == "finn2017" else 2 * np.pi
    return Sinusoids(support, query, phase, waves, points, stream)
