"""Makes the graph of a SavedModel small."""

import pathlib
import zlib
from collections.abc import Iterator
from typing import Any


def slim(folder: pathlib.Path) -> None:
    """Rewrites a SavedModel with short names, without inferred shapes, and only to be loaded.

    A node is named after all layers around it, each time that another one reads it, and carries the
    shapes that TensorFlow infers anyway: most of the bytes of a graph. Tensors that come and go,
    which signatures are made of, keep their names, and so do variables in the list of objects.
    What a `Saver` of TensorFlow 1 would write the variables with is left out: whoever loads the
    file has them, and `tf.saved_model.save` brings its own.
    """
    from tensorflow.core.framework import types_pb2
    from tensorflow.core.protobuf import saved_model_pb2

    path = folder / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    # It holds a checksum of each weight.
    index = folder / "variables" / "variables.index"
    mark = f"v{zlib.crc32(index.read_bytes()):08x}"
    for graph in saved.meta_graphs:
        _keep_what_is_run(graph)
        _shorten_variables(graph.graph_def, mark)
        for function in graph.graph_def.library.function:
            _shorten(function, types_pb2.DT_RESOURCE)
    path.write_bytes(saved.SerializeToString())


def _keep_what_is_run(graph: Any) -> None:
    """Drops nodes and functions that neither signatures nor the restoring of objects need."""
    tensors = [graph.saver_def.filename_tensor_name, graph.saver_def.restore_op_name]
    tensors += [asset.tensor_info.name for asset in graph.asset_file_def]
    objects = graph.object_graph_def
    tensors += [o.constant.operation for o in objects.nodes if o.HasField("constant")]
    for signature in graph.signature_def.values():
        for infos in (signature.inputs, signature.outputs):
            tensors += [info.name for info in infos.values()]
    nodes = {node.name: node for node in graph.graph_def.node}
    known = _reached(tensors, lambda name: nodes[name].input)
    _keep(graph.graph_def.node, lambda node: node.name in known)

    functions = {function.signature.name: function for function in graph.graph_def.library.function}
    named = list(objects.concrete_functions)
    named += [name for node in graph.graph_def.node for name in _called(node)]
    known = _reached(
        named, lambda name: [f for node in functions[name].node_def for f in _called(node)]
    )
    _keep(graph.graph_def.library.function, lambda function: function.signature.name in known)


def _reached(names: list[str], following: Any) -> set[str]:
    """Names of nodes or functions, and of all that they need."""
    known: set[str] = set()
    waiting = list(names)
    while waiting:
        name = _node_of(waiting.pop())
        if name not in known:
            known.add(name)
            waiting += following(name)
    return known


def _keep(items: Any, wanted: Any) -> None:
    kept = [item for item in items if wanted(item)]
    del items[:]
    items.extend(kept)


def _called(node: Any) -> Iterator[str]:
    """Names of the functions that a node calls."""
    for value in node.attr.values():
        yield from (f.name for f in (value.func, *value.list.func) if f.name)


def _shorten_variables(graph: Any, mark: str) -> None:
    """Names them by numbers, after a mark of the weights: of one name, a session shares them."""
    variables = [node for node in graph.node if node.op == "VarHandleOp"]
    short = {node.name: f"{mark}_{number}" for number, node in enumerate(variables)}
    for node in variables:
        # The same name twice, by which LiteRT's converter finds the node.
        node.attr["shared_name"].s = short[node.name].encode()
        for key in ("_output_shapes", "debug_name"):
            node.attr.pop(key, None)
    for node in graph.node:
        node.name = short.get(node.name, node.name)
        for place, name in enumerate(node.input):
            node.input[place] = _renamed(name, short)


def _shorten(function: Any, variable: int) -> None:
    given = function.signature.input_arg
    kept = {argument.name for argument in given if argument.type != variable}
    parts = [*(a for a in given if a.type == variable), *function.node_def]
    numbers = (f"n{number}" for number in range(len(parts) + len(kept)))
    short = dict(zip((part.name for part in parts), (n for n in numbers if n not in kept)))
    for place, argument in enumerate(given):
        argument.name = short.get(argument.name, argument.name)
        if argument.type == variable:
            # Its old name, for which nobody asks.
            function.arg_attr.pop(place, None)
    for node in function.node_def:
        node.name = short[node.name]
        for place, name in enumerate(node.input):
            node.input[place] = _renamed(name, short)
        # Custom gradients are not written, and TensorFlow warns where they are named; the last is
        # for a tracing that is over.
        for key in ("_output_shapes", "_gradient_op_type", "_has_manual_control_dependencies"):
            node.attr.pop(key, None)
        classes = node.attr["_class"].list.s if "_class" in node.attr else []
        for place, name in enumerate(classes):
            kind, _, other = name.decode().partition("@")
            classes[place] = f"{kind}@{short.get(other, other)}".encode()
    for key in list(function.ret):
        function.ret[key] = _renamed(function.ret[key], short)
    # What must have run is named as the node that runs.
    must = sorted({short[node] for node in function.control_ret.values()})
    function.control_ret.clear()
    function.control_ret.update(dict(zip(must, must)))
    del function.signature.control_output[:]
    function.signature.control_output.extend(must)


def _node_of(name: str) -> str:
    """The node of `node:output:number` or `^node`."""
    return name.removeprefix("^").partition(":")[0]


def _renamed(name: str, short: dict[str, str]) -> str:
    """Of `node:output:number`, of an argument, or of `^node`, which is waited for."""
    mark = "^" * name.startswith("^")
    node, colon, output = name.removeprefix("^").partition(":")
    return f"{mark}{short.get(node, node)}{colon}{output}"
