"""Features of a network for the images of one domain."""

import keras
import numpy as np

from keras_univrep.datasets import Domain
from keras_univrep.evaluation.domain_batches import domain_batches


def domain_features(
    model: keras.Model,
    domain: Domain,
    split: str,
    limit: int | None = None,
    batch_size: int = 256,
) -> np.ndarray:
    """Returns the features of the images of a split.

    Args:
        model: A `MultiDomainModel` that knows the domain by `domain.name`.
        domain: The domain.
        split: Name of the split; the images come un-augmented.
        limit: At most this many images, spread evenly over the split; `None` for all.
        batch_size: Images of a forward pass.

    Returns:
        Features of shape (images, channels), float32.

    Raises:
        ValueError: If the domain or split is unknown.

    Example:
        >>> from keras_univrep import backbones, datasets, evaluation, models
        >>> domain = datasets.load_domain("eurosat")
        >>> model = models.MultiDomainModel(backbones.ResNet26(width=0.125), {"eurosat": 10})
        >>> evaluation.domain_features(model, domain, "validation", limit=8).shape
        (8, 32)
    """
    images = keras.Input(domain.image_shape)
    network = keras.Model(images, model.features(images, domain=domain.name, training=False))
    return np.concatenate(
        [
            keras.ops.convert_to_numpy(network.predict_on_batch(batch))
            for batch in domain_batches(domain, split, batch_size, limit)
        ]
    )
