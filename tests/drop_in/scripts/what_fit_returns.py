"""`HyperModel.fit` may return a number, a dict, a `History`, or a list of them; what each trial
records of it.
"""

import keras
import keras_tuner as kt
import numpy as np

x, y = np.linspace(0, 1, 64).reshape(64, 1), np.linspace(1, 3, 64)


KINDS = [
    "number",
    "numpy",
    "integer",
    "dict",
    "history",
    "numbers",
    "dicts",
    "histories",
    "changed",
    "second",
]


class Returning(kt.HyperModel):
    def build(self, hp):
        hp.Choice("kind", KINDS)
        model = keras.Sequential([keras.layers.Dense(1, kernel_initializer="zeros")])
        model.compile(
            optimizer=keras.optimizers.SGD(hp.Fixed("rate", 0.05)), loss="mse", metrics=["mae"]
        )
        return model

    def fit(self, hp, model, *args, **kwargs):
        kind, rate = hp.get("kind"), hp.get("rate")
        history = model.fit(*args, **kwargs)
        if kind == "changed":
            history.history["val_mae"] = [100.5, 100.25]
        if kind == "second":
            kwargs["validation_data"] = (x, y + 100)
            return model.fit(*args, **kwargs)
        return {
            "number": rate,
            "numpy": np.float32(0.5),
            "integer": 3,
            "dict": {"val_mae": rate, "extra": 0.25},
            "history": history,
            "numbers": [1.0, 3.0],
            "dicts": [{"val_mae": 1.0, "other": 4.0}, {"val_mae": 2.0, "other": 5.0}],
            "histories": [history, history],
            "changed": history,
        }[kind]


def main(directory, **tuner_options):
    findings = {}
    tuner = kt.GridSearch(
        Returning(), "val_mae", directory=directory, project_name="returned", **tuner_options
    )
    tuner.search(x, y, validation_data=(x, y), epochs=2, verbose=0)
    for trial in tuner.oracle.trials.values():
        kind = trial.hyperparameters.get("kind")
        findings[kind] = {
            "status": trial.status,
            "metrics": {
                name: tracked.direction
                for name, tracked in sorted(trial.metrics.metrics.items())
                if name in ("val_mae", "extra", "other") or "histor" in kind
            },
            "observations": len(trial.metrics.get_history("val_mae")),
            "executions": len(trial.metrics.get_history("val_mae")[0].value),
            "best_step": trial.best_step
            if "histor" in kind or kind == "changed"
            else 0,  # else the epoch of the weights may be
            "score is the rate": bool(np.isclose(trial.score, trial.hyperparameters.get("rate"))),
        }
        if kind == "second":
            findings[kind]["is of the second"] = trial.score > 50
        if kind in ("numpy", "integer", "numbers", "dicts", "changed"):
            findings[kind]["score"] = trial.score
        if kind == "dicts":
            findings[kind]["other"] = trial.metrics.get_last_value("other")
    return findings
