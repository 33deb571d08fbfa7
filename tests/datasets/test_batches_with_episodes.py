"""`batches_with_episodes`: the batches of the pipelines, from any step on."""

import numpy as np
import pytest

from keras_univrep.datasets import (
    EpisodeSampler,
    batches_with_episodes,
    domain_from_arrays,
    episode_batches,
)

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (40, 8, 8, 3), dtype="uint8")
LABELS = np.arange(40) % 4
DOMAIN = domain_from_arrays("small", (IMAGES, LABELS))


def sampler(way: int = 3) -> EpisodeSampler:
    return EpisodeSampler(LABELS, way=way, shot=1, query=2)


def items(count: int, **kwargs: object) -> list[dict]:
    stream = batches_with_episodes(DOMAIN, "train", sampler(), 8, **kwargs)
    return [next(stream)[0] for _ in range(count)]


def test_items_are_episodes_and_shuffled_batches_and_go_on_where_they_stopped() -> None:
    found, again = items(5), items(2, first_step=3)
    episodes = episode_batches(DOMAIN, "train", sampler(), 5)
    for number, item in enumerate(found):
        for key, value in episodes[number].items():
            np.testing.assert_array_equal(item["episode"][key], value)
    for one, other in zip(found[3:], again):
        np.testing.assert_array_equal(one["batch"][0], other["batch"][0])
        np.testing.assert_array_equal(one["batch"][1], other["batch"][1])
    # One pass over the images takes each once.
    assert np.bincount(np.concatenate([item["batch"][1] for item in found])).tolist() == [10] * 4
    assert found[0]["batch"][0].dtype == "float32" and found[0]["batch"][0].shape == (8, 8, 8, 3)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="`first_step` must be an integer"):
        items(1, first_step=-1)
    with pytest.raises(ValueError, match="`sampler` must be made of the labels"):
        other = EpisodeSampler(np.arange(8) % 4, way=3, shot=1, query=1)
        batches_with_episodes(DOMAIN, "train", other)
    with pytest.raises(ValueError, match="classes"):
        sampler(way=5)
