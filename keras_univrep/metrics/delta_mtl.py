"""Mean relative change of several tasks against their single-task networks."""

from collections.abc import Mapping, Sequence

import numpy as np

from keras_univrep.metrics._numbers import paired_with, real_number


def delta_mtl(
    values: Mapping[str, float] | Sequence[float],
    baselines: Mapping[str, float] | Sequence[float],
    lower_is_better: Mapping[str, bool] | Sequence[bool],
) -> float:
    """Multi-task performance: the average relative gain over single-task networks, in per cent.

    Equation:
        li2022 eq. 7

            Delta = 100 / T sum_t (-1)^{l_t} (P_t - P_t^s) / P_t^s

        | symbol | here | shape |
        |---|---|---|
        | P_t | `values`: metric of the multi-task network | (T,) |
        | P_t^s | `baselines`: metric of the single-task network | (T,) |
        | l_t | `lower_is_better`: 1 for an error, 0 for an accuracy | (T,) |

    Differences:
        None known: it reproduces the NYU-v2 rows of the paper's tables to 0.02. The SegNet block
        of its table 2 (Cityscapes) does not follow from the metrics printed beside it.

    Args:
        values: Mapping from task to metric, or a sequence with one metric per task; any units,
            the same as in `baselines`.
        baselines: The same for the single-task networks; not zero.
        lower_is_better: Mapping from task to bool, or a sequence with one bool per task.

    Returns:
        The mean relative change in per cent; positive is better than single-task networks.

    Raises:
        ValueError: For tasks that differ between the arguments, no task, a baseline of zero, or a
            number that is not finite.
        TypeError: For mappings mixed with sequences, or a flag that is no bool.

    Example:
        >>> from keras_univrep.metrics import delta_mtl
        >>> round(
        ...     delta_mtl(
        ...         {"mIoU": 45.52, "depth error": 0.4912},
        ...         {"mIoU": 40.54, "depth error": 0.6276},
        ...         {"mIoU": False, "depth error": True},
        ...     ),
        ...     2,
        ... )
        17.01

    References:
        - Li, Liu and Bilen, Universal Representations, 2022, section 5.1.
    """
    pairs = paired_with(values, baselines, ("values", "baselines"))
    flags = [
        flag for _, _, flag in paired_with(values, lower_is_better, ("values", "lower_is_better"))
    ]
    total = 0.0
    for (task, value, baseline), flag in zip(pairs, flags, strict=True):
        if not isinstance(flag, (bool, np.bool_)):
            raise TypeError(
                "`lower_is_better` must hold a bool per task. Received: "
                f"{flag!r} for task {task!r}. Pass True for an error, False for an accuracy."
            )
        p = real_number(f"The value of task {task!r}", value)
        p_single = real_number(f"The baseline of task {task!r}", baseline)
        if p_single == 0.0:
            raise ValueError(
                "Baselines must not be zero, since the change is relative to them. Received: "
                f"baseline of task {task!r} = 0. Leave the task out, or use another metric for it."
            )
        total += (-1.0 if flag else 1.0) * (p - p_single) / p_single  # li2022 eq. 7
    return 100.0 * total / len(pairs)
