"""Feeds sources of several tasks at once to a network through tf.data."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from keras_univrep.datasets.dense_augment import SCALES
from keras_univrep.datasets.dense_pipeline import check_first_step
from keras_univrep.datasets.source_readers import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    SourceReader,
    least_passes,
    make_source_readers,
)
from keras_univrep.datasets.source_shares import Sources
from keras_univrep.datasets.tensorflow_loader import load_tensorflow
from keras_univrep.types import Tensor

if TYPE_CHECKING:
    import tensorflow as tf


def source_pipeline(
    sources: Sources,
    split: str,
    batch_size: int | Mapping[str, Any],
    training: bool = False,
    mix: str | float = "equal",
    on_end: str = "repeat",
    augmentation: str | None | Mapping[str, str | None] = "default",
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    scales: Sequence[float] = SCALES,
    min_visible: float = 0.25,
    seed: int = 0,
    first_step: int = 0,
) -> "tf.data.Dataset":
    """Makes a tf.data pipeline whose batches hold images of every source of every task.

    It is what `models.XLearnerExpansion` takes. Every batch has images of every source, and of
    each always as many: `batch_size` of each with mix="equal"; with "proportional" as many in all,
    divided in proportion to the sizes of the task's sources, at least one each. Each source is
    shuffled anew at each of its passes. A smaller source has more passes: what happens at the end
    of one is

    | on_end | in training |
    |---|---|
    | "repeat" | the source begins again; the pipeline is endless (give `fit` a `steps_per_epoch`) |
    | "stop" | the pipeline ends before the step in which a first source would begin again |
    | "error" | that step raises, with the name of the source |

    Without training, every image of every source comes exactly once, in order and as it is: a
    source is divided evenly over the steps of the longest, so its batches are smaller. Where
    the smallest source has fewer images than that, there are as many steps as it has images.

    Targets follow the augmentation. Classification: a random crop after reflecting the border, as
    `pipeline`; the others: a random part is enlarged, as `dense_augment` and `boxes_augment`. All
    are mirrored half of the time where `Source.flip` allows it.

    Images of all sources are normalised alike, since one network may see them all. The same seed
    gives the same batches, a source's do not depend on which others are there, and `SourceSequence`
    gives them without TensorFlow.

    Differences:
        he2022 does not print how batches are divided among sources, nor the augmentation. Its
        eq. 1 averages the losses of sources, so with any `mix` each counts the same in the mean.

    Args:
        sources: `{task: {name: Source}}`. Sources of a task have one kind and image shape.
        split: Name of a split that every source has.
        batch_size: Images of each source, or `{task: number}`, or the shares themselves,
            `{task: {name: number}}`.
        training: Whether to shuffle, repeat and augment.
        mix: "equal", "proportional", or a number between 0 and 1, the power of the size that the
            shares go with.
        on_end: "repeat", "stop" or "error", see above.
        augmentation: "default"; None for none; or a dict of kind to its augmentation: of
            "classification" "crop_flip", "crop" or None; of the others "scale_crop_flip",
            "scale_crop", "flip" or None.
        mean: Per channel, of images in [0, 1]; those of ImageNet by default.
        std: The same. `mean=(0, 0, 0), std=(1, 1, 1)` leaves images in [0, 1].
        scales: Factors of enlarging to choose from.
        min_visible: Share of a box's area that a crop must leave for the box to stay.
        seed: Integer from 0.
        first_step: Step to begin at, in training: how a resumed training finds its place.

    Returns:
        Dataset of ({task: {name: images}}, {task: {name: targets}}): float32 (batch, height, width,
        channels), normalised (dimensionless); targets as `Source` has them: int32 (batch,);
        {"boxes": float32 (batch, max_boxes, 4), "labels": int32 (batch, max_boxes)};
        int32 (batch, height, width); float32 (batch, height, width, 1).

    Raises:
        ValueError: If an argument is out of range or does not fit the sources.
        TypeError: If something other than sources is passed.
        ImportError: If TensorFlow is not installed.

    Example:

    >>> from keras_univrep.datasets import load_domain, source_from_domain, source_pipeline
    >>> domains = {name: load_domain(name) for name in ("eurosat", "letters")}
    >>> sources = {name: source_from_domain(domain) for name, domain in domains.items()}
    >>> batches = source_pipeline({"classification": sources}, "train", 8, training=True)
    >>> images, labels = next(iter(batches))
    >>> {name: tuple(batch.shape) for name, batch in images["classification"].items()}
    {'eurosat': (8, 32, 32, 3), 'letters': (8, 32, 32, 3)}

    References:
        - He et al. X-Learner: learning cross sources and tasks for universal visual representation.
          ECCV 2022.
    """
    check_first_step(first_step, training)
    readers = make_source_readers(
        sources, split, batch_size, training, mix, on_end, augmentation, mean, std, scales,
        min_visible, seed,
    )  # fmt: skip
    tf = load_tensorflow()
    last = max(first_step, least_passes(readers)) if on_end == "stop" else None
    parts = {
        task: {name: _dataset(reader, first_step, last) for name, reader in row.items()}
        for task, row in readers.items()
    }

    def regroup(batch: dict[str, dict[str, tuple[Tensor, Any]]]) -> tuple[dict[str, Any], ...]:
        return tuple(
            {task: {name: batch[task][name][i] for name in row} for task, row in readers.items()}
            for i in (0, 1)
        )

    return tf.data.Dataset.zip(parts).map(regroup).prefetch(2)


def _dataset(reader: SourceReader, first_step: int, last: int | None) -> "tf.data.Dataset":
    """Batches of one source, without prefetching."""
    tf = load_tensorflow()
    plan, source = reader.plan, reader.source
    length = plan.batch_size if plan.training else None
    sides, boxes = source.image_shape[:2], (length, source.max_boxes)
    forms: dict[str, list[tuple[Any, tuple[int | None, ...]]]] = {
        "classification": [(tf.int32, (length,))],
        "detection": [(tf.float32, (*boxes, 4)), (tf.int32, boxes)],
        "segmentation": [(tf.int32, (length, *sides))],
        "depth": [(tf.float32, (length, *sides, 1))],
    }
    form = [(tf.float32, (length, *source.image_shape)), *forms[source.kind]]

    def flat(step: Tensor) -> list[Tensor]:
        images, targets = reader(step)
        detected = source.kind == "detection"
        return [images, targets["boxes"], targets["labels"]] if detected else [images, targets]

    def read(step: Tensor) -> tuple[Tensor, Any]:
        found = tf.numpy_function(flat, [step], [dtype for dtype, _ in form])
        images, *targets = (tf.ensure_shape(x, shape) for x, (_, shape) in zip(found, form))
        if source.kind == "detection":
            return images, {"boxes": targets[0], "labels": targets[1]}
        return images, targets[0]

    # `map` keeps the cardinality, so `fit` knows the length of an evaluation.
    if last is not None:
        steps = tf.data.Dataset.range(first_step, last)
    elif plan.steps is None:
        steps = tf.data.Dataset.counter(first_step)
    else:
        steps = tf.data.Dataset.range(plan.steps)
    return steps.map(read)
