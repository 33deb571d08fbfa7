"""`benchmark` opens named collections."""

import pytest

from keras_univrep.datasets import benchmark, embedded_domains


def test_five_domains_come_under_their_names_in_order() -> None:
    domains = benchmark("five_domains")
    assert list(domains) == embedded_domains()
    assert [domain.name for domain in domains.values()] == embedded_domains()


def test_lists_the_benchmarks_when_one_is_unknown() -> None:
    with pytest.raises(ValueError, match=r"'decathlon_local'\]. Received: name='decathlon'"):
        benchmark("decathlon")
