"""Trained networks become named weights."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from keras_univrep.applications import weights_registry
from keras_univrep.applications.domain_entry import DomainEntry
from keras_univrep.applications.find_weights import checksum
from keras_univrep.applications.save_weights import save_weights
from keras_univrep.applications.weights_entry import WeightsEntry
from keras_univrep.models import MultiDomainModel


def register_weights(
    model: MultiDomainModel,
    name: str,
    domains: Mapping[str, DomainEntry],
    measured: Mapping[str, float] | Callable[[MultiDomainModel], Mapping[str, float]],
    recipe: str,
    licence: str,
    constructor: str = "UniversalResNet26",
    architecture: Mapping[str, Any] | None = None,
    paper_row: str = "",
    seed: int = 0,
    half: bool = False,
    url: str = "",
    aliases: Sequence[str] = (),
    folder: str | pathlib.Path | None = None,
) -> WeightsEntry:
    """Writes a network's weights and its entry to a registry, which constructors then know.

    Args:
        model: The trained network, as `constructor` makes it.
        name: What to call the weights; an entry of this name is replaced.
        domains: What is known of each domain, in the order of the network.
        measured: Test accuracy of each domain in per cent, or a function that measures it. The
            function gets the network that the constructor makes of the written file: with `half`
            that is not quite `model`.
        recipe: The command that trained it.
        licence: Licence of the weights.
        constructor: Name of the constructor.
        architecture: Its further arguments.
        paper_row: Key of the paper, table and row that the network stands for.
        seed: Seed of the training.
        half: Whether kernels are stored in half precision, as by `save_weights`.
        url: Where the file will be, if not in the package.
        aliases: Other names.
        folder: Folder of the registry; that of the package by default.

    Returns:
        The entry.

    Raises:
        ValueError: If the domains are not those of the network.
        OSError: If a file cannot be written; no entry is changed then.
    """
    if {key: entry.num_classes for key, entry in domains.items()} != model.num_classes:
        raise ValueError(
            f"`domains` must be those of the network: {model.num_classes}. Received: "
            f"{ {key: entry.num_classes for key, entry in domains.items()} }. Describe each."
        )
    place = weights_registry.FOLDER if folder is None else pathlib.Path(folder)
    path = save_weights(model, place / f"{name}.weights.h5", half)
    entry = WeightsEntry(
        name=name, constructor=constructor, file=path.name, sha256=checksum(path),
        size=path.stat().st_size, parameters=model.count_params(),
        domains={key: domains[key] for key in model.domains}, architecture=dict(architecture or {}),
        measured={} if callable(measured) else dict(measured), reported={}, paper_row=paper_row,
        recipe=recipe, seed=seed, licence=licence, url=url, aliases=tuple(aliases),
    )  # fmt: skip
    if callable(measured):
        from keras_univrep import applications  # which imports this file

        make = getattr(applications, constructor)
        again = make(weights=path, domains=dict(entry.num_classes), **entry.architecture)
        entry = dataclasses.replace(entry, measured=dict(measured(again)))
    known = weights_registry.read_registry(place)
    weights_registry.write_registry(place, {**known, name: entry})
    return entry
