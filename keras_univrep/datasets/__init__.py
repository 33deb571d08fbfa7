"""Domains: the sets that ship with the package, a user's own, and pipelines that feed them."""

from keras_univrep.datasets.batches_with_episodes import batches_with_episodes
from keras_univrep.datasets.benchmark import benchmark
from keras_univrep.datasets.boxes_augment import boxes_augment
from keras_univrep.datasets.camvid import camvid
from keras_univrep.datasets.cityscapes import cityscapes
from keras_univrep.datasets.coco_source import coco_source
from keras_univrep.datasets.cross_domain_few_shot import cross_domain_few_shot
from keras_univrep.datasets.decathlon_domain import DecathlonDomain
from keras_univrep.datasets.decathlon_images import DecathlonImages
from keras_univrep.datasets.decathlon_local import decathlon_local
from keras_univrep.datasets.decathlon_pipeline import decathlon_pipeline
from keras_univrep.datasets.dense_augment import dense_augment
from keras_univrep.datasets.dense_domain import DenseDomain
from keras_univrep.datasets.dense_pipeline import dense_pipeline
from keras_univrep.datasets.dense_sequence import DenseSequence
from keras_univrep.datasets.detection_source import detection_source
from keras_univrep.datasets.domain import Domain
from keras_univrep.datasets.domain_fingerprint import domain_fingerprint
from keras_univrep.datasets.domain_from_arrays import domain_from_arrays
from keras_univrep.datasets.domain_from_folder import domain_from_folder
from keras_univrep.datasets.downstream_local import downstream_local
from keras_univrep.datasets.embedded_domains import embedded_domains
from keras_univrep.datasets.endless_batches import endless_batches
from keras_univrep.datasets.episode import Episode
from keras_univrep.datasets.episode_pipeline import episode_batches, episode_pipeline
from keras_univrep.datasets.episodes import EpisodeSampler
from keras_univrep.datasets.fit_normals import fit_normals
from keras_univrep.datasets.fixed_views import FixedViews
from keras_univrep.datasets.hierarchical_classes import (
    classes_of_one_group,
    classes_under_one_node,
)
from keras_univrep.datasets.join_dense_pipelines import join_dense_pipelines
from keras_univrep.datasets.join_pipelines import join_pipelines
from keras_univrep.datasets.label_map_source import label_map_source
from keras_univrep.datasets.load_domain import load_domain
from keras_univrep.datasets.meta_dataset import meta_dataset
from keras_univrep.datasets.meta_dataset_specs import MetaDatasetSpec, read_meta_dataset_spec
from keras_univrep.datasets.meta_domains import MetaDomains
from keras_univrep.datasets.meta_local import meta_local
from keras_univrep.datasets.mmt import mmt
from keras_univrep.datasets.mmt_local import mmt_local
from keras_univrep.datasets.multi_domain_pipeline import multi_domain_pipeline
from keras_univrep.datasets.multi_domain_sequence import MultiDomainSequence
from keras_univrep.datasets.multi_meta_tasks import MultiMetaTasks
from keras_univrep.datasets.normals_from_depth import normals_from_depth
from keras_univrep.datasets.nyu_local import nyu_local
from keras_univrep.datasets.nyuv2 import nyuv2
from keras_univrep.datasets.omniglot_vinyals import omniglot_vinyals
from keras_univrep.datasets.pipeline import pipeline
from keras_univrep.datasets.random_rooms import random_rooms
from keras_univrep.datasets.random_sources import random_sources
from keras_univrep.datasets.resize_dense import resize_dense
from keras_univrep.datasets.road_vanishing_points import road_vanishing_points
from keras_univrep.datasets.room_vanishing_points import room_vanishing_points
from keras_univrep.datasets.sinusoid import sinusoid
from keras_univrep.datasets.sinusoids import Sinusoids
from keras_univrep.datasets.source import Source
from keras_univrep.datasets.source_from_domain import source_from_domain
from keras_univrep.datasets.source_pipeline import source_pipeline
from keras_univrep.datasets.source_sequence import SourceSequence
from keras_univrep.datasets.sources_local import sources_local
from keras_univrep.datasets.subset import subset
from keras_univrep.datasets.taught_pipeline import taught_pipeline
from keras_univrep.datasets.taught_sequence import TaughtSequence
from keras_univrep.datasets.visual_decathlon import visual_decathlon
from keras_univrep.datasets.with_classes import with_classes
from keras_univrep.datasets.x_learner_sources import x_learner_sources

__all__ = [
    "DecathlonDomain",
    "DecathlonImages",
    "DenseDomain",
    "DenseSequence",
    "Domain",
    "Episode",
    "EpisodeSampler",
    "FixedViews",
    "MetaDatasetSpec",
    "MetaDomains",
    "MultiDomainSequence",
    "MultiMetaTasks",
    "Sinusoids",
    "Source",
    "SourceSequence",
    "TaughtSequence",
    "batches_with_episodes",
    "benchmark",
    "boxes_augment",
    "camvid",
    "cityscapes",
    "classes_of_one_group",
    "classes_under_one_node",
    "coco_source",
    "cross_domain_few_shot",
    "decathlon_local",
    "decathlon_pipeline",
    "dense_augment",
    "dense_pipeline",
    "detection_source",
    "domain_fingerprint",
    "domain_from_arrays",
    "domain_from_folder",
    "downstream_local",
    "embedded_domains",
    "endless_batches",
    "episode_batches",
    "episode_pipeline",
    "fit_normals",
    "join_dense_pipelines",
    "join_pipelines",
    "label_map_source",
    "load_domain",
    "meta_dataset",
    "meta_local",
    "mmt",
    "mmt_local",
    "multi_domain_pipeline",
    "normals_from_depth",
    "nyu_local",
    "nyuv2",
    "omniglot_vinyals",
    "pipeline",
    "random_rooms",
    "random_sources",
    "read_meta_dataset_spec",
    "resize_dense",
    "road_vanishing_points",
    "room_vanishing_points",
    "sinusoid",
    "source_from_domain",
    "source_pipeline",
    "sources_local",
    "subset",
    "taught_pipeline",
    "visual_decathlon",
    "with_classes",
    "x_learner_sources",
]
