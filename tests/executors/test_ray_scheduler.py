"""Ray's schedulers that pause trials, change their values and continue them from checkpoints."""

import json
import os
import pathlib
import signal
import time
import types

import keras
import pytest
from ray import tune
from ray.tune import schedulers

import glimr_keras as gk
from glimr_keras.executors.ray_scheduler import FilteredScheduler
from tests import tiny_models

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.*")


def on_ray(project, hypermodel, max_trials, epochs, **kwargs):
    tuner = gk.RayTuner(
        hypermodel, objective="val_loss", max_trials=max_trials, seed=0, **project, **kwargs
    )
    tuner.search(
        *tiny_models.TRAIN, validation_data=tiny_models.VALIDATION, epochs=epochs, verbose=0
    )
    return tuner


class Notes(keras.callbacks.Callback):
    """Writes down how each training begins, and its epochs."""

    def __init__(self, path, config):
        super().__init__()
        self.path, self.config = path, config

    def on_train_begin(self, logs=None):
        self.note("begin")

    def on_epoch_end(self, epoch, logs=None):
        self.note(epoch)

    def note(self, what):
        optimizer = self.model.optimizer
        entry = [
            what,
            self.config["learning_rate"],
            float(optimizer.learning_rate),
            int(optimizer.iterations),
        ]
        with pathlib.Path(self.path).open("a") as file:
            file.write(json.dumps(entry) + "\n")


class Noting(gk.HyperModel):
    def __init__(self, path):
        self.path = str(path)

    def build(self, config):
        return tiny_models.build(config)

    def fit(self, config, model, *args, **kwargs):
        kwargs["callbacks"] = [*kwargs["callbacks"], Notes(self.path, config)]
        return model.fit(*args, **kwargs)


def test_population_based_training_continues_with_the_optimizer_and_the_mutated_learning_rate(
    local_ray, project, tmp_path
):
    scheduler = schedulers.PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=2,
        quantile_fraction=0.5,
        resample_probability=1.0,
        hyperparam_mutations={"learning_rate": tune.loguniform(1e-3, 1e-1)},
    )
    tuner = on_ray(project, Noting(tmp_path / "notes"), max_trials=4, epochs=8, scheduler=scheduler)
    table = tuner.results_dataframe()
    assert list(table["status"]) == ["COMPLETED"] * 4
    assert (table["epochs"] == 8).all()
    notes = [json.loads(line) for line in (tmp_path / "notes").read_text().splitlines()]
    beginnings = [note for note in notes if note[0] == "begin"]
    assert len(beginnings) > 4
    assert any(iterations > 0 for *_, iterations in beginnings)
    for what, configured, used, iterations in notes:
        assert used == pytest.approx(configured, rel=1e-5)
        if what != "begin":
            assert iterations == 2 * (
                what + 1
            )  # 64 samples in batches of 32, from the first epoch on
    assert set(table["learning_rate"]) <= {configured for _, configured, *_ in notes}
    assert tuner.get_best_models()[0].evaluate(*tiny_models.VALIDATION, verbose=0)[
        0
    ] == pytest.approx(table["score"].min(), rel=1e-4)


@pytest.mark.slow
def test_mutated_values_stay_within_their_range(local_ray, project, tmp_path):
    scheduler = schedulers.PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=1,
        quantile_fraction=0.5,
        resample_probability=0.0,
        perturbation_factors=(1e-6, 1e6),
        hyperparam_mutations={"learning_rate": tune.loguniform(1e-3, 1e-1)},
    )
    table = on_ray(
        project, Noting(tmp_path / "notes"), max_trials=4, epochs=5, scheduler=scheduler
    ).results_dataframe()
    assert table["learning_rate"].between(1e-3, 1e-1).all()
    assert table["learning_rate"].isin([1e-3, 1e-1]).any()


class Counted(gk.HyperModel):
    """Scores by the number of units alone, in epochs slow enough that trials overlap."""

    def build(self, config):
        return tiny_models.build(config)

    def fit(self, config, model, *args, callbacks, epochs, initial_epoch=0, **kwargs):
        def logs(epoch):
            return {"val_loss": config["units"] + 1.0 / (epoch + 1)}

        tiny_models.train_by_hand(model, callbacks, epochs, logs, initial_epoch, seconds=0.1)


@pytest.mark.parametrize(
    ("scheduler", "stops"),
    [
        # Ray's HyperBand counts only living trials: whether it stops any depends on which ones
        # overlap.
        (schedulers.HyperBandScheduler(max_t=9, reduction_factor=3), None),
        (
            schedulers.MedianStoppingRule(
                "training_iteration", grace_period=2, min_samples_required=2
            ),
            True,
        ),
        (
            schedulers.MedianStoppingRule(
                "training_iteration", grace_period=2, min_samples_required=2, hard_stop=False
            ),
            False,
        ),
    ],
    ids=["hyperband", "median", "median-soft"],
)
def test_a_scheduler_that_pauses_ends_with_a_result_for_every_trial(
    local_ray, project, scheduler, stops
):
    table = on_ray(
        project, Counted(), max_trials=9, epochs=9, scheduler=scheduler
    ).results_dataframe()
    assert len(table) == 9
    assert set(table["status"]) <= {"COMPLETED", "STOPPED"}
    assert stops in (None, (table["epochs"] < 9).any())
    assert table.loc[table["score"].idxmin(), "epochs"] == 9
    for _, row in table.iterrows():
        assert row["score"] == pytest.approx(
            row["units"] + 1 / row["epochs"]
        )  # no epoch is missing, none counted twice


def test_no_more_trials_run_at_once_than_was_asked_for(local_ray, project):
    scheduler = schedulers.HyperBandScheduler(max_t=3, reduction_factor=3)
    tuner = on_ray(
        project, Counted(), max_trials=3, epochs=3, scheduler=scheduler, max_concurrent_trials=1
    )
    assert len(tuner.results_dataframe()) == 3


@pytest.mark.slow
def test_hyperband_continues_trainings_with_the_optimizer(local_ray, project, tmp_path):
    tuner = gk.Hyperband(
        Noting(tmp_path / "notes"), "val_loss", max_epochs=4, factor=2, seed=0, **project
    )
    tuner.search(*tiny_models.TRAIN, validation_data=tiny_models.VALIDATION, verbose=0)
    table = tuner.results_dataframe()
    notes = [json.loads(line) for line in (tmp_path / "notes").read_text().splitlines()]
    for what, configured, used, iterations in notes:
        assert used == pytest.approx(configured, rel=1e-5)
        if what != "begin":
            assert iterations == 2 * (what + 1)
    promoted = table[table["tuner/initial_epoch"] > 0]
    assert len(promoted) > 0
    assert (table["best_epoch"] <= table["tuner/epochs"]).all()
    assert (table["epochs"] == table["tuner/epochs"]).all()
    best = tuner.get_best_hyperparameters()[0]
    assert best.values["tuner/epochs"] in (1, 2, 4)
    assert tuner.get_best_models()[0].evaluate(*tiny_models.VALIDATION, verbose=0)[
        0
    ] == pytest.approx(table["score"].min(), rel=1e-4)


class Waiting:
    """A Ray trial that waits."""

    status = "PENDING"

    def __init__(self, name):
        self.trial_id = name


class Controller:
    """Ray's, as far as it is asked which Ray trials wait."""

    def __init__(self, trials, resetting):
        self._trials, self._tune_controller = trials, types.SimpleNamespace()
        self._tune_controller._resetting_trials = resetting

    def get_live_trials(self):
        return self._trials


def test_a_run_that_has_a_process_is_not_chosen_for_another():
    """Or Ray gives that to any that waits, and ends the process that is being started for it."""
    first, second, standing_by = trials = [Waiting(name) for name in ("r0", "r1", "s0")]
    bridge = types.SimpleNamespace(
        pauses=False, in_order=lambda: iter(["r0", "r1", "s0"]), is_ours=lambda name: name == "s0"
    )
    scheduler = FilteredScheduler(None, bridge)
    assert scheduler.choose_trial_to_run(Controller(trials, set())) is first
    assert scheduler.choose_trial_to_run(Controller(trials, {first})) is second
    assert scheduler.choose_trial_to_run(Controller(trials, {first, second})) is standing_by


class Brief(gk.HyperModel):
    """Trials of a tenth of a second; the second process is killed in one."""

    def __init__(self, place):
        self.place = str(place)

    def run(self, config):
        place = pathlib.Path(self.place)
        (place / f"{os.getpid()}.pid").touch()
        if len(list(place.glob("*.pid"))) == 2 and not (place / "killed").exists():
            (place / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.1)
        return config.Float("x", 0.0, 1.0)


class UntilThree(tune.Stopper):
    """Ends the search when a third process has had a trial."""

    def __init__(self, place):
        self.place = place

    def __call__(self, trial_id, result):
        return False

    def stop_all(self):
        return len(list(self.place.glob("*.pid"))) == 3


def test_a_worker_that_was_killed_is_replaced_though_trials_are_shorter_than_its_start(
    local_ray, project, tmp_path
):
    tuner = gk.RandomSearch(
        Brief(tmp_path),
        gk.Objective("x", "min"),
        400,
        executor="ray",
        stopper=UntilThree(tmp_path),
        **project,
    )
    tuner.search(verbose=0)
    assert len(list(tmp_path.glob("*.pid"))) == 3
    assert len(tuner.results_dataframe()) < 400
