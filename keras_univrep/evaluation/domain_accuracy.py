"""Accuracy of a network in each of its domains."""

from collections.abc import Iterator, Mapping

import keras
import numpy as np

from keras_univrep.datasets import DecathlonImages, Domain
from keras_univrep.evaluation.domain_batches import domain_batches


def domain_accuracy(
    model: keras.Model,
    domains: Mapping[str, Domain | DecathlonImages],
    split: str,
    batch_size: int = 256,
) -> dict[str, float]:
    """Returns the share of images of each domain that a network classifies rightly.

    Args:
        model: A `MultiDomainModel` that knows the domains.
        domains: The domains to evaluate, by name: `Domain` or `DecathlonImages`.
        split: `"train"`, `"validation"` or `"test"`; the images come un-augmented.
        batch_size: Images of a forward pass.

    Returns:
        Accuracy of each domain, in per cent.

    Raises:
        ValueError: If a domain or split is unknown, or the split has no labels (the test split of
            the Visual Decathlon).

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
        right, count = 0, 0
        for images, labels in _labelled(domain, split, batch_size):
            predicted = keras.ops.convert_to_numpy(network.predict_on_batch(images)).argmax(-1)
            right += int((predicted == labels).sum())
            count += len(labels)
        accuracies[name] = 100.0 * right / count
    return accuracies


def _labelled(
    domain: Domain | DecathlonImages, split: str, batch_size: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Normalised images of a split, in order, with their labels."""
    if isinstance(domain, DecathlonImages):
        for images, labels in domain.batches(split, batch_size).as_numpy_iterator():
            if labels.min() < 0:
                raise ValueError(
                    f"`split` must have labels. Received: split={split!r} of '{domain.name}', "
                    "whose labels are secret. Pass 'validation', or write a submission with "
                    "`decathlon_predictions` and `write_decathlon_submission`."
                )
            yield images, labels
        return
    labels, first = domain.arrays(split)[1], 0
    for images in domain_batches(domain, split, batch_size):
        yield images, labels[first : first + len(images)]
        first += len(images)
