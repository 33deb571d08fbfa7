"""What is known of one domain of trained weights."""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class DomainEntry:
    """Classes of a domain, and what its images were like in training.

    Args:
        name: Name of the domain in the network.
        num_classes: Number of its classes.
        class_names: One name per class, in the order of the logits.
        input_size: (height, width) of the training images, in pixels.
        mean: Mean of each channel of images in [0, 1], taken away before the network.
        std: Standard deviation of each channel, divided by.
        licence: Licence of the training images.

    Raises:
        ValueError: If there is not one name per class.

    Example:
        >>> from keras_univrep.applications import list_weights
        >>> list_weights()["five_domains"].domains["eurosat"].class_names[:2]
        ('AnnualCrop', 'Forest')
    """

    name: str
    num_classes: int
    class_names: tuple[str, ...]
    input_size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    licence: str = ""

    def __post_init__(self) -> None:
        if len(self.class_names) != self.num_classes:
            raise ValueError(
                f"`class_names` of domain {self.name!r} must hold one name per class. Received: "
                f"{len(self.class_names)} names for {self.num_classes} classes. Pass all of them."
            )

    @classmethod
    def of(cls, domain: Any) -> "DomainEntry":
        """What there is to know of a domain of `datasets`.

        Args:
            domain: The `datasets.Domain` that a network was trained on.

        Returns:
            The entry.

        Example:
            >>> from keras_univrep import datasets
            >>> DomainEntry.of(datasets.load_domain("eurosat")).input_size
            (32, 32)
        """
        height, width = domain.image_shape[:2]
        return cls(
            domain.name, domain.num_classes, tuple(domain.class_names), (height, width),
            tuple(domain.mean), tuple(domain.std), domain.licence,
        )  # fmt: skip
