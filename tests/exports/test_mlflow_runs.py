"""Runs of MLflow, read by its client."""

import pytest

from glimr_keras.errors import StorageError
from glimr_keras.exports import mlflow_runs
from glimr_keras.exports.mlflow_runs import _names
from tests.exports import contents
from tests.results import made

mlflow = pytest.importorskip("mlflow")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """A database without runs, which takes a second to make."""
    file = tmp_path_factory.mktemp("mlflow") / "empty.db"
    mlflow_runs.write_runs(contents.content([]), str(file))
    return file


@pytest.fixture
def where(tmp_path, empty):
    (tmp_path / "mlflow.db").write_bytes(empty.read_bytes())
    return str(tmp_path / "mlflow.db")


def client_of(where):
    return mlflow.MlflowClient(f"sqlite:///{where}")


def runs_in(where, name="digits"):
    """The runs by name."""
    client = client_of(where)
    experiment = client.get_experiment_by_name(name)
    found = client.search_runs([experiment.experiment_id])
    by_name = {run.info.run_name: run for run in found}
    assert len(by_name) == len(found)
    return by_name


def test_runs_have_parameters_metrics_times_and_a_status(where):
    said = mlflow_runs.write_runs(contents.early(), where)
    assert said == (
        f"The experiment 'digits' at sqlite:///{where} has 3 trials: 3 runs written, 0 brought up "
        "to date, 0 as they were."
    )
    runs = runs_in(where)
    assert {name: run.info.status for name, run in runs.items()} == {
        "trial 00": "FINISHED",
        "trial 01": "FAILED",
        "trial 02": "RUNNING",
    }
    first = runs["trial 00"]
    assert first.data.params == {"units": "8", "rate": "0.001", "kind": "wide", "norm": "False"}
    assert (first.info.start_time, first.info.end_time) == (1_700_000_000_000, 1_700_000_003_000)
    history = client_of(where).get_metric_history(first.info.run_id, "val_loss")
    assert [(each.step, each.value, each.timestamp) for each in history] == [
        (1, 0.5, 1_700_000_001_000),
        (2, 0.25, 1_700_000_002_000),
        (3, 0.375, 1_700_000_003_000),
    ]
    assert first.data.metrics["score"] == 0.25
    assert runs["trial 01"].data.tags["failure"] == "ValueError: <too large> & more"
    assert "score" not in runs["trial 01"].data.metrics


def test_a_run_is_brought_up_to_date_and_never_there_twice(where):
    mlflow_runs.write_runs(contents.early(), where)
    before = {name: run.info.run_id for name, run in runs_in(where).items()}
    assert mlflow_runs.write_runs(contents.early(), where).endswith(
        "0 runs written, 0 brought up to date, 3 as they were."
    )
    assert mlflow_runs.write_runs(contents.late(), where).endswith(
        "1 runs written, 1 brought up to date, 2 as they were."
    )
    runs = runs_in(where)
    assert {name: run.info.run_id for name, run in runs.items() if name in before} == before
    assert runs["trial 02"].info.status == "FINISHED"
    history = client_of(where).get_metric_history(before["trial 02"], "val_loss")
    assert [(each.step, each.value) for each in history] == [(1, 0.75), (2, 0.5)]
    assert runs["trial 02"].data.tags["status"] == "COMPLETED"


def test_a_training_that_began_anew_takes_the_place_of_its_run(where):
    mlflow_runs.write_runs(contents.early(), where)
    before = runs_in(where)["trial 00"].info.run_id
    mlflow_runs.write_runs(contents.begun_again(), where)
    after = runs_in(where)["trial 00"]
    assert after.info.run_id != before
    history = client_of(where).get_metric_history(after.info.run_id, "val_loss")
    assert [each.value for each in history] == [0.4, 0.3]


def test_trainings_of_a_trial_are_below_it(where):
    mlflow_runs.write_runs(contents.folded(), where)
    runs = runs_in(where)
    assert sorted(runs) == [
        *("trial 00", "trial 00, fold 0", "trial 00, fold 1", "trial 01", "trial 01, fold 0")
    ]
    parent = runs["trial 00"]
    below = runs["trial 00, fold 1"].data.tags["mlflow.parentRunId"]
    assert below == parent.info.run_id
    assert parent.data.metrics == {"score": 0.375}
    assert runs["trial 01"].info.status == "RUNNING"
    mlflow_runs.write_runs(contents.folded(), where)
    assert len(runs_in(where)) == 5


def everything_in(where):
    """All that MLflow has of the runs, by name."""
    client = client_of(where)
    return {
        name: (
            run.info.run_id,
            run.info.status,
            run.data.tags,
            {
                metric: sorted(
                    (each.step, each.value, each.timestamp)
                    for each in client.get_metric_history(run.info.run_id, metric)
                )
                for metric in run.data.metrics
            },
        )
        for name, run in runs_in(where).items()
    }


def test_what_had_no_epoch_and_trials_of_folds_are_brought_to_their_end(where):
    waiting = contents.content([made.trial(0, [[]], "RUNNING")])
    folded = contents.content([made.trial(1, [[0.5], []], "RUNNING")], cv_folds=2)
    message = contents.TRACEBACK
    ended = contents.content([made.trial(0, [[0.5]], "FAILED", message=message)])
    folds_ended = contents.content([made.trial(1, [[0.5, 0.25], [0.75]])], cv_folds=2)
    for content in (waiting, folded):
        mlflow_runs.write_runs(content, where)
    before = everything_in(where)
    assert {status for _, status, _, _ in before.values()} == {"RUNNING"}
    assert mlflow_runs.write_runs(ended, where).endswith(
        "0 runs written, 1 brought up to date, 0 as they were."
    )
    assert mlflow_runs.write_runs(folds_ended, where).endswith(
        "0 runs written, 3 brought up to date, 0 as they were."
    )
    after = everything_in(where)
    assert {name: each[0] for name, each in after.items()} == {
        name: each[0] for name, each in before.items()
    }
    assert {name: (status, tags["status"]) for name, (_, status, tags, _) in after.items()} == {
        "trial 00": ("FAILED", "FAILED"),
        "trial 01": ("FINISHED", "COMPLETED"),
        "trial 01, fold 0": ("FINISHED", "COMPLETED"),
        "trial 01, fold 1": ("FINISHED", "COMPLETED"),
    }
    assert after["trial 00"][2]["failure"] == "ValueError: <too large> & more"
    assert "fold" not in after["trial 01"][2]
    assert after["trial 01, fold 1"][2]["fold"] == "1"
    for content in (ended, folds_ended):
        assert " 0 runs written, 0 brought up to date," in mlflow_runs.write_runs(content, where)
    assert everything_in(where) == after


def test_what_an_export_did_not_finish_is_made_whole(where, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "set_terminated", interrupted)
        with pytest.raises(KeyboardInterrupt):
            mlflow_runs.write_runs(contents.folded(), where)
    mlflow_runs.write_runs(contents.folded(), where)
    runs = runs_in(where)
    assert runs["trial 00"].info.status == "FINISHED"
    assert len(runs) == 5
    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "log_batch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            mlflow_runs.write_runs(more_folded(), where)
    mlflow_runs.write_runs(more_folded(), where)
    runs = runs_in(where)
    assert runs["trial 01"].info.status == "FINISHED"
    for fold in (0, 1):
        run = runs[f"trial 01, fold {fold}"]
        assert run.data.tags["mlflow.parentRunId"] == runs["trial 01"].info.run_id
        history = client_of(where).get_metric_history(run.info.run_id, "val_loss")
        assert [each.value for each in history] == [0.5]


def interrupted(*arguments):
    raise KeyboardInterrupt


def more_folded():
    """Both folds of the second trial have ended."""
    first = contents.folded().project.trials["00"]
    return contents.content([first, made.trial(1, [[0.5], [0.5]])], cv_folds=2)


def test_a_trial_that_runs_again_has_no_end_and_keeps_its_folds(where):
    mlflow_runs.write_runs(more_folded(), where)
    again = more_folded()
    again.project.trials["01"].status = "RUNNING"
    mlflow_runs.write_runs(again, where)
    runs = runs_in(where)
    assert runs["trial 01"].info.status == "RUNNING"
    assert not runs["trial 01"].info.end_time
    below = {runs[f"trial 01, fold {fold}"].data.tags["mlflow.parentRunId"] for fold in (0, 1)}
    assert below == {runs["trial 01"].info.run_id}
    assert runs["trial 01, fold 0"].info.status == "FINISHED"


def test_two_projects_of_one_name_are_beside_each_other(where):
    other = contents.early()
    other.project.project_id = "another"
    for content in (contents.early(), other, other):
        mlflow_runs.write_runs(content, where)
    client = client_of(where)
    experiment = client.get_experiment_by_name("digits").experiment_id
    runs = client.search_runs([experiment])
    found = sorted((run.data.tags[mlflow_runs.PROJECT], run.info.run_name) for run in runs)
    names = ["trial 00", "trial 01", "trial 02"]
    assert found == sorted((owner, name) for owner in (contents.OWNER, "another") for name in names)


def test_names_that_mlflow_refuses_are_changed(where):
    values = {"a//b": 1, "../c": 2, "x[0]": 3, "x(0)": 4, "ü": "y" * 9000}
    trial = made.trial(0, [[0.5]], values=values)
    trial.executions[0].returned = {"f1@5": 0.25}
    mlflow_runs.write_runs(contents.content([trial]), where)
    run = runs_in(where)["trial 00"].data
    assert set(run.params.values()) == {"1", "2", "3", "4", "y" * 5000}
    assert run.metrics["f1_5"] == 0.25
    names = _names(["a/b", "x[0]", "x(0)", "lr:max"])
    assert names == {"a/b": "a/b", "x[0]": "x_0_", "x(0)": "x_0__2", "lr:max": "lr:max"}


def test_very_many_parameters_and_epochs_are_written_in_parts(where):
    values = {f"p{number}": number for number in range(230)}
    scores = [1.0 / (1 + number) for number in range(700)]
    mlflow_runs.write_runs(contents.content([made.trial(0, [scores], values=values)]), where)
    run = runs_in(where)["trial 00"]
    assert len(run.data.params) == 230
    assert len(client_of(where).get_metric_history(run.info.run_id, "val_loss")) == 700


def test_what_mlflow_refuses_is_told(where, tmp_path, monkeypatch):
    client = client_of(where)
    client.delete_experiment(client.get_experiment_by_name("digits").experiment_id)
    with pytest.raises(StorageError, match="experiment 'digits' was deleted in MLflow"):
        mlflow_runs.write_runs(contents.early(), where)
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    with pytest.raises(StorageError, match=r"MLflow cannot write to file://.*maintenance mode"):
        mlflow_runs.write_runs(contents.early(), str(tmp_path / "runs"))


def test_a_file_store_is_written_too(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    where = str(tmp_path / "runs")
    mlflow_runs.write_runs(contents.early(), where)
    mlflow_runs.write_runs(contents.late(), where)
    client = mlflow.MlflowClient(where)
    experiment = client.get_experiment_by_name("digits").experiment_id
    assert len(client.search_runs([experiment])) == 4


def test_errors_of_a_database_are_told(tmp_path):
    (tmp_path / "damaged.db").write_bytes(b"no database " * 1000)
    with pytest.raises(StorageError, match=r"MLflow cannot write to sqlite:///.*not a database"):
        mlflow_runs.write_runs(contents.early(), str(tmp_path / "damaged.db"))
