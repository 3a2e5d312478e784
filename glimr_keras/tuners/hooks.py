"""What a subclass of a tuner may override, under the names that KerasTuner gave it. Runs in driver
and worker.

`run_trial` and what it calls, and what is told of epochs and batches, run in the worker, on a copy
of the tuner without what only the driver has: what is set on `self` there stays there.
`on_search_…` and `on_trial_…` run in the driver. With `executor="inline"` both are the same
process, and the tuner is the user's own.

No method has a name that KerasTuner does not have, since a subclass may have methods and attributes
of any other name.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import os
import pathlib
from typing import Any

import keras

from glimr_keras._utils.checks import checked_count
from glimr_keras._utils.files import write_json
from glimr_keras.executors.serialization import sent
from glimr_keras.models.compile_overrides import OF_TUNER, CompileOverrides, MadeAnew
from glimr_keras.models.data import FitArguments
from glimr_keras.models.hypermodel import HyperModel
from glimr_keras.oracles import Oracle
from glimr_keras.project import checkpoints
from glimr_keras.results.results import Results
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.training.context import TrialContext
from glimr_keras.training.discovery import built_space
from glimr_keras.training.execution import ExecutionRunner
from glimr_keras.training.trial_loop import loop_of
from glimr_keras.training.user_callbacks import logs_directory, place_logs
from glimr_keras.trials.objective import Objective
from glimr_keras.trials.trial import Trial, TrialStatus
from glimr_keras.tuners.settings import TunerState

_BATCHES = ("on_batch_begin", "on_batch_end")
_OWN_LOOP = ("run_trial", "_build_and_fit_model", "_try_build", "_build_hypermodel")
_LOGS = ("_configure_tensorboard_dir", "_get_tensorboard_dir")
_IN_WORKER = (*_OWN_LOOP, *_LOGS, "on_epoch_begin", "on_epoch_end", *_BATCHES)


class TunerHooks(Results):
    """How a tuner runs a trial, and whom it tells."""

    oracle: Oracle
    executions_per_trial: int
    max_model_size: int | None
    tuner_id: str
    optimizer: Any
    loss: Any
    metrics: Any
    distribution_strategy: Any
    logger: Any
    _glimr: TunerState

    # In the worker

    def run_trial(self, trial: Trial, *args: Any, **kwargs: Any) -> Any:
        """Runs one execution of a trial. Override it to run trials in your own way.

        One that calls this method is called for each execution of a trial, and any other once.

        Args:
            trial: Its `hyperparameters` are what `build` gets.
            *args: What `search` was given; of a cross validation, the data of the fold.
            **kwargs: Likewise. `super().run_trial(trial, *args, **kwargs)` takes them as Keras'
                `fit` does.

        Returns:
            The objective's value, a dict of metrics with the objective among them, Keras'
            `History`, or a list of those, of which the mean counts; this method returns such a
            list. `None` where `self.oracle.update_trial` was called instead.
        """
        runner = _runner_of(self)
        return [self._build_and_fit_model(trial, *args, **runner.arguments(args, kwargs))]

    def _build_and_fit_model(self, trial: Trial, *args: Any, **kwargs: Any) -> Any:
        """Build and train a trial's model; `kwargs` have the callbacks that report and save."""
        return _runner_of(self).fit(self._try_build(trial.hyperparameters), *args, **kwargs)

    def _try_build(self, hp: HyperParameters) -> keras.Model:
        """Builds the model of a configuration, and refuses one that is too large."""
        model = self._build_hypermodel(hp)
        runner = self._glimr.runner
        return model if runner is None else runner.sized(model)

    def save_model(self, trial_id: str, model: Any, step: int = 0) -> None:
        """Saves the weights of a model that `run_trial` trained in its own way, so that
        `get_best_models` finds them.

        Override it, and `load_model`, for models of another kind.

        Args:
            step: The epoch, counted from 0.
        """
        _runner_of(self).save(model, step + 1)

    def load_model(self, trial: Trial) -> Any:
        """Loads what `save_model` saved: in `run_trial`, what this training has saved so far."""
        runner = self._glimr.runner
        if runner is None:
            return super().load_model(trial)
        model = self._try_build(trial.hyperparameters)
        checkpoints.load(model, runner.spec.directory)
        return model

    def get_best_models(
        self, num_models: int = 1
    ) -> list[Any]:  # with the documentation of `Results`
        if not has_own(self, "load_model"):
            return super().get_best_models(num_models)
        best = self._glimr.best(self._glimr.read(), checked_count("num_models", num_models))
        return [self.load_model(trial) for trial in best]

    def get_trial_dir(self, trial_id: str) -> str:
        """The directory of a trial; in `run_trial`, of the execution that runs."""
        runner = self._glimr.runner
        is_of_runner = runner is not None and runner.spec.trial_id == trial_id
        directory = (
            runner.spec.directory
            if runner is not None and is_of_runner
            else super().get_trial_dir(trial_id)
        )
        pathlib.Path(directory).mkdir(parents=True, exist_ok=True)
        return directory

    # What KerasTuner's own `run_trial` calls, for copies of it

    def _deepcopy_callbacks(self, callbacks: Any) -> Any:
        """A copy of the callbacks, which are one execution's own already."""
        return copy.deepcopy(callbacks)

    def _configure_tensorboard_dir(self, callbacks: Any, trial: Trial, execution: int = 0) -> None:
        """Gives each `TensorBoard` among the callbacks a directory of this execution."""
        place_logs(callbacks, trial.trial_id, execution, self._get_tensorboard_dir)

    def _get_tensorboard_dir(self, logdir: Any, trial_id: str, execution: int) -> str:
        """The directory of an execution's logs."""
        return logs_directory(logdir, trial_id, execution)

    def _get_checkpoint_fname(self, trial_id: str) -> str:
        """The file with the weights of a trial's best epoch."""
        return str(pathlib.Path(self.get_trial_dir(trial_id), checkpoints.WEIGHTS))

    def _get_build_config_fname(self, trial_id: str) -> str:
        """Where a `run_trial` of the user's own may keep how its model was built; nothing else
        writes or reads it.
        """
        return str(pathlib.Path(self.get_trial_dir(trial_id), "build_config.json"))

    def _override_compile_args(self, model: keras.Model) -> None:
        """Compiles a model with the optimizer, loss and metrics that were given to the tuner."""
        CompileOverrides.of(self).apply(model)

    def on_epoch_begin(
        self, trial: Trial, model: keras.Model, epoch: int, logs: Any = None
    ) -> None:
        """Called in the worker at the beginning of each epoch, counted from 0."""

    def on_epoch_end(self, trial: Trial, model: keras.Model, epoch: int, logs: Any = None) -> None:
        """Called in the worker at the end of each epoch, counted from 0."""

    def on_batch_begin(
        self, trial: Trial, model: keras.Model, batch: int, logs: Any = None
    ) -> None:
        """Called in the worker at the beginning of each batch of training, counted from 0."""

    def on_batch_end(self, trial: Trial, model: keras.Model, batch: int, logs: Any = None) -> None:
        """Called in the worker at the end of each batch of training, counted from 0."""

    # In the driver

    def on_search_begin(self) -> None:
        """Called in the driver before the first trial."""

    def on_search_end(self) -> None:
        """Called in the driver after the last trial."""

    def on_trial_begin(self, trial: Trial) -> None:
        """Called in the driver when a trial begins, in the order of their ids."""

    def on_trial_end(self, trial: Trial) -> None:
        """Called in the driver when a trial has ended, in the order in which they end; `trial` has
        its score.
        """

    def pre_create_trial(self) -> None:
        """Called in the driver before the oracle is asked for a trial."""

    def _populate_initial_space(self) -> None:
        """Tells the oracle before a search what there is: what models ask for, as far as building
        some of them in this process tells. May be overridden.
        """
        context = TrialContext(
            hypermodel_of(self),
            self._glimr.space,
            self.oracle.wanted,
            FitArguments(),
            compile_overrides=CompileOverrides.of(self),
            loop=loop_of(hypermodel_of(self)),
        )
        self.oracle._hyperparameters.merge(built_space(context), overwrite=False)

    def save(self) -> None:
        """Writes `oracle.json` and `tuner0.json` into the project's directory, for who reads them
        there.

        The search does so itself; nothing here reads them but an oracle with a `set_state` of its
        own.
        """
        self.oracle.save(self._glimr.place / "oracle.json")
        write_json(pathlib.Path(self._get_tuner_fname()), self.get_state())

    def _get_tuner_fname(self) -> str:
        return os.path.join(self.project_dir, f"{self.tuner_id}.json")  # noqa: PTH118  # keeps `./`

    def get_state(self) -> dict[str, Any]:
        """What `save` writes of the tuner itself."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes over what `get_state` returned in an earlier session. Called where a project is
        read.
        """


# What is overridden


def has_own(tuner: TunerHooks, *names: str) -> bool:
    """Whether a subclass, or the object, has one of these methods of its own."""
    return any(
        name in vars(tuner) or getattr(type(tuner), name) is not getattr(TunerHooks, name)
        for name in names
    )


def has_own_loop(tuner: TunerHooks) -> bool:
    """Whether a subclass runs trials in its own way."""
    return has_own(tuner, *_OWN_LOOP)


def is_told_of_batches(tuner: TunerHooks) -> bool:
    """Whether a subclass wants to know of batches."""
    return has_own(tuner, *_BATCHES)


def runs_once(tuner: TunerHooks) -> bool:
    """Whether a subclass's `run_trial` is a whole trial, since it calls no other `run_trial` that
    has its executions.
    """
    places = [tuner, *(kind for kind in type(tuner).__mro__ if kind is not TunerHooks)]
    own = [vars(place)["run_trial"] for place in places if "run_trial" in vars(place)]
    codes = [getattr(function, "__code__", None) for function in own]
    return bool(own) and not any("run_trial" in code.co_names for code in codes if code is not None)


def runs_in_worker(tuner: TunerHooks) -> bool:
    """Whether a subclass overrides something that runs in the worker, so that the tuner is needed
    there.
    """
    return has_own(tuner, *_IN_WORKER)


def hypermodel_of(tuner: TunerHooks) -> HyperModel:
    """The hypermodel, or one that builds nothing where there is none."""
    return HyperModel() if tuner.hypermodel is None else tuner.hypermodel


def _runner_of(tuner: TunerHooks) -> ExecutionRunner:
    if tuner._glimr.runner is None:
        raise RuntimeError(
            "`run_trial` trains within a search. To train a model yourself, use `hypermodel.build` "
            "and `fit`."
        )
    return tuner._glimr.runner


# In the worker


@sent.register
def _(tuner: TunerHooks) -> TunerHooks:
    """The tuner as workers get it: with all that the user's own code set, and without what only the
    driver has.
    """
    copied: TunerHooks = object.__new__(type(tuner))
    anew = {name: MadeAnew(vars(tuner)[name]) for name in OF_TUNER if name in vars(tuner)}
    of_worker = {
        "oracle": _OracleMadeAnew(tuner.oracle, tuner._glimr.place),
        "_glimr": tuner._glimr.sent(),
    }
    vars(copied).update({**vars(tuner), **anew, **of_worker})
    return copied


class _OracleMadeAnew:
    """An oracle on its way to a worker, where one that chooses nothing is in its place, with the
    trials so far.
    """

    def __init__(self, oracle: Oracle, place: pathlib.Path) -> None:
        self._parts = (oracle.objective, oracle.max_trials, oracle.seed, place)

    def __reduce__(self) -> tuple[Any, ...]:
        return _oracle_with_trials, self._parts


def _oracle_with_trials(
    objective: Objective, max_trials: int | None, seed: int, place: pathlib.Path
) -> Oracle:
    """An oracle that knows the trials that are recorded in a project, where that is at hand."""
    oracle = Oracle(objective, max_trials, seed=seed)
    for file in sorted(place.glob("trial_*/trial.json")):
        with contextlib.suppress(OSError, ValueError, KeyError):  # one that is just being written
            trial = _read_trial(file, file.stat().st_mtime_ns)
            oracle.trials[trial.trial_id] = trial
    oracle.start_order = list(oracle.trials)
    oracle.end_order = [
        trial_id for trial_id, trial in oracle.trials.items() if trial.status != TrialStatus.RUNNING
    ]
    return oracle


@functools.cache
def _read_trial(file: pathlib.Path, changed: int) -> Trial:
    """A trial that is written down, as it was when the file was changed last."""
    return Trial.load(file)
