"""Losses by name."""

from __future__ import annotations

import keras
import pytest

from keras_univrep import losses


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("attention_transfer", losses.AttentionTransfer),
        ("cka", losses.CKA),
        ("cka_linear", losses.CKA),
        ("cosine", losses.CosineDistance),
        ("kl", losses.KLDistillation),
        ("normalized_l2", losses.NormalizedL2),
    ],
)
def test_name_gives_a_new_loss_of_that_name(name: str, kind: type) -> None:
    loss = losses.get(name)
    assert type(loss) is kind
    assert loss.name == name
    assert losses.get(name) is not loss


def test_cka_by_name_has_the_kernel_of_the_name() -> None:
    assert losses.get("cka").kernel == "rbf"
    assert losses.get("cka_linear").kernel == "linear"


def test_loss_and_callable_are_returned_as_they_are() -> None:
    loss = losses.KLDistillation(4.0)
    assert losses.get(loss) is loss
    assert losses.get(keras.losses.mean_squared_error) is keras.losses.mean_squared_error


def test_serialized_loss_is_restored() -> None:
    loss = losses.get(keras.saving.serialize_keras_object(losses.KLDistillation(4.0)))
    assert isinstance(loss, losses.KLDistillation)
    assert loss.temperature == 4.0


def test_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'cka_linear'.*Received: identifier='l2'"):
        losses.get("l2")


def test_other_types_are_refused() -> None:
    with pytest.raises(TypeError, match="identifier=3"):
        losses.get(3)
