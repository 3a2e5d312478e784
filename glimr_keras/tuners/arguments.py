"""Checks of the arguments of tuners. Each message says what was received and how to fix it. Runs in
the driver.
"""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import keras

from glimr_keras._utils.checks import checked_count, optional_count, optional_seconds
from glimr_keras._utils.late_imports import WhenUsed, if_imported
from glimr_keras.errors import FatalValueError, ObjectiveError, ShippingError, did_you_mean
from glimr_keras.executors.base import Executor
from glimr_keras.executors.policies import FailurePolicy
from glimr_keras.executors.resources import MOST_PER_GPU
from glimr_keras.oracles import Oracle
from glimr_keras.training.discovery import Probe
from glimr_keras.transport.serialization import check_sendable
from glimr_keras.trials.objective import DEFAULT, Objective
from glimr_keras.trials.score_epochs import RULES, ScoreAt

if TYPE_CHECKING:
    from ray import tune as tune  # noqa: PLC0414  # all tuners import it from here
else:
    tune = WhenUsed("ray.tune")

ExecutorChoice = Literal["auto", "ray", "inline"] | Executor
TrialsPerGpu = int | Literal["auto"]
_Value = TypeVar("_Value")


def check_recognized(unrecognized: Mapping[str, Any], kind: type) -> None:
    """Check that a class received no unknown arguments.

    Raises:
        ValueError: If there are any.
    """
    if unrecognized:
        known = {name for base in kind.__mro__ for name in inspect.signature(base).parameters}
        hints = "".join(did_you_mean(name, known) for name in unrecognized)
        raise ValueError(f"Unrecognized arguments {list(unrecognized)} for {kind.__name__}.{hints}")


def passed_on(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keyword arguments of a constructor's call, from its `locals()`."""
    named = {
        name: value
        for name, value in given.items()
        if name not in ("self", "__class__", "unrecognized")
    }
    return {**named, **given["unrecognized"]}


def with_oracle(
    kind: Callable[..., Oracle],
    given: Mapping[str, Any],
    like: Callable[..., Oracle] | None = None,
) -> dict[str, Any]:
    """Return the keyword arguments of `Tuner` from a constructor's `locals()`.

    The oracle's arguments are replaced by an oracle of this kind.

    Args:
        kind: Function or class that makes the oracle.
        given: The constructor's `locals()`.
        like: An oracle class with the same arguments. Defaults to `None`, which means `kind`.
    """
    taken = inspect.signature(like or kind).parameters
    arguments = passed_on(given)
    oracle = kind(**{name: arguments.pop(name) for name in taken if name in arguments})
    return {"oracle": oracle, **arguments}


class _Unless:
    """A placeholder for an argument that was not given, shown as its effective default."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __repr__(self) -> str:
        return repr(self._value)


def unless_given(value: _Value) -> _Value:
    """Return a default that is not passed on and that signatures show as `value`."""
    return cast(_Value, _Unless(value))


def given_only(function: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the given arguments whose default is `unless_given`, from a function's `locals()`."""
    return {
        name: given[name]
        for name, default in function.__kwdefaults__.items()
        if isinstance(default, _Unless) and not isinstance(given[name], _Unless)
    }


class settable_property:  # noqa: N801  # used like `property`
    """A property that subclasses may set to any value."""

    def __init__(self, read: Callable[[Any], Any]) -> None:
        self._read, self.__doc__ = read, read.__doc__

    def __get__(self, tuner: Any, kind: type) -> Any:
        return self if tuner is None else self._read(tuner)


def checked_oracle(oracle: Any) -> None:
    """Check that an argument is an oracle with a valid budget and seed."""
    if not isinstance(oracle, Oracle):
        raise FatalValueError(
            f"Expected `oracle` argument to be an instance of `Oracle`. Received: oracle={oracle!r}"
        )
    optional_count("max_trials", oracle.max_trials)
    checked_count("seed", oracle.seed, at_least=0)


def checked_score_at(score_at: Any) -> ScoreAt | None:
    """Return the rule for the scored epoch, or `None` for the default one."""
    if score_at is not None and score_at not in RULES:
        raise ValueError(f"`score_at` must be one of {RULES}. Received: score_at={score_at!r}")
    return cast(ScoreAt | None, score_at)


def checked_resources(resources: Mapping[str, float] | None) -> dict[str, float] | None:
    """Return the resources of one execution by name; `None` for the default."""
    if resources is None:
        return None
    if not isinstance(resources, Mapping):
        raise TypeError(
            f"`resources_per_trial` must be a dict such as {{'cpu': 1, 'gpu': 0.5}}. Received: "
            f"{resources!r}"
        )
    given = {
        name.lower() if name.lower() in ("cpu", "gpu") else name: amount
        for name, amount in resources.items()
    }
    for name in given:
        meant = _MEANT.fullmatch(name.lower())
        if meant is not None and name not in ("cpu", "gpu"):
            raise ValueError(
                "`resources_per_trial` has 'cpu', 'gpu' and the custom resources of a cluster. "
                f"Did you mean {meant[1].replace('core', 'cpu')!r}? Received: "
                f"resources_per_trial={dict(resources)}"
            )
    for name, amount in given.items():
        if isinstance(amount, bool) or not isinstance(amount, (int, float)) or amount < 0:
            raise ValueError(
                f"`resources_per_trial[{name!r}]` must be a number of at least 0. Received: "
                f"{amount!r}"
            )
    if given.get("cpu") == 0:
        raise ValueError(
            "`resources_per_trial['cpu']` must be above 0. Received: "
            f"resources_per_trial={dict(resources)}"
        )
    if given.get("gpu", 0) > 1 and given["gpu"] % 1 > 0:
        raise ValueError(
            "`resources_per_trial['gpu']` must be a part of one GPU, or whole ones. Received: "
            f"resources_per_trial={dict(resources)}"
        )
    return given


def checked_trials_per_gpu(given: Mapping[str, Any]) -> TrialsPerGpu | None:
    """Return how many executions share a GPU, from a tuner's arguments by name."""
    count, resources = given["trials_per_gpu"], given["resources_per_trial"]
    if count is None:
        return None
    if any(name.lower() == "gpu" for name in resources or ()):
        raise ValueError(
            "`trials_per_gpu` says what part of a GPU a trial has, and so does "
            f"`resources_per_trial['gpu']`. Pass one of them. Received: trials_per_gpu={count!r}, "
            f"resources_per_trial={dict(resources)}"
        )
    if count == "auto":
        if given["scheduler"] is not None and _pauses(given["scheduler"]):
            raise ValueError(
                "`trials_per_gpu='auto'` measures the first trials to their end, and "
                f"{type(given['scheduler']).__name__} may pause them. Pass a number."
            )
        return "auto"
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MOST_PER_GPU:
        raise ValueError(
            f"`trials_per_gpu` must be an integer from 1 to {MOST_PER_GPU}, 'auto' or None. "
            f"Received: trials_per_gpu={count!r}"
        )
    return count


def _pauses(scheduler: Any) -> bool:
    from glimr_keras.executors.ray_scheduler import pauses

    return pauses(scheduler)


_MEANT = re.compile(r"(?:num_|n_?)?(cpu|gpu|core)s?(?:_per_trial)?")
"""Names that other libraries use for CPUs and GPUs."""


def checked_verbosity(verbose: Any) -> int:
    """Return `verbose` as a number from 0 to 3."""
    if verbose == "auto":
        return 1
    if isinstance(verbose, (bool, int)) and 0 <= verbose <= 3:
        return int(verbose)
    raise ValueError(f"`verbose` must be 0, 1, 2, 3 or 'auto'. Received: verbose={verbose!r}")


def sorted_callbacks(
    callbacks: Any,
) -> tuple[tuple[keras.callbacks.Callback, ...], tuple[tune.Callback, ...]]:
    """Return the Keras callbacks and the Ray Tune callbacks."""
    of_ray = if_imported("ray.tune.callback", "Callback")
    if isinstance(callbacks, (keras.callbacks.Callback, of_ray)):
        callbacks = [callbacks]
    if callbacks is not None and not isinstance(callbacks, (list, tuple)):
        raise TypeError(f"`callbacks` must be a list. Received: callbacks={callbacks!r}")
    for callback in callbacks or ():
        if not isinstance(callback, (keras.callbacks.Callback, of_ray)):
            raise ShippingError(
                f"`callbacks` must be Keras or Ray Tune callbacks. {_COPIES} Received: {callback!r}"
            )
    of_keras = tuple(
        callback for callback in callbacks or () if isinstance(callback, keras.callbacks.Callback)
    )
    return of_keras, tuple(callback for callback in callbacks or () if isinstance(callback, of_ray))


_COPIES = (
    "All callbacks used during a search should be deep-copyable, since each trial has its own."
)


def check_copyable(callbacks: Sequence[keras.callbacks.Callback], are_sent: bool) -> None:
    """Check that each trial can get its own copy of the callbacks.

    Args:
        callbacks: The Keras callbacks.
        are_sent: Whether they are sent to other processes.

    Raises:
        ShippingError: If a callback cannot be copied or sent.
    """
    if are_sent:
        try:
            check_sendable(callbacks, "callbacks")
        except ShippingError as error:
            raise ShippingError(f"{_COPIES} {error}") from error
        return
    for number, callback in enumerate(callbacks):
        try:
            copy.deepcopy(callback)
        except Exception as error:
            raise ShippingError(
                f"{_COPIES} Make what cannot be copied in `on_train_begin`. Received: "
                f"callbacks[{number}] is a {type(callback).__name__}, of which a copy raises "
                f"{type(error).__name__}: {error}"
            ) from error


def checked_failure_policy(oracle: Oracle, given: Mapping[str, Any]) -> FailurePolicy:
    """Return which failures a search tolerates, from the oracle and a tuner's other arguments."""
    interval = given["state_interval_s"]
    return FailurePolicy(
        failed_in_a_row=checked_count(
            "max_consecutive_failed_trials", oracle.max_consecutive_failed_trials
        ),
        failures=checked_count("max_failures", given["max_failures"], at_least=-1),
        retries=checked_count("max_retries_per_trial", oracle.max_retries_per_trial, at_least=0),
        seconds=optional_seconds("trial_time_limit_s", given["trial_time_limit_s"]),
        state_interval=0 if interval == 0 else optional_seconds("state_interval_s", interval),
        keep_top_k=optional_count("keep_top_k", given["keep_top_k"]),
    )


def checked_executor(given: Mapping[str, Any], of_ray: Sequence[tune.Callback]) -> ExecutorChoice:
    """Return the executor, by name or as an instance, if it supports all given arguments.

    Args:
        given: A tuner's arguments by name.
        of_ray: Ray's callbacks among them.

    Raises:
        ValueError: If there is no such executor, or it does not support one of the arguments.
    """
    executor = given["executor"]
    if isinstance(executor, Executor):
        unseen = {name: given[name] for name in _OF_RAYS_EXECUTOR} | {"callbacks": of_ray or None}
        own = ", or pass it to the executor itself"
    elif executor in ("auto", "ray", "inline"):
        unseen = {"callbacks": of_ray or None, **{name: given[name] for name in _OF_RAY}}
        unseen = unseen if executor == "inline" else {}
        own = ""
    else:
        raise ValueError(
            "`executor` must be 'auto', 'ray', 'inline', or an `Executor` of "
            f"`glimr_keras.executors`. Received: executor={executor!r}"
        )
    for name, value in unseen.items():
        if value is not None:
            raise ValueError(
                f"A Ray `{name}` needs `executor='ray'`{own}. Received: executor={executor!r}"
            )
    return cast(ExecutorChoice, executor)


_OF_RAY = ("scheduler", "reporter")
_OF_RAYS_EXECUTOR = (
    *_OF_RAY,
    "max_concurrent_trials",
    "trials_per_gpu",
    "max_worker_memory",
    "address",
)
"""Arguments of a tuner that only Ray's executor supports."""


def checked_points(points: Any) -> tuple[Mapping[str, Any], ...]:
    """Return the user's configurations, a sequence of mappings, as a tuple."""
    if points is None:
        return ()
    given = points if isinstance(points, Mapping) else tuple(points)
    if isinstance(given, Mapping) or not all(isinstance(point, Mapping) for point in given):
        raise TypeError(
            "`initial_points` must be a list of dicts, one for each configuration. Received: "
            f"{points!r}"
        )
    return given


def checked_objective(objective: Objective, found: Probe, has_callbacks: bool) -> Objective:
    """Return the objective with its direction, if the model logs it.

    Raises:
        ObjectiveError: If it does not.
    """
    directions = found.log_directions
    if directions is None:  # a user-defined `fit` decides what is logged
        return objective.resolved(found.inferred_directions)
    for part in objective.parts:
        if has_callbacks and part.direction is not None:  # a user-defined callback may log it
            continue
        if part == DEFAULT:
            raise ObjectiveError(
                "`objective` must name the metric to optimise, such as 'val_accuracy' or "
                "Objective('val_auc', 'max'), unless `fit` is your own and returns a number to "
                "be minimised. Received: objective=None; Keras will log: "
                f"{', '.join(sorted(directions))}"
            )
        if part.name not in directions:
            hint = did_you_mean(part.name, directions)
            if part.name.startswith("val_") and not any(
                name.startswith("val_") for name in directions
            ):
                hint = (
                    " Names with `val_` need validation data: `validation_data`, "
                    "`validation_split`, or from `HyperModel.data`."
                )
            raise ObjectiveError(
                f"No metric of the compiled model is called {part.name!r}.{hint} "
                f"Keras will log: {', '.join(sorted(directions))}"
            )
    return objective.resolved(directions)
