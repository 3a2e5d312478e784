"""One execution: data, build, fit, and its score. Runs in the worker.

`run_trial` handles its errors.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from glimr_keras.errors import ModelError, NoMetricsError
from glimr_keras.models import data
from glimr_keras.models.build import build
from glimr_keras.models.compile_overrides import maybe_distribute
from glimr_keras.models.data import FitArguments
from glimr_keras.models.hypermodel import overrides
from glimr_keras.models.label_names import adapted
from glimr_keras.project import checkpoints, model_state, model_weights
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.training import held_graphs, keras_session
from glimr_keras.training.context import (
    TrialContext,
    fit_kwargs,
    taken_by,
    task_logs,
    with_data,
)
from glimr_keras.training.kept_predictions import PredictionKeeper
from glimr_keras.training.messages import ExecutionSpec
from glimr_keras.training.returned_metrics import (
    KINDS,
    added,
    are_histories,
    last_epoch,
    metrics_of,
)
from glimr_keras.training.tracker_callbacks import ExecutionRuns
from glimr_keras.training.trial_callback import (
    BatchCallback,
    BeginsAnewError,
    TrialCallback,
    own_values,
)
from glimr_keras.training.trial_loop import ExecutionResult
from glimr_keras.training.user_callbacks import knows, of_trial
from glimr_keras.trials.execution import TrialStatus
from glimr_keras.trials.trial import Trial


class ExecutionRunner:
    """One execution of one configuration.

    The trial loop trains with it; a user-defined tuner calls it from `run_trial`.

    Args:
        context: The context of the search.
        spec: The execution.
        config: Its configuration, for the user's code.
        callback: Reports and saves.

    Attributes:
        reused_graph: Whether the last training used graphs that an earlier one had traced.
    """

    def __init__(
        self,
        context: TrialContext,
        spec: ExecutionSpec,
        config: HyperParameters,
        callback: TrialCallback,
    ) -> None:
        self.context, self.spec, self.config, self.callback = context, spec, config, callback
        self.hypermodel, self.objective = context.hypermodel, callback.objective
        self.trial = Trial(config, spec.trial_id)
        self._is_saved = self.reused_graph = False
        trackers = context.trackers if context.loop.has_model else {}
        self._runs = ExecutionRuns(trackers, spec, config)
        if context.keep_predictions:
            callback.predictions = PredictionKeeper(spec, context.folds)

    def score(self) -> ExecutionResult:
        """Train, and return the result.

        Raises:
            ModelError, ObjectiveError: If the user's code built or returned something invalid.
        """
        result = self.context.loop.train(self)
        if self.spec.keeps_state and self.callback.model is not None:
            self.callback.save_state()
        return result

    def over(self, status: str) -> None:
        """Release the training, and end its runs in trackers.

        Args:
            status: The status of the execution, ignored if the executor has stopped it; `"RUNNING"`
                if it was interrupted.
        """
        self.callback.forget_fit()
        self._runs.end(TrialStatus.STOPPED if self.callback.is_stopped else status)

    def data(self) -> FitArguments:
        """Return the data and arguments of this execution; in a cross validation, those of its
        fold.
        """
        given = with_data(self.context, self.config)
        predictions = self.callback.predictions
        if predictions is not None and not overrides(self.hypermodel, "data"):
            predictions.know(given)
        return given

    def build(self) -> keras.Model:
        """Return the compiled model."""
        return self.sized(
            build(self.context.hypermodel, self.config, self.context.compile_overrides)
        )

    def sized(self, model: keras.Model) -> keras.Model:
        """Return the model if it is not larger than allowed. A model that is not built yet is
        checked later.
        """
        if model.built:
            self.callback.check_size(model)
        return model

    def arguments(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], is_sized: bool = False
    ) -> dict[str, Any]:
        """Return the given keyword arguments of `fit`, with our callbacks and this training's
        number of epochs.

        Args:
            args: The positional arguments of `fit`.
            kwargs: The keyword arguments of `fit`.
            is_sized: Whether the model's size has been checked. Defaults to `False`.
        """
        context, spec = self.context, self.spec
        needs_batches = spec.time_limit is not None or (
            context.max_model_size is not None and not is_sized
        )
        given = [*(kwargs.get("callbacks") or ()), *context.callbacks]
        context.loop.place_logs(self, given)
        callbacks = [
            *task_logs(context, self.config),
            *self.placed(given),
            *context.loop.hooks(self),
            self.callback,
            *([BatchCallback(self.callback)] if needs_batches else []),
        ]
        kwargs = {
            **fit_kwargs(context, self.config, FitArguments(args, kwargs)),
            "callbacks": callbacks,
        }
        if "verbose" in kwargs or context.loop.is_keras_fit:
            kwargs["verbose"] = context.fit_verbose
        return kwargs if spec.epochs is None else {**kwargs, "epochs": spec.epochs}

    def fit(self, model: keras.Model, *args: Any, **kwargs: Any) -> Any:
        """Train a model, from the state of an earlier training if there is one. Return what the
        user's `fit` returns.
        """
        context, spec, callback = self.context, self.spec, self.callback
        arguments = adapted(self.config, model, FitArguments(args, kwargs))
        kwargs = dict(arguments.kwargs)
        if not model.built:
            callback.inputs = data.describe(arguments)
        if context.loop.is_keras_fit:
            _build_ahead(model, arguments, context.reuse_graphs and keras_session.is_worker())
            kwargs = taken_by(model, kwargs, context.arguments.kwargs)
        if spec.state is not None:
            kwargs["initial_epoch"] = self._go_on(model, spec.state)
        with (
            self._predicted(model, FitArguments(arguments.args, kwargs)),
            self._graphs(model, kwargs.get("callbacks") or ()) as is_reused,
        ):
            returned = context.hypermodel.fit(self.config, model, *arguments.args, **kwargs)
        self.reused_graph = is_reused()
        if callback.model is None:
            callback.set_model(model)
        model_state.warn_of_missing(callback.late)  # for a loop that begins without callbacks
        return returned

    def _predicted(
        self, model: Any, arguments: FitArguments
    ) -> contextlib.AbstractContextManager[None]:
        """Note what a model is validated on in the block, if predictions are kept."""
        predictions = self.callback.predictions
        if predictions is None:
            return contextlib.nullcontext()
        if not self.context.loop.is_keras_fit:
            return predictions.noting(model)
        predictions.note(model, arguments)
        return contextlib.nullcontext()

    def _graphs(
        self, model: Any, callbacks: Sequence[Any]
    ) -> contextlib.AbstractContextManager[Callable[[], bool]]:
        """Lend a model the graphs of an equal one, if there are any and Keras' `fit` trains. A
        user-defined `fit` may call Keras' own, which then gets only light pipelines.
        """
        if not self.context.reuse_graphs:
            return contextlib.nullcontext(lambda: False)
        if not self.context.loop.is_keras_fit:
            return held_graphs.lent_to_none()
        return held_graphs.lent_to(model, callbacks, knows)

    def save(self, model: keras.Model, epoch: int) -> None:
        """Save a model of a user-defined loop as this trial's model."""
        self.callback.set_model(model)
        self.callback.save(epoch)
        self._is_saved = True

    def _go_on(self, model: keras.Model, place: str) -> int:
        """Load the state of an earlier training, and return its epoch."""
        try:
            values = own_values(self.config)
            with maybe_distribute(getattr(model, "_distribute_strategy", None)):
                state = model_weights.load(model, place, values, self.callback.late)
        except ModelError as error:
            if self.spec.resumes:  # the script has changed since
                reason = str(error).splitlines()[0]
                warnings.warn(
                    "A training that was interrupted goes on from its state if the model is the "
                    f"same. Trial {self.spec.trial_id} begins anew. Received: {reason}",
                    stacklevel=2,
                )
                raise BeginsAnewError from error
            raise
        if self.spec.resumes:
            self.callback.go_on_from(state)
        return state.epoch

    def placed(self, callbacks: Sequence[Any]) -> list[Any]:
        """Return the user's callbacks with output paths and tracker runs of this trial."""
        return self._runs.placed(of_trial(callbacks, self.spec, self.config))

    def scored_steps(self, steps: Mapping[int, dict[str, float]]) -> ExecutionResult:
        """Return the score of the metrics, by step, that `oracle.update_trial` received."""
        objective = self.callback.objective
        good = {
            step: metrics
            for step, metrics in steps.items()
            if not (
                objective.has_value(metrics) and objective.is_void(objective.get_value(metrics))
            )
        }
        for step, metrics in steps.items():
            if step in good or not good:
                self.callback.check(metrics)
            self.callback.hold(step + 1, metrics)
        best = objective.best_step(good) or 0
        return ExecutionResult(objective.get_value(steps[best]), best + 1)

    def scored(self, returned: Any, name: str) -> ExecutionResult:
        """Return the score of what the user's method returned, or the one that the callback saw if
        they agree.

        Args:
            returned: The value that the method returned.
            name: The method's name, for messages.

        Raises:
            NoMetricsError: If there is no score.
        """
        callback, objective = self.callback, self.callback.objective
        if callback.predictions is not None:
            callback.predictions.check_kept()
        if isinstance(returned, list) and len(returned) == 1:
            returned = returned[0]
        history = returned if isinstance(returned, keras.callbacks.History) else None
        seen = callback.seen(history) if returned is history else None
        if seen is not None:
            return ExecutionResult(
                *seen,
                returned={} if history is None else added(history, objective, callback.last_logs),
            )
        if returned is None and callback.last_logs:
            callback.check(callback.last_logs)
        if returned is None and callback.model is not None:
            raise NoMetricsError(
                f"{name} returned None, and no epoch was reported. Did you forget to return the "
                f"metrics, or to pass `callbacks` on to `model.fit`? Expected: {KINDS}."
            )
        has_own_weights = checkpoints.are_of_own_loop(self.spec.directory)
        if history is not None and has_own_weights:
            metrics, epoch = metrics_of(returned, objective, name)
        elif history is not None and callback.is_unseen(history):
            # `fit` did not pass the callbacks on: there are only the weights of the last epoch
            callback.last_epoch = (callback.last_epoch or 0) + len(history.epoch)
            metrics, epoch = last_epoch(history), None
        elif history is not None and callback.model is not None and callback.best is None:
            metrics, epoch = last_epoch(history), None
        else:
            metrics, epoch = metrics_of(returned, objective, name)
        callback.check(metrics)
        score = objective.get_value(metrics)
        if (
            epoch is not None and callback.best_epoch is not None and are_histories(returned)
        ):  # the weights of the best epoch of all are kept
            return ExecutionResult(score, epoch, returned=metrics)
        was_reported = callback.best_epoch is not None
        is_saved = self._is_saved or has_own_weights
        if score != callback.best and callback.model is not None and not is_saved:
            callback.save(
                epoch or callback.last_epoch or 1
            )  # the score belongs to the model in its final state
        if not was_reported and epoch is not None:
            callback.hold(epoch, metrics)
            return ExecutionResult(score, epoch)
        return ExecutionResult(score, callback.best_epoch or 1, metrics)


def _build_ahead(model: Any, arguments: FitArguments, reuse_graphs: bool) -> None:
    """Create the variables of optimizer, loss and metrics, as Keras itself does before it trains on
    JAX.

    On TensorFlow, Keras leaves that to the first training step, which is therefore traced twice.
    That takes a fifth of a small trial's time, and the first trace is never freed.

    Nothing is done if steps are not traced, or if the result might differ. A user-defined `fit` may
    freeze or unfreeze layers first. The model must have its weights, and a first batch must be at
    hand.

    Args:
        model: The model to be trained.
        arguments: The arguments of `fit`.
        reuse_graphs: Whether to create them on JAX too, so that all that enters the graphs is
            known.
    """
    if model.run_eagerly or not model.built or not data.is_at_hand(arguments):
        return
    if getattr(model, "_distribute_strategy", None) is not None:  # its replicas create them
        return
    backend = keras.backend.backend()
    with contextlib.suppress(Exception):  # then Keras does it later, or reports the error
        if backend == "tensorflow":
            model._symbolic_build(data_batch=data.first_batch(arguments))
        elif backend == "jax" and reuse_graphs:
            _build_on_jax(model, arguments)


def _build_on_jax(model: Any, arguments: FitArguments) -> None:
    """Create the variables as Keras does, which reads a batch and shuffles the data for that.
    Keras' draw from NumPy's generator is made here, and not again.
    """
    from keras.src.backend.jax.trainer import JAXEpochIterator  # for JAX only

    if arguments.value("validation_split") or keras.distribution.distribution() is not None:
        return
    names = ("x", "y", "sample_weight", "batch_size", "steps_per_epoch", "class_weight")
    shuffle = arguments.value("shuffle")
    drawn = np.random.get_state()
    try:
        epochs = JAXEpochIterator(
            **{name: arguments.value(name) for name in names},
            shuffle=True if shuffle is None else shuffle,
            steps_per_execution=model.steps_per_execution,
        )
        model._symbolic_build(iterator=epochs)
    except Exception:
        np.random.set_state(drawn)
        raise
