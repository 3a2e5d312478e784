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
        folds: Of a cross validation; `None` for a single training with the validation data.
        is_distinct: Whether no two configurations have all their whole numbers in common.
    """

    name: str
    space: dict[str, tuple[float, float]]
    make_model: Callable[[Values], Any] | None = None
    make_data: Callable[[], tuple[Arrays, Arrays]] | None = None
    fit: dict[str, Any] = dataclasses.field(default_factory=dict)
    objective: str = "val_loss"
    folds: int | None = None
    is_distinct: bool = False

    def configurations(self, count: int) -> list[Values]:
        """The first `count` configurations; their own `"index"` is among the values, so that events
        can name it.
        """
        rng = np.random.default_rng(1)
        found: list[Values] = []
        seen: set[tuple[int, ...]] = set()
        while len(found) < count:
            drawn = {name: _draw(rng, *bounds) for name, bounds in self.space.items()}
            whole = tuple(value for value in drawn.values() if isinstance(value, int))
            if not self.is_distinct or whole not in seen:
                found.append({"index": len(found)} | drawn)
            seen.add(whole)
        return found

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

    def whole_data(self) -> Arrays:
        """All samples, as a cross validation takes them."""
        (x, y), (x_held_out, y_held_out) = self.make_data()
        return np.concatenate([x, x_held_out]), np.concatenate([y, y_held_out])

    def parts(self) -> list[tuple[Arrays, Arrays]]:
        """Training and validation data of each training of a configuration."""
        if self.folds is None:
            return [self.data()]
        x, y = self.whole_data()
        of_sample = np.arange(len(x)) % self.folds
        held_out = [of_sample == fold for fold in range(self.folds)]
        return [((x[~mask], y[~mask]), (x[mask], y[mask])) for mask in held_out]

    def score(self, values: Values) -> float:
        """A trial that costs nothing."""
        events.emit("fit_end", values["index"])
        return math.log(values["learning_rate"])


def _draw(rng: np.random.Generator, low: float, high: float) -> float:
    if isinstance(low, int):
        return int(rng.integers(low, high + 1))
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _mlp(values: Values, inputs: int, **fixed: int) -> Any:
    import keras

    values = values | fixed
    hidden = [
        keras.layers.Dense(values["units"], activation="relu") for _ in range(values["layers"])
    ]
    return _classifier([keras.Input((inputs,)), *hidden], values["learning_rate"])


def _cnn(values: Values, **fixed: int) -> Any:
    import keras

    values = values | fixed
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
RATES = {"learning_rate": (1e-4, 1e-2)}
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
    """The workload called `a`, `b`, `c` or `d`; `e` with its size in MB (`e1000`); `start` with the
    number of trials of a script (`start4`); or one of those of `reuse`, such as `a-folds`.
    """
    if name.startswith("e"):
        return _wide(int(name[1:]))
    if name.startswith("start"):  # as (a), with data that needs no import of scikit-learn
        data = functools.partial(_synthetic, 1_500, 297, (64,))
        return dataclasses.replace(workload("a"), name=name, make_data=data)
    if name in _OF_REUSE:
        return dataclasses.replace(workload(name[0]), name=name, **_OF_REUSE[name])
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
        "d": Workload("d", RATES, objective="score"),
    }[name]


_OF_REUSE: dict[str, dict[str, Any]] = {
    "a-folds": {"folds": 5},
    "a-rates": {
        "space": RATES,
        "make_model": functools.partial(_mlp, inputs=64, units=64, layers=2),
    },
    "c-rates": {"space": RATES, "make_model": functools.partial(_cnn, filters=12)},
    "a-distinct": {"is_distinct": True},
}
"""In what the workloads of `reuse` differ from (a) and (c)."""
