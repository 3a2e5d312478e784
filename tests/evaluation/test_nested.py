"""Searches repeated in outer folds."""

import json
import warnings

import keras
import numpy as np
import pytest
from ray import tune

import glimr_keras as gk
from glimr_keras.errors import ProjectError
from tests.tiny_models import X, Y, build, compiled

SIZE = len(X)
NUMBERED = np.concatenate([X[:, :5], np.arange(SIZE, dtype="float32")[:, None] / SIZE], axis=1)
"""The samples with their positions, by which they are known again."""


def positions(x):
    return set(np.rint(np.asarray(x)[:, 5] * SIZE).astype(int).tolist())


class Recording(gk.HyperModel):
    """Remembers which samples each training got."""

    def __init__(self):
        super().__init__()
        self.trained, self.validated = [], []

    def build(self, config):
        return build(config)

    def fit(self, config, model, x, y, **kwargs):
        self.trained.append(positions(x))
        self.validated.append(
            positions(kwargs["validation_data"][0]) if "validation_data" in kwargs else None
        )
        assert len(x) == len(y) == len(kwargs.get("sample_weight", y))
        return model.fit(x, y, **kwargs)


def maker(hypermodel=build, max_trials=2, **given):
    def make(**where):
        settings = {"cv_folds": 2, "seed": 3, "executor": "inline", **given, **where}
        return gk.RandomSearch(hypermodel, "val_accuracy", max_trials=max_trials, **settings)

    return make


def nested(make, project, outer_folds=2, **given):
    return gk.nested_cross_validation(
        make, NUMBERED, Y, outer_folds, **{"epochs": 1, "verbose": 0, **project, **given}
    )


def test_what_is_scored_was_neither_searched_nor_trained_with(project):
    hypermodel = Recording()
    result = nested(maker(hypermodel), project, sample_weight=np.ones(SIZE))
    unseen = [set(np.flatnonzero(result.assignment == fold).tolist()) for fold in range(2)]
    assert unseen[0] | unseen[1] == set(range(SIZE))
    runs = len(hypermodel.trained) // 2
    for fold in range(2):
        trained = hypermodel.trained[fold * runs : (fold + 1) * runs]
        validated = hypermodel.validated[fold * runs : (fold + 1) * runs]
        seen = set(range(SIZE)) - unseen[fold]
        for one, other in zip(trained, validated, strict=True):
            assert one | (other or set()) <= seen
        assert trained[-1] == seen  # the final training has them all
        assert validated[-1] is None


def test_the_table_has_each_outer_fold(project):
    result = nested(maker(), project)
    table = result.to_frame()
    assert list(table) == [
        "fold", "reported", "score", "epochs", "trial_id", "samples", "units", "learning_rate",
    ]  # fmt: skip
    assert table["samples"].sum() == SIZE
    assert result.score == pytest.approx(table["score"].mean())
    assert result.standard_error == pytest.approx(abs(np.diff(table["score"])[0]) / 2)
    assert f"{result.score:.4g}" in str(result)
    for each in result.folds:
        tuner = gk.RayTuner.open(project["directory"] / "project" / f"outer_{each.fold}")
        best = tuner.results_dataframe().iloc[0]
        assert (best["trial_id"], best["score"]) == (each.trial_id, each.reported)


def test_scores_are_those_of_the_models_on_the_unseen_part(project):
    models = []

    class Remembering(gk.RandomSearch):
        def refit(self, *args, **kwargs):
            models.append(super().refit(*args, **kwargs))
            return models[-1]

    def make(**where):
        settings = {"cv_folds": 2, "seed": 3, "executor": "inline"}
        return Remembering(build, "val_accuracy", max_trials=1, **settings, **where)

    result = nested(make, project, seeds=2)
    for each, model in zip(result.folds, models, strict=True):
        unseen = result.assignment == each.fold
        predicted = model.predict(NUMBERED[unseen], verbose=0).argmax(axis=1)
        assert each.score == pytest.approx((predicted == Y[unseen]).mean())
        assert len(model.models) == 2


def test_it_goes_on_where_it_was_interrupted(project):
    made = []

    def broken(**where):
        made.append(where["project_name"])
        if made == ["outer_0", "outer_1"]:
            raise KeyboardInterrupt
        return maker()(**where)

    with pytest.raises(KeyboardInterrupt):
        nested(broken, project)
    hypermodel = Recording()
    result = nested(maker(hypermodel), project)
    first = set(np.flatnonzero(result.assignment == 0).tolist())
    assert hypermodel.trained
    for trained in hypermodel.trained:  # of the second outer fold only
        assert first & trained
    again = Recording()
    assert str(nested(maker(again), project)) == str(result)
    assert again.trained == []


def test_more_trials_are_run_and_what_they_find_is_trained(project):
    first = nested(maker(max_trials=1), project)
    hypermodel = Recording()
    second = nested(maker(hypermodel, max_trials=3), project)
    assert hypermodel.trained
    for before, after in zip(first.folds, second.folds, strict=True):
        assert after.reported >= before.reported
        if after.trial_id == before.trial_id:
            assert after == before


def test_groups_are_on_one_side_of_each_split(project):
    hypermodel = Recording()
    groups = np.arange(SIZE) // 4
    result = nested(maker(hypermodel), project, groups=groups)
    for group in np.unique(groups):
        assert len(np.unique(result.assignment[groups == group])) == 1
    for trained, validated in zip(hypermodel.trained, hypermodel.validated, strict=True):
        of = [{position // 4 for position in side} for side in (trained, validated or set())]
        assert not of[0] & of[1]


def test_given_folds_and_classes_are_used(project):
    folds = np.arange(SIZE) % 3
    result = nested(maker(), project, 3, folds=folds, stratify=np.arange(SIZE) % 2)
    np.testing.assert_array_equal(result.assignment, folds)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 1}, "other assignment"),
        ({"outer_folds": 3}, "other assignment"),
        ({"y": 1 - Y}, "other labels"),
        ({"x": -NUMBERED}, "other inputs"),
        ({"x": NUMBERED[:80], "y": Y[:80]}, "other samples"),
        ({"sample_weight": np.ones(SIZE)}, "other weights"),
        ({"epochs": 2}, "other arguments"),
        ({"class_weight": {0: 1.0, 1: 2.0}}, "other arguments"),
    ],
)
def test_another_cross_validation_does_not_take_its_place(project, change, named):
    given = {"x": NUMBERED, "y": Y, "outer_folds": 2, "epochs": 1, "verbose": 0, **project}
    gk.nested_cross_validation(maker(max_trials=1), **given)
    file = project["directory"] / "project" / "nested.json"
    before = file.read_bytes()
    with pytest.raises(ProjectError, match=named):
        gk.nested_cross_validation(maker(max_trials=1), **{**given, **change})
    assert file.read_bytes() == before


def test_a_damaged_description_is_named(project):
    file = project["directory"] / "project" / "nested.json"
    file.parent.mkdir()
    file.write_text("{")
    with pytest.raises(ProjectError, match=r"nested\.json is damaged"):
        nested(maker(), project)
    file.write_text(json.dumps([]))
    with pytest.raises(ProjectError, match="other version"):
        nested(maker(), project)


def test_a_tuner_elsewhere_is_refused(project, tmp_path):
    def make(**where):
        return maker()(directory=tmp_path / "elsewhere", project_name="other")

    with pytest.raises(ValueError, match=r"must pass both on.*outer_0"):
        nested(make, project)


@pytest.mark.parametrize("wrong", [{"outer_folds": 1}, {"outer_folds": 2.0}, {"seeds": 0}])
def test_counts_are_checked(project, wrong):
    name = next(iter(wrong))
    with pytest.raises(ValueError, match=name):
        gk.nested_cross_validation(maker(), NUMBERED, Y, **wrong, **project)


@pytest.mark.parametrize(
    ("make", "given", "named"),
    [
        (maker(cv_folds=None), {"groups": np.arange(SIZE) // 4}, "`groups`.*cv_folds=None"),
        (maker(), {"directory": "gs://bucket/runs"}, "local path.*gs://bucket/runs"),
        (
            lambda **where: gk.RandomSearch(build, "accuracy", max_trials=1, cv_folds=2, **where),
            {},
            r"objective of validation data.*\['accuracy'\]",
        ),
    ],
)
def test_what_cannot_be_scored_is_refused_before_any_search(project, make, given, named):
    with pytest.raises(ValueError, match=named):
        nested(make, {**project, **given})
    assert not (project["directory"] / "project" / "nested.json").exists()


def test_a_search_without_a_score_is_named_with_its_fold(project):
    class Failing(gk.HyperModel):
        def build(self, config):
            return build(config)

        def fit(self, config, model, *args, **kwargs):
            raise gk.FailedTrialError("not today")

    with pytest.raises(ProjectError, match=r"(?s)In outer fold 0, no trial.*not today"):
        nested(maker(Failing(), max_trials=1), project)


def test_callbacks_of_the_final_training_are_given_apart(project):
    class Counting(keras.callbacks.Callback):
        epochs = 0

        def on_epoch_end(self, epoch, logs=None):
            Counting.epochs += 1

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        nested(maker(max_trials=1), project, callbacks=[keras.callbacks.Callback()])
    assert any("refit_kwargs" in str(warning.message) for warning in seen)
    nested(
        maker(max_trials=1),
        {**project, "project_name": "other"},
        callbacks=[keras.callbacks.Callback()],
        refit_kwargs={"callbacks": [Counting()]},
    )
    assert Counting.epochs == 2


def test_models_may_have_models_and_metrics_may_be_functions(project):
    class Parted(keras.Model):
        def __init__(self):
            super().__init__()
            self.models = [keras.layers.Dense(2, "softmax")]

        def call(self, inputs):
            return self.models[0](inputs)

    def parted(config):
        config.Int("units", 1, 2)
        return compiled(Parted())

    def accuracy(labels, outputs):
        return np.mean(outputs.argmax(axis=1) == labels)

    first = nested(maker(parted, max_trials=1), project)
    second = nested(
        maker(parted, max_trials=1), {**project, "project_name": "other"}, metric=accuracy
    )
    assert [each.score for each in second.folds] == pytest.approx(
        [each.score for each in first.folds]
    )


def test_a_pipeline_is_refused(project):
    import tensorflow as tf

    dataset = tf.data.Dataset.from_tensor_slices((NUMBERED, Y)).batch(8)
    with pytest.raises(ValueError, match=r"arrays"):
        gk.nested_cross_validation(maker(), dataset, None, 2, **project)


def test_one_task_has_labels_by_name(project):
    space = {
        "tasks": {
            "label": {
                "loss": {"name": "sparse_categorical_crossentropy"},
                "loss_weight": 1.0,
                "metrics": {"name": "accuracy", "metric": "sparse_categorical_accuracy"},
            }
        },
        "optimization": gk.optimization_space(epochs=1),
        "units": tune.choice([2, 3]),
    }

    def two_classes(config):
        inputs = keras.Input((6,))
        outputs = keras.layers.Dense(2, "softmax", name="label")(inputs)
        return keras.Model(inputs, {"label": outputs})

    def make(**where):
        return gk.RandomSearch(
            two_classes,
            gk.Objective("val_label_accuracy", "max"),
            max_trials=1,
            cv_folds=2,
            space=space,
            executor="inline",
            **where,
        )

    result = gk.nested_cross_validation(
        make, NUMBERED, {"label": Y}, 2, epochs=1, verbose=0, **project
    )
    assert all(0 <= each.score <= 1 for each in result.folds)
