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


def two() -> tuple[list, list]:
    """Domains of 40 and 20 images, of 4 and 3 classes; the second's are all of one grey value."""
    labels = np.arange(20) % 3
    images = np.full((20, 8, 8, 3), 255, "uint8")
    images[0] = 0
    other = domain_from_arrays("other", (images, labels), flip=True)
    samplers = [sampler(), EpisodeSampler(labels, way=3, shot=1, query=2)]
    return [DOMAIN, other], samplers


def test_of_several_domains_a_batch_is_of_all_and_an_episode_of_one() -> None:
    domains, samplers = two()

    def stream(first_step: int) -> list[dict]:
        found = batches_with_episodes(domains, "train", samplers, 10, first_step=first_step)
        return [next(found)[0] for _ in range(6)]

    first, again = stream(0), stream(3)
    for one, other in zip(first[3:], again):
        np.testing.assert_array_equal(one["batch"][0], other["batch"][0])
        np.testing.assert_array_equal(one["batch"][1], other["batch"][1])
        for key, value in one["episode"].items():
            np.testing.assert_array_equal(value, other["episode"][key])
    # One pass over the images of both takes each once; classes of the second count on from four.
    labels = np.concatenate([item["batch"][1] for item in first])
    assert np.bincount(labels).tolist() == [10] * 4 + [7, 7, 6]
    assert labels.dtype == np.int32 and first[0]["batch"][0].dtype == np.float32
    # Each image is normalised as its own domain says.
    white = domains[1].normalize(np.full((8, 8, 3), 255, "uint8"))
    of_other = np.concatenate([item["batch"][0][item["batch"][1] >= 4] for item in first])
    np.testing.assert_allclose(np.sort(of_other.min(axis=(1, 2, 3)))[1:], white.min(), rtol=1e-5)
    mixed = [len(set(item["batch"][1] >= 4)) for item in first]
    assert max(mixed) == 2
    # Episodes of either come, and each is of one.
    found = []
    for number, item in enumerate(first):
        own = [
            np.array_equal(
                item["episode"]["query_images"],
                episode_batches(domain, "train", one, 6)[number]["query_images"],
            )
            for domain, one in zip(domains, samplers)
        ]
        assert sum(own) == 1
        found.append(own.index(True))
    assert set(found) == {0, 1}


def test_what_cannot_be_is_refused() -> None:
    domains, samplers = two()
    with pytest.raises(ValueError, match="one sampler for each. Received: 2 domains .* 1 samplers"):
        batches_with_episodes(domains, "train", samplers[:1])
    small = domain_from_arrays("small", (IMAGES[:, :4], LABELS))
    with pytest.raises(ValueError, match=r"of one image shape, .*\(4, 8, 3\), \(8, 8, 3\)"):
        batches_with_episodes([DOMAIN, small], "train", [sampler(), sampler()])
    with pytest.raises(ValueError, match="`first_step` must be an integer"):
        items(1, first_step=-1)
    with pytest.raises(ValueError, match="`sampler` must be made of the labels"):
        other = EpisodeSampler(np.arange(8) % 4, way=3, shot=1, query=1)
        batches_with_episodes(DOMAIN, "train", other)
    with pytest.raises(ValueError, match="classes"):
        sampler(way=5)
