"""A recipe's runs take long: in `make test` each has one backend, in `make test-all` all three."""

import pathlib

from tests import turns


def pytest_collection_modifyitems(items):
    """Marks as slow the tests of the recipes whose turn is another backend."""
    here = pathlib.Path(__file__).parent
    files = sorted(here.glob("test_*.py"))
    for item in items:
        for mark in turns.marks(files.index(item.path)) if item.path in files else ():
            item.add_marker(mark)
