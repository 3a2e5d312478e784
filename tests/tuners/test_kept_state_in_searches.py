"""Searches whose trials keep state: in the script's process by themselves, and said where not."""

import itertools
import operator
import re
import warnings

import keras
import numpy as np
import pytest
from ray import tune

import glimr_keras as gk
from glimr_keras.code.record import KeptState
from glimr_keras.tuners import trial_code
from glimr_keras.tuners.executor_choice import choose
from glimr_keras.tuners.settings import SearchSettings

x, y = np.random.default_rng(0).random((32, 2)), np.random.default_rng(1).random(32)

SETS = [{"units": 1}, {"units": 2}, {"units": 3}]
USED = []
NUMBERS = itertools.count(1)


def compiled(units=2):
    model = keras.Sequential([keras.layers.Dense(units), keras.layers.Dense(1)])
    model.compile("adam", "mse", run_eagerly=True)
    return model


class Numbered(gk.RandomSearch):
    """`run_trial` counts, notes by key what `load_model` reads, and names files by its count."""

    n = 0

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.weights = {}

    def run_trial(self, trial, *args, **kwargs):
        self.n += 1
        model = self.hypermodel.build(trial.hyperparameters)
        loss = model.fit(x, y, verbose=0).history["loss"][-1]
        self.weights[trial.trial_id] = (self.n, loss)
        return loss

    def load_model(self, trial):
        return self.weights[trial.trial_id]


class OfSets(gk.HyperModel):
    """Takes its sizes from a list of the script, in `build`; a set, a counter and a dict change."""

    def __init__(self):
        super().__init__()
        self.log, self.counts = [], {"fits": 0}

    def build(self, config):
        config.Float("rate", 0.1, 0.2)
        chosen = SETS.pop(0)
        self.log.append((next(NUMBERS), chosen["units"]))
        return compiled(**chosen)

    def fit(self, config, model, *args, **kwargs):
        USED.append(model.layers[0].units)
        self.counts["fits"] += 1
        return model.fit(*args, **kwargs)


def warned(tuner):
    """Search, and return the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tuner.search(x, y, verbose=0)
    return [str(each.message) for each in caught]


@pytest.fixture
def no_ray(monkeypatch):
    """Fails where Ray would be used."""

    def refuse(self):
        raise AssertionError("on Ray")

    monkeypatch.setattr("glimr_keras.executors.ray_executor.RayExecutor.prepare", refuse)


@pytest.mark.usefixtures("no_ray")
def test_trials_that_keep_state_run_in_the_scripts_process_and_a_line_says_so(project, capsys):
    tuner = Numbered(
        lambda hp: compiled(hp.Int("units", 1, 9)),
        "val_loss",
        max_trials=3,
        max_concurrent_trials=2,
        **project,
    )
    tuner.search(verbose=1)
    assert tuner.n == 3
    assert sorted(n for n, _ in tuner.weights.values()) == [1, 2, 3]
    trials = tuner.oracle.get_best_trials(3)
    assert [tuner.weights[trial.trial_id][1] for trial in trials] == [t.score for t in trials]
    assert tuner.get_best_models()[0] == tuner.weights[trials[0].trial_id]
    said = capsys.readouterr().out
    line = next(line for line in said.splitlines() if line.startswith("Trials run one at a time"))
    assert "`self.n` (" in line and "test_kept_state_in_searches.py:" in line
    assert "in Numbered.run_trial" in line and "`self.weights`" in line
    assert "`executor='ray'`" in line and "`max_concurrent_trials` has no meaning here" in line

    again = Numbered(
        lambda hp: compiled(hp.Int("units", 1, 9)), "val_loss", max_trials=4, **project
    )
    again.search(verbose=0)
    assert (again.n, len(again.oracle.trials)) == (1, 4)
    assert capsys.readouterr().out.count("Trials run one at a time") == 0


@pytest.mark.usefixtures("no_ray")
def test_the_look_before_the_search_consumes_nothing(project):
    del USED[:]
    tuner = gk.RandomSearch(OfSets(), "loss", max_trials=3, **project)
    tuner.search(x, y, verbose=0)
    assert USED == [1, 2, 3] and SETS == []
    assert tuner.hypermodel.log == [(1, 1), (2, 2), (3, 3)]
    assert tuner.hypermodel.counts == {"fits": 3}
    assert {trial.status for trial in tuner.oracle.trials.values()} == {"COMPLETED"}


class Losses(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.losses = []

    def on_epoch_end(self, epoch, logs=None):
        self.losses.append(logs["loss"])


LOSSES = Losses()


class PassingOn(gk.HyperModel):
    """Passes callbacks on: one of the script's, and one of its own."""

    def __init__(self):
        super().__init__()
        self.losses = Losses()

    def build(self, config):
        return compiled(config.Int("units", 1, 9))

    def fit(self, config, model, *args, callbacks=(), **kwargs):
        return model.fit(*args, callbacks=[*callbacks, LOSSES, self.losses], **kwargs)


@pytest.mark.usefixtures("no_ray")
def test_callbacks_of_the_script_that_fit_passes_on_have_what_all_trials_told_them(project):
    tuner = gk.RandomSearch(
        PassingOn(), "loss", max_trials=2, max_concurrent_trials=2, executor="auto", **project
    )
    tuner.search(x, y, epochs=2, verbose=0)
    assert len(LOSSES.losses) == len(tuner.hypermodel.losses.losses) == 4


class Historian(gk.HyperModel):
    """Assigns what the script reads afterwards, and what nobody does; a method of a library, whose
    code is not looked at, changes an attribute.
    """

    def __init__(self):
        super().__init__()
        self.last_loss, self.size, self.table, self.model = 0.0, 0, {"rows": 0}, None

    def build(self, config):
        self.size = config.Int("units", 1, 9)
        self.model = compiled(self.size)
        operator.methodcaller("update", rows=self.size)(self.table)
        return self.model

    def fit(self, config, model, *args, **kwargs):
        history = model.fit(*args, **kwargs)
        self.last_loss = history.history["loss"][-1]
        return history


def read_afterwards(hypermodel):
    return hypermodel.last_loss


@pytest.mark.usefixtures("local_ray")
def test_what_is_only_seen_after_a_trial_is_warned_of_once_by_name(project):
    hypermodel = Historian()
    tuner = gk.RandomSearch(
        hypermodel, "loss", max_trials=3, max_concurrent_trials=2, executor="auto", **project
    )
    said = [line for line in warned(tuner) if "in a process of its own" in line]
    assert len(said) == 2
    assert [name for name in ("last_loss", "table") if any(f"Historian.{name}" in s for s in said)]
    assert read_afterwards(hypermodel) == 0.0


@pytest.mark.usefixtures("local_ray")
def test_on_ray_the_user_is_warned_before_any_trial(project):
    log = []

    def build(hp):
        log.append(hp.Int("units", 1, 9))
        return compiled()

    tuner = gk.RandomSearch(
        build, "loss", max_trials=2, max_concurrent_trials=2, executor="ray", **project
    )
    said = [line for line in warned(tuner) if "do not see what others change" in line]
    assert len(said) == 1
    assert re.search(r"`log` \(.*test_kept_state_in_searches.py:\d+, in .*build\)", said[0])
    assert "With `executor='auto'` trials run one at a time" in said[0]
    assert log == [] and len(tuner.oracle.trials) == 2


@pytest.mark.parametrize(
    ("given", "executor"),
    [
        ({}, "inline"),
        ({"max_concurrent_trials": 4, "address": "auto"}, "inline"),
        ({"scheduler": tune.schedulers.ASHAScheduler()}, "ray"),
        ({"reporter": tune.CLIReporter()}, "ray"),
        ({"ray_callbacks": (tune.Callback(),)}, "ray"),
        ({"executor": "ray"}, "ray"),
        ({"executor": "inline"}, "inline"),
    ],
)
def test_kept_state_decides_where_trials_run_unless_the_user_did(given, executor):
    kept = [KeptState(name, f"script.py:{name}, in build") for name in "abcde"]
    choice = choose(SearchSettings(**given), kept)
    assert choice.executor == executor
    is_ray = executor == "ray"
    assert (choice.warning is not None, choice.sends) == (is_ray, is_ray)
    assert (choice.line is not None) == (not is_ray and "executor" not in given)
    said = choice.line or choice.warning or ""
    assert not said or ("`a` (script.py:a, in build), `b`" in said and "and 2 more" in said)
    assert "`scheduler` needs Ray" in said or "scheduler" not in given
    assert "`max_concurrent_trials`, `address` have no meaning" in said or "address" not in given
    assert choose(SearchSettings(**given), []) == choose(SearchSettings(**given), ())
    without = choose(SearchSettings(**given), [])
    assert (without.line, without.warning) == (None, None)
    assert without.executor == ("inline" if given.get("executor") == "inline" else "ray")


def test_state_of_one_name_is_listed_once():
    kept = [KeptState("a", "script.py:1, in build"), KeptState("a", "script.py:1, in build")]
    assert choose(SearchSettings(), kept).line.count("`a`") == 1


def test_where_looking_fails_the_search_goes_on_with_a_warning(project, monkeypatch):
    def fail(*args):
        raise RecursionError("too deep")

    monkeypatch.setattr(trial_code.Walk, "follow", fail)
    tuner = gk.RandomSearch(
        lambda hp: compiled(hp.Int("u", 1, 2)), "loss", max_trials=1, executor="inline", **project
    )
    said = [line for line in warned(tuner) if "could not be told" in line]
    assert len(said) == 1 and "RecursionError: too deep" in said[0]
    assert len(tuner.oracle.trials) == 1
