"""What is known of named weights."""

from keras_univrep.applications.weights_entry import WeightsEntry
from keras_univrep.applications.weights_registry import list_weights


def find_entry(name: str, constructor: str | None = None) -> WeightsEntry:
    """Returns what is known of a set of weights.

    Args:
        name: A name that `list_weights` knows, or an alias of it.
        constructor: The constructor that the weights must be made for; any by default.

    Returns:
        Its `WeightsEntry`.

    Raises:
        ValueError: If the name is unknown.

    Example:
        >>> from keras_univrep.applications import find_entry
        >>> round(find_entry("demo").measured["eurosat"])
        76
    """
    known = list_weights(constructor)
    aliases = {alias: entry for entry in known.values() for alias in entry.aliases}
    entry = known.get(name) or aliases.get(name)
    if entry is None:
        raise ValueError(
            "`weights` must be None, the path of a .weights.h5 file, or one of "
            f"{sorted([*known, *aliases])}. Received: weights={name!r}."
        )
    return entry
