import dataclasses
import json
import os
import pathlib

import pytest

from keras_univrep.applications import DomainEntry, find_entry, list_weights, weights_registry
from keras_univrep.applications.weights_registry import read_registry, write_registry


def test_every_entry_describes_the_file_that_is_there():
    for name, entry in list_weights().items():
        path = weights_registry.FOLDER / entry.file
        assert path.stat().st_size == entry.size, name
        assert set(entry.measured) <= set(entry.domains), name
        assert entry.recipe.startswith("python recipes/") and entry.licence and entry.parameters
        for domain in entry.domains.values():
            assert len(set(domain.class_names)) == domain.num_classes
            assert len(domain.mean) == len(domain.std) == 3 and min(domain.std) > 0.0


def test_the_shipped_files_are_at_most_30_mb_together():
    assert sum(entry.size for entry in list_weights().values()) <= 30e6


def test_a_registry_is_read_as_it_was_written(tmp_path):
    known = list_weights()
    write_registry(tmp_path, known)
    assert read_registry(tmp_path) == known
    assert sorted(path.name for path in tmp_path.iterdir()) == ["class_names.json", "registry.json"]


def test_entries_keep_what_each_knows_of_a_domain(tmp_path):
    one = list_weights()["five_domains_teacher_eurosat"]
    domain = one.domain()
    larger = dataclasses.replace(domain, input_size=(64, 64), mean=(0.1,) * 3, licence="MIT")
    renamed = dataclasses.replace(domain, class_names=tuple("abcdefghij"))
    known = {
        name: dataclasses.replace(one, name=name, domains={"eurosat": of})
        for name, of in (("one", domain), ("two", larger), ("three", renamed))
    }
    write_registry(tmp_path, known)
    assert read_registry(tmp_path) == known
    # Equal names are there once.
    assert len(json.loads((tmp_path / "class_names.json").read_text())) == 2


def test_a_registry_that_is_half_written_is_the_old_one(tmp_path, monkeypatch):
    known = list_weights()
    old, new = ({name: known[name]} for name in ("five_domains_teacher_letters", "vdd"))
    write_registry(tmp_path, old)
    replace = os.replace

    def one_file_only(source, target):
        if pathlib.Path(target).name == "registry.json":
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr("os.replace", one_file_only)
    with pytest.raises(OSError, match="No space left"):
        write_registry(tmp_path, new)
    monkeypatch.undo()
    assert read_registry(tmp_path) == old
    for _ in range(2):
        write_registry(tmp_path, new)
    assert read_registry(tmp_path) == new
    assert len(json.loads((tmp_path / "class_names.json").read_text())) == len(new["vdd"].domains)


def test_a_folder_without_a_registry_has_no_weights(tmp_path):
    assert read_registry(tmp_path) == {}


def test_entries_are_found_by_name_alias_and_domain():
    assert find_entry("demo") == find_entry("five_domains")
    assert find_entry("five_domains_teacher_letters").domain().num_classes == 26
    with pytest.raises(ValueError, match="one of"):
        find_entry("demo").domain()
    with pytest.raises(ValueError, match="one name per class"):
        dataclasses.replace(find_entry("demo").domain("eurosat"), num_classes=3)
    assert isinstance(find_entry("demo").domain("eurosat"), DomainEntry)


def test_constructors_that_have_no_weights_list_none():
    assert list_weights("UniversalSegNet") == {}
