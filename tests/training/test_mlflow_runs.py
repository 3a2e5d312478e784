"""`MlflowCallback` in trials, read back from a database of MLflow's."""

import os
import shutil
import warnings

import pytest

import glimr_keras as gk
from glimr_keras.errors import StorageError
from glimr_keras.training.messages import ExecutionSpec
from tests import tiny_models
from tests.offline_runs import mlflow_runs

# what MLflow's and its own database library warn of
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")  # for a database on this machine
    from mlflow.keras import MlflowCallback
    from mlflow.tracking import fluent

    from glimr_keras.training.mlflow_runs import MLflow

FIT = {"validation_data": tiny_models.VALIDATION, "epochs": 2, "verbose": 0}


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """A database with MLflow's tables, which take long to make."""
    path = tmp_path_factory.mktemp("made") / "mlflow.db"
    mlflow_runs(f"sqlite:///{path}")
    return path


@pytest.fixture
def uri(database, tmp_path, monkeypatch):
    """A new database, where the script logs to."""
    for name in ("mlflow", "other"):
        shutil.copy(database, tmp_path / f"{name}.db")
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(fluent, "_active_experiment_id", None)
    monkeypatch.chdir(tmp_path)  # where artifacts go
    where = f"sqlite:///{tmp_path / 'mlflow.db'}"
    mlflow.set_tracking_uri(where)
    yield where
    while mlflow.active_run() is not None:
        mlflow.end_run()
    mlflow.set_tracking_uri(None)


class Sized(gk.HyperModel):
    """Fails with few units: with one in `build`, with two in its training."""

    def build(self, config):
        if config["units"] == 1:
            raise RuntimeError("one unit")
        return tiny_models.build(config)

    def fit(self, config, model, *args, callbacks, **kwargs):
        history = model.fit(*args, callbacks=callbacks, **kwargs)
        if config["units"] == 2:
            raise RuntimeError("two units")
        return history


SPACE = {"units": [1, 2, 3], "learning_rate": 0.01}


def search(tmp_path, callbacks, **kwargs):
    tuner = gk.GridSearch(
        Sized(),
        "val_loss",
        directory=tmp_path,
        project_name="digits",
        executor="inline",
        callbacks=callbacks,
        max_consecutive_failed_trials=3,
        **kwargs,
    )
    tuner.search(*tiny_models.TRAIN, **FIT)
    return tuner


def space():
    hp = gk.HyperParameters()
    hp.Choice("units", [1, 2, 3], ordered=True)
    hp.Fixed("learning_rate", 0.01)
    return hp


def test_each_trial_has_a_run_below_that_of_the_script(uri, tmp_path):
    mlflow.set_experiment("mine")
    with mlflow.start_run(run_name="script") as script:
        search(tmp_path, [MlflowCallback()], hyperparameters=space())
        assert mlflow.active_run().info.run_id == script.info.run_id
    runs = {name: run for (experiment, name), run in mlflow_runs(uri).items()}
    assert runs.pop("script").data.params == {}
    of_units = {run.data.params["units"]: run for run in runs.values()}
    assert {units: run.info.status for units, run in of_units.items()} == {
        "1": "FAILED",
        "2": "FAILED",
        "3": "FINISHED",
    }
    assert {run.data.tags["mlflow.parentRunId"] for run in runs.values()} == {script.info.run_id}
    assert all(run.data.tags["trial_id"] == name for name, run in runs.items())
    assert of_units["1"].data.metrics == {}
    best = of_units["3"]
    assert best.data.params["optimizer_name"] == "adam"
    assert best.data.tags["trial_status"] == "COMPLETED"
    history = mlflow.MlflowClient(uri).get_metric_history(best.info.run_id, "val_loss")
    assert [each.step for each in history] == [0, 1]
    assert history[1].value == best.data.metrics["val_loss"]


def test_without_an_experiment_of_the_script_runs_are_in_one_of_the_projects_name(uri, tmp_path):
    tuner = gk.RandomSearch(
        tiny_models.build,
        "val_loss",
        1,
        executions_per_trial=2,
        directory=tmp_path,
        project_name="digits",
        executor="inline",
    )
    tuner.search(*tiny_models.TRAIN, callbacks=[MlflowCallback()], **FIT)
    assert set(mlflow_runs(uri)) == {("digits", "0"), ("digits", "0_execution_1")}
    assert mlflow.active_run() is None


@pytest.mark.parametrize("is_chosen", [True, False])
def test_an_experiment_that_was_deleted_is_refused_before_the_search(uri, tmp_path, is_chosen):
    client = mlflow.MlflowClient()
    name = "mine" if is_chosen else "digits"
    experiment = client.create_experiment(name)
    if is_chosen:
        mlflow.set_experiment(name)
    client.delete_experiment(experiment)
    with pytest.raises(StorageError, match=f"The experiment '{name}' was deleted in MLflow"):
        search(tmp_path, [MlflowCallback()], hyperparameters=space())
    assert not (tmp_path / "digits").exists()
    client.restore_experiment(experiment)
    assert MLflow.of_script("digits").experiment == experiment


@pytest.fixture
def spec(tmp_path):
    return ExecutionSpec("7", 1, {}, (), str(tmp_path), project="abc", fold=1, num_folds=3)


def test_a_training_that_goes_on_has_the_same_run(uri, spec, monkeypatch):
    tracker = MLflow.of_script("digits")
    monkeypatch.setenv("MLFLOW_RUN_ID", "of the script")
    first = tracker.begin(spec)
    assert os.environ["MLFLOW_RUN_ID"] == "of the script"
    assert tracker.is_taken()
    first.log({"rate": 0.1})
    first.log({"rate": 0.1, "[units]": 3})
    first.end("RUNNING")
    assert os.environ["MLFLOW_RUN_ID"] == "of the script"
    assert not tracker.is_taken()
    (run,) = mlflow_runs(uri).values()
    assert (run.info.run_name, run.info.status) == ("7_fold_1", "KILLED")
    assert (run.data.tags["execution"], run.data.tags["fold"]) == ("1", "1")

    second = tracker.begin(spec)
    second.log({"rate": 0.2, "[units]": 3})  # as a population-based scheduler changes it
    monkeypatch.delenv("MLFLOW_RUN_ID")
    mlflow.start_run(nested=True, run_name="below")  # of the user's own code, which forgets it
    second.end("STOPPED")
    runs = mlflow_runs(uri)
    assert runs.pop(("Default", "below")).info.status == "FINISHED"
    (run,) = runs.values()
    assert run.info.status == "FINISHED"
    assert run.data.params == {"rate": "0.1", "_units_": "3"}
    assert (run.data.tags["rate"], run.data.tags["trial_status"]) == ("0.2", "STOPPED")


def test_another_process_logs_to_the_same_place(uri, spec, tmp_path):
    tracker = MLflow.of_script("digits")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'other.db'}")
    tracker.begin(spec).end("COMPLETED")
    assert set(mlflow_runs(uri)) == {("digits", "7_fold_1")}
