"""Domains: the sets that ship with the package, a user's own, and pipelines that feed them."""

from keras_univrep.datasets.benchmark import benchmark
from keras_univrep.datasets.domain import Domain
from keras_univrep.datasets.domain_from_arrays import domain_from_arrays
from keras_univrep.datasets.domain_from_folder import domain_from_folder
from keras_univrep.datasets.embedded_domains import embedded_domains
from keras_univrep.datasets.load_domain import load_domain
from keras_univrep.datasets.multi_domain_pipeline import multi_domain_pipeline
from keras_univrep.datasets.multi_domain_sequence import MultiDomainSequence
from keras_univrep.datasets.pipeline import pipeline

__all__ = [
    "Domain",
    "MultiDomainSequence",
    "benchmark",
    "domain_from_arrays",
    "domain_from_folder",
    "embedded_domains",
    "load_domain",
    "multi_domain_pipeline",
    "pipeline",
]
