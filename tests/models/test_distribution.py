"""Training on two devices of one machine gives what one device gives."""

import os
import subprocess
import sys

import keras
import pytest

JAX = """
import sys
import keras, numpy as np
from tests.models import toys

MAKE = {
    "network": lambda: toys.network(1),
    "distiller": lambda: toys.distiller(1),
}

def trained(name):
    model = MAKE[name]()
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9))
    # Batches of 8 a domain: 4 a device.
    model.fit(toys.Stream(3), epochs=1, shuffle=False, verbose=0)
    return model, model.evaluate(toys.Stream(1, 7), verbose=0, return_dict=True)["loss"]

name = sys.argv[1]
one, loss_of_one = trained(name)
devices = keras.distribution.list_devices("cpu")
assert len(devices) == 2, devices
keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
two, loss_of_two = trained(name)
kernel = next(w for w in two.trainable_weights if len(w.shape) > 1)
assert len(kernel.value.sharding.device_set) == 2
toys.assert_equal_weights(one, two, rtol=2e-4, atol=2e-5)
np.testing.assert_allclose(loss_of_one, loss_of_two, rtol=1e-4)
print("equal")
"""

TENSORFLOW = """
import sys
import keras, numpy as np, tensorflow as tf
from keras_univrep.models import MultiDomainModel, UniversalDistiller
from tests.models import toys

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)

def backbone():
    images = x = keras.Input((None, None, 3))
    for number in range(2):
        x = keras.layers.Conv2D(8, 3, strides=2, activation="relu", name=f"conv{number}")(x)
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(x), name="backbone")

def batches(count):
    # Every replica gets the first or the second half of each domain.
    parts = [toys.batch(i) for i in range(count)]
    return tf.data.Dataset.from_generator(
        lambda: iter(parts),
        output_signature=(
            {name: tf.TensorSpec((8, 16, 16, 3)) for name in toys.CLASSES},
            {name: tf.TensorSpec((8,), "int64") for name in toys.CLASSES},
        ),
    ).repeat()

def network(seed, classes):
    return toys.draw_weights(MultiDomainModel(backbone(), classes), seed)

def distiller():
    teachers = {name: network(7, {name: count}) for name, count in toys.CLASSES.items()}
    model = UniversalDistiller(network(1, toys.CLASSES), teachers, "normalized_l2")
    for number, adapter in enumerate(model.alignment_adapters):
        toys.draw_weights(adapter, 200 + number)
    return model

def trained():
    model = distiller() if sys.argv[1] == "distiller" else network(1, toys.CLASSES)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9))
    history = model.fit(batches(3), steps_per_epoch=3, verbose=0).history
    return model, history

one, alone = trained()
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    two, both = trained()
assert strategy.num_replicas_in_sync == 2
toys.assert_equal_weights(one, two, rtol=1e-4, atol=1e-5)
np.testing.assert_allclose(alone["loss"], both["loss"], rtol=1e-4)
print("equal")
"""


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


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="keras.distribution is JAX's")
@pytest.mark.parametrize("name", ["network", "distiller"])
def test_data_parallel_on_two_devices_is_training_on_one(name: str) -> None:
    """Batch normalisation and CKA included: both see the whole batch."""
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
    run(JAX, name, XLA_FLAGS=flags)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.distribute")
@pytest.mark.parametrize("name", ["network", "distiller"])
def test_two_replicas_are_training_on_one_device(name: str) -> None:
    """For what is a mean over images: of statistics of a batch each replica has its own.

    So it is neither for batch normalisation nor for CKA; and the logged terms of a distiller, not
    its loss, are divided by the replicas.
    """
    run(TENSORFLOW, name)
