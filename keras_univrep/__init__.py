"""Universal visual representations in Keras 3: one network for many domains and tasks."""

from keras_univrep import backbones, balancers, layers, losses, metrics, models, optimizers

__version__ = "0.1.0"

__all__ = [
    "backbones",
    "balancers",
    "layers",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "__version__",
]
