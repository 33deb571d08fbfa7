"""What is known of one set of trained weights."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from keras_univrep.applications.domain_entry import DomainEntry


@dataclasses.dataclass(frozen=True)
class WeightsEntry:
    """A file of trained weights: what it holds, how it came to be, what it scores.

    Args:
        name: What constructors call it.
        constructor: The constructor that takes it, such as "UniversalResNet26".
        file: Name of the file.
        sha256: Checksum of the file, 64 hexadecimal digits.
        size: Bytes of the file.
        parameters: Number of weights, those that do not train included.
        domains: `DomainEntry` of each domain, in the order of the network.
        architecture: Further arguments of the constructor.
        measured: Test accuracy of each domain in per cent, measured with this file.
        reported: What the paper's row says, in per cent, where the domains are the paper's own.
        paper_row: Key of the paper, table and row that the network stands for.
        recipe: The command that trained it.
        seed: Its seed.
        licence: Licence of the weights.
        url: Where to fetch the file if it is not in the package; empty if it is.
        aliases: Other names.

    Example:
        >>> from keras_univrep.applications import list_weights
        >>> entry = list_weights()["five_domains"]
        >>> entry.constructor, entry.num_classes["eurosat"]
        ('UniversalResNet26', 10)
    """

    name: str
    constructor: str
    file: str
    sha256: str
    size: int
    parameters: int
    domains: Mapping[str, DomainEntry]
    architecture: Mapping[str, Any]
    measured: Mapping[str, float]
    reported: Mapping[str, float]
    paper_row: str
    recipe: str
    seed: int
    licence: str
    url: str = ""
    aliases: tuple[str, ...] = ()

    @property
    def num_classes(self) -> dict[str, int]:
        """Number of classes by domain."""
        return {name: domain.num_classes for name, domain in self.domains.items()}

    def domain(self, name: str | None = None) -> DomainEntry:
        """Returns what is known of a domain.

        Args:
            name: One of `domains`; may be omitted where there is only one.

        Returns:
            Its `DomainEntry`.

        Raises:
            ValueError: If there is no such domain.
        """
        if name is None and len(self.domains) == 1:
            name = next(iter(self.domains))
        if name is None or name not in self.domains:
            raise ValueError(
                f"`domain` must be one of {list(self.domains)}, which the weights {self.name!r} "
                f"know. Received: domain={name!r}. Pass one of these."
            )
        return self.domains[name]
