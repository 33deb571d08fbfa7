"""Balancers of tasks: from losses and inner products of gradients to weights."""

from keras_univrep.balancers.aligned_mtl import AlignedMTL
from keras_univrep.balancers.balancer import Balancer
from keras_univrep.balancers.cagrad import CAGrad
from keras_univrep.balancers.dwa import DWA
from keras_univrep.balancers.famo import FAMO
from keras_univrep.balancers.fixed import Fixed
from keras_univrep.balancers.get import get
from keras_univrep.balancers.graddrop import GradDrop
from keras_univrep.balancers.gradnorm import GradNorm
from keras_univrep.balancers.imtl_g import IMTLG
from keras_univrep.balancers.imtl_h import IMTLH
from keras_univrep.balancers.imtl_l import IMTLL
from keras_univrep.balancers.mgda import MGDA
from keras_univrep.balancers.nash_mtl import NashMTL
from keras_univrep.balancers.pcgrad import PCGrad
from keras_univrep.balancers.uncertainty import Uncertainty
from keras_univrep.balancers.uniform import Uniform
from keras_univrep.balancers.upgrad import UPGrad

__all__ = [
    "CAGrad",
    "DWA",
    "FAMO",
    "IMTLG",
    "IMTLH",
    "IMTLL",
    "MGDA",
    "AlignedMTL",
    "Balancer",
    "Fixed",
    "GradDrop",
    "GradNorm",
    "NashMTL",
    "PCGrad",
    "UPGrad",
    "Uncertainty",
    "Uniform",
    "get",
]
