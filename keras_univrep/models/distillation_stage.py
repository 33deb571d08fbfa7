"""One training of a hierarchical distillation."""

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class DistillationStage:
    """A network to train, and the networks that teach it.

    Args:
        name: Name of the network that the stage trains.
        domains: Its domains.
        teachers: The stage whose network teaches each domain, `{domain: stage name}`; empty for a
            single-domain network, which learns from labels alone.
        level: Stages of one level do not need one another: they can run in parallel, once those of
            the levels below have finished.

    Example:
        >>> from keras_univrep.models import DistillationStage
        >>> stage = DistillationStage("signs", ("letters", "digits"), {"letters": "letters",
        ...     "digits": "digits"}, level=1)
        >>> stage.pick_teachers({"letters": "network 1", "digits": "network 2"})
        {'letters': 'network 1', 'digits': 'network 2'}
    """

    name: str
    domains: tuple[str, ...]
    teachers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    level: int = 0

    def pick_teachers(self, networks: Mapping[str, Any]) -> dict[str, Any]:
        """Returns `teachers` of a `UniversalDistiller`, from the networks of finished stages.

        Args:
            networks: The networks by the names of their stages.

        Returns:
            The teacher of each domain, `{domain: network}`.

        Raises:
            ValueError: If a stage that has to be there is not.
        """
        missing = sorted(set(self.teachers.values()) - set(networks))
        if missing:
            raise ValueError(
                f"`networks` must hold those of all stages that teach {self.name!r}. Received: "
                f"{sorted(networks)}, without {missing}. Run these stages first."
            )
        return {domain: networks[stage] for domain, stage in self.teachers.items()}
