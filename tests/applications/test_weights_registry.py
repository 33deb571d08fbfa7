import dataclasses

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
    assert sorted(path.name for path in tmp_path.iterdir()) == ["domains.json", "registry.json"]


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
