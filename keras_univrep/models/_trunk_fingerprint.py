"""A fingerprint of what a trunk computes, whatever its layers are called."""

import codecs
import hashlib
import json
import marshal
import types
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_univrep.backbones.adapted_backbone import AdaptedBackbone
from keras_univrep.layers.domain_bank import DomainBank

# Names, numeric policies, how weights start and train, and image sizes are not what is computed.
_LEFT_OUT = ("name", "trainable", "dtype", "seed", "build_config", "build_input_shape")
_LEFT_OUT_ENDS = ("_initializer", "_regularizer", "_constraint")


def trunk_fingerprint(backbone: AdaptedBackbone) -> str:
    """Returns the SHA-256 of a trunk's structure and weights, and of what its domains share.

    The structure is the classes of the layers, how they are connected, and the options of each that
    play a part in what it computes at inference. Names do not count, as Keras may have chosen them,
    and neither do dtype policies, image sizes, initializers, regularizers and what is frozen. Of a
    layer that does not say its configuration, class, parts and weights count.

    Args:
        backbone: The adapted network.

    Returns:
        64 hexadecimal digits; the same for the same float32 weights on every backend, in every
        process, and after saving and loading.
    """
    trunk, digest = backbone.trunk, hashlib.sha256()
    digest.update(json.dumps(_structure(trunk, {}), sort_keys=True).encode())
    variables = list(_own_variables(trunk, set()))
    variables += [bank.beta for bank in backbone.banks.values() if hasattr(bank, "beta")]
    for variable in variables:
        array = np.ascontiguousarray(ops.convert_to_numpy(variable), "float32")
        digest.update(f"{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def bank_options(bank: DomainBank) -> dict[str, Any]:
    """Returns the options of an adapter, without how its weights start; `None` and `False` lack.

    Args:
        bank: The adapter of one layer.
    """
    config = bank.get_config()
    return _canonical({key: config[key] for key in config.keys() - {"layer", "domains"}})


def _structure(layer: keras.layers.Layer, seen: dict[int, int]) -> Any:
    """A layer and the layers inside it; one that comes again is a number."""
    if id(layer) in seen:
        return seen[id(layer)]
    seen[id(layer)] = len(seen)
    try:
        config = _canonical_object(keras.saving.serialize_keras_object(layer), {})
    except (NotImplementedError, TypeError):
        config = keras.saving.get_registered_name(type(layer))
    # Also where there is a configuration, which need not say what a layer makes itself.
    return [config, [_structure(part, seen) for part in layer._layers]]


def _own_variables(layer: keras.layers.Layer, seen: set[int]) -> Iterator[keras.Variable]:
    """The weights of a layer itself, and then those of the layers inside it, once each."""
    inner = {id(weight) for part in layer._layers for weight in part.weights}
    for weight in layer.weights:
        if id(weight) not in inner and id(weight) not in seen:
            seen.add(id(weight))
            yield weight
    for part in layer._layers:
        yield from _own_variables(part, seen)


def _canonical(value: Any, names: Mapping[str, int] | None = None) -> Any:
    """A configuration as JSON can hold it, without what is left out.

    Args:
        value: A configuration, or a part of one.
        names: The positions of the layers of the graph around it, by name.
    """
    names = names or {}
    if isinstance(value, Mapping):
        if "class_name" in value and "config" in value:
            return _canonical_object(value, names)
        if {"layers", "input_layers", "output_layers"} <= value.keys():
            names = {entry["name"]: index for index, entry in enumerate(value["layers"])}
        # Without `None` and `False`, as a new option of Keras has where nobody asks for it.
        return {
            str(key): _canonical(entry, names)
            for key, entry in value.items()
            if entry is not None and entry is not False and not _is_left_out(str(key), entry)
        }
    if isinstance(value, (list, tuple)):
        if len(value) == 3 and isinstance(value[0], str) and value[0] in names:
            return [names[value[0]], *value[1:]]  # A layer, a call of it, an output of the call.
        return [_canonical(entry, names) for entry in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return _canonical(value.tolist())
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if value is None or isinstance(value, (str, int, float)):
        return value
    return _canonical(keras.saving.serialize_keras_object(value), names)


def _canonical_object(value: Mapping[str, Any], names: Mapping[str, int]) -> Any:
    """What Keras serialized: a layer or an operation of a graph, a tensor, a function."""
    kind, config = value.get("registered_name") or value["class_name"], value["config"]
    if kind == "__keras_tensor__":
        return _canonical(config["keras_history"], names)
    if kind == "__lambda__":
        # The code alone; what Keras saves says in which file it stands.
        code = marshal.loads(codecs.decode(config["code"].encode(), "base64"))
        return [kind, _code(code), _canonical([config["defaults"], config["closure"]])]
    if kind == "InputLayer":
        return [kind]
    return [kind, _canonical(config, names), _canonical(value.get("inbound_nodes", []), names)]


def _code(code: types.CodeType) -> list[Any]:
    inner = [_code(c) if isinstance(c, types.CodeType) else repr(c) for c in code.co_consts]
    return [code.co_code.hex(), list(code.co_names), inner]


def _is_left_out(key: str, value: Any) -> bool:
    # The dtype that an operation casts to is a word; that of a layer is a policy.
    named = key in _LEFT_OUT and not (key == "dtype" and isinstance(value, str))
    return named or key.endswith(_LEFT_OUT_ENDS)
