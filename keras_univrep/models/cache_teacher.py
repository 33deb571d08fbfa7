"""Runs a teacher once over all its images."""

import pathlib
from collections.abc import Iterable, Iterator

import keras
import numpy as np

from keras_univrep.models.multi_domain_model import MultiDomainModel
from keras_univrep.models.teacher_cache import FILES, TeacherCache


def cache_teacher(
    teacher: MultiDomainModel,
    batches: Iterable[np.ndarray],
    domain: str | None = None,
    directory: str | pathlib.Path | None = None,
    dtype: str = "float32",
) -> TeacherCache:
    """Computes features and logits of a teacher for every sample, to distil from without it.

    This is exact for images that come again with the same pixels: without augmentation, or with
    `views` of a `datasets.FixedViews`, which draws a few augmentations of each image once and for
    all. Under augmentation that is drawn anew at each step a teacher has to see each batch itself;
    its cached features of the unaugmented images would be those of other images than the student's.

    Args:
        teacher: A trained network.
        batches: Batches of normalised images, (batch, height, width, channels), in the order in
            which samples are numbered: `FixedViews.batches(batch_size)`.
        domain: The domain of the images; may be omitted where the teacher has only one.
        directory: Folder to keep the arrays in, memory-mapped; `None` keeps them in memory. The
            files are there whole or not at all.
        dtype: `"float32"`, or `"float16"` for half the space: features then carry a relative
            error of at most 5e-4.

    Returns:
        A `TeacherCache`.

    Raises:
        ValueError: If there are no images, or `dtype` is no floating dtype.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.backbones import ResNet26
        >>> from keras_univrep.models import MultiDomainModel, cache_teacher
        >>> teacher = MultiDomainModel(ResNet26(width=0.125), {"photo": 10})
        >>> cache = cache_teacher(teacher, [np.ones((2, 16, 16, 3), "float32")] * 3)
        >>> len(cache), cache.feature_size, cache.num_classes
        (6, 32, 10)
    """
    if not np.issubdtype(np.dtype(dtype), np.floating):
        raise ValueError(
            f"`dtype` must be a floating dtype. Received: dtype={dtype!r}. Pass 'float16'."
        )
    rows: dict[str, list[np.ndarray]] = {name: [] for name in FILES}
    for answers in _answers(teacher, batches, domain):
        for name, values in zip(FILES, answers, strict=True):
            rows[name].append(values.astype(dtype))
    if not rows["features"]:
        raise ValueError(
            "`batches` must hold at least one batch of images. Received: none. A generator can be "
            "read only once: make it anew."
        )
    arrays = {name: np.concatenate(parts) for name, parts in rows.items()}
    if directory is None:
        return TeacherCache(**arrays)
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    for name, file in FILES.items():
        with open(directory / f"{file}.partial", "wb") as stream:
            np.save(stream, arrays[name])
    for file in FILES.values():
        (directory / f"{file}.partial").replace(directory / file)
    return TeacherCache.open(directory)


def _answers(
    teacher: MultiDomainModel, batches: Iterable[np.ndarray], domain: str | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    network, length = None, 0
    for images in batches:
        if network is None:
            inputs = keras.Input(images.shape[1:])
            features = teacher.features(inputs, domain=domain, training=False)
            network = keras.Model(inputs, [features, teacher.classify(features, domain)])
            length = len(images)
        count = len(images)
        # The last batch is filled up, or it would be compiled for by itself.
        filled = np.concatenate([images, np.repeat(images[:1], max(0, length - count), axis=0)])
        features, logits = map(keras.ops.convert_to_numpy, network.predict_on_batch(filled))
        yield features[:count], logits[:count]
