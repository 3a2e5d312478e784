"""Tuners with methods of the user's own: which run in the worker, which in the driver, and what
becomes of their state.
"""

import json
import os
import pathlib
import threading
import traceback
import warnings

import keras
import numpy as np
import pytest

import glimr_keras as gk
from glimr_keras.errors import CheckpointError, FatalTypeError
from tests import tiny_models

FIT = {"validation_data": tiny_models.VALIDATION, "epochs": 2, "verbose": 0}
COST = gk.Objective("cost", "min")


class Own(gk.Tuner):
    """Says who calls what."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.heard = []

    def run_trial(self, trial, *args, **kwargs):
        self.heard.append("run_trial")
        x = trial.hyperparameters.Float("x", 0.0, 1.0)
        pathlib.Path(self.get_trial_dir(trial.trial_id), "pid").write_text(
            f"{os.getpid()} {args} {kwargs}"
        )
        return {"cost": x, "twice": 2 * x}

    def on_search_begin(self):
        self.heard.append("search begins")

    def on_search_end(self):
        self.heard.append("search ends")

    def on_trial_begin(self, trial):
        self.heard.append(f"{trial.trial_id} begins")

    def on_trial_end(self, trial):
        assert trial.score == trial.hyperparameters["x"]
        self.heard.append(f"{trial.trial_id} ends")


def oracle_of(max_trials=2, objective=COST):
    return gk.oracles.RandomSearchOracle(objective, max_trials, seed=3)


def test_inline_a_tuner_keeps_all_of_its_state(tmp_path):
    tuner = Own(oracle_of(), directory=tmp_path, executor="inline")
    tuner.search(1, two=2, verbose=0)
    each = [f"{number} {what}" for number in (0, 1) for what in ("begins", "runs", "ends")]
    heard = [what.replace("runs", "run_trial") for what in each]
    assert tuner.heard == [
        "search begins",
        *("run_trial" if "run" in what else what for what in heard),
        "search ends",
    ]
    said = pathlib.Path(tuner.get_trial_dir("0"), "pid").read_text()
    assert said == f"{os.getpid()} (1,) {{'two': 2, 'verbose': 0}}"


def test_on_ray_trials_run_in_workers_and_the_driver_hears_of_them(local_ray, tmp_path):
    tuner = Own(oracle_of(3), directory=tmp_path, executor="ray")
    with pytest.warns(UserWarning, match=r"`self.heard` \(.*, in Own.run_trial\)"):
        tuner.search(verbose=0)
    assert tuner.heard[0] == "search begins"
    assert tuner.heard[-1] == "search ends"
    assert sorted(tuner.heard[1:-1]) == sorted(
        f"{number} {what}" for number in range(3) for what in ("begins", "ends")
    )
    pids = {int(path.read_text().split()[0]) for path in tmp_path.glob("*/trial_*/pid")}
    assert os.getpid() not in pids
    assert 1 <= len(pids) <= 2
    (best,) = tuner.oracle.get_best_trials()
    assert best.metrics.get_last_value("twice") == 2 * best.score


def test_super_trains_what_it_is_given(tmp_path):
    class Sized(gk.RandomSearch):
        def run_trial(self, trial, x, y, **kwargs):
            size = trial.hyperparameters.Choice("batch_size", [8, 64])
            return super().run_trial(trial, x, y, batch_size=size, **kwargs)

    tuner = Sized(tiny_models.build, "val_loss", 3, seed=0, directory=tmp_path, executor="inline")
    tuner.search(*tiny_models.TRAIN, **FIT)
    table = tuner.results_dataframe()
    assert set(table["batch_size"]) <= {8, 64}
    assert set(table["epochs"]) == {2}
    loss, _ = tuner.get_best_models()[0].evaluate(*tiny_models.VALIDATION, verbose=0)
    assert loss == pytest.approx(table["score"].min(), abs=1e-6)


class ByHand(gk.Tuner):
    """A training loop of its own, which tells the oracle of each step and saves the model."""

    def run_trial(self, trial, x, **kwargs):
        model = self.hypermodel.build(trial.hyperparameters)
        for epoch in range(3):
            self.on_epoch_begin(trial, model, epoch, logs={})
            cost = float(np.abs(model(x)).mean()) + abs(epoch - 1)
            self.oracle.update_trial(trial.trial_id, {"cost": cost}, step=epoch)
            if epoch == 1:
                self.save_model(trial.trial_id, model)


def test_steps_that_are_told_are_the_trials_history(tmp_path):
    tuner = ByHand(oracle_of(), tiny_models.build, directory=tmp_path, executor="inline")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        tuner.search(tiny_models.X, verbose=0)
    assert any("remove the call, and return the metrics" in str(each.message) for each in said)
    for trial in tuner.oracle.trials.values():
        assert (trial.status, trial.best_step) == ("COMPLETED", 1)
        assert [observation.step for observation in trial.metrics.get_history("cost")] == [0, 1, 2]
        assert trial.score == trial.metrics.get_best_value("cost")
    again = ByHand(oracle_of(), tiny_models.build, directory=tmp_path, executor="inline")
    assert [trial.get_state() for trial in again.oracle.trials.values()] == [
        trial.get_state() for trial in tuner.oracle.trials.values()
    ]
    best = tuner.oracle.get_best_trials()[0]
    model = tuner.get_best_models()[0]
    assert float(np.abs(model(tiny_models.X)).mean()) == pytest.approx(best.score, abs=1e-5)


class Stored(Own):
    """Models of another kind."""

    def run_trial(self, trial, **kwargs):
        value = trial.hyperparameters.Float("x", 0.0, 1.0)
        self.save_model(trial.trial_id, value)
        return value

    def save_model(self, trial_id, model, step=0):
        pathlib.Path(self.get_trial_dir(trial_id), "value").write_text(str(model))

    def load_model(self, trial):
        return float(pathlib.Path(self.get_trial_dir(trial.trial_id), "value").read_text())


def test_models_of_another_kind_are_saved_and_loaded(tmp_path):
    tuner = Stored(oracle_of(3), directory=tmp_path, executor="inline")
    tuner.search(verbose=0)
    assert tuner.get_best_models(3) == [trial.score for trial in tuner.oracle.get_best_trials(3)]


class Fixed(gk.HyperModel):
    def build(self, config):
        return tiny_models.build(config)

    def declare_hyperparameters(self, config):
        config.Choice("unused", ["a", "b"])


def test_what_is_declared_is_searched_though_nobody_asks_for_it(tmp_path):
    tuner = gk.GridSearch(
        Fixed(name="fixed", tunable=True), "val_loss", 2, directory=tmp_path, executor="inline"
    )
    assert {parameter.name for parameter in tuner.oracle.get_space().space} == {
        "unused",
        "units",
        "learning_rate",
    }
    tuner.search(*tiny_models.TRAIN, **FIT)
    assert {trial.hyperparameters["unused"] for trial in tuner.oracle.trials.values()} <= {"a", "b"}


def test_what_is_not_tunable_has_its_defaults(tmp_path):
    class Outer(gk.HyperModel):
        def __init__(self):
            super().__init__()
            self.inner = Fixed("inner", tunable=False)

        def build(self, config):
            model = self.inner.build(config)
            return tiny_models.compiled(model, config)

    tuner = gk.RandomSearch(Outer(), "val_loss", 2, directory=tmp_path, executor="inline")
    tuner.search(*tiny_models.TRAIN, **FIT)
    assert {parameter.name for parameter in tuner.oracle.get_space().space} == {"learning_rate"}
    assert {model.layers[1].units for model in tuner.get_best_models(2)} == {2}


def test_given_hyperparameters_win_and_others_are_fixed_or_refused(tmp_path):
    given = gk.HyperParameters()
    given.Choice("units", [5, 7])
    options = {"hyperparameters": given, "directory": tmp_path, "executor": "inline"}
    tuner = gk.RandomSearch(
        tiny_models.build, "val_loss", 2, tune_new_entries=False, project_name="fixed", **options
    )
    tuner.search(*tiny_models.TRAIN, **FIT)
    assert {trial.hyperparameters["units"] for trial in tuner.oracle.trials.values()} == {5, 7}
    assert {model.optimizer.learning_rate.numpy() for model in tuner.get_best_models(2)} == {
        np.float32(1e-3)
    }
    refusing = gk.RandomSearch(
        tiny_models.build, "val_loss", 2, allow_new_entries=False, project_name="refused", **options
    )
    with pytest.raises((RuntimeError, ValueError), match="learning_rate"):
        refusing.search(*tiny_models.TRAIN, **FIT)
    assert not pathlib.Path(refusing._glimr.place, "trial_0").exists()


def test_other_optimizers_are_those_of_every_trial(tmp_path):
    tuner = gk.RandomSearch(
        tiny_models.build,
        "val_loss",
        2,
        directory=tmp_path,
        executor="inline",
        optimizer=keras.optimizers.SGD(0.125),
        metrics=["sparse_categorical_accuracy"],
    )
    tuner.search(*tiny_models.TRAIN, **FIT)
    for model in tuner.get_best_models(2):
        assert float(model.optimizer.learning_rate) == 0.125
    assert tuner.oracle.get_best_trials()[0].metrics.exists("val_sparse_categorical_accuracy")


def test_what_is_no_model_ends_the_search(tmp_path):
    tuner = gk.RandomSearch(
        lambda hp: [hp.Int("x", 1, 2)], "val_loss", directory=tmp_path, executor="inline"
    )
    with pytest.raises((FatalTypeError, ValueError), match="list"):
        tuner.search(*tiny_models.TRAIN, **FIT)


@pytest.mark.parametrize(("loops", "trainings", "values"), [(True, 3, 1), (False, 3, 3)])
def test_a_run_trial_of_its_own_is_a_whole_trial(tmp_path, loops, trainings, values):
    """KerasTuner's own has the executions; another one has what it does."""
    done = []

    class Looping(gk.RandomSearch):
        def run_trial(self, trial, **kwargs):
            done.extend(range(self.executions_per_trial))
            return [trial.hyperparameters.Float("x", 0.0, 1.0)]

    class Extending(gk.RandomSearch):
        def run_trial(self, trial, *args, **kwargs):
            done.append(trial.trial_id)
            return super().run_trial(trial, *args, **kwargs)

    kind, objective, model = (
        (Looping, COST, None) if loops else (Extending, "val_loss", tiny_models.build)
    )
    tuner = kind(model, objective, 1, executions_per_trial=3, directory=tmp_path, executor="inline")
    tuner.search(*([] if loops else tiny_models.TRAIN), **FIT)
    (trial,) = tuner.oracle.trials.values()
    assert len(done) == trainings
    assert len(trial.metrics.get_history(tuner.oracle.objective.name)[0].value) == values


@pytest.mark.parametrize("how", ["before", "populate", "silent"])
def test_what_the_oracle_is_told_before_a_search_is_searched(tmp_path, how):
    space = gk.HyperParameters()
    space.Int("a", 0, 1000)

    class Told(gk.RandomSearch):
        def _populate_initial_space(self):
            if how == "populate":
                self.oracle.update_space(space)

        def run_trial(self, trial, **kwargs):
            return float(trial.hyperparameters.get("a"))

    tuner = Told(objective=COST, max_trials=3, directory=tmp_path, executor="inline")
    assert [parameter.name for parameter in tuner.oracle.get_space().space] == (
        ["a"] if how == "populate" else []
    )
    if how != "populate":
        tuner.oracle.update_space(space)
    tuner.search(verbose=0)
    assert len({trial.hyperparameters["a"] for trial in tuner.oracle.trials.values()}) == 3


def test_a_copy_of_keras_tuners_run_trial_works(tmp_path):
    class Copied(gk.RandomSearch):
        def run_trial(self, trial, *args, **kwargs):
            callbacks = self._deepcopy_callbacks(kwargs.pop("callbacks"))
            self._configure_tensorboard_dir(callbacks, trial, 0)
            name = self.oracle.objective.name
            path = self._get_checkpoint_fname(trial.trial_id)
            saving = keras.callbacks.ModelCheckpoint(
                path, monitor=name, save_best_only=True, save_weights_only=True
            )
            model = self.hypermodel.build(trial.hyperparameters)
            return model.fit(*args, callbacks=[*callbacks, saving], **kwargs)

    tuner = Copied(tiny_models.build, "val_loss", 2, directory=tmp_path, executor="inline")
    tuner.search(*tiny_models.TRAIN, callbacks=[], **FIT)
    assert {trial.status for trial in tuner.oracle.trials.values()} == {"COMPLETED"}
    loss, _ = tuner.get_best_models()[0].evaluate(*tiny_models.VALIDATION, verbose=0)
    assert loss == pytest.approx(tuner.oracle.get_best_trials()[0].score, abs=1e-6)


def test_several_histories_of_a_run_trial_have_the_mean_step(tmp_path):
    """As in KerasTuner; nothing was reported meanwhile."""

    class Several(gk.RandomSearch):
        def run_trial(self, trial, *args, **kwargs):
            kwargs.pop("callbacks", None)
            histories = []
            for steps in ([3.0, 2.0, 1.0, 4.0, 5.0], [5.0, 4.0, 3.0, 2.0, 0.5]):
                model = self._try_build(trial.hyperparameters)
                history = model.fit(*args, **{**kwargs, "epochs": 5})
                history.history["val_loss"] = steps
                histories.append(history)
            self.save_model(trial.trial_id, model)
            return histories

    tuner = Several(
        tiny_models.build,
        "val_loss",
        1,
        executions_per_trial=2,
        directory=tmp_path,
        executor="inline",
    )
    tuner.search(*tiny_models.TRAIN, **FIT)
    (trial,) = tuner.oracle.trials.values()
    assert (trial.score, trial.best_step) == (0.75, 3)
    assert len(tuner.get_best_models()) == 1


def test_what_is_given_as_callbacks_reaches_a_run_trial_as_it_is(tmp_path):
    class Takes(gk.RandomSearch):
        def run_trial(self, trial, callbacks, **kwargs):
            return {
                "cost": trial.hyperparameters.Float("x", 0.0, 1.0),
                "callbacks": float(len(callbacks)),
            }

    for number, callbacks in enumerate(([], [print], {"a": 1, "b": 2})):
        tuner = Takes(
            None, COST, 1, directory=tmp_path, project_name=str(number), executor="inline"
        )
        tuner.search(callbacks=callbacks, verbose=0)
        assert tuner.oracle.get_best_trials()[0].metrics.get_last_value("callbacks") == len(
            callbacks
        )


def test_who_finds_a_project_says_so(tmp_path, capsys):
    options = {"directory": tmp_path, "executor": "inline"}
    Own(oracle_of(), **options).search(verbose=0)
    assert capsys.readouterr().out == ""
    tuner = Own(oracle_of(), **options)
    assert capsys.readouterr().out == f"Reloading Tuner from {tuner.project_dir}/tuner0.json\n"
    Own(oracle_of(), overwrite=True, **options)
    assert capsys.readouterr().out == ""


class Headed(gk.RandomSearch):
    """Adds a layer to what the hypermodel builds."""

    def _build_hypermodel(self, hp):
        base = super()._build_hypermodel(hp)
        return tiny_models.compiled(
            keras.Sequential([base, keras.layers.Dense(2, activation="softmax")]), hp
        )


class Asking(keras.callbacks.Callback):
    """Asks the tuner of the training that runs."""

    def on_train_end(self, logs=None):
        pathlib.Path(self.tuner.get_trial_dir("0"), "asked").write_text(
            self.tuner._glimr.runner.spec.trial_id
        )


def test_best_models_are_built_as_trials_are(tmp_path):
    asking = Asking()
    tuner = Headed(
        tiny_models.build, "val_loss", 1, directory=tmp_path, executor="inline", callbacks=[asking]
    )
    asking.tuner = tuner
    tuner.search(*tiny_models.TRAIN, **FIT)
    (trial,) = tuner.oracle.trials.values()
    for model in (*tuner.get_best_models(), tuner.load_model(trial)):
        assert model.evaluate(*tiny_models.VALIDATION, verbose=0)[0] == pytest.approx(
            trial.score, abs=1e-6
        )
    assert pathlib.Path(tuner.get_trial_dir("0"), "asked").read_text() == "0"


def test_a_tuners_state_comes_back(tmp_path):
    class Remembers(Own):
        seen = None

        def get_state(self):
            return {**super().get_state(), "mine": 5}

        def set_state(self, state):
            super().set_state(state)
            self.seen = state["mine"]

    first = Remembers(oracle_of(1), directory=tmp_path, executor="inline")
    first.objective = "anything"
    first.search(verbose=0)
    assert (first.objective, first.seen) == ("anything", None)
    assert Remembers(oracle_of(1), directory=tmp_path, executor="inline").seen == 5


def test_methods_may_be_set_on_objects(tmp_path):
    hypermodel = gk.HyperModel()
    hypermodel.build = tiny_models.build
    tuner = gk.RandomSearch(
        hypermodel, "val_loss", 1, directory=tmp_path, project_name="a", executor="inline"
    )
    tuner.search(*tiny_models.TRAIN, **FIT)
    assert set(tuner.results_dataframe()["status"]) == {"COMPLETED"}
    tuner = gk.RandomSearch(
        tiny_models.build, COST, 1, directory=tmp_path, project_name="b", executor="inline"
    )
    tuner.run_trial = lambda trial, **kwargs: trial.hyperparameters.Float("x", 0.0, 1.0)
    tuner.search(verbose=0)
    assert set(tuner.results_dataframe()["status"]) == {"COMPLETED"}


def test_helpers_that_are_called_like_our_methods_are_left_alone(tmp_path):
    class Helpers(gk.HyperModel):
        def __init__(self):
            self.space = (2, 5)

        def data(self):
            return tiny_models.TRAIN

        def run(self):
            return "nothing"

        def build(self, config):
            return tiny_models.compiled(
                keras.Sequential(
                    [keras.layers.Dense(config.Int("units", *self.space)), keras.layers.Dense(2)]
                )
            )

    tuner = gk.RandomSearch(Helpers(), "val_loss", 1, directory=tmp_path, executor="inline")
    tuner.search(*tuner.hypermodel.data(), **FIT)
    assert 2 <= tuner.oracle.get_best_trials()[0].hyperparameters["units"] <= 5


def test_an_optional_configuration_is_the_one_that_is_given(tmp_path):
    tuner = gk.RandomSearch(
        lambda hp=None: tiny_models.build(hp or gk.HyperParameters()),
        "val_loss",
        2,
        directory=tmp_path,
        executor="inline",
    )
    tuner.search(*tiny_models.TRAIN, **FIT)
    best = tuner.get_best_hyperparameters()[0]
    assert set(best.values) == {"units", "learning_rate"}
    assert {parameter.name for parameter in best.space} == {"units", "learning_rate"}
    assert best.is_active("units")


def test_values_that_were_kept_when_a_trial_began_gain_what_it_asks_for(tmp_path):
    class Keeps(Own):
        def on_trial_begin(self, trial):
            self.kept = trial.hyperparameters.values
            super().on_trial_begin(trial)

    tuner = Keeps(oracle_of(1), directory=tmp_path, executor="inline")
    tuner.search(verbose=0)
    (trial,) = tuner.oracle.trials.values()
    assert tuner.kept is trial.hyperparameters.values
    assert tuner.kept == {"x": trial.score}


def test_models_whose_weights_were_never_saved_are_one_error(tmp_path):
    class SavesNothing(gk.RandomSearch):
        def run_trial(self, trial, *args, **kwargs):
            return {"val_loss": float(trial.hyperparameters.Int("units", 2, 9))}

    tuner = SavesNothing(tiny_models.build, "val_loss", 3, directory=tmp_path, executor="inline")
    tuner.search(verbose=0)
    with pytest.raises(
        CheckpointError,
        match=r"none of the 3 trials with a score has .*There is no .*self\.save_model",
    ):
        tuner.get_best_models()


def test_a_relative_project_stays_as_it_was_given_and_is_found_from_elsewhere(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    tuner = Own(oracle_of(1), directory="./runs", project_name="own", executor="inline")
    assert tuner.project_dir == "./runs/own"
    assert Own(oracle_of(1), executor="inline").project_dir == "./untitled_project"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert tuner.project_dir == f"{tmp_path}/runs/own"
    tuner.search(verbose=0)
    assert tuner.get_trial_dir("0") == f"{tmp_path}/runs/own/trial_0"
    monkeypatch.chdir(tmp_path)
    assert tuner.get_trial_dir("0") == "./runs/own/trial_0"
    assert pathlib.Path("./runs/own/trial_0/pid").exists()
    tuner.results_summary()
    assert "Results in ./runs/own\n" in capsys.readouterr().out


def test_in_a_worker_a_project_is_at_its_absolute_path(local_ray, tmp_path, monkeypatch):
    class Tells(gk.Tuner):
        def run_trial(self, trial, **kwargs):
            pathlib.Path(self.project_dir, "told").write_text(
                f"{self.project_dir} {self.get_trial_dir('9')}"
            )
            return trial.hyperparameters.Float("x", 0.0, 1.0)

    monkeypatch.chdir(tmp_path)
    tuner = Tells(oracle_of(1, None), directory="runs", project_name="own")
    tuner.search(verbose=0)
    assert tuner.project_dir == "runs/own"
    assert (
        tmp_path / "runs" / "own" / "told"
    ).read_text() == f"{tmp_path}/runs/own {tmp_path}/runs/own/trial_9"


def test_how_a_model_was_built_may_be_kept_beside_its_weights(tmp_path):
    class Keeps(gk.RandomSearch):
        def _build_and_fit_model(self, trial, *args, **kwargs):
            model = self._try_build(trial.hyperparameters)
            history = self.hypermodel.fit(trial.hyperparameters, model, *args, **kwargs)
            pathlib.Path(self._get_build_config_fname(trial.trial_id)).write_text(
                json.dumps(model.get_build_config())
            )
            return history

    tuner = Keeps(tiny_models.build, "val_loss", 1, directory=tmp_path, executor="inline")
    tuner.search(*tiny_models.TRAIN, **FIT)
    kept = pathlib.Path(tuner._get_build_config_fname("0"))
    assert kept == pathlib.Path(tuner._get_checkpoint_fname("0")).with_name("build_config.json")
    assert "input_shape" in json.loads(kept.read_text())


def test_a_directory_may_have_files_of_the_users(tmp_path):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "config.json").write_text("{}")
    tuner = Own(oracle_of(1), directory=tmp_path, project_name="p", executor="inline")
    pathlib.Path(tuner.project_dir, "more.txt").write_text("x")
    tuner.search(verbose=0)
    assert pathlib.Path(tuner.project_dir, "more.txt").exists()


def test_a_subclass_of_an_oracle_changes_what_was_chosen(tmp_path):
    class Changed(gk.oracles.RandomSearchOracle):
        def populate_space(self, trial_id):
            response = super().populate_space(trial_id)
            if response["status"] == "RUNNING":
                response["values"]["x"] = 0.25
            return response

    hp = gk.HyperParameters()
    hp.Float("x", 0.0, 1.0)
    hp.Int("n", 1, 100)
    tuner = Own(Changed(COST, 2, hyperparameters=hp), directory=tmp_path, executor="inline")
    tuner.search(verbose=0)
    assert [trial.score for trial in tuner.oracle.trials.values()] == [0.25, 0.25]


def test_an_oracle_that_needs_the_last_score_runs_one_trial_at_a_time(local_ray, tmp_path):
    class Returning(gk.Tuner):
        def run_trial(self, trial, **kwargs):
            return {"cost": trial.hyperparameters.Float("x", 0.0, 1.0)}

    class LastScore(gk.Oracle):
        def populate_space(self, trial_id):
            last = self.trials[self.start_order[-1]].score if self.start_order else 0.5
            return {"status": "RUNNING", "values": {"x": last / 2}}

    def search(name, at_once, cpus=1):
        tuner = Returning(
            LastScore(COST, 3),
            directory=tmp_path,
            project_name=name,
            max_concurrent_trials=at_once,
            resources_per_trial={"cpu": cpus},
        )
        tuner.search(verbose=0)
        return [trial.score for trial in tuner.oracle.trials.values()]

    with pytest.raises(TypeError) as found:
        search("two", 2)
    assert "pass `max_concurrent_trials=1` to the tuner" in "".join(
        traceback.format_exception(found.value)
    )
    assert search("one", 1) == search("one with all CPUs", 1, 2) == [0.25, 0.125, 0.0625]


def test_a_callback_of_which_a_trial_cannot_have_its_own_is_refused(tmp_path):
    class Locked(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.lock = threading.Lock()

    for executor in ("inline", "ray"):
        tuner = gk.RandomSearch(
            tiny_models.build, "val_loss", directory=tmp_path, executor=executor
        )
        for callbacks in ([Locked()], [gk]):
            with pytest.raises(
                gk.errors.FatalValueError, match="during a search should be deep-copyable"
            ):
                tuner.search(*tiny_models.TRAIN, callbacks=callbacks, **FIT)
        assert not list(tmp_path.glob("*/trial_*"))


def test_a_base_tuner_has_the_order_of_arguments_of_keras_tuners(tmp_path):
    class Positional(gk.engine.base_tuner.BaseTuner):
        def run_trial(self, trial, **kwargs):
            return trial.hyperparameters.Float("x", 0.0, 1.0)

    tuner = Positional(oracle_of(1), None, tmp_path, "named", True, executor="inline")
    tuner.search(verbose=0)
    assert pathlib.Path(tuner.project_dir) == tmp_path / "named"
    assert len(tuner.oracle.trials) == 1
    assert issubclass(gk.RandomSearch, gk.engine.base_tuner.BaseTuner)


class Logged(gk.RandomSearch):
    """Gives a callback of its own a directory of each trial, as KerasTuner gives them to
    `TensorBoard`.
    """

    def _configure_tensorboard_dir(self, callbacks, trial, execution=0):
        super()._configure_tensorboard_dir(callbacks, trial, execution)
        for callback in callbacks:
            if isinstance(callback, Noting):
                callback.log_dir = self._get_tensorboard_dir(
                    callback.log_dir, trial.trial_id, execution
                )


class Noting(keras.callbacks.Callback):
    def __init__(self, log_dir):
        super().__init__()
        self.log_dir = pathlib.Path(log_dir)

    def on_train_end(self, logs=None):
        pathlib.Path(self.log_dir).mkdir(parents=True, exist_ok=True)
        pathlib.Path(self.log_dir, "note").write_text("ended")


def test_where_logs_go_may_be_overridden(tmp_path):
    tuner = Logged(tiny_models.build, "val_loss", 2, directory=tmp_path, executor="inline")
    callbacks = [Noting(tmp_path / "logs"), keras.callbacks.TensorBoard(tmp_path / "logs")]
    tuner.search(*tiny_models.TRAIN, callbacks=callbacks, **FIT)
    found = sorted(
        path.relative_to(tmp_path / "logs")
        for path in (tmp_path / "logs").rglob("*")
        if path.is_dir()
    )
    assert [str(path) for path in found if "execution" in path.name] == [
        "0/execution0",
        "1/execution0",
    ]
    assert [
        (tmp_path / "logs" / str(number) / "execution0" / "note").exists() for number in range(2)
    ] == [True, True]
    assert all(
        (tmp_path / "logs" / str(number) / "execution0" / "train").exists() for number in range(2)
    )


class Looking(gk.RandomSearch):
    """Looks at the trials before its own, and their weights, while it builds."""

    def run_trial(self, trial, *args, **kwargs):
        known = {name: (other.status, other.score) for name, other in self.oracle.trials.items()}
        weights = [
            pathlib.Path(self._get_checkpoint_fname(name)).exists()
            for name in self.oracle.end_order
        ]
        best = self.oracle.get_best_trials()[0]
        pathlib.Path(self.get_trial_dir(trial.trial_id), "known.json").write_text(
            json.dumps([known, weights, best.trial_id])
        )
        return super().run_trial(trial, *args, **kwargs)


def test_in_a_worker_the_oracle_has_the_trials_before(local_ray, tmp_path):
    tuner = Looking(tiny_models.build, "val_loss", 3, directory=tmp_path, max_concurrent_trials=1)
    tuner.search(*tiny_models.TRAIN, **FIT)
    ended = {name: (trial.status, trial.score) for name, trial in tuner.oracle.trials.items()}
    for number in range(3):
        known, weights, best = json.loads(
            pathlib.Path(tuner.get_trial_dir(str(number)), "known.json").read_text()
        )
        assert known.pop(str(number)) == ["RUNNING", None]
        assert {name: tuple(said) for name, said in known.items()} == {
            name: ended[name] for name in map(str, range(number))
        }
        assert weights == [True] * number
        assert best == (min(known, key=lambda name: known[name][1]) if known else str(number))
