"""Training on two devices of one machine gives what one device gives."""

import os
import pathlib
import re
import subprocess
import sys

import keras
import pytest

from tests.models import learners

JAX = """
import sys
import keras, numpy as np
from keras_univrep.balancers import PCGrad
from keras_univrep.models import MultiTaskModel
from tests.models import toys

def tasks():
    images = keras.Input((16, 16, 3))
    features = keras.layers.Identity(name="trunk")(toys.conv_backbone(8)(images))
    heads = {name: keras.layers.Dense(3, name=name)(features) for name in ("a", "b")}
    return toys.draw_weights(keras.Model(images, heads), 1)

class Tasks(toys.Stream):
    def __getitem__(self, index):
        (x, _), rng = super().__getitem__(index), np.random.default_rng(index)
        y = {name: rng.normal(size=(8, 3)).astype("float32") for name in ("a", "b")}
        return x["photo"], y

MAKE = {
    "network": lambda: toys.network(1),
    "distiller": lambda: toys.distiller(1),
    # Its step is not Keras's: two backward passes, whose conflict is taken out.
    "tasks": lambda: MultiTaskModel(tasks(), shared="trunk"),
}

def trained(name):
    model, data = MAKE[name](), Tasks if name == "tasks" else toys.Stream
    own = {"loss": "mse", "balancer": PCGrad(order="fixed")} if name == "tasks" else {}
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), **own)
    # Batches of 8 a domain: 4 a device.
    model.fit(data(3), epochs=1, shuffle=False, verbose=0)
    return model, model.evaluate(data(1, 7), verbose=0, return_dict=True)["loss"]

name, kind = sys.argv[1:]
one, loss_of_one = trained(name)
devices = keras.distribution.list_devices("cpu")
assert len(devices) == 2, devices
if kind == "data":
    distribution = keras.distribution.DataParallel(devices=devices)
else:
    layout = keras.distribution.LayoutMap(
        keras.distribution.DeviceMesh((1, 2), ("batch", "model"), devices)
    )
    layout["conv.*/kernel"] = (None, None, None, "model")
    layout["norm.*/(gamma|beta|moving_mean|moving_variance)"] = ("model",)
    distribution = keras.distribution.ModelParallel(layout_map=layout, batch_dim_name="batch")
keras.distribution.set_distribution(distribution)
two, loss_of_two = trained(name)
kernel = next(w for w in two.trainable_weights if w.path.endswith("conv1/kernel"))
assert len(kernel.value.sharding.device_set) == 2
# Filters are divided; batches are, where every device holds all weights.
share = kernel.value.addressable_shards[0].data.shape[-1] / kernel.shape[-1]
assert share == (1.0 if kind == "data" else 0.5), share
toys.assert_equal_weights(one, two, rtol=2e-4, atol=2e-5)
np.testing.assert_allclose(loss_of_one, loss_of_two, rtol=1e-4)
print("equal")
"""

TENSORFLOW = """
import sys
import keras, numpy as np, tensorflow as tf
from keras_univrep.models import MultiDomainModel, MultiTaskModel, UniversalDistiller
from tests.models import toys

NAME = sys.argv[1]
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)

def backbone():
    images = x = keras.Input((None, None, 3))
    for number in range(2):
        x = keras.layers.Conv2D(8, 3, strides=2, activation="relu", name=f"conv{number}")(x)
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(x), name="backbone")

def tasks_batch(number):
    rng = np.random.default_rng(number)
    y = {name: rng.normal(size=(8, 3)).astype("float32") for name in ("a", "b")}
    return toys.images(number), y

def batches(count):
    # Every replica gets the first or the second half of each domain.
    parts = [(tasks_batch if NAME == "tasks" else toys.batch)(i) for i in range(count)]
    spec = tf.nest.map_structure(lambda v: tf.TensorSpec(v.shape, v.dtype), parts[0])
    return tf.data.Dataset.from_generator(lambda: iter(parts), output_signature=spec).repeat()

def network(seed, classes):
    return toys.draw_weights(MultiDomainModel(backbone(), classes), seed)

def distiller():
    teachers = {name: network(7, {name: count}) for name, count in toys.CLASSES.items()}
    model = UniversalDistiller(network(1, toys.CLASSES), teachers, "normalized_l2")
    for number, adapter in enumerate(model.alignment_adapters):
        toys.draw_weights(adapter, 200 + number)
    return model

def tasks():
    images = keras.Input((16, 16, 3))
    features = keras.layers.Identity(name="trunk")(backbone()(images))
    # A penalty is divided by the replicas, as it is not added up over them.
    heads = {
        name: keras.layers.Dense(3, kernel_regularizer="l2", name=name)(features)
        for name in ("a", "b")
    }
    return MultiTaskModel(toys.draw_weights(keras.Model(images, heads), 1), shared="trunk")

def trained():
    model = {"distiller": distiller, "tasks": tasks}.get(
        NAME, lambda: network(1, toys.CLASSES)
    )()
    own = {"loss": "mse"} if NAME == "tasks" else {}
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), **own)
    history = model.fit(batches(3), steps_per_epoch=3, verbose=0).history
    return model, history

one, alone = trained()
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    two, both = trained()
assert strategy.num_replicas_in_sync == 2
toys.assert_equal_weights(one, two, rtol=1e-4, atol=1e-5)
assert alone.keys() == both.keys()
for name in alone:
    np.testing.assert_allclose(alone[name], both[name], rtol=1e-4, err_msg=name)
print("equal")
"""

LEARNERS_JAX = """
import sys
import keras
from tests.models import learners

one = {name: learners.trained(name) for name in sys.argv[1:]}
devices = keras.distribution.list_devices("cpu")
keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
for name, alone in one.items():
    both = learners.trained(name)
    assert len(both[0].trainable_weights[0].value.sharding.device_set) == 2
    learners.assert_equal(alone, both)
print("equal")
"""

LEARNERS_TENSORFLOW = """
import sys
import pytest, tensorflow as tf
from tests.models import learners

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
for name in sys.argv[1:]:
    alone = learners.trained(name)
    with strategy.scope():
        both = learners.trained(name)
    learners.assert_equal(alone, both)

with strategy.scope():
    model = learners.prototypical()
(episodes,) = learners.some_episodes(0)
one = {key: tf.constant(values[0]) for key, values in episodes.items()}
with pytest.raises(ValueError, match="must have an axis of episodes"):
    strategy.run(model, (one,))
with strategy.scope():
    assert model(one).shape == (4, 3)
print("equal")
"""

QUICK = ("anil",)
OTHERS = tuple(name for name in learners.MAKE if name not in QUICK)


def run(code: str, *arguments: str, **environment: str) -> None:
    process = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    assert process.stdout.splitlines()[-1] == "equal"


def slow(name: str) -> object:
    """A name whose test takes long."""
    return pytest.param(name, marks=pytest.mark.slow)


on_jax = pytest.mark.skipif(keras.backend.backend() != "jax", reason="keras.distribution is JAX's")
on_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="tf.distribute is TensorFlow's"
)
TWO_DEVICES = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"


@on_jax
@pytest.mark.parametrize("name", ["network", slow("distiller"), slow("tasks")])
def test_data_parallel_on_two_devices_is_training_on_one(name: str) -> None:
    """Batch normalisation and CKA included: both see the whole batch."""
    run(JAX, name, "data", XLA_FLAGS=TWO_DEVICES)


@on_jax
@pytest.mark.parametrize("name", [slow("network"), "tasks"])
def test_a_trunk_divided_over_two_devices_is_training_on_one(name: str) -> None:
    run(JAX, name, "model", XLA_FLAGS=TWO_DEVICES)


@on_jax
@pytest.mark.slow
def test_what_the_guide_says_runs_on_two_devices(tmp_path: pathlib.Path) -> None:
    text = (pathlib.Path(__file__).parents[2] / "docs" / "guides" / "scale.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    blocks = [block for block in blocks if "set_distribution" in block]
    assert len(blocks) == 2
    # Each ends with the distribution taken back; before that, two devices must hold the weights.
    check = "assert len(model.weights[0].value.sharding.device_set) == 2\n"
    last = "keras.distribution.set_distribution(None)"
    code = "\n".join(block.replace(last, check + last) for block in blocks)
    (tmp_path / "guide.py").write_text(code + '\nprint("equal")\n')
    run("import runpy, sys; runpy.run_path(sys.argv[1])", str(tmp_path / "guide.py"),
        XLA_FLAGS=TWO_DEVICES)  # fmt: skip


@on_tensorflow
@pytest.mark.parametrize("name", ["network", slow("distiller"), slow("tasks")])
def test_two_replicas_are_training_on_one_device(name: str) -> None:
    """For what is a mean over images: of statistics of a batch each replica has its own.

    So it is neither for batch normalisation nor for CKA.
    """
    run(TENSORFLOW, name)


@on_jax
@pytest.mark.parametrize("names", [QUICK, pytest.param(OTHERS, marks=pytest.mark.slow)])
def test_steps_of_their_own_take_two_devices_for_one(names: tuple[str, ...]) -> None:
    run(LEARNERS_JAX, *names, XLA_FLAGS=TWO_DEVICES)


@on_tensorflow
@pytest.mark.parametrize("names", [QUICK, pytest.param(OTHERS, marks=pytest.mark.slow)])
def test_steps_of_their_own_add_up_over_two_replicas(names: tuple[str, ...]) -> None:
    """A step that one replica must leave out is left out by both; and one episode is not divided.

    Halves of a batch are equal where a normalisation uses their statistics.
    """
    run(LEARNERS_TENSORFLOW, *names)
