"""The trained weights that are known, and what is known of each."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from keras_univrep.applications._whole_file import whole_file
from keras_univrep.applications.domain_entry import DomainEntry
from keras_univrep.applications.weights_entry import WeightsEntry

FOLDER = pathlib.Path(__file__).parent / "weights"
# Class names are long, and several entries share a domain: they have a file of their own.
REGISTRY, DOMAINS = "registry.json", "domains.json"


def list_weights(constructor: str | None = None) -> dict[str, WeightsEntry]:
    """Returns what is known of each set of trained weights, by name.

    Args:
        constructor: Name of a constructor, for those that it takes; all by default.

    Returns:
        A `WeightsEntry` for each name.

    Example:
        >>> from keras_univrep.applications import list_weights
        >>> "five_domains" in list_weights("UniversalResNet26")
        True
    """
    known = read_registry(FOLDER)
    return {
        name: entry
        for name, entry in known.items()
        if constructor is None or entry.constructor == constructor
    }


def read_registry(folder: pathlib.Path) -> dict[str, WeightsEntry]:
    """Reads the entries of a folder of weights."""
    path = folder / REGISTRY
    if not path.exists():
        return {}
    domains = {
        name: DomainEntry(name=name, **_tuples(fields))
        for name, fields in json.loads((folder / DOMAINS).read_text()).items()
    }
    return {
        name: WeightsEntry(
            name=name,
            **{
                **fields,
                "domains": {key: domains[key] for key in fields["domains"]},
                "aliases": tuple(fields["aliases"]),
            },
        )
        for name, fields in json.loads(path.read_text()).items()
    }


def write_registry(folder: pathlib.Path, entries: Mapping[str, WeightsEntry]) -> None:
    """Writes the entries of a folder of weights; each file whole or not at all."""
    domains: dict[str, Any] = {}
    registry: dict[str, Any] = {}
    for name, entry in entries.items():
        for key, domain in entry.domains.items():
            domains[key] = {k: v for k, v in dataclasses.asdict(domain).items() if k != "name"}
        registry[name] = {**dataclasses.asdict(entry), "domains": list(entry.domains)}
        del registry[name]["name"]
    # The domains first: entries may name no domain that is not there.
    for file, content, indent in ((DOMAINS, domains, None), (REGISTRY, registry, 2)):
        with whole_file(folder / file) as part:
            part.write_text(json.dumps(content, indent=indent) + "\n")


def _tuples(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(v) if isinstance(v, list) else v for key, v in fields.items()}
