"""The methods of a tuner that a subclass may override, and where each runs. Runs in the driver.

Worker hooks run on a copy of the tuner that lacks the driver's own state; attributes set on `self`
there stay there. With inline trials, both are the same process and the tuner is the original.

No method of a tuner has a name that KerasTuner lacks, since subclasses may use any other name for
their own methods and attributes.
"""

from __future__ import annotations

import dataclasses
from types import MappingProxyType
from typing import Any, Literal, Protocol

from glimr_keras._utils.overriding import is_overridden
from glimr_keras.models.hypermodel import HyperModel
from glimr_keras.oracles import Oracle
from glimr_keras.trials.trial import Trial
from glimr_keras.tuners.settings import TunerState

Place = Literal["worker", "driver", "either"]
Purpose = Literal["loop", "logs", "epochs", "batches", "models", "search", "trials", "state"]


@dataclasses.dataclass(frozen=True)
class Hook:
    """A method that a subclass may override.

    Attributes:
        place: Where it runs. `"either"`: where its caller runs, such as a user-defined `run_trial`.
        purpose: Its purpose. A tuner that overrides a `"loop"` hook runs trials in its own way.
    """

    place: Place
    purpose: Purpose


class Hooks:
    """The methods of a tuner that do nothing unless a subclass overrides them."""

    def on_epoch_begin(self, trial: Trial, model: Any, epoch: int, logs: Any = None) -> None:
        """Run in the worker at the beginning of each epoch, counted from 0."""

    def on_epoch_end(self, trial: Trial, model: Any, epoch: int, logs: Any = None) -> None:
        """Run in the worker at the end of each epoch, counted from 0."""

    def on_batch_begin(self, trial: Trial, model: Any, batch: int, logs: Any = None) -> None:
        """Run in the worker at the beginning of each training batch, counted from 0."""

    def on_batch_end(self, trial: Trial, model: Any, batch: int, logs: Any = None) -> None:
        """Run in the worker at the end of each training batch, counted from 0."""

    def on_search_begin(self) -> None:
        """Run in the driver before the first trial."""

    def on_search_end(self) -> None:
        """Run in the driver after the last trial."""

    def on_trial_begin(self, trial: Trial) -> None:
        """Run in the driver when a trial begins, in the order of trial ids."""

    def on_trial_end(self, trial: Trial) -> None:
        """Run in the driver when a trial has ended, in the order in which they end.

        `trial` has its score.
        """

    def pre_create_trial(self) -> None:
        """Run in the driver before the oracle creates a trial."""


HOOKS = MappingProxyType(
    {
        "run_trial": Hook("worker", "loop"),
        "_build_and_fit_model": Hook("worker", "loop"),
        "_try_build": Hook("worker", "loop"),
        "_build_hypermodel": Hook("worker", "loop"),
        "_configure_tensorboard_dir": Hook("worker", "logs"),
        "_get_tensorboard_dir": Hook("worker", "logs"),
        "on_epoch_begin": Hook("worker", "epochs"),
        "on_epoch_end": Hook("worker", "epochs"),
        "on_batch_begin": Hook("worker", "batches"),
        "on_batch_end": Hook("worker", "batches"),
        "save_model": Hook("either", "models"),
        "load_model": Hook("either", "models"),
        "get_trial_dir": Hook("either", "models"),
        "on_search_begin": Hook("driver", "search"),
        "on_search_end": Hook("driver", "search"),
        "_populate_initial_space": Hook("driver", "search"),
        "pre_create_trial": Hook("driver", "trials"),
        "on_trial_begin": Hook("driver", "trials"),
        "on_trial_end": Hook("driver", "trials"),
        "save": Hook("driver", "state"),
        "get_state": Hook("driver", "state"),
        "set_state": Hook("driver", "state"),
        "_get_tuner_fname": Hook("driver", "state"),
    }
)
"""All hooks, by name."""


@dataclasses.dataclass(frozen=True)
class Overridden:
    """The hooks that a tuner overrides.

    Attributes:
        names: Their names.
        is_whole_trial: Whether its `run_trial` runs once per trial, because it does not call
            another `run_trial` that runs the executions.
    """

    names: frozenset[str]
    is_whole_trial: bool

    def has(self, purpose: Purpose) -> bool:
        """Return whether one of the hooks has this purpose."""
        return any(HOOKS[name].purpose == purpose for name in self.names)

    @property
    def runs_in_worker(self) -> bool:
        """Return whether workers need the tuner."""
        return any(HOOKS[name].place == "worker" for name in self.names)


def overridden(tuner: object, base: type) -> Overridden:
    """Return the hooks of `base` that a tuner or its class overrides."""
    names = frozenset(name for name in HOOKS if is_overridden(tuner, name, base))
    return Overridden(names, "run_trial" in names and not _calls_another(tuner, base))


def _calls_another(tuner: object, base: type) -> bool:
    """Return whether a user-defined `run_trial` calls another one."""
    places = [tuner, *(kind for kind in type(tuner).__mro__ if kind is not base)]
    own = [vars(place)["run_trial"] for place in places if "run_trial" in vars(place)]
    codes = [getattr(function, "__code__", None) for function in own]
    return any("run_trial" in code.co_names for code in codes if code is not None)


class SearchingTuner(Protocol):
    """The attributes that a search reads from a tuner, and the hooks it calls in the driver."""

    hypermodel: Any
    oracle: Oracle
    project_name: str
    executions_per_trial: int
    max_model_size: int | None
    optimizer: Any
    loss: Any
    metrics: Any
    distribution_strategy: Any
    _glimr: TunerState

    def on_search_begin(self) -> None: ...
    def on_search_end(self) -> None: ...
    def pre_create_trial(self) -> None: ...
    def on_trial_begin(self, trial: Trial) -> None: ...
    def on_trial_end(self, trial: Trial) -> None: ...
    def _populate_initial_space(self) -> None: ...
    def save(self) -> None: ...
    def set_state(self, state: dict[str, Any]) -> None: ...
    def _get_tuner_fname(self) -> str: ...


def hypermodel_of(tuner: SearchingTuner) -> HyperModel:
    """Return the tuner's hypermodel, or an empty one if it has none."""
    return HyperModel() if tuner.hypermodel is None else tuner.hypermodel
