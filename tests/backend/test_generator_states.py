import keras
import numpy as np

from keras_univrep import backend


def test_what_is_drawn_after_setting_back_is_drawn_again():
    layer = keras.layers.Dropout(0.5)  # without a seed, which on PyTorch means PyTorch's own
    x = np.ones((1, 64), "float32")
    states = backend.generator_states()
    seed = keras.ops.convert_to_numpy(layer.seed_generator.state)
    first = keras.ops.convert_to_numpy(layer(x, training=True))
    other = keras.ops.convert_to_numpy(layer(x, training=True))
    backend.set_generator_states(states)
    layer.seed_generator.state.assign(seed)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer(x, training=True)), first)
    assert (first != other).any()
    assert bool(states) == (keras.backend.backend() == "torch")
    assert all(state.dtype == "uint8" for state in states)
