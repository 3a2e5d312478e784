"""glimr's `Search`, and the `ResultGrid` that it returns."""

import copy
import functools
import json

import keras
import numpy as np
import pytest
from ray import tune
from ray.tune.stopper import MaximumIterationStopper

import glimr_keras as gk
from glimr_keras.errors import ProjectError
from tests import tiny_models

LABELS = keras.utils.to_categorical(tiny_models.Y, 2)


def space():
    return {
        "layer": {"units": tune.choice([4, 8])},
        "tasks": {
            "kind": {
                "loss": tune.choice(
                    [{"name": "categorical_hinge"}, {"name": "categorical_crossentropy"}]
                ),
                "loss_weight": (1.0,),
                "metrics": {"name": "acc", "metric": keras.metrics.CategoricalAccuracy},
            }
        },
        "optimization": gk.optimization_space(epochs=3, method=tune.choice(["adam", "sgd"])),
        "data": {"batch_size": tune.choice([16, 32])},
    }


def builder(config):
    assert type(config) is dict
    inputs = keras.Input((6,))
    hidden = keras.layers.Dense(config["layer"]["units"], activation="relu")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax", name="kind")(hidden))
    return model, *gk.keras_losses(config), gk.keras_metrics(config)


def loader(batch_size, cv_index=0, cv_folds=3):
    import tensorflow as tf

    chosen = np.arange(96) % cv_folds == cv_index
    parts = [
        tf.data.Dataset.from_tensor_slices((tiny_models.X[c], {"kind": LABELS[c]}))
        for c in (~chosen, chosen)
    ]
    return parts[0].batch(batch_size), parts[1].batch(batch_size)


@pytest.fixture(scope="module")
def experiment(local_ray, tmp_path_factory):
    directory = tmp_path_factory.mktemp("search")
    search = gk.Search(space(), builder, loader, cv_folds=2, stopper=MaximumIterationStopper(100))
    return search, search.experiment(directory, "one", num_samples=2), directory


def test_it_returns_rays_results_with_glimrs_names(experiment):
    _, results, directory = experiment
    assert isinstance(results, tune.ResultGrid)
    assert len(results) == 4
    assert (results.num_errors, results.num_terminated, results.errors) == (0, 4, [])
    assert results.experiment_path == str(directory / "one")
    for result in results:
        assert {"kind_acc", "kind_loss", "train_kind_acc"} <= set(result.metrics)
        assert result.metrics["kind_acc"] == result.metrics["val_kind_acc"]
        assert result.config["layer"]["units"] in (4, 8)
        assert result.config["optimization"]["epochs"] == 3  # what is fixed too
        assert builder(result.config)[1].keys() == {"kind"}  # and objects are objects
        assert len(result.metrics_dataframe) == 3
        assert result.checkpoint is not None
        assert result.error is None


def test_the_best_result(experiment):
    _, results, _ = experiment
    best = results.get_best_result()
    assert best.metrics["kind_acc"] == max(result.metrics["kind_acc"] for result in results)
    least = results.get_best_result("kind_loss", "min", scope="all")
    assert least.metrics_dataframe["kind_loss"].min() == min(
        result.metrics_dataframe["kind_loss"].min() for result in results
    )
    means = [result.metrics_dataframe["kind_acc"].mean() for result in results]
    assert results.get_best_result(scope="avg").metrics_dataframe[
        "kind_acc"
    ].mean() == pytest.approx(max(means))
    with pytest.raises(
        ValueError, match="`scope` must be one of 'last', 'all', 'avg', 'last-5-avg', 'last-10-avg'"
    ):
        results.get_best_result(scope="first")
    with pytest.raises(
        ValueError, match=r"There is no metric 'kind_ac' in the table. Did you mean 'kind_acc'"
    ):
        results.get_best_result("kind_ac")


def test_a_row_for_each_training(experiment):
    _, results, _ = experiment
    assert results.get_dataframe()["training_iteration"].tolist() == [3] * 4
    best = results.get_dataframe(filter_metric="kind_loss", filter_mode="min")
    assert best["kind_loss"].tolist() == [
        result.metrics_dataframe["kind_loss"].min() for result in results
    ]


def test_the_tuner_behind_it_has_models_and_tables(experiment):
    search, _, directory = experiment
    _, second = search.tuner.get_best_models()
    validation = loader(32, 1, 2)[1].map(lambda x, y: (x, y["kind"]))
    table = search.tuner.results_dataframe()
    best = table.loc[table["score"].idxmax()]
    assert second.evaluate(validation, verbose=0, return_dict=True)["acc"] == pytest.approx(
        best["fold1_score"]
    )
    assert set(
        gk.top_k_configs(gk.experiment_table(directory / "one"), "kind_acc", k=1)["cv_index"]
    ) == {0, 1}


@pytest.mark.slow
def test_an_experiment_is_restored_and_extended(experiment):
    _, _, directory = experiment
    assert len(gk.Search.restore(directory, "one")) == 4
    assert len(gk.Search.restore(directory / "one")) == 4
    journal = directory / "one" / ".glimr_keras" / "journal.jsonl"
    lines = journal.read_text().splitlines()
    last = max(number for number, line in enumerate(lines) if json.loads(line)["record"] == "trial")
    journal.write_text("\n".join(lines[: last + 1]) + "\n")  # as if it had been killed then
    results = gk.Search.restore(directory, "one")
    assert len(results) == 4
    assert results.num_terminated == 4
    with pytest.raises(ProjectError, match="There is no experiment of Search to restore in"):
        gk.Search.restore(directory, "two")


def test_what_a_pickle_names_and_is_gone_is_not_replaced(tmp_path):
    """Only public names are found wherever they are now."""
    pickled = tmp_path / ".glimr_keras" / "search.pickle"
    pickled.parent.mkdir()
    for name in (b"glimr_keras.search\nFinder", b"elsewhere\nSearch"):
        pickled.write_bytes(b"c" + name + b"\n.")
        with pytest.raises(ModuleNotFoundError, match=name.split(b"\n")[0].decode()):
            gk.Search.restore(tmp_path)


def test_defaults_are_those_of_glimr_without_its_faults():
    described = space()
    before = copy.copy(described)
    search = gk.Search(described, builder, loader)
    assert described == before
    assert (search.metric, search.mode, search.cv_folds) == ("kind_acc", "max", None)
    assert (search.resources, search.reporter) == (None, None)  # a GPU where there are any
    assert type(search.stopper).__name__ == "TrialPlateauStopper"
    assert search.checkpoint_config.checkpoint_score_attribute == "kind_acc"
    assert search.failure_config.max_failures == 5
    tuner = search._tuner(".", None, 1, 1, None, None)
    assert tuner._glimr.settings.failure_policy.failures == 5
    search.set_resources({"CPU": 2, "GPU": 0.5})
    assert search.resources == {"CPU": 2, "GPU": 0.5}
    search.set_reporter()
    assert isinstance(search.reporter, tune.CLIReporter)
    with pytest.warns(
        UserWarning, match="You are using the `JupyterNotebookReporter`"
    ):  # says Ray outside a notebook
        search.set_reporter(jupyter=True)
    assert isinstance(search.reporter, tune.JupyterNotebookReporter)
    with pytest.warns(
        UserWarning,
        match="The weights of one epoch are kept of each training, the best by 'kind_acc'",
    ):
        search.set_checkpoints("kind_loss", "min", num_to_keep=3)


def test_a_configuration_is_tried_before_an_experiment():
    search = gk.Search(space(), builder, loader, cv_folds=2)
    tried = search.try_configuration(gk.sample_space(space(), seed=1), batches=1)
    assert tried.labels == {"kind": (None, 2)} or tried.labels == (None, 2)
    assert "val_kind_acc" in tried.logs


@pytest.mark.parametrize("score_at", [None, "last"])
def test_folds_are_scored_at_a_common_epoch_or_as_one_says(local_ray, tmp_path, score_at):
    search = gk.Search(space(), builder, loader, cv_folds=2)
    search.experiment(tmp_path, "epochs", num_samples=1, score_at=score_at)
    (trial,) = search.tuner.oracle.get_best_trials()
    common, _ = [each.best_epoch for each in trial.executions.values()]
    assert common == trial.executions[1].best_epoch == trial.best_step + 1
    if score_at == "last":
        assert common == max(trial.executions[0].history)


@pytest.mark.parametrize(
    ("epochs", "longest"),
    [
        (np.int64(7), 7),
        (tune.randint(5, 21), 20),
        (tune.choice([20, 40]), 40),
        (tune.quniform(10, 200, 10), 200),
        (300, 300),
    ],
)
def test_the_default_scheduler_lets_each_configuration_train_to_its_end(epochs, longest):
    described = {**space(), "optimization": gk.optimization_space(epochs=epochs)}
    scheduler = gk.Search(described, builder, loader)._default_scheduler()
    assert scheduler._max_t == longest


@pytest.mark.slow
def test_a_refused_experiment_leaves_what_is_there(local_ray, tmp_path):
    search = gk.Search(space(), builder, loader, seed=3)
    search.experiment(tmp_path, "one", num_samples=1, initial_points=[{"layer": {"units": 8}}])
    before = (tmp_path / "one" / ".glimr_keras" / "search.pickle").read_bytes()
    other = gk.Search({**space(), "layer": {"units": tune.choice([4, 8, 16])}}, builder, loader)
    with pytest.raises(ProjectError, match="hyperparameter 'layer/units' was"):
        other.experiment(tmp_path, "one", num_samples=2)
    assert (tmp_path / "one" / ".glimr_keras" / "search.pickle").read_bytes() == before
    results = gk.Search.restore(tmp_path, "one")
    assert [result.config["layer"]["units"] for result in results] == [8]


def test_mode_min_minimises_and_a_reporter_shows_the_trials(local_ray, tmp_path, capsys):
    search = gk.Search(space(), builder, loader, metric="kind_loss", mode="min")
    search.set_reporter(max_report_frequency=0)
    search.experiment(tmp_path, "least", num_samples=2)
    table = gk.experiment_table(tmp_path / "least")
    assert (
        search.tuner.results_dataframe().sort_values("trial_id")["score"].tolist()
        == table.groupby("config_enum")["kind_loss"].min().tolist()
    )
    shown = capsys.readouterr().out
    assert "kind_loss" in shown
    assert "learning rate" in shown
    assert "2 TERMINATED" in shown


@pytest.mark.parametrize(
    ("change", "arguments", "error", "message"),
    [
        ({}, {"mode": "up"}, ValueError, "`mode` must be 'min' or 'max'. Received: mode='up'"),
        ({"tasks": {}}, {}, ValueError, "`space` must have 'tasks'"),
        ({}, {"builder": 3}, TypeError, "`builder` must be a function. Received: builder=3"),
        (
            {},
            {"stopper": 3},
            ValueError,
            "`stopper` must be a ray.tune.Stopper. Received: stopper=3",
        ),
        (
            {"data": {"batch": 3}},
            {},
            ValueError,
            "'batch' is no argument of the loader. Did you mean 'batch_size'",
        ),
        (
            {},
            {"loader": lambda batch_size: None, "cv_folds": 3},
            ValueError,
            "the loader must take 'cv_index' and 'cv_folds'",
        ),
        (
            {},
            {"loader": lambda batch_size, path: None, "loader_kwargs": {"batch_size": 3}},
            ValueError,
            r"The loader needs 'path', which nothing gives it\. Its arguments come from "
            r"`space\['data'\]`, which has 'batch_size', and `loader_kwargs`, which has "
            "'batch_size'; with `cv_folds`, it also gets 'cv_index' and 'cv_folds'",
        ),
        (
            {"data": {"batchsize": 3}},
            {"loader": lambda batch_size, **others: None},
            ValueError,
            r"The loader needs 'batch_size', which nothing gives it\. Did you mean 'batchsize'\?"
            ".*`loader_kwargs`, which has nothing",
        ),
        (
            {},
            {"loader": lambda batch_size, cv_index, cv_folds: None},
            ValueError,
            "The loader needs 'cv_index', 'cv_folds', which nothing gives it. Give `cv_folds=`, "
            "with which the loader gets them",
        ),
        (
            {"tasks": {"kind": {"metrics": keras.metrics.AUC}}},
            {},
            ValueError,
            "`metric` must be given, since the first metric",
        ),
    ],
)
def test_what_cannot_be_searched_is_refused(change, arguments, error, message):
    with pytest.raises(error, match=message):
        gk.Search({**space(), **change}, **{"builder": builder, "loader": loader, **arguments})


def given_a_path(function):
    @functools.wraps(function)
    def wrapper(**arguments):
        return function(path="here", **arguments)

    return wrapper


@given_a_path
def decorated(batch_size, path): ...


@pytest.mark.parametrize(
    ("given", "arguments"),
    [
        (functools.partial(lambda batch_size, path: None, path="here"), {}),
        (lambda batch_size, *, path: None, {"loader_kwargs": {"path": "here"}}),
        (lambda batch_size, cv_index, cv_folds: None, {"cv_folds": 2}),
        (decorated, {}),
    ],
)
def test_a_loader_that_gets_what_it_needs_is_taken(given, arguments):
    assert gk.Search(space(), builder, given, **arguments).loader is given


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("trainable", r"`try_configuration\(config\)`"),
        ("set_scaling", r"set_resources\("),
        ("scaling_config", "`resources = "),
    ],
)
def test_what_the_class_of_glimr_had_says_what_to_use_instead(name, instead):
    search = gk.Search(space(), builder, loader)
    for owner in (search, gk.Search):
        with pytest.raises(AttributeError, match=rf"`Search.{name}` is not here. .*{instead}"):
            getattr(owner, name)
    with pytest.raises(AttributeError, match=f"`Search.{name}` is not here"):
        setattr(search, name, None)
