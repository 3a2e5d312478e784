"""Which code of the user's runs in trials, and which state it keeps from one to the next. Runs in
the driver.
"""

from __future__ import annotations

import functools
import re
import sys
import types
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import keras

from glimr_keras._utils.overriding import is_overridden
from glimr_keras.code.record import KeptState
from glimr_keras.code.trees import CodeTrees
from glimr_keras.code.values import Kept, Reference, member, parts_of
from glimr_keras.code.walk import Walk
from glimr_keras.models.data import FitArguments
from glimr_keras.models.hypermodel import FunctionHyperModel, HyperModel
from glimr_keras.training.messages import Change
from glimr_keras.tuners.hooks import HOOKS, Overridden, SearchingTuner, hypermodel_of

_NO_ARGUMENTS = FitArguments()
_FIRST = ("run_trial", "_build_and_fit_model", "_build_hypermodel", "_try_build")
_OF_TRIAL = ("run_trial", "_build_and_fit_model")
"""Hooks that are given a trial and what the search is given."""
_BEFORE = ("set_state", "_populate_initial_space")
"""Hooks that run before trials get the tuner."""
_LOOKED_AT = 100
_OF_HYPERMODEL = ("data", "build", "fit", "run")


class TrialCode:
    """The code of the user's that runs in trials.

    Args:
        tuner: The user's.
        own: The hooks that it has of its own.
        given: Callbacks, of which each trial has a copy.
        arguments: What `fit`, or a `run_trial` of the user's own, is given.

    Attributes:
        kept: The state that trials would keep from one to the next, as far as their code shows it.
            What is handed on between trials and hooks that run in the driver is such state too.
    """

    def __init__(
        self,
        tuner: SearchingTuner,
        own: Overridden,
        given: Iterable[Any] = (),
        arguments: FitArguments = _NO_ARGUMENTS,
    ) -> None:
        self._trees = CodeTrees(_packages(tuner))
        self._trial, driver = Walk(self._trees), Walk(self._trees)
        _walk_trial(self._trial, tuner, own, arguments)
        for each in (*given, *arguments.args, *arguments.kwargs.values()):
            _walk_given(self._trial, each)
        for name in sorted(own.names):
            if HOOKS[name].place != "worker" and name not in _BEFORE:
                driver.fresh.clear()
                driver.follow(member(Kept("self", tuner), name))
        if self._trees.is_own_class(type(tuner.oracle)):
            _walk_oracle(driver, tuner.oracle)
        found = [*self._trial.state(), *_handed(self._trial, driver), *_handed(driver, self._trial)]
        self.kept = list({id(seen): seen for seen in found}.values())

    def expects(self, change: Change) -> bool:
        """Return whether a change that a trial left is told of already, or matters to no one: it
        is assigned in each trial, or was nothing before, and the script does not read it.
        """
        told = (*self.kept, *self._trial.orders.values())
        if any(change.name in _path(seen) for seen in told):
            return True
        written = {
            _path(seen)[-1] for seen in self._trial.writes.values() if change.name in _path(seen)
        }
        if not written:
            return change.was_none
        walked = self._trial.walked
        return not any(self._trees.is_attribute_read(name, walked) for name in written)


def look_at(
    tuner: SearchingTuner,
    own: Overridden,
    given: Iterable[Any] = (),
    arguments: FitArguments = _NO_ARGUMENTS,
) -> TrialCode | None:
    """Return what is seen of the code of trials, or `None`, with a warning, if looking fails.

    Args:
        tuner, own, given, arguments: As for `TrialCode`.
    """
    try:
        return TrialCode(tuner, own, given, arguments)
    except Exception as error:
        warnings.warn(
            "Whether trials keep state from one to the next could not be told: "
            f"{type(error).__name__}: {error}. If they do, pass `executor='inline'`.",
            stacklevel=2,
        )
        return None


def _handed(giver: Walk, taker: Walk) -> list[KeptState]:
    """What one changes and the other reads."""
    return [
        seen
        for changed in (giver.writes, giver.changes)
        for cell, seen in changed.items()
        if cell in taker.reads
    ]


def _path(seen: KeptState) -> list[str]:
    """The names by which the code gets to something."""
    return re.sub(r"\[.*?\]", "", seen.name).split(".")


def _walk_trial(
    walk: Walk, tuner: SearchingTuner, own: Overridden, arguments: FitArguments
) -> None:
    """Walk what runs in a trial, in its order."""
    of_worker = [name for name in HOOKS if name in own.names and HOOKS[name].place != "driver"]
    hypermodel = hypermodel_of(tuner)
    here, model = Kept("self", tuner), Kept("self", hypermodel)
    args, kwargs = _objects(walk, arguments)
    for name in (name for name in _FIRST if name in of_worker):
        of_trial = [[None, *args], kwargs]
        walk.follow(member(here, name), *(of_trial if name in _OF_TRIAL else ()))
    if isinstance(hypermodel, FunctionHyperModel):
        walk.follow(Kept("build", hypermodel.function))
    for name, each in vars(hypermodel).items():  # such as what a hypermodel of a library calls
        _walk_given(walk, each, f"self.{name}")
    for name in _OF_HYPERMODEL:
        if is_overridden(hypermodel, name, HyperModel):
            of_fit = [[None, None, *args], {"callbacks": None, **kwargs}]
            walk.follow(member(model, name), *(of_fit if name == "fit" else ()))
    for name in (name for name in of_worker if name not in _FIRST):
        walk.follow(member(here, name))


def _objects(walk: Walk, arguments: FitArguments) -> tuple[list[Reference], dict[str, Reference]]:
    """The objects of the user's among arguments, which all trials share; callbacks are copied."""

    def shared(name: str, value: Any) -> Reference:
        is_copied = isinstance(value, keras.callbacks.Callback)
        return Kept(name, value) if walk.trees.has_own_code(value) and not is_copied else None

    args = [shared(type(each).__name__, each) for each in arguments.args]
    return args, {name: shared(name, each) for name, each in arguments.kwargs.items()}


def _walk_given(walk: Walk, given: Any, name: str | None = None) -> None:
    """Walk a callback, a function, an object of the user's, or those in a container.

    Args:
        name: How the code calls it, where all trials have one. Callbacks that a search is given are
            copied for each.
    """
    for each in parts_of(Kept(name or type(given).__name__, given), _LOOKED_AT):
        value = each.value
        if name is None and isinstance(value, keras.callbacks.Callback):
            walk.follow_instance(type(value), value)
        elif isinstance(value, (types.FunctionType, types.MethodType, functools.partial)):
            walk.follow(Kept(getattr(value, "__name__", "function"), value))
        elif not isinstance(value, Iterator):  # which no two trials can read
            walk.follow_object(each)


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
