"""`MultiDomainNetwork`: one batch through the trunk, heads by domain, and what trains on it."""

from __future__ import annotations

import pathlib
import warnings

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.backbones import MultiDomainNetwork
from keras_univrep.layers import BatchNormalization
from keras_univrep.models import DenseDistiller, MultiTaskModel
from tests.backbones.dense import COMPILED

RNG = np.random.default_rng(0)
TASKS = {"room_classes": 3, "room_depth": 1, "street_classes": 2}
DOMAINS = {"room": ["room_classes", "room_depth"], "street": ["street_classes"]}
X = {
    "room": RNG.normal(size=(2, 4, 4, 3)).astype("float32"),
    "street": (RNG.normal(size=(3, 4, 4, 3)) + 1.0).astype("float32"),
}
Y = {
    task: RNG.normal(size=(len(X[task.split("_")[0]]), 4, 4, size)).astype("float32")
    for task, size in TASKS.items()
}


def network(tasks: dict[str, int] = TASKS) -> keras.Model:
    """A map of half the size, one of the whole, and a head with a normalisation for each task."""
    images = keras.Input((None, None, 3))
    small = keras.layers.Conv2D(4, 2, strides=2, name="bottleneck")(images)
    value = BatchNormalization(name="normalization")(small)
    features = keras.layers.UpSampling2D(name="features")(value)
    heads = {}
    for task, size in tasks.items():
        value = BatchNormalization(name=f"{task}_normalization")(features)
        heads[task] = keras.layers.Conv2D(size, 1, name=f"{task}_head")(value)
    return keras.Model(images, heads)


def joint(maps: tuple[str, ...] = ("bottleneck", "features")) -> MultiDomainNetwork:
    keras.utils.set_random_seed(0)
    return MultiDomainNetwork(network(), DOMAINS, maps, name="joint")


def numbers(tensor) -> np.ndarray:
    return ops.convert_to_numpy(ops.stop_gradient(tensor)).astype("float64")


def means(model: keras.Model, name: str) -> np.ndarray:
    return numbers(model.get_layer(name).moving_mean)


@pytest.mark.parametrize("maps", [(), ("bottleneck", "features")])
def test_each_domain_gets_what_the_network_gives_to_it_alone(maps: tuple[str, ...]) -> None:
    model = joint(maps)
    outputs = model(X)
    assert list(model.output) == list(TASKS) and list(model.input) == list(DOMAINS)
    for domain, tasks in DOMAINS.items():
        alone = model.of_domain(domain)
        assert list(alone.output) == tasks
        found = alone(X[domain])
        for task in tasks:
            assert outputs[task].shape == (*X[domain].shape[:3], TASKS[task])
            np.testing.assert_allclose(
                numbers(outputs[task]), numbers(found[task]), rtol=1e-5, atol=1e-6
            )


def test_trunk_normalises_the_joint_batch_and_a_head_its_own_domain() -> None:
    model = joint()
    values = model(X, training=True)
    kernel, bias = (numbers(v) for v in model.get_layer("bottleneck").weights)
    small = {
        domain: np.einsum("bhiwjc,ijco->bhwo", x.reshape(-1, 2, 2, 2, 2, 3), kernel) + bias
        for domain, x in X.items()
    }
    every = np.concatenate(list(small.values()))
    np.testing.assert_allclose(
        means(model, "normalization"), 0.1 * every.mean((0, 1, 2)), rtol=1e-4, atol=1e-6
    )
    for task in TASKS:
        domain = task.split("_")[0]
        x = (small[domain] - every.mean((0, 1, 2))) / np.sqrt(every.var((0, 1, 2)) + 1e-5)
        mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
        np.testing.assert_allclose(
            means(model, f"{task}_normalization"), 0.1 * mean, rtol=1e-4, atol=1e-6
        )
        x = ((x - mean) / np.sqrt(variance + 1e-5)).repeat(2, axis=1).repeat(2, axis=2)
        head, offset = (numbers(v) for v in model.get_layer(f"{task}_head").weights)
        np.testing.assert_allclose(
            numbers(values[task]), x @ head[0, 0] + offset, rtol=1e-3, atol=1e-4
        )


def test_maps_of_a_domain_go_by_its_name() -> None:
    model = joint()
    assert model.map_names == {
        task: (f"bottleneck_{domain}", f"features_{domain}")
        for domain, tasks in DOMAINS.items()
        for task in tasks
    }
    names = [name for pair in model.map_names.values() for name in pair]
    view = keras.Model(model.input, {name: model.get_layer(name).output for name in set(names)})
    found = view(X)
    inner = model.network()
    for name in set(names):
        kind, domain = name.split("_")
        expected = keras.Model(inner.input, inner.get_layer(kind).output)(X[domain])
        np.testing.assert_allclose(numbers(found[name]), numbers(expected), rtol=1e-5, atol=1e-6)


def test_distils_from_the_teachers_of_all_domains_under_a_balancer() -> None:
    model = joint()
    teachers = {task: network({task: size}) for task, size in TASKS.items()}
    student = DenseDistiller(
        model, teachers, student_layers=model.map_names, inputs=model.domain_of
    )
    student(X, training=True)
    assert len(student.losses) == len(TASKS)
    trained = MultiTaskModel(student)
    trunk = {v.path.split("/")[0] for v in trained.parts.shared_variables()}
    assert trunk == {"bottleneck", "normalization"}
    trained.compile(keras.optimizers.Adam(0.03), "mse", balancer="pcgrad", **COMPILED)
    losses = [trained.train_on_batch(X, Y, return_dict=True)["loss"] for _ in range(8)]
    assert np.all(np.isfinite(losses)) and losses[-1] < losses[0]


def test_balances_on_the_maps_of_all_domains_without_a_word_from_keras() -> None:
    model = joint()
    shared = ["features_room", "features_street"]
    steps = []
    for names in (shared, None):
        keras.utils.set_random_seed(0)
        one = joint()
        trained = MultiTaskModel(one, shared=names)
        trained.compile(keras.optimizers.SGD(0.1), "mse", balancer="uniform", **COMPILED)
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="The structure of `inputs`")
            trained.train_on_batch(X, Y)
        steps.append([numbers(v) for v in one.trainable_variables])
    for first, second in zip(*steps, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-6)
    trained = MultiTaskModel(model, shared=shared)
    trained.compile("sgd", "mse", balancer="mgda_ub", **COMPILED)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="The structure of `inputs`")
        logs = trained.train_on_batch(X, Y, return_dict=True)
    weights = [logs[f"{task}_weight"] for task in TASKS]
    assert np.all(np.isfinite(weights)) and sum(weights) == pytest.approx(1.0, abs=1e-3)


def test_deep_supervision_goes_with_the_domain_of_its_task() -> None:
    inner = network({**TASKS, "room_depth_initial": 1})
    inner.auxiliary = {"room_depth_initial": "room_depth"}
    model = MultiDomainNetwork(inner, DOMAINS, maps=())
    assert model.auxiliary == inner.auxiliary
    assert model(X)["room_depth_initial"].shape[0] == len(X["room"])
    assert MultiTaskModel(model).tasks == tuple(TASKS)
    assert list(model.of_domain("room").output) == DOMAINS["room"]


def test_three_domains_share_what_two_of_them_need() -> None:
    images = keras.Input((None, None, 3))
    trunk = keras.layers.Conv2D(4, 1, name="trunk")(images)
    pair = BatchNormalization(name="pair")(trunk)
    inner = keras.Model(
        images,
        {
            "a": keras.layers.Conv2D(1, 1, name="a")(pair),
            "b": keras.layers.Conv2D(1, 1, name="b")(trunk),
            "c": keras.layers.Conv2D(1, 1, name="c")(pair),
        },
    )
    x = {name: RNG.normal(size=(n, 2, 2, 3)).astype("float32") for n, name in enumerate("xyz", 1)}
    model = MultiDomainNetwork(inner, {"x": ["a"], "y": ["b"], "z": ["c"]}, maps=())
    shapes = {task: tuple(values.shape) for task, values in model(x, training=True).items()}
    assert shapes == {"a": (1, 2, 2, 1), "b": (2, 2, 2, 1), "c": (3, 2, 2, 1)}
    maps = keras.Model(inner.input, inner.get_layer("trunk").output)
    both = np.concatenate([numbers(maps(x[name])) for name in "xz"])
    np.testing.assert_allclose(
        means(model, "pair"), 0.1 * both.mean((0, 1, 2)), rtol=1e-4, atol=1e-6
    )


def test_file_gives_the_same_network(tmp_path: pathlib.Path) -> None:
    model = joint()
    # A dtype is that of the layers of `network`.
    again = MultiDomainNetwork.from_config(model.get_config())
    assert again.get_config() == model.get_config()
    model.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    assert type(loaded) is MultiDomainNetwork
    assert loaded.domain_of == model.domain_of and list(loaded.output) == list(TASKS)
    assert len(loaded.weights) == len({id(variable) for variable in loaded.weights})
    for one, other in zip(model.weights, loaded.weights, strict=True):
        assert one.path == other.path
        np.testing.assert_array_equal(numbers(one), numbers(other))
    for task, values in loaded.of_domain("room")(X["room"]).items():
        np.testing.assert_allclose(numbers(values), numbers(model(X)[task]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"domains": {"room": ["room_depth"]}}, "each task once"),
        ({"domains": {**DOMAINS, "street": "street_classes"}}, "each task once"),
        ({"domains": {**DOMAINS, "car": ["room_depth"]}}, "each task once"),
        ({"domains": {"room": list(TASKS), "street": []}}, "each task once"),
        ({"domains": {"a/b": list(TASKS)}}, r"Received: \['a/b'\]"),
        ({"domains": {"features": list(TASKS)}}, r"Received: \['features'\]"),
        ({"maps": ["nowhere"]}, r"maps=\['nowhere'\]"),
    ],
)
def test_says_what_does_not_fit(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MultiDomainNetwork(**{"network": network(), "domains": DOMAINS, **arguments})


def test_says_whose_images_or_network_do_not_fit() -> None:
    model = joint()
    with pytest.raises(ValueError, match="must have one size"):
        model({**X, "street": np.zeros((1, 6, 4, 3), "float32")})
    with pytest.raises(ValueError, match="domain='car'"):
        model.of_domain("car")
    images = keras.Input((4, 4, 3))
    with pytest.raises(TypeError, match="dictionary of outputs"):
        MultiDomainNetwork(keras.Model(images, images), DOMAINS)
