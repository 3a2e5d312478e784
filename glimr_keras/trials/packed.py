"""What became of a trial, in few bytes. Pure Python; runs anywhere.

A search may have a hundred thousand trials, and hardly any is looked at after its end. So one that
has ended is packed: names are those of all others, numbers are bytes. It is what it was as soon as
any part of it is asked for. What is unusual is not packed, nor what somebody holds a part of, since
who changes that part has changed the trial.
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
"""Of `marshal`: floats to the bit, and nothing that depends on who else has a value."""
_RECENT, _AT_ONCE = 64, 3
_PLAIN = frozenset({bool, int, float, str, type(None)})
_FLOAT, _TEXT, _WHOLE = frozenset({float}), frozenset({str}), frozenset({int})
_NUMBERS = frozenset({int, float})
SINGLE = (
    *("status", "best_epoch", "score", "duration", "message", "attempt", "lost", "is_told"),
    *("gpu_memory", "reused_graph", "started", "ended", "worker"),
    *("weights_epoch", "weights_score"),
)
"""What an execution has one of."""
_SCORE, _ENDED = SINGLE.index("score"), SINGLE.index("ended")
_NUM_BEFORE = SINGLE.index("gpu_memory")
_NOTHING: dict[str, float] = {}
singles = operator.attrgetter(*SINGLE)


def kept_in(trial: Trial) -> tuple[bool, ...]:
    """Tell of each value that was asked for whether it is the object that was chosen."""
    values = trial.hyperparameters.values
    return tuple(map(operator.is_, map(trial.suggested.get, values, _NONES), values.values()))


class _Definitions(dict[Any, HyperParameter]):
    """Definitions by key; one object of all trials that have the same."""

    __hash__ = object.__hash__  # type: ignore[assignment]
    __eq__ = object.__eq__


class _Layout(NamedTuple):
    """What packed trials have in common.

    Attributes:
        suggested: Names of what was chosen.
        values: Names of what was asked for; `None` where it is what was chosen.
        num_before: How many of those chosen the hyperparameters had first.
        old: Names that were defined when the trial began.
        metrics: Names of the metrics of each execution.
        definitions: By key.
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
        """Return what was chosen, and what was asked for; one dict where they are the same."""
        suggested = dict(zip(self.suggested, chosen, strict=True))
        if self.values is None or values is None:
            return suggested, suggested
        return suggested, dict(zip(self.values, values, strict=True))


class Plain(NamedTuple):
    """What a packed trial of a journal was packed from, as plain values.

    Attributes:
        suggested: Names of what was chosen.
        asked: Names of what was asked for; `None` where all of it is what was chosen.
        metrics: Names of the metrics of each execution.
        kept: Of each that was asked for, whether it is the object that was chosen, which code has
            not set; `None` where all are.
        chosen: What was chosen.
        values: What was asked for; `None` likewise.
        sampling_key: Of the trial.
        executions: Number, what there is one of (`SINGLE`), what was returned, the epochs (their
            count, where they are counted from 1), their metrics as doubles, the epochs that have a
            time (`None` for all), and these times as doubles.
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
        layout: What others have as well.
        content: What it has alone.
        score: That its executions give it.
    """

    layout: _Layout
    content: bytes
    score: float | None

    def values(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what was chosen, and what was asked for; one dict where they are the same."""
        chosen, values, *_ = marshal.loads(self.content)
        return self.layout.named(chosen, values)

    def plain(self) -> Plain | None:
        """Return what it was packed from, of a trial that a journal told of; `None` of another,
        whose hyperparameters know more.
        """
        layout = self.layout
        if layout.num_before != len(layout.suggested) or layout.old:
            return None
        chosen, values, kept, sampling_key, executions = marshal.loads(self.content)
        names = layout.suggested, layout.values, layout.metrics
        return Plain(*names, kept, chosen, values, sampling_key, executions)

    def outline(self) -> dict[str, Any]:
        """Return its executions, without numbers of epochs."""
        *_, executions = marshal.loads(self.content)
        return {"executions": {number: _outline(*content) for number, *content in executions}}

    def parts(self) -> dict[str, Any]:
        """Return what it was packed from."""
        layout = self.layout
        chosen, values, kept, sampling_key, executions = marshal.loads(self.content)
        if values is None:  # others, which are equal
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
    """Packs the trials of one search, which have much in common."""

    def __init__(self) -> None:
        self._layouts: dict[_Layout, _Layout] = {}
        self._definitions: dict[tuple[int, ...], _Definitions] = {}
        self._plain_layouts: dict[tuple[Any, ...], _Layout] = {}
        self._later: collections.deque[Trial] = collections.deque()

    def define(self, parameters: Mapping[Any, HyperParameter]) -> None:
        """Make definitions known to all trials that were packed, as far as they are not; those
        that are packed later need not have them.
        """
        for known in self._definitions.values():
            for key, parameter in parameters.items():
                known.setdefault(key, parameter)
        self._definitions.clear()
        self._layouts.clear()
        self._plain_layouts.clear()

    def packed(self, plain: Plain) -> Packed:
        """Return a trial that a journal told of, as `pack_alone` packs it. Nothing is looked at.

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
        """Pack a trial that has ended, if that is possible; else it stays as it is. Tell whether
        nobody had a part of it.
        """
        if _is_held(trial):
            return False
        self.pack_alone(trial)
        return True

    def pack_later(self, trial: Trial) -> None:
        """Pack a trial when so many others have ended that hardly anybody looks at it, and nobody
        has a part of it.
        """
        self._later.append(trial)
        for _ in range(min(len(self._later) - _RECENT, _AT_ONCE)):
            earlier = self._later.popleft()
            if not self.pack(earlier):
                self._later.append(earlier)

    def pack_alone(self, trial: Trial) -> None:
        """As `pack`, a trial of which nobody has a part."""
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
        )  # to the bit; there are two zeros
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
        key = tuple(map(id, definitions.values()))  # they are held from here on
        found = self._definitions.get(key)
        if found is None:
            found = self._definitions[key] = _Definitions(definitions)
        return found


def _bytes_of(own: tuple[Any, ...]) -> bytes:
    """Return plain values as bytes; in room of their own, since `marshal` takes more and gives back
    the rest, which others cannot use.

    Raises:
        ValueError: If some are none.
    """
    return memoryview(marshal.dumps(own, _FORMAT)).tobytes()


def _content(number: int, execution: Execution) -> tuple[tuple[Any, ...], tuple[str, ...]] | None:
    """Return an execution as plain values, and the names of its metrics; `None` of one that is
    unusual.
    """
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
    """Return the execution that `_content` was given."""
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
    """Return that execution without what was measured; times of epochs only where its end has
    none.
    """
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
    return Execution(  # faster so than by names
        *(status, history, best_epoch, score, duration, message, attempt, lost, is_told),
        *(dict(returned), gpu_memory, reused_graph, started, ended, worker),
        *(weights_epoch, weights_score, epoch_times),
    )


def _are_dicts(*each: Any) -> bool:
    """Tell whether all of them are dicts, and of no class of somebody's own."""
    return all(type(one) is dict for one in each)


def _is_held(trial: Trial) -> bool:
    """Tell whether anybody else has a part of the trial that can be changed."""
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
"""What hyperparameters have that are values and definitions, and nothing more."""
_ALONE = _holders(Execution(), "history")
_ALONE_INSIDE = _most_held({0: Execution()})
"""How often Python counts a part that its owner alone has."""
