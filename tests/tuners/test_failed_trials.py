"""Searches in which some trials diverge or fail, and that go on after the script was mended: what
is trained, what is written down, and what is built again are the same.
"""

import json

import keras
import numpy as np
import pytest
from ray import tune
from ray.tune.search.optuna import OptunaSearch

import glimr_keras as gk
from glimr_keras.project import training_states
from glimr_keras.project.journal import Journal
from tests import tiny_models

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.*")
FIT = {"validation_data": tiny_models.VALIDATION, "epochs": 4, "verbose": 1}
POINTS = [
    {"how": "diverges", "layer": {"units": 8}},
    {"how": "fails", "layer": {"units": 4}},
]


def diverging(epoch, rate):
    """A learning rate that makes all weights nan in the third epoch."""
    return 1e30 if epoch == 2 else 0.01


class Wild(gk.HyperModel):
    """Has values of `sample_from` that are no scalars; one configuration diverges after two good
    epochs, and one fails until the script is mended.
    """

    def __init__(self, mended):
        self.mended = mended

    def space(self):
        return {
            "how": tune.choice(["diverges", "fails", "works"]),
            "layer": {
                "units": tune.qrandint(4, 8, 4),
                "rates": tune.sample_from(lambda: [float(np.random.rand()) for _ in range(3)]),
            },
            "matrix": tune.sample_from(lambda: np.random.rand(2, 3)),
        }

    def build(self, config):
        if config["how"] == "fails" and not self.mended.exists():
            raise RuntimeError("a mistake in the script")
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [
                keras.Input((6,)),
                keras.layers.Dense(config["layer"]["units"]),
                keras.layers.Dense(2, "softmax"),
            ]
        )
        model.compile(
            keras.optimizers.SGD(0.01), "sparse_categorical_crossentropy", run_eagerly=True
        )
        return model

    def fit(self, config, model, *args, callbacks, **kwargs):
        drawn = sum(config["layer"]["rates"]) + float(config["matrix"].sum())
        own = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: logs.update(drawn=drawn)
        )
        if config["how"] == "diverges":
            callbacks = [keras.callbacks.LearningRateScheduler(diverging), *callbacks]
        return model.fit(*args, callbacks=[own, *callbacks], **kwargs)


def wild(project, mended, executor="ray", **kwargs):
    return gk.RayTuner(
        Wild(mended),
        gk.Objective("val_loss", "min"),
        max_trials=3,
        seed=0,
        search_alg=OptunaSearch(seed=0, points_to_evaluate=POINTS),
        executions_per_trial=2,
        max_concurrent_trials=2,
        callbacks=[keras.callbacks.TerminateOnNaN()],
        executor=executor,
        **project,
        **kwargs,
    )


def check_drawn(tuner):
    """That each trial had one draw, in all its executions, and that it is found again."""
    project = tuner._glimr.read()
    found = set()
    for trial in project.trials.values():
        if not trial.is_scored:
            continue
        trained = {
            metrics["drawn"]
            for execution in trial.executions.values()
            for metrics in execution.history.values()
        }
        (drawn,) = trained
        config = tuner._glimr.space.fill(trial.values)
        again = sum(config["layer"]["rates"]) + config["matrix"].sum()
        assert again == pytest.approx(drawn)
        found.add(drawn)
    assert len(found) == sum(trial.is_scored for trial in project.trials.values())


def check_diverged(tuner, trial):
    """That the best of its two good epochs counts, and that its weights were kept."""
    assert trial.status == "COMPLETED"
    assert "no number in epoch 3: the training diverged" in trial.message
    scores = [
        min(metrics["val_loss"] for epoch, metrics in execution.history.items() if epoch < 3)
        for execution in trial.executions.values()
    ]
    assert trial.score == pytest.approx(np.mean(scores))
    model = tuner.load_model(trial)
    assert model.evaluate(*tiny_models.VALIDATION, verbose=0) == pytest.approx(
        min(scores), rel=1e-5
    )


def test_what_went_wrong_is_told_and_tried_again(local_ray, project, tmp_path, capsys):
    mended = tmp_path / "mended"
    tuner = wild(project, mended)
    tuner.search(*tiny_models.TRAIN, **FIT)
    trials = tuner._glimr.read().trials
    assert [(trial.values["how"], trial.values["layer/units"]) for trial in trials.values()][
        :2
    ] == [("diverges", 8), ("fails", 4)]
    assert trials["1"].status == "FAILED"
    check_diverged(tuner, trials["0"])
    check_drawn(tuner)
    config = tuner.get_best_hyperparameters()[0]
    assert isinstance(config["layer"]["rates"], list)
    assert config["matrix"].shape == (2, 3)

    before = Journal(tmp_path / "project").path.read_bytes()
    capsys.readouterr()
    wild(project, mended, executor="inline").search(*tiny_models.TRAIN, **FIT)
    said = capsys.readouterr().out
    assert "of the project's 3 trials failed in an earlier run" in said
    assert said.count("`retry_failed=True`") == 1
    assert Journal(tmp_path / "project").path.read_bytes() == before

    mended.touch()
    tuner = wild(project, mended, retry_failed=True)
    tuner.search(*tiny_models.TRAIN, **FIT)
    assert "retry_failed" not in capsys.readouterr().out
    after = Journal(tmp_path / "project").path.read_bytes()
    assert after.startswith(before)
    again = tuner._glimr.read().trials
    assert [trial.status for trial in again.values()] == ["COMPLETED"] * 3
    assert again["1"].values["layer/rates"] == trials["1"].suggested["layer/rates"]
    assert repr(again["0"]) == repr(trials["0"])  # as text, for nan is not equal to itself
    check_drawn(tuner)
    tuner.get_best_models(3)


class Odd(gk.HyperModel):
    """Fails for odd numbers, until the script is mended."""

    is_mended = False

    def run(self, config):
        number = config.Int("number", 0, 9)
        if number % 2 and not self.is_mended:
            raise RuntimeError("odd")
        return float(number)


ODD = {"max_trials": 6, "seed": 0, "executor": "inline", "max_consecutive_failed_trials": 9}


@pytest.mark.parametrize("kind", [gk.RandomSearch, gk.BayesianOptimization, gk.GridSearch])
def test_failed_trials_are_run_again_under_their_ids_by_any_oracle(project, kind, capsys):
    options = {**ODD, **project}
    kind(Odd(), **options).search(verbose=0)
    first = kind(Odd(), **options)._glimr.read()
    failed = [trial.trial_id for trial in first.failed]
    assert failed
    mended = Odd()
    mended.is_mended = True
    tuner = kind(mended, retry_failed=True, **options)
    tuner.search(verbose=0)
    there = tuner._glimr.read()
    assert there.failed == []
    assert there.end_order[-len(failed) :] == failed
    assert list(there.trials) == list(first.trials)
    for trial_id, trial in there.trials.items():
        assert trial.values == first.trials[trial_id].values
        assert trial.score == trial.values["number"]
        assert trial.message is None
    tuner.search(verbose=1)
    said = capsys.readouterr().out
    assert "Nothing to do" in said
    assert "failed in an earlier run" not in said


def test_failed_trials_are_not_run_again_unless_that_is_wanted(project):
    gk.RandomSearch(Odd(), **ODD, **project).search(verbose=0)
    mended = Odd()
    mended.is_mended = True
    tuner = gk.RandomSearch(mended, **{**ODD, "max_trials": 8}, **project)
    tuner.search(verbose=0)
    there = tuner._glimr.read()
    assert len(there.trials) == 8
    assert there.failed
    assert all(int(trial.trial_id) < 6 for trial in there.failed)


def test_hyperband_goes_on_with_its_failed_trials(project):
    class Fragile(gk.HyperModel):
        is_mended = False

        def build(self, config):
            if config.Int("units", 2, 16) % 2 and not self.is_mended:
                raise RuntimeError("odd")
            return tiny_models.build(config)

    options = {
        "objective": "val_loss",
        "max_epochs": 2,
        "factor": 2,
        "seed": 0,
        "executor": "inline",
        "max_consecutive_failed_trials": 9,
        **project,
    }
    fit = {**FIT, "verbose": 0}
    gk.Hyperband(Fragile(), **options).search(*tiny_models.TRAIN, **fit)
    mended = Fragile()
    mended.is_mended = True
    tuner = gk.Hyperband(mended, retry_failed=True, **options)
    assert tuner._glimr.read().failed
    tuner.search(*tiny_models.TRAIN, **fit)
    assert {trial.status for trial in tuner._glimr.read().trials.values()} == {"COMPLETED"}


def test_a_state_of_a_training_that_diverged_is_its_best(tmp_path):
    from glimr_keras.project import checkpoints, model_weights
    from glimr_keras.project.checkpoints import Checkpoint
    from glimr_keras.space.hyperparameters import HyperParameters

    model = tiny_models.build(HyperParameters())
    model_weights.save(model, tmp_path / "trial", Checkpoint(2, score=0.5))
    training_states.save_best(tmp_path / "states", tmp_path / "trial")
    state = training_states.newest(tmp_path / "states")
    assert checkpoints.describe(state).epoch == 2
    training_states.go_back(tmp_path / "trial", state)
    assert checkpoints.is_whole(tmp_path / "trial")
    fresh = tiny_models.build(HyperParameters())
    model_weights.load(fresh, state)
    for one, other in zip(fresh.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_journal_of_a_trial_that_is_run_again_is_read_as_it_now_is(tmp_path):
    project = {"directory": tmp_path, "project_name": "project"}
    gk.RandomSearch(Odd(), **ODD, **project).search(verbose=0)
    journal = Journal(tmp_path / "project")
    failed = [trial.trial_id for trial in journal.read().failed]
    with journal.path.open("ab") as file:
        file.write(json.dumps({"record": "again", "trial_id": failed[0]}).encode() + b"\n")
    there = journal.read()
    trial = there.trials[failed[0]]
    assert (trial.status, trial.message, trial.executions) == ("RUNNING", None, {})
    assert failed[0] not in there.end_order
