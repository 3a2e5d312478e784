"""Discovers the whole space, and the metrics that Keras will log, before the first trial. Runs in a
worker.

One configuration is built and evaluated on one batch. Then others are built, each with one value
changed from an earlier one. So every branch of the user's code that depends on a hyperparameter is
taken once, and the hyperparameters that it asks for become known. Nothing is trained.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

from glimr_keras.errors import FatalError, ModelError, user_traceback
from glimr_keras.models import data, data_checks
from glimr_keras.models.configuration import configuration
from glimr_keras.models.data import FitArguments
from glimr_keras.models.hypermodel import method_name, overrides
from glimr_keras.space.hp_types import Choice, Float, HyperParameter, Int
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.training import dry_batch, kept_predictions
from glimr_keras.training.context import (
    TrialContext,
    fit_kwargs,
    taken_by,
    task_logs,
    with_data,
    with_model,
)
from glimr_keras.training.own_fit import FitLook
from glimr_keras.training.unseen import unseen
from glimr_keras.trials.metric_directions import infer_direction, log_directions


@dataclasses.dataclass(frozen=True)
class Probe:
    """The results of building some configurations before the search.

    Attributes:
        log_directions: Every name that Keras will log, with its direction if known; `None` if a
            custom `fit` or `run` decides.
        inferred_directions: Directions of the objective's parts, from their names or from the
            compiled metrics.
        parameters: The hyperparameters that `data`, `build` and `fit` asked for.
        observations: The values that each configuration was asked for: value by name, in the order
            of asking.
        shapes: The shapes of one sample of the inputs and of the labels, as far as known.
        is_complete: Whether every branch was taken, and not only those that time allowed.
        error: The user's error, as a traceback of their own code.
        fatal: The error itself, if it stops a search.
        remarks: Remarks for the user before the first trial.
    """

    log_directions: dict[str, str | None] | None = None
    inferred_directions: dict[str, str | None] = dataclasses.field(default_factory=dict)
    parameters: tuple[HyperParameter, ...] = ()
    observations: tuple[dict[str, Any], ...] = ()
    is_complete: bool = True
    shapes: dict[str, Any] = dataclasses.field(default_factory=dict)
    error: str | None = None
    fatal: FatalError | None = None
    remarks: tuple[str, ...] = ()


PROBED: tuple[tuple[int, ...] | None, ...] = (None, (0,), (1,))
"""The sampling keys of the configurations that are built before a search until one succeeds. The
default configuration comes first.
"""

_MAX_SECONDS = 10.0
_MAX_BUILDS = 200
_MAX_VALUES = 32
"""The maximum number of values that are tried for one hyperparameter."""
_DRAWS = 6
"""The number of configurations drawn at random at the end, since a branch may need several values
together.
"""


def probe(
    context: TrialContext, skipped: int = 0, tell: Callable[[str], None] = lambda stage: None
) -> Probe:
    """Build configurations to discover the space and the names that Keras will log.

    Args:
        context: The context of the search.
        skipped: The number of configurations of `PROBED` to skip because a process died of them.
            The rest are tried in turn until one can be built. If any is skipped, no other
            configuration is built. Defaults to `0`.
        tell: Called with the name of the next step, in case the process dies of it. Defaults to
            `lambda stage: None`, which does nothing.

    Returns:
        The results, or else the first error.
    """
    first_error = None
    for sampling_key in PROBED[skipped:]:
        found = _probe(context, sampling_key, not skipped, tell)
        if found.error is None or found.fatal is not None:
            return found
        first_error = first_error or found
    return first_error or Probe()


def _probe(
    context: TrialContext,
    sampling_key: tuple[int, ...] | None,
    explore: bool,
    tell: Callable[[str], None],
) -> Probe:
    started = time.monotonic()
    inferred = {part.name: infer_direction(part.name) for part in context.objective.parts}
    try:
        with context.session.fresh():
            config = configuration(
                context.space, {}, sampling_key, *context.first_fold, context.hypermodel
            )
            if not context.loop.has_model:  # its hyperparameters are discovered in trials
                return Probe(
                    None, inferred, tuple(config.space), (config.asked,), is_complete=False
                )
            if context.loop.builds_only:
                return _of_own_loop(context, config, inferred, explore, started)
            before = config.asked
            loaded = with_data(context, config)
            depends = (
                bool(context.space.parameters) or config.asked != before
            )  # what is declared counts as asked for anyway
            model, arguments = with_model(context, config, loaded)
            tell("a first batch" if context.loop.is_keras_fit else "`fit`")
            directions, remarks = _look(context, config, model, arguments)
            if directions is None and context.loop.is_keras_fit:  # the compiled metrics are known
                inferred = log_directions(model, inferred)
            if context.keep_predictions and context.loop.is_keras_fit:
                kept_predictions.check(model, arguments)
            shapes = data.shapes_of(arguments)
            before_fit, fit_look = config.asked, FitLook(context)
            of_fit = fit_look.ask(config, model, arguments)
            if fit_look.call is not None:
                data_checks.check_data(model, fit_look.call)
                if context.keep_predictions:
                    kept_predictions.check(model, fit_look.call, needs_data=False)
            _check_folds(context, config)
    except (Exception, SystemExit) as error:
        return Probe(
            error=user_traceback(error), fatal=error if isinstance(error, FatalError) else None
        )
    shared = None if depends and overrides(context.hypermodel, "data") else loaded
    explorer = _Explorer(context, config, set(before_fit), of_fit, shared, started, fit_look)
    if explore:
        with context.session.fresh():
            explorer.explore()
    return Probe(
        directions,
        inferred,
        tuple(explorer.parameters.values()),
        tuple(explorer.observations),
        explorer.is_complete and explore,
        shapes,
        remarks=remarks,
    )


def _of_own_loop(
    context: TrialContext,
    config: HyperParameters,
    inferred: dict[str, str | None],
    explore: bool,
    started: float,
) -> Probe:
    """Return the hyperparameters that `build` asks for, if a user-defined tuner runs the trials.
    Those that the tuner itself asks for are discovered in trials.
    """
    if not overrides(context.hypermodel, "build"):  # there is no `build`
        return Probe(None, inferred, tuple(config.space), is_complete=False)
    data.with_data(context.hypermodel, config, context.arguments)
    with context.compile_overrides.scope():
        context.hypermodel.build(config)  # whatever it returns
    explorer = _Explorer(context, config, set(config.asked), set(), None, started)
    if explore:
        explorer.explore()
    return Probe(None, inferred, tuple(explorer.parameters.values()), is_complete=False)


def built_space(context: TrialContext) -> list[HyperParameter]:
    """Return the hyperparameters that `build` asks for, as far as calling it in this process finds
    them.

    Its errors are ignored here: the search reports them.
    """
    config = configuration(context.space, {}, None, *context.first_fold)
    explorer = _Explorer(context, config, set(config.asked), set(), None, time.monotonic())
    with context.compile_overrides.scope():
        explorer.begin()
        explorer.explore()
    return list(explorer.parameters.values())


class _Explorer:
    """Build configurations until they ask for no new hyperparameters.

    A user-defined `fit` may have side effects. It is called only to see what its own
    hyperparameters change.

    Args:
        context: The context of the search.
        config: A configuration that was built.
        of_build: The names that `data` and `build` asked for.
        of_fit: The names that `fit` asked for, or looked at.
        arguments: The data for all configurations; `None` if each loads its own.
        started: The start of the discovery, as a value of `time.monotonic()`.
        fit_look: Calls the user-defined `fit`. Defaults to `None`, which means that only `build` is
            called, and may build anything.
    """

    def __init__(
        self,
        context: TrialContext,
        config: HyperParameters,
        of_build: set[str],
        of_fit: set[str],
        arguments: FitArguments | None,
        started: float,
        fit_look: FitLook | None = None,
    ) -> None:
        self.parameters: dict[Any, HyperParameter] = {}
        self.observations: list[dict[str, Any]] = []
        self.is_complete = True
        self._context, self._arguments, self._deadline = context, arguments, started + _MAX_SECONDS
        self._of_fit, self._fit_look = of_fit, fit_look
        self._usual_of_fit = {
            name: value for name, value in config.asked.items() if name not in of_build
        }
        self._waiting: collections.deque[tuple[str, dict[str, Any]]] = collections.deque()
        self._looked_at: set[str] = set()
        self._branching: set[str] = set()
        self._builds = 1
        self.parameters.update({parameter.key: parameter for parameter in config.space})
        self._take_in(config, config.asked)

    def begin(self) -> None:
        """Build the default configuration, if none was built before."""
        self._build({}, None)

    def explore(self) -> None:
        """Change one value after the other, then several at once, until nothing new is found."""
        self._build_waiting()
        together: list[tuple[dict[str, Any], tuple[int, ...] | None]] = [
            (self._last_options(), None)
        ]
        together += [({}, (number,)) for number in range(_DRAWS)] if len(together[0][0]) > 1 else []
        for values, sampling_key in together:
            if self._has_time():
                self._build(values, sampling_key)
                self._build_waiting()
        self.is_complete = not self._waiting and self._has_time()
        if self._fit_look is not None and not self._fit_look.has_time:
            self.is_complete = False

    def _build_waiting(self) -> None:
        while self._waiting and self._has_time():
            changed, values = self._waiting.popleft()
            self._build(values, None, changed in self._of_fit)

    def _last_options(self) -> dict[str, Any]:
        """Return the last option of every hyperparameter with few options."""
        few = [
            parameter
            for parameter in self.parameters.values()
            if 1 < (parameter.count or 0) <= _MAX_VALUES
        ]
        return {parameter.name: parameter.prob_to_value(1 - 1e-12) for parameter in few}

    def _has_time(self) -> bool:
        return self._builds < _MAX_BUILDS and time.monotonic() < self._deadline

    def _build(
        self, values: dict[str, Any], sampling_key: tuple[int, ...] | None, with_fit: bool = False
    ) -> None:
        self._builds += 1
        context = self._context
        with contextlib.suppress(Exception, SystemExit), unseen():
            config = configuration(
                context.space, values, sampling_key, *context.first_fold, context.hypermodel
            )
            try:
                fit_look = self._fit_look
                if fit_look is None:
                    context.hypermodel.build(config)
                    before = config.asked
                else:
                    model, arguments = with_model(
                        context, config, self._arguments or with_data(context, config)
                    )
                    before = config.asked
                    if with_fit:
                        self._of_fit |= fit_look.ask(config, model, arguments)
                        with_fit = fit_look.has_time  # else it asked for only some of its names
            finally:
                self.parameters.update({parameter.key: parameter for parameter in config.space})
            self._take_in(config, config.asked if with_fit else before | self._usual_of_fit)

    def _take_in(self, config: HyperParameters, asked: dict[str, Any]) -> None:
        """Record the values that a configuration was asked for, and plan to change each new one."""
        self.observations.append(asked)
        definitions = {
            parameter.name: parameter
            for parameter in self.parameters.values()
            if parameter.exists(asked)
        }
        for name in asked:
            if name in definitions and name not in self._looked_at:
                self._looked_at.add(name)
                self._plan(asked, name, _ends(definitions[name]))
        for name, definition in definitions.items():
            if name in asked and name not in self._branching and self._decides(name):
                self._branching.add(name)
                self._plan(asked, name, _between(definition))

    def _plan(self, asked: dict[str, Any], name: str, values: Iterator[Any]) -> None:
        self._waiting.extend(
            (name, {**asked, name: value}) for value in values if value != asked[name]
        )

    def _decides(self, name: str) -> bool:
        """Return whether two configurations that differ in this value alone asked for different
        names.
        """
        *others, last = [asked for asked in self.observations if name in asked]
        return any(
            other[name] != last[name]
            and set(other) != set(last)
            and all(other[common] == last[common] for common in set(other) & set(last) - {name})
            for other in others
        )


def _ends(parameter: HyperParameter) -> Iterator[Any]:
    """Yield values for which code may branch: every option, or the ends of a range."""
    match parameter:
        case Int() | Float():
            yield (
                parameter.max_value
                if parameter.count is None
                else parameter.prob_to_value(1 - 1e-12)
            )
            yield parameter.min_value
        case Choice():
            yield from parameter.values[:_MAX_VALUES]
        case _ if parameter.count is not None and parameter.count <= _MAX_VALUES:
            yield from parameter.every_value()


def _between(parameter: HyperParameter) -> Iterator[Any]:
    """Yield the other values of an integer whose ends make a difference."""
    if isinstance(parameter, Int):
        values = list(parameter.every_value())
        step = -(-len(values) // _MAX_VALUES)
        yield from values[1:-1:step]


def _check_folds(context: TrialContext, config: HyperParameters) -> None:
    """Check that in a cross validation the user's data loader uses the folds.

    Raises:
        ModelError: If the user's code loads the data and does not use `config.fold`.
    """
    if context.folds is not None and context.arguments.x is None and not config.is_fold_used:
        loader = "data" if overrides(context.hypermodel, "data") else "fit"
        raise ModelError(
            f"{method_name(context.hypermodel, loader)} does not use `config.fold`, so every "
            "fold would be trained on the same data. Return the data of fold `config.fold` of "
            "`config.num_folds`, or give arrays to `search()`."
        )


def _look(
    context: TrialContext, config: HyperParameters, model: Any, arguments: FitArguments
) -> tuple[dict[str, str | None] | None, tuple[str, ...]]:
    """Return the names that Keras will log, with their directions, and remarks for the user.

    Raises:
        ModelError: If Keras' own `fit` cannot train with the data or arguments.
    """
    if not context.loop.is_keras_fit:
        return None, ()
    kwargs = taken_by(model, fit_kwargs(context, config, arguments), arguments.kwargs)
    given = FitArguments(arguments.args, kwargs)
    data_checks.check_fit(model, given)
    seen = dry_batch.look(model, given, reads_once=overrides(context.hypermodel, "data"))
    remarks = () if seen.remark is None else (seen.remark,)
    if seen.names is None:
        return None, remarks
    names = seen.names
    for logs in task_logs(context, config):
        names = list(logs.named(dict.fromkeys(names)))
    return log_directions(model, names), remarks
