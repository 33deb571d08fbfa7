"""Makes a source of a domain."""

import functools

from keras_univrep.datasets.dense_domain import DenseDomain
from keras_univrep.datasets.domain import Domain
from keras_univrep.datasets.lazy_splits import LazySplits
from keras_univrep.datasets.source import Source, SourceArrays


def source_from_domain(
    domain: Domain | DenseDomain, task: str | None = None, name: str | None = None
) -> Source:
    """Makes a source of a classification domain, or of one task of a dense domain.

    Images stay where they are: a split is read when it is first asked for.

    Args:
        domain: A `Domain`, or a `DenseDomain`.
        task: Which task of a `DenseDomain`, of the kind "segmentation" or "depth"; None for its
            only one.
        name: Name of the source; None for the domain's.

    Returns:
        A `Source`.

    Raises:
        ValueError: If there is no such task, or it is of another kind.
        TypeError: If something other than a domain is passed.

    Example:

    >>> from keras_univrep.datasets import load_domain, source_from_domain
    >>> source = source_from_domain(load_domain("eurosat"))
    >>> source.kind, source.channels, source.size("test")
    ('classification', 10, 300)
    """
    if not isinstance(domain, Domain | DenseDomain):
        raise TypeError(
            "`domain` must be a Domain or a DenseDomain. Received: "
            f"{type(domain).__name__}. Make one with `domain_from_arrays`, for example."
        )
    if isinstance(domain, Domain):
        if task is not None:
            raise ValueError(
                f"`task` must be None for a domain of classes. Received: task={task!r} for "
                f"'{domain.name}'. Leave it out."
            )
        kind, class_names, description = "classification", domain.class_names, ""
        readers = {split: functools.partial(domain.arrays, split) for split in domain.splits}
    else:
        kinds = {t: k for t, k in domain.tasks.items() if k in ("segmentation", "depth")}
        if task is None and len(kinds) == 1:
            task = next(iter(kinds))
        if task not in kinds:
            raise ValueError(
                f"`task` must be one of {list(kinds)}, the tasks of domain '{domain.name}' of the "
                f"kinds 'segmentation' and 'depth'. Received: task={task!r}. Pass one of these."
            )
        kind, description = kinds[task], domain.description
        class_names = domain.class_names.get(task, ())
        readers = {split: functools.partial(_maps, domain, split, task) for split in domain.splits}
    return Source(
        name=domain.name if name is None else name,
        kind=kind,
        class_names=class_names,
        image_shape=domain.image_shape,
        splits=LazySplits(readers),
        flip=domain.flip,
        description=description,
        licence=domain.licence,
        source=domain.source,
        citation=domain.citation,
    )


def _maps(domain: DenseDomain, split: str, task: str) -> SourceArrays:
    images, targets = domain.arrays(split)
    return images, targets[task]
