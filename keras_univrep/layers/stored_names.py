"""What a network's outputs are called, kept with its weights."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

# Beside the numbers under which Keras keeps a layer's own weights.
KEY = "outputs"


def store_names(store: Any, outputs: Mapping[str, int]) -> None:
    """Writes the names and sizes of a network's outputs to the store of its own weights.

    Keras stores a list of layers by their places in it, so that the weights of two domains with as
    many classes, or of two tasks with as many channels, would change places without an error.

    Args:
        store: What Keras gives to `save_own_variables`.
        outputs: Classes of each domain, or channels of each task, in the network's order.
    """
    store[KEY] = np.frombuffer(json.dumps(list(outputs.items())).encode(), "uint8")


def check_names(store: Any, outputs: Mapping[str, int], owner: str) -> dict[str, Any]:
    """Refuses weights of other outputs than a network's, or of the same in another order.

    Args:
        store: What Keras gives to `load_own_variables`; without names, which older files lack,
            there is nothing to check.
        outputs: Classes of each domain, or channels of each task, in the network's order.
        owner: What to call the network in an error.

    Returns:
        The store without the names.

    Raises:
        ValueError: If they differ.
    """
    kept = {key: store[key] for key in store.keys()}
    names = kept.pop(KEY, None)
    if names is not None:
        found = json.loads(np.asarray(names, "uint8").tobytes())
        if found != [list(item) for item in outputs.items()]:
            raise ValueError(
                f"The weights must be those of the outputs of {owner}, in this order: "
                f"{dict(outputs)}. Received: weights of {dict(found)}. Make the network with "
                "these, and add, remove or rename domains afterwards."
            )
    return kept
