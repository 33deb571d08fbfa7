"""What every test module shares: the backend in the header, and fresh seeds."""

from __future__ import annotations

import keras
import pytest


def pytest_report_header(config: pytest.Config) -> str:
    return f"keras {keras.__version__}, backend {keras.backend.backend()}"


@pytest.fixture(autouse=True)
def seeds() -> None:
    """Every test draws the same numbers, alone or after others."""
    keras.utils.set_random_seed(0)
