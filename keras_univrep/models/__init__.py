"""Models: how a step is taken."""

from keras_univrep.models.multi_domain_model import MultiDomainModel
from keras_univrep.models.resumable_fit import resumable_fit
from keras_univrep.models.universal_distiller import UniversalDistiller

__all__ = ["MultiDomainModel", "UniversalDistiller", "resumable_fit"]
