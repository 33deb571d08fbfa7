"""Methods against domains, as few-shot papers print them."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np

from keras_univrep.metrics import average_rank


def comparison_table(
    results: Mapping[str, Mapping[str, tuple[float, float]]],
    seen: Collection[str] = (),
    digits: int = 2,
) -> list[dict[str, Any]]:
    """Returns one row a method: its accuracies, their means and its average rank.

    Equation:
        li2022 tables 7, 14 to 16 and 20: "Average Seen", "Average Unseen", "Average All" and
        "Average Rank". Ranks are those of `metrics.average_rank`: equal methods share a rank.

    Differences:
        Ranks are among the methods of `results`, by unrounded means.

    Args:
        results: For each method, for each domain, `(mean, half_width)` as `evaluate_episodes`
            returns it. All methods need the same domains.
        seen: Domains whose training classes trained the networks. A mean over no domain is left
            out.
        digits: Digits after the point.

    Returns:
        Rows `{"method", DOMAIN: mean, "DOMAIN +-": half width, ..., "seen", "unseen", "all",
        "rank"}`, in the order of `results`, ready for `write_results`.

    Raises:
        ValueError: If methods differ in their domains, `seen` has another, or there is nothing.

    Example:
        >>> from keras_univrep.evaluation import comparison_table
        >>> found = {
        ...     "MDL": {"birds": (70.0, 1.0), "signs": (50.0, 1.0)},
        ...     "URL": {"birds": (75.0, 1.0), "signs": (50.0, 1.0)},
        ... }
        >>> rows = comparison_table(found, seen=["birds"])
        >>> [(row["seen"], row["unseen"], row["all"], row["rank"]) for row in rows]
        [(70.0, 50.0, 60.0, 1.75), (75.0, 50.0, 62.5, 1.25)]

    References:
        - Li, Liu and Bilen, Universal Representations, 2022, tables 7 and 14 to 20.
    """
    ranks = average_rank(
        {name: {domain: pair[0] for domain, pair in row.items()} for name, row in results.items()}
    )
    domains = list(next(iter(results.values())))
    unknown = sorted(set(seen) - set(domains))
    if unknown:
        raise ValueError(
            f"`seen` must hold some of the domains {domains}. Received: {unknown} besides. "
            "Leave out domains without results."
        )
    groups = {
        "seen": [domain for domain in domains if domain in seen],
        "unseen": [domain for domain in domains if domain not in seen],
        "all": domains,
    }
    rows = []
    for method, row in results.items():
        line: dict[str, Any] = {"method": method}
        for domain in domains:
            mean, half_width = row[domain]
            line |= {domain: round(mean, digits), f"{domain} +-": round(half_width, digits)}
        for group, members in groups.items():
            if members:
                line[group] = round(_mean(row[domain][0] for domain in members), digits)
        rows.append({**line, "rank": round(ranks[method], digits)})  # li2022 table 16
    return rows


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
