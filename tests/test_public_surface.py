"""What `import glimr_keras` offers."""

import inspect
import pathlib
import re

import pytest

import glimr_keras

PUBLIC = {name: getattr(glimr_keras, name) for name in glimr_keras.__all__}


def test_all_names_exist_and_are_sorted():
    assert set(glimr_keras.__all__) == {
        "Bags",
        "BaseTuner",
        "BayesianOptimization",
        "FailedTrialError",
        "GridSearch",
        "HyperModel",
        "HyperParameters",
        "Hyperband",
        "MaskedLoss",
        "MaskedMetric",
        "MultiObjective",
        "Objective",
        "Oracle",
        "RandomSearch",
        "RayTuner",
        "Search",
        "SklearnTuner",
        "TuneReportCheckpoint",
        "Tuner",
        "__version__",
        "applications",
        "config_table",
        "default_checkpoints",
        "engine",
        "ensemble",
        "errors",
        "experiment_table",
        "keras_losses",
        "keras_metrics",
        "nested_cross_validation",
        "open_keras_tuner_project",
        "keras_optimizer",
        "layers",
        "optimization_space",
        "oracles",
        "prune_search",
        "sample_space",
        "survival",
        "synchronized",
        "top_k_configs",
        "top_k_trials",
        "tuners",
        "visualization",
    }
    assert list(glimr_keras.__all__) == sorted(glimr_keras.__all__)


@pytest.mark.parametrize(
    "name", sorted(name for name, value in PUBLIC.items() if inspect.isclass(value))
)
def test_public_classes_and_their_methods_are_documented(name):
    assert inspect.getdoc(PUBLIC[name])
    for method, value in vars(PUBLIC[name]).items():
        if inspect.isfunction(value) and not method.startswith(("_", "on_")):
            assert value.__doc__, f"{name}.{method}"


def test_the_package_is_typed_and_its_version_is_in_the_changelog():
    root = pathlib.Path(glimr_keras.__file__).parent
    assert (root / "py.typed").exists()
    assert re.search(
        rf"^## \[?{re.escape(glimr_keras.__version__)}",
        (root.parent / "CHANGELOG.md").read_text(),
        re.MULTILINE,
    )


def test_errors_are_also_the_builtins_that_they_refine():
    assert issubclass(glimr_keras.errors.ProjectError, ValueError)
    assert issubclass(glimr_keras.errors.ShippingError, TypeError)
    assert issubclass(glimr_keras.errors.SearchError, RuntimeError)
    assert issubclass(glimr_keras.errors.FatalValueError, glimr_keras.errors.FatalError)
