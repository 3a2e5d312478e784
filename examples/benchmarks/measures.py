"""What one run tells: numbers from its events and samples."""

import collections
import dataclasses
import itertools
import statistics

from harness import Run
from plan import CORES, Marks

MB = 1_000_000


@dataclasses.dataclass(frozen=True)
class Span:
    """One trained trial: from the beginning of its `build` to the end of its `fit`, in seconds
    since 1970.
    """

    index: int
    pid: int
    start: float
    end: float


def spans(run: Run) -> list[Span]:
    """The trained trials in the order of their ends. A `build` without an epoch, as in a tuner's
    probe, is none.
    """
    built: dict[int, float] = {}
    started: dict[int, float] = {}
    found = []
    for event in run.events:
        if event.event == "build":
            built[event.pid] = event.t
        elif event.event == "first_epoch" and event.pid in built:
            started[event.pid] = built[event.pid]
        elif event.event == "fit_end" and event.pid in started:
            found.append(Span(event.index, event.pid, started.pop(event.pid), event.t))
    return found


def measure(run: Run, marks: Marks) -> dict[str, float]:
    """The numbers of a run by name; those that it cannot tell are missing."""
    if run.error:
        return {}
    numbers = {"wall_s": run.wall, **_start(run), **_throughput(run)}
    if run.group == "d":
        numbers |= _trivial(run, marks.trivial)
    if run.group == "e":
        numbers["peak_pss_mb"] = max(sample.tree_pss for sample in run.samples) / MB
    if run.group == "memory":
        numbers |= _worker_memory(run, marks.worker)
    return numbers


def _start(run: Run) -> dict[str, float]:
    times: dict[str, float] = {}
    for event in run.events:
        times.setdefault(event.event, event.t)
    if "first_epoch" not in times:
        return {}
    numbers = {"first_epoch_s": times["first_epoch"] - run.started}
    if "search" in times:
        numbers["search_to_first_epoch_s"] = times["first_epoch"] - times["search"]
    return numbers


def _throughput(run: Run) -> dict[str, float]:
    """Trials per minute, from the start of the first trial to the end of the last; of a cross
    validation, trainings.

    Where every trial has a process of its own, whose start costs more than the trial, that would
    leave out the first starts. So the first trial of each core is not counted there, nor the time
    until they end.
    """
    trials = spans(run)
    if not trials:
        return {}
    gaps = [after.start - before.end for before, after in consecutive(trials)]
    counted, since = len(trials), min(trial.start for trial in trials)
    if not gaps and len(trials) > CORES:
        counted, since = len(trials) - CORES, trials[CORES - 1].end
    numbers = {
        "trials_per_minute": 60 * counted / (trials[-1].end - since),
        "trial_s": statistics.median(trial.end - trial.start for trial in trials),
    }
    return numbers | ({"gap_ms": 1000 * statistics.median(gaps)} if gaps else {})


def consecutive(trials: list[Span]) -> list[tuple[Span, Span]]:
    """Pairs of trials that followed one another in the same process; the second of each is a warm
    one.
    """
    by_pid = collections.defaultdict(list)
    for trial in trials:
        by_pid[trial.pid].append(trial)
    return [pair for of_pid in by_pid.values() for pair in itertools.pairwise(of_pid)]


def overhead_ms(run: Run, limit: Run) -> float | None:
    """What a warm trial takes more than `build` and `fit` of the same configuration take in the
    pinned bare loops.

    It is the median over the trials of: time since the end of the trial before in the same process,
    less those two.
    """
    bare = {trial.index: trial.end - trial.start for trial in spans(limit)}
    extra = [
        after.end - before.end - bare[after.index]
        for before, after in consecutive(spans(run))
        if after.index in bare
    ]
    return 1000 * statistics.median(extra) if extra else None


def _trivial(run: Run, marks: tuple[int, ...]) -> dict[str, float]:
    """Wall time per trial before each mark (over the last 200 trials, at most half of all), and the
    driver's growth.
    """
    ends = [event.t for event in run.events if event.event == "fit_end"]
    numbers = {}
    reached = [mark for mark in marks if mark <= len(ends)] or [len(ends)]
    for mark in reached:
        window = min(mark // 2, 200)
        numbers[f"ms_per_trial_at_{mark}"] = (
            1000 * (ends[mark - 1] - ends[mark - 1 - window]) / window
        )
        numbers[f"driver_mb_at_{mark}"] = _driver_rss(run, mark) / MB
    if len(reached) > 1:
        first, last = reached[0], reached[-1]
        grown = numbers[f"driver_mb_at_{last}"] - numbers[f"driver_mb_at_{first}"]
        numbers["driver_mb_per_100_trials"] = 100 * grown / (last - first)
    return numbers


def _driver_rss(run: Run, trials: int) -> int:
    """Of the first sample that saw so many trials done, or of the last one before the process
    ended.
    """
    alive = [sample for sample in run.samples if sample.driver_rss]
    return next(
        (sample.driver_rss for sample in alive if sample.events >= trials), alive[-1].driver_rss
    )


def _worker_memory(run: Run, marks: tuple[int, ...]) -> dict[str, float]:
    """Resident memory after so many trials of one process: of the one that did most."""
    by_pid = collections.defaultdict(list)
    for event in run.events:
        if event.event == "fit_end":
            by_pid[event.pid].append(event.rss)
    longest = max(by_pid.values(), key=len)
    return {
        f"worker_mb_at_{mark}": longest[mark - 1] / MB for mark in marks if mark <= len(longest)
    }
