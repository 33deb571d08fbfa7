"""Lets layers of a network compute by other functions while it is called, in one thread."""

import contextlib
import contextvars
import threading
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras

from keras_univrep.types import Tensor

Call = Callable[..., Tensor]

# Of the running thread (or task): by a layer's identity, what it computes instead.
_ROUTES: contextvars.ContextVar[Mapping[int, Call]] = contextvars.ContextVar(
    "routes", default=types.MappingProxyType({})
)
_LOCK = threading.Lock()


class _Junction:
    """Stands as the `call` of one layer while any thread sends it elsewhere."""

    def __init__(self, layer: keras.layers.Layer) -> None:
        self.key = id(layer)
        self.own = layer.call
        self.replaced = layer.__dict__.get("call")
        self.users = 0

    def route(self) -> Call:
        return _ROUTES.get().get(self.key, self.own)

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        return self.route()(*args, **kwargs)


@contextlib.contextmanager
def rerouted(calls: Sequence[tuple[keras.layers.Layer, Call]]) -> Iterator[None]:
    """Lets layers compute by other functions; the later of two for one layer holds.

    The `call` of an instance stands before that of its class; whatever calls the layer, the graph
    of a functional model or the code of a subclassed one, comes there. Other threads that call the
    same layers meanwhile go their own ways.

    Args:
        calls: Pairs of a layer and what it computes.
    """
    layers = list({id(layer): layer for layer, _ in calls}.values())
    with _LOCK:
        for layer in layers:
            junction = layer.__dict__.get("call")
            if not isinstance(junction, _Junction):
                junction = layer.__dict__["call"] = _Junction(layer)
            junction.users += 1
    before = _ROUTES.set({**_ROUTES.get(), **{id(layer): call for layer, call in calls}})
    try:
        yield
    finally:
        _ROUTES.reset(before)
        with _LOCK:
            for layer in layers:
                junction = layer.__dict__["call"]
                junction.users -= 1
                if not junction.users:
                    del layer.__dict__["call"]
                    if junction.replaced is not None:
                        layer.__dict__["call"] = junction.replaced


def call_of(layer: keras.layers.Layer) -> Call:
    """What a layer computes by, where it is called now: its own `call`, or what stands for it."""
    return layer.call.route() if isinstance(layer.call, _Junction) else layer.call
