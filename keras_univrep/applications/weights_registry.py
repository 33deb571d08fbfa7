"""The trained weights that are known, and what is known of each."""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from keras_univrep.applications._whole_file import whole_file
from keras_univrep.applications.domain_entry import DomainEntry
from keras_univrep.applications.weights_entry import WeightsEntry

FOLDER = pathlib.Path(__file__).parent / "weights"
# Class names are long, and several entries share them: they have a file of their own.
REGISTRY, CLASS_NAMES = "registry.json", "class_names.json"


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
    lists = json.loads((folder / CLASS_NAMES).read_text())
    return {
        name: WeightsEntry(
            name=name,
            **{
                **fields,
                "domains": {
                    key: DomainEntry(
                        name=key, **_tuples({**domain, "class_names": lists[domain["class_names"]]})
                    )
                    for key, domain in fields["domains"].items()
                },
                "aliases": tuple(fields["aliases"]),
            },
        )
        for name, fields in json.loads(path.read_text()).items()
    }


def write_registry(folder: pathlib.Path, entries: Mapping[str, WeightsEntry]) -> None:
    """Writes the entries of a folder of weights; each file whole or not at all."""
    lists: dict[str, tuple[str, ...]] = {}
    registry: dict[str, Any] = {}
    for name, entry in entries.items():
        registry[name] = {**dataclasses.asdict(entry), "domains": {}}
        del registry[name]["name"]
        for key, domain in entry.domains.items():
            digest = _digest(domain.class_names)
            lists[digest] = domain.class_names
            fields = {**dataclasses.asdict(domain), "class_names": digest}
            del fields["name"]
            registry[name]["domains"][key] = fields
    # A process may end between the two files: the names come first, and those of the entries that
    # are to be replaced stay until the next time.
    for entry in read_registry(folder).values():
        for domain in entry.domains.values():
            lists.setdefault(_digest(domain.class_names), domain.class_names)
    for file, content, indent in ((CLASS_NAMES, lists, None), (REGISTRY, registry, 2)):
        with whole_file(folder / file) as part:
            part.write_text(json.dumps(content, indent=indent) + "\n")


def _digest(class_names: tuple[str, ...]) -> str:
    return hashlib.sha256(json.dumps(class_names).encode()).hexdigest()[:16]


def _tuples(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(v) if isinstance(v, list) else v for key, v in fields.items()}
