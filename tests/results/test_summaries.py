"""Tables and summaries that are computed from a project's record."""

import math

import pytest
from ray import tune

import glimr_keras as gk
from glimr_keras.project.journal import Project
from glimr_keras.results.summaries import results_summary, search_space_summary
from glimr_keras.results.tables import COLUMNS, results_dataframe
from glimr_keras.results.trial_columns import trial_columns
from glimr_keras.space.hp_types import Choice, Int
from glimr_keras.space.reserved_names import Stage
from glimr_keras.trials.execution import Execution, TrialStatus
from glimr_keras.trials.objective import Objective
from glimr_keras.trials.trial import Trial
from tests.results import made

TIMES = ("started", "ended", "worker")


def execution(score, epochs, best_epoch, duration=1.5):
    history = {epoch: {"val_accuracy": score} for epoch in range(1, epochs + 1)}
    return Execution(TrialStatus.COMPLETED, history, best_epoch, score, duration)


def project_of(*trials):
    return Project(
        Objective("val_accuracy", "max"),
        0,
        1,
        [],
        trials={trial.trial_id: trial for trial in trials},
    )


@pytest.fixture
def project():
    """A completed trial of two executions, a failed one, a running one."""
    return project_of(
        Trial.of(
            "0000",
            {"layers": 1, "act": "relu"},
            status=TrialStatus.COMPLETED,
            executions={0: execution(0.5, 4, 3), 1: execution(0.75, 3, 2)},
        ),
        Trial.of(
            "0001",
            {"layers": 2, "act": "gelu", "units": 32},
            status=TrialStatus.FAILED,
            message="Traceback\nValueError: no",
        ),
        Trial.of("0002", {"layers": 2}, executions={0: Execution()}),
    )


# The table


def test_the_table_has_one_row_a_trial_in_their_order(project):
    frame = results_dataframe(project)
    assert list(frame.columns) == [*COLUMNS, "layers", "act", "units", *TIMES]
    assert frame.trial_id.to_list() == ["0000", "0001", "0002"]
    assert frame.status.to_list() == ["COMPLETED", "FAILED", "RUNNING"]


def test_scores_and_durations_are_over_executions_and_epochs_of_the_best_and_the_longest(project):
    first = results_dataframe(project).iloc[0]
    assert (first.score, first.best_epoch, first.epochs, first.duration) == (0.625, 2, 4, 3.0)


def test_what_a_trial_does_not_have_is_empty(project):
    frame = results_dataframe(project)
    assert math.isnan(frame.score[1])
    assert math.isnan(frame.duration[2])
    assert frame.best_epoch.isna().to_list() == [False, True, True]
    assert frame.epochs.to_list() == [4, 0, 0]
    assert frame.units.isna().to_list() == [True, False, True]


def test_an_integer_stays_one_where_another_trial_does_not_have_it(project):
    assert str(results_dataframe(project).units[1]) == "32"


def test_a_hyperparameter_with_the_name_of_a_column_does_not_replace_it():
    frame = results_dataframe(
        project_of(
            Trial.of("0000", {"score": 7, "epochs": 3}, executions={0: execution(0.5, 2, 1)})
        )
    )
    assert frame.score[0] == 0.5
    assert frame["hyperparameters/score"][0] == 7
    assert frame["hyperparameters/epochs"][0] == 3


def test_values_keep_their_types():
    trials = [Trial.of(f"000{i}", {"flag": i == 0, "rate": 0.5, "none": None}) for i in range(2)]
    frame = results_dataframe(project_of(*trials))
    assert frame.flag.dtype == bool
    assert frame.rate.dtype == float
    assert frame.none.isna().all()


def test_the_table_of_a_project_without_trials_has_the_same_columns():
    frame = results_dataframe(project_of())
    assert len(frame) == 0
    assert list(frame.columns) == [*COLUMNS, *TIMES]
    assert frame.score.dtype == float


def test_changing_the_table_does_not_change_the_record(project):
    frame = results_dataframe(project)
    frame.loc[0, "layers"] = 99
    assert project.trials["0000"].values["layers"] == 1


# Summaries


def test_the_results_summary_shows_the_best_trials_first(project):
    project.trials["0003"] = Trial.of(
        "0003", {"layers": 3}, status=TrialStatus.COMPLETED, executions={0: execution(0.9, 1, 1)}
    )
    text = results_summary(project, "./runs/project", 2)
    assert "Results in ./runs/project" in text
    assert 'Objective(name="val_accuracy", direction="max")' in text
    assert text.index("Trial 0003 summary") < text.index("Trial 0000 summary")
    assert "layers: 3\nScore: 0.9" in text
    assert "Trial 0001" not in text


def test_the_results_summary_has_keras_tuners_lines_and_a_table_before_the_trials(project):
    text = results_summary(project, "runs", 10)
    assert text.splitlines() == [
        "Results summary",
        "Results in runs",
        "Showing 10 best trials",
        'Objective(name="val_accuracy", direction="max")',
        "",
        "  3 trials: 1 completed, 1 failed, 1 running",
        "",
        "  trial  val_accuracy     std  best_epoch  seconds  layers  act",
        "  0000         0.6250  0.1250           2      3.0       1  relu",
        "",
        "  Failed:",
        "    0001: Traceback ValueError: no",
        "",
        "Trial 0000 summary",
        "Hyperparameters:",
        "layers: 1",
        "act: relu",
        "Score: 0.625",
    ]


def test_no_line_of_a_table_begins_as_those_that_scripts_look_for(project):
    for name in ("Objective", "Showing", "Hyperparameters:", "Score:", "Trial"):
        project.trials["0000"].values[name] = 1
    lines = results_summary(project, "runs", 10).splitlines()
    assert all(line.startswith(" ") or not line for line in lines[4 : lines.index("")])
    table = lines[5 : lines.index("Trial 0000 summary") - 1]
    assert all(line.startswith("  ") or not line for line in table)


def test_the_search_space_summary_shows_every_hyperparameter():
    text = search_space_summary([Int("units", 1, 4), Choice("act", ("relu", "gelu"))])
    assert "Default search space size: 2" in text
    assert "units (Int)\n" in text
    assert "'min_value': 1, 'max_value': 4" in text
    assert "act (Choice)\n" in text
    assert "['relu', 'gelu']" in text
    assert text.splitlines()[-4:] == [
        "",
        "  name   kind    values",
        "  units  Int     1 to 4",
        "  act    Choice  relu, gelu",
    ]


def test_a_search_space_without_hyperparameters_has_no_table():
    assert search_space_summary([]) == "Search space summary\nDefault search space size: 0"


# Tuners and results in words


def test_a_tuner_shows_what_is_searched_before_the_search(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tuner = gk.Hyperband(
        lambda config: None,
        "val_accuracy",
        max_epochs=9,
        space={"rate": tune.loguniform(1e-4, 1e-1)},
        directory="runs",
        project_name="digits",
        executor="inline",
    )
    assert repr(tuner) == "<Hyperband project='runs/digits' objective='val_accuracy' trials=0>"
    assert str(tuner).splitlines() == [
        "Hyperband 'digits' in runs/digits",
        "Objective: val_accuracy (max)",
        "No search yet. 23 trials are planned.",
        "",
        "  name  kind   values",
        "  rate  Float  0.0001 to 0.1, log",
    ]
    assert "No search yet. 23 trials are planned." in tuner._repr_html_()
    assert list(tmp_path.iterdir()) == []


def test_a_tuner_that_starts_over_does_not_show_what_will_be_removed(tmp_path):
    made.written(made.project([made.trial(0, [[1.0]])]), tmp_path / "digits")
    tuner = gk.RandomSearch(
        lambda config: None,
        "val_loss",
        9,
        directory=tmp_path,
        project_name="digits",
        overwrite=True,
    )
    assert "No search yet. 9 trials are planned." in str(tuner)
    assert "1.0" in str(gk.RayTuner.open(tmp_path / "digits"))


def test_a_tuner_and_what_open_returns_show_the_best_trials(tmp_path):
    failed = made.trial(2, [[]], TrialStatus.FAILED, message="ValueError: no")
    made.written(
        made.project([made.trial(0, [[1.0]]), made.trial(1, [[0.5]]), failed]), tmp_path / "digits"
    )
    tuner = gk.RandomSearch(
        lambda config: None, "val_loss", 9, directory=tmp_path, project_name="digits"
    )
    opened = gk.RayTuner.open(tmp_path / "digits")
    for shown, planned in ((tuner, "3 of 9 trials"), (opened, "3 trials")):
        lines = str(shown).splitlines()
        assert lines[1] == "Objective: val_loss (min)"
        assert lines[3] == f"  {planned}: 2 completed, 1 failed"
        assert [line.split()[:2] for line in lines[5:8]] == [
            ["trial", "val_loss"],
            ["01", "0.5"],
            ["00", "1.0"],
        ]
        assert lines[-1] == "    02: ValueError: no"
    assert repr(opened) == f"<Results project={str(tmp_path / 'digits')!r}>"


def test_a_damaged_project_is_told_not_raised(tmp_path):
    made.written(made.project([made.trial(0, [[1.0]])]), tmp_path)
    opened = gk.RayTuner.open(tmp_path)
    journal = tmp_path / ".glimr_keras" / "journal.jsonl"
    journal.write_bytes(b"{}\n" + journal.read_bytes())
    assert "does not start with the description of a project" in str(opened)
    assert "does not start with the description of a project" in opened._repr_html_()


def test_repr_works_before_a_constructor_has_run():
    assert "object at" in repr(object.__new__(gk.RandomSearch))


def test_stages_of_hyperband_are_left_out_but_for_the_epochs():
    stage = {Stage.EPOCHS: 9, Stage.INITIAL_EPOCH: 3, Stage.BRACKET: 2, Stage.ROUND: 1}
    trial = Trial.of("0", {"units": 3, **stage}, executions={0: execution(0.5, 4, 3)})
    columns = trial_columns([trial], Objective("val_accuracy", "max"))
    assert [column.name for column in columns] == [
        "trial",
        "status",
        "best_epoch",
        "epochs",
        "seconds",
        "units",
    ]


@pytest.mark.parametrize(
    ("bad", "shown"), [(math.nan, {}), (math.inf, {"val_loss": "inf", "std": "nan"})]
)
def test_a_score_that_is_infinite_is_shown_and_nan_is_none(bad, shown):
    executions = {0: execution(0.5, 1, 1), 1: execution(bad, 1, 1)}
    trial = Trial.of("0", {}, status=TrialStatus.COMPLETED, executions=executions)
    columns = trial_columns([trial], Objective("val_loss", "min"))
    cells = {column.name: column.cells[0] for column in columns}
    assert {name: cells[name] for name in ("val_loss", "std") if name in cells} == shown
