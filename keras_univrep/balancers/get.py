"""Balancers by name."""

import functools
from collections.abc import Callable
from typing import Any

import keras

from keras_univrep.balancers.aligned_mtl import AlignedMTL
from keras_univrep.balancers.balancer import Balancer
from keras_univrep.balancers.cagrad import CAGrad
from keras_univrep.balancers.dwa import DWA
from keras_univrep.balancers.famo import FAMO
from keras_univrep.balancers.fixed import Fixed
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

_BY_NAME: dict[str, Callable[..., Balancer]] = {
    "aligned_mtl": AlignedMTL,
    "cagrad": CAGrad,
    "dwa": DWA,
    "famo": FAMO,
    "fixed": Fixed,
    "graddrop": GradDrop,
    "gradnorm": GradNorm,
    "imtl_g": IMTLG,
    "imtl_h": IMTLH,
    "imtl_l": IMTLL,
    "mgda": MGDA,
    "mgda_ub": functools.partial(MGDA, "loss", scope="representation"),
    "nash_mtl": NashMTL,
    "pcgrad": PCGrad,
    "uncertainty": Uncertainty,
    "uniform": Uniform,
    "upgrad": UPGrad,
}


def get(identifier: Any, **arguments: Any) -> Balancer:
    """Turns a name, a serialized balancer or a balancer into a balancer.

    Args:
        identifier: One of `"aligned_mtl"`, `"cagrad"`, `"dwa"`, `"famo"`, `"fixed"`, `"graddrop"`,
            `"gradnorm"`, `"imtl_g"`, `"imtl_h"`, `"imtl_l"`, `"mgda"`, `"mgda_ub"`, `"nash_mtl"`,
            `"pcgrad"`, `"uncertainty"`, `"uniform"` and `"upgrad"`; or the dictionary that
            `keras.saving.serialize_keras_object` makes of a balancer; or a balancer, which is
            returned as it is.
        **arguments: Arguments of a balancer by name; without, each has its defaults, and "fixed"
            none: it needs `values`.

    Returns:
        A `Balancer`.

    Raises:
        ValueError: For an unknown name, or `"fixed"` without its weights.
        TypeError: For anything that is not a name, a dictionary or a balancer.

    Example:
        >>> from keras_univrep import balancers
        >>> balancers.get("pcgrad").reduction
        'mean'
        >>> balancers.get("fixed", values={"depth": 1.0, "normals": 2.0}).values["normals"]
        2.0
    """
    if isinstance(identifier, str):
        if identifier not in _BY_NAME:
            raise ValueError(
                f"The name of a balancer must be one of {sorted(_BY_NAME)}. "
                f"Received: identifier={identifier!r}. Pass a balancer for any other."
            )
        if identifier == "fixed" and not arguments:
            raise ValueError(
                "The balancer 'fixed' needs the weights of the tasks. Received: its name alone. "
                "Pass `balancers.get('fixed', values={task: weight, ...})`, or a `Fixed` of them."
            )
        return _BY_NAME[identifier](**arguments)
    if arguments:
        raise ValueError(
            "Arguments must come with the name of a balancer. Received: "
            f"{sorted(arguments)} with identifier={identifier!r}. Make it with them."
        )
    if isinstance(identifier, dict):
        identifier = keras.saving.deserialize_keras_object(identifier)
    if isinstance(identifier, Balancer):
        return identifier
    raise TypeError(
        "A balancer must be a name, a serialized balancer or a `Balancer`. "
        f"Received: identifier={identifier!r} (of type {type(identifier).__name__}). "
        f"Pass one of the names {sorted(_BY_NAME)}."
    )
