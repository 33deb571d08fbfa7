"""The images of a domain of the Visual Decathlon, with what other domains offer."""

import dataclasses
import pathlib
from typing import TYPE_CHECKING

from keras_univrep.datasets.decathlon_domain import DecathlonDomain
from keras_univrep.datasets.decathlon_pipeline import decathlon_pipeline
from keras_univrep.datasets.visual_decathlon import visual_decathlon

if TYPE_CHECKING:
    import tensorflow as tf


@dataclasses.dataclass(frozen=True, eq=False)
class DecathlonImages:
    """A domain of the Visual Decathlon whose images are read from TensorFlow Datasets.

    It stands in for a `Domain` where images come in batches: in the training of
    `multi_domain_pipeline` and in `evaluation.domain_accuracy`. It has no `arrays`, for its images
    are not of one size before they are cropped.

    Args:
        name: Official name, a key of `visual_decathlon()`.
        preset: "rebuffi2018" or "li2022", see `visual_decathlon`.
        data_dir: Folder of TensorFlow Datasets; None for its default.
        side: Side to which the crops of 64 pixels are enlarged, in pixels; None for none.
        download: Whether to download and prepare the domain if it is missing.

    Raises:
        ValueError: If the name or preset is unknown.

    Example:

    >>> import tensorflow_datasets as tfds
    >>> domain = DecathlonImages("dtd", side=72)
    >>> domain.num_classes, domain.image_shape
    (47, (72, 72, 3))
    >>> with tfds.testing.mock_data(num_examples=8):  # random images in place of the real ones
    ...     images, labels = next(iter(domain.batches("train", 4, training=True)))
    >>> tuple(images.shape)
    (4, 72, 72, 3)
    """

    name: str
    preset: str = "rebuffi2018"
    data_dir: str | pathlib.Path | None = None
    side: int | None = None
    download: bool = False
    facts: DecathlonDomain = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        domains = visual_decathlon(self.preset)
        if self.name not in domains:
            raise ValueError(
                f"`name` must be a domain of the Visual Decathlon: {list(domains)}. Received: "
                f"name={self.name!r}. Pass one of these."
            )
        object.__setattr__(self, "facts", domains[self.name])

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return self.facts.num_classes

    @property
    def class_names(self) -> tuple[str, ...]:
        """The numbers of the classes: the builder has no names."""
        return tuple(map(str, range(self.num_classes)))

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of the images that a network gets, in pixels."""
        return self.facts.image_shape if self.side is None else (self.side, self.side, 3)

    @property
    def mean(self) -> tuple[float, float, float]:
        """Official mean per channel, dimensionless."""
        return self.facts.mean

    @property
    def std(self) -> tuple[float, float, float]:
        """Official standard deviation per channel, dimensionless."""
        return self.facts.std

    def size(self, split: str) -> int:
        """Counts the images of a split."""
        return int(self.batches(split, 1).cardinality())

    def batches(
        self,
        split: str,
        batch_size: int,
        training: bool = False,
        seed: int = 0,
        first_step: int = 0,
        with_names: bool = False,
    ) -> "tf.data.Dataset":
        """Makes `decathlon_pipeline` with the same arguments.

        Args:
            split: As there.
            batch_size: As there.
            training: As there.
            seed: As there.
            first_step: As there.
            with_names: As there.

        Returns:
            Dataset of (images, labels) or (images, labels, names).

        Raises:
            ValueError: If an argument is out of range.
            FileNotFoundError: If the domain has not been prepared.
            ImportError: If TensorFlow or TensorFlow Datasets is not installed.
        """
        return decathlon_pipeline(
            self.name,
            split,
            batch_size,
            training,
            self.preset,
            self.data_dir,
            seed,
            first_step,
            with_names,
            download=self.download,
            side=self.side,
        )
