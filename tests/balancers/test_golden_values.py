"""What the released code of the papers, and TorchJD's tests, give for fixed gradients."""

from __future__ import annotations

import numpy as np
import pytest

from keras_univrep import balancers
from keras_univrep.balancers import CAGrad
from tests.balancers.helpers import combined, weights
from tests.balancers.oracles import GOLDEN, GOLDEN_LOSSES, PAIR


@pytest.mark.parametrize(
    ("balancer", "tasks", "expected"),
    [
        (CAGrad(0.4, rescale=0), [0, 1, 2], [0.142463, 0.289961, 0.433850, 0.298647]),
        (CAGrad(0.4), [0, 1, 2], [0.122813, 0.249966, 0.374009, 0.257454]),
        (CAGrad(0.5, rescale=0), [0, 1, 2], [0.157330, 0.339590, 0.461845, 0.318113]),
        (CAGrad(0.5), [0, 1, 2], [0.125864, 0.271672, 0.369476, 0.254490]),
        (CAGrad(0.5), [0, 2], [0.796077, -0.093417, 0.260756, 0.524761]),
        (CAGrad(0.5), [0, 1], [0.175761, 0.789034, 0.143323, 0.103721]),
        (
            balancers.PCGrad("sum", order="fixed"),
            [0, 1, 2],
            [0.603509, 0.712482, 1.791728, 1.277870],
        ),
        (balancers.PCGrad("sum"), [1, 2], [-0.669231, -0.038462, 1.757692, 0.734615]),
        (balancers.IMTLG(), [0, 1, 2], [0.120803, 0.211085, 0.349706, 0.245206]),
    ],
)
def test_the_released_code_combines_alike(balancer, tasks, expected) -> None:
    # The solvers of the released code stop at about 1e-4.
    tolerance = 1e-4 if isinstance(balancer, CAGrad) else 2e-6
    actual = combined(balancer, GOLDEN[tasks], GOLDEN_LOSSES[tasks])
    np.testing.assert_allclose(actual, expected, atol=tolerance)


@pytest.mark.parametrize(
    ("normalization", "expected"),
    [
        ("none", [0.319345, 0.426482, 0.254173]),
        ("l2", [0.297962, 0.361131, 0.340908]),
        ("loss", [0.277837, 0.098328, 0.623835]),
        ("loss+", [0.213763, 0.072941, 0.713296]),
    ],
)
def test_mgda_weighs_as_the_released_code(normalization, expected) -> None:
    actual = weights(balancers.MGDA(normalization), GOLDEN, GOLDEN_LOSSES)
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_imtl_g_weighs_as_the_released_code() -> None:
    actual = weights(balancers.IMTLG(), GOLDEN)
    np.testing.assert_allclose(actual, [0.312998, 0.411993, 0.275009], atol=2e-6)


def test_mgda_answers_a_corner_exactly() -> None:
    actual = weights(balancers.MGDA(), np.array([[1.0, 0.0], [2.0, 0.0]]))
    np.testing.assert_allclose(actual, [1.0, 0.0], atol=1e-7)


@pytest.mark.parametrize(
    ("balancer", "expected"),
    [
        (balancers.MGDA(), [0.0, 1.0, 1.0]),
        (balancers.PCGrad("sum"), [0.5848, 3.8012, 3.8012]),
        (CAGrad(0.5, rescale=0), [0.1835, 1.2041, 1.2041]),
        (balancers.IMTLG(), [0.0767, 1.0, 1.0]),
        (balancers.NashMTL(), [0.0542, 0.7061, 0.7061]),
        (balancers.UPGrad(), [0.2929, 1.9004, 1.9004]),
        (balancers.AlignedMTL(), [0.2133, 0.9673, 0.9673]),
        (balancers.Uniform("mean"), [1.0, 1.0, 1.0]),
    ],
)
def test_torchjd_combines_alike(balancer, expected) -> None:
    # UPGrad: TorchJD regularises by 1e-4 of the trace.
    tolerance = 1e-3 if isinstance(balancer, balancers.UPGrad) else 1e-4
    np.testing.assert_allclose(combined(balancer, PAIR), expected, atol=tolerance)
