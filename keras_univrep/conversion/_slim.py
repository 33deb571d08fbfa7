"""Makes the graph of a SavedModel small."""

import pathlib
from typing import Any


def slim(folder: pathlib.Path) -> None:
    """Rewrites the functions of a SavedModel with short names and without inferred shapes.

    A node is named after all layers around it, each time that another one reads it, and carries the
    shapes that TensorFlow infers anyway: most of the bytes of a graph. Tensors that come and go,
    which signatures are made of, keep their names; variables are found by their position.
    """
    from tensorflow.core.framework import types_pb2
    from tensorflow.core.protobuf import saved_model_pb2

    path = folder / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for graph in saved.meta_graphs:
        for function in graph.graph_def.library.function:
            _shorten(function, types_pb2.DT_RESOURCE)
    path.write_bytes(saved.SerializeToString())


def _shorten(function: Any, variable: int) -> None:
    given = function.signature.input_arg
    kept = {argument.name for argument in given if argument.type != variable}
    parts = [*(a for a in given if a.type == variable), *function.node_def]
    numbers = (f"n{number}" for number in range(len(parts) + len(kept)))
    short = dict(zip((part.name for part in parts), (n for n in numbers if n not in kept)))
    for argument in given:
        argument.name = short.get(argument.name, argument.name)
    for node in function.node_def:
        node.name = short[node.name]
        for place, name in enumerate(node.input):
            node.input[place] = _renamed(name, short)
        # Custom gradients are not written, and TensorFlow warns where they are named.
        for key in ("_output_shapes", "_gradient_op_type"):
            node.attr.pop(key, None)
        classes = node.attr["_class"].list.s if "_class" in node.attr else []
        for place, name in enumerate(classes):
            kind, _, other = name.decode().partition("@")
            classes[place] = f"{kind}@{short.get(other, other)}".encode()
    for results in (function.ret, function.control_ret):
        for key in list(results):
            results[key] = _renamed(results[key], short)


def _renamed(name: str, short: dict[str, str]) -> str:
    """Of `node:output:number`, of an argument, or of `^node`, which is waited for."""
    mark = "^" * name.startswith("^")
    node, colon, output = name.removeprefix("^").partition(":")
    return f"{mark}{short.get(node, node)}{colon}{output}"
