"""`gaussian_kl` against closed form and quadrature."""

import numpy as np
from keras import ops

from keras_univrep.losses import gaussian_kl

RNG = np.random.default_rng(0)


def quadrature(m: float, v: float, prior_m: float, prior_v: float) -> float:
    """The integral of q log(q / p)."""
    z = np.linspace(m - 12 * np.sqrt(v), m + 12 * np.sqrt(v), 200_001)
    log_q = -0.5 * (np.log(2 * np.pi * v) + (z - m) ** 2 / v)
    log_p = -0.5 * (np.log(2 * np.pi * prior_v) + (z - prior_m) ** 2 / prior_v)
    return float(np.sum(np.exp(log_q) * (log_q - log_p)) * (z[1] - z[0]))


def test_it_is_the_integral() -> None:
    numbers = RNG.normal(size=(4, 3, 2))
    found = gaussian_kl(*(ops.convert_to_tensor(x.astype("float32")) for x in numbers))
    wanted = [
        sum(
            quadrature(m, np.exp(v), pm, np.exp(pv))
            for m, v, pm, pv in zip(*(x[row] for x in numbers), strict=True)
        )
        for row in range(3)
    ]
    np.testing.assert_allclose(ops.convert_to_numpy(found), wanted, rtol=1e-4)


def test_it_is_zero_for_equal_ones_and_has_a_direction() -> None:
    m, v = ops.ones((2, 4)), ops.zeros((2, 4))
    np.testing.assert_allclose(ops.convert_to_numpy(gaussian_kl(m, v, m, v)), 0.0, atol=1e-6)
    one = float(gaussian_kl(m, v + 1.0, m, v)[0])
    other = float(gaussian_kl(m, v, m, v + 1.0)[0])
    assert one > 0 and other > 0 and abs(one - other) > 0.1
