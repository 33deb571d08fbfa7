"""Imports TensorFlow for data work only."""

import types

import keras


def load_tensorflow() -> types.ModuleType:
    """Imports TensorFlow when a pipeline needs it, and keeps it off the accelerator another backend
    trains on.

    Returns:
        The `tensorflow` module.

    Raises:
        ImportError: If TensorFlow is not installed.
    """
    try:
        import tensorflow as tf
    except ImportError as error:
        raise ImportError(
            "tf.data pipelines need TensorFlow. Received: an installation without it. Run "
            "`pip install keras_univrep[data]`, or use `MultiDomainSequence` or `endless_batches`, "
            "which need NumPy alone."
        ) from error
    if keras.backend.backend() != "tensorflow" and tf.config.get_visible_devices("GPU"):
        try:
            tf.config.set_visible_devices([], "GPU")
        except RuntimeError:
            # TensorFlow already runs on the GPU: the caller started it there, and it can no longer
            # be moved.
            return tf
    return tf
