"""Models: how a step is taken."""

from keras_univrep.models.adaptation_curve import adaptation_curve
from keras_univrep.models.anil import ANIL
from keras_univrep.models.cache_teacher import cache_teacher
from keras_univrep.models.cnaps import CNAPS
from keras_univrep.models.dense_distiller import DenseDistiller
from keras_univrep.models.distillation_plan import distillation_plan
from keras_univrep.models.distillation_stage import DistillationStage
from keras_univrep.models.domain_pack import DomainPack, read_pack
from keras_univrep.models.episode_classifier import EpisodeClassifier
from keras_univrep.models.episodic_model import EpisodicModel
from keras_univrep.models.graph_network import GraphNetwork
from keras_univrep.models.load_domain_pack import load_domain_pack
from keras_univrep.models.maml import MAML
from keras_univrep.models.matching_network import MatchingNetwork
from keras_univrep.models.meta_learner import MetaLearner
from keras_univrep.models.multi_domain_model import MultiDomainModel
from keras_univrep.models.multi_task_meta_learner import MultiTaskMetaLearner
from keras_univrep.models.multi_task_model import MultiTaskModel
from keras_univrep.models.must import MuST
from keras_univrep.models.omni_training import OmniTraining
from keras_univrep.models.optimal_channel_weights import optimal_channel_weights
from keras_univrep.models.proto_maml import ProtoMAML
from keras_univrep.models.prototypical_network import PrototypicalNetwork
from keras_univrep.models.pseudo_label import pseudo_label
from keras_univrep.models.relation_network import RelationNetwork
from keras_univrep.models.reptile import Reptile
from keras_univrep.models.resumable_fit import resumable_fit
from keras_univrep.models.save_domain_pack import save_domain_pack
from keras_univrep.models.sim_clr import SimCLR
from keras_univrep.models.task_networks import TaskNetworks
from keras_univrep.models.teacher_cache import TeacherCache
from keras_univrep.models.universal_distiller import UniversalDistiller
from keras_univrep.models.x_learner_expansion import XLearnerExpansion
from keras_univrep.models.x_learner_squeeze import XLearnerSqueeze

__all__ = [
    "ANIL",
    "CNAPS",
    "MAML",
    "DenseDistiller",
    "DistillationStage",
    "DomainPack",
    "EpisodeClassifier",
    "EpisodicModel",
    "GraphNetwork",
    "MatchingNetwork",
    "MetaLearner",
    "MuST",
    "MultiDomainModel",
    "MultiTaskMetaLearner",
    "MultiTaskModel",
    "OmniTraining",
    "ProtoMAML",
    "PrototypicalNetwork",
    "RelationNetwork",
    "Reptile",
    "SimCLR",
    "TaskNetworks",
    "TeacherCache",
    "UniversalDistiller",
    "XLearnerExpansion",
    "XLearnerSqueeze",
    "adaptation_curve",
    "cache_teacher",
    "distillation_plan",
    "load_domain_pack",
    "optimal_channel_weights",
    "pseudo_label",
    "read_pack",
    "resumable_fit",
    "save_domain_pack",
]
