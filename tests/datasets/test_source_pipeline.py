"""`source_pipeline`, `SourceSequence` and their readers give the same batches, and resume."""

import itertools
from typing import Any

import keras
import numpy as np
import pytest

from keras_univrep.datasets import Source, SourceSequence, source_pipeline
from keras_univrep.datasets.source_readers import IMAGENET_MEAN, IMAGENET_STD, make_source_readers
from keras_univrep.models import XLearnerExpansion
from tests.datasets.source_sets import toy_boxes, toy_classes, toy_sources

SOURCES = toy_sources()
# In [0, 1], as they were.
PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


def assert_equal(one: Any, other: Any) -> None:
    keras.tree.assert_same_structure(one, other)
    for a, b in zip(keras.tree.flatten(one), keras.tree.flatten(other), strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype


def batches(dataset: Any, count: int | None = None) -> list[Any]:
    return list(itertools.islice(dataset.as_numpy_iterator(), count))


def every(steps: list[Any], task: str, name: str, what: int = 0) -> Any:
    """A source's images (0) or targets (1) of all steps."""
    parts = [step[what][task][name] for step in steps]
    return keras.tree.map_structure(lambda *x: np.concatenate(x), *parts)


def test_an_evaluation_gives_every_image_once_in_order_and_as_it_is() -> None:
    dataset = source_pipeline(SOURCES, "train", 2, **PLAIN)
    # The smallest source has 4 images: no more steps than that.
    assert int(dataset.cardinality()) == 4
    steps = batches(dataset)
    for task, row in SOURCES.items():
        for name, source in row.items():
            images, targets = source.arrays("train")
            found = every(steps, task, name)
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, images / 255, atol=1e-6)
            for one, other in zip(
                keras.tree.flatten(every(steps, task, name, 1)),
                keras.tree.flatten(targets),
                strict=True,
            ):
                np.testing.assert_array_equal(one, other)


def test_targets_have_their_types_and_static_shapes() -> None:
    images, targets = source_pipeline(SOURCES, "train", 2, training=True).element_spec
    assert images["depth"]["rooms"].shape == (2, 16, 16, 3)
    assert targets["classification"]["few"].shape == (2,)
    boxes = targets["detection"]["things"]
    assert boxes["boxes"].shape == (2, 2, 4) and boxes["labels"].dtype.name == "int32"
    assert targets["segmentation"]["rooms"].dtype.name == "int32"
    assert targets["depth"]["rooms"].shape == (2, 16, 16, 1)
    spec = source_pipeline(SOURCES, "test", 2).element_spec
    assert spec[0]["depth"]["rooms"].shape == (None, 16, 16, 3)


@pytest.mark.parametrize("training", [True, False])
def test_the_sequence_gives_the_batches_of_the_pipeline(training: bool) -> None:
    arguments = {"batch_size": 2, "training": training, "mix": "proportional", "seed": 4}
    sequence = SourceSequence(SOURCES, "train", **arguments)
    steps = iter(batches(source_pipeline(SOURCES, "train", **arguments), 2 * len(sequence)))
    for _ in range(2 if training else 1):
        for index in range(len(sequence)):
            assert_equal(sequence[index], next(steps))
        sequence.on_epoch_end()


def test_a_resumed_pipeline_goes_on_where_the_other_stopped() -> None:
    whole = batches(source_pipeline(SOURCES, "train", 3, training=True, seed=2), 7)
    later = batches(source_pipeline(SOURCES, "train", 3, training=True, seed=2, first_step=4), 3)
    for one, other in zip(whole[4:], later, strict=True):
        assert_equal(one, other)
    sequence = SourceSequence(SOURCES, "train", 3, training=True, seed=2, first_step=5)
    assert_equal(sequence[1], whole[6])


def test_a_source_does_not_depend_on_the_others() -> None:
    alone = {"classification": {"few": SOURCES["classification"]["few"]}}
    whole = batches(source_pipeline(SOURCES, "train", 2, training=True), 3)
    for one, other in zip(batches(source_pipeline(alone, "train", 2, training=True), 3), whole):
        np.testing.assert_array_equal(
            one[0]["classification"]["few"], other[0]["classification"]["few"]
        )


def test_two_tasks_of_one_set_see_other_images() -> None:
    images = batches(source_pipeline(SOURCES, "train", 6, training=True, augmentation=None), 1)[0][
        0
    ]
    one, other = images["segmentation"]["rooms"], images["depth"]["rooms"]
    assert not np.array_equal(one, other)


def test_images_of_all_kinds_are_normalised_alike() -> None:
    normal = batches(source_pipeline(SOURCES, "test", 2))
    plain = batches(source_pipeline(SOURCES, "test", 2, **PLAIN))
    for task, row in SOURCES.items():
        for name in row:
            expected = (every(plain, task, name) - IMAGENET_MEAN) / IMAGENET_STD
            np.testing.assert_allclose(every(normal, task, name), expected, atol=2e-6)


def numbered(source: Source, images: np.ndarray) -> list[int]:
    """Which image of the training split each is."""
    known = [image.tobytes() for image in source.arrays("train")[0]]
    return [known.index(image.tobytes()) for image in (images * 255).round().astype("uint8")]


def test_a_smaller_source_begins_again_in_a_new_order() -> None:
    arguments: dict[str, Any] = {"training": True, "augmentation": None, **PLAIN}
    few, many = SOURCES["classification"]["few"], SOURCES["classification"]["many"]
    steps = batches(source_pipeline(SOURCES, "train", 2, **arguments), 9)
    order = numbered(few, every(steps, "classification", "few"))
    passes = [order[i : i + 4] for i in range(0, 16, 4)]
    assert all(sorted(one) == [0, 1, 2, 3] for one in passes) and len(set(map(tuple, passes))) > 1
    order = numbered(many, every(steps, "classification", "many"))
    assert sorted(order[:9]) == sorted(order[9:]) == list(range(9))
    # 8 images of sources of 9 and 4: 5.54 and 2.46.
    images = batches(source_pipeline(SOURCES, "train", 4, mix="proportional", **arguments), 1)[0][0]
    assert {n: len(x) for n, x in images["classification"].items()} == {"many": 6, "few": 2}


def test_a_pipeline_may_stop_where_a_source_runs_dry() -> None:
    dataset = source_pipeline(SOURCES, "train", 2, training=True, on_end="stop")
    assert int(dataset.cardinality()) == 2
    assert_equal(batches(dataset), batches(source_pipeline(SOURCES, "train", 2, training=True), 2))
    later = source_pipeline(SOURCES, "train", 2, training=True, on_end="stop", first_step=1)
    assert len(batches(later)) == 1
    assert len(SourceSequence(SOURCES, "train", 2, training=True, on_end="stop")) == 2
    assert len(SourceSequence(SOURCES, "train", 2, training=True)) == 5


def test_a_pipeline_may_refuse_where_a_source_runs_dry() -> None:
    import tensorflow as tf

    dataset = source_pipeline(SOURCES, "train", 2, training=True, on_end="error")
    steps = dataset.as_numpy_iterator()
    next(steps), next(steps)
    message = "source 'few' must have images for every step. Received: step 2"
    with pytest.raises(tf.errors.OpError, match=message):
        next(steps)
    arguments = {"split": "train", "batch_size": 2, "training": True, "on_end": "error"}
    assert len(SourceSequence(SOURCES, **arguments)) == 2
    with pytest.raises(ValueError, match="at most 2 .*'few' has 4 images. Received: steps=3"):
        SourceSequence(SOURCES, steps=3, **arguments)


def test_boxes_and_maps_follow_the_images() -> None:
    """In every image the first channel tells the class, or that there is a box."""
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 2, (6, 16, 16)).repeat(1, 0)
    classes[:, 4:12, 2:14] = 1
    images = np.zeros((6, 16, 16, 3), "uint8")
    images[..., 0] = 255 * classes
    maps = Source(
        "maps",
        "segmentation",
        ("no", "yes"),
        (16, 16, 3),
        {"train": (images, classes.astype("int8"))},
    )
    boxed = np.zeros((6, 16, 16, 3), "uint8")
    boxed[:, 3:9, 2:12] = 255
    targets = {
        "boxes": np.tile(np.array([[2, 3, 12, 9]], "float32"), (6, 1, 1)),
        "labels": np.zeros((6, 1), "int32"),
    }
    things = Source("things", "detection", ("a",), (16, 16, 3), {"train": (boxed, targets)}, 1)
    sources = {"detection": {"things": things}, "segmentation": {"maps": maps}}
    readers = make_source_readers(
        sources, "train", 6, True, "equal", "repeat", "default", *PLAIN.values(), (1.0, 1.5), 0.0, 3
    )
    moved = 0
    for step in range(8):
        seen, own = readers["segmentation"]["maps"](step)
        inner = np.abs(seen[..., 0] - 0.5) > 0.499  # Not where bilinear mixes two classes.
        assert inner.mean() > 0.3
        np.testing.assert_array_equal((seen[..., 0] > 0.5)[inner], own[inner])
        seen, own = readers["detection"]["things"](step)
        for image, box in zip(seen[..., 0] > 0.5, own["boxes"][:, 0], strict=True):
            rows, columns = np.nonzero(image)
            extent = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            np.testing.assert_allclose(box, extent, atol=1.1)
            moved += box.tolist() != [2, 3, 12, 9]
    assert 10 < moved < 48


def test_augmentation_is_by_kind_and_mirrors_where_it_may() -> None:
    source = toy_boxes(4)
    fixed = Source(
        "fixed", "detection", source.class_names, (16, 16, 3), dict(source.splits), 2, flip=False
    )
    plain = {"detection": {"a": source, "b": fixed}}
    arguments: dict[str, Any] = {"training": True, "augmentation": {"detection": "flip"}, **PLAIN}
    steps = batches(source_pipeline(plain, "train", 4, **arguments), 4)
    assert sorted(numbered(fixed, every(steps, "detection", "b"))) == sorted([0, 1, 2, 3] * 4)
    known = {image.tobytes() for image in source.arrays("train")[0]}
    found = (every(steps, "detection", "a") * 255).round().astype("uint8")
    same = [image.tobytes() in known for image in found]
    assert 0 < sum(same) < 16
    assert all(image[:, ::-1].tobytes() in known for image, s in zip(found, same) if not s)


def test_x_learner_trains_on_the_sequence_and_on_the_pipeline() -> None:
    def backbone() -> keras.Model:
        images = keras.Input((16, 16, 3))
        return keras.Model(images, keras.layers.Conv2D(2, 3, strides=2, name="level")(images))

    def classes() -> keras.Model:
        layers = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)]
        return keras.Sequential(layers)

    def boxes_loss(y_true: Any, y_pred: Any) -> Any:
        there = keras.ops.cast(y_true["labels"] >= 0, "float32")
        distance = keras.ops.abs(keras.ops.cast(y_true["boxes"], "float32") / 16 - y_pred)
        return keras.ops.mean(keras.ops.sum(distance, -1) * there)

    pool = keras.layers.GlobalAveragePooling2D()
    things = keras.Sequential([pool, keras.layers.Dense(8), keras.layers.Reshape((2, 4))])
    sources = {task: SOURCES[task] for task in ("classification", "detection")}
    model = XLearnerExpansion(
        {task: backbone() for task in sources},
        {"classification": {"many": classes(), "few": classes()}, "detection": {"things": things}},
        levels=["level"],
    )
    entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    losses = {"classification": entropy, "detection": boxes_loss}
    model.compile(keras.optimizers.SGD(0.1), losses)
    before = keras.ops.convert_to_numpy(things.trainable_variables[0]).copy()
    model.fit(SourceSequence(sources, "train", 2, training=True, steps=2), verbose=0)
    dataset = source_pipeline(sources, "train", 2, training=True, on_end="stop")
    history = model.fit(dataset, verbose=0).history
    assert int(model.step) == 4 and np.isfinite(history["loss"]).all()
    after = keras.ops.convert_to_numpy(things.trainable_variables[0])
    assert np.abs(after - before).max() > 1e-5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "`batch_size` of task 'classification'"),
        ({"split": "val"}, "`split` must be a split of source 'many'"),
        ({"on_end": "end"}, "`on_end` must be one of"),
        ({"on_end": "stop", "training": False}, "'repeat' without training"),
        ({"on_end": "stop", "batch_size": 5}, "must have images for a batch .*'few': 4"),
        ({"augmentation": "crop_flip"}, "`augmentation` must be 'default', None"),
        ({"augmentation": {"pose": None}}, "`augmentation` must be 'default', None"),
        ({"augmentation": {"detection": "crop"}}, "`augmentation` must be one of"),
        ({"mean": (0.5,)}, "each of the 3 channels of 'many' of task 'classification'"),
        ({"std": (0.0, 1.0, 1.0)}, "`std` positive ones"),
        ({"scales": (0.9,)}, "none below 1"),
        ({"min_visible": 1}, "`min_visible` must be in"),
        ({"seed": -1}, "`seed` must be at least 0"),
        ({"first_step": -1}, "`first_step` must be at least 0"),
        ({"first_step": 2, "training": False}, "0 without training"),
    ],
)
def test_wrong_arguments_are_refused(changes: dict[str, Any], message: str) -> None:
    arguments = {"split": "train", "batch_size": 2, "training": True, **changes}
    for make in (source_pipeline, SourceSequence):
        with pytest.raises(ValueError, match=message):
            make(SOURCES, **arguments)


def test_a_sequence_refuses_steps_without_training_and_indices_beyond() -> None:
    sources = {"classification": {"a": toy_classes()}}
    with pytest.raises(ValueError, match="`steps` must be None"):
        SourceSequence(sources, "train", 2, steps=4)
    with pytest.raises(IndexError, match=r"`index` must be in \[0, 4\)"):
        SourceSequence(sources, "train", 2)[4]
