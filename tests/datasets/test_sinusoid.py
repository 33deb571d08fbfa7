"""Sine waves: what they are, and that seeds and splits mean something."""

import numpy as np
import pytest

from keras_univrep.datasets import Sinusoids, sinusoid


def amplitude_and_phase(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Of y = a sin(x - p), by least squares on sin(x) and cos(x)."""
    x, y = x.ravel().astype("float64"), y.ravel().astype("float64")
    (cosine, sine), *_ = np.linalg.lstsq(np.stack([np.sin(x), np.cos(x)], -1), y, rcond=None)
    return float(np.hypot(cosine, sine)), float(np.arctan2(-sine, cosine) % (2 * np.pi))


@pytest.mark.parametrize(("protocol", "phase"), [("finn2017", np.pi), ("shu2021", 2 * np.pi)])
def test_both_sets_of_a_task_lie_on_one_wave_of_the_protocol(protocol: str, phase: float) -> None:
    batch = sinusoid(protocol, "test", support=5).batch(0, 300)
    assert batch["support"][0].shape == (300, 5, 1) and batch["query"][1].shape == (300, 100, 1)
    found = []
    for task in range(300):
        one, other = (
            amplitude_and_phase(*(array[task] for array in batch[part]))
            for part in ("support", "query")
        )
        np.testing.assert_allclose(one[0], other[0], rtol=1e-2)
        found.append(other)
    amplitudes, phases = np.array(found).T
    assert 0.1 <= amplitudes.min() < 0.4 and 4.7 < amplitudes.max() <= 5.0
    assert phases.max() <= phase + 1e-3 and phases.max() > 0.95 * phase
    assert batch["query"][0].min() < -4.9 and batch["query"][0].max() > 4.9


def test_zero_is_as_far_off_as_theory_says() -> None:
    batch = sinusoid("shu2021", "test").batch(0, 20_000)
    # Half the mean of squared amplitudes, (5^3 - 0.1^3) / (3 4.9) / 2.
    np.testing.assert_allclose(np.mean(batch["query"][1] ** 2), 4.252, rtol=2e-2)


def test_batches_are_functions_of_seed_split_and_number() -> None:
    one = sinusoid(seed=3)
    first, again = one.batch(7, 4), sinusoid(seed=3).batch(7, 4)
    np.testing.assert_array_equal(first["query"][1], again["query"][1])
    others = (one.batch(8, 4), sinusoid(seed=4).batch(7, 4), sinusoid(split="test", seed=3))
    assert not np.array_equal(first["support"][0], others[0]["support"][0])
    assert not np.array_equal(first["support"][0], others[1]["support"][0])
    assert not np.array_equal(first["support"][0], others[2].batch(7, 4)["support"][0])
    ((item,),) = [next(one.batches(4, first=7))]
    np.testing.assert_array_equal(item["support"][0], first["support"][0])


def test_a_fixed_set_gives_its_own_points_without_repetition() -> None:
    waves = sinusoid("shu2021", support=5, waves=20, points=8)
    x, y = waves.all_points()
    assert x.shape == y.shape == (20, 8, 1)
    batch = waves.batch(0, 20)
    joined = np.concatenate([batch["support"][0], batch["query"][0]], axis=1)[..., 0]
    # Each wave once, each point of it once.
    np.testing.assert_array_equal(
        np.sort(np.sort(joined, axis=1), axis=0), np.sort(np.sort(x[..., 0], axis=1), axis=0)
    )


def test_what_cannot_be_is_refused() -> None:
    for arguments, name in (
        ({"protocol": "maml"}, "protocol"),
        ({"split": "val"}, "split"),
        ({"waves": 5}, "waves"),
        ({"support": 0}, "support"),
    ):
        with pytest.raises(ValueError, match=f"`{name}`"):
            sinusoid(**arguments)
    with pytest.raises(ValueError, match="`phase` must be"):
        Sinusoids(phase=0.0)
    with pytest.raises(ValueError, match="`points` must be"):
        Sinusoids(support=5, query=5, waves=3, points=9)
    with pytest.raises(ValueError, match="`tasks` must be"):
        Sinusoids(waves=3).batch(0, 4)
    with pytest.raises(ValueError, match="of a fixed set"):
        Sinusoids(waves=3).all_points()
