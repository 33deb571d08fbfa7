"""What every constructor owes: weights from a path, no top, and errors that say what to pass."""

import h5py
import keras
import numpy as np
import pytest

from keras_univrep import applications

SMALL = {
    "UniversalResNet26": {"width": 0.125},
    "UniversalResNet18": {"width": 0.0625},
    "XLearnerResNet50": {"width": 0.0625},
    "OmniResNet18": {"width": 0.0625},
    "OmniResNet12": {"width": 0.0625},
    "OmniResNet10": {"width": 0.0625},
    "OmniConv4": {"filters": 4},
}
HRNET = {"width": 0.1, "modules": (1, 1, 1), "blocks": 1}
DENSE = {
    "UniversalSegNet": {"width": 0.0625},
    "MTANSegNet": {"width": 0.0625},
    "PADNet": HRNET,
    "MTINet": HRNET,
}
TASKS = {"depth": 1, "normals": 3}
# Those with many layers take half a minute where a process is slow to make weights.
FEW = ("UniversalResNet18", "OmniConv4", "UniversalSegNet")


def quick(names):
    """The names, all but a few of them marked as slow."""
    return [name if name in FEW else pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.mark.parametrize("name", quick(SMALL))
def test_a_classifier_comes_back_from_its_file(name, tmp_path):
    constructor = getattr(applications, name)
    arguments = {"domains": {"a": 2, "b": 3}, "input_shape": (32, 32, 3), **SMALL[name]}
    first = constructor(None, **arguments)
    path = applications.save_weights(first, tmp_path / "own.weights.h5")
    second = constructor(path, **arguments)
    for mine, theirs in zip(first.weights, second.weights, strict=True):
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (mine, theirs)))
    x = np.ones((1, 32, 32, 3), "float32")
    assert tuple(second(x, domain="b").shape) == (1, 3)
    assert (second.num_classes, second.name) == ({"a": 2, "b": 3}, first.name)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("domains", [{"b": 2, "a": 2, "c": 2}, {"a": 2, "b": 2}, {"a": 2}])
def test_a_file_of_other_domains_is_refused_even_if_the_classes_are_as_many(
    domains, half, tmp_path
):
    first = applications.OmniConv4(None, {"a": 2, "b": 2, "c": 2}, filters=4)
    path = applications.save_weights(first, tmp_path / "own.weights.h5", half)
    with pytest.raises(ValueError, match="weights of {'a': 2, 'b': 2, 'c': 2}"):
        applications.OmniConv4(path, domains, filters=4)
    with pytest.raises(ValueError, match="in this order"):
        applications.OmniConv4(None, domains, filters=4).load_weights(path)


def test_a_file_without_the_names_of_its_domains_is_taken(tmp_path):
    first = applications.OmniConv4(None, {"a": 2, "b": 3}, filters=4)
    path = applications.save_weights(first, tmp_path / "own.weights.h5")
    with h5py.File(path, "a") as file:
        del file["vars/outputs"]
    second = applications.OmniConv4(path, {"a": 2, "b": 3}, filters=4)
    np.testing.assert_array_equal(first.get_weights()[-1], second.get_weights()[-1])


@pytest.mark.parametrize("name", quick(SMALL))
def test_without_a_top_the_backbone_needs_no_domains(name):
    backbone = getattr(applications, name)(
        None, include_top=False, input_shape=(32, 32, 3), **SMALL[name]
    )
    flow = {"flow": "pre"} if name.startswith("Omni") else {}
    features = backbone(np.ones((1, 32, 32, 3), "float32"), **flow)
    last = features["level5"] if isinstance(features, dict) else features
    assert last.shape[0] == 1 and last.shape[-1] == backbone.filters


@pytest.mark.parametrize("name", SMALL)
def test_a_classifier_without_classes_is_an_error_that_names_the_constructor(name):
    with pytest.raises(ValueError, match=rf"number of classes of each domain.*{name}\("):
        getattr(applications, name)(None, **SMALL[name])


@pytest.mark.parametrize("name", quick(DENSE))
def test_a_dense_network_comes_back_from_its_file_and_without_its_heads(name, tmp_path):
    constructor = getattr(applications, name)
    first = constructor(None, TASKS, input_shape=(32, 64, 3), **DENSE[name])
    path = applications.save_weights(first, tmp_path / "own.weights.h5")
    second = constructor(path, TASKS, **DENSE[name])
    for mine, theirs in zip(first.weights, second.weights, strict=True):
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (mine, theirs)))
    features = constructor(path, TASKS, include_top=False, **DENSE[name])
    maps = features.output
    assert set(maps) == set(TASKS) if isinstance(maps, dict) else maps.ndim == 4
    assert features.count_params() < second.count_params()


@pytest.mark.parametrize("name", quick(DENSE))
def test_a_dense_file_of_tasks_in_another_order_is_refused(name, tmp_path):
    constructor = getattr(applications, name)
    first = constructor(None, {"depth": 1, "edges": 1}, **DENSE[name])
    path = applications.save_weights(first, tmp_path / "own.weights.h5")
    with pytest.raises(ValueError, match="weights of {'depth': 1, 'edges': 1}"):
        constructor(path, {"edges": 1, "depth": 1}, **DENSE[name])


@pytest.mark.parametrize("name", DENSE)
def test_a_dense_network_wants_its_tasks_and_sizes_of_32(name):
    constructor = getattr(applications, name)
    with pytest.raises(ValueError, match="channels of each task"):
        constructor(None, **DENSE[name])
    with pytest.raises(ValueError, match="multiples of 32"):
        constructor(None, TASKS, input_shape=(40, 64, 3), **DENSE[name])


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({"classes": 5}, {"images": 5}),
        ({"classes": {"a": 2, "b": 3}}, {"a": 2, "b": 3}),
        ({"domains": ["a", "b"], "classes": 4}, {"a": 4, "b": 4}),
        ({"domains": ["a", "b"], "classes": (2, 3)}, {"a": 2, "b": 3}),
        ({"domains": "a", "classes": {"a": 2, "b": 3}}, {"a": 2}),
    ],
)
def test_classes_can_be_said_in_several_ways(said, found):
    model = applications.UniversalResNet18(None, width=0.0625, **said)
    assert model.num_classes == found


def test_weights_of_one_constructor_are_not_those_of_another():
    with pytest.raises(ValueError, match="must be None, the path"):
        applications.UniversalResNet18("five_domains")
