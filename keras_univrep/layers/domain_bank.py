"""The interface of layers that keep a part of their own for each domain."""

import abc
import contextlib
from collections.abc import Iterator, Sequence

import keras

from keras_univrep.layers.copy_weights import copy_weights
from keras_univrep.layers.domain_names import check_domain, check_domains


class DomainBank(keras.layers.Layer):
    """A layer with one part for each domain, to which domains can be added and removed.

    A leaf writes `make_part(domain)`, which returns the built layer that holds what the domain has
    of its own; calls `make_parts()` at the end of its `build`; and reads `part(domain)` in its
    `call(inputs, domain=None, training=None)`. Parts are layers and not weights of the bank, so
    that one can be saved, frozen, added or dropped without touching the others.

    Args:
        domains: Names of the domains, or `None` for one unnamed part.
        **kwargs: `name`, `dtype` and `trainable` of a Keras layer.

    Raises:
        ValueError: If a name is repeated, or cannot be part of a variable's path.
    """

    def __init__(self, domains: Sequence[str] | None = None, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.domains = check_domains(domains, self.name)
        self.parts: list[keras.layers.Layer] = []

    @abc.abstractmethod
    def make_part(self, domain: str | None) -> keras.layers.Layer:
        """Returns a new, built layer with what `domain` has of its own."""

    def make_parts(self) -> None:
        """Makes the part of every domain; the last thing that `build` does."""
        self.parts = [self.make_part(name) for name in self.domains or (None,)]

    def part(self, domain: str | None = None) -> keras.layers.Layer:
        """Returns the part of `domain`; the only one may be left unnamed."""
        domain = check_domain(domain, self.domains, self.name)
        return self.parts[self.domains.index(domain) if self.domains and domain else 0]

    def add_domain(self, domain: str, like: str | None = None) -> None:
        """Adds a part for a new domain.

        Args:
            domain: A name that is not among `domains`.
            like: A domain whose weights the new part starts with; else it starts afresh.

        Raises:
            ValueError: If the name is known, or the bank has one unnamed part.
        """
        names = self._check_named()
        check_domains([*names, domain], self.name)
        source = None if like is None else self.part(like)
        if self.built:
            with unlocked(self):
                part = self.make_part(domain)
                if source is not None:
                    copy_weights(source, part)
                self.parts.append(part)
        self.domains = (*names, domain)

    def remove_domain(self, domain: str) -> None:
        """Drops the part of a domain.

        Args:
            domain: One of `domains`; not the last one left.

        Raises:
            ValueError: If it is unknown or the only one.
        """
        names = self._check_named()
        check_domain(domain, names, self.name)
        if len(names) == 1:
            raise ValueError(
                f"{self.name} must keep at least one domain. Received: domain={domain!r}, the only "
                "one. Add another before."
            )
        if self.built:
            with unlocked(self):
                self.parts.remove(self.part(domain))
        self.domains = tuple(name for name in names if name != domain)

    def rename_domain(self, domain: str, name: str) -> None:
        """Gives a domain another name; it comes last among `domains` afterwards.

        Args:
            domain: One of `domains`.
            name: A name that is not among them.

        Raises:
            ValueError: If `domain` is unknown or `name` is not new.
        """
        # Names are part of the variables' paths, which are fixed: hence a new part.
        self.add_domain(name, like=domain)
        self.remove_domain(domain)

    def get_config(self) -> dict[str, object]:
        domains = None if self.domains is None else list(self.domains)
        return {**super().get_config(), "domains": domains}

    def _check_named(self) -> tuple[str, ...]:
        if self.domains is None:
            raise ValueError(
                f"{self.name} must have named domains to add or remove one. Received: "
                "domains=None. Construct it with `domains=[...]`."
            )
        return self.domains


@contextlib.contextmanager
def unlocked(layer: keras.layers.Layer) -> Iterator[None]:
    """Lets a built layer take new parts, under the path that they would have had from the start."""
    with contextlib.ExitStack() as stack:
        for name in layer.path.split("/"):
            stack.enter_context(keras.name_scope(name))
        # Keras has no public way to add to a built layer; its own `enable_lora` does the same.
        layer._tracker.unlock()
        try:
            yield
        finally:
            layer._tracker.lock()
