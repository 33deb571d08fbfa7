import numpy as np
import pytest

from keras_univrep.layers.stored_names import check_names, store_names


def test_names_are_taken_out_and_the_rest_is_left():
    store = {"0": np.ones(2)}
    store_names(store, {"b": 2, "ä": 3})
    assert store["outputs"].dtype == "uint8"
    kept = check_names(store, {"b": 2, "ä": 3}, "model")
    assert list(kept) == ["0"] and kept["0"] is store["0"]
    assert check_names(kept, {"other": 1}, "model") == kept


@pytest.mark.parametrize(
    "outputs", [{"a": 3, "b": 2}, {"b": 2}, {"b": 2, "a": 4}, {"b": 2, "c": 3}]
)
def test_other_names_sizes_and_orders_are_refused(outputs):
    store: dict = {}
    store_names(store, {"b": 2, "a": 3})
    with pytest.raises(ValueError, match="outputs of model, in this order.*{'b': 2, 'a': 3}"):
        check_names(store, outputs, "model")
