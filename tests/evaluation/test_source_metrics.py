"""`source_metrics` against answers that are known."""

import keras
import numpy as np
import pytest

from keras_univrep import datasets, evaluation


class Answers:
    """Answers each source with what `answer` makes of its targets, in the order of its images."""

    def __init__(self, answer) -> None:
        self.answer = answer

    def for_source(self, task, source):
        network = keras.Sequential([keras.layers.Flatten()])
        targets = iter([datasets.random_sources()[task][source].arrays("test")[1]])
        network.predict_on_batch = lambda images: self.answer(next(targets))
        return network

    def head(self, task, source):
        return self

    def predict_boxes(self, outputs, image_shape):
        assert tuple(image_shape) == (32, 32)
        return outputs


def truth(targets):
    if isinstance(targets, dict):
        return {**targets, "scores": np.where(targets["labels"] >= 0, 0.9, 0.0)}
    targets = np.asarray(targets)
    if targets.dtype == np.float32:
        return targets
    return 9.0 * np.eye(3, dtype="float32")[np.maximum(targets, 0)]


def test_the_truth_is_perfect_and_a_known_error_is_measured() -> None:
    sources = datasets.random_sources()
    found = evaluation.source_metrics(Answers(truth), sources, "test")
    assert {task: list(row) for task, row in found.items()} == {
        task: list(row) for task, row in sources.items()
    }
    values = {task: next(iter(row.values())) for task, row in found.items()}
    assert values["classification"] == values["detection"] == pytest.approx(100.0)
    assert values["segmentation"] == pytest.approx(100.0) and values["depth"] == 0.0
    far = evaluation.source_metrics(
        Answers(lambda targets: targets + 0.5), {"depth": sources["depth"]}, "test"
    )
    assert far["depth"]["rooms"] == pytest.approx(0.5, rel=1e-5)


def test_wrong_classes_and_boxes_count() -> None:
    sources = datasets.random_sources()

    def wrong(targets):
        if isinstance(targets, dict):
            return {**truth(targets), "boxes": targets["boxes"] + 20.0}
        return truth(np.where(np.arange(len(targets)) == 0, 1 - targets, targets))

    some = {task: sources[task] for task in ("classification", "detection")}
    found = evaluation.source_metrics(Answers(wrong), some, "test")
    assert found == {"classification": {"boxes": 75.0}, "detection": {"boxes": 0.0}}
