"""What networks of several dense tasks share."""

from typing import Any

import keras

from keras_univrep.layers.stored_names import check_names, store_names


class NamedTasks(keras.Model):
    """A functional network that keeps the names of its tasks with its weights."""

    # Channels of each task by its name; None where a network may have none.
    tasks: Any

    def save_own_variables(self, store: Any) -> None:
        """Writes the names of the outputs too.

        Args:
            store: Keras's store of this layer's own weights.
        """
        super().save_own_variables(store)
        store_names(store, self.tasks or {})

    def load_own_variables(self, store: Any) -> None:
        """Refuses weights whose outputs are not called as this network's.

        Args:
            store: Keras's store of this layer's own weights.

        Raises:
            ValueError: If they are not, or come in another order.
        """
        super().load_own_variables(check_names(store, self.tasks or {}, self.name))
