"""What tuners keep for themselves: one name; and what workers get of a tuner, whichever way it is
reached by.
"""

import copy
import dataclasses
import json
import pathlib
import threading

import keras
import pytest
from ray import tune
from ray.tune import schedulers

import glimr_keras as gk
from glimr_keras.results.reader import ProjectReader
from glimr_keras.results.results import Results
from glimr_keras.transport.serialization import pack, unpack
from glimr_keras.tuners.search import SearchSession
from glimr_keras.tuners.settings import SearchSettings, TunerState
from tests import tiny_models

FIT = {"validation_data": tiny_models.VALIDATION, "epochs": 1, "verbose": 0}
COST = gk.Objective("cost", "min")

OURS = {
    *("objective", "open", "pareto_front", "results_dataframe", "to_study", "try_configuration"),
    *("estimate", "out_of_fold_predictions", "refit"),
}
"""Public names that tuners have here and not in KerasTuner."""

KERAS_TUNERS = {
    *(
        "directory",
        "distribution_strategy",
        "executions_per_trial",
        "hypermodel",
        "logger",
        "loss",
        "max_model_size",
    ),
    *("metrics", "optimizer", "oracle", "project_name", "seed", "tuner_id"),
}
"""The attributes of KerasTuner's tuners."""

ARGUMENTS = (
    *(
        "address",
        "callbacks",
        "cv_folds",
        "executor",
        "initial_points",
        "keep_top_k",
        "max_concurrent_trials",
        "max_failures",
    ),
    *(
        "max_trials",
        "max_trials_without_improvement",
        "max_worker_memory",
        "objective",
        "overwrite",
        "persistence",
        "reporter",
        "retry_failed",
    ),
    *(
        "resources_per_trial",
        "scheduler",
        "search_alg",
        "space",
        "state_interval_s",
        "stopper",
        "time_budget_s",
    ),
    *("trial_time_limit_s", "trusted", "warm_start"),
)
WORDS = (
    *(
        "analysis",
        "batch_size",
        "best",
        "build",
        "checkpoint",
        "config",
        "coordinator",
        "data",
        "dataset",
        "epochs",
        "fit",
    ),
    *(
        "folds",
        "history",
        "job",
        "journal",
        "lock",
        "mirror",
        "model",
        "models",
        "name",
        "params",
        "path",
        "place",
        "probe",
    ),
    *(
        "progress",
        "project",
        "results",
        "run",
        "running",
        "session",
        "settings",
        "state",
        "strategy",
        "table",
        "training",
    ),
    *("trial", "trials", "tuner", "tuning", "verbose", "wanted", "worker", "writer"),
    *(
        "declared_space",
        "has_own_loop",
        "is_copy",
        "is_told_of_batches",
        "loads_otherwise",
        "remembered",
        "runs_once",
    ),
    *(
        "begin",
        "close",
        "compiling",
        "executions",
        "fresh",
        "in_worker",
        "load",
        "overrides",
        "read",
        "read_weights",
        "recall",
    ),
    *(
        "restore_state",
        "search",
        "take_own_entries",
        "tolerance",
        "trains",
        "training_of",
        "values_of",
    ),
)


def names_within():
    """What the objects are called that do the work."""
    for kind in (ProjectReader, SearchSession, SearchSettings, TunerState):
        yield from (name.strip("_") for name in vars(kind) if not name.startswith("__"))
    yield from (field.name for field in dataclasses.fields(SearchSettings))


WANTED = {*OURS, *ARGUMENTS, *WORDS, *names_within()}
NAMES = sorted(
    {*WANTED, *(f"_{name}" for name in WANTED)} - ({*dir(gk.Tuner), *KERAS_TUNERS} - OURS)
)


class Crowded(gk.RandomSearch):
    """Has something of its own under every name that it may."""

    def __init__(self, *args, **kwargs):
        for name in NAMES:
            setattr(self, name, ["before", name])
        super().__init__(*args, **kwargs)
        assert all(getattr(self, name) == ["before", name] for name in NAMES)
        for name in NAMES:
            setattr(self, name, ["mine", name])

    def run_trial(self, trial, *args, **kwargs):
        lost = [name for name in NAMES if getattr(self, name) != ["mine", name]]
        pathlib.Path(self.get_trial_dir(trial.trial_id), "lost.json").write_text(json.dumps(lost))
        return super().run_trial(trial, *args, **kwargs)


def refuse(self, *args, **kwargs):
    raise AssertionError("A method of the user's own was called.")


class Methodical(gk.RandomSearch):
    """Has methods of its own under every name that it may."""

    for _name in NAMES:
        vars()[_name] = refuse
    del _name

    def run_trial(self, trial, *args, **kwargs):
        return super().run_trial(trial, *args, **kwargs)


def searched(kind, directory, **kwargs):
    options = {"directory": directory, "project_name": kind.__name__, **kwargs}
    tuner = kind(tiny_models.build, "val_loss", 2, seed=1, executions_per_trial=2, **options)
    tuner.search(*tiny_models.TRAIN, **FIT)
    return tuner


def scores(tuner):
    table = Results.results_dataframe(tuner)  # which the tuner may have something else for
    return table.set_index("trial_id")["score"].sort_index().tolist()


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return searched(gk.RandomSearch, tmp_path_factory.mktemp("plain"), executor="inline")


def test_the_names_are_those_that_clashed():
    assert {
        "scheduler",
        "reporter",
        "stopper",
        "executor",
        "max_trials",
        "objective",
        "_model",
        "_run",
        "_load",
    } <= set(NAMES)
    assert len(NAMES) > 200


@pytest.mark.parametrize("kind", [Crowded, Methodical])
def test_names_of_a_subclass_are_its_own(kind, plain, tmp_path):
    tuner = searched(kind, tmp_path, executor="inline")
    assert scores(tuner) == scores(plain)
    if kind is Crowded:
        assert [getattr(tuner, name) for name in NAMES] == [["mine", name] for name in NAMES]
        found = list(tmp_path.rglob("lost.json"))
        assert [json.loads(path.read_text()) for path in found] == [[]] * 2 * 2  # of each execution
        (best,) = tuner.get_best_hyperparameters()
        assert best.values == plain.get_best_hyperparameters()[0].values
        loss, _ = tuner.get_best_models()[0].evaluate(*tiny_models.VALIDATION, verbose=0)
        assert loss == pytest.approx(
            min(each.score for each in tuner.oracle.get_best_trials()[0].executions.values())
        )
        tuner.results_summary()
        tuner.search_space_summary()
        again = searched(kind, tmp_path, executor="inline")
        assert len(again.oracle.trials) == 2


def test_names_of_a_subclass_are_its_own_in_workers(local_ray, plain, tmp_path):
    tuner = searched(Crowded, tmp_path)
    assert scores(tuner) == pytest.approx(scores(plain), abs=1e-5)
    found = list(tmp_path.rglob("lost.json"))
    assert [json.loads(path.read_text()) for path in found] == [[]] * 2 * 2


def test_a_tuner_has_keras_tuners_names_and_one_more(tmp_path):
    kt = pytest.importorskip("keras_tuner")
    for name in ("RandomSearch", "GridSearch", "BayesianOptimization", "Hyperband"):
        theirs = getattr(kt, name)(
            tiny_models.build, "val_loss", directory=tmp_path / "theirs" / name
        )
        ours = getattr(gk, name)(tiny_models.build, "val_loss", directory=tmp_path / "ours" / name)
        assert set(vars(ours)) == {*vars(theirs), "seed", "_glimr"} == {*KERAS_TUNERS, "_glimr"}
    for name in ("Tuner", "RandomSearch", "Hyperband"):
        theirs = {*dir(getattr(kt, name)), *dir(object), "_repr_html_"}  # which Jupyter asks for
        assert {
            each for each in dir(getattr(gk, name)) if not each.startswith("__")
        } - theirs == OURS
    oracle = gk.oracles.RandomSearchOracle(gk.Objective("score", "max"))
    sklearn = gk.SklearnTuner(oracle, print, directory=tmp_path / "sklearn")
    assert set(vars(sklearn)) == {*vars(ours), "scoring", "cv"}
    assert dir(gk.SklearnTuner) == dir(gk.Tuner)


class Again(gk.RandomSearch):
    """Changes what KerasTuner reads when it searches."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.executions_per_trial = 2
        self.max_model_size = 1000
        self.optimizer = keras.optimizers.SGD(0.125)
        self.metrics = []
        self.hypermodel = gk.HyperModel()
        self.hypermodel.build = tiny_models.build
        self.oracle.max_retries_per_trial = 0


def test_what_keras_tuner_reads_when_it_searches_counts(tmp_path):
    tuner = Again(lambda config: None, "val_loss", 1, directory=tmp_path, executor="inline")
    tuner.search(*tiny_models.TRAIN, **FIT)
    assert len(tuner.oracle.get_best_trials()[0].executions) == 2
    assert float(tuner.get_best_models()[0].optimizer.learning_rate) == 0.125
    assert tuner.oracle.get_best_trials()[0].metrics.exists("val_accuracy")
    tuner = Again(
        tiny_models.build,
        "val_loss",
        1,
        directory=tmp_path,
        project_name="large",
        executor="inline",
    )
    tuner.max_model_size = 3
    tuner.search(*tiny_models.TRAIN, **FIT)
    assert {trial.status for trial in tuner.oracle.trials.values()} == {"FAILED"}


# In workers


class Named:
    """Stands for a logger of the user's own."""

    def __init__(self, name):
        self.name = name


class Equipped(gk.RandomSearch):
    """Uses in the worker what a tuner of KerasTuner has."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.logger, self.scheduler = Named("log"), Named("schedule")

    def run_trial(self, trial, *args, **kwargs):
        import tensorflow as tf

        assert (type(self.optimizer), float(self.optimizer.learning_rate)) == (
            keras.optimizers.SGD,
            0.125,
        )
        assert type(self.loss) is keras.losses.SparseCategoricalCrossentropy
        assert self.metrics == ["sparse_categorical_accuracy"]
        assert (self.logger.name, self.scheduler.name) == ("log", "schedule")
        assert isinstance(self.distribution_strategy, tf.distribute.MirroredStrategy)
        with self.distribution_strategy.scope():
            assert tf.distribute.get_strategy() is self.distribution_strategy
            self._try_build(trial.hyperparameters)  # in the same scope
        return super().run_trial(trial, *args, **kwargs)


def test_in_workers_a_tuner_has_what_keras_tuners_has(local_ray, tmp_path):
    import tensorflow as tf

    tuner = Equipped(
        tiny_models.build,
        "val_loss",
        2,
        directory=tmp_path,
        optimizer=keras.optimizers.SGD(0.125),
        loss=keras.losses.SparseCategoricalCrossentropy(),
        metrics=["sparse_categorical_accuracy"],
        distribution_strategy=tf.distribute.MirroredStrategy(["/cpu:0"]),
    )
    tuner.search(*tiny_models.TRAIN, **FIT)
    assert [(trial.status, trial.message) for trial in tuner.oracle.trials.values()] == [
        ("COMPLETED", None)
    ] * 2
    assert tuner.oracle.get_best_trials()[0].metrics.exists("val_sparse_categorical_accuracy")


class Locked(tune.Stopper):
    """Cannot be pickled."""

    def __init__(self):
        self.lock = threading.Lock()

    def __deepcopy__(self, memo):
        return Locked()

    def __call__(self, trial_id, result):
        return False

    def stop_all(self):
        return False


class Looking(keras.callbacks.Callback):
    """Writes down which trials its tuner knows when a training begins."""

    def __init__(self, directory):
        super().__init__()
        self.directory, self.tuner = directory, None

    def on_train_begin(self, logs=None):
        known = {name: trial.status for name, trial in self.tuner.oracle.trials.items()}
        best = self.tuner.oracle.get_best_trials()[0].trial_id
        (self.directory / f"{len(known)}.json").write_text(
            json.dumps([known, self.tuner.oracle.end_order, best])
        )


def test_a_tuner_that_a_callback_has_knows_the_trials(local_ray, tmp_path):
    looking = Looking(tmp_path)
    options = {"scheduler": schedulers.ASHAScheduler(max_t=9), "stopper": Locked()}
    tuner = gk.RandomSearch(
        tiny_models.build, "val_loss", 3, directory=tmp_path, max_concurrent_trials=1, **options
    )
    looking.tuner = tuner
    tuner.search(*tiny_models.TRAIN, callbacks=[looking], **FIT)
    scored = {name: trial.score for name, trial in tuner.oracle.trials.items()}
    for number in range(3):
        known, ended, best = json.loads((tmp_path / f"{number + 1}.json").read_text())
        assert list(known) == [str(each) for each in range(number + 1)]
        assert ended == [str(each) for each in range(number)]
        assert known.pop(str(number)) == "RUNNING"
        assert best == min(known, key=scored.get, default="0")


def test_a_tuner_of_the_script_is_the_one_that_runs(local_ray, tmp_path):
    script = {}

    class Own(gk.RandomSearch):
        def run_trial(self, trial, **kwargs):
            others = [
                number for number in script["tuner"].oracle.trials if number != trial.trial_id
            ]
            assert script["tuner"] is self
            assert self.oracle.get_trial(trial.trial_id) is trial
            return {
                "cost": trial.hyperparameters.Float("x", 0.0, 1.0),
                "others": float(len(others)),
            }

    tuner = script["tuner"] = Own(
        objective=COST, max_trials=3, directory=tmp_path, max_concurrent_trials=1, stopper=Locked()
    )
    tuner.search(verbose=0)
    assert [trial.metrics.get_last_value("others") for trial in tuner.oracle.trials.values()] == [
        0.0,
        1.0,
        2.0,
    ]


def test_copies_in_the_driver_are_as_the_user_makes_them(plain):
    copied = copy.copy(plain)
    assert vars(copied) == vars(plain)
    assert copied.oracle is plain.oracle
    deep = copy.deepcopy(plain)
    assert deep.oracle is not plain.oracle
    assert deep.oracle.trials.keys() == plain.oracle.trials.keys()
    assert deep._glimr.settings is plain._glimr.settings


def test_what_arrives_has_the_trials_and_nothing_of_the_driver(plain):
    plain.mine = [plain]
    serialized_object = pack({"first": plain, "second": [plain]})
    arrived = unpack(serialized_object.content, serialized_object.arrays)
    tuner = arrived["first"]
    assert arrived["second"] == tuner.mine == [tuner]
    assert type(tuner) is gk.RandomSearch
    assert type(tuner.oracle) is gk.Oracle
    assert {name: trial.score for name, trial in tuner.oracle.trials.items()} == {
        name: trial.score for name, trial in plain.oracle.trials.items()
    }
    assert tuner.oracle.get_best_trials()[0].trial_id == plain.oracle.get_best_trials()[0].trial_id
    assert (tuner._glimr.is_sent, tuner._glimr.settings, tuner._glimr.mirror) == (
        True,
        SearchSettings(),
        None,
    )
    assert plain._glimr.settings.executor == "inline"
    assert (
        tuner.results_dataframe()["score"].tolist() == plain.results_dataframe()["score"].tolist()
    )


@pytest.mark.parametrize("knows", ["as a variable", "as an attribute"])
def test_inline_a_hypermodel_of_the_script_has_the_scripts_own_variables(tmp_path, knows):
    heard = []

    class Own(gk.HyperModel):
        tuner = None

        def build(self, config):
            return tiny_models.build(config)

        def fit(self, config, model, *args, **kwargs):
            heard.append(self.tuner if knows == "as an attribute" else tuner)
            return model.fit(*args, **kwargs)

    tuner = gk.RandomSearch(Own(), "val_loss", 2, directory=tmp_path, executor="inline")
    tuner.hypermodel.tuner = tuner if knows == "as an attribute" else None
    tuner.search(*tiny_models.TRAIN, **FIT)
    assert len(heard) == 2  # what the look before the search added is taken back
    assert all(each is tuner for each in heard)


class Dropping(gk.RandomSearch):
    """Leaves out what cannot be pickled."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.lock, self.kept = threading.Lock(), 5

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name != "lock"}

    def __setstate__(self, state):
        vars(self).update(state, lock="another")


def test_a_subclass_may_say_what_is_pickled_of_it(tmp_path):
    tuner = Dropping(tiny_models.build, "val_loss", directory=tmp_path, executor="inline")
    serialized_object = pack(tuner)
    arrived = unpack(serialized_object.content, serialized_object.arrays)
    assert (arrived.lock, arrived.kept, type(arrived.oracle)) == ("another", 5, gk.Oracle)
    assert not isinstance(tuner.lock, str)
