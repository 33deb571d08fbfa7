"""One of the ten domains of the Visual Decathlon: its classes, preparation and official numbers."""

import dataclasses
import re

DECATHLON_SIDE = 72
"""Shorter side of the official images, in pixels."""


@dataclasses.dataclass(frozen=True)
class DecathlonDomain:
    """A domain of the Visual Decathlon, without its images.

    Args:
        name: Official name, such as "dtd".
        num_classes: Number of classes; labels are in [0, num_classes), in the order of the
            official category numbers.
        mean: Official mean per channel of images in [0, 1], dimensionless.
        std: Official standard deviation per channel of images in [0, 1], dimensionless.
        crop_size: Side of the images that a network gets, in pixels.
        random_crop: Whether training crops at random; evaluation always crops the centre.
        flip: Whether training mirrors half of the images.
        squash: Whether the whole image is resized to a square of 72 pixels first; otherwise its
            shorter side has 72 pixels.
        num_test_images: Images of the official test split.
        first_test_image: Official number of test image 1; image n has the number that is n - 1
            higher.
        first_category: Official number of the category of label 0; label k has the number that is
            k higher.

    Example:

    >>> from keras_univrep.datasets import visual_decathlon
    >>> dtd = visual_decathlon("rebuffi2018")["dtd"]
    >>> dtd.num_classes, dtd.image_shape, dtd.flip
    (47, (64, 64, 3), True)
    >>> dtd.image_id("dtd/test/000002.jpg"), dtd.category_id(0)
    (40203762, 40000001)
    """

    name: str
    num_classes: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    crop_size: int
    random_crop: bool
    flip: bool
    squash: bool
    num_test_images: int
    first_test_image: int
    first_category: int

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of the images that a network gets, in pixels."""
        return (self.crop_size, self.crop_size, 3)

    def image_id(self, image_name: str | bytes) -> int:
        """Finds the official number of a test image.

        Args:
            image_name: Name as the pipelines give it, "<domain>/test/<number>.jpg"; a leading
                "data/" is allowed.

        Returns:
            The number that a submission gives as `image_id`.

        Raises:
            ValueError: If it is not the name of a test image of this domain.
        """
        text = image_name.decode() if isinstance(image_name, bytes) else str(image_name)
        found = re.fullmatch(rf"(?:data/)?{re.escape(self.name)}/test/(\d{{6}})\.jpg", text)
        number = int(found[1]) if found else 0
        if not 1 <= number <= self.num_test_images:
            raise ValueError(
                f"`image_name` must be a test image of '{self.name}', from "
                f"'{self.name}/test/000001.jpg' to "
                f"'{self.name}/test/{self.num_test_images:06d}.jpg'. Received: {text!r}. Pass the "
                "names that `decathlon_pipeline(..., with_names=True)` gives."
            )
        return self.first_test_image + number - 1

    def category_id(self, label: int) -> int:
        """Finds the official number of a category.

        Args:
            label: Label in [0, num_classes).

        Returns:
            The number that a submission gives as `category_id`.

        Raises:
            ValueError: If the label is out of range.
        """
        if not 0 <= label < self.num_classes:
            raise ValueError(
                f"`label` of domain '{self.name}' must be in [0, {self.num_classes}). Received: "
                f"label={label}. Pass the index of the largest logit."
            )
        return self.first_category + int(label)
