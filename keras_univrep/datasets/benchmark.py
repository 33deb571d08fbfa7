"""Named collections of domains."""

from keras_univrep.datasets.domain import Domain
from keras_univrep.datasets.embedded_domains import embedded_domains
from keras_univrep.datasets.load_domain import load_domain

_BENCHMARKS = ("five_domains",)


def benchmark(name: str = "five_domains") -> dict[str, Domain]:
    """Opens the domains of a benchmark, in a fixed order.

    "five_domains": satellite images (eurosat, 10 classes), handwritten letters (letters, 26),
    handwritten characters of 50 alphabets (omniglot, 1623), line drawings (quickdraw, 8) and
    photographs of hands (signdigits, 10), all 32x32, with fixed train, validation and test splits.
    Select on validation; read test once.

    Args:
        name: "five_domains".

    Returns:
        Dict of domain name to `Domain`.

    Raises:
        ValueError: If the name is unknown.

    Example:

    >>> {name: domain.num_classes for name, domain in benchmark("five_domains").items()}
    {'eurosat': 10, 'letters': 26, 'omniglot': 1623, 'quickdraw': 8, 'signdigits': 10}
    """
    if name not in _BENCHMARKS:
        raise ValueError(
            f"`name` must be one of {list(_BENCHMARKS)}. Received: name={name!r}. Pass one of "
            "these."
        )
    return {domain: load_domain(domain) for domain in embedded_domains()}
