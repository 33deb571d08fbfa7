"""A recipe's runs take long: in `make test` each has one backend, in `make test-all` all three."""

import pathlib

from tests import turns

# What compiles many programs and runs each a few times is for PyTorch, which compiles none.
MANY_PROGRAMS = (
    "test_decathlon_data",
    "test_few_shot_data",
    "test_meta_test",
    "test_omni_regression",
    "test_train_domain_adapters",
)


def pytest_collection_modifyitems(items):
    """Marks as slow the tests of the recipes whose turn is another backend."""
    here = pathlib.Path(__file__).parent
    files = sorted(here.glob("test_*.py"))
    for item in items:
        if item.path in files:
            many = item.path.stem in MANY_PROGRAMS
            number = turns.BACKENDS.index("torch") if many else files.index(item.path)
            for mark in turns.marks(number):
                item.add_marker(mark)
