"""What one trial does: configuration, data, build, fit, reports, and how it fails."""

import dataclasses
import json
import math
import pathlib
import re
import shutil
import time
import warnings
import zlib

import keras
import numpy as np
import pytest
from ray import tune

import glimr_keras as gk
from glimr_keras.models.configuration import configuration
from glimr_keras.models.data import FitArguments
from glimr_keras.models.hypermodel import as_hypermodel
from glimr_keras.project import checkpoints, model_weights, training_states
from glimr_keras.space.declared_space import DeclaredSpace
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.training.context import TrialContext
from glimr_keras.training.discovery import probe
from glimr_keras.training.keras_session import Session
from glimr_keras.training.messages import ExecutionSpec
from glimr_keras.training.run_trial import run_trial
from glimr_keras.training.trial_loop import loop_of
from glimr_keras.tuners.run_trial_parts import SaveBestEpoch
from tests import tiny_models

ARGUMENTS = FitArguments(
    tiny_models.TRAIN, {"validation_data": tiny_models.VALIDATION, "epochs": 3}
)


@pytest.fixture
def run(tmp_path):
    return ExecutionSpec("0000", 0, {"units": 4}, (1, 2), str(tmp_path / "trial"))


def context(hypermodel, objective=("val_loss", "min"), arguments=ARGUMENTS, space=None):
    made = as_hypermodel(hypermodel)
    objective, loop = gk.Objective(*objective), loop_of(made)
    return TrialContext(made, DeclaredSpace(space), objective, arguments, loop=loop)


def reports_of(context, run):
    """Runs a trial and returns what it reported; what the trial says of a failure is shown if the
    test fails.
    """
    reports = []
    run_trial(context, run, reports.append)
    print(reports[-1].outcome.message)
    return reports


def outcome_of(context, run):
    return reports_of(context, run)[-1].outcome


class Returns(gk.HyperModel):
    """A custom `fit` that trains nothing and returns what it is given."""

    def __init__(self, value):
        self.value = value

    def build(self, config):
        return tiny_models.build(config)

    def fit(self, config, model, *args, **kwargs):
        return self.value


def test_a_trial_reports_every_epoch_once_and_its_outcome_with_the_last(run):
    reports = reports_of(context(tiny_models.build), run)
    assert [report.epoch for report in reports] == [1, 2, 3]
    assert [report.outcome is None for report in reports] == [True, True, False]
    assert all(
        {"loss", "accuracy", "val_loss", "val_accuracy"} == set(report.metrics)
        for report in reports
    )


def test_the_score_is_the_objective_at_the_best_epoch(run):
    reports = reports_of(context(tiny_models.build), run)
    losses = [report.metrics["val_loss"] for report in reports]
    outcome = reports[-1].outcome
    assert outcome.status == "COMPLETED"
    assert outcome.score == min(losses)
    assert outcome.best_epoch == losses.index(min(losses)) + 1
    assert checkpoints.exists(run.directory)


def test_a_trial_reports_the_values_that_its_code_asked_for_and_new_definitions_once(run):
    reports = reports_of(context(tiny_models.build), run)
    assert set(reports[-1].values) == {"units", "learning_rate"}
    assert reports[-1].values["units"] == 4
    assert 1e-3 <= reports[-1].values["learning_rate"] < 1e-1
    assert [parameter.name for parameter in reports[0].parameters] == ["units", "learning_rate"]
    assert all(report.parameters == [] for report in reports[1:])


def test_a_suggested_value_that_is_not_asked_for_is_not_reported(run):
    run = dataclasses.replace(run, values={"units": 4, "unused": 1})
    assert "unused" not in reports_of(context(tiny_models.build), run)[-1].values


def test_the_same_run_trains_the_same_model(run, tmp_path):
    again = dataclasses.replace(run, directory=str(tmp_path / "again"))
    first, second = (
        outcome_of(context(tiny_models.build), run),
        outcome_of(context(tiny_models.build), again),
    )
    assert first.score is not None
    assert first.score == second.score


def test_another_execution_trains_another_model(run):
    other = dataclasses.replace(run, execution=1)
    assert (
        outcome_of(context(tiny_models.build), run).score
        != outcome_of(context(tiny_models.build), other).score
    )


def test_a_declared_space_is_filled_in_and_reported(run):
    class Declared(gk.HyperModel):
        def build(self, config):
            assert config["kind"] is keras.layers.Dense
            return tiny_models.compiled(
                keras.Sequential([config["kind"](config["layer"]["units"]), keras.layers.Dense(2)])
            )

    space = {
        "layer": {"units": tune.randint(2, 9)},
        "kind": tune.choice([keras.layers.Dense]),
        "fixed": [1, 2],
    }
    run = dataclasses.replace(run, values={})
    values = reports_of(context(Declared(), space=space), run)[-1].values
    assert values["kind"] == "Dense"
    assert 2 <= values["layer/units"] < 9


def test_a_custom_fit_may_return_a_number(run):
    outcome = outcome_of(context(Returns(0.25), ("score", "max")), run)
    assert (outcome.status, outcome.score) == ("COMPLETED", 0.25)


def test_a_custom_fit_may_return_a_dict_whose_metrics_are_kept(run):
    last = reports_of(
        context(Returns({"score": np.float32(0.5), "other": 2}), ("score", "max")), run
    )[-1]
    assert last.outcome.score == 0.5
    assert last.metrics == {"score": 0.5, "other": 2.0}


def test_a_history_of_a_fit_without_our_callback_is_scored_by_its_best_epoch(run):
    class Ignores(gk.HyperModel):
        def build(self, config):
            return tiny_models.build(config)

        def fit(self, config, model, x, y, callbacks, **kwargs):
            return model.fit(x, y, verbose=0, **kwargs)

    outcome = outcome_of(context(Ignores()), run)
    assert (outcome.status, outcome.best_epoch) == ("COMPLETED", 3)
    assert loaded_loss(run) == pytest.approx(outcome.score, abs=1e-6)


def loaded_loss(run):
    """The validation loss of the model in the run's checkpoint."""
    model = tiny_models.build(HyperParameters({"units": 4}))
    model_weights.load(model, run.directory)
    return model.evaluate(*tiny_models.VALIDATION, verbose=0, return_dict=True)["loss"]


@pytest.mark.parametrize("choose", [min, max], ids=["best", "worst"])
def test_a_returned_score_and_the_checkpoint_belong_together(run, choose):
    class Chooses(gk.HyperModel):
        def build(self, config):
            return tiny_models.compiled(tiny_models.build(config))

        def fit(self, config, model, *args, **kwargs):
            model.optimizer.learning_rate = 0.0 if choose is min else 0.5
            first = model.fit(*args, **kwargs).history["val_loss"]
            return choose(first[0], first[-1]) if choose is min else first[-1]

    outcome = outcome_of(context(Chooses()), run)
    assert loaded_loss(run) == pytest.approx(outcome.score, rel=1e-5)


def test_epochs_without_the_objective_are_passed_over(run):
    arguments = FitArguments(
        tiny_models.TRAIN, {**ARGUMENTS.kwargs, "epochs": 4, "validation_freq": 2}
    )
    outcome = outcome_of(context(tiny_models.build, arguments=arguments), run)
    assert outcome.status == "COMPLETED"
    assert outcome.best_epoch in (2, 4)


def test_an_objective_that_never_came_is_named_at_the_end(run):
    class Unscored(gk.HyperModel):
        def build(self, config):
            return tiny_models.build(config)

        def fit(self, config, model, x, y, callbacks, **kwargs):
            return model.fit(x, y, callbacks=callbacks, verbose=0)

    outcome = outcome_of(context(Unscored()), run)
    assert "objective 'val_loss' is not among the metrics. Did you mean 'loss'?" in outcome.message


def test_epochs_of_a_second_fit_are_counted_on(run):
    class Twice(gk.HyperModel):
        def build(self, config):
            return tiny_models.build(config)

        def fit(self, config, model, *args, **kwargs):
            model.fit(*args, **kwargs)
            return model.fit(*args, **kwargs)

    assert [report.epoch for report in reports_of(context(Twice()), run)] == [1, 2, 3, 4, 5, 6]


class Worsens(gk.HyperModel):
    """Its second `fit` is worse with each epoch, and so than the first, whatever that was."""

    def __init__(self, returned):
        self.returned = returned

    def build(self, config):
        return tiny_models.build(config)

    def fit(self, config, model, *args, **kwargs):
        model.optimizer.learning_rate = 0.1
        first = model.fit(*args, **kwargs)
        model.set_weights([-10 * weight for weight in model.get_weights()])
        model.optimizer.learning_rate = -0.1  # uphill
        return self.returned(first, model.fit(*args, **kwargs))


def test_the_history_of_the_last_fit_is_scored_and_its_best_weights_are_kept(run):
    reports = reports_of(context(Worsens(lambda first, second: second)), run)
    losses, outcome = [report.metrics["val_loss"] for report in reports], reports[-1].outcome
    assert min(losses[:3]) < min(losses[3:]) < losses[5]
    assert (outcome.score, outcome.best_epoch) == (
        min(losses[3:]),
        losses.index(min(losses[3:])) + 1,
    )
    assert loaded_loss(run) == pytest.approx(outcome.score, abs=1e-6)
    assert checkpoints.describe(run.directory).epoch == outcome.best_epoch


@pytest.mark.parametrize(
    ("returned", "score"),
    [
        (lambda first, second: None, min),
        (lambda first, second: first, lambda losses: min(losses[:3])),
        (
            lambda first, second: [first, second],
            lambda losses: (min(losses[:3]) + min(losses[3:])) / 2,
        ),
    ],
    ids=["nothing", "the first", "both"],
)
def test_other_histories_are_scored_and_the_best_weights_of_all_are_kept(run, returned, score):
    reports = reports_of(context(Worsens(returned)), run)
    losses = [report.metrics["val_loss"] for report in reports]
    assert reports[-1].outcome.score == pytest.approx(score(losses))
    assert loaded_loss(run) == pytest.approx(min(losses), abs=1e-6)


def test_the_history_of_a_fit_without_callbacks_after_one_with_them_is_scored_as_the_model_was_left(
    run,
):
    class Unfreezes(gk.HyperModel):
        def build(self, config):
            return tiny_models.build(config)

        def fit(self, config, model, x, y, callbacks, **kwargs):
            model.fit(x, y, callbacks=callbacks, **kwargs)
            return model.fit(x, y, **kwargs)

    outcome = outcome_of(context(Unfreezes()), run)
    assert loaded_loss(run) == pytest.approx(outcome.score, abs=1e-6)
    assert outcome.best_epoch == 6


class Overwrites(gk.HyperModel):
    """Puts another score into its `History`, as after a cross validation of its own."""

    def build(self, config):
        return tiny_models.build(config)

    def fit(self, config, model, *args, **kwargs):
        history = model.fit(*args, **kwargs)
        history.history["val_loss"] = [100.5, 100.25, 100.75][: len(history.history["val_loss"])]
        return history


def test_a_history_that_was_changed_is_scored_as_it_was_returned(run, tmp_path):
    reports = reports_of(context(Overwrites()), run)
    losses, outcome = [report.metrics["val_loss"] for report in reports], reports[-1].outcome
    assert (outcome.score, outcome.best_epoch, outcome.returned["val_loss"]) == (100.25, 2, 100.25)
    assert max(losses) < 100
    assert loaded_loss(run) == pytest.approx(min(losses), abs=1e-6)

    tuner = gk.RandomSearch(Overwrites(), "val_loss", 1, directory=tmp_path, executor="inline")
    tuner.search(*tiny_models.TRAIN, validation_data=tiny_models.VALIDATION, epochs=3, verbose=0)
    for trials in (
        tuner.oracle.trials,
        gk.RandomSearch(Overwrites(), "val_loss", 1, directory=tmp_path).oracle.trials,
    ):
        (trial,) = trials.values()
        assert (trial.score, trial.best_step, trial.metrics.get_best_value("val_loss")) == (
            100.25,
            1,
            100.25,
        )


def test_what_is_put_into_a_history_beside_is_a_metric_where_it_is_one(run):
    class Adds(Overwrites):
        def fit(self, config, model, *args, **kwargs):
            history = model.fit(*args, **kwargs)
            history.history |= {
                "extra": [1.0, 2.0, 3.0],
                "note": "text",
                "rows": [[1], [2, 3], [4]],
                "names": ["a", "b", "c"],
            }
            return history

    last = reports_of(context(Adds()), run)[-1]
    assert last.outcome.score == checkpoints.describe(run.directory).score
    assert last.outcome.returned == {"extra": float(last.outcome.best_epoch)}


def test_exiting_fails_the_trial_with_what_was_said(run):
    def leaves(config):
        raise SystemExit("no licence")

    outcome = outcome_of(context(leaves), run)
    assert outcome.status == "FAILED"
    assert "SystemExit: no licence" in outcome.message


def test_a_changed_range_is_kept_although_another_value_was_suggested(run):
    reports = reports_of(
        context(tiny_models.build), dataclasses.replace(run, values={"units": 500})
    )
    assert 2 <= reports[-1].values["units"] <= 16


def test_the_probe_takes_models_that_only_fit_understands():
    class OwnStep(keras.Model):
        def __init__(self):
            super().__init__()
            self.layer = keras.layers.Dense(1)

        def call(self, inputs):
            return self.layer(inputs)

        def train_step(self, data):
            return {"own_loss": keras.ops.mean(self(data[0]))}

    def build(config):
        model = OwnStep()
        model.compile("adam")
        return model

    found = probe(context(build, arguments=FitArguments(tiny_models.TRAIN)))
    assert found.error is None
    assert set(found.log_directions) == {"own_loss"}


def test_labels_of_a_wrong_shape_are_said_and_the_first_trial_decides():
    def build(config):
        model = keras.Sequential([keras.layers.Dense(5)])
        model.compile("adam", "mse")
        return model

    found = probe(context(build))
    assert found.error is None and found.log_directions is None
    assert "shape" in found.remarks[0]


def test_a_hand_written_loop_may_drive_the_callbacks(run):
    class Loop(gk.HyperModel):
        def build(self, config):
            return tiny_models.build(config)

        def fit(self, config, model, *args, callbacks, **kwargs):
            for callback in callbacks:
                callback.set_model(model)
            for epoch, value in enumerate([3.0, 1.0, 2.0]):
                for callback in callbacks:
                    callback.on_epoch_end(epoch, logs={"val_loss": value})

    reports = reports_of(context(Loop()), run)
    assert [report.metrics["val_loss"] for report in reports] == [3.0, 1.0, 2.0]
    assert (reports[-1].outcome.score, reports[-1].outcome.best_epoch) == (1.0, 2)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "returned None, and no epoch was reported"),
        (
            "text",
            r"HyperModel\.fit\(\) to be one of float, dict, keras.callbacks.History, .* returned: "
            "'text' of type str",
        ),
        ({"other": 1.0}, r"must have the specified objective 'score'. Received: \['other'\]"),
        (math.nan, "objective 'score' is nan"),
    ],
)
def test_what_fit_returns_is_checked(run, returned, message):
    outcome = outcome_of(context(Returns(returned), ("score", "max")), run)
    assert outcome.status == "FAILED"
    assert re.search(message, outcome.message)


def test_a_nan_objective_ends_the_trial_and_says_so(run):
    class Diverges(gk.HyperModel):
        def build(self, config):
            model = tiny_models.build(config)
            model.compile(keras.optimizers.SGD(1e30), "sparse_categorical_crossentropy")
            return model

    outcome = outcome_of(context(Diverges()), run)
    assert outcome.status == "FAILED"
    assert "objective 'val_loss' is nan" in outcome.message
    assert outcome.expected


class Diverging(gk.HyperModel):
    """Logs a given value of the objective after each epoch, and a loss beside it.

    Args:
        values: Of the objective, by epoch.
        loss: Of the training in epochs whose objective is no number.
        returns: What `fit` returns of its `History`.
    """

    loses_weights = True  # where the loss is no number

    def __init__(self, values, loss=0.5, returns=lambda history: history):
        self.values, self.loss, self.returns = values, loss, returns

    def build(self, config):
        return tiny_models.build(config)

    def fit(self, config, model, *args, callbacks, **kwargs):
        def log(epoch, logs):
            logs["val_loss"] = self.values[epoch]
            logs["loss"] = 0.5 if math.isfinite(self.values[epoch]) else self.loss
            if self.loses_weights and math.isnan(logs["loss"]):
                model.layers[-1].kernel.assign(model.layers[-1].kernel * math.nan)

        own = keras.callbacks.LambdaCallback(on_epoch_end=log)
        kwargs["epochs"] = len(self.values)
        history = model.fit(*args, callbacks=[own, *callbacks], **kwargs)
        return self.returns(history)


NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("values", "loss", "best", "epochs"),
    [
        ([3.0, 2.0, NAN, 1.0], NAN, 2, 3),  # it diverged, and is ended
        ([3.0, NAN, NAN], NAN, 1, 2),
        ([3.0, 2.0, -INF], NAN, 2, 3),
        ([3.0, NAN, 1.0, NAN], 0.5, 3, 4),  # the metric alone has no value now and then
        ([NAN, 2.0, 3.0], 0.5, 2, 3),
    ],
)
@pytest.mark.parametrize("returns", [lambda history: history, lambda history: None])
def test_the_best_of_the_good_epochs_counts(run, values, loss, best, epochs, returns):
    reports = reports_of(context(Diverging(values, loss, returns)), run)
    outcome = reports[-1].outcome
    assert (outcome.status, outcome.score, outcome.best_epoch) == (
        "COMPLETED",
        values[best - 1],
        best,
    )
    assert [report.epoch for report in reports] == list(range(1, epochs + 1))
    assert "was no number in epoch" in outcome.message
    assert f"are those of the best epoch, {best}." in outcome.message
    assert ("diverged" in outcome.message) == math.isnan(loss)
    assert checkpoints.describe(run.directory).epoch == best


@pytest.mark.parametrize(("values", "loss"), [([NAN, 1.0], NAN), ([NAN, NAN], 0.5)])
def test_without_a_good_epoch_the_trial_fails(run, values, loss):
    outcome = outcome_of(context(Diverging(values, loss)), run)
    assert outcome.status == "FAILED"
    assert "objective 'val_loss' is nan" in outcome.message
    assert outcome.expected


def test_a_second_fit_that_diverges_leaves_the_best_of_the_first(run):
    class Twice(Diverging):
        def fit(self, config, model, *args, **kwargs):
            for self.values in ([2.0, 3.0], [NAN, 1.0]):
                history = super().fit(config, model, *args, **kwargs)
            return history

    outcome = outcome_of(context(Twice(None, NAN)), run)
    assert (outcome.status, outcome.score, outcome.best_epoch) == ("COMPLETED", 2.0, 1)


def test_callbacks_come_to_their_end_when_a_training_diverges(run):
    ended = []
    arguments = FitArguments(
        tiny_models.TRAIN,
        {
            "validation_data": tiny_models.VALIDATION,
            "callbacks": [
                keras.callbacks.LambdaCallback(on_train_end=lambda logs: ended.append(True))
            ],
        },
    )
    outcome_of(context(Diverging([2.0, NAN, 1.0], NAN), arguments=arguments), run)
    assert ended == [True]


def test_a_training_without_diverging_has_no_message(run):
    assert outcome_of(context(Diverging([2.0, 1.0])), run).message is None


def test_a_state_that_a_promotion_goes_on_from_is_the_best_of_what_diverged(run):
    kept = dataclasses.replace(run, keeps_state=True)
    outcome_of(context(Diverging([2.0, 1.0, NAN], NAN)), kept)
    state = training_states.newest(pathlib.Path(run.directory) / "latest")
    assert checkpoints.describe(state).epoch == 2


def test_an_error_of_the_user_is_shown_as_their_own(run):
    def broken(config):
        raise RuntimeError("a mistake")

    outcome = outcome_of(context(broken), run)
    assert outcome.message.startswith("Traceback")
    assert "in broken" in outcome.message
    assert "RuntimeError: a mistake" in outcome.message
    assert str(pathlib.Path(gk.__file__).parent) not in outcome.message


def test_a_fatal_error_of_the_user_is_kept_as_it_is(run):
    class SearchStopper(gk.errors.FatalValueError):
        pass

    def broken(config):
        raise SearchStopper("everything is wrong")

    assert type(outcome_of(context(broken), run).fatal) is SearchStopper


def test_the_probe_finds_the_names_and_directions_that_keras_logs():
    found = probe(context(tiny_models.build))
    names = {"loss": "min", "accuracy": "max", "val_loss": "min", "val_accuracy": "max"}
    assert found.log_directions == names
    assert [parameter.name for parameter in found.parameters] == ["units", "learning_rate"]


def test_the_probe_knows_the_names_of_several_outputs():
    labels = {"label": tiny_models.TRAIN[1], "sum": tiny_models.TRAIN[0].sum(axis=1)}
    found = probe(
        context(
            tiny_models.build_two_inputs,
            arguments=FitArguments((tiny_models.halves(tiny_models.TRAIN), labels)),
        )
    )
    assert found.log_directions["label_accuracy"] == "max"
    assert found.log_directions["sum_mae"] == "min"
    assert found.log_directions["sum_loss"] == "min"
    assert not any(name.startswith("val_") for name in found.log_directions)


def test_the_probe_reads_the_direction_from_the_metric_itself():
    def with_metrics(config):
        model = tiny_models.build(config)
        model.compile(
            "adam",
            "sparse_categorical_crossentropy",
            metrics=[Upward(name="mine"), "sparse_categorical_accuracy"],
        )
        return model

    found = probe(context(with_metrics))
    assert found.log_directions["val_mine"] == "max"
    assert found.log_directions["sparse_categorical_accuracy"] == "max"


class Upward(keras.metrics.Mean):
    """A metric of a user, which says its direction as Keras' own do."""

    def __init__(self, name):
        super().__init__(name=name)
        self._direction = "up"

    def update_state(self, y_true, y_pred, sample_weight=None):
        return super().update_state(y_pred)


def test_the_probe_says_nothing_of_the_logs_of_a_custom_fit():
    assert probe(context(Returns(0.1))).log_directions is None


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda config: None,
            "must return a compiled Keras model. Received: None. Is its `return model` missing",
        ),
        (lambda config: 3, "must return a compiled Keras model. Received: 3 of type int"),
        (lambda config: keras.Sequential([keras.layers.Dense(1)]), "a model that is not compiled"),
        (lambda config: config["missing"], "Hyperparameter 'missing' does not exist"),
    ],
)
def test_the_probe_reports_a_build_that_cannot_be_used(build, message):
    assert message in probe(context(build)).error


def test_a_trial_trains_as_keras_does(run):
    """Optimizer and metrics are built before training; nothing else may change by that."""

    def build(config):
        return tiny_models.traced(tiny_models.build(config))

    reports = reports_of(context(build), run)
    with Session.current().fresh(zlib.crc32(repr((run.sampling_key, run.execution)).encode())):
        model = build(configuration(DeclaredSpace(), run.values, run.sampling_key))
        history = model.fit(*tiny_models.TRAIN, **ARGUMENTS.kwargs, verbose=0).history
    for epoch, report in enumerate(reports):
        assert report.metrics == pytest.approx(
            {name: values[epoch] for name, values in history.items()}, rel=1e-5
        )


def test_a_step_is_traced_once(run):
    traced = []

    class Traced(keras.layers.Layer):
        def call(self, inputs, training=None):
            if training:
                traced.append(1)
            return inputs

    def build(config):
        inputs = keras.Input((6,))
        model = keras.Model(inputs, keras.layers.Dense(2, "softmax")(Traced()(inputs)))
        return tiny_models.traced(tiny_models.compiled(model, config))

    reports_of(context(build), run)
    assert len(traced) == 1


def test_a_trial_that_was_stopped_meanwhile_keeps_the_checkpoint_of_its_last_epoch_that_counts(run):
    """The answer to the first epoch's report comes after the second epoch has been trained."""
    reports = []

    def stopped():
        if len(reports) == 1:
            raise SystemExit

    with pytest.raises(SystemExit):
        run_trial(
            context(tiny_models.build, objective=("loss", "min")),
            run,
            reports.append,
            settle=stopped,
        )
    assert [report.epoch for report in reports] == [1]
    assert (
        json.loads((pathlib.Path(run.directory) / checkpoints.DESCRIPTION).read_text())["epoch"]
        == 1
    )


# Interrupted trainings


class Stopped(BaseException):
    """In the place of a kill, after some epochs."""


class Interrupted(keras.callbacks.Callback):
    def __init__(self, after):
        super().__init__()
        self.after = after

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.after:
            raise Stopped


class SlowThenFast(gk.HyperModel):
    """The third epoch is the best; a new model begins anew."""

    def build(self, config):
        return tiny_models.build(config)

    def fit(self, config, model, *args, callbacks, epochs, initial_epoch=0, **kwargs):
        scores = [5.0, 4.0, 1.0, 2.0, 3.0]
        tiny_models.train_by_hand(
            model, callbacks, epochs, lambda epoch: {"val_loss": scores[epoch]}, initial_epoch
        )


def interrupted(context, run, after):
    reports = []
    with pytest.raises(Stopped):
        run_trial(
            dataclasses.replace(context, callbacks=(Interrupted(after),)), run, reports.append
        )
    return reports


def test_an_interrupted_training_goes_on_with_weights_optimizer_and_epoch(run):
    run = dataclasses.replace(run, state_interval=0.0)
    reports = interrupted(context(tiny_models.build), run, after=2)
    assert [report.epoch for report in reports] == [
        1
    ]  # the second is reported when the third begins
    seen = []

    class Seen(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            seen.append((int(self.model.optimizer.iterations), self.model.get_weights()))

    going_on = dataclasses.replace(context(tiny_models.build), callbacks=(Seen(),))
    reports = reports_of(going_on, dataclasses.replace(run, resumes=True))
    assert [report.epoch for report in reports] == [2, 3]
    assert reports[-1].outcome.status == "COMPLETED"
    ((iterations, weights),) = seen
    assert iterations == 2 * 2
    kept = tiny_models.build(HyperParameters({"units": 4}))
    model_weights.load(kept, training_states.newest(pathlib.Path(run.directory) / "latest"))
    assert all(
        np.array_equal(before, now) for before, now in zip(kept.get_weights(), weights, strict=True)
    )


def test_a_state_that_is_ahead_of_the_journal_is_nothing_to_go_on_from(run):
    """As after a power cut, which has taken what the journal said of the epochs before."""
    run = dataclasses.replace(run, state_interval=0.0)
    interrupted(context(tiny_models.build), run, after=2)
    known = dataclasses.replace(run, resumes=True, last_epoch=0)
    assert [report.epoch for report in reports_of(context(tiny_models.build), known)] == [1, 2, 3]


def test_a_state_that_is_one_epoch_ahead_of_the_journal_says_that_epoch_again(run):
    run = dataclasses.replace(run, state_interval=0.0)
    interrupted(context(tiny_models.build), run, after=2)
    known = dataclasses.replace(run, resumes=True, last_epoch=1)
    assert [report.epoch for report in reports_of(context(tiny_models.build), known)] == [2, 3]


def test_the_state_of_an_attempt_that_failed_is_nothing_to_go_on_from(run):
    """Its removal is cut short when the process dies between the record of the failure and that."""
    interrupted(context(tiny_models.build), dataclasses.replace(run, state_interval=0.0), after=2)
    reports = reports_of(
        context(tiny_models.build), dataclasses.replace(run, attempt=1, resumes=True)
    )
    assert [report.epoch for report in reports] == [1, 2, 3]


def test_the_best_weights_are_those_of_an_epoch_that_counts(run):
    """Killed in the fourth epoch, it goes on from the second: the best one, the third, is trained
    again.
    """
    run = dataclasses.replace(run, state_interval=0.0)
    longer = context(SlowThenFast(), arguments=FitArguments(tiny_models.TRAIN, {"epochs": 5}))
    interrupted(longer, run, after=2)
    states = pathlib.Path(run.directory) / "latest"
    state = training_states.newest(states)
    kept = state.rename(states.parent / "kept")
    interrupted(longer, dataclasses.replace(run, resumes=False), after=4)
    for other in states.iterdir():
        shutil.rmtree(other)
    kept.rename(state)
    assert checkpoints.describe(run.directory).epoch == 3
    interrupted(longer, dataclasses.replace(run, resumes=True, state_interval=None), after=2)
    assert checkpoints.describe(run.directory).epoch == 2  # what was the best at its end
    outcome = outcome_of(longer, dataclasses.replace(run, resumes=True))
    assert (outcome.score, outcome.best_epoch) == (1.0, 3)


def test_one_that_was_killed_after_its_last_epoch_only_says_so(run):
    run = dataclasses.replace(run, state_interval=0.0)
    interrupted(
        context(SlowThenFast(), arguments=FitArguments(tiny_models.TRAIN, {"epochs": 4})),
        run,
        after=3,
    )
    reports = reports_of(
        context(SlowThenFast(), arguments=FitArguments(tiny_models.TRAIN, {"epochs": 3})),
        dataclasses.replace(run, resumes=True),
    )
    assert [report.epoch for report in reports] == [3]
    assert (
        reports[0].metrics["val_loss"],
        reports[0].outcome.score,
        reports[0].outcome.best_epoch,
    ) == (1.0, 1.0, 3)


class OwnLoop(Returns):
    """A loop that knows no `initial_epoch`."""

    def fit(self, config, model, x, y, callbacks, validation_data, epochs, verbose=0):
        tiny_models.train_by_hand(
            model, callbacks, epochs, lambda epoch: {"val_loss": float(epoch)}
        )


@pytest.mark.filterwarnings("ignore:A training that was interrupted goes on from its state if")
@pytest.mark.parametrize("why", ["no state", "damaged", "another model", "own loop"])
def test_otherwise_it_begins_anew(run, why):
    run = dataclasses.replace(run, state_interval=None if why == "no state" else 0.0)
    build = OwnLoop(None) if why == "own loop" else tiny_models.build
    interrupted(context(build), run, after=2)
    if why == "damaged":
        for file in pathlib.Path(run.directory).glob("latest/*/checkpoint.weights.h5"):
            file.write_bytes(b"cut")
    if why == "another model":
        build = tiny_models.build_normalized
    reports = reports_of(context(build), dataclasses.replace(run, resumes=True))
    assert [report.epoch for report in reports] == [1, 2, 3]
    assert reports[-1].outcome.status == "COMPLETED"


def test_states_are_kept_at_intervals(run):
    run = dataclasses.replace(run, state_interval=1000.0)
    interrupted(context(tiny_models.build), run, after=2)
    assert not (pathlib.Path(run.directory) / "latest").exists()


# Bounds


def test_a_training_ends_when_its_time_is_over(run):
    class Slow(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            time.sleep(2.0 if epoch == 1 else 0.0)

    slow = dataclasses.replace(context(tiny_models.build), callbacks=(Slow(),))
    run_trial(context(tiny_models.build), run, lambda report: None)  # what is slow once was done
    outcome = outcome_of(slow, dataclasses.replace(run, time_limit=time_of(slow, run) + 1.0))
    assert (outcome.status, outcome.best_epoch) == ("STOPPED", 1)
    outcome = outcome_of(slow, dataclasses.replace(run, time_limit=1e-6))
    assert (outcome.status, outcome.score, outcome.final) == ("FAILED", None, True)
    assert "No epoch was over within `trial_time_limit_s=1e-06`" in outcome.message


def time_of(slow, run):
    """Seconds to the end of the first epoch."""
    started, times = time.monotonic(), []
    run_trial(
        dataclasses.replace(
            slow,
            callbacks=(
                keras.callbacks.LambdaCallback(
                    on_epoch_end=lambda epoch, logs: times.append(time.monotonic() - started)
                ),
            ),
        ),
        run,
        lambda report: None,
    )
    return times[0]


@pytest.mark.parametrize("build", [tiny_models.build, tiny_models.build_deferred])
def test_a_model_may_be_too_large(build, run):
    outcome = outcome_of(dataclasses.replace(context(build), max_model_size=10), run)
    assert (outcome.status, outcome.expected) == ("FAILED", True)
    assert re.search(
        r"Oversized model: \d+ parameters, more than `max_model_size=10`", outcome.message
    )
    assert (
        outcome_of(dataclasses.replace(context(build), max_model_size=10_000), run).status
        == "COMPLETED"
    )


@pytest.mark.parametrize(
    ("direction", "good", "bad"), [("min", -math.inf, math.inf), ("max", math.inf, -math.inf)]
)
def test_an_infinitely_good_score_is_an_overflow(run, direction, good, bad):
    outcome = outcome_of(context(Returns(good), ("val_loss", direction)), run)
    assert (outcome.status, outcome.expected) == ("FAILED", True)
    assert "an overflow, and not a good model" in outcome.message
    assert outcome_of(context(Returns(bad), ("val_loss", direction)), run).score == bad


def test_a_disk_that_is_full_ends_the_search_and_not_the_training(run, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keras.Model, "save_weights", full)
    outcome = outcome_of(context(tiny_models.build), run)
    assert (outcome.status, type(outcome.fatal).__name__) == ("RUNNING", "StorageError")
    assert "No space left on device" in str(outcome.fatal)


def test_a_stage_that_begins_anew_forgets_the_best_of_its_first_attempt(run, tmp_path):
    """As a trial of Hyperband's that goes on from its parent, and was killed before it kept a
    state.
    """
    parent = tmp_path / "parent"
    model_weights.save_state(
        tiny_models.build(HyperParameters({"units": 4})),
        parent,
        checkpoints.Checkpoint(1, has_optimizer=True),
    )
    run = dataclasses.replace(run, state=str(parent), initial_epoch=1)
    longer = context(SlowThenFast(), arguments=FitArguments(tiny_models.TRAIN, {"epochs": 5}))
    interrupted(longer, run, after=4)
    assert checkpoints.describe(run.directory).epoch == 3
    shorter = context(SlowThenFast(), arguments=FitArguments(tiny_models.TRAIN, {"epochs": 2}))
    outcome = outcome_of(shorter, dataclasses.replace(run, resumes=True))
    assert (outcome.score, outcome.best_epoch) == (4.0, 2)
    assert checkpoints.describe(run.directory).epoch == 2


class TwoFits(gk.HyperModel):
    def build(self, config):
        return tiny_models.build(config)

    def fit(self, config, model, *args, **kwargs):
        model.fit(*args, **kwargs)
        return model.fit(*args, **kwargs)


class Forgetful(TwoFits):
    """Takes `initial_epoch`, and does not pass it on."""

    def fit(self, config, model, *args, initial_epoch=0, **kwargs):
        return model.fit(*args, **kwargs)


@pytest.mark.parametrize(("kind", "epochs"), [(TwoFits, 6), (Forgetful, 3), (Overwrites, 3)])
def test_a_fit_that_cannot_go_on_begins_anew(run, kind, epochs):
    run = dataclasses.replace(run, state_interval=0.0)
    interrupted(context(kind()), run, after=2)
    assert training_states.newest(pathlib.Path(run.directory) / "latest")
    reports = reports_of(context(kind()), dataclasses.replace(run, resumes=True))
    told = [report.epoch for report in reports]
    assert told[told.index(1) :] == list(range(1, epochs + 1))
    assert reports[-1].outcome.status == "COMPLETED"


class Untrained(gk.HyperModel):
    """Scores a model that is never built."""

    def build(self, config):
        return tiny_models.build_deferred(config)

    def fit(self, config, model, *args, **kwargs):
        config.values["worked_out"] = 2 * config["units"]
        return 0.5


def test_a_score_of_a_model_that_is_never_built_is_one(run):
    (report,) = reports_of(context(Untrained()), run)
    assert (report.outcome.status, report.outcome.score) == ("COMPLETED", 0.5)
    assert report.values["worked_out"] == 8
    assert not checkpoints.exists(run.directory)


def test_what_is_written_into_the_values_and_cannot_be_stored_fails_the_trial(run):
    class Wrong(Untrained):
        def fit(self, config, model, *args, **kwargs):
            config.values["model"] = model
            return 0.5

    outcome = outcome_of(context(Wrong()), run)
    assert outcome.status == "FAILED"
    assert "is stored with the trial. Received: values['model'] =" in outcome.message


def test_weights_that_a_loop_saved_by_itself_are_those_of_the_score(run):
    class Saves(gk.HyperModel):
        def build(self, config):
            return tiny_models.build(config)

        def fit(self, config, model, *args, callbacks, **kwargs):
            file = pathlib.Path(run.directory, "checkpoint.weights.h5")
            file.parent.mkdir()
            saving = SaveBestEpoch(gk.Objective("val_loss", "min"), file)
            return model.fit(*args, callbacks=[saving], **kwargs)

    outcome = outcome_of(context(Saves()), run)
    assert outcome.status == "COMPLETED"
    model = tiny_models.build(gk.HyperParameters({"units": 4}))
    model_weights.load_weights(model, pathlib.Path(run.directory, checkpoints.WEIGHTS))
    loss = model.evaluate(*tiny_models.VALIDATION, verbose=0)[0]
    assert loss == pytest.approx(outcome.score, rel=1e-4)
    assert not checkpoints.exists(run.directory)


def test_objectives_in_another_order_keep_their_directions(run):
    names = ["val_loss", "val_accuracy"]
    context_of = dataclasses.replace(context(tiny_models.build), objective=gk.MultiObjective(names))
    directions = {"val_accuracy": "max", "val_loss": "min"}  # as a project has them
    reports = reports_of(context_of, dataclasses.replace(run, directions=directions))
    scores = [each.metrics["val_loss"] - each.metrics["val_accuracy"] for each in reports]
    assert reports[-1].outcome.score == pytest.approx(min(scores))


def test_a_training_may_recover_from_a_loss_that_is_nan(run):
    kind = Diverging([NAN, 2.0, NAN, 1.0], NAN)
    kind.loses_weights = False
    outcome = outcome_of(context(kind), run)
    assert (outcome.status, outcome.score, outcome.best_epoch) == ("COMPLETED", 1.0, 4)
    assert "was no number in epochs 1, 3. The score" in outcome.message


def test_logs_without_a_loss_are_no_divergence(run):
    class Gan(Diverging):
        def fit(self, config, model, *args, callbacks, **kwargs):
            def losses(epoch, logs):
                del logs["loss"]
                logs["g_loss"] = logs["d_loss"] = 0.5

            own = keras.callbacks.LambdaCallback(on_epoch_end=losses)
            return super().fit(config, model, *args, callbacks=[own, *callbacks], **kwargs)

    outcome = outcome_of(context(Gan([NAN, 2.0])), run)
    assert (outcome.status, outcome.score) == ("COMPLETED", 2.0)


def test_a_fit_that_begins_once_more_after_nan_is_a_whole_one(run):
    class MoreCarefully(Diverging):
        def fit(self, config, model, *args, **kwargs):
            weights = model.get_weights()
            for self.values in ([2.0, NAN], [3.0, 1.5, 1.0]):
                model.set_weights(weights)
                history = super().fit(config, model, *args, **kwargs)
            return history

    kept = dataclasses.replace(run, keeps_state=True)
    outcome = outcome_of(context(MoreCarefully(None, NAN)), kept)
    assert (outcome.status, outcome.score) == ("COMPLETED", 1.0)
    assert "was ended" not in outcome.message
    state = training_states.newest(pathlib.Path(run.directory) / "latest")
    assert checkpoints.describe(state).epoch == 5


class Averages(keras.callbacks.Callback):
    """Makes variables when a training begins, and changes them in each epoch."""

    def on_train_begin(self, logs=None):
        self.model.average = Shadow([keras.Variable(0.0)])

    def on_epoch_end(self, epoch, logs=None):
        (shadow,) = self.model.average.variables
        shadow.assign(shadow + 1.0)
        logs["val_seen"] = float(shadow)


class Shadow:
    """No object of Keras'."""

    def __init__(self, variables):
        self.variables = variables


def test_what_a_callback_makes_goes_on_where_it_was(run, tmp_path):
    def arguments(epochs):
        given = {**ARGUMENTS.kwargs, "epochs": epochs, "callbacks": [Averages()]}
        return FitArguments(tiny_models.TRAIN, given)

    kept = dataclasses.replace(run, keeps_state=True)
    reports_of(context(tiny_models.build, arguments=arguments(2)), kept)
    promoted = dataclasses.replace(
        run,
        directory=str(tmp_path / "promoted"),
        state=str(pathlib.Path(run.directory) / "latest"),
        initial_epoch=2,
    )
    reports = reports_of(context(tiny_models.build, arguments=arguments(4)), promoted)
    assert [each.metrics["val_seen"] for each in reports] == [3.0, 4.0]


class Holder:
    def __init__(self):
        self.seen = keras.Variable(1.0)


class WithoutCallbacks(gk.HyperModel):
    def build(self, config):
        return tiny_models.build(config)

    def fit(self, config, model, x, y, **kwargs):
        model.fit(x, y, verbose=0)
        return {"val_loss": 0.5}


def test_what_a_loop_without_callbacks_does_not_take_in_is_named(run, tmp_path):
    model = tiny_models.build(HyperParameters({"units": 4}))
    model.holder = Holder()
    described = checkpoints.Checkpoint(1, has_optimizer=True)
    model_weights.save_state(model, tmp_path / "parent", described)
    run = dataclasses.replace(run, state=str(tmp_path / "parent"), initial_epoch=1)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        outcome = outcome_of(context(WithoutCallbacks()), run)
    assert any("a model without '/holder/seen'" in str(each.message) for each in said)
    assert (outcome.status, outcome.score) == ("COMPLETED", 0.5)


class OwnFit(keras.Sequential):
    """A model whose `fit` takes what it names."""

    def fit(self, x, epochs=1, callbacks=None, validation_data=None):
        return super().fit(x, None, None, epochs, 0, callbacks, 0.0, validation_data, False)


def test_a_fit_of_a_models_own_gets_what_it_takes(run):
    import tensorflow as tf

    def build(config):
        layers = [keras.Input((6,)), keras.layers.Dense(2, "softmax")]
        return tiny_models.compiled(OwnFit(layers))

    train, validation = (
        tf.data.Dataset.from_tensor_slices(part).batch(32)
        for part in (tiny_models.TRAIN, tiny_models.VALIDATION)
    )
    given = FitArguments((train,), {"validation_data": validation, "epochs": 2})
    searched = context(build, arguments=given)
    assert probe(searched).error is None
    assert outcome_of(searched, run).status == "COMPLETED"
    wrong = FitArguments((train,), {"shuffle": False})
    assert "which has no argument 'shuffle'" in probe(context(build, arguments=wrong)).error
