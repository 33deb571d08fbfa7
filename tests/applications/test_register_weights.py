import dataclasses

import numpy as np
import pytest

from keras_univrep.applications import DomainEntry, UniversalResNet26, register_weights
from keras_univrep.applications.find_weights import checksum
from keras_univrep.applications.weights_registry import read_registry

DOMAINS = {
    name: DomainEntry(name, count, tuple(map(str, range(count))), (32, 32), (0.5,) * 3, (0.2,) * 3)
    for name, count in (("a", 2), ("b", 3))
}


def register(model, folder, **options):
    return register_weights(
        model, "own", DOMAINS, {"a": 50.0}, "python recipes/x.py", "MIT", folder=folder,
        architecture={"width": 0.125}, **options,
    )  # fmt: skip


def test_a_registered_network_is_found_with_its_checksum(tmp_path):
    model = UniversalResNet26(None, {"a": 2, "b": 3}, width=0.125)
    entry = register(model, tmp_path, half=True, aliases=["mine"])
    assert read_registry(tmp_path) == {"own": entry}
    path = tmp_path / entry.file
    assert (checksum(path), path.stat().st_size) == (entry.sha256, entry.size)
    assert UniversalResNet26(path, entry.num_classes, **entry.architecture).domains == ("a", "b")
    # Again: the entry is replaced, not doubled.
    assert register(model, tmp_path).aliases == () and len(read_registry(tmp_path)) == 1


def test_domains_that_are_not_the_networks_are_refused(tmp_path):
    with pytest.raises(ValueError, match="Describe each"):
        register(UniversalResNet26(None, {"a": 2}, width=0.125), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_failed_write_changes_no_entry(tmp_path, monkeypatch):
    model = UniversalResNet26(None, {"a": 2, "b": 3}, width=0.125)
    entry = register(model, tmp_path)

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space left"):
        register(model, tmp_path, half=True)
    monkeypatch.undo()
    assert read_registry(tmp_path) == {"own": entry}
    assert checksum(tmp_path / entry.file) == entry.sha256


def test_what_is_measured_is_the_file_as_the_constructor_reads_it(tmp_path):
    model = UniversalResNet26(None, {"a": 2, "b": 3}, width=0.125)
    seen = []

    def measure(network):
        seen.append(network)
        return {"a": 25.0}

    entry = register_weights(
        model, "own", DOMAINS, measure, "python recipes/x.py", "MIT", folder=tmp_path,
        architecture={"width": 0.125}, half=True,
    )  # fmt: skip
    assert entry.measured == {"a": 25.0} and read_registry(tmp_path) == {"own": entry}
    for got, exact in zip(seen[0].weights, model.weights, strict=True):
        expected = exact.numpy()
        if exact.name == "kernel":
            expected = expected.astype("float16").astype("float32")
        np.testing.assert_array_equal(got.numpy(), expected)


def test_weights_of_one_domain_at_two_sizes_coexist(tmp_path):
    model = UniversalResNet26(None, {"a": 2, "b": 3}, width=0.125)
    first = register(model, tmp_path)
    larger = {
        name: dataclasses.replace(domain, input_size=(72, 72), mean=(0.1,) * 3)
        for name, domain in DOMAINS.items()
    }
    second = register_weights(
        model, "larger", larger, {}, "python recipes/x.py", "MIT", folder=tmp_path,
        architecture={"width": 0.125},
    )  # fmt: skip
    assert read_registry(tmp_path) == {"own": first, "larger": second}
