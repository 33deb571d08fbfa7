"""Checks of domain names, shared by every layer and model that keeps one part per domain."""

from collections.abc import Sequence
from typing import overload


@overload
def check_domains(domains: Sequence[str], owner: str) -> tuple[str, ...]: ...


@overload
def check_domains(domains: Sequence[str] | None, owner: str) -> tuple[str, ...] | None: ...


def check_domains(domains: Sequence[str] | None, owner: str) -> tuple[str, ...] | None:
    """Returns `domains` as a tuple, or `None` for a layer with a single, unnamed domain.

    Args:
        domains: Names, in the order in which their weights are stored; or `None`.
        owner: What to call the caller in an error.

    Returns:
        A tuple of distinct, non-empty names without `/`, or `None`.

    Raises:
        TypeError: If `domains` is one string or holds something that is no string.
        ValueError: If it is empty, holds a name twice, or a name that cannot be part of a
            variable's path.
    """
    if domains is None:
        return None
    if isinstance(domains, str):
        raise TypeError(
            f"`domains` of {owner} must be a sequence of names. Received: domains={domains!r}. "
            f"Write domains=[{domains!r}]."
        )
    names = tuple(domains)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(
                f"Each of `domains` of {owner} must be a string. Received: {name!r}. "
                "Convert the names with `str`."
            )
        if not name or "/" in name:
            raise ValueError(
                f"Each of `domains` of {owner} must be non-empty and hold no '/', because it "
                f"becomes part of variable paths. Received: {name!r}. Rename the domain."
            )
    if not names or len(set(names)) != len(names):
        raise ValueError(
            f"`domains` of {owner} must hold at least one name and each name once. "
            f"Received: domains={list(names)}. Pass `domains=None` for a single unnamed domain."
        )
    return names


@overload
def check_domain(domain: str | None, domains: tuple[str, ...], owner: str) -> str: ...


@overload
def check_domain(domain: str | None, domains: tuple[str, ...] | None, owner: str) -> str | None: ...


def check_domain(domain: str | None, domains: tuple[str, ...] | None, owner: str) -> str | None:
    """Returns the domain to use, after checking it against the known ones.

    Args:
        domain: What the caller passed.
        domains: The known names, or `None` for a single unnamed domain.
        owner: What to call the caller in an error.

    Returns:
        `domain`; the only known name where `domain` is `None`; `None` without names.

    Raises:
        ValueError: If `domain` is unknown, or missing while several are known.
    """
    if domains is None:
        if domain is not None:
            raise ValueError(
                f"{owner} has no named domains, so `domain` must be None. "
                f"Received: domain={domain!r}. Construct it with `domains=[...]`."
            )
        return None
    if domain is None and len(domains) == 1:
        return domains[0]
    if domain not in domains:
        raise ValueError(
            f"`domain` must be one of the domains of {owner}: {list(domains)}. "
            f"Received: domain={domain!r}."
        )
    return domain
