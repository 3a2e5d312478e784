"""Estimates and out-of-fold predictions of real searches."""

import keras
import numpy as np
import pytest

import glimr_keras as gk
from glimr_keras.errors import ObjectiveError, ProjectError
from tests.tiny_models import TRAIN, VALIDATION, X, Y, build, compiled

SIZE = len(X)


def searched(project, hypermodel=build, objective="val_accuracy", trials=3, fit=None, **given):
    settings = {"seed": 4, "executor": "inline", "keep_predictions": True, "cv_folds": 3}
    tuner = gk.RandomSearch(
        hypermodel, objective, max_trials=trials, **{**settings, **project, **given}
    )
    tuner.search(X, Y, epochs=3, verbose=0, **(fit or {}))
    return tuner


@pytest.fixture(scope="module")
def tuner(tmp_path_factory):
    """After a search; it is only read."""
    return searched({"directory": tmp_path_factory.mktemp("runs"), "project_name": "shared"})


def test_an_estimate_is_of_all_trials(tuner):
    found = tuner.estimate(resamples=200)
    assert (found.trials, found.samples, found.objective) == (3, SIZE, "val_accuracy")
    assert found.reported == tuner.oracle.get_best_trials()[0].score
    assert found.low <= found.score <= found.high
    assert found.bias == pytest.approx(found.reported - found.score)
    assert found.scores.shape == (200,)
    assert f"{found.score:.4g}" in str(found)
    assert "best of 3 trials on 96 samples" in str(found)
    again = tuner.estimate(resamples=200)
    np.testing.assert_array_equal(again.scores, found.scores)
    assert tuner.estimate(resamples=200, seed=1).score != found.score
    narrow = tuner.estimate(resamples=200, confidence=0.5)
    assert found.low < narrow.low < narrow.high < found.high


def test_a_project_that_is_opened_has_the_same(tuner):
    opened = gk.RayTuner.open(tuner.project_dir, build)
    assert opened.estimate(resamples=50).score == tuner.estimate(resamples=50).score


def test_a_metric_of_ones_own_computes_the_objective(tuner):
    def accuracy(labels, predictions):
        return np.mean(predictions.argmax(axis=1) == labels)

    np.testing.assert_allclose(
        tuner.estimate(accuracy, resamples=20).scores, tuner.estimate(resamples=20).scores
    )


def test_without_folds_it_is_of_the_validation_data(project):
    settings = {"seed": 4, "executor": "inline", "keep_predictions": True}
    tuner = gk.RandomSearch(build, "val_loss", max_trials=2, **settings, **project)
    tuner.search(*TRAIN, validation_data=VALIDATION, epochs=2, verbose=0)
    found = tuner.estimate(resamples=50)
    assert found.samples == len(VALIDATION[0])
    assert found.bias == pytest.approx(found.score - found.reported)  # less is better


def test_groups_are_drawn_whole(project):
    groups = np.arange(SIZE) // 24
    tuner = searched(project, trials=1, fit={"groups": groups, "stratify": None}, cv_folds=2)
    found = tuner.estimate(resamples=300)
    # of two groups in a fold, either both are drawn or one of them, twice
    assert len(np.unique(found.scores[~np.isnan(found.scores)])) <= 9


def test_penalties_are_warned_of(project):
    def penalised(config):
        inputs = keras.Input((6,))
        hidden = keras.layers.Dense(
            config.Int("units", 2, 4), kernel_regularizer=keras.regularizers.L2(1.0)
        )(inputs)
        return compiled(keras.Model(inputs, keras.layers.Dense(2, "softmax")(hidden)))

    tuner = searched(project, penalised, "val_loss", trials=1)
    with pytest.warns(UserWarning, match=r"penalties of weights are no part of it"):
        tuner.estimate(resamples=10)


def test_trials_whose_predictions_were_not_kept_are_named(project):
    tuner = searched(project, trials=1, cv_folds=2, keep_predictions=False)
    for ask in (tuner.estimate, tuner.out_of_fold_predictions):
        with pytest.raises(ProjectError, match=r"No predictions were kept.*keep_predictions=True"):
            ask()


def test_trials_with_other_validation_samples_are_refused(project):
    class Shifting(gk.HyperModel):
        def data(self, config):
            shift = config.Int("shift", 0, 30)
            return TRAIN, (X[shift : shift + 30], Y[shift : shift + 30])

        def build(self, config):
            return build(config)

    settings = {"seed": 4, "executor": "inline", "keep_predictions": True}
    tuner = gk.RandomSearch(Shifting(), "val_accuracy", max_trials=3, **settings, **project)
    tuner.search(epochs=1, verbose=0)
    with pytest.raises(ProjectError, match=r"same validation samples.*of trial"):
        tuner.estimate()
    assert tuner.out_of_fold_predictions().predictions.shape == (30, 2)


@pytest.mark.parametrize(
    "wrong", [{"resamples": 0}, {"resamples": 1.5}, {"confidence": 1.0}, {"confidence": 0}]
)
def test_arguments_are_checked(tuner, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        tuner.estimate(**wrong)


def test_an_objective_that_predictions_do_not_have_needs_a_metric(project):
    class Noted(gk.HyperModel):
        def build(self, config):
            return build(config)

        def fit(self, config, model, *args, callbacks=(), **kwargs):
            note = keras.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs: logs.update(val_other=0.5 + logs["val_accuracy"])
            )
            return model.fit(*args, callbacks=[note, *callbacks], **kwargs)

    tuner = searched(project, Noted(), gk.Objective("val_other", "max"), trials=1)
    with pytest.raises(ObjectiveError, match=r"val_other.*Give `metric=`"):
        tuner.estimate()
    found = tuner.estimate(
        lambda labels, outputs: 0.5 + np.mean(outputs.argmax(axis=1) == labels), resamples=5
    )
    assert found.score > 0.5


@pytest.mark.parametrize("score_at", ["best", "common", "last"])
def test_predictions_are_in_the_order_of_the_samples_and_of_the_scored_epochs(project, score_at):
    tuner = searched(project, trials=1, score_at=score_at)
    found = tuner.out_of_fold_predictions()
    assert found.predictions.shape == (SIZE, 2)
    np.testing.assert_array_equal(found.samples, np.arange(SIZE))
    np.testing.assert_array_equal(found.labels, Y)
    right = found.predictions.argmax(axis=1) == Y
    scores = [right[found.folds == fold].mean() for fold in range(3)]
    assert np.mean(scores) == pytest.approx(tuner.oracle.get_best_trials()[0].score)


def test_several_trainings_of_a_fold_are_averaged(project):
    tuner = searched(project, trials=2, executions_per_trial=2, cv_folds=2)
    found = tuner.out_of_fold_predictions()
    assert found.predictions.shape == (SIZE, 2)
    np.testing.assert_allclose(found.predictions.sum(axis=1), 1, rtol=1e-5)
    assert tuner.estimate(resamples=20).samples == SIZE


def test_any_trial_can_be_asked_for(tuner):
    worst = tuner.oracle.get_best_trials(3)[-1]
    found = tuner.out_of_fold_predictions(worst.trial_id)
    right = found.predictions.argmax(axis=1) == Y
    assert np.mean([right[found.folds == fold].mean() for fold in range(3)]) == pytest.approx(
        worst.score
    )
    with pytest.raises(ProjectError, match="trial_id='99'"):
        tuner.out_of_fold_predictions("99")


def test_outputs_and_labels_may_be_by_name(project):
    def two(config):
        inputs = keras.Input((6,))
        outputs = {
            "label": keras.layers.Dense(2, "softmax", name="label")(inputs),
            "sum": keras.layers.Dense(1, name="sum")(inputs),
        }
        model = keras.Model(inputs, outputs)
        losses = {"label": "sparse_categorical_crossentropy", "sum": "mse"}
        rate = config.Float("rate", 1e-3, 1e-1)
        model.compile(
            keras.optimizers.Adam(rate), losses, metrics={"label": ["accuracy"]}, run_eagerly=True
        )
        return model

    tuner = gk.RandomSearch(
        two,
        "val_label_accuracy",
        max_trials=2,
        cv_folds=2,
        keep_predictions=True,
        executor="inline",
        **project,
    )
    tuner.search(X, {"label": Y, "sum": X.sum(axis=1)}, epochs=2, verbose=0)
    found = tuner.out_of_fold_predictions()
    assert {name: array.shape for name, array in found.predictions.items()} == {
        "label": (SIZE, 2),
        "sum": (SIZE, 1),
    }
    np.testing.assert_array_equal(found.labels["label"], Y)
    assert 0 <= tuner.estimate(resamples=10).score <= 1
