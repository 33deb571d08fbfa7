"""Domains of one's own on trained weights."""

import os
from collections.abc import Sequence

from keras_univrep.applications.find_entry import find_entry
from keras_univrep.backbones import AdaptedBackbone
from keras_univrep.models import MultiDomainModel, load_domain_pack

# A network has at least one domain, which packs then replace.
FIRST = "place_holder"


def from_domain_packs(weights: str, packs: Sequence[str | os.PathLike]) -> MultiDomainModel:
    """Returns a network of the domains of packs over the trunk of trained weights.

    A network whose domains have adapters, as that of "vdd", takes a pack by
    `models.load_domain_pack` beside its own domains. One that all domains share, as that of
    "five_domains", has no place for adapters: this puts its trunk under them.

    Args:
        weights: A name of `list_weights()`, that for which the packs were made.
        packs: Files that `models.save_domain_pack`, or the program `add_domain`, wrote.

    Returns:
        A `MultiDomainModel` over an `AdaptedBackbone`, with the domains of the packs alone.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If the weights are unknown, there are no packs, one is damaged or made for
            another trunk, or two have one name.

    Example:
        >>> import os, tempfile
        >>> from keras_univrep.applications import UniversalResNet26, from_domain_packs
        >>> from keras_univrep.backbones import AdaptedBackbone
        >>> from keras_univrep.models import MultiDomainModel, save_domain_pack
        >>> trunk = UniversalResNet26("five_domains", include_top=False)
        >>> model = MultiDomainModel(AdaptedBackbone(trunk, ["birds"]), {"birds": 2})
        >>> path = os.path.join(tempfile.mkdtemp(), "birds.zip")
        >>> pack = save_domain_pack(model, "birds", path)
        >>> from_domain_packs("five_domains", [path]).num_classes
        {'birds': 2}
    """
    if isinstance(packs, str | os.PathLike) or not packs:
        raise ValueError(
            f"`packs` must be a list of at least one file. Received: packs={packs!r}. Write "
            "packs=['birds.zip']."
        )
    from keras_univrep import applications  # which imports this file

    backbone = getattr(applications, find_entry(weights).constructor)(weights, include_top=False)
    trunk = backbone.trunk if isinstance(backbone, AdaptedBackbone) else backbone
    model = MultiDomainModel(AdaptedBackbone(trunk, [FIRST]), {FIRST: 1})
    for path in packs:
        load_domain_pack(model, path)
    model.remove_domain(FIRST)
    return model
