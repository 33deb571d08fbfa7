"""`keep_memory` lets the next array stand where the last one was."""

import platform
import subprocess
import sys

import pytest

from keras_univrep import backend

PROGRAM = """
import resource, sys
import numpy as np
from keras_univrep import backend

def pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.empty(2**24, "float32").fill(1.0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def least():
    # Other threads need a page now and then.
    return min(pages() for _ in range(5))

pages()
returned = least()
assert backend.keep_memory()
pages()
print(returned, least())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs the GNU C library")
@pytest.mark.skipif(not backend.on_processor(), reason="memory of a processor")
def test_an_array_stands_where_the_last_one_was() -> None:
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    # Pages of at least 4 KB that had to be given, of 64 MB; huge ones are 2 MB.
    returned, kept = map(int, process.stdout.split()[-2:])
    assert returned >= 32 and kept < returned / 4


def test_nothing_is_done_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not backend.keep_memory()
