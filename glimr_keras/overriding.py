"""What a subclass of a tuner may override, under the names that KerasTuner gave it. Runs in driver and worker.

`run_trial` and what it calls, and what is told of epochs and batches, run in the worker, on a copy of the tuner without what
only the driver has: what is set on `self` there stays there. `on_search_…` and `on_trial_…` run in the driver. With
`executor="inline"` both are the same process, and the tuner is the user's own.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import pathlib
from collections.abc import Iterator
from typing import Any

import keras

from glimr_keras import checkpoints
from glimr_keras.compiling import Compiling
from glimr_keras.hypermodel import HyperModel
from glimr_keras.hyperparameters import HyperParameters
from glimr_keras.job import build
from glimr_keras.objective import Objective
from glimr_keras.oracles import Oracle
from glimr_keras.training import Training
from glimr_keras.trial_callbacks import logs_directory, place_logs
from glimr_keras.trials import Trial, TrialStatus

_OF_DRIVER = (
    *("_mirror", "_wanted", "stopper", "reporter", "scheduler", "_callbacks", "_tolerance", "warm_start"),
    *("optimizer", "loss", "distribution_strategy", "logger"),  # which `_compiling` has
)
_BATCHES = ("on_batch_begin", "on_batch_end")
_OWN_LOOP = ("run_trial", "_build_and_fit_model", "_try_build", "_build_hypermodel")
_LOGS = ("_configure_tensorboard_dir", "_get_tensorboard_dir")
_IN_WORKER = (*_OWN_LOOP, *_LOGS, "on_epoch_begin", "on_epoch_end", *_BATCHES)


@functools.lru_cache(maxsize=10_000)
def _read_trial(file: pathlib.Path, changed: int) -> Trial:
    """A trial that is written down, as it was when the file was changed last."""
    return Trial.load(file)


class Overridable:
    """How a tuner runs a trial, and whom it tells."""

    hypermodel: HyperModel | None
    oracle: Oracle
    _compiling: Compiling
    _place: pathlib.Path
    _is_copy = False
    """Whether this is what a worker has."""
    _training: Training | None = None
    """In the worker: the training that runs now."""

    # In the worker

    def run_trial(self, trial: Trial, *args: Any, **kwargs: Any) -> Any:
        """Runs one execution of a trial. Override it to run trials in your own way.

        One that calls this method is called for each execution of a trial, and any other once.

        Args:
            trial: Its `hyperparameters` are what `build` gets.
            *args: What `search` was given; of a cross validation, the data of the fold.
            **kwargs: Likewise. `super().run_trial(trial, *args, **kwargs)` takes them as Keras' `fit` does.

        Returns:
            The objective's value, a dict of metrics with the objective among them, Keras' `History`, or a list of those, of
            which the mean counts; this method returns such a list. `None` where `self.oracle.update_trial` was called instead.
        """
        training = self._trains()
        return [self._build_and_fit_model(trial, *args, **training.arguments(args, kwargs))]

    def _build_and_fit_model(self, trial: Trial, *args: Any, **kwargs: Any) -> Any:
        """Builds and trains the model of a trial; `kwargs` have the callbacks that report and save."""
        return self._trains().fit(self._try_build(trial.hyperparameters), *args, **kwargs)

    def _try_build(self, hp: HyperParameters) -> keras.Model:
        """Builds the model of a configuration, and refuses one that is too large."""
        model = self._build_hypermodel(hp)
        return model if self._training is None else self._training.sized(model)

    def _build_hypermodel(self, hp: HyperParameters) -> keras.Model:
        """Builds and compiles the model of a configuration."""
        return build(self._model, hp, self._compiling)

    @property
    def _model(self) -> HyperModel:
        """The hypermodel, or one that builds nothing where there is none."""
        return self.hypermodel or HyperModel()

    def save_model(self, trial_id: str, model: Any, step: int = 0) -> None:
        """Saves the weights of a model that `run_trial` trained in its own way, so that `get_best_models` finds them.

        Override it, and `load_model`, for models of another kind.

        Args:
            step: The epoch, counted from 0.
        """
        self._trains().save(model, step + 1)

    def load_model(self, trial: Trial) -> Any:
        """Loads what `save_model` saved: in `run_trial`, what this training has saved so far."""
        if self._training is None:
            return super().load_model(trial)  # type: ignore[misc]  # of `Results`
        model = self._try_build(trial.hyperparameters)
        checkpoints.load(model, self._training.run.directory)
        return model

    def get_trial_dir(self, trial_id: str) -> str:
        """The directory of a trial; in `run_trial`, of the execution that runs."""
        is_of_training = self._training is not None and self._training.run.trial_id == trial_id
        directory = self._training.run.directory if is_of_training else super().get_trial_dir(trial_id)  # type: ignore[union-attr, misc]
        pathlib.Path(directory).mkdir(parents=True, exist_ok=True)
        return str(directory)

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

    def _override_compile_args(self, model: keras.Model) -> None:
        """Compiles a model with the optimizer, loss and metrics that were given to the tuner."""
        self._compiling.apply(model)

    @property
    def _loads_otherwise(self) -> bool:
        return self._overrides("load_model")

    def on_epoch_begin(self, trial: Trial, model: keras.Model, epoch: int, logs: Any = None) -> None:
        """Called in the worker at the beginning of each epoch, counted from 0."""

    def on_epoch_end(self, trial: Trial, model: keras.Model, epoch: int, logs: Any = None) -> None:
        """Called in the worker at the end of each epoch, counted from 0."""

    def on_batch_begin(self, trial: Trial, model: keras.Model, batch: int, logs: Any = None) -> None:
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
        """Called in the driver when a trial has ended, in the order in which they end; `trial` has its score."""

    def pre_create_trial(self) -> None:
        """Called in the driver before the oracle is asked for a trial."""

    # What is overridden

    def _overrides(self, *names: str) -> bool:
        return any(name in vars(self) or getattr(type(self), name) is not getattr(Overridable, name) for name in names)

    @property
    def has_own_loop(self) -> bool:
        """Whether a subclass runs trials in its own way."""
        return self._overrides(*_OWN_LOOP)

    @property
    def runs_once(self) -> bool:
        """Whether a subclass's `run_trial` is a whole trial, since it calls no other `run_trial` that has its executions."""
        places = [self, *(kind for kind in type(self).__mro__ if kind is not Overridable)]
        own = [vars(place)["run_trial"] for place in places if "run_trial" in vars(place)]
        codes = [getattr(function, "__code__", None) for function in own]
        return bool(own) and not any("run_trial" in code.co_names for code in codes if code is not None)

    @property
    def is_told_of_batches(self) -> bool:
        """Whether a subclass wants to know of batches."""
        return self._overrides(*_BATCHES)

    def _in_worker(self, objective: Objective, is_inline: bool) -> Any:
        """The tuner as workers get it; `None` where nothing that runs there is overridden."""
        if not self._overrides(*_IN_WORKER):
            return None
        if is_inline:
            return self
        tuner = copy.copy(self)
        for name in _OF_DRIVER:
            vars(tuner).pop(name, None)
        tuner.oracle = Oracle(objective, self.oracle.max_trials, seed=self.oracle.seed)
        tuner._is_copy = True
        return tuner

    def _trains(self) -> Training:
        if self._training is None:
            raise RuntimeError(
                "`run_trial` trains within a search. To train a model yourself, use `hypermodel.build` and `fit`."
            )
        return self._training

    def _read_other_trials(self, running: Trial) -> None:
        """Tells the worker's oracle of the trials so far, as they are written down in the project, where that is at hand."""
        found = {}
        for file in sorted(self._place.glob("trial_*/trial.json")):
            with contextlib.suppress(OSError, ValueError, KeyError):  # one that is just being written
                trial = _read_trial(file, file.stat().st_mtime_ns)
                found[trial.trial_id] = trial
        self.oracle.trials = found | {running.trial_id: running}
        self.oracle.start_order = list(self.oracle.trials)
        self.oracle.end_order = [trial_id for trial_id, trial in found.items() if trial.status != TrialStatus.RUNNING]

    @contextlib.contextmanager
    def _training_of(self, training: Training) -> Iterator[None]:
        """In the worker: for the time of one training."""
        self._training = training
        if self._is_copy:
            self._read_other_trials(training.trial)
        try:
            yield
        finally:
            self._training = None
