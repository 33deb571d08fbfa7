"""Makes the readers behind the pipelines and checks their arguments."""

from collections.abc import Mapping, Sequence
from typing import Any

from keras_univrep.datasets.batch_plan import BatchPlan
from keras_univrep.datasets.batch_reader import BatchReader
from keras_univrep.datasets.domain import Domain


def make_reader(
    domain: Domain,
    split: str,
    batch_size: int,
    training: bool,
    augmentation: str | None,
    padding: int | None,
    seed: int,
    stream: str,
    steps: int | None = None,
) -> BatchReader:
    """Makes the reader of a domain: mirrors are dropped where the domain does not allow them."""
    if augmentation in ("crop_flip", "crop_flip_colour") and not domain.flip:
        augmentation = augmentation.replace("_flip", "")
    shape = domain.image_shape
    plan = BatchPlan(
        domain.size(split), shape, batch_size, training, augmentation, padding, steps, seed, stream
    )
    return BatchReader(domain, split, plan)


def named_domains(
    domains: Mapping[str, Any] | Sequence[Any], kinds: tuple[type, ...] = (Domain,)
) -> dict[str, Any]:
    """Puts domains into a dict by name, and checks it."""
    pairs: list[tuple[Any, Any]]
    if isinstance(domains, Mapping):
        pairs = list(domains.items())
    else:
        pairs = [(getattr(domain, "name", None), domain) for domain in domains]
    wrong = [type(domain).__name__ for _, domain in pairs if not isinstance(domain, kinds)]
    if wrong:
        raise TypeError(
            "`domains` must be a dict of name to Domain or a list of Domain. Received: elements of "
            f"type {wrong}. Make them with `load_domain` or `domain_from_arrays`."
        )
    if not pairs or len({name for name, _ in pairs}) < len(pairs):
        raise ValueError(
            "`domains` must hold at least one domain and no name twice. Received: "
            f"{[name for name, _ in pairs]}. Pass a dict with a name of its own for each domain."
        )
    return dict(pairs)


def sizes_of(domains: Mapping[str, Any], batch_size: int | Mapping[str, int]) -> dict[str, int]:
    """Maps each domain to its number of images a batch."""
    if isinstance(batch_size, Mapping):
        if set(batch_size) != set(domains):
            raise ValueError(
                f"`batch_size` must have one entry for each domain: {list(domains)}. Received: "
                f"{dict(batch_size)}. Pass one integer for all domains, or a dict with exactly "
                "these names."
            )
        return dict(batch_size)
    return dict.fromkeys(domains, batch_size)


def make_readers(
    domains: dict[str, Domain],
    split: str,
    batch_size: int | Mapping[str, int],
    training: bool,
    augmentation: str | None,
    padding: int | None,
    seed: int,
) -> dict[str, BatchReader]:
    """Makes one reader for each domain; without training all have the same number of steps."""
    sizes = sizes_of(domains, batch_size)
    arguments = (training, augmentation, padding, seed)
    readers = {
        name: make_reader(domain, split, sizes[name], *arguments, name)
        for name, domain in domains.items()
    }
    if training:
        return readers
    plans = [reader.plan for reader in readers.values()]
    steps = min(max(plan.pass_steps for plan in plans), min(plan.size for plan in plans))
    return {
        name: make_reader(domain, split, sizes[name], *arguments, name, steps)
        for name, domain in domains.items()
    }
