"""Which domain names are accepted, and what is said of the others."""

from __future__ import annotations

import pytest

from keras_univrep.layers.domain_names import check_domain, check_domains


def test_names_become_a_tuple_in_their_order() -> None:
    assert check_domains(["b", "a"], "layer") == ("b", "a")
    assert check_domains(None, "layer") is None


@pytest.mark.parametrize(
    ("domains", "error", "words"),
    [
        ("photo", TypeError, r"Write domains=\['photo'\]"),
        (["a", 1], TypeError, "Received: 1"),
        (["a", ""], ValueError, "non-empty"),
        (["a/b"], ValueError, "Received: 'a/b'"),
        (["a", "a"], ValueError, "each name once"),
        ([], ValueError, "at least one name"),
    ],
)
def test_bad_names_are_refused(domains: object, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        check_domains(domains, "layer")


def test_the_only_domain_may_be_left_out() -> None:
    assert check_domain(None, ("a",), "layer") == "a"
    assert check_domain("a", ("a", "b"), "layer") == "a"
    assert check_domain(None, None, "layer") is None


@pytest.mark.parametrize("domain", [None, "c"])
def test_an_unknown_domain_is_refused_with_the_known_ones(domain: str | None) -> None:
    with pytest.raises(ValueError, match=rf"layer: \['a', 'b'\].*Received: domain={domain!r}"):
        check_domain(domain, ("a", "b"), "layer")


def test_a_name_is_refused_where_there_are_no_domains() -> None:
    with pytest.raises(ValueError, match="has no named domains.*domain='a'"):
        check_domain("a", None, "layer")
