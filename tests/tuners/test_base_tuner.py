"""What every tuner does, from the constructor to the best models."""

import functools
import shutil
import warnings

import keras
import numpy as np
import pytest
from ray import tune

import glimr_keras as gk
from glimr_keras.errors import (
    MissingObjectiveError,
    ModelError,
    NoMetricsError,
    ObjectiveError,
    ProjectError,
    ResourcesError,
    SearchError,
    ShippingError,
)
from glimr_keras.space.hyperparameters import HyperParameters
from tests import tiny_models

TUNERS = [
    value
    for value in vars(gk).values()
    if isinstance(value, type) and issubclass(value, gk.BaseTuner)
]
TAKE_AN_ORACLE = (gk.BaseTuner, gk.Tuner, gk.SklearnTuner)
FIT = {"validation_data": tiny_models.VALIDATION, "epochs": 2, "verbose": 0}


def inline(
    project,
    hypermodel=tiny_models.build,
    objective="val_loss",
    max_trials=2,
    kind=gk.RayTuner,
    **kwargs,
):
    """A tuner whose trials run in this process."""
    chosen = {"objective": objective, "max_trials": max_trials, "seed": 0}
    options = {"executor": "inline", **project, **kwargs}
    if kind in TAKE_AN_ORACLE:
        return kind(gk.oracles.RandomSearchOracle(**chosen), hypermodel, **options)
    if kind is gk.Hyperband:
        options |= {"max_epochs": 2, "factor": 2}
    return kind(hypermodel, **chosen, **options)


def tree(config):
    """Something for a `SklearnTuner`, with a hyperparameter that Keras' models have too."""
    from sklearn.tree import DecisionTreeClassifier

    return DecisionTreeClassifier(
        max_leaf_nodes=config.Int("units", 2, 16),
        min_impurity_decrease=config.Float("learning_rate", 1e-4, 1e-1, sampling="log"),
        random_state=0,
    )


def contracted(project, kind, max_trials=2, **kwargs):
    """A tuner of this kind with a model that it can train."""
    if kind is gk.SklearnTuner:
        score = gk.Objective("score", "max")
        return inline(project, tree, score, max_trials, kind, **kwargs)
    return inline(project, max_trials=max_trials, kind=kind, **kwargs)


def search(tuner):
    """Run the search of a tuner of any kind. Returns what `search` does."""
    if isinstance(tuner, gk.SklearnTuner):
        return tuner.search(*tiny_models.TRAIN, verbose=0)
    return tuner.search(*tiny_models.TRAIN, **FIT)


@pytest.fixture(scope="module", params=TUNERS, ids=lambda kind: kind.__name__)
def searched(request, tmp_path_factory):
    """A tuner of each kind that has searched; tests only read its project."""
    place = {"directory": tmp_path_factory.mktemp("searched"), "project_name": "project"}
    tuner = contracted(place, request.param, 3)
    assert search(tuner) is None
    return tuner


@pytest.fixture
def again(searched, tmp_path):
    """Makes the tuner of another run of the script, in a copy of the project."""
    place = {"directory": tmp_path, "project_name": "copy"}
    shutil.copytree(searched.project_dir, tmp_path / "copy")
    return functools.partial(contracted, place, type(searched))


class TestEveryTuner:
    """The contract of all public tuners; a new one is found by itself."""

    def test_a_search_spends_its_budget_and_ranks_its_trials(self, searched):
        table = searched.results_dataframe()
        assert sorted(table["trial_id"]) == ["0", "1", "2"]
        is_max = searched.objective.direction == "max"
        best_first = table.sort_values("score", ascending=not is_max)
        assert list(table["trial_id"]) == list(best_first["trial_id"])
        assert set(table["status"]) == {"COMPLETED"}
        assert table["units"].between(2, 16).all()
        best = table.sort_values("score", ascending=not is_max, kind="stable")
        found = searched.get_best_hyperparameters(3)
        assert [config["units"] for config in found] == list(best["units"])

    def test_the_best_model_evaluates_to_the_reported_score(self, searched):
        model = searched.get_best_models()[0]
        if isinstance(searched, gk.SklearnTuner):  # whose score is a mean over parts
            units = searched.get_best_hyperparameters()[0]["units"]
            assert model.get_n_leaves() <= model.max_leaf_nodes == units
        else:
            loss = model.evaluate(*tiny_models.VALIDATION, verbose=0, return_dict=True)["loss"]
            assert loss == pytest.approx(searched.results_dataframe()["score"].min(), abs=1e-6)

    def test_the_same_seed_gives_the_same_search(self, project, searched):
        tuner = contracted(project, type(searched), 3)
        search(tuner)
        scores = [list(each.results_dataframe()["score"]) for each in (searched, tuner)]
        assert scores[0] == scores[1]

    def test_the_script_run_again_does_nothing_and_with_more_trials_goes_on(self, again):
        before = again(3).results_dataframe()
        search(again(3))
        assert again(3).results_dataframe().equals(before)
        search(again(4))
        after = again(4).results_dataframe()
        kept = after[after["trial_id"] != "3"].reset_index(drop=True)
        assert kept[list(before)].equals(before)
        assert len(after) == 4

    def test_overwrite_starts_over_once(self, again):
        tuner = again(1, overwrite=True)
        with pytest.raises(ProjectError, match=r"`overwrite=True` starts over. Call `search"):
            tuner.results_dataframe()
        for _ in range(2):
            search(tuner)
            assert len(tuner.results_dataframe()) == 1

    @pytest.mark.parametrize("kind", TUNERS)
    def test_the_hypermodel_is_the_users_own_object(self, project, kind):
        hypermodel = tiny_models.WithData()
        objective = gk.Objective("score", "max")
        assert inline(project, hypermodel, objective, kind=kind).hypermodel is hypermodel


@pytest.mark.parametrize(
    ("build", "inputs"),
    [
        (tiny_models.build, None),
        (tiny_models.build_deferred, None),
        (tiny_models.build_normalized, None),
        (tiny_models.build_subclassed, None),
        (tiny_models.build_subclassed_dict, tiny_models.halves),
    ],
    ids=lambda part: getattr(part, "__name__", ""),
)
def test_best_models_of_every_kind_reproduce_their_scores(project, build, inputs):
    inputs = inputs or (lambda data: data[0])
    train, validation = (
        (inputs(data), data[1]) for data in (tiny_models.TRAIN, tiny_models.VALIDATION)
    )
    tuner = inline(project, build)
    tuner.search(*train, validation_data=validation, epochs=2, verbose=0)
    scores = sorted(tuner.results_dataframe()["score"])
    for model, score in zip(tuner.get_best_models(2), scores, strict=True):
        assert model.compiled
        assert model.evaluate(*validation, verbose=0, return_dict=True)["loss"] == pytest.approx(
            score, abs=1e-6
        )


def test_a_model_of_two_inputs_and_outputs_reproduces_its_score(project):
    train, validation = (
        (tiny_models.halves(data), {"label": data[1], "sum": data[0].sum(axis=1)})
        for data in (tiny_models.TRAIN, tiny_models.VALIDATION)
    )
    tuner = inline(project, tiny_models.build_two_inputs, "val_label_accuracy")
    tuner.search(*train, validation_data=validation, epochs=2, verbose=0)
    accuracy = tuner.get_best_models()[0].evaluate(*validation, verbose=0, return_dict=True)[
        "label_accuracy"
    ]
    assert tuner.objective == gk.Objective("val_label_accuracy", "max")
    assert accuracy == pytest.approx(tuner.results_dataframe()["score"].max(), abs=1e-6)


def test_a_hypermodel_with_data_needs_only_epochs(project):
    tuner = inline(project, tiny_models.WithData())
    tuner.search(epochs=2, verbose=0)
    table = tuner.results_dataframe()
    assert set(table["batch_size"]) <= {8, 16}
    loss = tuner.get_best_models()[0].evaluate(
        *tiny_models.VALIDATION, verbose=0, return_dict=True
    )["loss"]
    assert loss == pytest.approx(table["score"].min(), abs=1e-6)


def test_data_may_be_a_dataset_made_in_the_worker(project):
    import tensorflow as tf

    class Datasets(gk.HyperModel):
        def data(self, config):
            train, validation = (
                tf.data.Dataset.from_tensor_slices(part)
                for part in (tiny_models.TRAIN, tiny_models.VALIDATION)
            )
            return train.shuffle(64).batch(config.Choice("batch_size", [8, 16])), validation.batch(
                32
            )

        def build(self, config):
            return tiny_models.build_subclassed(config)

    tuner = inline(project, Datasets())
    tuner.search(epochs=1, verbose=0)
    loss = tuner.get_best_models()[0].evaluate(
        *tiny_models.VALIDATION, verbose=0, return_dict=True
    )["loss"]
    assert loss == pytest.approx(tuner.results_dataframe()["score"].min(), abs=1e-6)


def test_a_declared_and_a_define_by_run_space_mix(project):
    class Mixed(gk.HyperModel):
        def space(self):
            return {
                "layer": {
                    "units": tune.randint(2, 9),
                    "activation": tune.choice([keras.activations.relu, None]),
                }
            }

        def build(self, config):
            layers = [
                keras.layers.Dense(**config["layer"]) for _ in range(config.Int("layers", 1, 2))
            ]
            return tiny_models.compiled(
                keras.Sequential([*layers, keras.layers.Dense(2, "softmax")])
            )

    tuner = inline(project, Mixed(), max_trials=3)
    tuner.search(*tiny_models.TRAIN, **FIT)
    table = tuner.results_dataframe()
    assert {"layer/units", "layer/activation", "layers"} <= set(table)
    best = tuner.get_best_hyperparameters()[0]
    assert best["layer"]["units"] == best["layer/units"]
    assert tuner.get_best_models()[0].evaluate(*tiny_models.VALIDATION, verbose=0)


def test_a_space_may_be_passed_beside_a_function(project):
    def build(config):
        return tiny_models.compiled(
            keras.Sequential(
                [keras.layers.Dense(config["units"]), keras.layers.Dense(2, "softmax")]
            )
        )

    tuner = inline(project, build, space={"units": tune.choice([3, 5])})
    tuner.search(*tiny_models.TRAIN, **FIT)
    assert sorted(tuner.results_dataframe()["units"]) == [3, 5]


def test_executions_of_a_trial_are_averaged_and_the_best_one_is_loaded(project):
    tuner = inline(project, max_trials=1, executions_per_trial=2)
    tuner.search(*tiny_models.TRAIN, **FIT)
    executions = tuner._glimr.read().trials["0"].executions
    scores = [execution.score for execution in executions.values()]
    assert len(set(scores)) == 2
    assert tuner.results_dataframe()["score"][0] == pytest.approx(np.mean(scores))
    loss = tuner.get_best_models()[0].evaluate(
        *tiny_models.VALIDATION, verbose=0, return_dict=True
    )["loss"]
    assert loss == pytest.approx(min(scores), abs=1e-6)


def test_the_best_hyperparameters_build_the_same_model_again(project):
    tuner = inline(project)
    tuner.search(*tiny_models.TRAIN, **FIT)
    best = tuner.get_best_hyperparameters()[0]
    model = tuner.hypermodel.build(best)
    assert model.layers[1].units == best.get("units") == best.values["units"]
    assert float(model.optimizer.learning_rate) == pytest.approx(best["learning_rate"])


def test_a_search_algorithm_of_ray_chooses_the_values(project):
    from ray.tune.search.optuna import OptunaSearch

    tuner = inline(project, max_trials=2, search_alg=OptunaSearch(seed=1))
    tuner.search(*tiny_models.TRAIN, **FIT)
    tuner.oracle.max_trials = 3
    tuner.search(*tiny_models.TRAIN, **FIT)
    assert len(tuner.results_dataframe()) == 3
    assert tuner.results_dataframe()["units"].between(2, 16).all()


def test_an_exhausted_space_ends_the_search_and_says_so(project, capsys):
    def build(config):
        config.Choice("size", [1, 2])
        return tiny_models.build_deferred(HyperParameters())

    tuner = inline(project, build, max_trials=9)
    tuner.search(*tiny_models.TRAIN, **{**FIT, "verbose": 1})
    assert len(tuner.results_dataframe()) == 2
    assert (
        "The search space is exhausted: after 2 trials, nothing new was found to try."
        in capsys.readouterr().out
    )


def test_keras_callbacks_of_search_and_of_the_tuner_are_used(project, tmp_path):
    tuner = inline(
        project,
        max_trials=1,
        callbacks=[keras.callbacks.EarlyStopping("val_loss", baseline=-1.0, patience=2)],
    )
    lines = tmp_path / "log.csv"
    tuner.search(
        *tiny_models.TRAIN,
        **{**FIT, "epochs": 9},
        callbacks=[keras.callbacks.CSVLogger(str(lines))],
    )
    assert tuner.results_dataframe()["epochs"][0] < 9
    assert len(lines.read_text().splitlines()) == 1 + tuner.results_dataframe()["epochs"][0]


def test_a_metric_that_a_callback_logs_can_be_the_objective(project):
    class Logs(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["val_mine"] = float(epoch)

    tuner = inline(project, objective=gk.Objective("val_mine", "max"))
    tuner.search(*tiny_models.TRAIN, **FIT, callbacks=Logs())
    assert list(tuner.results_dataframe()["score"]) == [1.0, 1.0]


def test_a_deferred_model_that_was_trained_on_data_of_its_own_fit_can_be_loaded(project):
    class OwnData(gk.HyperModel):
        def build(self, config):
            return tiny_models.build_deferred(config)

        def fit(self, config, model, callbacks, **kwargs):
            return model.fit(
                *tiny_models.TRAIN,
                validation_data=tiny_models.VALIDATION,
                callbacks=callbacks,
                verbose=0,
            )

    tuner = inline(project, OwnData())
    tuner.search(verbose=0)
    loss = tuner.get_best_models()[0].evaluate(
        *tiny_models.VALIDATION, verbose=0, return_dict=True
    )["loss"]
    assert loss == pytest.approx(tuner.results_dataframe()["score"].min(), abs=1e-6)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_project_takes_one_search_at_a_time(project, overwrite):
    class Searches(gk.HyperModel):
        def build(self, config):
            return tiny_models.build(config)

        def fit(self, config, model, *args, **kwargs):
            if list(
                project["directory"].iterdir()
            ):  # there is none while hyperparameters are looked for
                inline(project, overwrite=overwrite).search(*tiny_models.TRAIN, **FIT)

    tuner = inline(project, Searches(), max_trials=1)
    tuner.search(*tiny_models.TRAIN, **FIT)
    assert "Another search is running in" in tuner._glimr.read().trials["0"].message


class Interrupts(keras.callbacks.Callback):
    """The user presses Ctrl-C."""

    def on_epoch_begin(self, epoch, logs=None):
        raise KeyboardInterrupt


def test_a_stopped_search_says_how_to_go_on_and_does(project, capsys):
    class Stopped(gk.HyperModel):
        def __init__(self, stop):
            self.stop = stop

        def build(self, config):
            return tiny_models.build(config)

        def fit(self, config, model, *args, **kwargs):
            if self.stop:
                kwargs["callbacks"].append(Interrupts())
            return model.fit(*args, **kwargs)

    with pytest.raises(KeyboardInterrupt):
        inline(project, Stopped(True)).search(*tiny_models.TRAIN, **{**FIT, "verbose": 1})
    assert "Stopped. What has finished is kept; run the script again" in capsys.readouterr().out
    tuner = inline(project, Stopped(False))
    tuner.search(*tiny_models.TRAIN, **{**FIT, "verbose": 1})
    assert "2/2 trials" in capsys.readouterr().out
    assert list(tuner.results_dataframe()["status"]) == ["COMPLETED", "COMPLETED"]


def test_summaries_are_printed(project, capsys):
    tuner = inline(project)
    tuner.search_space_summary()
    assert "Default search space size: 2\nunits (Int)" in capsys.readouterr().out
    tuner.search(*tiny_models.TRAIN, **FIT)
    assert capsys.readouterr().out == ""
    tuner.search_space_summary()
    tuner.results_summary(1)
    printed = capsys.readouterr().out
    assert "learning_rate (Float)" in printed
    assert 'Objective(name="val_loss", direction="min")' in printed
    assert printed.count("Score: ") == 1


def test_verbose_shows_a_line_or_a_line_a_trial(project, capsys):
    for expected in ("", "Nothing to do: the project in"):
        inline(project).search(*tiny_models.TRAIN, **{**FIT, "verbose": 1})
        printed = capsys.readouterr().out
        assert expected in printed
    assert "2/2 trials, best val_loss 0." in printed
    assert "Trial 0:" not in printed
    inline(project, max_trials=3).search(*tiny_models.TRAIN, **{**FIT, "verbose": 2})
    assert "Trial 2: val_loss=" in capsys.readouterr().out


def none(config):
    tiny_models.build(config)


def raises(config):
    raise RuntimeError("the user's own mistake")


def uncompiled(config):
    return keras.Sequential([keras.layers.Dense(config.Int("units", 1, 2))])


class Locked(gk.HyperModel):
    """Holds something that cannot be pickled."""

    def __init__(self):
        import threading

        self.settings = {"locks": [threading.Lock()]}

    def build(self, config):
        return tiny_models.build(config)


@pytest.mark.parametrize(
    ("hypermodel", "objective", "error", "message"),
    [
        (tiny_models.build, None, ObjectiveError, "`objective` must name the metric"),
        (tiny_models.build, 3, ObjectiveError, "Received: objective=3"),
        (
            tiny_models.build,
            "val_acuracy",
            ObjectiveError,
            "Did you mean 'val_accuracy'.* Keras will log: accuracy, loss, val_acc",
        ),
        (
            none,
            "val_loss",
            ModelError,
            r"`none\(config\)` must return a compiled Keras model. Received: None",
        ),
        (
            raises,
            "val_loss",
            ModelError,
            "in raises\n.*\n?.*\n?RuntimeError: the user's own mistake",
        ),
        (uncompiled, "val_loss", ModelError, "a model that is not compiled"),
        (
            gk.HyperModel,
            "val_loss",
            ModelError,
            "must be an instance. Received the class HyperModel",
        ),
        (
            "model",
            "val_loss",
            ModelError,
            "either a HyperModel or a function .* Received `hypermodel='model'`",
        ),
        (gk.HyperModel(), "val_loss", ModelError, r"must override `build\(config\)`"),
    ],
)
def test_a_model_or_objective_that_cannot_be_used_is_refused_before_any_trial(
    project, hypermodel, objective, error, message
):
    with pytest.raises(error, match=message):
        inline(project, hypermodel, objective).search(*tiny_models.TRAIN, **FIT)
    assert not (project["directory"] / project["project_name"]).exists()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"max_trials": 0},
            ValueError,
            "`max_trials` must be an integer of at least 1. Received: max_trials=0",
        ),
        (
            {"executions_per_trial": 1.5},
            ValueError,
            "`executions_per_trial` must .* Received: executions_per_trial=1.5",
        ),
        ({"max_concurrent_trials": -1}, ValueError, "Received: max_concurrent_trials=-1"),
        ({"seed": "a"}, ValueError, "Received: seed='a'"),
        ({"resources_per_trial": {"cpu": 0}}, ValueError, r"\['cpu'\]` must be above 0"),
        (
            {"resources_per_trial": {"gpu": -1}},
            ValueError,
            r"\['gpu'\]` must be a number of at least 0. Received: -1",
        ),
        ({"resources_per_trial": 2}, TypeError, "must be a dict such as .* Received: 2"),
        ({"resources_per_trial": {"cpus": 1}}, ValueError, r"Did you mean 'cpu'\? .*'cpus': 1"),
        ({"resources_per_trial": {"num_gpus": 1}}, ValueError, r"Did you mean 'gpu'\?"),
        ({"resources_per_trial": {"Cores": 2}}, ValueError, r"Did you mean 'cpu'\?"),
        (
            {"resources_per_trial": {"gpu": 1.5}},
            ValueError,
            r"must be a part of one GPU, or whole ones. Received: .*'gpu': 1.5",
        ),
        ({"trials_per_gpu": 0}, ValueError, "must be an integer from 1 to 100, 'auto' or None"),
        ({"trials_per_gpu": 101}, ValueError, "Received: trials_per_gpu=101"),
        ({"trials_per_gpu": True}, ValueError, "Received: trials_per_gpu=True"),
        ({"trials_per_gpu": "many"}, ValueError, "Received: trials_per_gpu='many'"),
        (
            {"trials_per_gpu": 2, "resources_per_trial": {"GPU": 1}},
            ValueError,
            r"Pass one of them. Received: trials_per_gpu=2, resources_per_trial=\{'GPU': 1\}",
        ),
        (
            {"trials_per_gpu": "auto", "scheduler": tune.schedulers.MedianStoppingRule()},
            ValueError,
            "MedianStoppingRule may pause them. Pass a number.",
        ),
        ({"retry_failed": "yes"}, TypeError, "`retry_failed` must be a bool. Received: .*'yes'"),
        (
            {"scheduler": "asha"},
            TypeError,
            "`scheduler` must be one of `ray.tune.schedulers`. Received: scheduler='asha'",
        ),
        (
            {"search_alg": "optuna"},
            TypeError,
            "`search_alg` must be one of `ray.tune.search`. Received: search_alg='optuna'",
        ),
        (
            {"executor": "threads"},
            ValueError,
            "must be 'auto', 'ray', 'inline', or an `Executor`.*Received: executor='threads'",
        ),
        (
            {"callbacks": [print]},
            TypeError,
            "must be Keras or Ray Tune callbacks.* Received: <built-in function print>",
        ),
        (
            {"max_trails": 3},
            ValueError,
            r"Unrecognized arguments \['max_trails'\] for RayTuner. Did you mean 'max_trials'\?",
        ),
        ({"logger": print}, DeprecationWarning, "`logger` has no meaning"),
        ({"space": [1]}, TypeError, r"search space must be a dict. Received: space=\[1\]"),
    ],
)
def test_bad_arguments_are_refused_by_the_constructor(project, arguments, error, message):
    with pytest.raises(error, match=message):
        gk.RayTuner(tiny_models.build, **{"objective": "val_loss", **project, **arguments})


def test_a_validation_metric_without_validation_data_is_explained(project):
    with pytest.raises(ObjectiveError, match=r"`val_` need validation data"):
        inline(project).search(*tiny_models.TRAIN, epochs=1, verbose=0)


def test_a_search_without_data_or_with_data_from_two_places_is_refused(project):
    with pytest.raises(ValueError, match=r"There is no data to train on"):
        inline(project).search(epochs=1)
    with pytest.raises(ValueError, match="Data came from two places"):
        inline(project, tiny_models.WithData()).search(*tiny_models.TRAIN, epochs=1)


def test_a_range_that_cannot_be_meant_as_it_is_is_said_and_searched(project):
    def build(config):
        config.Int("far", 1, 5, default=9)
        config.Int("wide", 1, 5, step=10)
        return tiny_models.build(config)

    tuner = inline(project, build)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        tuner.search(*tiny_models.TRAIN, **FIT)
    said = [str(warning.message) for warning in heard]
    assert said.count("Int('far'): the default 9 is not from 1 to 5; 5 is taken.") == 1
    assert said.count("Int('wide'): the step 10 fits nowhere into 1 to 5, so it is always 1.") == 1
    table = tuner.results_dataframe()
    assert set(table["wide"]) == {1}
    assert table["far"].between(1, 5).all()


def test_bad_verbose_is_refused(project):
    with pytest.raises(ValueError, match="Received: verbose=7"):
        inline(project).search(*tiny_models.TRAIN, verbose=7)


def test_a_directory_of_something_else_is_left_alone(project, tmp_path):
    place = tmp_path / "project"
    place.mkdir()
    (place / "thesis.tex").write_text("years of work")
    (place / "trial_0").mkdir()
    (place / "trial_0" / "notes.txt").write_text("theirs")
    with pytest.raises(ProjectError, match=r"holds no glimr_keras project\. Received: trial_0\."):
        inline(project).search(*tiny_models.TRAIN, **FIT)
    assert {path.name for path in place.iterdir()} == {"thesis.tex", "trial_0"}
    assert (place / "trial_0" / "notes.txt").read_text() == "theirs"
    (place / "trial_0" / "notes.txt").unlink()
    inline(project).search(*tiny_models.TRAIN, **FIT)
    inline(project, overwrite=True).search(*tiny_models.TRAIN, **FIT)
    assert (place / "thesis.tex").read_text() == "years of work"


def test_a_project_of_a_different_space_or_objective_is_left_alone(project):
    inline(project).search(*tiny_models.TRAIN, **FIT)
    before = inline(project).results_dataframe()

    def other(config):
        config.Int("other", 1, 2)
        return tiny_models.build(config)

    with pytest.raises(
        ProjectError,
        match=r"holds results of a different search, with 2 trials: hyperparameter 'other' is new",
    ):
        inline(project, other).search(*tiny_models.TRAIN, **FIT)
    with pytest.raises(ProjectError, match=r"objective was .*val_loss.* is .*val_accuracy"):
        inline(project, objective="val_accuracy").search(*tiny_models.TRAIN, **FIT)
    assert inline(project).results_dataframe().equals(before)


def test_results_before_any_search_are_an_error_that_says_what_to_do(project):
    with pytest.raises(ProjectError, match=r"There is no glimr_keras project in .* Call `search"):
        inline(project).get_best_models()


def test_failing_configurations_fail_alone(project):
    def fragile(config):
        if config.Int("units", 2, 16) % 2:
            raise RuntimeError("odd numbers of units")
        return tiny_models.build(config)

    tuner = inline(project, fragile, max_trials=6, max_consecutive_failed_trials=6)
    tuner.search(*tiny_models.TRAIN, **FIT)
    table = tuner.results_dataframe()
    assert set(table["status"]) == {"COMPLETED", "FAILED"}
    assert ((table["units"] % 2 == 1) == (table["status"] == "FAILED")).all()


def test_failures_in_a_row_stop_the_search_with_the_users_traceback(project):
    def fragile(config):
        if config.Int("units", 2, 16) > 2:
            raise RuntimeError("too many units")
        return tiny_models.build(config)

    tuner = inline(project, fragile, max_trials=9)
    with pytest.raises(
        SearchError, match=r"consecutive failures exceeded the limit of 3"
    ) as stopped:
        tuner.search(*tiny_models.TRAIN, **FIT)
    assert "RuntimeError: too many units" in str(stopped.value)
    assert len(tuner.results_dataframe()) == 3
    with pytest.raises(
        ProjectError, match=r"No trial .* has finished with a score. Received: 3 trials."
    ):
        tuner.get_best_models()


def test_what_cannot_be_sent_is_named(local_ray, project):
    with pytest.raises(ShippingError, match=r"hypermodel.settings\['locks'\]\[0\] is a lock"):
        gk.RayTuner(Locked(), "val_loss", **project).search(*tiny_models.TRAIN, **FIT)


def test_resources_that_no_machine_has_are_refused(local_ray, project):
    with pytest.raises(
        ResourcesError, match=r"Received: .*'gpu': 3.* There is one machine with CPU: 2, GPU: 0"
    ):
        gk.RayTuner(
            tiny_models.build, "val_loss", resources_per_trial={"gpu": 3}, **project
        ).search(*tiny_models.TRAIN, **FIT)


def test_a_dataset_given_to_search_is_used_inline(project):
    import tensorflow as tf

    train, validation = (
        tf.data.Dataset.from_tensor_slices(part).batch(8)
        for part in (tiny_models.TRAIN, tiny_models.VALIDATION)
    )
    tuner = inline(project, tiny_models.build_subclassed, max_trials=1)
    tuner.search(train, validation_data=validation, epochs=1, verbose=0)
    loss = tuner.get_best_models()[0].evaluate(validation, verbose=0, return_dict=True)["loss"]
    assert loss == pytest.approx(tuner.results_dataframe()["score"][0], abs=1e-6)


def test_a_dataset_that_calls_python_is_refused_on_ray_with_the_way_out(project):
    import tensorflow as tf

    def samples():
        yield from zip(*tiny_models.TRAIN, strict=True)

    signature = (tf.TensorSpec((6,), tf.float32), tf.TensorSpec((), tf.int32))
    dataset = tf.data.Dataset.from_generator(samples, output_signature=signature).batch(8)
    tuner = gk.RayTuner(tiny_models.build, "val_loss", **project)
    with pytest.raises(
        ShippingError,
        match=(
            r"(?s)^search\(\)'s validation_data is a tf.data.Dataset that cannot be sent .*def "
            r"data\(self, config\)"
        ),
    ):
        tuner.search(*tiny_models.TRAIN, validation_data=dataset, epochs=1)
    assert not tuner._glimr.place.exists()


class Runs(gk.HyperModel):
    """No Keras model at all."""

    def run(self, config):
        x = config.Float("x", -1.0, 1.0)
        return x**2 if config.Boolean("square") else {"loss": abs(x), "x": x}


def test_a_whole_trial_of_the_users_own(project):
    tuner = inline(project, Runs(), objective="loss", max_trials=8)
    tuner.search(verbose=0)
    table = tuner.results_dataframe()
    x = table["x"]
    assert list(table["score"]) == pytest.approx(list((x**2).where(table["square"], x.abs())))
    assert set(table["epochs"]) == {1}
    assert tuner.get_best_hyperparameters()[0]["x"] == x[table["score"].idxmin()]
    with pytest.raises(ModelError, match="no models to load: the trials of Runs are its own `run`"):
        tuner.get_best_models()


@pytest.mark.parametrize(
    ("returned", "error", "message"),
    [
        (
            None,
            NoMetricsError,
            r"`Wrong\.run\(config\)` returned None\. Did you forget to return the metrics\?",
        ),
        (
            "0.5",
            NoMetricsError,
            r"HyperModel\.run\(\) to be one of float, .* `Wrong\.run\(config\)` returned: '0\.5' "
            r"of type str",
        ),
        (
            {"los": 0.5},
            MissingObjectiveError,
            r"`Wrong\.run\(config\)` returned must have .* 'loss'. Did you mean 'los'\?",
        ),
    ],
)
def test_a_run_must_return_a_score(project, returned, error, message):
    class Wrong(gk.HyperModel):
        def run(self, config):
            return returned

    tuner = inline(project, Wrong(), objective="loss", max_trials=3)
    with pytest.raises(error, match=message):
        tuner.search(verbose=0)
    assert len(tuner._glimr.read().trials) == 1
