"""Models with a training step of their own, for one device or several, and batches for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_univrep import models
from keras_univrep.backbones import MLP, OmniNet
from keras_univrep.layers import AttentionModulator, BatchNormalization
from tests import harness
from tests.models import episodes, expansions, meta_tasks, toys

CLASSES, WAY, COUNT = 5, 3, 4
L2 = keras.regularizers.L2(0.1)


def tasks(seed: int) -> tuple[Any]:
    return (meta_tasks.tasks(COUNT, seed=seed),)


def tasks_of_which_one_diverges(seed: int) -> tuple[Any]:
    """In the second step, and in the last task: of two devices the second one's."""
    found = meta_tasks.tasks(COUNT, seed=seed)
    if seed == 1:
        found["support"][0][-1] = np.inf
    return (found,)


def high_level_tasks(seed: int) -> tuple[Any]:
    bend, sign = tasks(seed)[0], meta_tasks.tasks(COUNT, 5, 4, seed=50 + seed)
    sign = {part: (x, (y > 0).astype("float32")) for part, (x, y) in sign.items()}
    return ({"bend": bend, "sign": sign},)


def some_episodes(seed: int) -> tuple[Any]:
    return (episodes.stack(*(episodes.episode(10 * seed + i) for i in range(COUNT))),)


def omni_item(seed: int) -> tuple[Any]:
    rng = np.random.default_rng(seed)
    batch = rng.normal(size=(COUNT, 3)).astype("float32"), rng.integers(0, CLASSES, COUNT)
    return ({"batch": batch, "episode": some_episodes(seed)[0]},)


def omni_tasks(seed: int) -> tuple[Any]:
    rng = np.random.default_rng(seed)
    item = omni_item(seed)[0]
    item["episode"] = {
        part: (
            rng.normal(size=(COUNT, 6, 3)).astype("float32"),
            rng.integers(0, CLASSES, (COUNT, 6)),
        )
        for part in ("support", "query")
    }
    return (item,)


def halves(seed: int) -> tuple[Any, Any]:
    """Images of the sources whose halves are equal, so that they have the same moments."""
    return keras.tree.map_structure(lambda x: np.concatenate([x, x]), expansions.batch(seed, 2))


def dense_maps(seed: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    y = {task: rng.normal(size=(COUNT, 4, 4, 1)).astype("float32") for task in ("depth", "edges")}
    return rng.normal(size=(COUNT, 4, 4, 3)).astype("float32"), y


def penalised(model: keras.Model) -> keras.Model:
    """The model with a penalty of its kernels."""
    for layer in model._flatten_layers():
        if isinstance(layer, (keras.layers.Dense, keras.layers.Conv2D)):
            layer.kernel_regularizer = L2
    return model


def sgd() -> keras.optimizers.Optimizer:
    return keras.optimizers.SGD(0.1, momentum=0.9)


def maml(**kwargs: Any) -> keras.Model:
    network = penalised(meta_tasks.network(meta_tasks.weights()))
    model = models.MAML(network, steps=2, learning_rate=0.3, learn_rates="variable", **kwargs)
    model.compile(sgd(), "mse")
    return model


def anil() -> keras.Model:
    body, head = meta_tasks.parts(meta_tasks.weights())
    model = models.ANIL(penalised(body), head, steps=2, learning_rate=0.1)
    # An inner loss that sums must not be divided where the outer one is.
    model.compile(sgd(), "mse", inner_loss=keras.losses.MeanSquaredError(reduction="sum"))
    return model


def reptile() -> keras.Model:
    model = models.Reptile(meta_tasks.network(meta_tasks.weights()), 3, 0.3, inner_batch_size=2)
    model.compile(sgd(), "mse")
    return model


def multi_task() -> keras.Model:
    keras.utils.set_random_seed(1)
    inputs = keras.Input((2,))
    x = BatchNormalization(name="norm")(keras.layers.Dense(4, name="dense")(inputs))
    backbone = penalised(keras.Model(inputs, keras.layers.Activation("tanh")(x)))
    heads = {
        task: keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)], name=f"{task}_head")
        for task in ("bend", "sign")
    }
    modulator = AttentionModulator(4, units=3, labels="vector", label_size=1)
    modulator.build((None, None, 4))
    harness.randomize(modulator, 3)
    model = models.MultiTaskMetaLearner(
        backbone, heads, {"bend": modulator}, steps=2, learning_rate=0.3
    )
    loss = {"bend": "mse", "sign": keras.losses.BinaryCrossentropy(from_logits=True)}
    model.compile(sgd(), loss, balancer="uncertainty")
    return model


def prototypical() -> keras.Model:
    weight = np.random.default_rng(0).normal(size=(3, 4))
    model = models.PrototypicalNetwork(penalised(episodes.linear_backbone(weight)), WAY)
    model.compile(sgd())
    return model


def relation() -> keras.Model:
    weight = np.random.default_rng(0).normal(size=(3, 4))
    keras.utils.set_random_seed(0)
    model = models.RelationNetwork(
        penalised(episodes.linear_backbone(weight)), WAY, hidden=4, objective="squared_error"
    )
    model.compile(sgd())
    return model


def omni(meta: str) -> keras.Model:
    keras.utils.set_random_seed(0)
    network = OmniNet(penalised(MLP(3, (4,), "linear")), branch_initializer="glorot_uniform")
    head = keras.layers.Dense(CLASSES, name="head")
    options = {"way": WAY} if meta == "prototypical" else {"steps": 1}
    model = models.OmniTraining(network, head, meta, options, decay=0.5)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.02), loss)
    return model


def expansion() -> keras.Model:
    """Both phases, the first with the hints of a teacher."""
    teachers = {"classes": {"birds": expansions.backbone(9)}}
    model = penalised(expansions.expansion(tau=1, teachers=teachers))
    model.compile(sgd(), expansions.losses())
    return model


def squeeze() -> keras.Model:
    model = models.XLearnerSqueeze(
        expansions.expansion(tau=0), penalised(expansions.backbone(40)), reduction="relative"
    )
    for number, layer in enumerate(model.guidance_layers):
        toys.draw_weights(layer, 150 + number)
    model.compile(sgd())
    return model


def dense_distiller() -> keras.Model:
    def network(names: tuple[str, ...], seed: int) -> keras.Model:
        images = keras.Input((4, 4, 3))
        features = keras.layers.Conv2D(4, 3, padding="same", name="features")(images)
        heads = {name: keras.layers.Conv2D(1, 1, name=f"{name}_head")(features) for name in names}
        return toys.draw_weights(keras.Model(images, heads), seed)

    student = models.DenseDistiller(
        penalised(network(("depth", "edges"), 1)),
        {"depth": network(("depth",), 2), "edges": network(("edges",), 3)},
        student_layers=["features"],
        prediction_loss={"edges": "normalized_l2"},
    )
    for number, adapter in enumerate(student.alignment_adapters):
        toys.draw_weights(adapter, 200 + number)
    model = models.MultiTaskModel(student)
    # A function of the whole batch, which Keras divides by no replicas.
    loss = {"depth": lambda y, found: keras.ops.mean(abs(y - found)), "edges": "mse"}
    model.compile(sgd(), loss)
    return model


MAKE: dict[str, tuple[Callable[[], keras.Model], Callable[[int], tuple]]] = {
    "anil": (anil, tasks_of_which_one_diverges),
    "prototypical": (prototypical, some_episodes),
    "maml": (maml, tasks),
    "reptile": (reptile, tasks),
    "multi_task": (multi_task, high_level_tasks),
    "relation": (relation, some_episodes),
    "omni": (lambda: omni("prototypical"), omni_item),
    "omni_maml": (lambda: omni("maml"), omni_tasks),
    "expansion": (expansion, halves),
    "squeeze": (squeeze, lambda seed: halves(seed)[:1]),
    "dense_distiller": (dense_distiller, dense_maps),
}


class Stream(keras.utils.PyDataset):
    """A few batches of a model, always in one order."""

    def __init__(self, name: str, length: int, first: int = 0) -> None:
        super().__init__()
        self.make, self.length, self.first = MAKE[name][1], length, first

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple:
        return self.make(self.first + index)


def stream(name: str, length: int, first: int = 0) -> Any:
    """The batches, in the form that the backend divides."""
    found = Stream(name, length, first)
    if keras.backend.backend() != "tensorflow":
        return found
    import tensorflow as tf

    items = [found[i] for i in range(length)]
    spec = tf.nest.map_structure(lambda v: tf.TensorSpec(v.shape, v.dtype), items[0])
    return tf.data.Dataset.from_generator(lambda: iter(items), output_signature=spec).repeat()


def trained(name: str) -> tuple[keras.Model, dict[str, float], dict[str, float]]:
    """The model after three steps, what they logged, and what an evaluation then says."""
    model = MAKE[name][0]()
    history = model.fit(stream(name, 3), steps_per_epoch=3, verbose=0, shuffle=False).history
    logs = model.evaluate(stream(name, 1, 7), steps=1, verbose=0, return_dict=True)
    return model, {key: values[-1] for key, values in history.items()}, logs


def assert_equal(first: tuple, second: tuple) -> None:
    """Compares what `trained` returned."""
    toys.assert_equal_weights(first[0], second[0], rtol=2e-4, atol=2e-5)
    for one, other in zip(first[1:], second[1:], strict=True):
        assert one.keys() == other.keys()
        for key, value in one.items():
            np.testing.assert_allclose(value, other[key], rtol=2e-4, atol=1e-5, err_msg=key)
