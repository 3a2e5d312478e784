"""What an earlier version wrote opens, and goes on: a project, an experiment, an ensemble."""

import json
import pathlib
import shutil

import keras
import numpy as np
import pytest

import glimr_keras as gk
from glimr_keras.models import folds
from glimr_keras.models.data import FitArguments
from glimr_keras.project.journal import Journal
from tests.stored import written

HERE = pathlib.Path(__file__).parent


@pytest.fixture
def directory(tmp_path):
    """A copy of the stored files, since what opens them may write."""
    for name in ("project", "search"):
        shutil.copytree(HERE / name, tmp_path / name)
    return tmp_path


def records_of(project):
    lines = (project / ".glimr_keras" / "journal.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_a_projects_table(directory):
    table = gk.RayTuner.open(directory / "project").results_dataframe()
    assert table["trial_id"].tolist() == ["1", "0"]
    assert table["score"].tolist() == pytest.approx([0.6875, 0.34375])
    assert table["fold1_score"].tolist() == pytest.approx([0.71875, 0.125])
    assert table[["started", "ended", "worker"]].isna().all(axis=None)  # was not written then
    assert table["pooling"].tolist() == ["mean_of", "mean_of"]  # an option that is an object
    assert table["dropout"].tolist() == pytest.approx([0.3, 0.3])  # a domain of Ray's


def test_a_projects_models_have_their_scores(directory):
    results = gk.RayTuner.open(directory / "project", written.Model())
    models = results.get_best_models()
    parts = folds.make(FitArguments((written.X, written.Y), {}), 2, seed=3).parts
    scores = [
        model.evaluate(
            written.X[parts == fold], written.Y[parts == fold], verbose=0, return_dict=True
        )["accuracy"]
        for fold, model in enumerate(models)
    ]
    assert scores == pytest.approx([0.65625, 0.71875])


def test_a_project_goes_on(directory):
    before = records_of(directory / "project")
    tuner = written.tuner_of(directory)
    tuner.oracle.max_trials = 3
    tuner.search(written.X, written.Y, epochs=2, verbose=0)
    after = records_of(directory / "project")
    assert after[: len(before)] == before
    assert [each["trial_id"] for each in after if each["record"] == "trial"] == ["0", "1", "2"]


def test_the_words_for_kinds_of_hyperparameter_stay(directory):
    """So what is written now can also be read by an earlier version."""
    tuner = written.tuner_of(directory / "now")
    tuner.search(written.X, written.Y, epochs=1, verbose=0)
    now, before = (
        records_of(where / "project")[0]["space"] for where in (directory / "now", directory)
    )
    assert now == before
    assert {each["class_name"] for each in now} == {
        "Options",
        "Int",
        "RayDomain",
        "Choice",
        "Float",
    }


def test_an_experiment_of_search_is_restored(directory, local_ray):
    """Its pickle names modules that are gone: of `Search` and of a function of the package."""
    results = gk.Search.restore(directory, "search")
    assert len(results) == 2
    trials = Journal(directory / "search").read().trials
    assert [trial.status for trial in trials.values()] == ["COMPLETED"] * 2
    assert records_of(directory / "search")[:6] == records_of(HERE / "search")


def test_an_ensemble_gives_the_same_outputs():
    model = keras.models.load_model(HERE / "ensemble.keras")
    expected = np.load(HERE / "ensemble.npz")["outputs"]
    assert model.predict(written.X[:4], verbose=0) == pytest.approx(expected, abs=1e-6)
