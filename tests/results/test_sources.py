"""A project is read from whatever has it."""

import pandas as pd
import pytest

import glimr_keras as gk
from glimr_keras.errors import ObjectiveError, ProjectError
from glimr_keras.results.sources import name_of, project_of, with_objective
from glimr_keras.space.hp_types import Choice, Condition, Float
from glimr_keras.space.reserved_names import Stage
from glimr_keras.trials.execution import TrialStatus
from glimr_keras.trials.objective import Objective
from tests.results import made

TRIALS = [
    made.trial(0, [[0.5, 0.4, 0.6]]),
    made.trial(1, [[0.9, 0.3]], TrialStatus.STOPPED),
    made.trial(2, [[]], TrialStatus.FAILED, message="ValueError: no"),
    made.trial(3, [[0.8]], TrialStatus.RUNNING),
    made.trial(4, [[0.2]], values={"units": 9, "rate": 1e-4, "norm": True, "drop": 0.3}),
]


@pytest.fixture
def directory(tmp_path):
    return made.written(made.project(TRIALS), tmp_path / "digits")


def shown(project):
    """What figures show of a project."""
    return {
        trial.trial_id: (trial.status, trial.score, trial.values)
        for trial in project.trials.values()
    }


def test_a_directory_its_results_and_its_table_are_the_same_project(directory):
    results = gk.RayTuner.open(directory)
    expected = shown(project_of(directory))
    assert expected["00"] == ("COMPLETED", 0.4, TRIALS[0].values)
    sources = (str(directory), results, results.results_dataframe())
    assert all(shown(project_of(source)) == expected for source in sources)
    assert [name_of(source) for source in (directory, *sources)] == ["digits"] * 4


def test_a_table_of_epochs_has_the_curves_of_those_that_have_epochs(directory):
    table = gk.experiment_table(directory)
    project, whole = project_of(table), project_of(directory)
    assert set(project.trials) == {"00", "01", "03", "04"}
    for trial_id, trial in project.trials.items():
        assert trial.values == whole.trials[trial_id].values
        assert trial.status == whole.trials[trial_id].status
        assert trial.executions[0].history == whole.trials[trial_id].executions[0].history
    assert name_of(table) == "digits"


def test_times_and_workers_come_back_from_a_table(directory):
    project = project_of(gk.RayTuner.open(directory).results_dataframe())
    first = project.trials["00"]
    assert (first.started, first.ended, first.worker) == (made.BEGAN, made.BEGAN + 3, "host:0")
    assert project.trials["03"].ended is None


def test_rows_of_a_table_are_a_project_of_these_trials(directory):
    table = gk.RayTuner.open(directory).results_dataframe()
    some = table[table["score"] < 0.35]
    assert set(project_of(some).trials) == {"01", "04"}
    assert project_of(some).objective == Objective("val_loss", "min")


def test_a_table_from_a_file_wants_an_objective(directory, tmp_path):
    gk.RayTuner.open(directory).results_dataframe().to_csv(tmp_path / "table.csv", index=False)
    table = pd.read_csv(tmp_path / "table.csv")
    with pytest.raises(ObjectiveError, match="does not say what was optimised"):
        project_of(table)
    project = project_of(table, "val_loss")
    assert project.objective == Objective("val_loss", "min")
    assert {parameter.name for parameter in project.parameters} == {
        "units",
        "rate",
        "kind",
        "norm",
        "drop",
    }
    assert project.trials["4"].values["drop"] == 0.3


def test_a_parquet_file_says_what_its_table_is_about(directory, tmp_path):
    gk.RayTuner.open(directory).results_dataframe().to_parquet(tmp_path / "table.parquet")
    read = pd.read_parquet(tmp_path / "table.parquet")
    assert shown(project_of(read)) == shown(project_of(directory))


def test_another_objective_is_taken_at_the_epoch_of_the_score(directory):
    project = project_of(directory, "loss")
    assert project.objective == Objective("loss", "min")
    assert project.trials["00"].score == 0.2  # though another epoch has less
    assert project.trials["02"].score is None


def test_folds_come_back(tmp_path):
    folded = [made.trial(0, [[0.5], [0.3]]), made.trial(5, [[0.6], [0.2]])]
    place = made.written(made.project(folded, cv_folds=2), tmp_path / "cv")
    for table in (gk.experiment_table(place), gk.RayTuner.open(place).results_dataframe()):
        project = project_of(table)
        assert project.cv_folds == 2
        assert project.trials["05"].fold_scores(2) == {0: 0.6, 1: 0.2}
        assert project.trials["05"].score == 0.4


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (5, TypeError, "Pass a tuner, a project's directory, or a table .* Received: int"),
        (pd.DataFrame({"a": [1]}), ValueError, "must be one of .* Received columns: a"),
        ("nowhere/at/all", ProjectError, "There is no glimr_keras project"),
    ],
)
def test_what_is_no_project_is_named(source, error, message):
    with pytest.raises(error, match=message):
        project_of(source)


def test_a_table_without_epochs_has_no_other_objective(directory):
    table = gk.RayTuner.open(directory).results_dataframe()
    with pytest.raises(ObjectiveError, match=r"'val_accuracy'\. Measured were: 'val_loss' alone"):
        project_of(table, "val_accuracy")
    assert project_of(table, "val_loss").trials["00"].score == 0.4


def test_columns_of_a_users_own_and_no_rows_at_all(directory):
    table = gk.RayTuner.open(directory).results_dataframe()
    table[0] = 1
    assert project_of(table).trials["00"].values["0"] == 1
    assert project_of(table.head(0)).trials == {}
    folded = made.written(
        made.project([made.trial(0, [[0.5], [0.3]])], cv_folds=2), directory.parent / "cv"
    )
    assert project_of(gk.experiment_table(folded).head(0)).cv_folds == 2


def test_names(directory, monkeypatch):
    monkeypatch.chdir(directory)
    assert name_of(".") == "digits"
    assert name_of("s3://key:secret@bucket/runs/digits?region=eu&x=1") == "digits"


def test_an_objective_that_was_not_measured_is_named(directory):
    with pytest.raises(
        ObjectiveError, match=r"'val_los'\. Did you mean 'val_loss'\? Measured were: loss, val_loss"
    ):
        project_of(directory, "val_los")


CLIPPED = [
    Choice("clip", [None, 1, 5]),
    Float("rate", 0.0, 1.0, conditions=(Condition("clip", (None,)),)),
    Choice("kind", ["a", None], conditions=(Condition("clip", (5,)),)),
]
OF_CLIPPED = [
    {"clip": None, "rate": 0.5},
    {"clip": 1},
    {"clip": 5, "kind": None},
    {"clip": None, "rate": 0.25},
]


@pytest.fixture
def clipped(tmp_path):
    trials = [made.trial(n, [[0.5 + n]], values=values) for n, values in enumerate(OF_CLIPPED)]
    return made.written(made.project(trials, CLIPPED), tmp_path / "clipped")


def test_an_option_that_is_none_comes_back_with_what_depends_on_it(clipped, tmp_path):
    results = gk.RayTuner.open(clipped).results_dataframe()
    results.to_parquet(tmp_path / "table.parquet")
    for table in (
        results,
        gk.experiment_table(clipped),
        pd.read_parquet(tmp_path / "table.parquet"),
    ):
        trials = project_of(table).trials.values()
        assert [trial.values for trial in trials] == OF_CLIPPED
        assert {type(trial.values["clip"]) for trial in trials} == {type(None), int}


def test_a_filter_is_told_of_an_option_that_is_none(clipped):
    table = gk.experiment_table(clipped)
    seen = []
    gk.top_k_trials(table, "val_loss", "min", config_filter=seen.append)
    assert seen == OF_CLIPPED
    found = gk.top_k_trials(
        table, "val_loss", "min", config_filter=lambda config: config["clip"] is None
    )
    assert list(found["trial_id"]) == ["00", "03"]


@pytest.mark.parametrize("kind", ["results", "epochs"])
@pytest.mark.parametrize("types", [None, {"trial_id": str}])
def test_the_stages_of_hyperband_come_back_from_a_csv_file(tmp_path, kind, types):
    stage = {Stage.EPOCHS: 3, Stage.BRACKET: 1, Stage.ROUND: 0}
    trials = [
        made.trial(7, [[0.5]], values={"units": 9, **stage}),
        made.trial(8, [[0.6]], values={"units": 10}),
        made.trial(9, [[0.4]], values={"units": 9, **stage, Stage.ROUND: 1, Stage.PARENT: "07"}),
    ]
    place = made.written(made.project(trials), tmp_path / "digits")
    table = gk.RayTuner.open(place).results_dataframe()
    table = gk.experiment_table(place) if kind == "epochs" else table
    table.to_csv(tmp_path / "table.csv", index=False)
    project = project_of(pd.read_csv(tmp_path / "table.csv", dtype=types), "val_loss")
    first, second, third = (project.trials[n] for n in sorted(project.trials))
    assert third.values[Stage.PARENT] == first.trial_id
    assert [third.values[name] for name in stage] == [3, 1, 1]
    assert {type(third.values[name]) for name in stage} == {int}
    assert not set(Stage.NAMES) & set(second.values)


def test_what_was_put_into_the_history_was_measured():
    trial = made.trial(0, [[0.5, 0.4]])
    trial.executions[0].returned = {"f1": 0.9}
    found = with_objective(made.project([trial]), Objective("f1", "max"))
    assert found.trials["00"].score == 0.9
