"""Networks in the formats of others."""

from keras_univrep.conversion.export import export
from keras_univrep.conversion.from_torch import from_torch
from keras_univrep.conversion.load_exported import load_exported
from keras_univrep.conversion.read_torch_checkpoint import read_torch_checkpoint
from keras_univrep.conversion.to_torch import to_torch

__all__ = ["export", "from_torch", "load_exported", "read_torch_checkpoint", "to_torch"]
