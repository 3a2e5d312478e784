"""A project in a storage of Optuna's, loaded by Optuna."""

import dataclasses

import optuna
import pytest

from glimr_keras.errors import ProjectError, StorageError
from glimr_keras.exports import optuna_storage
from tests.exports import contents

STATES = optuna.trial.TrialState


@pytest.mark.parametrize(
    "place",
    ["study.db", "sqlite:///{}/url.db", "sqlite:///{}/a/b/url.db", "study.log", "journal://{}/j"],
)
def test_each_trial_is_there_once_however_often_it_is_written(tmp_path, place):
    where = place.format(tmp_path) if "{}" in place else str(tmp_path / "new" / place)
    said = optuna_storage.write_study(contents.early(), where)
    assert said == f"The study 'digits' in {where} has 3 trials."
    optuna_storage.write_study(contents.early(), where)
    optuna_storage.write_study(contents.late(), where)
    study = optuna.load_study(study_name="digits", storage=optuna_storage.storage_of(where))
    assert [trial.state for trial in study.trials] == [
        STATES.COMPLETE,
        STATES.FAIL,
        STATES.COMPLETE,
        STATES.RUNNING,
    ]
    assert study.best_trial.params == {"units": 8, "rate": 1e-3, "kind": "wide", "norm": False}
    assert study.best_value == 0.25
    assert study.trials[2].intermediate_values == {1: 0.75, 2: 0.5}


def test_a_study_of_something_else_is_left_alone(tmp_path):
    storage = f"sqlite:///{tmp_path}/study.db"
    study = optuna.create_study(storage=storage, study_name="digits")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    with pytest.raises(ProjectError, match="has a study 'digits' that is not of this project"):
        optuna_storage.write_study(contents.early(), storage)
    assert len(optuna.load_study(study_name="digits", storage=storage).trials) == 1


def test_projects_of_one_name_without_ids_are_told_apart(tmp_path):
    """As of KerasTuner."""
    mine, other = contents.early(), dataclasses.replace(contents.early(), directory=tmp_path)
    for content in (mine, other):
        content.project.project_id = None
    where = str(tmp_path / "study.log")
    for _ in range(2):
        optuna_storage.write_study(mine, where)
    with pytest.raises(ProjectError, match="has a study 'digits' that is not of this project"):
        optuna_storage.write_study(other, where)
    assert mine.project.project_id is None


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("sqlite:///{}", "unable to open database file"),
        ("sqlite:///{}/damaged.db", "file is not a database"),
        ("nonsense://me:secret@host/db", "Can't load plugin"),
    ],
)
def test_errors_of_a_database_are_told(tmp_path, where, said):
    (tmp_path / "damaged.db").write_bytes(b"no database " * 1000)
    with pytest.raises(StorageError, match=said) as told:
        optuna_storage.write_study(contents.early(), where.format(tmp_path))
    assert str(told.value).startswith("Optuna cannot write to ")
    assert "secret" not in str(told.value)
    assert "\n" not in str(told.value)
