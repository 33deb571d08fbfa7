"""Copies of models: the same structure, made from the configuration, with weights of its own."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_univrep.backbones import AdaptedBackbone
from keras_univrep.layers.domain_bank import DomainBank


def walk(model: keras.layers.Layer) -> Iterator[tuple[str, keras.layers.Layer]]:
    """Walks all layers inside a model, once each, with the names that `leaves` gives them.

    Args:
        model: A built model.
    """
    seen: set[int] = set()

    def visit(parent: keras.layers.Layer, prefix: str) -> Iterator[tuple[str, keras.layers.Layer]]:
        used: dict[str, int] = {}
        # Keras lists the parts of a plain layer nowhere in public; a model's `layers` is this.
        for part in parent._layers:
            count = used[part.name] = used.get(part.name, 0) + 1
            name = f"{prefix}{part.name}" + (f"_{count}" if count > 1 else "")
            if id(part) not in seen:
                seen.add(id(part))
                yield name, part
                yield from visit(part, f"{name}/")

    return visit(model, "")


def named_as(model: keras.Model, copy: keras.Model) -> dict[str, keras.layers.Layer]:
    """Returns the layers of a copy by the names of the original's.

    Args:
        model: A built model.
        copy: A model of the same class and configuration.
    """
    layers, copies = dict(walk(model)), dict(walk(copy))
    if set(layers) == set(copies):
        return copies
    # Names that Keras chose are numbered on in a copy.
    return dict(zip(layers, copies.values(), strict=True))


def banks_like(model: keras.Model, copy: keras.Model) -> dict[str, DomainBank]:
    """Returns the banks of a copy by the names of the original's, as `named_as` does.

    Args:
        model: An `AdaptedBackbone`, or a `MultiDomainModel` over one.
        copy: A model of the same class and configuration.
    """
    ours, theirs = (getattr(network, "backbone", network).banks for network in (model, copy))
    return dict(zip(ours, theirs.values(), strict=True))


def copy_variables(source: keras.layers.Layer, target: keras.layers.Layer) -> None:
    """Copies what a layer holds itself, and not in layers inside it, to one of the same kind.

    Args:
        source: A built layer.
        target: A built layer of the same configuration.
    """
    store: dict[str, Any] = {}
    source.save_own_variables(store)
    # The layer's own loading, and not `set_weights`: `Normalization` prepares more from its
    # weights. Arrays of their own: on JAX a shared buffer is lost in the first training step.
    target.load_own_variables(
        {key: np.array(ops.convert_to_numpy(value)) for key, value in store.items()}
    )


def rebuild(
    model: keras.Model,
    layer_options: Mapping[str, Mapping[str, Any]] | None = None,
    without: Collection[str] = (),
) -> keras.Model:
    """Returns a new model with the weights of another, which it leaves alone.

    Args:
        model: A `MultiDomainModel`, or its backbone.
        layer_options: What to add to the `layer_options` of its `AdaptedBackbone`.
        without: Names of banks of that backbone whose parts keep their initial values.
    """
    config = model.get_config()
    if layer_options:
        inner = config if isinstance(model, AdaptedBackbone) else config["backbone"]["config"]
        old = inner["layer_options"]
        inner["layer_options"] = old | {
            name: {**old.get(name, {}), **more} for name, more in layer_options.items()
        }
    copy = type(model).from_config(config)
    copies = named_as(model, copy)
    left: set[int] = set()
    if without:
        banks = banks_like(model, copy)
        left = {id(layer) for name in without for layer in (banks[name], *banks[name].parts)}
    for name, layer in walk(model):
        if id(copies[name]) not in left:
            copy_variables(layer, copies[name])
    return copy
