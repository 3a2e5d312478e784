"""How an execution trains: one loop, chosen once for a search. Runs in the worker.

There are four: Keras' own `fit`, a `HyperModel.fit` or a `HyperModel.run` of the user's own, and
the `run_trial` of a tuner of the user's own (in `tuners.tuner_loop`). Nothing else asks which of
them trains.
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
    """What came of an execution.

    Attributes:
        value: Of the objective.
        epoch: Its epoch, counted from 1.
        left: Metrics of the model as it was left, which the user's code returned: they are those of
            the last epoch.
        returned: Metrics of the score that the user's code returned in the place of those that were
            reported.
        is_told: Whether a loop of the user's own told the oracle of its steps, and returned
            nothing.
    """

    value: float
    epoch: int | None
    left: dict[str, float] = dataclasses.field(default_factory=dict)
    returned: dict[str, float] = dataclasses.field(default_factory=dict)
    is_told: bool = False


class LoopRunner(Protocol):
    """What a loop is given to train with: one execution; `training.execution` has it."""

    hypermodel: HyperModel
    spec: ExecutionSpec
    config: HyperParameters
    trial: Trial
    objective: Objective

    def data(self) -> FitArguments:
        """Return the data and arguments of this execution, of a cross validation its fold's."""

    def build(self) -> keras.Model:
        """Return the compiled model."""

    def arguments(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], is_sized: bool = False
    ) -> dict[str, Any]:
        """Return the keyword arguments of `fit`, with the callbacks that report and save."""

    def fit(self, model: keras.Model, *args: Any, **kwargs: Any) -> Any:
        """Train a model, and return what the hypermodel's `fit` does."""

    def placed(self, callbacks: Sequence[Any]) -> list[Any]:
        """Return the user's callbacks with places of this trial for what they write."""

    def scored(self, returned: Any, name: str) -> ExecutionResult:
        """Return the score in what a method of the user's, of this name, returned."""

    def scored_steps(self, steps: Mapping[int, dict[str, float]]) -> ExecutionResult:
        """Return the score in what the oracle was told, metrics by step."""


class TrialLoop(abc.ABC):
    """How an execution trains.

    Attributes:
        is_keras_fit: Whether Keras' own `fit` trains, so that what it logs is known before.
        has_model: Whether a model is built and given to a `fit`, which can be looked at before.
        builds_only: Whether nothing but `build` can be looked at before.
        names_metrics: Whether the user's own code names the metrics.
    """

    is_keras_fit = False
    has_model = True
    builds_only = False
    names_metrics = True

    @abc.abstractmethod
    def train(self, runner: LoopRunner) -> ExecutionResult:
        """Train one execution, and return its score.

        Raises:
            Exception: Whatever the user's code raises.
        """

    def can_go_on(self, hypermodel: HyperModel) -> bool:
        """Return whether an interrupted training can go on from the state that was kept of it."""
        taken = arguments_of(hypermodel.fit)
        return taken is None or "initial_epoch" in taken

    def place_logs(self, runner: LoopRunner, callbacks: Sequence[Any]) -> None:
        """Give each `TensorBoard` among the callbacks a directory of this execution."""
        place_logs(callbacks, runner.spec.trial_id, runner.spec.execution)

    def hooks(self, runner: LoopRunner) -> list[keras.callbacks.Callback]:
        """Return the callbacks that tell of epochs and batches those who want to know of them."""
        return []


class OwnFit(TrialLoop):
    """A `HyperModel.fit` of the user's own."""

    def train(self, runner: LoopRunner) -> ExecutionResult:
        """Build the model and give it to the hypermodel's `fit`."""
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
    """A `HyperModel.run` of the user's own, which is a whole trial."""

    has_model = False

    def train(self, runner: LoopRunner) -> ExecutionResult:
        """Call the hypermodel's `run`."""
        returned = runner.hypermodel.run(runner.config)
        return runner.scored(returned, method_name(runner.hypermodel, "run"))

    def can_go_on(self, hypermodel: HyperModel) -> bool:
        """Return `False`: nothing is known of what it trains."""
        return False


def loop_of(hypermodel: HyperModel) -> TrialLoop:
    """Return the loop by which a hypermodel is trained where no tuner of the user's own does it."""
    if overrides(hypermodel, "run"):
        return OwnRun()
    return OwnFit() if overrides(hypermodel, "fit") else KerasFit()
