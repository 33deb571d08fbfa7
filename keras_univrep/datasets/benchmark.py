"""Named collections of domains."""

import pathlib

from keras_univrep.datasets.decathlon_local import decathlon_local
from keras_univrep.datasets.domain import Domain
from keras_univrep.datasets.embedded_domains import embedded_domains
from keras_univrep.datasets.load_domain import load_domain

_BENCHMARKS = ("five_domains", "decathlon_local")


def benchmark(
    name: str = "five_domains", data_dir: str | pathlib.Path | None = None, size: int = 32
) -> dict[str, Domain]:
    """Opens the domains of a benchmark, in a fixed order.

    "five_domains", which ship with the package: satellite images (eurosat, 10 classes), handwritten
    letters (letters, 26), handwritten characters of 50 alphabets (omniglot, 1623), line drawings
    (quickdraw, 8) and photographs of hands (signdigits, 10), all 32x32, with fixed train,
    validation and test splits. "decathlon_local": nine sets in a folder, see `decathlon_local`.
    Select on validation; read test once.

    Args:
        name: "five_domains" or "decathlon_local".
        data_dir: Folder of the sets of "decathlon_local", as there.
        size: Side of its images, in pixels.

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
    if name == "decathlon_local":
        return decathlon_local(data_dir, size)
    return {domain: load_domain(domain) for domain in embedded_domains()}
