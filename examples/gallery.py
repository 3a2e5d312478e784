"""Makes every figure of `glimr_keras.visualization` from real searches on handwritten digits, as
pictures and as interactive pages, with an index of them.

    pip install 'glimr_keras[examples,plots]'
    python examples/gallery.py --output gallery

It takes some minutes on two cores, and `--quick` less. Nothing is downloaded: the digits come with
scikit-learn. Then open `gallery/index.html`.

Four searches show what figures there are: one that a scheduler stops early, one by Hyperband, one
with cross validation, and one for an accurate network that is small too.
"""

import argparse
import html
import pathlib
import tempfile

import glimr_keras as gk
import keras
import matplotlib.pyplot as plt
import sklearn.datasets
import sklearn.model_selection
from glimr_keras import visualization
from ray.tune.schedulers import ASHAScheduler


def load_digits():
    """1,797 images of 64 pixels in [0, 1], split into training and validation parts."""
    images, digits = sklearn.datasets.load_digits(return_X_y=True)
    images = (images / 16.0).astype("float32")
    train, validation, train_digits, validation_digits = sklearn.model_selection.train_test_split(
        images, digits, test_size=0.3, stratify=digits, random_state=0
    )
    return (train, train_digits), (validation, validation_digits)


class Digits(gk.HyperModel):
    """A dense network with eight hyperparameters, one of which only `sgd` has."""

    def build(self, config):
        model = keras.Sequential([keras.Input((64,))])
        activation = config.Choice("activation", ["relu", "gelu", "tanh"])
        for _ in range(config.Int("layers", 1, 3)):
            model.add(keras.layers.Dense(self.units(config), activation=activation))
        if config.Boolean("normalize"):
            model.add(keras.layers.BatchNormalization())
        model.add(keras.layers.Dropout(config.Float("dropout", 0.0, 0.6)))
        model.add(keras.layers.Dense(10, activation="softmax"))
        model.compile(
            self.optimizer(config), "sparse_categorical_crossentropy", metrics=["accuracy"]
        )
        return model

    def units(self, config):
        return config.Int("units", 4, 256, sampling="log")

    def optimizer(self, config):
        rate = config.Float("learning_rate", 1e-4, 1e-1, sampling="log")
        if config.Choice("optimizer", ["adam", "sgd"]) == "adam":
            return keras.optimizers.Adam(rate)
        with config.conditional_scope("optimizer", ["sgd"]):
            return keras.optimizers.SGD(rate, config.Float("momentum", 0.0, 0.99))

    def fit(self, config, model, *args, **kwargs):
        return model.fit(*args, batch_size=config.Choice("batch_size", [32, 64, 128]), **kwargs)


class SmallDigits(Digits):
    """The same, which logs how many parameters it has."""

    def fit(self, config, model, *args, callbacks=(), **kwargs):
        size = float(model.count_params())
        log_size = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: logs.update(parameters=size)
        )
        return super().fit(config, model, *args, callbacks=[log_size, *callbacks], **kwargs)


def searches(directory, quick):
    """Search in four ways; return the tuners by what they show."""
    trials, epochs = (8, 4) if quick else (40, 15)
    train, validation = load_digits()
    project = {"directory": directory, "seed": 1}
    stopped = gk.RayTuner(
        Digits(),
        "val_accuracy",
        trials,
        scheduler=ASHAScheduler(grace_period=2, max_t=epochs),
        project_name="digits",
        **project,
    )
    hyperband = gk.Hyperband(
        Digits(), "val_loss", 4 if quick else 15, project_name="hyperband", **project
    )
    folds = gk.BayesianOptimization(
        Digits(), "val_accuracy", trials // 4, cv_folds=4, project_name="folds", **project
    )
    goals = ["val_accuracy", gk.Objective("parameters", "min")]
    small = gk.RayTuner(SmallDigits(), goals, trials // 2, project_name="small", **project)
    for tuner in (stopped, hyperband, small):
        tuner.search(*train, validation_data=validation, epochs=epochs, verbose=0)
    folds.search(*train, epochs=epochs, verbose=0)
    return {
        "Random search, stopped early by ASHA": stopped,
        "Hyperband": hyperband,
        "Bayesian optimization with cross validation": folds,
        "Two objectives": small,
    }


def draw(tuner, output):
    """Draw every figure that a search has something for, with both backends; return their names."""
    name = pathlib.Path(tuner.project_dir).name
    found = visualization.applicable(tuner)
    for figure in found:
        drawn = visualization.FIGURES[figure](tuner)
        visualization.save(drawn, output / f"{name}_{figure}.png")
        plt.close("all")
        page = visualization.FIGURES[figure](tuner, backend="plotly")
        page.write_html(output / f"{name}_{figure}.html", include_plotlyjs="directory")
    return [f"{name}_{figure}" for figure in found]


def index(drawn):
    """A page with the pictures of each search, each of which leads to its interactive page."""
    parts = ["<!doctype html><meta charset='utf-8'><title>Gallery</title>"]
    parts += ["<style>body {font-family: sans-serif} img {max-width: 850px; width: 100%}</style>"]
    for title, names in drawn.items():
        parts += [f"<h1>{html.escape(title)}</h1>"]
        parts += [f"<p><a href='{name}.html'><img src='{name}.png'></a></p>" for name in names]
    return "\n".join(parts)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=pathlib.Path, default="gallery", help="the directory")
    parser.add_argument("--quick", action="store_true", help="a few short trials of each")
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    plt.switch_backend("Agg")  # files only, also where there is a screen
    with tempfile.TemporaryDirectory() as directory:
        tuners = searches(directory, given.quick)
        drawn = {title: draw(tuner, given.output) for title, tuner in tuners.items()}
    (given.output / "index.html").write_text(index(drawn), "utf-8")
    print(f"{sum(map(len, drawn.values()))} figures in {given.output / 'index.html'}")
