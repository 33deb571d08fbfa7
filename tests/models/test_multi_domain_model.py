"""The network of several domains: joint and separate passes, errors, saving, one loss curve."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.backbones import AdaptedBackbone, ResNet26
from keras_univrep.models import MultiDomainModel
from tests.harness import bits
from tests.models import toys
from tests.models.golden import make_loss_curves

BACKENDS = ("tensorflow", "jax", "torch")
GOLDEN = pathlib.Path(__file__).parent / "golden" / "loss_curves.json"

LOAD_AND_PREDICT = """
import sys
import keras, numpy as np
import keras_univrep
from keras_univrep.models import MultiDomainModel
model = keras.saving.load_model(sys.argv[1])
with np.load(sys.argv[2]) as x:
    logits = model.predict(dict(x), verbose=0)
np.savez(sys.argv[3], **logits)
"""


def resnet(normalization: str = "shared", adapter: str | None = None) -> MultiDomainModel:
    domains = list(toys.CLASSES) if adapter or normalization == "domain" else None
    backbone = ResNet26(domains, adapter=adapter, normalization=normalization, width=0.125)
    return toys.draw_weights(MultiDomainModel(backbone, toys.CLASSES), 3)


def test_domains_that_share_the_backbone_go_through_it_as_one_batch() -> None:
    x, _ = toys.batch(0)
    x["sketch"] = x["sketch"][:3] + 2.0
    joint, single = resnet(), resnet()
    logits = joint(x, training=True)
    features = single.backbone(np.concatenate([x["photo"], x["sketch"]]), training=True)
    for name, rows in (("photo", slice(0, 8)), ("sketch", slice(8, 11))):
        np.testing.assert_allclose(
            toys.numpy(logits[name]),
            toys.numpy(single.head(name)(features[rows])),
            rtol=1e-5,
            atol=1e-5,
        )
    # The moving statistics are those of the joint batch, moved once.
    toys.assert_equal_weights(joint, single, rtol=1e-5, atol=1e-6)
    apart = resnet()
    alone = apart(x["sketch"], domain="sketch", training=True)
    assert np.abs(toys.numpy(alone) - toys.numpy(logits["sketch"])).max() > 1e-2


@pytest.mark.parametrize("adapter", [None, "parallel", "series"])
def test_domains_with_parts_of_their_own_go_through_the_backbone_one_by_one(
    adapter: str | None,
) -> None:
    model, other = resnet("domain", adapter), resnet("domain", adapter)
    assert model.depends_on_domain
    x, _ = toys.batch(0)
    logits = model(x, training=True)
    for name in toys.CLASSES:
        alone = other.head(name)(other.backbone(x[name], domain=name, training=True))
        np.testing.assert_array_equal(toys.numpy(logits[name]), toys.numpy(alone))
    toys.assert_equal_weights(model, other)
    same = x["photo"]
    a, b = (toys.numpy(model.features(same, domain=name)) for name in toys.CLASSES)
    assert np.abs(a - b).max() > 1e-3


def test_inference_on_a_subset_of_domains_equals_that_on_all() -> None:
    model = toys.network(1)
    x, _ = toys.batch(0)
    every = model(x, training=False)
    assert list(every) == list(toys.CLASSES)
    for name, count in toys.CLASSES.items():
        some = model({name: x[name]}, training=False)
        alone = model(x[name], domain=name, training=False)
        assert list(some) == [name]
        assert alone.shape == (8, count)
        for value in (some[name], alone):
            np.testing.assert_allclose(
                toys.numpy(value), toys.numpy(every[name]), rtol=1e-5, atol=1e-6
            )


def test_features_then_classify_is_the_call() -> None:
    model = toys.network(1)
    x, _ = toys.batch(0)
    logits, split = model(x), model.classify(model.features(x))
    for name in toys.CLASSES:
        np.testing.assert_array_equal(toys.numpy(logits[name]), toys.numpy(split[name]))
    assert model.features(x["photo"], domain="photo").shape == (8, model.feature_size)


def test_one_domain_needs_no_name() -> None:
    model = toys.network(1, {"photo": 5})
    x = toys.images(0)
    np.testing.assert_array_equal(toys.numpy(model(x)), toys.numpy(model(x, domain="photo")))


def test_model_of_one_domain_shares_weights_and_predicts_the_same() -> None:
    for model in (toys.network(1), resnet("domain", "parallel")):
        single = model.for_domain("sketch")
        x = toys.images(5)
        expected = toys.numpy(model(x, domain="sketch", training=False))
        np.testing.assert_allclose(toys.numpy(single(x, training=False)), expected, rtol=1e-5)
        model.head("sketch").bias.assign_add(ops.ones(3))
        np.testing.assert_allclose(
            toys.numpy(single(x, training=False)), expected + 1.0, rtol=1e-4, atol=1e-5
        )


def test_unknown_domain_lists_the_known_ones() -> None:
    model, x = toys.network(1), toys.images(0)
    for call in (
        lambda: model(x, domain="art"),
        lambda: model({"art": x}),
        lambda: model(x),
        lambda: model.for_domain("art"),
        lambda: model.head("art"),
        lambda: model.classify(ops.ones((2, 8)), "art"),
    ):
        with pytest.raises(ValueError, match=r"one of the domains.*\['photo', 'sketch'\]"):
            call()


def test_refuses_backbones_that_do_not_know_the_domains_or_are_not_built() -> None:
    with pytest.raises(ValueError, match=r"\['photo', 'art'\].*'sketch'"):
        MultiDomainModel(ResNet26(["photo", "art"], "parallel", width=0.125), toys.CLASSES)
    with pytest.raises(ValueError, match="`backbone` must be built"):
        MultiDomainModel(keras.Sequential([keras.layers.Flatten()]), toys.CLASSES)


def test_refuses_images_that_do_not_suit() -> None:
    model = resnet()
    for size, channels in ((17, 3), (16, 1)):
        with pytest.raises(ValueError, match=rf"multiples of 8. Received.*{size}, {channels}"):
            model(np.zeros((2, size, size, channels), "float32"), domain="photo")
    with pytest.raises(ValueError, match="one size. Received.*'sketch': \\(24, 24, 3\\)"):
        model({"photo": toys.images(0), "sketch": toys.images(0, size=24)})


@pytest.mark.parametrize("count", [0, -1, 2.0, None])
def test_refuses_classes_that_are_not_positive_integers(count: Any) -> None:
    with pytest.raises(ValueError, match="positive integer. Received: 'sketch'"):
        MultiDomainModel(toys.conv_backbone(8), {"photo": 5, "sketch": count})


@pytest.mark.parametrize("adapter", [None, "parallel"])
def test_saved_and_loaded_it_is_the_same_bit_for_bit(adapter: str | None, tmp_path: Any) -> None:
    model = resnet("domain" if adapter else "shared", adapter)
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9))
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    fresh = MultiDomainModel.from_config(model.get_config())
    fresh.load_weights(tmp_path / "model.weights.h5")
    x, _ = toys.batch(0)
    expected = model(x, training=False)
    for other in (loaded, fresh):
        assert [w.path for w in other.weights] == [w.path for w in model.weights]
        assert other.num_classes == model.num_classes
        for a, b in zip(toys.weights(other), toys.weights(model), strict=True):
            np.testing.assert_array_equal(a, b)
        logits = other(x, training=False)
        for name in toys.CLASSES:
            np.testing.assert_array_equal(toys.numpy(logits[name]), toys.numpy(expected[name]))


def test_loaded_model_goes_on_training_where_it_was(tmp_path: Any) -> None:
    model = toys.network(1)
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9))
    model.fit(toys.Stream(2), shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    toys.assert_equal_weights(loaded, model)
    for m in (loaded, model):
        m.fit(toys.Stream(2, first=2), shuffle=False, verbose=0)
    toys.assert_equal_weights(loaded, model, rtol=1e-5, atol=1e-6)


def test_default_loss_and_metrics_are_those_of_a_classifier_of_each_domain() -> None:
    model = toys.network(1)
    x, y = toys.batch(0)
    logits = {name: toys.numpy(v) for name, v in model(x, training=False).items()}
    model.compile()
    logs = model.evaluate(x, y, batch_size=8, verbose=0, return_dict=True)
    total = 0.0
    for name, z in logits.items():
        shares = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
        total -= np.mean(np.log(shares[np.arange(8), y[name]]))
        np.testing.assert_allclose(
            logs[f"{name}_accuracy"], np.mean(z.argmax(-1) == y[name]), rtol=1e-6
        )
    np.testing.assert_allclose(logs["loss"], total, rtol=1e-5)


def test_bfloat16_gives_float32_logits() -> None:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = toys.network(1)
        features = model.features(toys.images(0), domain="photo")
        logits = model.classify(features, "photo")
    finally:
        keras.config.set_dtype_policy(before)
    assert keras.backend.standardize_dtype(features.dtype) == "bfloat16"
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"


def test_saved_under_one_backend_predicts_the_same_under_the_others(tmp_path: Any) -> None:
    model = resnet("domain", "parallel")
    x, _ = toys.batch(0)
    expected = model.predict(x, verbose=0)
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "x.npz", **x)
    environment = {**os.environ, "PYTHONPATH": str(pathlib.Path(__file__).parents[2])}
    others = [name for name in BACKENDS if name != keras.backend.backend()]
    files = [str(tmp_path / "model.keras"), str(tmp_path / "x.npz")]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", LOAD_AND_PREDICT, *files, str(tmp_path / f"{name}.npz")],
            env={**environment, "KERAS_BACKEND": name},
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in others
    ]
    for other, process in zip(others, processes):
        _, errors = process.communicate()
        assert process.returncode == 0, errors[-2000:]
        with np.load(tmp_path / f"{other}.npz") as found:
            for name in toys.CLASSES:
                scale = np.abs(expected[name]).max()
                np.testing.assert_allclose(found[name] / scale, expected[name] / scale, atol=1e-4)


@pytest.mark.parametrize("name", ["multi_domain_model", "universal_distiller"])
def test_short_loss_curve_is_the_same_on_every_backend(name: str) -> None:
    golden = json.loads(GOLDEN.read_text())
    curve = make_loss_curves.CURVES[name]()
    np.testing.assert_allclose(curve, golden[name], rtol=1e-3)
    assert curve[-1] < curve[0]


def adapted() -> MultiDomainModel:
    backbone = AdaptedBackbone(
        toys.draw_weights(toys.conv_backbone(8), 1),
        list(toys.CLASSES),
        adapter_options={"adapter_initializer": "glorot_normal"},
    )
    return toys.draw_weights(MultiDomainModel(backbone, toys.CLASSES), 2)


def plain() -> MultiDomainModel:
    return toys.draw_weights(MultiDomainModel(toys.conv_backbone(8), toys.CLASSES), 2)


def logits_of(model: MultiDomainModel, domain: str) -> np.ndarray:
    return ops.convert_to_numpy(model(toys.images(4), domain=domain))


@pytest.mark.parametrize("make", [adapted, plain])
def test_domains_come_and_go_and_leave_the_others_bit_for_bit(make: Any) -> None:
    model = make()
    before = {name: logits_of(model, name) for name in model.domains}
    model.add_domain("digits", 10)
    assert (model.domains, model.num_classes["digits"]) == (("photo", "sketch", "digits"), 10)
    assert logits_of(model, "digits").shape == (8, 10)
    for name, value in before.items():
        np.testing.assert_array_equal(logits_of(model, name), value)
    model.rename_domain("photo", "picture")
    model.remove_domain("sketch")
    assert model.domains == ("digits", "picture")
    np.testing.assert_array_equal(logits_of(model, "picture"), before["photo"])
    with pytest.raises(ValueError, match="Received: domain='sketch'"):
        logits_of(model, "sketch")


@pytest.mark.parametrize("make", [adapted, plain])
def test_a_network_with_a_new_domain_is_saved_and_loaded(make: Any, tmp_path: pathlib.Path) -> None:
    model = make()
    model.add_domain("digits", 10)
    model.remove_domain("photo")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.domains == model.domains
    for name in model.domains:
        np.testing.assert_array_equal(logits_of(loaded, name), logits_of(model, name))


def test_one_domain_trains_while_the_others_stay_bit_for_bit() -> None:
    model = adapted()
    trunk = bits(model.backbone.trunk)
    x, y = toys.batch(0)
    model.compile(keras.optimizers.SGD(0.05, weight_decay=0.1), domains=["sketch"])
    before = {name: logits_of(model, name) for name in model.domains}
    model.fit({"sketch": x["sketch"]}, {"sketch": y["sketch"]}, verbose=0)
    np.testing.assert_array_equal(logits_of(model, "photo"), before["photo"])
    assert not np.allclose(logits_of(model, "sketch"), before["sketch"])
    for path, value in bits(model.backbone.trunk).items():
        np.testing.assert_array_equal(value, trunk[path])
    model.compile(keras.optimizers.SGD(0.05))
    model.fit(x, y, verbose=0)
    assert not np.allclose(logits_of(model, "photo"), before["photo"])


def test_a_domain_that_came_after_the_others_were_frozen_is_frozen_too() -> None:
    model = adapted()
    model.compile("sgd", domains=["sketch"])
    model.add_domain("digits", 3)
    model.compile("sgd", domains=["sketch"])
    assert not model.head("digits").trainable
    assert not any(v.trainable for v in model.backbone.domain_weights("digits").values())
    model.compile("sgd")
    assert model.head("digits").trainable


def test_training_of_one_domain_goes_on_after_loading(tmp_path: pathlib.Path) -> None:
    model = adapted()
    x, y = ({"sketch": part["sketch"]} for part in toys.batch(0))
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), domains=["sketch"])
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.trained_domains == ("sketch",)
    for network in (model, loaded):
        network.fit(x, y, verbose=0)
    np.testing.assert_allclose(
        logits_of(loaded, "sketch"), logits_of(model, "sketch"), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("make", [adapted, plain])
def test_bad_domains_change_nothing(make: Any) -> None:
    model = make()
    before = bits(model)
    for call, match in (
        (lambda: model.add_domain("photo", 3), "each name once"),
        (lambda: model.add_domain("a/b", 3), "no '/'"),
        (lambda: model.add_domain("digits", 0), "positive integer"),
        (lambda: model.remove_domain("digits"), "Received: domain='digits'"),
        (lambda: model.rename_domain("digits", "x"), "Received: domain='digits'"),
        (lambda: model.rename_domain("photo", "sketch"), "each name once"),
        (lambda: model.compile(domains=["digits"]), "Received: domain='digits'"),
    ):
        with pytest.raises(ValueError, match=match):
            call()
    assert model.domains == ("photo", "sketch")
    assert list(bits(model)) == list(before)
    model.remove_domain("photo")
    with pytest.raises(ValueError, match="at least one name"):
        model.remove_domain("sketch")


def test_a_backbone_of_fixed_domains_takes_no_new_one() -> None:
    model = resnet(adapter="parallel")
    with pytest.raises(ValueError, match="Use an AdaptedBackbone"):
        model.add_domain("digits", 10)
    assert model.domains == ("photo", "sketch")


def test_a_batch_of_several_domains_gives_what_each_gives_alone() -> None:
    model = adapted()
    x = {name: toys.images(i, 3 + i) for i, name in enumerate(model.domains)}
    together = model(x)
    for name in model.domains:
        np.testing.assert_allclose(
            ops.convert_to_numpy(together[name]),
            ops.convert_to_numpy(model(x[name], domain=name)),
            rtol=1e-5,
            atol=1e-5,
        )


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="Keras writes SavedModels of images of any size from TensorFlow only",
)
@pytest.mark.parametrize("make", [adapted, plain, lambda: resnet(adapter="parallel")])
def test_one_domain_is_exported(make: Any, tmp_path: pathlib.Path) -> None:
    import tensorflow as tf

    model, x = make(), toys.images(0, 2)
    model.for_domain("sketch").export(tmp_path / "sketch", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "sketch")
    served = loaded.serve(x)
    expected = ops.convert_to_numpy(model(x, domain="sketch"))
    np.testing.assert_allclose(ops.convert_to_numpy(served), expected, rtol=1e-4, atol=1e-4)
