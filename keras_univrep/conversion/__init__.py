"""Networks in the formats of others."""

from keras_univrep.conversion.export import export
from keras_univrep.conversion.from_torch import from_torch
from keras_univrep.conversion.read_torch_checkpoint import read_torch_checkpoint
from keras_univrep.conversion.to_torch import to_torch

__all__ = ["export", "from_torch", "read_torch_checkpoint", "to_torch"]
