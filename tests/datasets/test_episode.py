"""`Episode` counts its classes and shots."""

import dataclasses

import numpy as np
import pytest

from keras_univrep.datasets import Episode


def make(support_labels: np.ndarray, classes: np.ndarray) -> Episode:
    indices = np.arange(support_labels.shape[-1])
    return Episode(indices, support_labels, indices, support_labels, classes)


def test_shots_are_counted_class_by_class() -> None:
    episode = make(np.array([0, 0, 1, 2, 2, 2]), np.array([7, 4, 9]))
    assert episode.way == 3 and episode.shots.tolist() == [2, 1, 3]


def test_blocks_keep_their_axis() -> None:
    episode = make(np.array([[0, 0, 1], [0, 1, 1]]), np.array([[7, 4], [1, 2]]))
    assert episode.way == 2 and episode.shots.tolist() == [[2, 1], [1, 2]]


def test_an_episode_cannot_be_changed() -> None:
    episode = make(np.array([0]), np.array([7]))
    with pytest.raises(dataclasses.FrozenInstanceError):
        episode.classes = np.array([8])
