"""The paper's weight decay for each of its data sets follows from their sizes."""

from __future__ import annotations

import pytest

from keras_univrep.optimizers import l2_for_size

# Training images of the Visual Decathlon, and the decay that rebuffi2018 section 4.1 gives.
PRINTED = {
    "aircraft": (3334, 0.002),
    "dtd": (1880, 0.002),
    "vgg-flowers": (1020, 0.002),
    "daimlerpedcls": (23520, 0.0005),
    "omniglot": (17853, 0.0005),
    "ucf101": (7629, 0.0005),
    "cifar100": (40000, 0.0001),
    "gtsrb": (31367, 0.0001),
    "svhn": (47217, 0.0001),
}


@pytest.mark.parametrize("domain", PRINTED)
def test_gives_the_decay_of_the_paper(domain: str) -> None:
    images, factor = PRINTED[domain]
    assert l2_for_size(images) == factor


def test_no_images_are_refused() -> None:
    with pytest.raises(ValueError, match="Received: images=0"):
        l2_for_size(0)
