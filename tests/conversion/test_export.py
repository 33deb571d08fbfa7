"""Exported files answer as the network does, in a process without this library."""

import json
import pathlib
import subprocess
import sys
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.applications import UniversalResNet26
from keras_univrep.backbones import AdaptedBackbone
from keras_univrep.conversion import export
from keras_univrep.models import MultiDomainModel

CLASSES = {"photo": 5, "line-art": 7}
STATISTICS = {
    "photo": ([0.5, 0.4, 0.3], [0.2, 0.3, 0.4]),
    "line-art": ([0.1, 0.2, 0.3], [0.5, 0.6, 0.7]),
}
# Signatures, largest errors of the outputs by signature, and what the process has loaded.
READER = """
import json, sys
import numpy as np
path, kind, folder = sys.argv[1:]
images, expected = np.load(folder + "/images.npy"), np.load(folder + "/expected.npz")
if kind == "onnx":
    import onnxruntime
    session = onnxruntime.InferenceSession(path)
    names = [output.name for output in session.get_outputs()]
    (entry,) = [argument.name for argument in session.get_inputs()]
    answers = {"serving_default": dict(zip(names, session.run(names, {entry: images})))}
else:
    import tensorflow as tf
    if kind == "litert":
        interpreter = tf.lite.Interpreter(path)
        runners = {name: interpreter.get_signature_runner(name)
                   for name in interpreter.get_signature_list()}
    else:
        loaded = tf.saved_model.load(path)
        runners = {name: loaded.signatures[name] for name in loaded.signatures}
        images = tf.constant(images)
    answers = {name: {k: np.asarray(v) for k, v in run(images=images).items()}
               for name, run in runners.items()}
errors = {}
for key in expected.files:
    name, output = key.split("/")
    difference = np.abs(answers[name][output] - expected[key])
    difference /= max(1.0, np.abs(expected[key]).max(initial=0.0))
    errors[key] = float(difference.max()) if difference.size else None
outputs = {name: sorted(answer) for name, answer in answers.items()}
print(json.dumps({"outputs": outputs, "errors": errors,
                  "library": "keras_univrep" in sys.modules}))
"""


def network(adapted: bool, width: int = 1, classes: dict[str, int] = CLASSES) -> MultiDomainModel:
    """A network whose outputs depend on every weight of it."""
    keras.utils.set_random_seed(0)
    images = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(8 * width, 3, strides=2, padding="same", use_bias=False)(images)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    x = keras.layers.Conv2D(16 * width, 3, padding="same", use_bias=False)(x)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.BatchNormalization()(x))
    trunk = keras.Model(images, x)
    model = MultiDomainModel(AdaptedBackbone(trunk, list(classes)) if adapted else trunk, classes)
    rng = np.random.default_rng(1)
    for variable in model.variables:
        value = ops.convert_to_numpy(variable)
        variable.assign(value + 0.2 * rng.uniform(size=variable.shape))
    return model


def expected(model: MultiDomainModel, images: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What each signature must answer, by "signature/output"."""
    answers = {}
    for name, own in images.items():
        features = model.features(own, domain=name, training=False)
        logits = ops.convert_to_numpy(model.classify(features, name))
        answers[f"{name}/features"] = ops.convert_to_numpy(features)
        answers[f"{name}/logits"] = answers[f"serving_default/{name}"] = logits
    return answers


def read(path: pathlib.Path, kind: str, images: np.ndarray, answers: dict[str, Any]) -> dict:
    folder = path.parent
    np.save(folder / "images.npy", images)
    np.savez(folder / "expected.npz", **answers)
    process = subprocess.run(
        [sys.executable, "-c", READER, str(path), kind, str(folder)],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr[-2000:]
    found = json.loads(process.stdout.splitlines()[-1])
    assert not found["library"]
    assert all(error < 1e-4 for error in found["errors"].values()), found["errors"]
    return found["outputs"]


def bytes_of(path: pathlib.Path) -> int:
    """Of a file, or of all in a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def test_all_domains_are_served_from_one_file_that_holds_the_trunk_once(tmp_path) -> None:
    model = network(adapted=True, width=6)
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype("uint8")
    path = export(model, tmp_path / "served", preprocess=STATISTICS)
    normalized = {
        name: ((images / 255.0 - np.array(mean)) / np.array(std)).astype("float32")
        for name, (mean, std) in STATISTICS.items()
    }
    outputs = read(path, "tf_saved_model", images, expected(model, normalized))
    both = ["features", "logits"]
    assert outputs == {"photo": both, "line-art": both, "serving_default": sorted(CLASSES)}
    # Beside the weights there is the graph, of any size of a network; the trunk has 170,000 bytes.
    assert bytes_of(path) < 4 * model.count_params() + 50_000


@pytest.mark.slow
@pytest.mark.parametrize("kind, name", [("onnx", "served.onnx"), ("litert", "served.tflite")])
@pytest.mark.parametrize("adapted", [False, True])
def test_other_formats_answer_the_same_and_hold_the_trunk_once(
    adapted, kind, name, tmp_path
) -> None:
    pytest.importorskip("onnxruntime")
    model = network(adapted, width=6)
    images = np.random.default_rng(0).normal(size=(3, 32, 32, 3)).astype("float32")
    path = export(model, tmp_path / name, kind, image_size=(32, 32))
    answers = expected(model, dict.fromkeys(CLASSES, images))
    if kind == "onnx":
        answers = {key: value for key, value in answers.items() if key.startswith("serving")}
    outputs = read(path, kind, images, answers)
    assert outputs["serving_default"] == sorted(CLASSES)
    assert kind == "onnx" or adapted or outputs["features"] == ["features"]
    assert bytes_of(path) < 4 * model.count_params() + {"onnx": 40_000, "litert": 15_000}[kind]


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind, name, share",
    [("tf_saved_model", "a", 1.03), ("onnx", "a.onnx", 1.01), ("litert", "a.tflite", 1.00)],
)
def test_a_file_of_all_domains_is_as_large_as_trunk_and_adapters(
    kind, name, share, tmp_path
) -> None:
    pytest.importorskip("tf2onnx")
    classes = {f"domain{number}": 100 for number in range(8)}
    model = UniversalResNet26(None, classes, adapter="parallel", frozen_trunk=True)
    path = export(model, tmp_path / name, kind, image_size=(64, 64))
    # What benchmarks/README.md says, to as many digits.
    assert round(bytes_of(path) / (4 * model.count_params()), 2) <= share


@pytest.mark.slow
@pytest.mark.parametrize("kind, name", [("onnx", "a.onnx"), ("tf_saved_model", "a")])
@pytest.mark.parametrize("adapted", [False, True])
def test_domains_may_have_the_names_of_inputs_outputs_and_weights(
    adapted, kind, name, tmp_path
) -> None:
    pytest.importorskip("onnxruntime")
    names = ["images", "features", "weight0", "logits"]
    model = network(adapted, classes=dict.fromkeys(names, 3))
    images = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype("float32")
    answers = expected(model, dict.fromkeys(names, images))
    if kind == "onnx":
        answers = {key: value for key, value in answers.items() if key.startswith("serving")}
    outputs = read(export(model, tmp_path / name, kind), kind, images, answers)
    assert outputs.pop("serving_default") == sorted(names)
    if kind != "onnx":
        assert outputs == dict.fromkeys(names, ["features", "logits"])


def test_the_functions_of_a_saved_model_are_written_once_and_short(tmp_path) -> None:
    pytest.importorskip("tensorflow")
    path = export(network(adapted=True), tmp_path / "served")
    code = (
        "import sys\n"
        "from tensorflow.core.protobuf import saved_model_pb2\n"
        "saved = saved_model_pb2.SavedModel.FromString(open(sys.argv[1], 'rb').read())\n"
        "graph = saved.meta_graphs[0].graph_def\n"
        "nodes = [n for f in graph.library.function for n in f.node_def]\n"
        "print(sum(n.op == 'Conv2D' for n in nodes), max(len(n.name) for n in nodes),\n"
        "      sum('_output_shapes' in n.attr or '_gradient_op_type' in n.attr for n in nodes),\n"
        "      sum(n.op in ('SaveV2', 'ReadVariableOp') for n in graph.node),\n"
        "      sum(n.op == 'SaveV2' for n in nodes),\n"
        "      max(len(n.name) for n in graph.node if n.op == 'VarHandleOp'))\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, path / "saved_model.pb"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    convolutions, longest, *spare, variable = map(int, found.stdout.split())
    # Two layers of each of two domains; the signature of all calls those of each.
    assert (convolutions, *spare) == (4, 0, 0, 0) and longest < 8 and variable < 16


LOADERS = """
import sys
import numpy as np
import tensorflow as tf
path, folder = sys.argv[1:]
images = np.load(folder + "/images.npy")

def answer(folder):
    return tf.saved_model.load(folder).signatures["photo"](images=tf.constant(images))["logits"]

first = answer(path)
loaded = tf.saved_model.load(path)
tf.saved_model.save(loaded, folder + "/again", signatures=dict(loaded.signatures))
np.testing.assert_array_equal(answer(folder + "/again"), first)
with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    meta = tf.compat.v1.saved_model.load(session, ["serve"], path)
    signature = meta.signature_def["photo"]
    names = signature.outputs["logits"].name, signature.inputs["images"].name
    np.testing.assert_allclose(session.run(names[0], {names[1]: images}), first, rtol=1e-5)
"""


@pytest.mark.slow
def test_a_saved_model_is_read_by_sessions_and_saved_again(tmp_path) -> None:
    pytest.importorskip("tensorflow")
    path = export(network(adapted=True), tmp_path / "served")
    np.save(tmp_path / "images.npy", np.ones((2, 16, 16, 3), "float32"))
    process = subprocess.run(
        [sys.executable, "-c", LOADERS, str(path), str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr[-2000:]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's own objects")
def test_what_tables_and_constants_need_is_kept(tmp_path) -> None:
    import tensorflow as tf

    from keras_univrep.conversion._slim import slim

    module = tf.Module()
    module.scale = tf.Variable([2.0, 3.0], name="a/long/name/of/a/variable")
    held = tf.constant([1.0, 10.0])
    values = tf.lookup.KeyValueTensorInitializer(tf.constant([0, 1]), tf.constant(["a", "b"]))
    module.table = tf.lookup.StaticHashTable(values, "?")

    @tf.function(input_signature=[tf.TensorSpec((2,), name="x")])
    def answer(x: tf.Tensor) -> dict[str, tf.Tensor]:
        found = x * module.scale + held
        return {"value": found, "name": module.table.lookup(tf.argmax(found, 0, tf.int32))}

    module.answer = answer
    tf.saved_model.save(module, str(tmp_path), signatures={"answer": answer})
    slim(tmp_path)
    found = tf.saved_model.load(str(tmp_path)).signatures["answer"](x=tf.constant([1.0, 2.0]))
    np.testing.assert_array_equal(found["value"], [3.0, 16.0])
    assert found["name"].numpy() == b"b"
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], str(tmp_path))
        name = meta.signature_def["answer"].outputs["name"].name
        x = meta.signature_def["answer"].inputs["x"].name
        assert session.run(name, {x: [1.0, 2.0]}) == b"b"


@pytest.mark.slow
def test_fused_parts_and_chosen_domains_answer_the_same(tmp_path) -> None:
    model = network(adapted=True)
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    path = export(model, tmp_path / "served", domains=["line-art"], fused=True)
    outputs = read(path, "tf_saved_model", images, expected(model, {"line-art": images}))
    assert sorted(outputs) == ["line-art", "serving_default"]


@pytest.mark.slow
def test_a_functional_model_is_served_by_the_names_of_its_outputs(tmp_path) -> None:
    keras.utils.set_random_seed(0)
    images = keras.Input((None, None, 3))
    maps = keras.layers.Conv2D(4, 3, padding="same")(images)
    model = keras.Model(images, {"depth": maps[..., :1], "normals": maps[..., 1:]})
    x = np.random.default_rng(0).normal(size=(2, 8, 12, 3)).astype("float32")
    path = export(model, tmp_path / "served")
    answers = {f"serving_default/{k}": ops.convert_to_numpy(v) for k, v in model(x).items()}
    assert read(path, "tf_saved_model", x, answers) == {"serving_default": ["depth", "normals"]}


def test_bad_requests_are_refused_and_leave_nothing(tmp_path) -> None:
    model = network(adapted=False)
    for arguments, message in [
        ({"format": "caffe"}, "must be one of tf_saved_model, onnx, litert"),
        ({"format": "onnx"}, "must end with '.onnx'"),
        ({"path": tmp_path / "a.tflite", "format": "litert"}, "image_size=None"),
        ({"domains": ["clip-art"]}, "clip-art"),
        ({"preprocess": {"photo": STATISTICS["photo"]}}, "none of line-art"),
    ]:
        with pytest.raises(ValueError, match=message):
            export(model, **{"path": tmp_path / "served", **arguments})
    with pytest.raises(ValueError, match=r"rename_domain\('serving_default', name\)"):
        named = network(adapted=False, classes={"serving_default": 2, "photo": 3})
        export(named, tmp_path / "served")
    images = keras.Input((8, 8, 3))
    with pytest.raises(ValueError, match="are for a MultiDomainModel"):
        export(keras.Model(images, images[:, 0]), tmp_path / "served", fused=True)
    with pytest.raises(ValueError, match="functional model of one batch"):
        export(keras.Sequential(), tmp_path / "served")
    assert not list(tmp_path.iterdir())
    (tmp_path / "served").mkdir()
    with pytest.raises(FileExistsError, match="overwrite=True"):
        export(model, tmp_path / "served")


@keras.saving.register_keras_serializable(package="test_export")
class Doubled(keras.layers.Layer):
    """A class that only this module registers."""

    def call(self, x: Any) -> Any:
        return 2.0 * x


@pytest.mark.skipif(
    keras.backend.backend() == "tensorflow", reason="TensorFlow needs no process of its own"
)
@pytest.mark.slow
def test_classes_of_ones_own_are_found_through_their_module(tmp_path) -> None:
    images = keras.Input((8, 8, 3))
    model = keras.Model(images, Doubled()(images))
    with pytest.raises(RuntimeError, match="`modules`"):
        export(model, tmp_path / "served")
    assert not list(tmp_path.iterdir())
    export(model, tmp_path / "served", modules=[__name__])
    x = np.ones((1, 8, 8, 3), "float32")
    read(tmp_path / "served", "tf_saved_model", x, {"serving_default/outputs": 2.0 * x})
