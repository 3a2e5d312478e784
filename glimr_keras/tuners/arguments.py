"""Checks of what users pass to a tuner; each message says what was received and how to mend it.
Runs in the driver.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import keras
from ray import tune

from glimr_keras._utils.checks import checked_count, checked_seconds
from glimr_keras.errors import ObjectiveError, did_you_mean
from glimr_keras.executors.base import Executor
from glimr_keras.executors.policies import FailurePolicy
from glimr_keras.training.discovery import Probe
from glimr_keras.trials.objective import DEFAULT, Objective


def check_recognized(unrecognized: Mapping[str, Any], kind: type) -> None:
    """Refuses arguments that a class collected under names that are not its own.

    Raises:
        ValueError: If there are any.
    """
    if unrecognized:
        known = {name for base in kind.__mro__ for name in inspect.signature(base).parameters}
        hints = "".join(did_you_mean(name, known) for name in unrecognized)
        raise ValueError(f"Unrecognized arguments {list(unrecognized)} for {kind.__name__}.{hints}")


def check_executor(executor: Any, of_ray_only: Mapping[str, Any]) -> None:
    """Refuses an executor that there is not, and arguments that it would not see.

    Args:
        executor: A name or an `Executor`.
        of_ray_only: Arguments of a tuner that only Ray's executor knows; `None` if not given.

    Raises:
        ValueError: If it is neither, or runs trials without regard to an argument that was given.
    """
    if isinstance(executor, Executor):
        ignored, own = tuple(of_ray_only), ", or pass it to the executor itself"
    elif executor in ("ray", "inline"):
        ignored, own = ("scheduler", "reporter") if executor == "inline" else (), ""
    else:
        raise ValueError(
            "`executor` must be 'ray', 'inline', or an `Executor` of `glimr_keras.executors`. "
            f"Received: executor={executor!r}"
        )
    for name in ignored:
        if of_ray_only[name] is not None:
            raise ValueError(
                f"A Ray `{name}` needs `executor='ray'`{own}. Received: executor={executor!r}"
            )


def checked_resources(resources: Mapping[str, float] | None) -> dict[str, float]:
    """The resources of one execution by name, with CPUs and GPUs among them."""
    if resources is not None and not isinstance(resources, Mapping):
        raise TypeError(
            f"`resources_per_trial` must be a dict such as {{'cpu': 1, 'gpu': 0.5}}. Received: "
            f"{resources!r}"
        )
    given = {
        name.lower() if name.lower() in ("cpu", "gpu") else name: amount
        for name, amount in (resources or {}).items()
    }
    wanted = {"cpu": 1, "gpu": 0, **given}
    for name, amount in wanted.items():
        if isinstance(amount, bool) or not isinstance(amount, (int, float)) or amount < 0:
            raise ValueError(
                f"`resources_per_trial[{name!r}]` must be a number of at least 0. Received: "
                f"{amount!r}"
            )
    if wanted["cpu"] == 0:
        raise ValueError(
            "`resources_per_trial['cpu']` must be above 0. Received: "
            f"resources_per_trial={dict(resources or {})}"
        )
    return wanted


def checked_verbosity(verbose: Any) -> int:
    """`verbose` as a number from 0 to 3."""
    if verbose == "auto":
        return 1
    if isinstance(verbose, (bool, int)) and 0 <= verbose <= 3:
        return int(verbose)
    raise ValueError(f"`verbose` must be 0, 1, 2, 3 or 'auto'. Received: verbose={verbose!r}")


def sorted_callbacks(
    callbacks: Any,
) -> tuple[tuple[keras.callbacks.Callback, ...], tuple[tune.Callback, ...]]:
    """Keras' callbacks, and Ray Tune's."""
    if isinstance(callbacks, (keras.callbacks.Callback, tune.Callback)):
        callbacks = [callbacks]
    if callbacks is not None and not isinstance(callbacks, (list, tuple)):
        raise TypeError(f"`callbacks` must be a list. Received: callbacks={callbacks!r}")
    for callback in callbacks or ():
        if not isinstance(callback, (keras.callbacks.Callback, tune.Callback)):
            raise TypeError(
                f"`callbacks` must be Keras or Ray Tune callbacks. Received: {callback!r}"
            )
    of_keras = tuple(
        callback for callback in callbacks or () if isinstance(callback, keras.callbacks.Callback)
    )
    return of_keras, tuple(
        callback for callback in callbacks or () if isinstance(callback, tune.Callback)
    )


def checked_failure_policy(
    max_consecutive_failed_trials: Any,
    max_failures: Any,
    max_retries_per_trial: Any,
    trial_time_limit_s: Any,
    state_interval_s: Any,
    keep_top_k: Any,
) -> FailurePolicy:
    """What a search bears, by the names of a tuner's arguments."""
    interval = state_interval_s
    return FailurePolicy(
        failed_in_a_row=checked_count(
            "max_consecutive_failed_trials", max_consecutive_failed_trials
        ),
        failures=checked_count("max_failures", max_failures, at_least=-1),
        retries=checked_count("max_retries_per_trial", max_retries_per_trial, at_least=0),
        seconds=None
        if trial_time_limit_s is None
        else checked_seconds("trial_time_limit_s", trial_time_limit_s),
        state_interval=interval
        if interval is None or interval == 0
        else checked_seconds("state_interval_s", interval),
        keep_top_k=None if keep_top_k is None else checked_count("keep_top_k", keep_top_k),
    )


def checked_points(points: Any) -> tuple[Mapping[str, Any], ...]:
    """Configurations as a user gives them: a sequence of mappings."""
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
    """The objective with its direction, if the model logs it.

    Raises:
        ObjectiveError: If it does not.
    """
    directions = found.log_directions
    if directions is None:  # a custom `fit` decides what is logged
        return objective.resolved(found.inferred_directions)
    for part in objective.parts:
        if has_callbacks and part.direction is not None:  # a callback of the user may log it
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
