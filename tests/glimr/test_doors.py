"""The modules of glimr: their names, arguments, and the flow of its two notebooks."""

import ast
import importlib
import inspect
import pathlib

import keras
import numpy as np
import pytest
from ray import tune

import glimr_keras

ROOM = pathlib.Path(glimr_keras.__file__).parent / "glimr"
OF_GLIMR = {
    "analysis": {
        "default_checkpoints": ["df"],
        "experiment_table": ["exp_dir", "checkpointed"],
        "top_k_configs": ["df", "metric", "mode", "k", "statistic"],
        "top_k_trials": ["df", "metric", "mode", "k", "fold", "config_filter"],
    },
    "keras": {
        "keras_losses": ["config"],
        "keras_metrics": ["config"],
        "keras_optimizer": ["config"],
    },
    "optimization": {
        "optimization_space": [
            "epochs",
            "method",
            "learning_rate",
            "rho",
            "momentum",
            "beta_1",
            "beta_2",
            "use_ema",
            "ema_momentum",
            "ema_overwrite_frequency",
        ]
    },
    "search": {
        "Search": [
            "space",
            "builder",
            "loader",
            "metric",
            "mode",
            "cv_folds",
            "stopper",
            "loader_kwargs",
            "fit_kwargs",
        ],
        "Search.experiment": [
            "self",
            "local_dir",
            "name",
            "num_samples",
            "max_concurrent_trials",
            "scheduler",
            "search_alg",
        ],
        "Search.restore": ["local_dir", "name"],
        "Search.set_checkpoints": ["self", "metric", "mode", "num_to_keep", "kwargs"],
        "Search.set_reporter": [
            "self",
            "metrics",
            "parameters",
            "jupyter",
            "sort_by_metric",
            "max_report_frequency",
            "kwargs",
        ],
        "Search.set_resources": ["self", "resources"],
    },
    "utils": {"prune_search": ["space"], "sample_space": ["space"]},
}
"""Public names of glimr by module, with their parameters in their order."""
NAMES = [(module, name) for module, names in OF_GLIMR.items() for name in names]


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_each_name_of_glimr_has_its_arguments_in_their_order(module, name):
    found = importlib.import_module(f"glimr_keras.glimr.{module}")
    for part in name.split("."):
        found = getattr(found, part)
    ours = list(inspect.signature(found).parameters)
    assert ours[: len(OF_GLIMR[module][name])] == OF_GLIMR[module][name]


@pytest.mark.parametrize(("module", "name"), [pair for pair in NAMES if "." not in pair[1]])
def test_each_name_is_in_the_package_too(module, name):
    found = getattr(importlib.import_module(f"glimr_keras.glimr.{module}"), name)
    assert getattr(importlib.import_module("glimr_keras.glimr"), name) is found
    is_own = (module, name) == ("analysis", "experiment_table")
    assert (getattr(glimr_keras, name) is found) != is_own


@pytest.mark.parametrize("door", ["__init__", "analysis", "keras", "optimization", "utils"])
def test_doors_define_nothing(door):
    for node in ast.parse((ROOM / f"{door}.py").read_text()).body:
        if isinstance(node, ast.Assign):
            assert node.targets[0].id in ("__all__", "__getattr__")
        else:
            assert isinstance(node, (ast.ImportFrom, ast.Expr))


@pytest.mark.parametrize(
    ("module", "name", "instead"),
    [
        ("utils", "set_hyperparameter", "Write domains of `ray.tune`"),
        ("optimization", "data_space", "The section `data` is a dict"),
        ("analysis", "get_top_k_trials", r"Use `top_k_trials\(experiment_table"),
        ("analysis", "_parse_experiment", "has a row for each epoch"),
    ],
)
def test_a_name_of_an_earlier_glimr_says_what_to_use(module, name, instead):
    with pytest.raises(ImportError, match=f"glimr's '{name}' is not in .*{instead}"):
        exec(f"from glimr_keras.glimr.{module} import {name}", {})
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        importlib.import_module(f"glimr_keras.glimr.{module}").nothing  # noqa: B018


def images():
    from sklearn.datasets import load_digits

    features, labels = load_digits(return_X_y=True)
    return (features[:300] / 16).astype("float32"), keras.utils.to_categorical(labels[:300], 10)


def batched(batch_size, is_training, brightness, max_delta):
    import tensorflow as tf

    features, labels = images()
    train, validation = (
        tf.data.Dataset.from_tensor_slices((features[part], {"digit": labels[part]})).batch(
            batch_size
        )
        for part in (is_training, ~is_training)
    )
    if brightness:
        train = train.map(lambda x, y: (tf.image.random_brightness(x, max_delta), y))
    return train, validation


def dataloader(batch_size, random_brightness, max_delta):
    return batched(batch_size, np.arange(300) < 200, random_brightness, max_delta)


def cv_dataloader(batch_size, random_brightness, max_delta, cv_index, cv_folds):
    is_training = np.arange(300) % cv_folds != cv_index
    return batched(batch_size, is_training, random_brightness, max_delta)


def builder(config):
    from glimr_keras.glimr.keras import keras_losses, keras_metrics

    def layer(x, name, units, activation, dropout):
        x = keras.layers.Dense(units, activation, name=name)(x)
        return keras.layers.Dropout(dropout)(x) if dropout > 0.0 else x

    (name,) = config["tasks"]
    task = config["tasks"][name]
    inputs = keras.Input([64], name="input")
    hidden = layer(inputs, "layer1", **config["layer1"])
    output = layer(hidden, name, task["units"], task["activation"], task["dropout"])
    losses, loss_weights = keras_losses(config)
    return keras.Model(inputs, {name: output}), losses, loss_weights, keras_metrics(config)


def space():
    from glimr_keras.glimr.optimization import optimization_space

    activations = tune.choice(["gelu", "linear", "relu", "sigmoid"])
    smoothing = {"label_smoothing": tune.quniform(0.0, 0.2, 0.01)}
    loss = tune.choice(
        [
            {"name": "hinge", "loss": keras.losses.CategoricalHinge},
            {
                "name": "entropy",
                "loss": keras.losses.CategoricalCrossentropy,
                "kwargs": {"from_logits": True, **smoothing},
            },
        ]
    )
    return {
        "layer1": {
            "activation": activations,
            "dropout": tune.quniform(0.0, 0.2, 0.05),
            "units": tune.choice([16, 8]),
        },
        "optimization": optimization_space(epochs=2),
        "tasks": {
            "digit": {
                "activation": activations,
                "dropout": tune.quniform(0.0, 0.2, 0.05),
                "units": 10,
                "loss": loss,
                "loss_weight": (1.0,),
                "metrics": {
                    "name": "auc",
                    "metric": keras.metrics.AUC,
                    "kwargs": {"from_logits": True},
                },
            }
        },
        "data": {
            "batch_size": tune.choice([50, 100]),
            "random_brightness": tune.choice([True, False]),
            "max_delta": tune.quniform(0.01, 0.15, 0.01),
        },
    }


def test_the_first_notebook(local_ray, tmp_path):
    from glimr_keras.glimr.analysis import experiment_table, top_k_trials
    from glimr_keras.glimr.keras import keras_optimizer
    from glimr_keras.glimr.search import Search
    from glimr_keras.glimr.utils import prune_search, sample_space

    config = sample_space(space=space())
    assert set(prune_search(space=space())["data"]) == set(config["data"])
    model, losses, loss_weights, metrics = builder(config)
    optimizer = keras_optimizer(config=config["optimization"])
    model.compile(optimizer=optimizer, loss=losses, loss_weights=loss_weights, metrics=metrics)
    train, validation = dataloader(**config["data"])
    fitted = model.fit(train, validation_data=validation, epochs=1, verbose=0, shuffle=False)
    assert {"loss", "val_loss"} <= set(fitted.history)

    tuner = Search(space(), builder, dataloader, "digit_auc", seed=1)
    tuner.set_resources({"CPU": 1})
    tuner.set_checkpoints(metric="digit_auc", mode="max", num_to_keep=1)
    results = tuner.experiment(
        local_dir=str(tmp_path),
        name="simple",
        num_samples=2,
        max_concurrent_trials=1,
    )
    assert results.get_best_result().metrics["digit_auc"] > 0
    table = experiment_table(exp_dir=f"{tmp_path}/simple")
    assert len(table) == 2
    assert table["checkpoint_path"].notna().all()
    best = top_k_trials(df=table, metric="digit_auc", mode="max", k=1)
    assert best["digit_auc"].tolist() == [table["digit_auc"].max()]


@pytest.mark.parametrize("former", [{64, 32}, frozenset("ab"), [0.0, 0.5, 0.05], [1, 10, 1]])
def test_domains_of_early_versions_are_warned_of(former):
    from glimr_keras.glimr import Search

    with pytest.warns(UserWarning, match="data/former=.*fixed values|fixed values.*data/former="):
        Search({**space(), "data": {"former": former}}, builder, lambda former: None, "digit_auc")


@pytest.mark.parametrize("fixed", [(1, 10, 1), [64, 32], [64, 32, 16], [True, False, True], ["a"]])
def test_values_that_can_only_be_fixed_are_not_warned_of(fixed):
    from glimr_keras.glimr import Search

    Search({**space(), "data": {"fixed": fixed}}, builder, lambda fixed: None, "digit_auc")


def test_the_second_notebook(local_ray, tmp_path):
    from glimr_keras.glimr import Search
    from glimr_keras.glimr.analysis import (
        default_checkpoints,
        experiment_table,
        top_k_configs,
        top_k_trials,
    )

    tuner = Search(space(), builder, cv_dataloader, "digit_auc", cv_folds=2, seed=1)
    tuner.experiment(
        local_dir=tmp_path,
        name="cross_validation",
        num_samples=2,
        max_concurrent_trials=1,
    )
    table = experiment_table(exp_dir=tmp_path / "cross_validation", checkpointed=False)
    assert len(table) == 2 * 2 * 2  # configurations, folds and epochs
    saved = default_checkpoints(df=table)
    assert saved[["config_enum", "cv_index"]].to_numpy().tolist() == [
        [0, 0],
        [0, 1],
        [1, 0],
        [1, 1],
    ]
    assert top_k_trials(saved, "digit_auc", k=None, fold=1)["cv_index"].tolist() == [1, 1]
    best = top_k_configs(df=saved, metric="digit_auc", mode="max", k=1, statistic=np.mean)
    means = saved.groupby("config_enum")["digit_auc"].mean()
    assert set(best["config_enum"]) == {means.idxmax()}
    chosen = top_k_trials(
        saved, "digit_auc", config_filter=lambda config: config["optimization"]["learning_rate"] < 1
    )
    assert len(chosen) == 4
