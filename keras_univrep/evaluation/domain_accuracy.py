"""Accuracy of a network in each of its domains."""

from collections.abc import Mapping

import keras
import numpy as np

from keras_univrep.datasets import Domain
from keras_univrep.evaluation.domain_batches import domain_batches


def domain_accuracy(
    model: keras.Model, domains: Mapping[str, Domain], split: str, batch_size: int = 256
) -> dict[str, float]:
    """Returns the share of images of each domain that a network classifies rightly.

    Args:
        model: A `MultiDomainModel` that knows the domains.
        domains: The domains to evaluate, by name.
        split: `"train"`, `"validation"` or `"test"`; the images come un-augmented.
        batch_size: Images of a forward pass.

    Returns:
        Accuracy of each domain, in per cent.

    Raises:
        ValueError: If a domain or split is unknown.

    Example:
        >>> from keras_univrep import backbones, datasets, evaluation, models
        >>> domains = {"eurosat": datasets.load_domain("eurosat")}
        >>> model = models.MultiDomainModel(backbones.ResNet26(width=0.125), {"eurosat": 10})
        >>> sorted(evaluation.domain_accuracy(model, domains, "validation"))
        ['eurosat']
    """
    accuracies = {}
    for name, domain in domains.items():
        network = model.for_domain(name)
        labels = domain.arrays(split)[1]
        predicted = [
            keras.ops.convert_to_numpy(network.predict_on_batch(images)).argmax(-1)
            for images in domain_batches(domain, split, batch_size)
        ]
        accuracies[name] = 100.0 * float(np.mean(np.concatenate(predicted) == labels))
    return accuracies
