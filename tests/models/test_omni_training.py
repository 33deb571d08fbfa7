"""`OmniTraining`: terms and teacher against NumPy, what is left with one loss, saving, errors."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.backbones import MLP, OmniNet
from keras_univrep.layers import BatchNormalization
from keras_univrep.layers.flows import FLOWS
from keras_univrep.models import MAML, EpisodicModel, OmniTraining, PrototypicalNetwork
from tests.harness import bits
from tests.models import episodes as toys

RNG = np.random.default_rng(0)
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
CLASSES, WAY = 5, 3


def item(seed: int = 0) -> dict:
    rng = np.random.default_rng(100 + seed)
    batch = rng.normal(size=(6, 3)).astype("float32"), rng.integers(0, CLASSES, 6)
    return {"batch": batch, "episode": toys.episode(seed)}


def make(meta: str | None = "prototypical", **kwargs: object) -> OmniTraining:
    """A linear network of three flows that differ."""
    keras.utils.set_random_seed(0)
    network = OmniNet(MLP(3, (4,), "linear"), branch_initializer="glorot_uniform")
    head = kwargs.pop("head", keras.layers.Dense(CLASSES, name="head"))
    return OmniTraining(network, head, meta, {"way": WAY} if meta else None, **kwargs)


def compiled(model: OmniTraining, rate: float = 0.1) -> OmniTraining:
    model.compile(keras.optimizers.SGD(rate), LOSS)
    return model


def step(model: OmniTraining, number: int = 0) -> dict[str, float]:
    logs = model.train_on_batch(item(number), return_dict=True)
    model.reset_metrics()
    return {name: float(value) for name, value in logs.items()}


def arrays(model: OmniTraining) -> dict[str, np.ndarray]:
    """Float64 weights of flows and heads."""
    (name, bank), *_ = model.network.banks.items()
    assert name == "dense1"
    found = {f"{flow}/branch": bank.branch(flow).kernel for flow in FLOWS[1:]}
    found |= {f"{flow}/bias": bank.branch(flow).bias for flow in FLOWS[1:]}
    found |= {"kernel": bank.layer.kernel, "joint/bias": bank.layer.bias}
    for flow in model.heads.flows:
        found |= {f"{flow}/head": model.heads.head(flow).kernel}
        found |= {f"{flow}/head_bias": model.heads.head(flow).bias}
    return {key: ops.convert_to_numpy(value).astype("float64") for key, value in found.items()}


def taught(model: OmniTraining) -> dict[str, np.ndarray]:
    """The teacher's, under the names of `arrays`."""
    own = {id(v): k for k, v in enumerate(model.taught_variables)}
    (bank,) = model.network.banks.values()
    places = {"kernel": bank.layer.kernel, "joint/bias": bank.layer.bias}
    for flow in FLOWS[1:]:
        places[f"{flow}/branch"] = bank.branch(flow).kernel
        places[f"{flow}/bias"] = bank.branch(flow).bias
    places |= {"pre/head": model.heads.head("pre").kernel}
    places |= {"pre/head_bias": model.heads.head("pre").bias}
    return {
        key: ops.convert_to_numpy(model.teacher.averages[own[id(variable)]]).astype("float64")
        for key, variable in places.items()
    }


def features(w: dict[str, np.ndarray], x: np.ndarray, flow: str) -> np.ndarray:
    kernel, bias = w["kernel"], w["joint/bias"]
    if flow != "joint":
        kernel, bias = kernel + w[f"{flow}/branch"], bias + w[f"{flow}/bias"]
    return x.astype("float64") @ kernel + bias


def logits(w: dict[str, np.ndarray], x: np.ndarray, flow: str) -> np.ndarray:
    return features(w, x, flow) @ w[f"{flow}/head"] + w[f"{flow}/head_bias"]


def distances(w: dict[str, np.ndarray], one: toys.Episode, flow: str) -> np.ndarray:
    support, queries = (features(w, one[f"{part}_images"], flow) for part in ("support", "query"))
    centres = toys.means(support, one["support_labels"], WAY)
    return -((queries[:, None] - centres) ** 2).sum(-1)


def oracle(w: dict[str, np.ndarray], teacher: dict[str, np.ndarray], data: dict) -> dict:
    """shu2021 eq. 7 to 15 in float64."""
    (x, y), one = data["batch"], data["episode"]
    pre = {flow: toys.cross_entropy(logits(w, x, flow), y) for flow in ("joint", "pre")}
    meta = {
        flow: toys.cross_entropy(distances(w, one, flow), one["query_labels"])
        for flow in ("joint", "meta")
    }
    terms = {
        "joint_loss": pre["joint"] + meta["joint"],
        "pre_loss": pre["pre"],
        "meta_loss": meta["meta"],
        "pre_distillation": np.mean((logits(w, x, "pre") - logits(teacher, x, "pre")) ** 2),
        "meta_distillation": np.mean(
            (distances(w, one, "meta") - distances(teacher, one, "meta")) ** 2
        ),
    }
    total = terms["joint_loss"] + terms["pre_loss"] + terms["meta_loss"]
    terms["loss"] = total + 3.0 * (terms["pre_distillation"] + terms["meta_distillation"])
    return terms


def test_terms_and_teacher_are_those_of_the_paper() -> None:
    model = compiled(make(decay=0.9), rate=0.01)
    thetas, wanted = [arrays(model)], []
    for number in range(4):
        # Closed form of eq. 9: theta_0 keeps the share 0.9^i.
        teacher = {
            key: 0.9**number * thetas[0][key]
            + sum(0.1 * 0.9 ** (number - i) * thetas[i][key] for i in range(1, number + 1))
            for key in thetas[0]
        }
        wanted.append(oracle(thetas[-1], teacher, item(number)))
        found = step(model, number)
        for name, value in wanted[-1].items():
            np.testing.assert_allclose(found[name], value, rtol=2e-4, atol=1e-6, err_msg=name)
        assert 0.0 <= found["pre_accuracy"] <= 1.0 and 0.0 <= found["meta_accuracy"] <= 1.0
        thetas.append(arrays(model))
    assert wanted[0]["pre_distillation"] == 0.0 < wanted[3]["pre_distillation"]
    closed = {
        key: 0.9**4 * thetas[0][key]
        + sum(0.1 * 0.9 ** (4 - i) * thetas[i][key] for i in range(1, 5))
        for key in thetas[0]
    }
    for key, value in taught(model).items():
        np.testing.assert_allclose(value, closed[key], rtol=1e-4, atol=1e-6, err_msg=key)


def test_the_gradient_is_that_of_the_sum() -> None:
    model = compiled(make(distilled=[]), rate=1.0)
    before, data = arrays(model), item()
    step(model)
    after = arrays(model)
    for key in ("kernel", "pre/branch", "joint/head"):
        grad = toys.differences(
            lambda value, key=key: oracle({**before, key: value}, before, data)["loss"],
            before[key].copy(), 1e-5,
        )  # fmt: skip
        np.testing.assert_allclose(before[key] - after[key], grad, rtol=2e-3, atol=2e-4)


def test_probabilities_are_compared_where_asked() -> None:
    model = compiled(make(compared="probabilities", decay=0.5), rate=0.05)
    first, data = arrays(model), item()
    step(model)
    second = arrays(model)
    teacher = {key: 0.5 * (first[key] + second[key]) for key in first}
    odds = []
    for weights in (second, teacher):
        raw = np.exp(distances(weights, data["episode"], "meta"))
        odds.append(raw / raw.sum(-1, keepdims=True))
    wanted = np.mean((odds[0] - odds[1]) ** 2)
    np.testing.assert_allclose(step(model)["meta_distillation"], wanted, rtol=1e-3)
    with pytest.raises(ValueError, match="`compared` must be some of"):
        make(compared="ranks")


def test_penalties_of_shared_weights_count_once() -> None:
    network = OmniNet(MLP(3, (4,), "linear"), branch_initializer="ones", branch_regularizer="l2")
    model = OmniTraining(network, keras.layers.Dense(CLASSES), "prototypical", {"way": WAY})
    logs = step(compiled(model))
    # Two branches of 3x4 ones, by Keras's weight of 0.01.
    terms = sum(logs[f"{flow}_loss"] for flow in FLOWS)
    np.testing.assert_allclose(logs["loss"] - terms, 0.01 * 2 * 12, rtol=1e-3)


def test_pre_training_of_the_joint_flow_alone_is_keras_own_training() -> None:
    model = compiled(make(losses=["joint"], joint_terms=["pre"]))
    before = bits(model.network)
    twin = keras.Sequential([MLP(3, (4,), "linear"), keras.layers.Dense(CLASSES)])
    twin.build((None, 3))
    twin.set_weights([*model.network.trunk.get_weights(), *model.heads.head("joint").get_weights()])
    twin.compile(keras.optimizers.SGD(0.1), LOSS)
    for number in range(3):
        batch = item(number)["batch"]
        found = model.train_on_batch({"batch": batch}, return_dict=True)
        wanted = twin.train_on_batch(*batch, return_dict=True)
        np.testing.assert_allclose(found["loss"], wanted["loss"], rtol=1e-5)
    for one, other in zip(model.network.trunk.weights, twin.layers[0].weights):
        np.testing.assert_allclose(
            ops.convert_to_numpy(one), ops.convert_to_numpy(other), rtol=1e-5, atol=1e-6
        )
    branches = [path for path in before if "branch" in path]
    after = bits(model.network)
    assert branches and all(np.array_equal(before[path], after[path]) for path in branches)


def test_meta_training_of_the_joint_flow_alone_is_that_of_the_algorithm() -> None:
    model = compiled(make(losses="joint", joint_terms="meta", head=None))
    twin = PrototypicalNetwork(MLP(3, (4,), "linear"), WAY)
    twin.set_weights(model.network.trunk.get_weights())
    twin.compile(keras.optimizers.SGD(0.1))
    for number in range(3):
        episode = item(number)["episode"]
        found = model.train_on_batch({"episode": episode}, return_dict=True)
        wanted = twin.train_on_batch(episode, return_dict=True)
        np.testing.assert_allclose(found["loss"], wanted["loss"], rtol=1e-5)
        np.testing.assert_allclose(found["joint_accuracy"], wanted["accuracy"], rtol=1e-6)


@pytest.mark.parametrize(
    ("meta", "options", "own"),
    [
        ("matching", {"way": 3, "scale": 5.0}, 0),
        ("relation", {"way": 3, "hidden": 4}, 1),
        ("maml", {}, 2),
    ],
)
def test_other_algorithms_train_and_are_distilled(meta: str, options: dict, own: int) -> None:
    keras.utils.set_random_seed(0)
    network = OmniNet(MLP(3, (4,)))
    meta_head = keras.layers.Dense(WAY, name="classes") if meta == "maml" else None
    model = compiled(
        OmniTraining(network, keras.layers.Dense(CLASSES), meta, options, meta_head), 0.05
    )
    # The distance to the teacher is zero at first, and grows.
    losses = [sum(step(model)[f"{flow}_loss"] for flow in FLOWS) for _ in range(6)]
    assert losses[-1] < losses[0]
    assert step(model)["meta_distillation"] > 0
    # Network of one layer: two shared, two of a branch for each parallel flow; heads; its own.
    extra = {0: 0, 1: 4, 2: 2}[own]
    assert len(model.taught_variables) == 2 + 2 * 2 + 2 + extra


def waves(seed: int, scale: float = 1.0) -> dict:
    x = np.random.default_rng(seed).uniform(-3, 3, (4, 5, 1)).astype("float32")
    y = scale * np.sin(x)
    return {
        "batch": (x.reshape(-1, 1), y.reshape(-1, 1)),
        "episode": {"support": (x, y), "query": (x, y)},
    }


def test_regression_shares_its_heads_and_leaves_out_a_step_that_diverges() -> None:
    keras.utils.set_random_seed(0)
    network = OmniNet(MLP(1, (8,)))
    options = {"steps": 1, "learning_rate": 0.05}
    model = OmniTraining(network, keras.layers.Dense(1), "maml", options)
    model.compile(keras.optimizers.Adam(0.02), "mse")
    logs = model.train_on_batch(waves(0), return_dict=True)
    assert not [name for name in logs if "accuracy" in name]
    first = float(logs["loss"])
    for _ in range(30):
        model.reset_metrics()
        logs = model.train_on_batch(waves(0), return_dict=True)
    assert float(logs["loss"]) < 0.7 * first
    before = bits(network)
    model.train_on_batch(waves(0, np.inf), return_dict=True)
    after = bits(network)
    assert all(np.array_equal(before[path], after[path]) for path in before)
    learner = MAML(model.learner("meta"), steps=2, learning_rate=0.05)
    learner.compile(loss="mse")
    assert learner.predict(waves(1)["episode"], verbose=0).shape == (4, 5, 1)


def test_a_saved_model_goes_on_as_before(tmp_path) -> None:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((3,))
    x = BatchNormalization()(keras.layers.Dense(4)(inputs))
    network = OmniNet(keras.Model(inputs, x))
    model = OmniTraining(network, keras.layers.Dense(2, name="head"), "prototypical", {"way": 2})
    model.compile(keras.optimizers.Adam(0.01), LOSS)
    images = RNG.normal(size=(4, 3)).astype("float32")
    labels = np.arange(4, dtype="int32") % 2
    episode = {"support_images": images, "support_labels": labels}
    episode |= {"query_images": images, "query_labels": labels}
    data = {"batch": (images, labels), "episode": episode}
    model.fit(((data,) for _ in range(2)), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    # A saved tuple comes back as a list.
    one, other = (json.dumps(m.get_config(), sort_keys=True) for m in (loaded, model))
    assert one == other
    for one, other in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(one), ops.convert_to_numpy(other))
    found, wanted = (m.train_on_batch(data, return_dict=True) for m in (loaded, model))
    # The metrics of the saved model have gone on from its first steps.
    assert float(found["pre_distillation"]) > 0 and set(found) == set(wanted)
    for one, other in zip(model.trainable_variables, loaded.trainable_variables, strict=True):
        np.testing.assert_allclose(
            ops.convert_to_numpy(one), ops.convert_to_numpy(other), rtol=1e-4, atol=1e-6
        )
    judged = model.evaluate(((data,) for _ in range(1)), verbose=0, return_dict=True)
    assert {"loss", "joint_loss", "joint_accuracy", "meta_accuracy"} <= set(judged)
    seen = model.evaluate(iter_of({"episode": episode}), verbose=0, return_dict=True)
    assert set(seen) == {"loss", "joint_loss", "meta_loss", "joint_accuracy", "meta_accuracy"}


def iter_of(data: dict):
    yield (data,)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="`losses` must be some of"):
        make(losses=["all"])
    with pytest.raises(ValueError, match="`joint_terms` must be some of"):
        make(joint_terms=[])
    with pytest.raises(ValueError, match="`head` must be given to train"):
        make(head=None)
    with pytest.raises(ValueError, match="`meta` must be given to train"):
        make(None)
    with pytest.raises(ValueError, match="`meta` must be one of"):
        make("reptile")
    with pytest.raises(ValueError, match="`meta` must be one of"):
        make(keras.layers.Dense)
    with pytest.raises(ValueError, match="adapts a network with a head"):
        make("maml", head=None, losses=["meta"])
    with pytest.raises(ValueError, match="`decay` must be in"):
        make(decay=1.0)
    with pytest.raises(ValueError, match="`distillation_weight` must not be negative"):
        make(distillation_weight=-1.0)
    with pytest.raises(ValueError, match="`loss` must be a loss of the heads"):
        make().compile("sgd")
    with pytest.raises(ValueError, match="`metrics` must be None"):
        make().compile("sgd", LOSS, metrics=["accuracy"])
    with pytest.raises(ValueError, match=r"Received: \['batch'\]"):
        compiled(make()).train_on_batch({"batch": item()["batch"]})
    with pytest.raises(ValueError, match="'meta' has no head"):
        make().learner("meta")


def test_a_class_of_ones_own_is_an_algorithm() -> None:
    @keras.saving.register_keras_serializable(package="tests")
    class First(EpisodicModel):
        def __init__(self, backbone, way, **kwargs):
            super().__init__(way, **kwargs)
            self.backbone = backbone

        def episode_scores(self, support, labels, queries, training=None):
            shape = (*queries.shape[:2], -1)
            flat = ops.reshape(queries, (-1, *queries.shape[2:]))
            return ops.reshape(self.backbone(flat, training=training), shape)[..., : self.way]

    model = compiled(make(First))
    assert step(model)["meta_loss"] > 0
    again = OmniTraining.from_config(model.get_config())
    assert isinstance(again.learners["meta"], First)
