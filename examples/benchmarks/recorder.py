"""The Keras callback that marks a trial's first epoch and its end. In a module of its own, because
it imports Keras.
"""

import events
import keras


class Recorder(keras.callbacks.Callback):
    """Given to every contender's `fit`."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 0:
            events.emit("first_epoch")

    def on_train_end(self, logs=None):
        events.emit("fit_end")
