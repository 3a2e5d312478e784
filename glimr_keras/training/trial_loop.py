"""The training loops of executions, of which a search uses one. Runs in the worker.

There are four: Keras' own `fit`, a user-defined `HyperModel.fit`, a user-defined `HyperModel.run`,
and the `run_trial` of a user-defined tuner (in `tuners.tuner_loop`). Other code does not ask which
of them trains.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import keras

from glimr_keras._utils.signatures import arguments_of
from glimr_keras.models.data import FitArguments
from glimr_keras.models.hypermodel import HyperModel, method_name, overrides
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.training.messages import ExecutionSpec
from glimr_keras.training.user_callbacks import place_logs
from glimr_keras.trials.objective import Objective
from glimr_keras.trials.trial import Trial


@dataclasses.dataclass(frozen=True)
class ExecutionResult:
    """The result of an execution.

    Attributes:
        value: The value of the objective.
        epoch: The epoch of the value, counted from 1; `None` if unknown.
        left: Metrics of the model in its final state that the user's code returned; they belong to
            the last epoch.
        returned: Metrics of the score that the user's code returned in place of the reported ones.
        is_told: Whether a user-defined loop reported its steps to the oracle, and returned nothing.
    """

    value: float
    epoch: int | None
    left: dict[str, float] = dataclasses.field(default_factory=dict)
    returned: dict[str, float] = dataclasses.field(default_factory=dict)
    is_told: bool = False


class LoopRunner(Protocol):
    """The interface with which a loop trains one execution; `training.execution` implements it."""

    hypermodel: HyperModel
    spec: ExecutionSpec
    config: HyperParameters
    trial: Trial
    objective: Objective

    def data(self) -> FitArguments:
        """Return the data and arguments of this execution; in a cross validation, those of its
        fold.
        """

    def build(self) -> keras.Model:
        """Return the compiled model."""

    def arguments(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], is_sized: bool = False
    ) -> dict[str, Any]:
        """Return the keyword arguments of `fit`, with the callbacks that report and save."""

    def fit(self, model: keras.Model, *args: Any, **kwargs: Any) -> Any:
        """Train a model, and return what the hypermodel's `fit` returns."""

    def placed(self, callbacks: Sequence[Any]) -> list[Any]:
        """Return the user's callbacks with output paths of this trial."""

    def scored(self, returned: Any, name: str) -> ExecutionResult:
        """Return the score of what the user's method of this name returned."""

    def scored_steps(self, steps: Mapping[int, dict[str, float]]) -> ExecutionResult:
        """Return the score of the metrics, by step, that the oracle received."""


class TrialLoop(abc.ABC):
    """The training loop of an execution.

    Attributes:
        is_keras_fit: Whether Keras' own `fit` trains, so that its logs are known before.
        has_model: Whether a model is built and passed to a `fit`, both of which can be examined
            before.
        builds_only: Whether nothing but `build` can be examined before.
        names_metrics: Whether the user's code names the metrics.
    """

    is_keras_fit = False
    has_model = True
    builds_only = False
    names_metrics = True

    @abc.abstractmethod
    def train(self, runner: LoopRunner) -> ExecutionResult:
        """Train one execution, and return its score.

        Args:
            runner: The execution.

        Raises:
            Exception: Whatever the user's code raises.
        """

    def can_go_on(self, hypermodel: HyperModel) -> bool:
        """Return whether an interrupted training can resume from its saved state."""
        taken = arguments_of(hypermodel.fit)
        return taken is None or "initial_epoch" in taken

    def place_logs(self, runner: LoopRunner, callbacks: Sequence[Any]) -> None:
        """Give each `TensorBoard` among the callbacks a directory of this execution."""
        place_logs(callbacks, runner.spec.trial_id, runner.spec.execution)

    def hooks(self, runner: LoopRunner) -> list[keras.callbacks.Callback]:
        """Return the callbacks that notify others of epochs and batches."""
        return []


class OwnFit(TrialLoop):
    """A user-defined `HyperModel.fit`."""

    def train(self, runner: LoopRunner) -> ExecutionResult:
        """Build the model and pass it to the hypermodel's `fit`."""
        given = runner.data()
        model = runner.build()
        kwargs = runner.arguments(given.args, given.kwargs, is_sized=model.built)
        returned = runner.fit(model, *given.args, **kwargs)
        return runner.scored(returned, method_name(runner.hypermodel, "fit"))


class KerasFit(OwnFit):
    """Keras' own `fit`."""

    is_keras_fit = True
    names_metrics = False


class OwnRun(TrialLoop):
    """A user-defined `HyperModel.run`, which is a whole trial."""

    has_model = False

    def train(self, runner: LoopRunner) -> ExecutionResult:
        """Call the hypermodel's `run`."""
        returned = runner.hypermodel.run(runner.config)
        return runner.scored(returned, method_name(runner.hypermodel, "run"))

    def can_go_on(self, hypermodel: HyperModel) -> bool:
        """Return `False`: it is unknown what `run` trains."""
        return False


def loop_of(hypermodel: HyperModel) -> TrialLoop:
    """Return the loop that trains a hypermodel, unless a user-defined tuner does."""
    if overrides(hypermodel, "run"):
        return OwnRun()
    return OwnFit() if overrides(hypermodel, "fit") else KerasFit()
