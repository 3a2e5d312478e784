"""Which code of the user's runs in trials, and which state it keeps from one to the next. Runs in
the driver.
"""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Iterable
from typing import Any

import keras

from glimr_keras._utils.overriding import is_overridden
from glimr_keras.executors.code_trees import CodeTrees
from glimr_keras.executors.kept_record import KeptState
from glimr_keras.executors.kept_state import Walk
from glimr_keras.executors.kept_values import Kept, member
from glimr_keras.models.hypermodel import FunctionHyperModel, HyperModel
from glimr_keras.tuners.hooks import HOOKS, Overridden, SearchingTuner, hypermodel_of

_FIRST = ("run_trial", "_build_and_fit_model", "_build_hypermodel", "_try_build")
_LOOKED_AT = 100
_OF_HYPERMODEL = ("data", "build", "fit", "run")


def kept_state(
    tuner: SearchingTuner, own: Overridden, given: Iterable[Any] = ()
) -> list[KeptState]:
    """Return the state that trials would keep from one to the next, as far as their code shows it.

    What is handed on between trials and hooks that run in the driver is such state too.

    Args:
        own: The hooks that the tuner has of its own.
        given: Callbacks, of which each trial has a copy; functions; whatever else trials get.
    """
    trees = CodeTrees(_packages(tuner))
    trial, driver = Walk(trees), Walk(trees)
    _walk_trial(trial, tuner, own, given)
    for name in sorted(own.names):
        if HOOKS[name].place != "worker":
            driver.fresh.clear()
            driver.follow(member(Kept("self", tuner), name))
    if trees.is_own_class(type(tuner.oracle)):
        _walk_oracle(driver, tuner.oracle)
    handed = [
        *(seen for cell, seen in trial.writes.items() if cell in driver.reads),
        *(
            seen
            for changed in (driver.writes, driver.changes)
            for cell, seen in changed.items()
            if cell in trial.reads
        ),
    ]
    return list({seen.name: seen for seen in (*trial.state(), *handed)}.values())


def _walk_trial(walk: Walk, tuner: SearchingTuner, own: Overridden, given: Iterable[Any]) -> None:
    """Walk what runs in a trial, in its order."""
    of_worker = [name for name in HOOKS if name in own.names and HOOKS[name].place != "driver"]
    hypermodel = hypermodel_of(tuner)
    here, model = Kept("self", tuner), Kept("self", hypermodel)
    for name in (name for name in _FIRST if name in of_worker):
        walk.follow(member(here, name))
    if isinstance(hypermodel, FunctionHyperModel):
        walk.follow(Kept("build", hypermodel.function))
    for each in vars(hypermodel).values():  # such as what a hypermodel of a library calls
        _walk_given(walk, each)
    for name in _OF_HYPERMODEL:
        if is_overridden(hypermodel, name, HyperModel):
            walk.follow(member(model, name))
    for name in (name for name in of_worker if name not in _FIRST):
        walk.follow(member(here, name))
    for each in given:
        _walk_given(walk, each)


def _walk_given(walk: Walk, given: Any) -> None:
    if isinstance(given, (list, tuple)):
        for each in given[:_LOOKED_AT]:
            _walk_given(walk, each)
    elif isinstance(given, keras.callbacks.Callback):
        walk.follow_instance(type(given), given)
    elif isinstance(given, (types.FunctionType, types.MethodType, functools.partial)):
        walk.follow(Kept(getattr(given, "__name__", "function"), given))


def _walk_oracle(walk: Walk, oracle: Any) -> None:
    for kind in type(oracle).__mro__:
        if walk.trees.is_own_class(kind):
            for name in vars(kind):
                walk.follow(member(Kept("self", oracle), name))


def _packages(tuner: SearchingTuner) -> set[str]:
    """Return the packages of the classes that run trials."""
    things = (tuner, tuner.hypermodel, getattr(tuner.hypermodel, "function", None))
    kinds = [kind for thing in things for kind in type(thing).__mro__]
    modules = [kind.__module__ for kind in kinds] + [getattr(things[-1], "__module__", None) or ""]
    return {module.partition(".")[0] for module in modules} - sys.stdlib_module_names - {""}
