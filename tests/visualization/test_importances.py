"""What matters, and so what is shown."""

import matplotlib.pyplot as plt
import optuna
import pytest
from optuna.importance import MeanDecreaseImpurityImportanceEvaluator

import glimr_keras as gk
from glimr_keras.errors import ProjectError
from glimr_keras.space.hp_types import Choice, Condition, Float
from glimr_keras.visualization.importances import chosen, param_importances, varied
from glimr_keras.visualization.scores import scores_of
from tests.visualization import made


@pytest.fixture(scope="module")
def scores():
    return scores_of(made.project(200, seed=1))


def test_what_sets_the_score_matters_most_and_all_is_one(scores):
    found = param_importances(scores)
    assert set(list(found)[:2]) == {"optimization/learning_rate", "units"}
    assert sum(found.values()) == pytest.approx(1)
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_the_figure_has_a_bar_for_each_that_was_varied(scores):
    ax = gk.visualization.plot_param_importances(scores.project)
    found = param_importances(scores, list(varied(scores)))
    assert [bar.get_width() for bar in ax.patches] == pytest.approx(list(found.values()))
    assert "seed" not in [text.get_text() for text in ax.get_yticklabels()]


def test_another_evaluator_and_some_hyperparameters(scores):
    from optuna.importance import FanovaImportanceEvaluator

    evaluator = FanovaImportanceEvaluator(n_trees=8, seed=0)
    names = ["dropout", "optimization/learning_rate"]
    ax = gk.visualization.plot_param_importances(scores.project, names, evaluator=evaluator)
    assert [text.get_text() for text in ax.get_yticklabels()] == names[::-1]
    plt.close("all")


CONDITIONAL = made.SPACE[7].name


def test_without_conditions_only_what_all_trials_have_is_judged_by_all(scores):
    evaluator = MeanDecreaseImpurityImportanceEvaluator(n_trees=8, seed=0)
    ax = gk.visualization.plot_param_importances(scores.project, evaluator=evaluator)
    names = [text.get_text() for text in ax.get_yticklabels()]
    assert set(names) == set(varied(scores)) - {CONDITIONAL}
    first, second = ax.get_xlabel().split("\n")
    assert first == f"importance for val_accuracy in {scores.ended.sum()} trials (sum 1)"
    assert second.startswith("without optimization/sgd_mom")
    found = param_importances(scores, evaluator=evaluator)
    assert set(found) == set(names) | {"seed"}


def test_a_conditional_one_that_is_asked_for_is_judged_by_the_trials_that_have_it(scores):
    evaluator = MeanDecreaseImpurityImportanceEvaluator(n_trees=8, seed=0)
    names = ["dropout", CONDITIONAL]
    ax = gk.visualization.plot_param_importances(scores.project, names, evaluator=evaluator)
    have = [
        trial
        for trial, has_ended in zip(scores.trials, scores.ended, strict=True)
        if has_ended and CONDITIONAL in trial.values
    ]
    assert 0 < len(have) < scores.ended.sum()
    assert ax.get_xlabel() == f"importance for val_accuracy in {len(have)} trials (sum 1)"
    ax = gk.visualization.plot_param_importances(scores.project, names)
    assert f"in {scores.ended.sum()} trials" in ax.get_xlabel()


def test_ped_anova_of_an_earlier_optuna_knows_no_conditions(scores, monkeypatch):
    monkeypatch.setattr(optuna, "__version__", "4.5.0")
    ax = gk.visualization.plot_param_importances(scores.project)
    assert len(ax.get_yticklabels()) == len(varied(scores)) - 1
    assert "\nwithout" in ax.get_xlabel()


def test_what_no_trial_has_together_is_an_error():
    space = [
        Choice("net", ["a", "b"]),
        Float("one", 0, 1, conditions=(Condition("net", ("a",)),)),
        Float("two", 0, 1, conditions=(Condition("net", ("b",)),)),
    ]
    evaluator = MeanDecreaseImpurityImportanceEvaluator(n_trees=8, seed=0)
    with pytest.raises(ProjectError, match="no trial has all of one, two"):
        gk.visualization.plot_param_importances(
            made.project(20, space), ["one", "two"], evaluator=evaluator
        )
    project = made.project(20, space)
    del next(iter(project.trials.values())).values["net"]
    with pytest.raises(ProjectError, match="no hyperparameter is there in all trials"):
        gk.visualization.plot_param_importances(project, evaluator=evaluator)


def test_a_name_is_that_of_all_branches_that_have_it():
    space = [Choice("net", ["a", "b"]), Float("rate", 0, 1, conditions=(Condition("net", ("a",)),))]
    late = [Float("rate", 1, 2, conditions=(Condition("net", ("b",)),))]
    project = made.project(20, [*space, *late])
    project.space, project.late_space = project.space[:2], project.space[2:]
    names = [each.name for each in chosen(scores_of(project), ["rate"])]
    assert names == ["rate", "rate (net=b)"]


def test_stopped_trials_count_as_worse_than_completed_ones():
    """The rate says which are stopped, and the score of those that completed says nothing of it."""
    project = made.project(60, space=made.SPACE[:1] + made.SPACE[3:4])
    for trial in project.trials.values():
        is_good = trial.values["optimization/learning_rate"] > 10**-1.5
        trial.status = "COMPLETED" if is_good else "STOPPED"
        trial.executions[0].score = 0.5 + trial.values["dropout"] / 100 if is_good else 0.9
    before = [trial.score for trial in project.trials.values()]
    found = param_importances(scores_of(project))
    assert found["optimization/learning_rate"] > 0.3
    assert [trial.score for trial in project.trials.values()] == before
    ax = gk.visualization.plot_param_importances(project)
    assert ax.get_xlabel() == "importance for val_accuracy in 60 trials (sum 1)"


def test_several_objectives_have_the_importances_of_their_sum():
    scores = scores_of(made.two_objectives(100))
    assert next(iter(param_importances(scores))) == "units"


def test_of_too_many_the_most_important_are_shown(scores):
    assert [each.name for each in chosen(scores, None, 3)] == list(param_importances(scores))[:3]
    assert len(chosen(scores, None, 8)) == 8
    assert [each.name for each in chosen(scores, None, 8)] == list(varied(scores))


def test_of_too_many_without_a_difference_the_first_are_shown():
    scores = scores_of(made.project(20, constant=0.5))
    names = [each.name for each in chosen(scores, None, 2)]
    assert names == ["optimization/learning_rate", "units"]


def test_names_may_be_given_in_any_order_once_or_as_one(scores):
    assert [each.name for each in chosen(scores, ["units", "dropout", "units"])] == [
        "units",
        "dropout",
    ]
    assert [each.name for each in chosen(scores, "seed")] == ["seed"]


def test_an_unknown_name_is_answered_with_the_nearest(scores):
    with pytest.raises(ValueError, match=r"Received: 'droput'. Did you mean 'dropout'\?"):
        gk.visualization.plot_slice(scores.project, ["droput"])


def test_a_pair_needs_two(scores):
    with pytest.raises(ValueError, match=r"at least 2 hyperparameters. Received: params=\['units'"):
        gk.visualization.plot_contour(scores.project, ["units"])
    one = made.project(20, space=made.SPACE[:1])
    with pytest.raises(ProjectError, match=r"only optimization/learning_rate had several values"):
        gk.visualization.plot_rank(one)


def test_without_a_difference_nothing_matters():
    with pytest.raises(ProjectError, match="all trials have the same score"):
        gk.visualization.plot_param_importances(made.project(20, constant=0.5))
