"""`episode_batches` and `episode_pipeline` give the images of the sampler's episodes."""

import sys
from typing import Any

import keras
import numpy as np
import pytest

from keras_univrep.datasets import (
    Domain,
    EpisodeSampler,
    domain_from_arrays,
    episode_batches,
    episode_pipeline,
    load_domain,
)

KEYS = ["support_images", "support_labels", "query_images", "query_labels"]


def toy(sizes: tuple[int, ...] = (12, 15, 9, 20, 14, 11)) -> Domain:
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    images = rng.integers(0, 256, (len(labels), 6, 8, 3)).astype("uint8")
    return domain_from_arrays("toy", (images, labels))


def expected(domain: Domain, sampler: EpisodeSampler, number: int) -> dict[str, np.ndarray]:
    """Image by image, in float64."""
    images, labels = domain.arrays("train")
    episode = sampler(number)
    found = {}
    for part in ("support", "query"):
        indices = getattr(episode, f"{part}_indices")
        rows = [(images[i] / 255 - np.array(domain.mean)) / np.array(domain.std) for i in indices]
        found[f"{part}_images"] = np.stack(rows)
        place = {int(c): k for k, c in enumerate(episode.classes)}
        found[f"{part}_labels"] = np.array([place[int(labels[i])] for i in indices])
    return found


def check(found: Any, wanted: dict[str, np.ndarray]) -> None:
    assert list(found) == KEYS
    for key, value in wanted.items():
        assert found[key].dtype == ("float32" if key.endswith("images") else "int32")
        assert found[key].shape == value.shape
        np.testing.assert_allclose(found[key], value, atol=1e-6)


@pytest.mark.parametrize("arguments", [{}, {"way": 5, "shot": 1, "query": 3}, {"shot": 2}])
def test_items_hold_the_normalised_images_of_each_episode(arguments: dict[str, Any]) -> None:
    domain = toy()
    sampler = EpisodeSampler(domain.arrays("train")[1], **arguments)
    batches = episode_batches(domain, "train", sampler, episodes=7)
    assert isinstance(batches, keras.utils.PyDataset) and len(batches) == 7
    for number in (6, 0, 3):
        check(batches[number], expected(domain, sampler, number))
    assert len(list(batches)) == 7
    with pytest.raises(IndexError, match=r"in \[0, 7\)"):
        batches[7]


@pytest.mark.parametrize("arguments", [{}, {"way": 5, "shot": 1, "query": 3}, {"shot": 2}])
@pytest.mark.parametrize("training", [False, True])
def test_tensorflow_gives_the_same_items(arguments: dict[str, Any], training: bool) -> None:
    import tensorflow as tf

    domain = toy()
    sampler = EpisodeSampler(domain.arrays("train")[1], **arguments)
    dataset = episode_pipeline(domain, "train", sampler, episodes=4, training=training)
    endless = tf.data.INFINITE_CARDINALITY
    assert dataset.cardinality() == (endless if training else 4)
    found = list(dataset.take(6).as_numpy_iterator())
    assert len(found) == (6 if training else 4)
    for number, batch in enumerate(found):
        check(batch, expected(domain, sampler, number))


@pytest.mark.parametrize(("episodes", "lead"), [(5, None), (6, 2)])
def test_batches_stack_episodes_of_one_size(episodes: int, lead: int | None) -> None:
    domain = toy()
    sampler = EpisodeSampler(domain.arrays("train")[1], way=3, shot=2, query=4)
    batches = episode_batches(domain, "train", sampler, episodes, batch_size=2)
    dataset = episode_pipeline(domain, "train", sampler, episodes, batch_size=2)
    assert dataset.element_spec["query_images"].shape.as_list() == [lead, 12, 6, 8, 3]
    assert dataset.element_spec["support_labels"].shape.as_list() == [lead, 6]
    assert len(batches) == dataset.cardinality() == 3
    for number, batch in enumerate(dataset.as_numpy_iterator()):
        own = range(2 * number, min(2 * number + 2, episodes))
        rows = [expected(domain, sampler, n) for n in own]
        wanted = {key: np.stack([row[key] for row in rows]) for key in KEYS}
        check(batch, wanted)
        check(batches[number], wanted)


def test_an_unstacked_pipeline_knows_its_shapes_where_they_are_fixed() -> None:
    domain = toy()
    labels = domain.arrays("train")[1]
    fixed = episode_pipeline(domain, "train", EpisodeSampler(labels, way=3, shot=2, query=4))
    assert fixed.element_spec["support_images"].shape.as_list() == [6, 6, 8, 3]
    assert fixed.element_spec["query_labels"].shape.as_list() == [12]
    varying = episode_pipeline(domain, "train", EpisodeSampler(labels))
    assert varying.element_spec["support_images"].shape.as_list() == [None, 6, 8, 3]


def test_epochs_bring_new_episodes_in_training_alone() -> None:
    domain = toy()
    sampler = EpisodeSampler(domain.arrays("train")[1])
    for training in (False, True):
        batches = episode_batches(domain, "train", sampler, episodes=3, training=training)
        batches.on_epoch_end()
        check(batches[1], expected(domain, sampler, 4 if training else 1))


def test_training_batches_go_on_after_those_of_an_epoch() -> None:
    domain = toy()
    sampler = EpisodeSampler(domain.arrays("train")[1], way=3, shot=2, query=4)
    batches = episode_batches(domain, "train", sampler, 3, batch_size=2, training=True)
    batches.on_epoch_end()
    numbers = []
    for index in range(len(batches)):
        for labels in batches[index]["query_images"]:
            numbers += [
                n
                for n in range(9)
                if np.allclose(labels, expected(domain, sampler, n)["query_images"], atol=1e-6)
            ]
    assert numbers == [3, 4, 5]


def test_a_protocol_goes_by_its_name_and_the_domain_and_seed_make_its_stream() -> None:
    domain = toy((20,) * 6)
    labels = domain.arrays("train")[1]
    sampler = EpisodeSampler.from_protocol("five_way_one_shot", labels, seed=3, stream="toy")
    batches = episode_batches(domain, "train", "five_way_one_shot", episodes=2, seed=3)
    check(batches[1], expected(domain, sampler, 1))
    assert batches[0]["support_labels"].tolist() == [0, 1, 2, 3, 4]
    other = episode_batches(domain, "train", "five_way_one_shot", episodes=2, seed=4)
    assert (other[0]["support_images"] != batches[0]["support_images"]).any()


def test_features_come_as_they_are() -> None:
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(60, 4)), np.arange(60) % 6
    sampler = EpisodeSampler(labels, way=5, shot=1, query=5)
    batch = episode_batches((features, labels), None, sampler, 3)[2]
    episode = sampler(2)
    np.testing.assert_array_equal(
        batch["query_images"], features[episode.query_indices].astype("float32")
    )
    before = features.copy()
    batch["query_images"][:] = 0
    np.testing.assert_array_equal(features, before)
    dataset = episode_pipeline((features, labels), None, sampler, 3)
    assert dataset.element_spec["support_images"].shape.as_list() == [5, 4]


@pytest.mark.parametrize("batch_size", [None, 2])
@pytest.mark.parametrize("arguments", [{}, {"way": 3, "shot": 2, "query": 4}, {"shot": 2}])
def test_padding_gives_all_episodes_one_shape(
    arguments: dict[str, Any], batch_size: int | None
) -> None:
    domain = toy()
    sampler = EpisodeSampler(domain.arrays("train")[1], **arguments)
    pad_to = tuple(size + 1 for size in sampler.largest_size)
    options = {"episodes": 3, "batch_size": batch_size, "pad_to": pad_to}
    batches = episode_batches(domain, "train", sampler, **options)
    dataset = episode_pipeline(domain, "train", sampler, **options)
    assert dataset.element_spec["support_labels"].shape.as_list()[-1] == pad_to[0]
    assert dataset.element_spec["query_images"].shape.as_list()[-4:] == [pad_to[1], 6, 8, 3]
    rows = []
    for number in range(3):
        row = expected(domain, sampler, number)
        for part, size in zip(("support", "query"), pad_to, strict=True):
            images, labels = row[f"{part}_images"], row[f"{part}_labels"]
            count = len(labels)
            assert count < size
            again = [images[i % count] for i in range(size)]
            row[f"{part}_images"] = np.stack(again)
            row[f"{part}_labels"] = np.append(labels, [-1] * (size - count))
        rows.append(row)
    if batch_size is not None:
        parts = rows[:2], rows[2:]
        rows = [{key: np.stack([row[key] for row in part]) for key in KEYS} for part in parts]
    for found, other, wanted in zip(batches, dataset.as_numpy_iterator(), rows, strict=True):
        check(found, wanted)
        check(other, wanted)


def test_a_training_pipeline_may_start_further_on() -> None:
    domain = toy()
    sampler = EpisodeSampler(domain.arrays("train")[1], way=3, shot=2, query=4)
    options = {"batch_size": 2, "training": True}
    whole = episode_pipeline(domain, "train", sampler, **options).take(4).as_numpy_iterator()
    late = episode_pipeline(domain, "train", sampler, first_step=3, **options)
    check(next(late.as_numpy_iterator()), list(whole)[3])
    for arguments in ({"first_step": -1, "training": True}, {"first_step": 1}):
        with pytest.raises(ValueError, match="`first_step` must be"):
            episode_pipeline(domain, "train", sampler, **arguments)


def test_training_images_are_shifted_by_at_most_the_padding() -> None:
    domain = toy()
    sampler = EpisodeSampler(domain.arrays("train")[1], way=5, shot=2, query=3)
    shifted = episode_batches(domain, "train", sampler, 4, training=True, padding=2)
    seen = set()
    for number in range(4):
        found = shifted[number]
        for key, images in expected(domain, sampler, number).items():
            if key.endswith("labels"):
                np.testing.assert_array_equal(found[key], images)
                continue
            for image, wanted in zip(found[key], images, strict=True):
                border = np.pad(wanted, ((2, 2), (2, 2), (0, 0)), "reflect")
                views = np.lib.stride_tricks.sliding_window_view(border, wanted.shape)[:, :, 0]
                places = np.argwhere(np.abs(views - image).max(axis=(2, 3, 4)) < 1e-5)
                assert len(places) == 1
                seen.add((key, *places[0].tolist()))
    # 40 and 60 images, each at one of 25 places of equal chance.
    assert len(seen) > 35


def test_support_and_queries_are_shifted_apart() -> None:
    # One image, as often as it takes: what differs are the shifts.
    image = np.random.default_rng(0).integers(0, 256, (1, 6, 8, 3)).astype("uint8")
    labels = np.repeat(np.arange(4), 10)
    domain = domain_from_arrays("same", (np.repeat(image, 40, axis=0), labels))
    sampler = EpisodeSampler(labels, way=4, shot=3, query=3)
    batch = episode_batches(domain, "train", sampler, 1, training=True, padding=2)[0]
    apart = np.any(batch["support_images"] != batch["query_images"], axis=(1, 2, 3))
    # Each pair is at one place with a chance of 1 in 25.
    assert apart.sum() >= 8


def test_shifts_belong_to_the_number_of_an_episode() -> None:
    domain = toy()
    sampler = EpisodeSampler(domain.arrays("train")[1], way=3, shot=1, query=2)
    options: dict[str, Any] = {"training": True, "padding": 1}
    single = episode_batches(domain, "train", sampler, 4, **options)
    stacked = episode_batches(domain, "train", sampler, 4, batch_size=2, **options)
    late = episode_pipeline(domain, "train", sampler, first_step=3, **options)
    for key in KEYS:
        np.testing.assert_array_equal(stacked[1][key], np.stack([single[2][key], single[3][key]]))
    check(next(late.as_numpy_iterator()), single[3])
    plain = episode_batches(domain, "train", sampler, 4, padding=1)
    check(plain[2], expected(domain, sampler, 2))


@pytest.mark.parametrize("padding", [-1, 6, 1.5, None])
def test_shifts_beyond_the_image_are_refused(padding: Any) -> None:
    domain = toy()
    sampler = EpisodeSampler(domain.arrays("train")[1], way=3, shot=1)
    with pytest.raises(ValueError, match=rf"Received: padding={padding}, images of shape"):
        episode_batches(domain, "train", sampler, training=True, padding=padding)


def test_features_are_not_shifted() -> None:
    labels = np.repeat(np.arange(6), 12)
    features = np.random.default_rng(0).standard_normal((72, 4)).astype("float32")
    with pytest.raises(ValueError, match="and 0 with arrays"):
        episode_batches(
            (features, labels), None, EpisodeSampler(labels, 3, 1), training=True, padding=1
        )


def test_a_padding_that_is_none_is_refused() -> None:
    domain = toy()
    sampler = EpisodeSampler(domain.arrays("train")[1], way=3, shot=2, query=4)
    for pad_to in (5, (5,), (0, 3), (5.0, 5)):
        with pytest.raises(ValueError, match="`pad_to` must be None or two"):
            episode_batches(domain, "train", sampler, pad_to=pad_to)
    with pytest.raises(ValueError, match="episode 0 with 12 query images"):
        episode_batches(domain, "train", sampler, pad_to=(6, 11))[0]


def test_real_domains_give_episodes() -> None:
    domain = load_domain("omniglot")
    batch = episode_batches(domain, "test", "five_way_one_shot", episodes=1)[0]
    assert batch["support_images"].shape == (5, 32, 32, 3)
    assert np.isfinite(batch["query_images"]).all()


def test_workers_may_share_the_sampler() -> None:
    domain = toy()
    sampler = EpisodeSampler(domain.arrays("train")[1], way=3, shot=2, query=4)
    batches = episode_batches(domain, "train", sampler, 80, workers=4)

    class Sums(keras.Model):
        def predict_step(self, *arguments: Any) -> Any:
            data = arguments[-1]
            batch = data[0] if isinstance(data, tuple) else data
            sums = keras.ops.sum(batch["query_images"], axis=(1, 2, 3))
            return (sums, arguments[0]) if keras.backend.backend() == "jax" else sums

    model = Sums()
    model.compile(run_eagerly=True)
    model.built = True
    found = model.predict(batches, verbose=0).reshape(80, -1)
    wanted = [expected(domain, sampler, n)["query_images"].sum(axis=(1, 2, 3)) for n in range(80)]
    np.testing.assert_allclose(found, wanted, atol=1e-3)


def test_without_tensorflow_batches_still_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    domain = toy()
    sampler = EpisodeSampler(domain.arrays("train")[1])
    check(episode_batches(domain, "train", sampler, 2)[0], expected(domain, sampler, 0))
    with pytest.raises(ImportError, match=r"pip install keras_univrep\[data\]"):
        episode_pipeline(domain, "train", sampler, 2)


# ---- what cannot be ------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [episode_batches, episode_pipeline])
def test_episodes_that_a_domain_cannot_give_are_refused(make: Any) -> None:
    small = toy((20, 20, 20, 20, 1))
    with pytest.raises(ValueError, match="Received: 4 such classes and 1 with fewer images"):
        make(small, "train", "five_way_one_shot")
    with pytest.raises(ValueError, match="At least 20 classes must have 11 images"):
        make(toy(), "train", "twenty_way_one_shot")
    sampler = EpisodeSampler(toy().arrays("train")[1])
    with pytest.raises(ValueError, match="made of the labels of split 'train' of domain 'toy'"):
        make(small, "train", sampler)
    with pytest.raises(ValueError, match="split='test'"):
        make(small, "test", sampler)
    with pytest.raises(TypeError, match="must be an EpisodeSampler or the name of a protocol"):
        make(toy(), "train", lambda number: None)
    with pytest.raises(ValueError, match="`episodes` must be"):
        make(toy(), "train", sampler, episodes=0)
    with pytest.raises(ValueError, match="`batch_size` must be"):
        make(toy(), "train", sampler, batch_size=0)
    with pytest.raises(ValueError, match="stacked only where they have one size"):
        make(toy(), "train", sampler, batch_size=2)


def test_arrays_that_cannot_be_are_refused() -> None:
    labels = np.arange(20) % 5
    sampler = EpisodeSampler(labels)
    with pytest.raises(TypeError, match="`domain_from_arrays`"):
        episode_batches((np.zeros((20, 4), "uint8"), labels), None, sampler)
    with pytest.raises(ValueError, match="one label for each image"):
        episode_batches((np.zeros((19, 4)), labels), None, sampler)
    with pytest.raises(TypeError, match="`source` must be a Domain"):
        episode_batches(np.zeros((20, 4)), None, sampler)
    with pytest.raises(TypeError, match="split='train'"):
        episode_batches((np.zeros((20, 4)), labels), "train", sampler)
