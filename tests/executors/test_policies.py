"""What ends a search, or a trial, before its time."""

import time

import pytest
from ray import tune

import glimr_keras as gk
from glimr_keras.executors.policies import StoppingPolicy
from glimr_keras.trials.execution import Execution
from glimr_keras.trials.trial import Trial
from tests import tiny_models

MIN = gk.Objective("val_loss", "min")


def trial(score):
    status = "FAILED" if score is None else "COMPLETED"
    return Trial.of("0000", {}, status=status, executions={0: Execution(status, score=score)})


def test_without_bounds_nothing_ends():
    stopping_policy = StoppingPolicy(MIN)
    for _ in range(100):
        stopping_policy.observe(trial(None))
    assert stopping_policy.reached() is None
    assert stopping_policy.stops("0000", 1, {"val_loss": 1.0}) is None


def test_trials_without_improvement_are_counted_from_the_best():
    stopping_policy = StoppingPolicy(MIN, patience=2)
    for score in (3.0, 4.0, 2.0, 2.0):
        stopping_policy.observe(trial(score))
        assert stopping_policy.reached() is None
    stopping_policy.observe(trial(None))
    assert stopping_policy.reached() == "The last 2 trials brought no improvement."


def test_a_time_budget_ends_trials_and_search():
    stopping_policy = StoppingPolicy(MIN, seconds=0.05)
    assert stopping_policy.reached() is None
    time.sleep(0.06)
    assert "time budget of 0.05 s" in stopping_policy.reached()
    assert stopping_policy.stops("0000", 1, {}) == "STOPPED"


def test_a_stopper_sees_trial_epoch_and_metrics():
    class Sees(tune.Stopper):
        def __call__(self, trial_id, result):
            self.seen = (trial_id, result["training_iteration"], result["val_loss"])
            return False

        def stop_all(self):
            return False

    stopping_policy = StoppingPolicy(MIN, stopper=Sees())
    assert stopping_policy.stops("0007", 3, {"val_loss": 0.5}) is None
    assert stopping_policy.stopper.seen == ("0007", 3, 0.5)


class Slow(gk.HyperModel):
    """Takes a while for each epoch."""

    def build(self, config):
        return tiny_models.build(config)

    def fit(self, config, model, *args, callbacks, epochs, **kwargs):
        for epoch in range(epochs):
            for callback in callbacks:
                callback.set_model(model)
                callback.on_epoch_begin(epoch)
            time.sleep(0.1)
            for callback in callbacks:
                callback.on_epoch_end(epoch, logs={"val_loss": float(config["units"])})


class AfterTwoEpochs(tune.Stopper):
    def __call__(self, trial_id, result):
        return result["training_iteration"] >= 2

    def stop_all(self):
        return False


def search(project, executor, capsys, **options):
    tuner = gk.RayTuner(Slow(), MIN, seed=0, executor=executor, **project, **options)
    tuner.search(*tiny_models.TRAIN, epochs=8, verbose=1)
    return tuner.results_dataframe(), capsys.readouterr().out


@pytest.mark.parametrize("executor", ["inline", "ray"])
class TestBothExecutors:
    @pytest.fixture(autouse=True)
    def _ray(self, local_ray):
        """Has all of them run where the shared Ray is."""

    def test_a_stopper_ends_trials(self, project, executor, capsys):
        table, _ = search(project, executor, capsys, max_trials=2, stopper=AfterTwoEpochs())
        assert list(table["status"]) == ["COMPLETED", "COMPLETED"]
        assert (table["epochs"] <= 3).all()
        assert (table["score"] == table["units"]).all()

    def test_a_time_budget_ends_the_search_and_says_so(self, project, executor, capsys):
        table, said = search(project, executor, capsys, max_trials=100, time_budget_s=2.0)
        assert 0 < len(table) < 100
        assert set(table["status"]) <= {"COMPLETED", "STOPPED"}
        assert "time budget of 2 s is spent" in said

    def test_no_improvement_ends_the_search_and_says_so(self, project, executor, capsys):
        table, said = search(
            project, executor, capsys, max_trials=100, max_trials_without_improvement=3
        )
        assert 4 <= len(table) < 100
        assert "brought no improvement" in said


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"time_budget_s": 0},
            ValueError,
            "`time_budget_s` must be a number of seconds above 0. Received: time_budget_s=0",
        ),
        (
            {"max_trials_without_improvement": 0},
            ValueError,
            "`max_trials_without_improvement` must be an integer of at least 1",
        ),
        (
            {"stopper": "late"},
            TypeError,
            "`stopper` must be a ray.tune.Stopper. Received: stopper='late'",
        ),
        ({"initial_points": {"units": 3}}, TypeError, "`initial_points` must be a list of dicts"),
        (
            {"warm_start": ["nowhere"]},
            gk.errors.ProjectError,
            "`warm_start` needs the directory of a project",
        ),
    ],
)
def test_bad_arguments_are_refused_by_the_constructor(project, arguments, error, message):
    with pytest.raises(error, match=message):
        gk.RayTuner(tiny_models.build, "val_loss", **project, **arguments)
