"""Projects that KerasTuner itself has written, read without it."""

import json
import math
import pathlib
import shutil
import warnings

import keras
import numpy as np
import pytest

import glimr_keras as gk
from glimr_keras.errors import CheckpointError, ModelError, ObjectiveError, ProjectError
from glimr_keras.project import keras_tuner_files
from tests import tiny_models

# KerasTuner searches first, once for all of them
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("keras_tuner")]
kt = pytest.importorskip("keras_tuner")
FIT = {"validation_data": tiny_models.VALIDATION, "epochs": 2, "verbose": 0}
SUMS = [kt.Objective("val_loss", "min"), kt.Objective("val_accuracy", "max")]


def build(hp, sized=True):
    layers = [keras.Input((6,))] if sized else []
    kind = hp.Choice("kind", ["relu", "tanh"])
    layers.append(keras.layers.Dense(hp.Int("units", 2, 8), kind))
    if kind == "tanh":
        with hp.conditional_scope("kind", ["tanh"]):
            layers.append(keras.layers.Dropout(hp.Float("rate", 0.1, 0.5)))
    return tiny_models.compiled(keras.Sequential([*layers, keras.layers.Dense(2)]))


def build_unsized(hp):
    return build(hp, sized=False)


def fails(hp):
    if hp.Int("units", 2, 8) > 5:
        raise kt.errors.FailedTrialError("too large")
    return build(hp)


def searched(
    directory, name, hypermodel=build, kind=kt.RandomSearch, objective="val_loss", **options
):
    tuner = kind(hypermodel, objective, seed=1, directory=directory, project_name=name, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tuner.search(*tiny_models.TRAIN, **FIT)
    return tuner


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    """Tuners of KerasTuner that have searched, by the kind of search."""
    keras.utils.set_random_seed(0)
    directory = tmp_path_factory.mktemp("earlier")
    return {
        "random": searched(directory, "random", max_trials=4),
        "unsized": searched(directory, "unsized", build_unsized, max_trials=2),
        "executions": searched(directory, "executions", executions_per_trial=2, max_trials=2),
        "failing": searched(
            directory, "failing", fails, max_trials=5, max_consecutive_failed_trials=9
        ),
        "several": searched(directory, "several", objective=SUMS, max_trials=2),
        "hyperband": searched(directory, "hyperband", kind=kt.Hyperband, max_epochs=3),
    }


@pytest.fixture(autouse=True)
def clean():
    keras.backend.clear_session()


@pytest.mark.parametrize(
    "kind", ["random", "unsized", "executions", "failing", "several", "hyperband"]
)
def test_its_results_are_those_of_keras_tuner(earlier, kind, capsys):
    theirs = earlier[kind]
    ours = gk.open_keras_tuner_project(theirs.project_dir)
    trials = {trial.trial_id: trial for trial in ours.get_trials()}
    assert list(trials) == theirs.oracle.start_order
    for trial_id, trial in theirs.oracle.trials.items():
        mine = trials[trial_id]
        assert (mine.status, mine.score, mine.values) == (
            trial.status,
            trial.score,
            trial.hyperparameters.values,
        )
        assert mine.metrics.get_config() == trial.metrics.get_config()
        assert trial.score is None or mine.best_step == trial.best_step
    best = [hp.values for hp in theirs.get_best_hyperparameters(2)]
    assert [hp.values for hp in ours.get_best_hyperparameters(2)] == best
    table = ours.results_dataframe().set_index("trial_id").loc[list(trials)]
    scores = [math.nan if trial.score is None else trial.score for trial in trials.values()]
    assert table["score"].tolist() == pytest.approx(scores, nan_ok=True)
    ours.results_summary()
    assert f"Trial {theirs.oracle.get_best_trials()[0].trial_id} summary" in capsys.readouterr().out
    rows = gk.experiment_table(ours)
    assert set(rows["trial_id"]) == {
        trial.trial_id for trial in trials.values() if trial.score is not None
    }


@pytest.mark.parametrize(
    ("kind", "hypermodel"), [("random", build), ("unsized", build_unsized), ("executions", build)]
)
def test_its_models_are_those_of_keras_tuner(earlier, kind, hypermodel):
    theirs = earlier[kind]
    x, _ = tiny_models.VALIDATION
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        best = theirs.get_best_models(2)
    expected = [model.predict(x, verbose=0) for model in best]
    found = [
        model.predict(x, verbose=0)
        for model in gk.open_keras_tuner_project(theirs.project_dir, hypermodel).get_best_models(2)
    ]
    assert all(np.allclose(mine, other) for mine, other in zip(found, expected, strict=True))


def test_its_trials_are_in_the_project_itself_however_many(earlier, tmp_path):
    theirs = pathlib.Path(earlier["random"].project_dir)
    there = tmp_path / "many"
    shutil.copytree(theirs, there)
    for number in range(4):
        place = there / f"trial_{number}"
        file = place / "trial.json"
        file.write_text(
            file.read_text().replace(f'"trial_id": "{number}"', f'"trial_id": "1234{number}"')
        )
        place.rename(there / f"trial_1234{number}")
    (few, few_models), (many, many_models) = (
        (found, [model.get_weights() for model in found.get_best_models(4)])
        for found in (gk.open_keras_tuner_project(place, build) for place in (theirs, there))
    )
    assert [trial.trial_id for trial in many.get_trials()] == [
        f"1234{number}" for number in range(4)
    ]
    assert many.results_dataframe()["score"].tolist() == few.results_dataframe()["score"].tolist()
    for mine, other in zip(few_models, many_models, strict=True):
        assert all(map(np.array_equal, mine, other))
    assert many.get_trial_dir("12340") == str(there / "trial_12340")
    paths = {trial.user_attrs.get("checkpoint") for trial in many.to_study().trials}
    assert paths == {str(there / f"trial_1234{number}") for number in range(4)}
    assert set(gk.experiment_table(many)["checkpoint_path"].dropna()) <= paths


def test_a_search_learns_from_it_or_begins_with_its_best(earlier, tmp_path):
    theirs = earlier["random"]
    found = gk.open_keras_tuner_project(theirs.project_dir)
    for number, source in enumerate((found, theirs.project_dir)):
        tuner = gk.BayesianOptimization(
            build,
            "val_loss",
            1,
            directory=tmp_path,
            project_name=str(number),
            executor="inline",
            warm_start=source,
        )
        tuner.search(*tiny_models.TRAIN, **FIT)
        assert len(tuner.results_dataframe()) == 1
    points = [hp.values for hp in found.get_best_hyperparameters(2)]
    tuner = gk.RandomSearch(
        build,
        "val_loss",
        2,
        directory=tmp_path,
        project_name="points",
        executor="inline",
        initial_points=points,
    )
    tuner.search(*tiny_models.TRAIN, **FIT)
    assert [trial.values for trial in tuner.oracle.trials.values()] == points
    other = gk.BayesianOptimization(
        build,
        "val_accuracy",
        1,
        directory=tmp_path,
        project_name="o",
        executor="inline",
        warm_start=found,
    )
    with pytest.raises(
        ProjectError, match=r"objective of the KerasTuner project in .* was not .*val_accuracy"
    ):
        other.search(*tiny_models.TRAIN, **FIT)


def test_the_objective_is_found_or_asked_for(earlier, tmp_path):
    assert gk.open_keras_tuner_project(
        earlier["random"].project_dir
    )._glimr.read().objective == gk.Objective("val_loss", "min")
    assert (
        gk.open_keras_tuner_project(earlier["several"].project_dir)._glimr.read().objective.name
        == "multi_objective"
    )
    several = gk.open_keras_tuner_project(
        earlier["several"].project_dir, objective=["val_loss", "val_accuracy"]
    )
    assert {"val_loss", "val_accuracy"} <= set(several.pareto_front().columns)
    with pytest.raises(ProjectError, match="that would be"):
        gk.open_keras_tuner_project(earlier["random"].project_dir, objective="val_accuracy")
    with pytest.raises(ObjectiveError, match=r'Objective\("secret", "min"\)'):
        gk.open_keras_tuner_project(earlier["random"].project_dir, objective="secret")
    scored = tmp_path / "scored"
    shutil.copytree(earlier["random"].project_dir, scored)
    for path in scored.glob("trial_*/trial.json"):
        state = json.loads(path.read_text())
        path.write_text(json.dumps({**state, "score": 17.0}))
    with pytest.raises(
        ProjectError, match=r"no metric is what was scored: .*val_loss.* Pass `objective=`"
    ):
        gk.open_keras_tuner_project(scored)
    own = gk.open_keras_tuner_project(scored, objective=gk.Objective("own", "min"))
    assert set(own.results_dataframe()["score"]) == {17.0}


def test_what_cannot_be_read_is_named(earlier, tmp_path):
    with pytest.raises(ProjectError, match=r"There is no KerasTuner project in .*nowhere"):
        gk.open_keras_tuner_project(tmp_path / "nowhere")
    with pytest.raises(ProjectError, match=r"it has no oracle\.json"):
        gk.open_keras_tuner_project(tmp_path)
    broken = tmp_path / "broken"
    shutil.copytree(earlier["random"].project_dir, broken)
    found = gk.open_keras_tuner_project(broken, build)
    for weights in broken.glob("trial_*/checkpoint.weights.h5"):
        weights.rename(weights.with_name("checkpoint.index"))
    with pytest.raises(CheckpointError, match=r"Keras 2 wrote, checkpoint\.index"):
        found.get_best_models()
    with pytest.raises(ModelError, match="Pass it"):
        gk.open_keras_tuner_project(broken).get_best_models()
    (broken / "trial_0" / "trial.json").write_text("{")
    with pytest.raises(ProjectError, match=r"trial\.json cannot be read"):
        found.results_dataframe()
    (broken / "trial_0" / "trial.json").write_text("{}")
    with pytest.raises(ProjectError, match=r"is damaged: KeyError"):
        found.results_dataframe()


def test_it_is_not_continued_by_mistake(earlier):
    directory = earlier["random"].project_dir
    place = {"directory": directory.removesuffix("random"), "project_name": "random"}
    with pytest.raises(
        ProjectError, match=r"is KerasTuner's, and cannot be continued\. .*open_keras_tuner_project"
    ):
        gk.RandomSearch(build, "val_loss", executor="inline", **place).search(
            *tiny_models.TRAIN, **FIT
        )
    with pytest.raises(ProjectError, match="Open it by `open_keras_tuner_project`"):
        gk.RayTuner.open(directory)
    assert keras_tuner_files.exists(pathlib.Path(directory))
