"""`omniglot_vinyals` splits characters as the papers do, and turns them."""

import os
import pathlib

import numpy as np
import pytest

from keras_univrep.datasets import EpisodeSampler, episode_batches, omniglot_vinyals

REAL = os.environ.get("KERAS_UNIVREP_DATA", "")
SPLITS = ("train", "validation", "test")
# Alphabets and their characters, the evaluation ones behind the mark.
BACKGROUND = {"Armenian": 41, "Bengali": 46, "Early_Aramaic": 22, "Greek": 792, "Hebrew": 22}
BACKGROUND["Mkhedruli_(Georgian)"] = 41
EVALUATION = {"Angelic": 230, "Gurmukhi": 45, "ULOG": 384}


def write(folder: pathlib.Path) -> np.ndarray:
    """Writes a set of the right size, its alphabets sorted; returns its images."""
    rows = sorted(
        (name, f"character{number + 1:02d}", evaluates)
        for evaluates, counts in ((False, BACKGROUND), (True, EVALUATION))
        for name, count in counts.items()
        for number in range(count)
    )
    assert len(rows) == 1623
    packed = np.random.default_rng(0).integers(0, 256, (1623, 20, 98)).astype("uint8")
    path = folder / "omniglot28" / "omniglot28.npz"
    path.parent.mkdir(parents=True)
    alphabet, character, is_evaluation = map(np.array, zip(*rows, strict=True))
    np.savez(
        path, packed=packed, alphabet=alphabet, character=character, is_evaluation=is_evaluation
    )
    return np.unpackbits(packed, axis=-1).reshape(1623, 20, 28, 28, 1) * np.uint8(255)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[pathlib.Path, np.ndarray]:
    folder = tmp_path_factory.mktemp("sets")
    return folder, write(folder)


@pytest.mark.parametrize("turns", [1, 4])
def test_splits_have_the_published_numbers_of_classes_and_share_none(made, turns: int) -> None:
    domain = omniglot_vinyals(made[0], rotations=turns == 4)
    found = {split: np.unique(domain.arrays(split)[1], return_counts=True) for split in SPLITS}
    assert [len(found[split][0]) for split in SPLITS] == [1028 * turns, 172 * turns, 423 * turns]
    assert domain.num_classes == 1623 * turns == len(set(domain.class_names))
    assert sorted(np.concatenate([classes for classes, _ in found.values()])) == list(
        range(1623 * turns)
    )
    assert all((counts == 20).all() for _, counts in found.values())


def test_the_last_evaluation_characters_are_tested_and_five_alphabets_validate(made) -> None:
    domain = omniglot_vinyals(made[0], rotations=False)
    names = {split: {domain.class_names[k] for k in domain.arrays(split)[1]} for split in SPLITS}
    alphabets = {split: {name.split("/")[0] for name in names[split]} for split in SPLITS}
    assert alphabets["validation"] == set(BACKGROUND) - {"Greek"}
    assert alphabets["train"] == {"Greek", "Angelic", "Gurmukhi"}
    assert {name for name in names["train"] if "Gurmukhi" in name} == {
        f"Gurmukhi/character{number:02d}" for number in range(1, 7)
    }
    assert alphabets["test"] == {"Gurmukhi", "ULOG"}


def test_turned_characters_are_classes_of_their_own(made) -> None:
    folder, pixels = made
    domain = omniglot_vinyals(folder)
    images, labels = domain.arrays("validation")
    for label in (labels[0], labels[20], labels[-1]):
        number, turn = divmod(int(label), 4)
        wanted = np.stack([np.rot90(image, turn) for image in pixels[number]])
        np.testing.assert_array_equal(images[labels == label], wanted)
        assert domain.class_names[label].endswith(f"/rot{90 * turn:03d}")
    train = omniglot_vinyals(folder, rotations=False).arrays("train")[0]
    np.testing.assert_allclose(domain.mean, train.mean() / 255, rtol=1e-6)
    np.testing.assert_allclose(domain.std, train.std() / 255, rtol=1e-6)


def test_it_gives_episodes(made) -> None:
    domain = omniglot_vinyals(made[0])
    sampler = EpisodeSampler(domain.arrays("test")[1], way=20, shot=1, query=15)
    batch = episode_batches(domain, "test", sampler, 2, batch_size=2)[0]
    assert batch["query_images"].shape == (2, 300, 28, 28, 1)


@pytest.mark.skipif(not pathlib.Path(REAL or "absent").is_dir(), reason="no KERAS_UNIVREP_DATA")
def test_the_real_set_has_the_published_split() -> None:
    domain = omniglot_vinyals(rotations=False)
    names = {split: {domain.class_names[k] for k in domain.arrays(split)[1]} for split in SPLITS}
    tested = {name.split("/")[0] for name in names["test"]}
    assert len(names["test"]) == 423 and len(tested) == 13
    assert {name for name in names["test"] if name.startswith("Gurmukhi")} == {
        f"Gurmukhi/character{number}" for number in (42, 43, 44, 45)
    }
    # Strokes are bright on a dark ground.
    assert 0.02 < domain.mean[0] < 0.2


def test_what_is_no_such_set_is_refused(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("KERAS_UNIVREP_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="KERAS_UNIVREP_DATA=None"):
        omniglot_vinyals()
    with pytest.raises(FileNotFoundError, match="omniglot28.npz"):
        omniglot_vinyals(tmp_path)
    path = tmp_path / "omniglot28" / "omniglot28.npz"
    path.parent.mkdir()
    np.savez(path, packed=np.zeros((3, 20, 98), "uint8"))
    with pytest.raises(ValueError, match="Fetch it again"):
        omniglot_vinyals(tmp_path)
    np.savez(
        path,
        packed=np.zeros((3, 20, 98), "uint8"),
        alphabet=np.array(["a"] * 3),
        character=np.array(["b"] * 3),
        is_evaluation=np.array([False, False, True]),
    )
    with pytest.raises(ValueError, match=r"of shape \(1623, 20, 98\)"):
        omniglot_vinyals(tmp_path)
