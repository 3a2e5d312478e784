"""`WandbMetricsLogger` in trials, read back from what W&B writes when it is offline."""

import pathlib
import warnings

import keras
import pytest

import glimr_keras as gk
from glimr_keras.training.messages import ExecutionSpec
from tests import tiny_models
from tests.offline_runs import wandb_runs

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    wandb = pytest.importorskip("wandb")
    pytest.importorskip("tensorflow")  # which its callbacks are of
    from wandb.integration.keras import WandbMetricsLogger, WandbModelCheckpoint

    from glimr_keras.training.wandb_runs import Wandb

FIT = {"validation_data": tiny_models.VALIDATION, "epochs": 2, "verbose": 0}


@pytest.fixture
def script(tmp_path, monkeypatch):
    """The script's own run, which is active."""
    monkeypatch.setenv("WANDB_SILENT", "true")
    run = wandb.init(
        project="flowers", group="small", mode="offline", dir=tmp_path, name="script", tags=["mine"]
    )
    yield run
    wandb.finish()


def build(config):
    if config.Choice("works", [True, False]):
        return tiny_models.build(gk.HyperParameters())
    raise RuntimeError("It does not work.")


def test_each_trial_has_a_run_beside_that_of_the_script(script, tmp_path):
    tuner = gk.GridSearch(
        build,
        "val_loss",
        2,
        directory=tmp_path,
        project_name="digits",
        executor="inline",
        callbacks=[
            WandbMetricsLogger(),
            WandbModelCheckpoint(tmp_path / "{epoch}.weights.h5", save_weights_only=True),
        ],
    )
    tuner.search(*tiny_models.TRAIN, **FIT)
    assert wandb.run is script
    wandb.log({"after": 1})
    wandb.finish()
    runs = wandb_runs(tmp_path / "wandb", 3)
    own = runs.pop("script")
    assert own.column("after") == [1]
    assert not own.column("epoch/loss")
    assert "works" not in own.config
    assert set(runs) == {"0", "1"}
    failed, trained = sorted(runs.values(), key=lambda run: run.config["works"])
    assert (failed.exit_code, failed.history) == (1, [])
    assert failed.summary["trial_status"] == "FAILED"
    assert trained.exit_code == 0
    assert trained.config["works"]
    assert trained.column("epoch/epoch") == [0, 1]
    assert trained.summary["epoch/val_loss"] == pytest.approx(
        tuner.oracle.trials[trained.info.display_name].executions[0].history[2]["val_loss"]
    )
    assert trained.steps["epoch/*"] == "epoch/epoch"
    assert trained.artifacts == [f"run_{trained.info.run_id}_model"] * 2
    assert (trained.info.project, trained.info.run_group) == ("flowers", "small")
    assert list(trained.info.tags) == ["mine"]
    place = tmp_path / f"trial_{trained.info.display_name}"
    assert sorted(path.name for path in place.glob("*.h5")) == ["1.weights.h5", "2.weights.h5"]


@pytest.fixture
def spec(tmp_path):
    return ExecutionSpec("a#7", 1, {}, (), str(tmp_path), project="0123456789")


def test_a_run_is_the_active_one_until_it_ends(script, spec, tmp_path):
    tracker = Wandb.of_script("digits")
    assert not tracker.is_taken()
    logger = WandbMetricsLogger(log_freq="batch")
    run = tracker.begin(spec, [logger, keras.callbacks.EarlyStopping()])
    assert tracker.is_taken()
    run.log({"rate": 0.1})
    run.log({"rate": 0.2})
    wandb.log({"batch/loss": 1.0})
    assert wandb.config["rate"] == 0.2
    run.end("RUNNING")
    assert not tracker.is_taken()
    assert wandb.run is script
    found = wandb_runs(tmp_path, 1)["a#7_execution_1"]
    assert found.info.run_id == "01234567_a_7_execution_1"
    assert found.column("batch/loss") == [1.0]
    assert found.steps["batch/*"] == "batch/batch_step"
    assert (found.exit_code, "trial_status" in found.summary) == (1, False)


class OfWandb(keras.callbacks.Callback):
    """Counts as a callback of W&B's, by the name of its module."""

    __module__ = "wandb.integration.keras"


def test_an_older_version_is_refused_before_the_search(tmp_path, monkeypatch):
    monkeypatch.setattr(wandb, "__version__", "0.19.9")
    tuner = gk.GridSearch(
        build, "val_loss", 2, directory=tmp_path, project_name="digits", executor="inline"
    )
    with pytest.raises(ImportError, match=r"wandb must be of version 0\.19\.10 or later"):
        tuner.search(*tiny_models.TRAIN, callbacks=[OfWandb()], **FIT)
    assert not (tmp_path / "digits").exists()


def test_without_a_run_of_the_script_runs_are_in_a_project_of_the_projects_name(
    spec, tmp_path, monkeypatch
):
    for name, value in (("SILENT", "true"), ("MODE", "offline"), ("DIR", str(tmp_path))):
        monkeypatch.setenv(f"WANDB_{name}", value)
    monkeypatch.setenv("WANDB_SERVICE", "of another machine")
    settings = Wandb.of_script("digits").settings
    tracker = Wandb(settings, process="another-machine:1")
    tracker.begin(spec, []).end("STOPPED")
    (found,) = wandb_runs(tmp_path, 1).values()
    assert (found.info.project, found.info.run_group) == ("digits", "digits")
    assert (found.exit_code, found.summary["trial_status"]) == (0, "STOPPED")
    assert wandb.run is None
    assert not pathlib.Path("wandb").exists()
