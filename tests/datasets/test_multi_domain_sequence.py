"""`MultiDomainSequence` gives the pipeline's batches and trains on every backend."""

import itertools

import keras
import numpy as np
import pytest

from keras_univrep.datasets import (
    Domain,
    MultiDomainSequence,
    domain_from_arrays,
    multi_domain_pipeline,
)

RNG = np.random.default_rng(0)


def toy(name: str, size: int) -> Domain:
    images = RNG.integers(0, 256, (size, 8, 8, 3)).astype("uint8")
    return domain_from_arrays(name, (images, np.arange(size) % 3), flip=True)


DOMAINS = [toy("a", 10), toy("b", 4)]


@pytest.mark.parametrize("training", [True, False])
def test_batches_equal_those_of_the_pipeline(training: bool) -> None:
    sequence = MultiDomainSequence(DOMAINS, "train", 4, training=training, seed=6)
    dataset = multi_domain_pipeline(DOMAINS, "train", 4, training=training, seed=6)
    steps = dataset.as_numpy_iterator()
    for epoch in range(2 if training else 1):
        for index in range(len(sequence)):
            for one, other in zip(sequence[index], next(steps), strict=True):
                assert one.keys() == other.keys()
                for name in one:
                    np.testing.assert_array_equal(one[name], other[name], err_msg=f"{epoch}")
        sequence.on_epoch_end()


def test_an_epoch_is_a_pass_over_the_longest_domain_unless_told() -> None:
    assert len(MultiDomainSequence(DOMAINS, "train", 4, training=True)) == 3
    assert len(MultiDomainSequence(DOMAINS, "train", 4, training=True, steps=11)) == 11
    assert len(MultiDomainSequence(DOMAINS, "train", 4)) == 3


def test_evaluation_repeats_from_epoch_to_epoch() -> None:
    sequence = MultiDomainSequence(DOMAINS, "train", 4)
    first = [sequence[i][1]["a"] for i in range(3)]
    sequence.on_epoch_end()
    for index, labels in enumerate(first):
        np.testing.assert_array_equal(sequence[index][1]["a"], labels)
    np.testing.assert_array_equal(np.concatenate(first), np.arange(10) % 3)


class Heads(keras.Model):
    """One dense head for each domain."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = {name: keras.layers.Dense(3, name=name) for name in ("a", "b")}
        self.pool = keras.layers.GlobalAveragePooling2D()

    def call(self, inputs: dict) -> dict:
        return {name: self.heads[name](self.pool(inputs[name])) for name in inputs}


def test_fit_trains_on_it_and_asks_for_new_batches_each_epoch() -> None:
    asked: list[tuple[int, int]] = []

    class Spy(MultiDomainSequence):
        def __getitem__(self, index: int) -> tuple[dict, dict]:
            asked.append((self._epoch, index))
            batch = super().__getitem__(index)
            assert {name: images.shape for name, images in batch[0].items()} == {
                "a": (4, 8, 8, 3),
                "b": (4, 8, 8, 3),
            }
            return batch

    spy = Spy(DOMAINS, "train", 4, training=True, steps=2)
    model = Heads()
    loss = {
        name: keras.losses.SparseCategoricalCrossentropy(from_logits=True) for name in ("a", "b")
    }
    model.compile(optimizer="sgd", loss=loss)
    evaluation = MultiDomainSequence(DOMAINS, "train", 4)
    history = model.fit(spy, epochs=3, shuffle=False, validation_data=evaluation, verbose=0)
    assert np.isfinite(history.history["loss"]).all() and len(history.history["val_loss"]) == 3
    # What is asked in epoch 0 comes before training: Keras looks at the shapes.
    trained = [step for step in asked if step[0] > 0]
    assert trained == list(itertools.product((1, 2, 3), range(2)))


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="steps=0"):
        MultiDomainSequence(DOMAINS, "train", 4, training=True, steps=0)
    with pytest.raises(ValueError, match="steps=5, training=False"):
        MultiDomainSequence(DOMAINS, "train", 4, steps=5)
    with pytest.raises(IndexError, match="index=3"):
        MultiDomainSequence(DOMAINS, "train", 4)[3]
