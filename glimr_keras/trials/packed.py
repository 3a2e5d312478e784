"""Packed results of trials, in few bytes. Pure Python; runs anywhere.

A search may have a hundred thousand trials, and few are accessed after they end. So ended trials
are packed: names are shared between trials, and numbers are stored as bytes. A packed trial is
restored as soon as one of its parts is accessed. Unusual trials are not packed. Neither are trials
with a part that other code holds, since changing that part must change the trial.
"""

from __future__ import annotations

import array
import collections
import dataclasses
import itertools
import marshal
import operator
import sys
import weakref
from collections.abc import Mapping
from typing import Any, NamedTuple

from glimr_keras.space.hp_types import HyperParameter
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.trials.execution import Execution
from glimr_keras.trials.metrics_tracking import MetricsTracker
from glimr_keras.trials.trial import Trial, mean_of_scores

_FORMAT = 2
"""The `marshal` format: exact floats, and no dependence on other references to a value."""
_RECENT, _AT_ONCE = 64, 3
_PLAIN = frozenset({bool, int, float, str, type(None)})
_FLOAT, _TEXT, _WHOLE = frozenset({float}), frozenset({str}), frozenset({int})
_NUMBERS = frozenset({int, float})
SINGLE = (
    *("status", "best_epoch", "score", "duration", "message", "attempt", "lost", "is_told"),
    *("gpu_memory", "reused_graph", "started", "ended", "worker"),
    *("weights_epoch", "weights_score"),
)
"""The fields of an execution that hold a single value."""
_SCORE, _ENDED = SINGLE.index("score"), SINGLE.index("ended")
_NUM_BEFORE = SINGLE.index("gpu_memory")
_NOTHING: dict[str, float] = {}
singles = operator.attrgetter(*SINGLE)


def kept_in(trial: Trial) -> tuple[bool, ...]:
    """Return, for each requested value, whether it is the same object as the chosen one."""
    values = trial.hyperparameters.values
    return tuple(map(operator.is_, map(trial.suggested.get, values, _NONES), values.values()))


class _Definitions(dict[Any, HyperParameter]):
    """Definitions by key; trials with equal definitions share one object."""

    __hash__ = object.__hash__  # type: ignore[assignment]
    __eq__ = object.__eq__


class _Layout(NamedTuple):
    """The shared part of packed trials.

    Attributes:
        suggested: The names of the chosen values.
        values: The names of the requested values; `None` if they are the chosen ones.
        num_before: The number of chosen values that the hyperparameters started with.
        old: The names that were defined when the trial started.
        metrics: The names of the metrics of each execution.
        definitions: The definitions by key.
    """

    suggested: tuple[str, ...]
    values: tuple[str, ...] | None
    num_before: int
    old: frozenset[str]
    metrics: tuple[tuple[str, ...], ...]
    definitions: _Definitions

    def named(
        self, chosen: tuple[Any, ...], values: tuple[Any, ...] | None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the chosen and the requested values; one dict if they are the same."""
        suggested = dict(zip(self.suggested, chosen, strict=True))
        if self.values is None or values is None:
            return suggested, suggested
        return suggested, dict(zip(self.values, values, strict=True))


class Plain(NamedTuple):
    """The contents of a packed trial of a journal, as plain values.

    Attributes:
        suggested: The names of the chosen values.
        asked: The names of the requested values; `None` if they are the chosen ones.
        metrics: The names of the metrics of each execution.
        kept: For each requested value, whether it is the chosen object, so that code has not set
            it; `None` if all are.
        chosen: The chosen values.
        values: The requested values; `None` if they are the chosen ones.
        sampling_key: The trial's sampling key.
        executions: For each execution: its number, its single values (`SINGLE`), the returned
            metrics, and the epochs (their number, if they count from 1). Then the epochs' metrics
            as doubles, the epochs that have a time (`None` for all), and these times as doubles.
    """

    suggested: tuple[str, ...]
    asked: tuple[str, ...] | None
    metrics: tuple[tuple[str, ...], ...]
    kept: tuple[bool, ...] | None
    chosen: tuple[Any, ...]
    values: tuple[Any, ...] | None
    sampling_key: tuple[int, ...]
    executions: tuple[tuple[Any, ...], ...]


@dataclasses.dataclass(eq=False, slots=True)  # smaller than a tuple
class Packed:
    """A packed trial.

    Attributes:
        layout: The part shared with other trials.
        content: Its own part.
        score: The score computed from its executions.
    """

    layout: _Layout
    content: bytes
    score: float | None

    def values(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the chosen and the requested values; one dict if they are the same."""
        chosen, values, *_ = marshal.loads(self.content)
        return self.layout.named(chosen, values)

    def plain(self) -> Plain | None:
        """Return the plain contents of a trial from a journal.

        It is `None` for other trials, whose hyperparameters hold more.
        """
        layout = self.layout
        if layout.num_before != len(layout.suggested) or layout.old:
            return None
        chosen, values, kept, sampling_key, executions = marshal.loads(self.content)
        names = layout.suggested, layout.values, layout.metrics
        return Plain(*names, kept, chosen, values, sampling_key, executions)

    def outline(self) -> dict[str, Any]:
        """Return its executions, without the metrics of epochs."""
        *_, executions = marshal.loads(self.content)
        return {"executions": {number: _outline(*content) for number, *content in executions}}

    def parts(self) -> dict[str, Any]:
        """Return the unpacked parts."""
        layout = self.layout
        chosen, values, kept, sampling_key, executions = marshal.loads(self.content)
        if values is None:  # equal to the chosen ones
            values = chosen if kept is None else marshal.loads(self.content)[0]
        suggested = dict(zip(layout.suggested, chosen, strict=True))
        names = layout.suggested if layout.values is None else layout.values
        own = dict(zip(names, values, strict=True))
        if kept is not None or layout.values is not None:
            same = itertools.compress(names, itertools.repeat(True) if kept is None else kept)
            own.update((name, suggested[name]) for name in same)
        hyperparameters = HyperParameters()
        state = vars(hyperparameters)
        state["values"] = own
        state["_values_before"] = dict(itertools.islice(suggested.items(), layout.num_before))
        state["_definitions"] = dict(layout.definitions)
        state["_old"] = set(layout.old)
        made = {
            number: _execution(names, *content)
            for (number, *content), names in zip(executions, layout.metrics, strict=True)
        }
        return {
            "hyperparameters": hyperparameters,
            "suggested": suggested,
            "sampling_key": sampling_key,
            "executions": made,
            "_tracker": MetricsTracker(),
        }


class Packer:
    """A packer for the trials of one search, which have much in common."""

    def __init__(self) -> None:
        self._layouts: dict[_Layout, _Layout] = {}
        self._definitions: dict[tuple[int, ...], _Definitions] = {}
        self._plain_layouts: dict[tuple[Any, ...], _Layout] = {}
        self._later: collections.deque[Trial] = collections.deque()

    def define(self, parameters: Mapping[Any, HyperParameter]) -> None:
        """Add definitions to all packed trials that lack them.

        Trials that are packed later need not have them.
        """
        for known in self._definitions.values():
            for key, parameter in parameters.items():
                known.setdefault(key, parameter)
        self._definitions.clear()
        self._layouts.clear()
        self._plain_layouts.clear()

    def packed(self, plain: Plain) -> Packed:
        """Return a packed trial from a journal, as `pack_alone` packs it, without checks.

        Raises:
            ValueError: If it cannot be packed.
        """
        own = plain.chosen, plain.values, plain.kept, plain.sampling_key, plain.executions
        layout = self._plain_layouts.get(plain[:3])
        if layout is None:
            names, none = plain.suggested, frozenset[str]()
            made = _Layout(names, plain.asked, len(names), none, plain.metrics, self._shared({}))
            layout = self._layouts.setdefault(made, made)
            self._plain_layouts[plain[:3]] = layout
        score = mean_of_scores([single[_SCORE] for _, single, *_ in plain.executions])
        return Packed(layout, _bytes_of(own), score)

    def pack(self, trial: Trial) -> bool:
        """Pack an ended trial, if possible; otherwise leave it as it is.

        Returns:
            Whether no other code held a part of it.
        """
        if _is_held(trial):
            return False
        self.pack_alone(trial)
        return True

    def pack_later(self, trial: Trial) -> None:
        """Pack a trial once many others have ended, and no other code holds a part of it."""
        self._later.append(trial)
        for _ in range(min(len(self._later) - _RECENT, _AT_ONCE)):
            earlier = self._later.popleft()
            if not self.pack(earlier):
                self._later.append(earlier)

    def pack_alone(self, trial: Trial) -> None:
        """Pack a trial as `pack` does, assuming that no other code holds a part of it."""
        is_usual = type(trial) is Trial and not trial.is_packed
        packed = self._packed(trial) if is_usual else None
        if packed is not None:
            trial.keep_packed(packed)

    def _packed(self, trial: Trial) -> Packed | None:
        state, suggested = vars(trial.hyperparameters), trial.suggested
        values, before = state["values"], state["_values_before"]
        chosen, asked = tuple(suggested.values()), tuple(values.values())
        kinds, kinds_asked = list(map(type, chosen)), list(map(type, asked))
        if (
            not _are_dicts(suggested, values, before, trial.executions)
            or type(trial.sampling_key) is not tuple
            or not _WHOLE.issuperset(map(type, [*trial.sampling_key, *trial.executions]))
            or not _TEXT.issuperset(map(type, [*suggested, *values]))
            or not _PLAIN.issuperset(kinds)
            or not _PLAIN.issuperset(kinds_asked)
            or type(trial.hyperparameters) is not HyperParameters
            or len(state) != _NUM_STATE
            or _rest(state) != _USUAL
            or vars(trial._tracker) != _NOTHING_TOLD
        ):
            return None
        contents, metrics = [], []
        for number, execution in trial.executions.items():
            found = _content(number, execution)
            if found is None:
                return None
            contents.append(found[0])
            metrics.append(found[1])
        names, names_asked, num_before = tuple(suggested), tuple(values), len(before)
        if names[:num_before] != tuple(before) or not all(
            map(operator.is_, chosen, before.values())
        ):
            return None
        kept = kept_in(trial)
        is_same = names == names_asked and (
            all(kept) or (kinds == kinds_asked and chosen == asked and 0 not in chosen)
        )  # exactly; there are two zeros
        own = (
            chosen,
            None if is_same else asked,
            None if all(kept) else kept,
            trial.sampling_key,
            tuple(contents),
        )
        try:
            content = _bytes_of(own)
        except ValueError:
            return None
        layout = _Layout(
            names,
            None if is_same else names_asked,
            num_before,
            frozenset(state["_old"]),
            tuple(metrics),
            self._shared(state["_definitions"]),
        )
        return Packed(self._layouts.setdefault(layout, layout), content, trial.mean_score)

    def _shared(self, definitions: dict[Any, HyperParameter]) -> _Definitions:
        key = tuple(map(id, definitions.values()))  # held from here on, so that ids stay valid
        found = self._definitions.get(key)
        if found is None:
            found = self._definitions[key] = _Definitions(definitions)
        return found


def _bytes_of(own: tuple[Any, ...]) -> bytes:
    """Return plain values as bytes, without spare memory.

    They are copied because `marshal` allocates too much memory and returns the rest in pieces that
    cannot be reused.

    Raises:
        ValueError: If some are not plain values.
    """
    return memoryview(marshal.dumps(own, _FORMAT)).tobytes()


def _content(number: int, execution: Execution) -> tuple[tuple[Any, ...], tuple[str, ...]] | None:
    """Return an execution as plain values, and its metrics' names; `None` if it is unusual."""
    history, times, returned = execution.history, execution.epoch_times, execution.returned
    if (
        type(execution) is not Execution
        or len(vars(execution)) != _NUM_FIELDS
        or not _are_dicts(history, times, returned, *history.values())
    ):
        return None
    names: tuple[str, ...] = ()
    numbers: list[float] = []
    for metrics in history.values():
        found = tuple(metrics)
        if found != names:
            if names:
                return None
            names = found
        numbers += metrics.values()
    single = singles(execution)
    epochs, timed = tuple(history), tuple(times)
    moments = tuple(times.values())
    if (
        len(numbers) != len(names) * len(epochs)
        or not _TEXT.issuperset(map(type, [*names, *returned]))
        or not _FLOAT.issuperset(map(type, [*numbers, *moments, *returned.values()]))
        or not _NUMBERS.issuperset(map(type, epochs + timed))
        or not _PLAIN.issuperset(map(type, single))
    ):
        return None
    is_counted = epochs == tuple(range(1, len(epochs) + 1)) and float not in map(type, epochs)
    are_timed = epochs == timed and list(map(type, epochs)) == list(map(type, timed))
    content = (
        number,
        single,
        tuple(returned.items()),
        len(epochs) if is_counted else epochs,
        array.array("d", numbers).tobytes(),
        None if are_timed else timed,
        array.array("d", moments).tobytes(),
    )
    return content, names


def _execution(
    names: tuple[str, ...],
    single: tuple[Any, ...],
    returned: tuple[tuple[str, float], ...],
    epochs: int | tuple[int, ...],
    numbers: bytes,
    timed: tuple[int, ...] | None,
    times: bytes,
) -> Execution:
    """Return the execution that `_content` packed."""
    numbered = range(1, epochs + 1) if isinstance(epochs, int) else epochs
    found, width = array.array("d", numbers).tolist(), len(names)
    history = {
        epoch: dict(zip(names, found[place * width : (place + 1) * width], strict=True))
        for place, epoch in enumerate(numbered)
    }
    moments = array.array("d", times).tolist()
    epoch_times = dict(zip(numbered if timed is None else timed, moments, strict=True))
    return _made(single, history, returned, epoch_times)


def _outline(
    single: tuple[Any, ...],
    returned: tuple[tuple[str, float], ...],
    epochs: int | tuple[int, ...],
    numbers: bytes,
    timed: tuple[int, ...] | None,
    times: bytes,
) -> Execution:
    """Return the execution without its metrics, and with epoch times only if its end is unknown."""
    numbered = range(1, epochs + 1) if isinstance(epochs, int) else epochs
    epoch_times = {}
    if not single[_ENDED]:
        moments = array.array("d", times)
        epoch_times = dict(zip(numbered if timed is None else timed, moments, strict=True))
    return _made(single, dict.fromkeys(numbered, _NOTHING), returned, epoch_times)


def _made(
    single: tuple[Any, ...],
    history: dict[int, dict[str, float]],
    returned: tuple[tuple[str, float], ...],
    epoch_times: dict[int, float],
) -> Execution:
    status, best_epoch, score, duration, message, attempt, lost, is_told = single[:_NUM_BEFORE]
    gpu_memory, reused_graph, started, ended, worker, weights_epoch, weights_score = single[
        _NUM_BEFORE:
    ]
    return Execution(  # faster than by keywords
        *(status, history, best_epoch, score, duration, message, attempt, lost, is_told),
        *(dict(returned), gpu_memory, reused_graph, started, ended, worker),
        *(weights_epoch, weights_score, epoch_times),
    )


def _are_dicts(*each: Any) -> bool:
    """Return whether all are plain dicts, not of a subclass."""
    return all(type(one) is dict for one in each)


def _is_held(trial: Trial) -> bool:
    """Return whether other code holds a mutable part of the trial."""
    if trial.is_packed:
        return False
    if (
        max(
            _holders(trial, "hyperparameters"),
            _holders(trial, "suggested"),
            _holders(trial, "executions"),
            _holders(trial, "_tracker"),
            _holders(trial.hyperparameters, "values"),
            _holders(trial._tracker, "metrics"),
        )
        > _ALONE
        or any(map(weakref.getweakrefcount, [trial.hyperparameters, trial._tracker]))
        or _most_held(trial.executions) > _ALONE_INSIDE
    ):
        return True
    return any(map(_is_execution_held, trial.executions.values()))


def _is_execution_held(execution: Execution) -> bool:
    names = ("history", "epoch_times", "returned")
    return (
        weakref.getweakrefcount(execution) > 0
        or max([_holders(execution, name) for name in names]) > _ALONE
        or _most_held(execution.history) > _ALONE_INSIDE
    )


def _holders(owner: Any, name: str) -> int:
    return sys.getrefcount(getattr(owner, name))


def _most_held(owner: Mapping[Any, Any]) -> int:
    return max(map(sys.getrefcount, owner.values()), default=0)


_NUM_FIELDS = len(vars(Execution()))
_NONES = itertools.repeat(object())
_NOTHING_TOLD = vars(MetricsTracker())
_STATE = vars(HyperParameters())
_NUM_STATE = len(_STATE)
_rest = operator.itemgetter(
    *[name for name in _STATE if name not in ("values", "_values_before", "_definitions", "_old")]
)
_USUAL = _rest(_STATE)
"""The other attributes of hyperparameters that have values and definitions only."""
_ALONE = _holders(Execution(), "history")
_ALONE_INSIDE = _most_held({0: Execution()})
"""The reference counts of a part that only its owner holds."""
