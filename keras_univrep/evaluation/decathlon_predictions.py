"""What a network predicts for the test images of the Visual Decathlon."""

from collections.abc import Mapping

import keras
import numpy as np

from keras_univrep.datasets import DecathlonImages


def decathlon_predictions(
    model: keras.Model,
    domains: Mapping[str, DecathlonImages],
    split: str = "test",
    batch_size: int = 256,
) -> dict[str, tuple[list[bytes], np.ndarray]]:
    """Predicts a split of some domains, for `write_decathlon_submission`.

    Args:
        model: A `MultiDomainModel` that knows the domains.
        domains: The domains, by name.
        split: Name of the split.
        batch_size: Images of a forward pass.

    Returns:
        Dict of domain to the names of its images and the predicted labels, int64 (n,).

    Raises:
        ValueError: If a domain or split is unknown.
        FileNotFoundError: If a domain has not been prepared.

    Example:
        >>> import tensorflow_datasets as tfds
        >>> from keras_univrep import backbones, datasets, evaluation, models
        >>> model = models.MultiDomainModel(backbones.ResNet26(width=0.125), {"dtd": 47})
        >>> with tfds.testing.mock_data(num_examples=3):  # random images
        ...     domains = {"dtd": datasets.DecathlonImages("dtd")}
        ...     names, labels = evaluation.decathlon_predictions(model, domains)["dtd"]
        >>> len(names), labels.shape
        (3, (3,))
    """
    found = {}
    for name, domain in domains.items():
        network = model.for_domain(name)
        names: list[bytes] = []
        labels = []
        batches = domain.batches(split, batch_size, with_names=True)
        for images, _, own in batches.as_numpy_iterator():
            logits = keras.ops.convert_to_numpy(network.predict_on_batch(images))
            labels.append(logits.argmax(-1))
            names += own.tolist()
        found[name] = names, np.concatenate(labels)
    return found
