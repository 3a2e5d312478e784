"""A model with a `train_step` of its own, whose training has state of every kind."""

import keras
import numpy as np

from tests import tiny_models


class Average:
    """An object that is none of Keras': a moving average of weights.

    Args:
        weights: Of what.
    """

    def __init__(self, weights):
        self.shadow = {
            str(number): keras.Variable(keras.ops.copy(weight.value), trainable=False)
            for number, weight in enumerate(weights)
        }


class Warmup(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule with a variable that training changes."""

    def __init__(self, rate):
        super().__init__()
        self.rate = keras.Variable(rate, trainable=False)

    def __call__(self, step):
        return self.rate.value

    def get_config(self):
        return {"rate": float(self.rate)}


class Pair(keras.Model):
    """Two networks with an optimizer each, as a GAN has, and more optimizers in a dict."""

    def __init__(self, units):
        super().__init__()
        self.maker = keras.Sequential([keras.Input((6,)), keras.layers.Dense(units)])
        self.judge = keras.Sequential(
            [keras.Input((units,)), keras.layers.Dropout(0.5), keras.layers.Dense(2, "softmax")]
        )
        self.average = Average(self.judge.weights)
        self.steps_seen = keras.metrics.Sum(name="steps_seen")
        self.call(keras.KerasTensor((None, 6)))
        self.built = True

    def call(self, inputs, training=False):
        return self.judge(self.maker(inputs), training=training)

    def compile(self, rate=0.01):
        super().compile(
            loss="sparse_categorical_crossentropy", metrics=["accuracy"], run_eagerly=True
        )
        self.optimizer = None
        self.maker_optimizer = keras.optimizers.Adam(rate)
        self.others = {"judge": [keras.optimizers.SGD(Warmup(rate), momentum=0.9)]}

    @property
    def metrics(self):
        return [metric for metric in super().metrics if metric is not self.steps_seen]

    def train_step(self, data):
        import tensorflow as tf

        x, y = data
        with tf.GradientTape(persistent=True) as tape:
            predicted = self(x, training=True)
            loss = self.compute_loss(x, y, predicted)
        (judge_optimizer,) = self.others["judge"]
        for optimizer, part in ((self.maker_optimizer, self.maker), (judge_optimizer, self.judge)):
            weights = part.trainable_variables
            optimizer.apply(tape.gradient(loss, weights), weights)
        judge_optimizer._learning_rate.rate.assign(judge_optimizer._learning_rate.rate * 0.9)
        for number, weight in enumerate(self.judge.weights):
            shadow = self.average.shadow[str(number)]
            shadow.assign(0.9 * shadow + 0.1 * weight)
        self.steps_seen.update_state(1.0)
        return {"loss": loss, **self.compute_metrics(x, y, predicted)}

    def state(self):
        """All that a training has, by name."""
        (judge,) = self.others["judge"]
        parts = {
            "maker": self.maker_optimizer.variables,
            "judge": judge.variables,
            "rate": [judge._learning_rate.rate],
            "average": self.average.shadow.values(),
            "steps": self.steps_seen.variables,
            "seed": [layer.seed_generator.state for layer in self.judge.layers[:1]],
            "weights": self.weights,
        }
        return {
            name: [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]
            for name, variables in parts.items()
        }


def build(config):
    """A pair, compiled."""
    keras.utils.set_random_seed(1)
    model = Pair(config.Int("units", 2, 8))
    model.compile()
    return model


def trained(config, epochs=2):
    """A pair that was trained for some epochs, whose batches are always in the same order."""
    model = build(config)
    model.fit(*tiny_models.TRAIN, epochs=epochs, shuffle=False, verbose=0)
    return model
