"""Cross validation: with every way to choose configurations and to stop them, inline and on Ray."""

import itertools
import json

import numpy as np
import pytest
from ray import tune
from ray.tune import schedulers
from ray.tune.search.optuna import OptunaSearch

import glimr_keras as gk
from glimr_keras.cli.project_lines import search_in_words
from glimr_keras.errors import ModelError, ProjectError
from glimr_keras.models.data import FitArguments
from glimr_keras.results import stored_tables
from glimr_keras.tuners.base_tuner import session_of
from tests import tiny_models


def searched(tuner, **kwargs):
    tuner.search(tiny_models.X, tiny_models.Y, epochs=2, verbose=0, **kwargs)
    return tuner


class Noted(gk.HyperModel):
    """Writes down what each training saw."""

    def __init__(self, path):
        self.path = str(path)

    def build(self, config):
        return tiny_models.build(config)

    def fit(self, config, model, x, y, validation_data, **kwargs):
        with open(self.path, "a") as file:  # noqa: PTH123
            file.write(
                json.dumps(
                    [
                        config.fold,
                        config.num_folds,
                        x[:, 0].tolist(),
                        validation_data[0][:, 0].tolist(),
                    ]
                )
                + "\n"
            )
        return model.fit(x, y, validation_data=validation_data, **kwargs)


def test_each_configuration_is_validated_once_on_each_sample(project, tmp_path):
    tuner = gk.RayTuner(
        Noted(tmp_path / "notes"), "val_loss", 2, cv_folds=3, seed=0, executor="inline", **project
    )
    searched(tuner)
    notes = [json.loads(line) for line in (tmp_path / "notes").read_text().splitlines()]
    notes = notes[-6:]  # before them, discovery looked
    assert [fold for fold, *_ in notes] == [0, 1, 2] * 2
    assert {count for _, count, *_ in notes} == {3}
    for start in (0, 3):
        validated = [
            value for _, _, _, validation in notes[start : start + 3] for value in validation
        ]
        assert sorted(validated) == sorted(tiny_models.X[:, 0].tolist())
    assert all(not set(training) & set(validation) for _, _, training, validation in notes)


def test_the_score_is_the_mean_and_models_are_those_of_the_folds(project):
    tuner = searched(
        gk.RayTuner(
            tiny_models.build, "val_loss", 2, cv_folds=3, seed=0, executor="inline", **project
        )
    )
    results = tuner.results_dataframe()
    folds = results[["fold0_score", "fold1_score", "fold2_score"]]
    assert results["score"].to_numpy() == pytest.approx(folds.mean(axis=1).to_numpy())
    fold_models = tuner.get_best_models()
    assert len(fold_models) == 3
    assert len(tuner.get_best_models(2)) == 6
    arguments = FitArguments((tiny_models.X, tiny_models.Y))
    parts = session_of(tuner).folds(arguments, 0, groups=None, stratify="auto", folds=None).parts
    best = results.loc[results["score"].idxmin()]
    table = gk.default_checkpoints(gk.experiment_table(tuner))
    kept = table[table["trial_id"] == best["trial_id"]]["val_loss"].to_numpy()
    for fold, model in enumerate(fold_models):
        loss, _ = model.evaluate(
            tiny_models.X[parts == fold], tiny_models.Y[parts == fold], verbose=0
        )
        assert loss == pytest.approx(kept[fold], abs=1e-6)
    together = gk.ensemble(fold_models)
    assert together.predict(tiny_models.X, verbose=0).shape == (96, 2)


def test_executions_are_trained_for_each_fold(project):
    tuner = gk.RayTuner(
        tiny_models.build,
        "val_loss",
        1,
        executions_per_trial=2,
        cv_folds=3,
        score_at="best",
        executor="inline",
        **project,
    )
    table = gk.experiment_table(searched(tuner))
    assert table.groupby("execution")["cv_index"].first().tolist() == [0, 1, 2, 0, 1, 2]
    assert len(tuner.get_best_models()) == 3
    results = tuner.results_dataframe()
    scores = table.groupby("execution")["val_loss"].min()
    assert results["fold1_score"][0] == pytest.approx((scores[1] + scores[4]) / 2)


def test_groups_strata_and_folds_reach_the_split(project, tmp_path):
    given = np.arange(96) % 3
    tuner = gk.RayTuner(
        Noted(tmp_path / "notes"), "val_loss", 1, cv_folds=3, executor="inline", **project
    )
    searched(tuner, folds=given)
    *_, last = [json.loads(line) for line in (tmp_path / "notes").read_text().splitlines()]
    assert last[3] == tiny_models.X[given == 2, 0].tolist()


def test_a_search_is_continued_with_the_same_folds(project, tmp_path):
    path = tmp_path / "notes"
    for count in (1, 2):
        tuner = gk.RayTuner(
            Noted(path), "val_loss", count, cv_folds=3, executor="inline", **project
        )
        searched(tuner)  # without a seed of the user's
    notes = [json.loads(line) for line in path.read_text().splitlines()]
    assert len({json.dumps(validation) for fold, _, _, validation in notes if fold == 1}) == 1
    with pytest.raises(ProjectError, match="cv_folds was 3, is 4"):
        searched(gk.RayTuner(Noted(path), "val_loss", 3, cv_folds=4, executor="inline", **project))


class Loads(gk.HyperModel):
    """Has a loader, which may know of folds."""

    def __init__(self, knows):
        self.knows = knows

    def build(self, config):
        return tiny_models.build(config)

    def data(self, config):
        chosen = (
            np.arange(96) % config.num_folds == config.fold if self.knows else np.arange(96) < 20
        )
        return (tiny_models.X[~chosen], tiny_models.Y[~chosen]), (
            tiny_models.X[chosen],
            tiny_models.Y[chosen],
        )


def test_a_loader_returns_the_data_of_its_fold(project):
    tuner = gk.RayTuner(Loads(True), "val_loss", 1, cv_folds=3, executor="inline", **project)
    tuner.search(epochs=1, verbose=0)
    assert (
        tuner.results_dataframe()[["fold0_score", "fold1_score", "fold2_score"]]
        .notna()
        .all(axis=None)
    )
    assert len(tuner.get_best_models()) == 3


class Fits(gk.HyperModel):
    """Has the data in its `fit`."""

    def build(self, config):
        return tiny_models.build(config)

    def fit(self, config, model, **kwargs):
        chosen = np.arange(96) % config.num_folds == config.fold
        return model.fit(
            tiny_models.X[~chosen],
            tiny_models.Y[~chosen],
            validation_data=(tiny_models.X[chosen], tiny_models.Y[chosen]),
            **kwargs,
        )


def test_so_may_a_fit_of_ones_own(project):
    tuner = gk.RayTuner(Fits(), "val_loss", 1, cv_folds=3, executor="inline", **project)
    tuner.search(epochs=1, verbose=0)
    scores = tuner.results_dataframe()[["fold0_score", "fold1_score", "fold2_score"]]
    assert scores.iloc[0].nunique() == 3


def test_the_space_of_a_loader_is_shown(project, capsys):
    gk.RayTuner(
        Loads(True), "val_loss", 1, cv_folds=3, executor="inline", **project
    ).search_space_summary()
    assert "units" in capsys.readouterr().out


def test_how_to_split_is_for_data_that_is_given(project):
    tuner = gk.RayTuner(Loads(True), "val_loss", 1, cv_folds=3, executor="inline", **project)
    with pytest.raises(
        ValueError,
        match=(
            r"`groups` says how the data that `search\(\)` is given is split. Loads brings its own"
        ),
    ):
        tuner.search(epochs=1, verbose=0, groups=np.arange(96))


def test_a_loader_that_knows_nothing_of_folds_is_refused(project):
    tuner = gk.RayTuner(Loads(False), "val_loss", 1, cv_folds=3, executor="inline", **project)
    with pytest.raises(ModelError, match=r"`Loads.data\(config\)` does not use `config.fold`"):
        tuner.search(epochs=1, verbose=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cv_folds": 1}, "`cv_folds` must be an integer of at least 2. Received: cv_folds=1"),
        ({"cv_folds": True}, "`cv_folds` must be an integer"),
    ],
)
def test_bad_numbers_of_folds(project, arguments, message):
    with pytest.raises(ValueError, match=message):
        gk.RayTuner(tiny_models.build, "val_loss", **arguments, **project)


def test_splits_need_a_cross_validation(project):
    with pytest.raises(
        ValueError, match=r"`groups` is for cross validation. Pass `cv_folds` to RayTuner"
    ):
        searched(
            gk.RayTuner(tiny_models.build, "val_loss", 1, executor="inline", **project),
            groups=np.arange(96),
        )
    with pytest.raises(ValueError, match=r"`folds` is for cross validation."):
        searched(
            gk.RayTuner(tiny_models.build, "val_loss", 1, executor="inline", **project),
            folds=np.arange(96) % 2,
        )


def test_data_that_cannot_be_split_is_refused_before_anything_is_started(project):
    tuner = gk.RayTuner(tiny_models.build, "val_loss", 1, cv_folds=3, **project)
    with pytest.raises(ValueError, match="Leave out `validation_data`"):
        searched(tuner, validation_data=tiny_models.VALIDATION)
    assert not tuner._glimr.place.exists()


# The epoch of the score


CURVES = [[5.0, 1.0, 4.0, 3.0], [1.0, 6.0, 2.0, 3.0], [9.0, 8.0, 3.0, 4.0]]
"""Of the folds, or of the executions: their own bests are at epochs 2, 1 and 3, that of the mean at
3, and all have a fourth.
"""
EXPECTED = {
    "best": ([1.0, 1.0, 3.0], 2),
    "common": ([4.0, 2.0, 3.0], 3),
    "last": ([3.0, 3.0, 4.0], 4),
}
OWN_BEST = [2, 1, 3]
ONE_AFTER_THE_OTHER = itertools.count()


class Curved(gk.HyperModel):
    """Each fold has a curve of its own."""

    def build(self, config):
        return tiny_models.build(config)

    def fit(self, config, model, *args, callbacks, epochs, initial_epoch=0, **kwargs):
        curve = self.curve(config)
        tiny_models.train_by_hand(
            model, callbacks, epochs, lambda epoch: {"val_loss": curve[epoch]}, initial_epoch
        )

    def curve(self, config):
        return CURVES[config.fold]


class CurvedInTurn(Curved):
    """Likewise, of executions, which do not know their number."""

    def curve(self, config):
        return CURVES[next(ONE_AFTER_THE_OTHER) % 3]


def check_scored(tuner, rule):
    """What tables, trials and weights say of the one trial."""
    scores, epoch = EXPECTED[rule]
    (trial,) = tuner.oracle.get_best_trials()
    curves = [
        number
        for _, number in sorted(
            (execution.history[1]["val_loss"], number)
            for number, execution in trial.executions.items()
        )
    ]
    order = [curves[1], curves[0], curves[2]]  # executions need not begin with the first curve
    assert [trial.executions[number].score for number in order] == scores
    assert trial.score == pytest.approx(sum(scores) / 3)
    assert trial.best_step + 1 == epoch
    results = tuner.results_dataframe()
    assert results["score"][0] == trial.score
    best = order.index(trial.best_execution(tuner.oracle.objective))
    assert results["best_epoch"][0] == (OWN_BEST[best] if rule == "best" else epoch)
    assert ("weights_epoch" in results) == (rule != "best")
    if rule != "best":
        assert results["weights_epoch"][0] == OWN_BEST[best]
    kept = gk.default_checkpoints(gk.experiment_table(tuner))
    assert kept["training_iteration"][order].tolist() == OWN_BEST
    again = gk.RayTuner.open(tuner.project_dir)
    assert again.results_dataframe().equals(results)


@pytest.mark.parametrize("rule", ["best", "common", "last"])
@pytest.mark.parametrize(
    ("kind", "several"), [(Curved, {"cv_folds": 3}), (CurvedInTurn, {"executions_per_trial": 3})]
)
def test_a_trial_is_scored_at_the_epochs_that_one_asks_for(project, kind, several, rule):
    tuner = gk.RayTuner(
        kind(),
        gk.Objective("val_loss", "min"),
        1,
        score_at=rule,
        executor="inline",
        **several,
        **project,
    )
    tuner.search(tiny_models.X, tiny_models.Y, epochs=4, verbose=0)
    check_scored(tuner, rule)


@pytest.mark.parametrize(
    ("kind", "several", "rule"),
    [
        (Curved, {"cv_folds": 3}, "common"),
        (CurvedInTurn, {"executions_per_trial": 3}, "best"),
    ],
)
def test_folds_have_a_common_epoch_and_executions_their_own_unless_one_says_so(
    project, kind, several, rule
):
    tuner = gk.RayTuner(
        kind(), gk.Objective("val_loss", "min"), 1, executor="inline", **several, **project
    )
    tuner.search(tiny_models.X, tiny_models.Y, epochs=4, verbose=0)
    check_scored(tuner, rule)


def test_the_tables_that_people_read_say_of_which_epoch_weights_are(project, capsys):
    tuner = gk.RayTuner(
        Curved(), gk.Objective("val_loss", "min"), 1, cv_folds=3, executor="inline", **project
    )
    tuner.search(tiny_models.X, tiny_models.Y, epochs=4, verbose=0)
    capsys.readouterr()
    tuner.results_summary()
    heading = next(line for line in capsys.readouterr().out.splitlines() if "best_epoch" in line)
    assert "weights_epoch" in heading
    assert "weights_<wbr>epoch" in tuner.oracle.get_best_trials()[0]._repr_html_()
    assert "3 folds, scored at a common epoch" in search_in_words(tuner._glimr.read())
    (trial,) = tuner.to_study().trials
    assert (trial.user_attrs["best_epoch"], trial.user_attrs["weights_epoch"]) == (3, 1)
    for table in (tuner.results_dataframe(), gk.experiment_table(tuner)):
        assert stored_tables.project_of(table).trials["0"].score == 3.0


def test_another_choice_of_epochs_is_another_search(project):
    for count, rule in ((1, "common"), (2, "last")):
        tuner = gk.RayTuner(
            tiny_models.build,
            "val_loss",
            count,
            cv_folds=3,
            score_at=rule,
            executor="inline",
            **project,
        )
        if rule == "common":
            searched(tuner)
            continue
        with pytest.raises(ProjectError, match="score_at was common, is last"):
            searched(tuner)


def test_a_project_keeps_its_choice_of_epochs_where_none_is_given(project):
    for count, rule in ((1, "best"), (2, None)):
        tuner = gk.RayTuner(
            tiny_models.build,
            "val_loss",
            count,
            cv_folds=2,
            score_at=rule,
            executor="inline",
            **project,
        )
        searched(tuner)
    assert tuner._glimr.read().score_at == "best"
    assert tuner.results_dataframe()["score"].notna().all()
    assert "weights_epoch" not in tuner.results_dataframe()


def test_a_fold_that_ends_early_bounds_the_common_epoch(project):
    """Keras' own early stopping, in one of the folds."""

    class Ends(Curved):
        def fit(self, config, model, *args, epochs, **kwargs):
            super().fit(config, model, epochs=2 if config.fold == 2 else epochs, **kwargs)

    tuner = gk.RayTuner(
        Ends(), gk.Objective("val_loss", "min"), 1, cv_folds=3, executor="inline", **project
    )
    tuner.search(tiny_models.X, tiny_models.Y, epochs=4, verbose=0)
    (trial,) = tuner.oracle.get_best_trials()
    assert [each.best_epoch for each in trial.executions.values()] == [1, 1, 1]
    assert len(trial.executions[0].history) == 4


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        (lambda history: None, [4.0, 2.0, 3.0]),
        (lambda history: {"val_loss": min(history)}, [1.0, 1.0, 3.0]),
        (min, [1.0, 1.0, 3.0]),
    ],
    ids=["nothing", "dict", "number"],
)
def test_a_score_that_ones_own_fit_returns_stays(project, returned, expected):
    class Returns(Curved):
        def fit(self, config, model, *args, **kwargs):
            super().fit(config, model, *args, **kwargs)
            return returned(CURVES[config.fold])

    tuner = gk.RayTuner(
        Returns(), gk.Objective("val_loss", "min"), 1, cv_folds=3, executor="inline", **project
    )
    tuner.search(tiny_models.X, tiny_models.Y, epochs=4, verbose=0)
    (trial,) = tuner.oracle.get_best_trials()
    assert [each.score for each in trial.executions.values()] == expected


def test_a_run_trial_of_ones_own_that_calls_the_tuners_is_scored_alike(project):
    class Own(gk.RayTuner):
        def run_trial(self, trial, *args, **kwargs):
            return super().run_trial(trial, *args, **kwargs)

    tuner = Own(
        Curved(), gk.Objective("val_loss", "min"), 1, cv_folds=3, executor="inline", **project
    )
    tuner.search(tiny_models.X, tiny_models.Y, epochs=4, verbose=0)
    check_scored(tuner, "common")


@pytest.mark.parametrize("score_at", ["first", 3, ["best"]])
def test_bad_choices_of_epochs(project, score_at):
    with pytest.raises(ValueError, match="`score_at` must be one of"):
        gk.RayTuner(tiny_models.build, "val_loss", score_at=score_at, **project)


# On Ray


@pytest.mark.parametrize("rule", ["best", "common", "last"])
def test_on_ray_a_trial_is_scored_at_the_same_epochs(local_ray, project, rule):
    tuner = gk.RayTuner(
        Curved(),
        gk.Objective("val_loss", "min"),
        1,
        score_at=rule,
        cv_folds=3,
        executor="ray",
        **project,
    )
    tuner.search(tiny_models.X, tiny_models.Y, epochs=4, verbose=0)
    check_scored(tuner, rule)


class Ranked(gk.HyperModel):
    """Scores by the number of units alone, except that all is harder in later folds."""

    def build(self, config):
        return tiny_models.build(config)

    def fit(self, config, model, *args, callbacks, epochs, initial_epoch=0, **kwargs):
        logs = {"val_loss": config["units"] + 100.0 * config.fold}
        tiny_models.train_by_hand(model, callbacks, epochs, lambda epoch: logs, initial_epoch)


def test_folds_run_side_by_side_in_warm_workers(local_ray, project):
    tuner = searched(gk.RayTuner(tiny_models.build, "val_loss", 3, cv_folds=2, seed=0, **project))
    results = tuner.results_dataframe()
    assert list(results["status"]) == ["COMPLETED"] * 3
    assert results[["fold0_score", "fold1_score"]].notna().all(axis=None)
    inline = gk.RayTuner(
        tiny_models.build,
        "val_loss",
        3,
        cv_folds=2,
        seed=0,
        executor="inline",
        directory=project["directory"],
    )
    assert searched(inline).results_dataframe()["units"].tolist() == results["units"].tolist()


@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.*")
@pytest.mark.parametrize(
    "scheduler",
    [
        schedulers.ASHAScheduler("training_iteration", max_t=4, grace_period=1, reduction_factor=3),
        schedulers.MedianStoppingRule("training_iteration", grace_period=1, min_samples_required=2),
        schedulers.HyperBandScheduler(max_t=3, reduction_factor=3),
        schedulers.PopulationBasedTraining(
            "training_iteration",
            perturbation_interval=2,
            hyperparam_mutations={"learning_rate": tune.loguniform(1e-3, 1e-1)},
        ),
    ],
    ids=["asha", "median", "hyperband", "pbt"],
)
def test_a_scheduler_compares_a_fold_with_the_same_fold_of_others(local_ray, project, scheduler):
    tuner = gk.RayTuner(
        Ranked(),
        gk.Objective("val_loss", "min"),
        5,
        cv_folds=2,
        seed=0,
        scheduler=scheduler,
        **project,
    )
    tuner.search(tiny_models.X, tiny_models.Y, epochs=4, verbose=0)
    results = tuner.results_dataframe()
    assert len(results) == 5
    assert set(results["status"]) <= {"COMPLETED", "STOPPED"}
    best = gk.experiment_table(tuner)
    best = best[best["trial_id"] == results.loc[results["score"].idxmin(), "trial_id"]]
    longest = best.groupby("cv_index")["training_iteration"].max()
    assert longest[1] >= 3  # as hard as it is, it was compared with its like
    if not isinstance(scheduler, schedulers.PopulationBasedTraining):
        expected = results["units"] + 50
        assert results["score"].to_numpy() == pytest.approx(expected.to_numpy())


@pytest.mark.parametrize("search_alg", [OptunaSearch(seed=0)], ids=["optuna"])
def test_searchers_are_told_the_mean(local_ray, project, search_alg):
    tuner = gk.RayTuner(
        Ranked(),
        gk.Objective("val_loss", "min"),
        4,
        cv_folds=3,
        seed=0,
        search_alg=search_alg,
        **project,
    )
    tuner.search(tiny_models.X, tiny_models.Y, epochs=1, verbose=0)
    results = tuner.results_dataframe()
    assert results["score"].to_numpy() == pytest.approx((results["units"] + 100).to_numpy())


@pytest.mark.parametrize("kind", [gk.GridSearch, gk.BayesianOptimization, gk.Hyperband])
def test_every_named_tuner(project, kind):
    budget = {"max_epochs": 2, "factor": 2} if kind is gk.Hyperband else {"max_trials": 3}
    tuner = kind(
        Ranked(),
        gk.Objective("val_loss", "min"),
        cv_folds=3,
        seed=0,
        executor="inline",
        **budget,
        **project,
    )
    tuner.search(tiny_models.X, tiny_models.Y, epochs=1, verbose=0)
    assert {trial.message for trial in tuner._glimr.read().trials.values()} == {None}
    assert tuner.results_dataframe()[["fold0_score", "fold2_score"]].notna().all(axis=None)
