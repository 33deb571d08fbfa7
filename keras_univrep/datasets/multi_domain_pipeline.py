"""Feeds several domains at once to a network through tf.data."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from keras_univrep.datasets.decathlon_images import DecathlonImages
from keras_univrep.datasets.domain import Domain
from keras_univrep.datasets.pipeline import reader_dataset
from keras_univrep.datasets.readers import make_readers, named_domains, sizes_of
from keras_univrep.datasets.tensorflow_loader import load_tensorflow
from keras_univrep.types import Tensor

if TYPE_CHECKING:
    import tensorflow as tf

AnyDomain = Domain | DecathlonImages


def multi_domain_pipeline(
    domains: Mapping[str, AnyDomain] | Sequence[AnyDomain],
    split: str,
    batch_size: int | Mapping[str, int],
    training: bool = False,
    augmentation: str | None = "crop_flip",
    padding: int | None = None,
    seed: int = 0,
    first_step: int = 0,
) -> "tf.data.Dataset":
    """Makes a tf.data pipeline whose batches hold images of every domain.

    In training it is endless (give `fit` a `steps_per_epoch`) and each domain repeats at its own
    length; shuffling and augmentation are those of `pipeline`, and a domain's images do not depend
    on which other domains are there. Otherwise every image of every domain comes exactly once: a
    domain is divided evenly over the steps of the longest, so its batches are smaller than
    `batch_size`. Where the shortest domain has fewer images than that, there are as many steps as
    it has images and the batches of the others grow accordingly.

    Args:
        domains: Dict of name to `Domain`, or a list of domains, which go by their own names. In
            training they may be `DecathlonImages`, which are shuffled and augmented as their preset
            says.
        split: Name of a split that every domain has.
        batch_size: Images a batch for each domain, or a dict of name to number.
        training: Whether to shuffle, repeat and augment.
        augmentation: "crop", "crop_flip", either with "_colour" after it, or None; used in training
            only, mirrors only where `Domain.flip` allows.
        padding: Largest shift of the crop in pixels; None for an eighth of each side.
        seed: Integer from 0.
        first_step: Step to begin at, in training: how a resumed training finds its place.

    Returns:
        Dataset of ({name: images}, {name: labels}): float32 (batch, height, width, channels),
        normalised with the domain's own mean and deviation (dimensionless), and int32 (batch,).

    Raises:
        ValueError: If an argument is out of range or does not fit the domains.
        TypeError: If something other than domains is passed.
        ImportError: If TensorFlow is not installed.

    Example:

    >>> from keras_univrep.datasets import load_domain
    >>> domains = [load_domain("eurosat"), load_domain("letters")]
    >>> images, labels = next(iter(multi_domain_pipeline(domains, "train", 8, training=True)))
    >>> {name: tuple(batch.shape) for name, batch in images.items()}
    {'eurosat': (8, 32, 32, 3), 'letters': (8, 32, 32, 3)}
    """
    domains = named_domains(domains, (Domain, DecathlonImages))
    streamed = {name: d for name, d in domains.items() if isinstance(d, DecathlonImages)}
    if streamed and not (training and augmentation == "crop_flip" and padding is None):
        raise ValueError(
            "Domains of the Visual Decathlon must be trained on, augmented as their preset says. "
            f"Received: training={training}, augmentation={augmentation!r}, padding={padding}, and "
            f"{list(streamed)}. Leave out `augmentation` and `padding`; evaluate with "
            "`evaluation.domain_accuracy`."
        )
    sizes = sizes_of(domains, batch_size)
    stored = {name: domain for name, domain in domains.items() if isinstance(domain, Domain)}
    tf = load_tensorflow()
    parts = {}
    if stored:
        own = {name: sizes[name] for name in stored}
        readers = make_readers(stored, split, own, training, augmentation, padding, seed)
        parts = {
            name: reader_dataset(reader, stored[name].image_shape, first_step)
            for name, reader in readers.items()
        }
    for name, domain in streamed.items():
        parts[name] = domain.batches(split, sizes[name], True, seed, first_step)

    def regroup(
        batch: dict[str, tuple[Tensor, Tensor]],
    ) -> tuple[dict[str, Tensor], ...]:
        return tuple({name: batch[name][i] for name in domains} for i in (0, 1))

    return tf.data.Dataset.zip(parts).map(regroup).prefetch(2)
