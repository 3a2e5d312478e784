"""The paths of KerasTuner's private modules."""

import importlib
import pickle
import subprocess
import sys

import keras
import pytest
from ray import cloudpickle

import glimr_keras
from glimr_keras.engine import private_paths


@pytest.mark.parametrize("path", sorted({**private_paths._HALLS, **private_paths._DOORS}))
def test_each_path_can_be_imported_and_is_known_to_the_one_above(path):
    module = importlib.import_module(f"glimr_keras.src.{path}")
    found = glimr_keras.src
    for step in path.split("."):
        found = getattr(found, step)
    assert found is module


def test_a_path_that_stands_for_one_module_has_what_that_has():
    module = importlib.import_module("glimr_keras.src.engine.trial")
    assert module.Trial is glimr_keras.engine.trial.Trial
    found = importlib.import_module("glimr_keras.src.backend.keras")
    assert found.layers is keras.layers
    assert found.__version__ == keras.__version__
    with pytest.raises(AttributeError, match=r"src\.backend\.keras' has no attribute 'nothing'"):
        found.nothing  # noqa: B018


def test_no_second_keras_is_imported_from_below_a_path():
    with pytest.raises(ModuleNotFoundError, match="is private to KerasTuner"):
        importlib.import_module("glimr_keras.src.backend.keras.layers")
    assert "glimr_keras.src.backend.keras.layers" not in sys.modules


def test_a_tuner_and_its_oracle_are_in_one_place():
    for path, tuner, oracle in (
        ("randomsearch", "RandomSearch", "RandomSearchOracle"),
        ("gridsearch", "GridSearch", "GridSearchOracle"),
        ("hyperband", "Hyperband", "HyperbandOracle"),
        ("bayesian", "BayesianOptimization", "BayesianOptimizationOracle"),
    ):
        module = importlib.import_module(f"glimr_keras.src.tuners.{path}")
        assert getattr(module, tuner) is getattr(glimr_keras, tuner)
        assert getattr(module, oracle) is getattr(glimr_keras.oracles, oracle)


@pytest.mark.parametrize(
    ("path", "instead"),
    [
        ("distribute.oracle_client", "is a Ray cluster: give the tuner `address=`"),
        ("protos", r"`get_config\(\)` and `get_state\(\)`"),
        ("backend.io", "Use `pathlib`"),
        ("engine.hyperparameters.hp_types.int_hp", "Import from `glimr_keras`, or its `engine`"),
        ("engine.stateful", "Import from `glimr_keras`, or its `engine`"),
        ("tuners.random_search", "Of the private ones there are: .*tuners.randomsearch"),
    ],
)
def test_other_paths_say_what_to_import_instead(path, instead):
    with pytest.raises(ModuleNotFoundError, match=f"is private to KerasTuner.*{instead}"):
        importlib.import_module(f"glimr_keras.src.{path}")


def test_a_name_that_is_imported_from_above_says_it_too():
    with pytest.raises(ImportError, match="protos' is private to KerasTuner"):
        exec("from glimr_keras.src import protos")


def test_scripts_that_have_them_can_be_sent(tmp_path):
    from glimr_keras.src.engine import tuner_utils
    from glimr_keras.src.tuners import randomsearch

    sent = tmp_path / "sent.pkl"
    sent.write_bytes(cloudpickle.dumps([randomsearch, tuner_utils]))
    assert pickle.loads(sent.read_bytes()) == [randomsearch, tuner_utils]
    code = (
        f"import pickle; print([each.__name__ for each in pickle.load(open({str(sent)!r}, 'rb'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == (
        "['glimr_keras.src.tuners.randomsearch', 'glimr_keras.src.engine.tuner_utils']"
    )
