"""What is trained: models, data, and the listed configurations that every contender gets.

Nothing here imports Keras before a model is built: a contender's start-up is its own.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import events
import numpy as np

Values = dict[str, Any]
Arrays = tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Workload:
    """One model, its data and its search space.

    Attributes:
        space: Bounds by name, both inclusive: of whole numbers, or of floats on a logarithmic
            scale.
        make_model: Builds and compiles the model of a configuration.
        make_data: Returns training and validation data.
        fit: Further arguments of Keras' `fit`, the same for all trials.
        objective: What is minimised or maximised, a name that Keras logs.
    """

    name: str
    space: dict[str, tuple[float, float]]
    make_model: Callable[[Values], Any] | None = None
    make_data: Callable[[], tuple[Arrays, Arrays]] | None = None
    fit: dict[str, Any] = dataclasses.field(default_factory=dict)
    objective: str = "val_loss"

    def configurations(self, count: int) -> list[Values]:
        """The first `count` configurations; their own `"index"` is among the values, so that events
        can name it.
        """
        rng = np.random.default_rng(1)
        return [
            {"index": index} | {name: _draw(rng, *bounds) for name, bounds in self.space.items()}
            for index in range(count)
        ]

    def ask(self, config: Any) -> Values:
        """A configuration's values, asked for define-by-run, in the words that keras_tuner and
        glimr_keras share.
        """
        values = {"index": config.Int("index", 0, 99_999)}
        for name, (low, high) in self.space.items():
            values[name] = (
                config.Int(name, low, high)
                if isinstance(low, int)
                else config.Float(name, low, high, sampling="log")
            )
        return values

    def build(self, values: Values) -> Any:
        """The compiled model of a configuration."""
        events.emit("build", values["index"])
        return self.make_model(values)

    def data(self) -> tuple[Arrays, Arrays]:
        return self.make_data()

    def score(self, values: Values) -> float:
        """A trial that costs nothing."""
        events.emit("fit_end", values["index"])
        return math.log(values["learning_rate"])


def _draw(rng: np.random.Generator, low: float, high: float) -> float:
    if isinstance(low, int):
        return int(rng.integers(low, high + 1))
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _mlp(values: Values, inputs: int) -> Any:
    import keras

    hidden = [
        keras.layers.Dense(values["units"], activation="relu") for _ in range(values["layers"])
    ]
    return _classifier([keras.Input((inputs,)), *hidden], values["learning_rate"])


def _cnn(values: Values) -> Any:
    import keras

    layers = [keras.Input((28, 28, 1))]
    for factor in (1, 2):
        layers += [
            keras.layers.Conv2D(factor * values["filters"], 3, activation="relu"),
            keras.layers.MaxPooling2D(),
        ]
    return _classifier([*layers, keras.layers.Flatten()], values["learning_rate"])


def _classifier(layers: list[Any], learning_rate: float) -> Any:
    import keras

    model = keras.Sequential([*layers, keras.layers.Dense(10, activation="softmax")])
    model.compile(
        keras.optimizers.Adam(learning_rate),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def _digits() -> tuple[Arrays, Arrays]:
    import sklearn.datasets

    x, y = sklearn.datasets.load_digits(return_X_y=True)
    x = (x / 16).astype("float32")
    return (x[:1500], y[:1500]), (x[1500:], y[1500:])


def _synthetic(samples: int, validation: int, shape: tuple[int, ...]) -> tuple[Arrays, Arrays]:
    """Random float32 arrays; no second copy of them is ever made."""
    rng = np.random.default_rng(0)
    train, held_out = (
        (rng.random((size, *shape), dtype=np.float32), rng.integers(0, 10, size))
        for size in (samples, validation)
    )
    return train, held_out


MLP_SPACE = {"units": (16, 128), "layers": (1, 2), "learning_rate": (1e-4, 1e-2)}
CNN_SPACE = {"filters": (8, 16), "learning_rate": (1e-4, 1e-2)}
ROW_BYTES = 4 * 1024  # of the wide arrays of (e)


def _wide(megabytes: int) -> Workload:
    samples = megabytes * 1_000_000 // ROW_BYTES
    return Workload(
        f"e{megabytes}",
        MLP_SPACE,
        functools.partial(_mlp, inputs=1024),
        functools.partial(_synthetic, samples, 1_000, (1024,)),
        {"epochs": 2, "batch_size": 256, "steps_per_epoch": 8 if megabytes < 100 else 20},
    )


def workload(name: str) -> Workload:
    """The workload called `a`, `b`, `c`, `d`, `start`, or `e` with its size in MB (`e1000`)."""
    if name.startswith("e"):
        return _wide(int(name[1:]))
    return {
        "a": Workload(
            "a",
            MLP_SPACE,
            functools.partial(_mlp, inputs=64),
            _digits,
            {"epochs": 2, "batch_size": 32},
            objective="val_accuracy",
        ),
        "b": Workload(
            "b",
            MLP_SPACE,
            functools.partial(_mlp, inputs=784),
            functools.partial(_synthetic, 60_000, 5_000, (784,)),
            {"epochs": 5, "batch_size": 512},
        ),
        "c": Workload(
            "c",
            CNN_SPACE,
            _cnn,
            functools.partial(_synthetic, 8_000, 1_000, (28, 28, 1)),
            {"epochs": 2, "batch_size": 128},
        ),
        "d": Workload("d", {"learning_rate": (1e-4, 1e-2)}, objective="score"),
        "start": Workload(  # as (a), with data that needs no import of scikit-learn
            "start",
            MLP_SPACE,
            functools.partial(_mlp, inputs=64),
            functools.partial(_synthetic, 1_500, 297, (64,)),
            {"epochs": 2, "batch_size": 32},
            objective="val_accuracy",
        ),
    }[name]
