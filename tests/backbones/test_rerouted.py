"""Layers that compute by other functions do so in the thread that asked for it alone."""

from __future__ import annotations

import threading
from collections.abc import Callable

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.backbones import AdaptedBackbone, OmniNet, call_modulated, film_layers
from keras_univrep.backbones._rerouted import call_of, rerouted
from tests.backbones import trunks
from tests.harness import randomize


def test_another_thread_goes_its_own_way() -> None:
    layer = keras.layers.ReLU()
    x = ops.convert_to_tensor([[-1.0, 2.0]])
    found = {}

    def run(name: str) -> None:
        found[name] = ops.convert_to_numpy(layer(x)).tolist()

    def run_by(number: float, meanwhile: Callable[[], None]) -> None:
        with rerouted([(layer, lambda inputs: inputs * number)]):
            meanwhile()
            run(f"by {number}")

    def start(target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args)
        thread.start()
        thread.join()

    def meanwhile() -> None:
        start(run, "plain")
        start(run_by, 3.0, lambda: None)

    run_by(2.0, meanwhile)
    run("after")
    assert found == {
        "plain": [[0.0, 2.0]],
        "by 3.0": [[-3.0, 6.0]],
        "by 2.0": [[-2.0, 4.0]],
        "after": [[0.0, 2.0]],
    }
    assert "call" not in layer.__dict__


def test_ways_are_nested_and_end_with_an_error() -> None:
    layer = keras.layers.ReLU()
    own = layer.__dict__["call"] = lambda inputs: inputs - 1.0
    x = ops.convert_to_tensor([1.0])
    with pytest.raises(ZeroDivisionError), rerouted([(layer, lambda inputs: inputs + 1.0)]):
        outer = call_of(layer)
        with rerouted([(layer, lambda inputs: 10.0 * outer(inputs))]):
            assert float(layer(x)[0]) == 20.0
        assert float(layer(x)[0]) == 2.0
        _ = 1 / 0
    assert layer.__dict__["call"] is own


def adapted() -> dict[str, Callable[[np.ndarray], object]]:
    backbone = AdaptedBackbone(trunks.functional(), ["a", "b"])
    randomize(backbone)
    return {name: lambda x, name=name: backbone(x, domain=name) for name in "ab"}


def omni() -> dict[str, Callable[[np.ndarray], object]]:
    network = OmniNet(trunks.functional())
    randomize(network)
    return {name: lambda x, name=name: network(x, flow=name) for name in ("joint", "pre", "meta")}


def modulated() -> dict[str, Callable[[np.ndarray], object]]:
    trunk = trunks.functional()
    names = film_layers(trunk)
    return {
        str(k): lambda x, k=k: call_modulated(trunk, x, names, lambda _, y: y * k)
        for k in (0.5, 1.0, 2.0)
    }


@pytest.mark.parametrize("make", [adapted, omni, modulated])
def test_threads_get_the_answers_that_they_ask_for(
    make: Callable[[], dict[str, Callable[[np.ndarray], object]]],
) -> None:
    calls = make()
    x = trunks.images(2)
    right = {name: ops.convert_to_numpy(call(x)) for name, call in calls.items()}
    first, *others = right.values()
    assert all(np.abs(first - other).max() > 1e-3 for other in others)
    together, wrong = threading.Barrier(len(calls)), []

    def run(name: str) -> None:
        together.wait()
        for _ in range(10):
            found = ops.convert_to_numpy(calls[name](x))
            if np.abs(found - right[name]).max() > 1e-4 * np.abs(right[name]).max():
                wrong.append(name)

    threads = [threading.Thread(target=run, args=(name,)) for name in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
