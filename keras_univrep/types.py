"""Names for the types that annotations share."""

from collections.abc import Sequence
from typing import Any, TypeAlias

Tensor: TypeAlias = Any
"""A tensor of the running backend, a NumPy array, or a symbolic `KerasTensor`."""

Shape: TypeAlias = Sequence[int | None]
"""A shape; `None` stands for a size that is known only at run time."""
