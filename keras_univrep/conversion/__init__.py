"""Networks in the formats of others."""

from keras_univrep.conversion.export import export

__all__ = ["export"]
