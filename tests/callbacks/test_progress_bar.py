import keras
import numpy as np

from keras_univrep.callbacks import ProgressBar


def test_the_bar_counts_steps_and_starts_where_a_resumed_training_is():
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.ones((6, 3), "float32")
    seen = []

    class Spy(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(bar._progress.tasks[0].completed)

    bar = ProgressBar("toy", steps_per_epoch=3, epochs=4)
    fit = {"batch_size": 2, "epochs": 4, "initial_epoch": 2, "verbose": 0}
    model.fit(x, x[:, :1], callbacks=[bar, Spy()], **fit)
    assert seen == [7, 8, 9, 10, 11, 12]
    assert bar._progress.finished and "loss" in bar._progress.tasks[0].fields["status"]
