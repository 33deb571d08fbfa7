"""Compression: plain networks for deployment, and smaller adapters."""

from keras_univrep.compression.fuse import fuse
from keras_univrep.compression.joint_svd import joint_svd
from keras_univrep.compression.prune import prune
from keras_univrep.compression.svd import svd
from keras_univrep.compression.unfuse import unfuse

__all__ = ["fuse", "joint_svd", "prune", "svd", "unfuse"]
