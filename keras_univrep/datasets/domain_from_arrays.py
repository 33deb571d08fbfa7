"""Makes a domain of a user's own arrays."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from keras_univrep.datasets.checks import check_split
from keras_univrep.datasets.domain import Arrays, Domain

Pair = tuple[npt.ArrayLike, npt.ArrayLike]


def domain_from_arrays(
    name: str,
    train: Pair,
    validation: Pair | None = None,
    test: Pair | None = None,
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
    flip: bool = False,
    licence: str = "",
    source: str = "",
    citation: str = "",
) -> Domain:
    """Makes a domain of arrays.

    Mean and deviation are computed on the training images, in [0, 1].

    Args:
        name: Name of the domain.
        train: (images, labels): images (n, height, width, channels), integers in [0, 255] or floats
            in [0, 1], 1 or 3 channels; labels (n,), integers from 0. Floats are rounded to 256
            levels.
        validation: The same, or None.
        test: The same, or None.
        num_classes: Number of classes; None for the number of `class_names`, or the largest label
            plus 1.
        class_names: One name per class; None for the numbers.
        flip: Whether a mirrored image keeps its class.
        licence: Licence of the images.
        source: Address of the origin.
        citation: What to cite.

    Returns:
        A `Domain`. The deviation of a channel of one value is set to 1, so that it normalises to 0.

    Raises:
        ValueError: If shapes, ranges or counts do not fit, or a value is not finite.
        TypeError: If images are not numbers or labels not integers.

    Example:

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> images, labels = rng.random((20, 32, 32, 3)), np.arange(20) % 4
    >>> domain = domain_from_arrays("mine", (images, labels))
    >>> domain.num_classes, domain.image_shape, sorted(domain.splits)
    (4, (32, 32, 3), ['train'])
    """
    given = {"train": train, "validation": validation, "test": test}
    if num_classes is None and class_names is not None:
        num_classes = len(class_names)
    splits: dict[str, Arrays] = {}
    for split, pair in given.items():
        if pair is None:
            continue
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise TypeError(
                f"`{split}` must be a pair (images, labels). Received: {type(pair).__name__}. "
                f"Pass `{split}=(images, labels)`."
            )
        images, labels = np.asarray(pair[0]), np.asarray(pair[1])
        where = f"split '{split}' of domain '{name}'"
        check_split(images, labels, num_classes, where)
        splits[split] = (_to_uint8(images, where), labels.astype("int32"))
    if num_classes is None:
        num_classes = 1 + max(int(labels.max()) for _, labels in splits.values())
    mean, std = statistics(splits["train"][0])
    return Domain(
        name=name,
        num_classes=num_classes,
        class_names=tuple(map(str, range(num_classes) if class_names is None else class_names)),
        image_shape=tuple(splits["train"][0].shape[1:]),
        mean=mean,
        std=std,
        splits=splits,
        flip=flip,
        licence=licence,
        source=source,
        citation=citation,
    )


def statistics(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Computes mean and deviation per channel of uint8 images; a deviation of 0 becomes 1."""
    values = np.arange(256) / 255
    means, stds = [], []
    for channel in range(images.shape[-1]):
        # A histogram is exact and needs no float copy of the images.
        weights = (
            np.bincount(images[..., channel].ravel(), minlength=256) / images[..., channel].size
        )
        mean = float(weights @ values)
        std = float(np.sqrt(weights @ (values - mean) ** 2))
        means.append(mean)
        stds.append(std if std > 1e-9 else 1.0)
    return tuple(means), tuple(stds)


def _to_uint8(images: np.ndarray, where: str) -> np.ndarray:
    top = 1 if images.dtype.kind == "f" else 255
    low, high = images.min(), images.max()
    if low < 0 or high > top:
        raise ValueError(
            f"Images of {where} must be integers in [0, 255] or floats in [0, 1]. Received: "
            f"{images.dtype} from {low} to {high}. Undo their normalisation, or divide floats in "
            "[0, 255] by 255."
        )
    return np.rint(images * 255.0).astype("uint8") if top == 1 else images.astype("uint8")
