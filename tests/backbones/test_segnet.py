"""`SegNet`: the sizes of the papers, the numbers of their released code, a step of training."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.backbones import SegNet
from keras_univrep.models import MultiTaskModel
from tests.backbones.segnet_oracle import randomize
from tests.golden_network import golden_kernel
from tests.harness import check_config

RNG = np.random.default_rng(0)
TASKS = {"segmentation": 13, "depth": 1, "normals": 3}
SMALL = {"tasks": TASKS, "width": 0.0625}


def trainable(layer: keras.layers.Layer) -> int:
    return sum(int(np.prod(variable.shape)) for variable in layer.trainable_variables)


def images() -> np.ndarray:
    return RNG.uniform(size=(2, 32, 32, 3)).astype("float32")


class InBothModes(keras.Model):
    """Bottleneck, last map and output of a network at inference and in training, compiled."""

    def __init__(self, network: keras.Model) -> None:
        super().__init__()
        outputs = [network.get_layer(name).output for name in ("bottleneck", "features")]
        self.network = keras.Model(network.input, [*outputs, network.output["segmentation"]])

    def call(self, x):
        return [*self.network(x, training=False), *self.network(x, training=True)]


@pytest.fixture(scope="module")
def full() -> SegNet:
    return SegNet(TASKS)


def test_has_the_size_of_the_released_network(full: SegNet) -> None:
    heads = {task: trainable(full.get_layer(f"{task}_head")) for task in TASKS}
    assert heads["segmentation"] == 37_773
    assert trainable(full) == 25_055_185
    core = trainable(full) - sum(heads.values())
    assert core == 24_943_296
    single = {task: core + size for task, size in heads.items()}
    assert single == {"segmentation": 24_981_069, "depth": 24_980_289, "normals": 24_980_419}


def test_gives_the_numbers_of_the_released_network(full: SegNet) -> None:
    for variable in full.trainable_variables:
        if variable.path.endswith("kernel"):
            size, _, channels, filters = variable.shape
            variable.assign(golden_kernel(size, channels, filters))
    image, row, column, channel = np.ogrid[:2, :64, :96, :3]
    x = np.sin(0.1 * row + 0.2 * column * (image + 1) + channel).astype("float32")
    outputs = [y.astype("float64") for y in InBothModes(full).predict(x, verbose=0)]
    # Mean and (unbiased) deviation of bottleneck and last map.
    moments = [number for y in outputs for number in (y.mean(), y.std(ddof=1))]
    np.testing.assert_allclose(moments[:4], [0.057827, 0.064048, 0.002195, 0.003461], atol=1e-6)
    np.testing.assert_allclose(moments[6:10], [1.009208, 0.697814, 0.392409, 0.586553], atol=5e-5)
    at_inference, in_training = (outputs[index][0, 32, 48, :4] for index in (2, 5))
    np.testing.assert_allclose(at_inference, [-0.017572, 0.004688, -0.024545, 0.000551], atol=1e-6)
    # The released network ran in float64; in float32 some window's near tie falls the other way.
    np.testing.assert_allclose(in_training, [0.040679, -5.118155, -2.550766, 1.380582], atol=0.038)


def test_outputs_come_in_the_order_of_the_tasks() -> None:
    tasks = {"zebra": 2, "apple": 1}
    network = SegNet(tasks, width=0.0625)
    assert list(network.output) == list(tasks)
    assert network.output["zebra"].shape == (None, None, None, 2)
    assert network.normalized == ()
    alone = SegNet(width=0.0625)
    assert alone.output.shape == (None, None, None, 4) and alone.filters == 4
    assert alone.get_layer("bottleneck").output.shape == (None, None, None, 32)


def test_one_step_moves_every_weight_and_what_is_shared_is_the_trunk() -> None:
    network = SegNet(**SMALL)
    model = MultiTaskModel(network, shared="features")
    shared = model.parts.shared_variables()
    assert sum(int(np.prod(v.shape)) for v in shared) == trainable(SegNet(width=0.0625))
    model.compile(
        keras.optimizers.SGD(0.1),
        {
            "segmentation": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            "depth": "mae",
            "normals": "mse",
        },
    )
    before = {v.path: ops.convert_to_numpy(v).copy() for v in network.trainable_variables}
    targets = {
        "segmentation": RNG.integers(0, 13, (2, 32, 32)),
        "depth": RNG.uniform(size=(2, 32, 32, 1)).astype("float32"),
        "normals": RNG.normal(size=(2, 32, 32, 3)).astype("float32"),
    }
    history = model.fit(images(), targets, batch_size=2, epochs=2, verbose=0).history
    assert np.all(np.isfinite(history["loss"])) and history["loss"][1] < history["loss"][0]
    for variable in network.trainable_variables:
        # A bias before batch normalisation has no effect, and so no gradient.
        if not variable.path.endswith("_conv/bias"):
            value = ops.convert_to_numpy(variable)
            assert not np.array_equal(before[variable.path], value), variable.path


def test_saving_keeps_every_bit(tmp_path: pathlib.Path) -> None:
    network = SegNet(**SMALL, channels=1, name="network")
    check_config(network)
    randomize(network)
    network.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded) is SegNet
    for before, after in zip(network.weights, loaded.weights, strict=True):
        assert before.path == after.path
        np.testing.assert_array_equal(
            ops.convert_to_numpy(before), ops.convert_to_numpy(after), err_msg=before.path
        )


def test_mixed_precision_reaches_every_layer() -> None:
    network = SegNet(**SMALL, dtype="mixed_bfloat16")
    assert {layer.compute_dtype for layer in network.layers[1:]} == {"bfloat16"}
    assert {variable.dtype for variable in network.trainable_variables} == {"float32"}
    dtypes = {task: output.dtype for task, output in network.output.items()}
    assert dtypes == {"segmentation": "bfloat16", "depth": "bfloat16", "normals": "float32"}
    assert SegNet.from_config(network.get_config()).dtype_policy.name == "mixed_bfloat16"


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="Received: width=0"):
        SegNet(width=0)
    with pytest.raises(ValueError, match=r"Received: normalized=\('normal',\).*'depth'"):
        SegNet(TASKS, normalized=("normal",))


def test_sides_that_cannot_be_halved_five_times_are_refused() -> None:
    network = SegNet(width=0.0625)
    for shape in ((1, 48, 32, 3), (1, 32, 33, 3)):
        with pytest.raises(ValueError, match="multiples of 32. Received: shape="):
            network(np.zeros(shape, "float32"))
