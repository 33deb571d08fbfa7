"""The trained classifier that a program works with."""

import pathlib

import numpy as np

from keras_univrep import applications
from keras_univrep.applications import DomainEntry, WeightsEntry
from keras_univrep.models import MultiDomainModel
from keras_univrep.programs._pictures import read_image


def load_classifier(weights: str) -> tuple[MultiDomainModel, WeightsEntry]:
    """The network of registered weights, and what is known of it."""
    entry = applications.find_entry(weights)
    return getattr(applications, entry.constructor)(weights), entry


def read_images(files: list[pathlib.Path], domain: DomainEntry) -> np.ndarray:
    """Image files as uint8 (images, height, width, 3) of the domain's size."""
    return np.stack([read_image(file, domain.input_size) for file in files])


def normalized(images: np.ndarray, domain: DomainEntry) -> np.ndarray:
    """Images as the network wants them."""
    return applications.preprocess_input(images, mean=domain.mean, std=domain.std)
