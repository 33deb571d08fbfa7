"""`EpisodeSampler` draws episodes as Meta-Dataset describes them."""

import collections
import math
import pickle
import random
import warnings
from typing import Any

import numpy as np
import pytest

from keras_univrep.datasets import Episode, EpisodeSampler

FIELDS = ("support_indices", "support_labels", "query_indices", "query_labels", "classes")


def make_labels(sizes: list[int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))


def equal(one: Episode, other: Episode) -> bool:
    return all(np.array_equal(getattr(one, f), getattr(other, f)) for f in FIELDS)


def row(block: Episode, number: int) -> Episode:
    return Episode(**{name: getattr(block, name)[number] for name in FIELDS})


def check_episode(labels: np.ndarray, episode: Episode) -> tuple[list[int], int]:
    """Checks what holds for every episode; returns shots and query images of a class."""
    way = episode.way
    everything = np.concatenate([episode.support_indices, episode.query_indices])
    assert len(set(everything.tolist())) == len(everything)
    assert len(set(episode.classes.tolist())) == way
    for indices, local in (
        (episode.support_indices, episode.support_labels),
        (episode.query_indices, episode.query_labels),
    ):
        assert local.dtype == np.int32 and indices.dtype == np.int64
        assert (labels[indices] == episode.classes[local]).all()
        assert set(local.tolist()) == set(range(way)) and (np.diff(local) >= 0).all()
    queries = set(np.bincount(episode.query_labels).tolist())
    assert len(queries) == 1
    shots = np.bincount(episode.support_labels).tolist()
    assert episode.shots.tolist() == shots
    return shots, queries.pop()


# ---- an oracle: the description of the paper, image by image, with Python's own generator --------


def oracle(
    sizes: list[int],
    draw: random.Random,
    way: tuple[int, int] = (5, 50),
    max_query: int = 10,
    max_support: int = 500,
    max_class: int = 100,
) -> tuple[list[int], list[int], int]:
    """Classes, shots and query images of a class."""
    number = draw.randint(way[0], min(way[1], len(sizes)))
    classes = draw.sample(range(len(sizes)), number)
    query = min(max_query, min(sizes[c] // 2 for c in classes))
    beta = 1 - draw.random()
    support = 0
    for c in classes:
        support += math.ceil(beta * min(max_class, sizes[c] - query))
    support = min(support, max_support)
    weight = {c: sizes[c] * math.exp(draw.uniform(math.log(0.5), math.log(2))) for c in classes}
    total = sum(weight.values())
    shots = [
        min(math.floor(weight[c] / total * (support - number)) + 1, sizes[c] - query)
        for c in classes
    ]
    return classes, shots, query


def kolmogorov_smirnov(one: np.ndarray, other: np.ndarray) -> float:
    """Largest difference of two distribution functions, in units of its scale under equality."""
    points = np.union1d(one, other)
    distance = np.abs(
        np.searchsorted(np.sort(one), points, "right") / len(one)
        - np.searchsorted(np.sort(other), points, "right") / len(other)
    ).max()
    return float(distance * np.sqrt(len(one) * len(other) / (len(one) + len(other))))


DOMAINS = {
    "birds": ([41 + i % 20 for i in range(30)], {}),
    "fungi": ([6 + (7 * i) % 90 for i in range(120)], {}),
    "signs": ([210 + 30 * i for i in range(43)], {}),
    "narrow": ([30, 5, 12, 200, 7, 9, 900, 14], {"way": (2, 6), "max_support": 60}),
}


@pytest.mark.parametrize("name", DOMAINS)
def test_the_numbers_of_an_episode_are_distributed_as_described(name: str) -> None:
    sizes, arguments = DOMAINS[name]
    labels = make_labels(sizes)
    sampler = EpisodeSampler(labels, seed=1, **arguments)
    draw = random.Random(2)
    count = 1500
    found: dict[str, list[float]] = collections.defaultdict(list)
    expected: dict[str, list[float]] = collections.defaultdict(list)

    def note(to: dict[str, list[float]], classes: Any, shots: list[int], query: int) -> None:
        to["way"].append(len(shots))
        to["support"].append(sum(shots))
        to["query"].append(query)
        to["largest shot"].append(max(shots))
        to["smallest shot"].append(min(shots))
        to["shot of the first class"].append(shots[0])
        largest = int(np.argmax([sizes[c] for c in classes]))
        to["share of the largest class"].append(round(shots[largest] / sum(shots), 6))

    for number in range(count):
        episode = sampler(number)
        note(found, episode.classes.tolist(), *check_episode(labels, episode))
        note(expected, *oracle(sizes, draw, **arguments))
    for key, values in expected.items():
        one, other = np.array(found[key], float), np.array(values, float)
        # Its chance to be above 1.95 is 0.001 where both come from one distribution.
        assert kolmogorov_smirnov(one, other) < 1.95, key
        error = np.sqrt((one.var() + other.var()) / count)
        assert abs(one.mean() - other.mean()) <= 4 * error + 1e-12, key


def test_the_comparison_of_distributions_can_fail() -> None:
    sizes = DOMAINS["signs"][0]
    draw = random.Random(0)
    ours = [sum(oracle(sizes, draw)[1]) for _ in range(1500)]
    other = [sum(oracle(sizes, draw, max_class=80)[1]) for _ in range(1500)]
    assert kolmogorov_smirnov(np.array(ours), np.array(other)) > 1.95


def test_caps_hold_and_are_reached() -> None:
    labels = make_labels([600] * 60)
    episodes = [EpisodeSampler(labels)(number) for number in range(300)]
    assert {e.way for e in episodes} <= set(range(5, 51))
    assert min(e.way for e in episodes) == 5 and max(e.way for e in episodes) == 50
    sizes = [len(e.support_indices) for e in episodes]
    assert max(sizes) <= 500 and max(sizes) > 470
    assert all(len(e.query_indices) == 10 * e.way for e in episodes)
    # A class counts for 100 at most in the size of the support set, and may get more than that.
    three = [EpisodeSampler(labels, way=3)(number) for number in range(200)]
    assert 250 < max(len(e.support_indices) for e in three) <= 300
    assert max(e.shots.max() for e in three) > 100
    assert min(e.shots.min() for e in three) == 1


@pytest.mark.parametrize(
    ("sizes", "query"), [([20] * 6, 10), ([19] * 6, 9), ([3] * 6, 1), ([2] * 6, 1), ([900] * 6, 10)]
)
def test_queries_take_half_of_the_smallest_class_at_most(sizes: list[int], query: int) -> None:
    labels = make_labels(sizes)
    for number in range(20):
        shots, found = check_episode(labels, EpisodeSampler(labels)(number))
        assert found == query and max(shots) <= sizes[0] - query


def test_larger_classes_get_more_support_images() -> None:
    sizes = [30, 60, 120, 240, 480]
    sampler = EpisodeSampler(make_labels(sizes), way=5)
    shots = np.zeros(5)
    for number in range(300):
        episode = sampler(number)
        shots[episode.classes] += episode.shots
    assert (np.diff(shots) > 0).all()


def test_every_way_every_class_and_every_image_has_the_same_chance() -> None:
    labels = make_labels([8] * 9)
    sampler = EpisodeSampler(labels, way=(2, 6), shot=1, query=2)
    count = 4000
    ways, classes, images = np.zeros(7), np.zeros(9), np.zeros(72)
    for number in range(count):
        episode = sampler(number)
        ways[episode.way] += 1
        classes[episode.classes] += 1
        images[episode.query_indices] += 1
    assert ways[:2].sum() == 0
    for seen, spread in ((ways[2:], 0.2), (classes, 4 / 9), (images, 1 / 9)):
        error = np.sqrt(count * spread * (1 - spread))
        assert abs(seen - count * spread).max() < 4.5 * error


@pytest.mark.parametrize("size", [3, 5])
def test_support_and_query_images_are_a_uniform_choice(size: int) -> None:
    labels = make_labels([size] * 2)
    block = EpisodeSampler(labels, way=1, shot=1, query=2).block(0, 12000)
    places = {int(i): p for c in (0, 1) for p, i in enumerate(np.flatnonzero(labels == c))}
    outcomes = collections.Counter(
        (int(c), places[int(s)], *sorted(places[int(i)] for i in q))
        for c, s, q in zip(
            block.classes[:, 0], block.support_indices[:, 0], block.query_indices, strict=True
        )
    )
    cells = 2 * size * math.comb(size - 1, 2)
    assert len(outcomes) == cells
    expected = 12000 / cells
    chi_square = sum((n - expected) ** 2 / expected for n in outcomes.values())
    assert chi_square < cells - 1 + 4.5 * math.sqrt(2 * (cells - 1))


# ---- determinism ---------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [{}, {"way": 5, "shot": 1, "query": 3}, {"shot": 5}])
def test_an_episode_depends_on_seed_and_number_alone(arguments: dict[str, Any]) -> None:
    labels = make_labels([12 + i for i in range(20)])
    sampler = EpisodeSampler(labels, seed=3, **arguments)
    forward = [sampler(number) for number in range(150)]
    other = pickle.loads(pickle.dumps(EpisodeSampler(labels, seed=3, **arguments)))
    for number in np.random.default_rng(0).permutation(150):
        assert equal(other(int(number)), forward[number])
    for changed in ({"seed": 4}, {"stream": "birds"}):
        rest = EpisodeSampler(labels, **{"seed": 3, **arguments, **changed})
        assert sum(equal(rest(number), forward[number]) for number in range(150)) == 0
    assert sum(equal(forward[i], forward[i + 1]) for i in range(149)) == 0


@pytest.mark.parametrize(("first", "count"), [(0, 1), (0, 64), (3, 130), (63, 2), (640, 5)])
@pytest.mark.parametrize(("way", "shot"), [(5, 1), (20, 1), (5, 5)])
def test_a_block_holds_the_episodes_one_by_one(first: int, count: int, way: int, shot: int) -> None:
    labels = make_labels([15 + i for i in range(25)])
    sampler = EpisodeSampler(labels, way=way, shot=shot)
    block = sampler.block(first, count)
    assert block.support_indices.shape == (count, way * shot)
    assert block.query_labels.shape == (count, way * 10)
    for number in range(count):
        episode = row(block, number)
        assert check_episode(labels, episode) == ([shot] * way, 10)
        assert equal(episode, EpisodeSampler(labels, way=way, shot=shot)(first + number))
    assert (block.shots == shot).all() and block.shots.shape == (count, way)


def test_writing_into_an_episode_changes_no_other() -> None:
    sampler = EpisodeSampler(make_labels([20] * 8), way=5, shot=1)
    before = sampler(7)
    sampler(7).support_indices[:] = -1
    sampler.block(0, 10).query_indices[:] = -1
    assert equal(sampler(7), before)


# ---- protocols -----------------------------------------------------------------------------------


def test_protocols_have_their_sizes() -> None:
    sizes = [6 + i for i in range(60)]
    labels = make_labels(sizes)
    for number in range(100):
        episode = EpisodeSampler.from_protocol("five_way_one_shot", labels)(number)
        smallest = min(sizes[c] for c in episode.classes)
        assert check_episode(labels, episode) == ([1] * 5, min(10, smallest // 2))
        episode = EpisodeSampler.from_protocol("varying_way_five_shot", labels)(number)
        smallest = min(sizes[c] for c in episode.classes)
        assert check_episode(labels, episode) == ([5] * episode.way, min(10, smallest - 5))
        assert 5 <= episode.way <= 50
    five = EpisodeSampler.from_protocol("five_way_five_shot", labels, query=15)
    assert check_episode(labels, five(0)) == ([5] * 5, 15)
    twenty = EpisodeSampler.from_protocol("twenty_way_one_shot", labels)
    assert check_episode(labels, twenty(0)) == ([1] * 20, 10)
    standard = EpisodeSampler.from_protocol("varying_way_varying_shot", labels, seed=5)
    assert equal(standard(9), EpisodeSampler(labels, seed=5)(9))
    with pytest.raises(ValueError, match="`name` must be one of .*five_way_one_shot"):
        EpisodeSampler.from_protocol("ten_way", labels)


# ---- classes with few images, and arguments that cannot be ---------------------------------------


@pytest.mark.parametrize(
    ("arguments", "excluded"),
    [
        ({"way": 3}, [0, 3]),
        ({"way": 3, "shot": 2, "query": 3}, [0, 1, 3]),
        ({"way": (2, 3), "shot": 2}, [0, 1, 3]),
        ({"way": 3, "min_images": 10}, [0, 1, 2, 3]),
    ],
)
def test_small_classes_are_left_out_or_refused(
    arguments: dict[str, Any], excluded: list[int]
) -> None:
    labels = make_labels([1, 2, 5, 0, 20, 30, 40])
    what = rf"{len(excluded)} classes of 7 are left out.*class 0 with 1"
    with pytest.warns(UserWarning, match=what) as record:
        sampler = EpisodeSampler(labels, num_classes=7, **arguments)
    assert record[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        silent = EpisodeSampler(labels, num_classes=7, exclude_small=True, **arguments)
        EpisodeSampler(make_labels([40] * 7), num_classes=7, **arguments)
    assert equal(silent(3), sampler(3))
    assert sampler.excluded.tolist() == excluded
    assert sorted(sampler.classes.tolist() + excluded) == list(range(7))
    drawn = {int(c) for number in range(100) for c in sampler(number).classes}
    assert drawn == set(sampler.classes.tolist())
    with pytest.raises(ValueError, match=r"at least \d+ images. Received: class 0 with 1"):
        EpisodeSampler(labels, num_classes=7, exclude_small=False, **arguments)


def test_a_class_without_images_is_seen_where_the_classes_are_counted() -> None:
    labels = make_labels([5, 5, 0, 5])
    assert EpisodeSampler(labels, way=2).excluded.tolist() == []
    with pytest.raises(ValueError, match="class 2 with 0"):
        EpisodeSampler(labels, way=2, num_classes=4, exclude_small=False)


def test_labels_need_not_be_consecutive() -> None:
    labels = np.repeat([3, 70000, 12], 6)
    episode = EpisodeSampler(labels, way=3, shot=1, query=5)(0)
    assert sorted(episode.classes.tolist()) == [3, 12, 70000]
    check_episode(labels, episode)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"way": 0}, "`way` must be"),
        ({"way": (6, 5)}, "`way` must be"),
        ({"way": 5.0}, "`way` must be"),
        ({"way": (5, 6, 7)}, "`way` must be"),
        ({"shot": 0}, "`shot` must be"),
        ({"query": 0}, "`query` must be"),
        ({"max_support": 40}, "`max_support` must be at least the largest way"),
        ({"max_support_per_class": 0}, "`max_support_per_class` must be"),
        ({"min_images": 1}, "`min_images` must be at least 2"),
        ({"shot": 3, "min_images": 3}, "`min_images` must be at least 4"),
        ({"seed": -1}, "`seed` must be"),
        ({"way": 11}, "At least 11 classes must have 2 images"),
        ({"way": 5, "shot": 15}, "At least 5 classes must have 25 images"),
        ({"num_classes": 9}, "below `num_classes`"),
    ],
)
def test_arguments_that_cannot_be_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EpisodeSampler(make_labels([20] * 10), **arguments)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "uint64"])
def test_labels_may_be_of_any_integer_type(dtype: str) -> None:
    labels = make_labels([20] * 10)
    sampler = EpisodeSampler(labels.astype(dtype), way=5, shot=1, num_classes=10)
    assert equal(sampler(3), EpisodeSampler(labels, way=5, shot=1)(3))
    assert sampler(3).classes.dtype == np.int64


def test_labels_that_cannot_be_are_refused() -> None:
    with pytest.raises(TypeError, match="`labels` must be integers"):
        EpisodeSampler(np.zeros(9))
    for labels in (np.zeros((4, 2), int), np.zeros(0, int), np.array([0, -1])):
        with pytest.raises(ValueError, match="`labels` must have shape"):
            EpisodeSampler(labels)


def test_numbers_and_blocks_that_cannot_be_are_refused() -> None:
    labels = make_labels([20] * 10)
    sampler = EpisodeSampler(labels, way=5, shot=1)
    with pytest.raises(ValueError, match="`number` must be"):
        sampler(-1)
    with pytest.raises(ValueError, match="`count` must be"):
        sampler.block(0, 0)
    for arguments in ({}, {"shot": 1}, {"way": 5}, {"way": 5, "shot": 1, "min_images": 5}):
        with pytest.raises(ValueError, match="needs episodes of one size"):
            EpisodeSampler(labels, **arguments).block(0, 2)


@pytest.mark.parametrize("drawn", [[0, 0, 1], [0, 1, 77], [0, 1], [0, 1, 2, 3, 4], [[0, 1, 2]]])
def test_a_class_sampler_that_draws_wrong_classes_is_refused(drawn: list[Any]) -> None:
    def class_sampler(classes: np.ndarray, low: int, high: int) -> Any:
        return lambda rng: np.array(drawn)

    labels = make_labels([20] * 10)
    for shot in (None, 1):
        sampler = EpisodeSampler(labels, way=3, shot=shot, class_sampler=class_sampler)
        with pytest.raises(ValueError, match="`class_sampler` must draw from 3 to 3"):
            sampler(0)


@pytest.mark.parametrize("arguments", [{}, {"shot": 2}, {"max_support": 60}, {"way": (2, 3)}])
def test_no_episode_is_larger_than_the_largest_size(arguments: dict) -> None:
    labels = np.repeat(np.arange(8), (40, 3, 12, 25, 9, 7, 30, 15))
    sampler = EpisodeSampler(labels, **arguments)
    support, queries = sampler.largest_size
    sizes = [(len(e.support_labels), len(e.query_labels)) for e in map(sampler, range(300))]
    assert max(size for size, _ in sizes) <= support
    assert max(size for _, size in sizes) <= queries
    fixed = EpisodeSampler(labels, way=3, shot=2, query=4)
    assert fixed.largest_size == (6, 12)
