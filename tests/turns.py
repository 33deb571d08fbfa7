"""Long tests that say little of a backend: in `make test` each has one in turn, then all three."""

import keras
import pytest

BACKENDS = ("torch", "tensorflow", "jax")


def marks(number: int) -> tuple[pytest.MarkDecorator, ...]:
    """`slow`, unless it is this backend's turn to run the test of this number."""
    return () if BACKENDS[number % 3] == keras.backend.backend() else (pytest.mark.slow,)
