"""A recipe's runs take long: in `make test` each has one backend, in `make test-all` all three."""

import pathlib

import keras
import pytest

BACKENDS = ("torch", "tensorflow", "jax")


def pytest_collection_modifyitems(items):
    """Marks as slow the tests of the recipes whose turn is another backend."""
    here = pathlib.Path(__file__).parent
    files = sorted(here.glob("test_*.py"))
    turn = {path: BACKENDS[number % 3] for number, path in enumerate(files)}
    for item in items:
        if turn.get(item.path, keras.backend.backend()) != keras.backend.backend():
            item.add_marker(pytest.mark.slow)
