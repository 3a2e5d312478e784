"""Analysis of the user's code that runs in trials: which state it keeps from one trial to the next.
Runs in the driver.
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
"""Hooks that receive a trial and the arguments of the search."""
_BEFORE = ("set_state", "_populate_initial_space")
"""Hooks that run before the tuner is sent to trials."""
_LOOKED_AT = 100
_OF_HYPERMODEL = ("data", "build", "fit", "run")


class TrialCode:
    """The user's code that runs in trials.

    Args:
        tuner: The user's tuner.
        own: The hooks that the tuner overrides.
        given: Callbacks, which are copied for each trial. Defaults to `()`.
        arguments: Arguments of `fit`, or of a user-defined `run_trial`. Defaults to no arguments.

    Attributes:
        kept: The state that trials would keep from one to the next, as far as their code shows.
            It includes state that trials and hooks in the driver share.
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
        """Return whether a change that a trial left is already reported or does not matter.

        It does not matter if each trial assigns it, or if it was `None` before, and the script does
        not read it.
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
    """Return the analysed code of trials; if the analysis fails, warn and return `None`.

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
    """Return the state that one changes and the other reads."""
    return [
        seen
        for changed in (giver.writes, giver.changes)
        for cell, seen in changed.items()
        if cell in taker.reads
    ]


def _path(seen: KeptState) -> list[str]:
    """Return the names along the path to a piece of state."""
    return re.sub(r"\[.*?\]", "", seen.name).split(".")


def _walk_trial(
    walk: Walk, tuner: SearchingTuner, own: Overridden, arguments: FitArguments
) -> None:
    """Walk the code of a trial in the order in which it runs."""
    of_worker = [name for name in HOOKS if name in own.names and HOOKS[name].place != "driver"]
    hypermodel = hypermodel_of(tuner)
    here, model = Kept("self", tuner), Kept("self", hypermodel)
    args, kwargs = _objects(walk, arguments)
    for name in (name for name in _FIRST if name in of_worker):
        of_trial = [[None, *args], kwargs]
        walk.follow(member(here, name), *(of_trial if name in _OF_TRIAL else ()))
    if isinstance(hypermodel, FunctionHyperModel):
        walk.follow(Kept("build", hypermodel.function))
    for name, each in vars(
        hypermodel
    ).items():  # such as functions that a library's hypermodel calls
        _walk_given(walk, each, f"self.{name}")
    for name in _OF_HYPERMODEL:
        if is_overridden(hypermodel, name, HyperModel):
            of_fit = [[None, None, *args], {"callbacks": None, **kwargs}]
            walk.follow(member(model, name), *(of_fit if name == "fit" else ()))
    for name in (name for name in of_worker if name not in _FIRST):
        walk.follow(member(here, name))


def _objects(walk: Walk, arguments: FitArguments) -> tuple[list[Reference], dict[str, Reference]]:
    """Return the user's objects among arguments that all trials share; callbacks are copied."""

    def shared(name: str, value: Any) -> Reference:
        is_copied = isinstance(value, keras.callbacks.Callback)
        return Kept(name, value) if walk.trees.has_own_code(value) and not is_copied else None

    args = [shared(type(each).__name__, each) for each in arguments.args]
    return args, {name: shared(name, each) for name, each in arguments.kwargs.items()}


def _walk_given(walk: Walk, given: Any, name: str | None = None) -> None:
    """Walk a callback, a function, an object of the user, or a container of these.

    Args:
        name: Name in the code, for an object that all trials share. Defaults to `None`, for
            arguments of a search, whose callbacks are copied for each trial.
    """
    for each in parts_of(Kept(name or type(given).__name__, given), _LOOKED_AT):
        value = each.value
        if name is None and isinstance(value, keras.callbacks.Callback):
            walk.follow_instance(type(value), value)
        elif isinstance(value, (types.FunctionType, types.MethodType, functools.partial)):
            walk.follow(Kept(getattr(value, "__name__", "function"), value))
        elif not isinstance(value, Iterator):  # two trials cannot read one iterator
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
