"""A loop of one's own over a tuner's oracle, and `run_trial` called by hand."""

import json
import pathlib

import keras
import pytest

import glimr_keras as gk
from glimr_keras.engine import tuner_utils
from glimr_keras.errors import OtherOracleError, ProjectError
from glimr_keras.project.journal import Journal
from glimr_keras.training import tracker_callbacks
from tests import tiny_models
from tests.training.test_tracker_callbacks import OfMLflow, Tracker

FIT = {"validation_data": tiny_models.VALIDATION, "verbose": 0}


def build(hp):
    """Its last layer has its hyperparameter only where there are two."""
    model = keras.Sequential([keras.Input((6,))])
    for layer in range(hp.Int("layers", 1, 2)):
        model.add(keras.layers.Dense(hp.Int(f"units_{layer}", 2, 8)))
    model.add(keras.layers.Dense(2, "softmax"))
    return tiny_models.compiled(model)


def tuner_of(project, max_trials=4, kind=gk.RandomSearch, hypermodel=build, **options):
    options = {"executor": "inline", "seed": 3, **options}
    return kind(hypermodel, "val_loss", max_trials=max_trials, **project, **options)


def pretend(tuner, count, score=lambda trial: 1.0 / (1 + int(trial.trial_id))):
    """Runs so many trials without training them."""
    trials = []
    for _ in range(count):
        trial = tuner.oracle.create_trial("tuner0")
        if trial.status != "RUNNING":
            break
        tuner.oracle.update_trial(trial.trial_id, {"val_loss": score(trial) + 1, "other": 2.0})
        tuner.oracle.update_trial(trial.trial_id, {"val_loss": score(trial)}, step=1)
        trial.status = "COMPLETED"
        tuner.oracle.end_trial(trial)
        trials.append(trial)
    return trials


def test_trials_have_the_models_hyperparameters_and_leave_a_project(project):
    tuner = tuner_of(project)
    trials = pretend(tuner, 2)
    names = [hp.name for hp in trials[0].hyperparameters.space]
    assert names == ["layers", "units_0", "units_1"]
    assert all("units_0" in trial.hyperparameters.values for trial in trials)
    table = tuner.results_dataframe()
    assert list(table["status"]) == ["COMPLETED"] * 2
    assert list(table["trial_id"]) == ["1", "0"]
    assert list(table["score"]) == [0.5, 1.0]
    assert list(table["best_epoch"]) == [2, 2]
    stored = json.loads(pathlib.Path(tuner.get_trial_dir("0"), "trial.json").read_text())
    assert stored["hyperparameters"]["values"] == trials[0].hyperparameters.values
    best = tuner.get_best_hyperparameters()[0]
    assert best.values == trials[1].hyperparameters.values
    history = gk.BaseTuner.open(tuner.project_dir)._glimr.read().trials["0"].metrics
    assert [each.value for each in history.get_history("val_loss")] == [[2.0], [1.0]]


def test_another_loop_goes_on_with_what_was_tried_and_what_was_not_ended(project):
    first = tuner_of(project)
    done = pretend(first, 2)
    left = first.oracle.create_trial("tuner0")
    second = tuner_of(project, max_trials=5)
    assert (len(second.oracle.trials), second.remaining_trials) == (3, 2)
    again = second.oracle.create_trial("tuner0")
    assert again.trial_id == left.trial_id
    assert again.hyperparameters.values == left.hyperparameters.values
    other = second.oracle.create_trial("another")
    assert other.trial_id == "3"
    assert second.oracle.trials["0"].score == done[0].score
    third = tuner_of(project, max_trials=5)
    assert [trial.trial_id for trial in pretend(third, 9)] == ["2", "3", "4"]
    values = [json.dumps(trial.hyperparameters.values) for trial in third.oracle.trials.values()]
    assert len(set(values)) == 5


def test_a_search_and_a_loop_go_on_with_each_other_in_one_process(project):
    tuner = tuner_of(project, max_trials=3)
    pretend(tuner, 1)
    tuner.search(*tiny_models.TRAIN, epochs=1, **FIT)
    assert list(tuner.oracle.trials) == ["0", "1", "2"]
    assert pretend(tuner, 1) == []
    tuner.oracle.max_trials = 4
    assert [trial.trial_id for trial in pretend(tuner, 5)] == ["3"]
    assert set(tuner.results_dataframe()["trial_id"]) == {"0", "1", "2", "3"}


def test_a_search_on_ray_goes_on_with_a_loop(local_ray, project):
    pretend(tuner_of(project, max_trials=4), 2, score=lambda trial: 100.0)
    tuner = tuner_of(project, executor="ray", max_concurrent_trials=2)
    tuner.search(*tiny_models.TRAIN, epochs=1, **FIT)
    scores = [tuner.oracle.trials[key].score for key in ("0", "1", "2", "3")]
    assert scores[:2] == [100.0, 100.0]
    assert all(0 < score < 100 for score in scores[2:])
    model = tuner.get_best_models()[0]
    loss = model.evaluate(*tiny_models.VALIDATION, verbose=0)[0]
    assert loss == pytest.approx(min(scores), rel=1e-4)


def test_trials_that_fail_are_tried_again_and_recorded(project):
    tuner = tuner_of(project, max_retries_per_trial=1)
    for _ in range(2):
        trial = tuner.oracle.create_trial("tuner0")
        trial.status, trial.message = "INVALID", "it did not work"
        tuner.oracle.end_trial(trial)
    assert (trial.trial_id, trial.status) == ("0", "FAILED")
    trial = tuner.oracle.create_trial("tuner0")
    tuner.oracle.update_trial(trial.trial_id, {"val_loss": 1.0})
    tuner.oracle.end_trial(trial)  # it does not say that it is complete
    project_now = Journal(pathlib.Path(tuner.project_dir)).read()
    assert [each.status for each in project_now.trials.values()] == ["FAILED", "RUNNING"]
    execution = project_now.trials["0"].executions[0]
    assert (execution.attempt, execution.message) == (1, "it did not work")


def test_overwrite_starts_over(project):
    pretend(tuner_of(project), 2)
    tuner = tuner_of(project, overwrite=True)
    assert [trial.trial_id for trial in pretend(tuner, 1)] == ["0"]
    assert len(tuner.results_dataframe()) == 1


def test_what_is_met_late_and_what_is_written_is_recorded(project):
    tuner = tuner_of(project)
    trial = tuner.oracle.create_trial("tuner0")
    trial.hyperparameters.Int("late", 1, 5)
    trial.hyperparameters.values["written"] = 7
    tuner.oracle.update_trial(trial.trial_id, {"val_loss": 1.0})
    trial.status = "COMPLETED"
    tuner.oracle.end_trial(trial)
    again = tuner_of(project)
    assert "late" in [hp.name for hp in again.oracle.hyperparameters.space]
    best = again.get_best_hyperparameters()[0]
    assert (best["late"], best["written"]) == (1, 7)
    assert "late" in again.oracle.create_trial("tuner0").hyperparameters.values


def test_two_loops_in_one_project_are_refused(project):
    first, second = tuner_of(project), tuner_of(project)
    pretend(first, 1)
    pretend(second, 1)
    with pytest.raises(ProjectError, match="Another search has written to the project"):
        pretend(first, 1)


def test_a_loop_needs_the_direction_of_its_objective(project):
    tuner = gk.RandomSearch(build, "mine", max_trials=1, executor="inline", **project)
    with pytest.raises(ValueError, match="Could not infer optimization direction"):
        tuner.oracle.create_trial("tuner0")


def test_folds_are_not_for_loops(project):
    tuner = tuner_of(project, cv_folds=2)
    with pytest.raises(ProjectError, match=r"no `cv_folds`\. Use `search\(\)`"):
        tuner.oracle.create_trial("tuner0")


def test_an_oracle_with_a_state_of_its_own_refuses_a_project_of_another_kind(project):
    tuner = tuner_of(project)
    pretend(tuner, 1)
    for kind in (gk.BayesianOptimization, gk.Hyperband):
        with pytest.raises(OtherOracleError, match=r"begun by a RandomSearchOracle.*`warm_start`"):
            tuner_of(project, kind=kind)
    assert pretend(tuner_of(project, kind=gk.GridSearch), 1)

    class Mine(gk.oracles.RandomSearchOracle):
        """Is one of its kind."""

    mine = gk.Tuner(Mine("val_loss", max_trials=4), build, executor="inline", **project)
    assert pretend(mine, 1)
    with pytest.raises(RuntimeError, match="pass `overwrite=True`"):
        tuner_of(project, kind=gk.BayesianOptimization).search(*tiny_models.TRAIN, **FIT)
    tuner_of(project, kind=gk.BayesianOptimization, overwrite=True)


# `run_trial` by hand


@pytest.mark.parametrize("of_the_tuner", [True, False])
def test_each_training_is_tracked_as_a_run_of_its_own(project, monkeypatch, of_the_tuner):
    tracker = Tracker()
    monkeypatch.setitem(tracker_callbacks._TRACKERS, "mlflow", lambda name: tracker)
    given = {} if of_the_tuner else {"callbacks": [OfMLflow()]}
    tuner = tuner_of(
        project, executions_per_trial=2, callbacks=[OfMLflow()] if of_the_tuner else None
    )
    trial = tuner.oracle.create_trial("tuner0")
    tuner.run_trial(trial, *tiny_models.TRAIN, epochs=1, **given, **FIT)
    project_id = Journal(pathlib.Path(tuner.project_dir)).read().project_id[:8]
    assert [(run.spec.unique_name, run.status) for run in tracker.runs] == [
        (f"{project_id}_0", "COMPLETED"),
        (f"{project_id}_0_execution_1", "COMPLETED"),
    ]
    assert tracker.runs[0].values["units_0"] == trial.hyperparameters["units_0"]
    with pytest.raises(ValueError, match="sizes"):
        tuner.run_trial(trial, tiny_models.TRAIN[0], tiny_models.TRAIN[1][:3], **given, **FIT)
    assert [run.status for run in tracker.runs[2:]] == ["FAILED"]


class Counting(gk.RandomSearch):
    """Notes what it is told."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.built, self.epochs = 0, []

    def _build_and_fit_model(self, trial, *args, **kwargs):
        self.built += 1
        return super()._build_and_fit_model(trial, *args, **kwargs)

    def on_epoch_end(self, trial, model, epoch, logs=None):
        self.epochs.append((trial.trial_id, epoch))


def test_run_trial_trains_and_returns_the_histories_and_saves_the_best_weights(project):
    tuner = tuner_of(project, kind=Counting, executions_per_trial=2)
    trial = tuner.oracle.create_trial("tuner0")
    noted = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None)
    histories = tuner.run_trial(trial, *tiny_models.TRAIN, epochs=3, callbacks=[noted], **FIT)
    assert [type(history) for history in histories] == [keras.callbacks.History] * 2
    assert [len(history.epoch) for history in histories] == [3, 3]
    assert (tuner.built, tuner.epochs) == (2, [("0", epoch) for epoch in (0, 1, 2)] * 2)
    objective = tuner.oracle.objective
    tuner.oracle.update_trial(
        trial.trial_id,
        tuner_utils.convert_to_metrics_dict(histories[:1], objective),
        tuner_utils.get_best_step(histories[:1], objective),
    )
    trial.status = "COMPLETED"
    tuner.oracle.end_trial(trial)
    assert pathlib.Path(tuner._get_checkpoint_fname("0")).exists()
    loss = tuner.get_best_models()[0].evaluate(*tiny_models.VALIDATION, verbose=0)[0]
    assert loss == pytest.approx(trial.score, rel=1e-4)
    with pytest.raises(TypeError, match="to be one of float"):

        class Wrong(gk.HyperModel):
            def build(self, hp):
                return build(hp)

            def fit(self, hp, model, *args, **kwargs):
                return "text"

        tuner.hypermodel = Wrong()
        tuner.run_trial(trial, *tiny_models.TRAIN, **FIT)


class Once(keras.callbacks.Callback):
    """Remembers what it has seen, as `ModelCheckpoint` does its best."""

    seen = ()

    def on_epoch_end(self, epoch, logs=None):
        self.seen = (*self.seen, epoch)
        logs["seen"] = len(self.seen)


def test_each_training_has_callbacks_of_its_own(project):
    given = Once()
    tuner = tuner_of(project, executions_per_trial=2, callbacks=[given])
    for _ in range(2):
        trial = tuner.oracle.create_trial("tuner0")
        histories = tuner.run_trial(trial, *tiny_models.TRAIN, epochs=2, **FIT)
        assert [history.history["seen"] for history in histories] == [[1, 2], [1, 2]]
    assert given.seen == ()


def test_a_run_trial_of_ones_own_may_be_called_by_hand(project):
    class Halves(gk.RandomSearch):
        def run_trial(self, trial, x, y, **kwargs):
            history = self._build_and_fit_model(trial, x[:32], y[:32], **kwargs)
            self.save_model(trial.trial_id, history.model)
            return min(history.history["val_loss"])

    tuner = tuner_of(project, kind=Halves)
    trial = tuner.oracle.create_trial("tuner0")
    value = tuner.run_trial(trial, *tiny_models.TRAIN, epochs=2, **FIT)
    tuner.oracle.update_trial(trial.trial_id, {"val_loss": value})
    trial.status = "COMPLETED"
    tuner.oracle.end_trial(trial)
    assert len(tuner.get_best_models()) == 1


def test_promotions_of_hyperband_go_on_where_their_trials_ended(project):
    tuner = gk.Hyperband(
        build, "val_loss", max_epochs=2, factor=2, executor="inline", seed=1, **project
    )
    epochs = []
    for _ in range(3):
        trial = tuner.oracle.create_trial("tuner0")
        history = tuner.run_trial(trial, *tiny_models.TRAIN, **FIT)[0]
        epochs.append(history.epoch)
        tuner.oracle.update_trial(trial.trial_id, {"val_loss": min(history.history["val_loss"])})
        trial.status = "COMPLETED"
        tuner.oracle.end_trial(trial)
    assert epochs == [[0], [0], [1]]
    assert trial.hyperparameters.values["tuner/trial_id"] in ("0000", "0001")
