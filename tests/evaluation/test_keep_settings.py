"""`keep_settings` keeps what a run was begun with."""

import json

import pytest

from keras_univrep import evaluation

SETTINGS = {"steps": 100, "sizes": (32, 64), "rate": 0.1}


def test_the_settings_are_written_and_the_same_ones_go_on(tmp_path) -> None:
    folder = tmp_path / "new" / "run"
    evaluation.keep_settings(folder, SETTINGS)
    written = (folder / "settings.json").read_text()
    assert json.loads(written) == {"steps": 100, "sizes": [32, 64], "rate": 0.1}
    evaluation.keep_settings(folder, dict(reversed(SETTINGS.items())))
    assert [path.name for path in folder.iterdir()] == ["settings.json"]
    assert (folder / "settings.json").read_text() == written


@pytest.mark.parametrize(
    "other", [{**SETTINGS, "steps": 99}, {"steps": 100}, {**SETTINGS, "seed": 1}]
)
def test_other_settings_are_refused_by_name_and_nothing_is_written(tmp_path, other) -> None:
    evaluation.keep_settings(tmp_path, SETTINGS)
    written = (tmp_path / "settings.json").read_text()
    changed = {name for name in {*SETTINGS, *other} if SETTINGS.get(name) != other.get(name)}
    with pytest.raises(ValueError, match=f"other values of {', '.join(sorted(changed))}: "):
        evaluation.keep_settings(tmp_path, other)
    assert (tmp_path / "settings.json").read_text() == written
