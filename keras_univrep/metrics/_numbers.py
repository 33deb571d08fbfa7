"""Checks that the metrics over tables of results share."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def real_number(name: str, value: Any) -> float:
    """Returns one result as a float; a missing or diverged result is named, not averaged."""
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{name} must be a number. Received: {value!r} (of type {type(value).__name__}). "
            "Leave out results that do not exist."
        ) from error
    if not math.isfinite(number):
        raise ValueError(
            f"{name} must be finite. Received: {number}. Leave out results that do not exist."
        )
    return number


def percentage(name: str, value: Any) -> float:
    """Returns an accuracy in per cent as a float."""
    number = real_number(name, value)
    if not 0.0 <= number <= 100.0:
        raise ValueError(
            f"{name} must be an accuracy in per cent, from 0 to 100. Received: {number}. "
            "Multiply fractions by 100; turn errors into 100 - error."
        )
    return number


def same_keys(what: str, expected: Iterable[str], received: Iterable[str], way_out: str) -> None:
    """Refuses a table whose rows are not the expected ones, and names those that differ."""
    wanted, got = set(expected), set(received)
    if wanted != got:
        raise ValueError(
            f"{what} must be given for exactly {sorted(wanted)}. Received: "
            f"missing={sorted(wanted - got)}, unknown={sorted(got - wanted, key=str)}. {way_out}"
        )


def paired_with(
    values: Mapping[str, Any] | Sequence[Any],
    others: Any,
    names: tuple[str, str],
) -> list[tuple[str, Any, Any]]:
    """Pairs two results per task, by name if they are mappings and by position if sequences.

    Returns a list of `(task, value, other)` and refuses tables that do not match.
    """
    if isinstance(values, Mapping) != isinstance(others, Mapping):
        raise TypeError(
            f"`{names[0]}` and `{names[1]}` must both be mappings from task to number, or both "
            f"sequences. Received: {names[0]} of type {type(values).__name__}, {names[1]} of type "
            f"{type(others).__name__}. Use mappings to be safe from a wrong order."
        )
    if isinstance(values, Mapping):
        same_keys(f"`{names[1]}`", values, others, f"Use the tasks of `{names[0]}`.")
        pairs = [(str(task), value, others[task]) for task, value in values.items()]
    else:
        if len(values) != len(others):
            raise ValueError(
                f"`{names[0]}` and `{names[1]}` must have one number per task each. Received: "
                f"{len(values)} and {len(others)} numbers. Use mappings from task to number to "
                "see which one is missing."
            )
        pairs = [(str(i), a, b) for i, (a, b) in enumerate(zip(values, others, strict=True))]
    if not pairs:
        raise ValueError(
            f"`{names[0]}` must hold at least one task. Received: {values!r}. "
            "Pass the results of one task or more."
        )
    return pairs
