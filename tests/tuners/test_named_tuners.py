"""The named tuners, end to end: what each finds, its arguments, several objectives, and learning
from other projects.
"""

import numpy as np
import pytest

import glimr_keras as gk
from glimr_keras.errors import ObjectiveError, ProjectError
from tests import tiny_models

SCORE = gk.Objective("score", "min")


class Bowl(gk.HyperModel):
    """A number, smallest at x = 0.3."""

    def run(self, config):
        return (config.Float("x", 0.0, 1.0) - 0.3) ** 2


class Compromise(gk.HyperModel):
    def run(self, config):
        x = config.Float("x", 0.0, 1.0)
        return {"accuracy": x, "size": x**2 + (0.5 if config.Boolean("wasteful") else 0.0)}


class Layers(gk.HyperModel):
    def run(self, config):
        return sum(
            config.Choice(f"units_{number}", [16, 32, 64])
            for number in range(config.Int("layers", 1, 3))
        )


def searched(kind, hypermodel, objective, directory, name="project", **options):
    tuner = kind(
        hypermodel,
        objective,
        directory=directory,
        project_name=name,
        seed=0,
        executor="inline",
        **options,
    )
    tuner.search(verbose=0)
    return tuner


def test_grid_search_trains_each_model_once_and_ends(tmp_path):
    table = searched(gk.GridSearch, Layers(), SCORE, tmp_path).results_dataframe()
    assert len(table) == 3 + 9 + 27
    columns = ["layers", "units_0", "units_1", "units_2"]
    assert not table[columns].astype(str).duplicated().any()
    assert (table["units_2"].notna() == (table["layers"] == 3)).all()


def test_bayesian_optimisation_beats_chance(tmp_path):
    table = searched(
        gk.BayesianOptimization, Bowl(), SCORE, tmp_path, max_trials=30
    ).results_dataframe()
    assert table["score"].min() < 1e-3
    scores = table.sort_values("trial_id")["score"].to_list()
    assert np.median(scores[15:]) < np.median(scores[:10])


def test_a_search_learns_from_another_project(tmp_path):
    earlier = searched(gk.BayesianOptimization, Bowl(), SCORE, tmp_path, "earlier", max_trials=25)
    tuner = searched(
        gk.BayesianOptimization,
        Bowl(),
        SCORE,
        tmp_path,
        "later",
        max_trials=3,
        num_initial_points=1,
        warm_start=[earlier],
    )
    assert len(tuner.results_dataframe()) == 3
    later = tuner.results_dataframe().set_index("trial_id").drop("0")
    assert later["score"].min() < 0.01  # the first one shows which hyperparameters there are


def test_only_a_search_that_learns_can_learn_from_another_project(tmp_path):
    earlier = searched(gk.RandomSearch, Bowl(), SCORE, tmp_path, "earlier", max_trials=2)
    with pytest.raises(
        ValueError,
        match=r"RandomSearchOracle does not. Give the best configurations as `initial_points`",
    ):
        searched(
            gk.RandomSearch, Bowl(), SCORE, tmp_path, max_trials=2, warm_start=[earlier.project_dir]
        )
    with pytest.raises(ProjectError, match="needs results of the same objective"):
        searched(
            gk.BayesianOptimization,
            Bowl(),
            gk.Objective("other", "min"),
            tmp_path,
            "third",
            warm_start=[earlier],
        )


def test_initial_points_are_the_first_trials(tmp_path):
    tuner = searched(gk.RandomSearch, Bowl(), SCORE, tmp_path, max_trials=3)
    points = [{"x": 0.5}, {"x": 0.25}]
    tuner = gk.RandomSearch(
        Bowl(),
        SCORE,
        3,
        directory=tmp_path,
        project_name="with",
        executor="inline",
        initial_points=points,
    )
    tuner.search(verbose=0)
    assert list(tuner.results_dataframe().sort_values("trial_id")["x"][:2]) == [0.5, 0.25]


def test_an_unknown_initial_point_is_refused_before_any_trial(tmp_path):
    def build(config):
        return tiny_models.build(config)

    tuner = gk.RandomSearch(
        build, "val_loss", directory=tmp_path, executor="inline", initial_points=[{"unit": 3}]
    )
    with pytest.raises(ValueError, match=r"unknown hyperparameter 'unit'. Did you mean 'units'\?"):
        tuner.search(*tiny_models.TRAIN, validation_data=tiny_models.VALIDATION, verbose=0)


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_several_objectives_give_a_pareto_front(tmp_path, sampler):
    objectives = [gk.Objective("accuracy", "max"), gk.Objective("size", "min")]
    tuner = searched(
        gk.BayesianOptimization, Compromise(), objectives, tmp_path, max_trials=40, sampler=sampler
    )
    table, front = tuner.results_dataframe(), tuner.pareto_front()
    assert 5 < len(front) < len(table)
    assert list(front.columns[:5]) == ["trial_id", "status", "score", "accuracy", "size"]
    assert front["accuracy"].is_monotonic_decreasing
    assert front["size"].is_monotonic_decreasing
    assert sampler != "tpe" or not front["wasteful"].any()
    assert front["score"].tolist() == pytest.approx((front["size"] - front["accuracy"]).tolist())
    tuner.results_summary(1)


def test_one_objective_has_a_front_of_its_best_trial(tmp_path):
    tuner = searched(gk.RandomSearch, Bowl(), SCORE, tmp_path, max_trials=5)
    assert list(tuner.pareto_front()["trial_id"]) == [
        tuner.results_dataframe().sort_values("score")["trial_id"].iloc[0]
    ]


def test_several_objectives_must_all_be_logged(tmp_path):
    tuner = gk.RandomSearch(
        tiny_models.build, ["val_accuracy", "val_los"], directory=tmp_path, executor="inline"
    )
    with pytest.raises(
        ObjectiveError,
        match=r"No metric of the compiled model is called 'val_los'. Did you mean 'val_loss'",
    ):
        tuner.search(*tiny_models.TRAIN, validation_data=tiny_models.VALIDATION, verbose=0)


def test_hyperband_inline_is_a_search_of_stages(tmp_path):
    tuner = gk.Hyperband(
        tiny_models.build,
        "val_loss",
        max_epochs=3,
        factor=3,
        directory=tmp_path,
        seed=0,
        executor="inline",
    )
    tuner.search(*tiny_models.TRAIN, validation_data=tiny_models.VALIDATION, verbose=0)
    table = tuner.results_dataframe()
    assert set(table["tuner/bracket"]) == {0, 1}
    assert (table["epochs"] == table["tuner/epochs"]).all()
    assert not list(tmp_path.rglob("latest"))
    assert len(tuner.get_best_models(2)) == 2
    assert "learning_rate" in tuner.get_best_hyperparameters()[0].values


def test_a_named_tuner_has_its_own_way_to_choose(project):
    for kind in (gk.RandomSearch, gk.GridSearch, gk.BayesianOptimization, gk.Hyperband):
        with pytest.raises(
            ValueError, match=rf"Unrecognized arguments \['search_alg'\] for {kind.__name__}\."
        ):
            kind(tiny_models.build, "val_loss", search_alg=object(), **project)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: gk.BayesianOptimization(tiny_models.build, "val_loss", sampler="annealing"),
            ValueError,
            "`sampler` must be",
        ),
        (
            lambda: gk.Hyperband(tiny_models.build, "val_loss", factor=1),
            ValueError,
            "The factor needs to be at least 2",
        ),
    ],
)
def test_arguments_are_checked_by_the_constructor(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_arguments_of_keras_tuners_gaussian_process_are_said_to_have_no_meaning():
    with pytest.warns(UserWarning, match="`alpha` and `beta` have no meaning here"):
        gk.BayesianOptimization(tiny_models.build, "val_loss", alpha=1e-3)
