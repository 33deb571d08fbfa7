"""What becomes of memory that is freed."""

import ctypes
import platform
import sys

from keras_univrep.backend.interface import on_processor

# Numbers of `mallopt(3)`, and what they are set to: no map of its own for any array, no return of
# less than two gigabytes, and 64 megabytes at a time.
_OPTIONS = {-4: 0, -1: 2**31 - 1, -2: 2**26}


def keep_memory() -> bool:
    """Makes the C library keep memory that is freed, for the next array.

    By default every array above 32 MB goes back to the system, and the next one is given page by
    page. On a processor PyTorch leaves arrays to the C library: a training step with large maps of
    features may take half the time once memory is kept. TensorFlow and JAX keep most of theirs by
    themselves.

    It holds for the whole process and for good: what the process holds stays at its peak. Call it
    before the first network is made.

    Returns:
        Whether it was done. Nothing is done on an accelerator, or without the GNU C library.

    Example:

    >>> from keras_univrep import backend
    >>> callable(backend.keep_memory)
    True
    """
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc" or not on_processor():
        return False
    set_option = ctypes.CDLL(None).mallopt
    return all(set_option(number, value) == 1 for number, value in _OPTIONS.items())
