"""Loggers of Ray, and trackers' own Keras callbacks, in searches on Ray: what they have written,
read back by the tools that it is for.
"""

import json
import os
import warnings

import pandas as pd
import pytest
from ray import tune
from ray.tune import schedulers
from ray.tune.logger import CSVLoggerCallback, JsonLoggerCallback, TBXLoggerCallback

import glimr_keras as gk
from tests import tiny_models
from tests.offline_runs import mlflow_runs, wandb_runs

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
STATUSES = {"good": "COMPLETED", "poor": "STOPPED", "broken": "FAILED"}


class ByHand(gk.HyperModel):
    """Is good, poor, or fails in its second epoch."""

    def build(self, config):
        config.Choice("kind", list(STATUSES), ordered=False)
        return tiny_models.build(gk.HyperParameters())

    def fit(self, config, model, *args, callbacks, epochs, initial_epoch=0, **kwargs):
        def logs(epoch):
            if config["kind"] == "broken" and epoch == 1:
                raise RuntimeError("in the second epoch")
            return {"val_loss": (9.0 if config["kind"] == "poor" else 1.0) / (epoch + 1)}

        tiny_models.train_by_hand(model, callbacks, epochs, logs, initial_epoch)


def search(project, callbacks, hypermodel=None, of_search=(), epochs=3, **kwargs):
    tuner = gk.GridSearch(
        hypermodel or ByHand(),
        "val_loss",
        callbacks=callbacks,
        executor="ray",
        max_concurrent_trials=1,
        **project,
        **kwargs,
    )
    tuner.search(
        *tiny_models.TRAIN,
        validation_data=tiny_models.VALIDATION,
        callbacks=list(of_search),
        epochs=epochs,
        verbose=0,
    )
    return tuner


def stopping():
    return schedulers.ASHAScheduler(
        time_attr="training_iteration", max_t=3, grace_period=1, reduction_factor=2
    )


def by_kind(tuner):
    """The trials by their one hyperparameter, as the search knows them."""
    trials = {trial.values["kind"]: trial for trial in tuner.oracle.trials.values()}
    assert {kind: trial.status for kind, trial in trials.items()} == STATUSES
    return trials


def in_tensorboard(place):
    """The objective in TensorBoard's event files, by step, and the hyperparameters."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata

    read = EventAccumulator(str(place))
    read.Reload()
    said = read.PluginTagToContent(metadata.PLUGIN_NAME)[metadata.SESSION_START_INFO_TAG]
    values = metadata.parse_session_start_info_plugin_data(said).hparams
    return (
        {event.step: event.value for event in read.Scalars("ray/tune/val_loss")},
        {name: value.string_value for name, value in values.items()},
    )


class Breaks(tune.Callback):
    """Ends the search in the second epoch of its first trial."""

    def on_trial_result(self, iteration, trials, trial, result, **info):
        if result["training_iteration"] == 2:
            raise OSError("the disk is full")


def files():
    return [CSVLoggerCallback(), JsonLoggerCallback(), TBXLoggerCallback()]


def test_files_of_loggers_are_in_the_project_and_a_search_that_goes_on_appends(local_ray, project):
    with pytest.raises(OSError, match="the disk is full"):
        search(project, [*files(), Breaks()])
    tuner = search(project, files(), scheduler=stopping())
    for kind, trial in by_kind(tuner).items():
        place = project["directory"] / project["project_name"] / f"trial_{trial.trial_id}"
        table = pd.read_csv(place / "progress.csv")
        logged = dict(zip(table["training_iteration"], table["val_loss"], strict=False))
        assert logged == {
            epoch: metrics["val_loss"] for epoch, metrics in trial.executions[0].history.items()
        }
        lines = [json.loads(line) for line in (place / "result.json").read_text().splitlines()]
        assert [line["val_loss"] for line in lines] == list(table["val_loss"])
        for line in lines:
            assert line["config"] == {"kind": kind}
            assert not any("glimr" in name for name in line)
        assert json.loads((place / "params.json").read_text()) == {"kind": kind}
        shown, hyperparameters = in_tensorboard(place)
        assert shown == pytest.approx(logged)
        assert hyperparameters == {"kind": kind}
        assert (place / "trial.json").exists()
    assert tuner.get_best_models()


@pytest.fixture
def mlflow_uri(tmp_path):
    """A new database of MLflow."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow = pytest.importorskip("mlflow")
        pytest.importorskip("sqlalchemy")
    yield f"sqlite:///{tmp_path / 'mlflow.db'}"
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID"):
        os.environ.pop(name, None)
    mlflow.tracking.fluent._active_experiment_id = None
    mlflow.set_tracking_uri(None)


@pytest.mark.slow
def test_mlflow_and_wandb_have_a_run_for_each_trial(
    local_ray, project, mlflow_uri, tmp_path, monkeypatch
):
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    pytest.importorskip("wandb")
    from ray.air.integrations.wandb import WandbLoggerCallback

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    loggers = [
        MLflowLoggerCallback(mlflow_uri, experiment_name="flowers", save_artifact=True),
        # Not in the trials' folders, which MLflow copies while W&B writes
        WandbLoggerCallback("flowers", mode="offline", dir=str(tmp_path)),
    ]
    trials = by_kind(search(project, loggers, scheduler=stopping()))
    of_mlflow = mlflow_runs(mlflow_uri)
    assert of_mlflow.keys() == {("flowers", trial.trial_id) for trial in trials.values()}
    of_wandb = wandb_runs(tmp_path, 3)
    for kind, trial in trials.items():
        run = of_mlflow["flowers", trial.trial_id]
        assert run.info.status == ("FAILED" if kind == "broken" else "FINISHED")
        assert run.data.params == {"kind": kind}
        last = list(trial.executions[0].history.values())[-1]
        assert run.data.metrics["val_loss"] == last["val_loss"]
        run = of_wandb[trial.trial_id]
        assert run.config["kind"] == kind
        assert run.info.run_group == project["project_name"]
        assert len(run.column("val_loss")) == len(trial.executions[0].history)
        assert not any("glimr" in name for name in (*run.config, *run.summary))
    assert list(tmp_path.glob("mlruns/*/*/artifacts/checkpoint.weights.h5"))


@pytest.mark.slow
def test_trackers_own_callbacks_have_a_run_for_each_trial(
    local_ray, project, mlflow_uri, tmp_path, monkeypatch
):
    import mlflow
    from mlflow.keras import MlflowCallback

    wandb = pytest.importorskip("wandb")
    from wandb.integration.keras import WandbMetricsLogger

    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(mlflow_uri)
    mlflow.set_experiment("flowers")
    wandb.init(project="flowers", mode="offline", dir=tmp_path)
    try:
        callbacks = [WandbMetricsLogger()]
        with mlflow.start_run() as script:
            tuner = search(project, callbacks, of_search=[MlflowCallback()], scheduler=stopping())
            assert mlflow.active_run().info.run_id == script.info.run_id
    finally:
        wandb.finish()
    trials = by_kind(tuner)
    of_mlflow, of_wandb = mlflow_runs(mlflow_uri), wandb_runs(tmp_path, 4)
    assert len(of_mlflow) == 4
    for kind, trial in trials.items():
        run = of_mlflow["flowers", trial.trial_id]
        assert run.info.status == ("FAILED" if kind == "broken" else "FINISHED")
        assert run.data.tags["trial_status"] == STATUSES[kind]
        assert run.data.tags["mlflow.parentRunId"] == script.info.run_id
        assert run.data.params["kind"] == kind
        run = of_wandb[trial.trial_id]
        assert run.exit_code == (1 if kind == "broken" else 0)
        assert run.summary["trial_status"] == STATUSES[kind]
        assert run.config["kind"] == kind
        epochs = run.column("epoch/epoch")
        assert epochs == list(range(len(epochs)))
        assert len(epochs) >= len(trial.executions[0].history)


@pytest.mark.slow
def test_what_a_scheduler_pauses_and_changes_is_one_trial_to_loggers(
    local_ray, project, mlflow_uri, tmp_path, monkeypatch
):
    from mlflow.keras import MlflowCallback
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    monkeypatch.chdir(tmp_path)
    scheduler = schedulers.PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=1,
        quantile_fraction=0.5,
        resample_probability=1.0,
        hyperparam_mutations={"learning_rate": tune.loguniform(1e-3, 1e-1)},
    )
    loggers = [MLflowLoggerCallback(mlflow_uri, experiment_name="of Ray"), *files()]
    tuner = gk.RayTuner(
        tiny_models.build,
        "val_loss",
        3,
        seed=0,
        scheduler=scheduler,
        callbacks=[*loggers, MlflowCallback()],
        **project,
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
    tuner.search(*tiny_models.TRAIN, validation_data=tiny_models.VALIDATION, epochs=4, verbose=0)
    runs = mlflow_runs(mlflow_uri)
    assert {experiment for experiment, _ in runs} == {"of Ray", "project"}
    assert len(runs) == 6
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    for trial in tuner.oracle.trials.values():
        place = project["directory"] / "project" / f"trial_{trial.trial_id}"
        epochs = list(pd.read_csv(place / "progress.csv")["training_iteration"])
        assert {1, 4} <= set(epochs) <= {1, 2, 3, 4}  # it goes on from where another trial was
        rates = [
            json.loads(line)["config"]["learning_rate"]
            for line in (place / "result.json").read_text().splitlines()
        ]
        assert rates[-1] == trial.values["learning_rate"]
