"""Cohorts with ties, what scikit-survival takes, and models whose weights are their outputs."""

import keras
import numpy as np
from sksurv.util import Surv

from glimr_keras.survival import survival_target


class Cohort:
    """Samples with times in tens of days, of which many are tied, and risks that are tied too."""

    def __init__(self, size, seed=0, ties=True):
        generator = np.random.default_rng(seed)
        x = generator.normal(size=size)
        death, censoring = generator.exponential(np.exp(-x)), generator.exponential(1.5, size)
        self.time = np.minimum(death, censoring).astype("float32").astype(float)
        self.time = np.ceil(self.time * 10) if ties else self.time
        self.event = death <= censoring
        self.risk = (x + generator.normal(size=size)).round(1 if ties else 6).astype("float32")
        self.target = survival_target(self.time, self.event)
        self.outcome = Surv.from_arrays(self.event, self.time)


def vector_model(outputs, loss=None, **compiled):
    """A model that gives sample i, whose input is row i of a unit matrix, row i of `outputs`."""
    outputs = np.asarray(outputs, "float32")
    dense = keras.layers.Dense(outputs.shape[1], use_bias=False)
    model = keras.Sequential([keras.Input((len(outputs),)), dense])
    dense.set_weights([outputs])
    model.compile(keras.optimizers.SGD(1.0), loss, **compiled)
    return model


def identity_model(columns=1, **compiled):
    """A model whose outputs are its inputs."""
    model = keras.Sequential([keras.Input((columns,)), keras.layers.Identity()])
    model.compile(**compiled)
    return model


def gradient(loss, y_true, outputs, sample_weight=None):
    """The gradient of a loss: what a step of gradient descent takes off the outputs."""
    outputs = np.asarray(outputs, "float32")
    model = vector_model(outputs, loss)
    model.train_on_batch(np.eye(len(outputs), dtype="float32"), y_true, sample_weight)
    return outputs - model.get_weights()[0]
