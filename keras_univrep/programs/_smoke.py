"""Pictures to try the programs on: some that ship with the package."""

import pathlib

from keras_univrep.datasets import load_domain
from keras_univrep.programs._pictures import write_image


def write_examples(folder: pathlib.Path, count: int = 6, classes: int = 3) -> pathlib.Path:
    """Writes test images of EuroSAT, a folder a class, and returns the folder."""
    domain = load_domain("eurosat")
    images, labels = domain.arrays("test")
    for label in range(classes):
        place = folder / domain.class_names[label]
        place.mkdir(parents=True, exist_ok=True)
        for number, index in enumerate((labels == label).nonzero()[0][:count]):
            write_image(place / f"{number}.png", images[index])
    return folder
