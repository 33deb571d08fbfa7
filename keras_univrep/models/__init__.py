"""Models: how a step is taken."""

from keras_univrep.models.domain_pack import DomainPack, read_pack
from keras_univrep.models.load_domain_pack import load_domain_pack
from keras_univrep.models.multi_domain_model import MultiDomainModel
from keras_univrep.models.resumable_fit import resumable_fit
from keras_univrep.models.save_domain_pack import save_domain_pack
from keras_univrep.models.universal_distiller import UniversalDistiller

__all__ = [
    "DomainPack",
    "MultiDomainModel",
    "UniversalDistiller",
    "load_domain_pack",
    "read_pack",
    "resumable_fit",
    "save_domain_pack",
]
