"""All runs with their numbers: medians over repeats, and ratios within a repeat."""

import statistics

from harness import Run
from measures import measure, overhead_ms
from plan import BIG, QUICK_BIG, QUICK_MARKS, Marks

OURS = "glimr_keras"


class Results:
    """What was measured.

    Attributes:
        runs: All of them, failed ones included.
        is_quick: Whether they are too short for figures that mean something.
        numbers: Those of each run, by name (see `measures`).
        big: MB of the large arrays of (e).
    """

    def __init__(self, runs: list[Run], quick: bool) -> None:
        self.runs = runs
        self.is_quick = quick
        self.marks = QUICK_MARKS if quick else Marks()
        self.big = QUICK_BIG if quick else BIG
        self.numbers = [measure(run, self.marks) for run in runs]

    def by_repeat(
        self, name: str, group: str, contender: str = OURS, workload: str | None = None
    ) -> dict[int, float]:
        """A number of a contender, by repeat."""
        return {
            run.repeat: numbers[name]
            for run, numbers in zip(self.runs, self.numbers, strict=True)
            if (run.group, run.contender) == (group, contender)
            and workload in (None, run.workload)
            and name in numbers
        }

    def median(
        self, name: str, group: str, contender: str = OURS, workload: str | None = None
    ) -> float | None:
        return median(self.by_repeat(name, group, contender, workload))

    def ratio(
        self, name: str, group: str, other: str, ours: str = OURS, workload: str | None = None
    ) -> float | None:
        return median(
            ratios(
                self.by_repeat(name, group, ours, workload),
                self.by_repeat(name, group, other, workload),
            )
        )

    def overhead(self, contender: str = OURS) -> float | None:
        """Of a warm trial of (a), in ms."""
        runs = {
            (run.contender, run.repeat): run
            for run in self.runs
            if run.group == "a" and not run.error
        }
        found = {
            repeat: overhead_ms(run, runs["limit", repeat])
            for (name, repeat), run in runs.items()
            if name == contender and ("limit", repeat) in runs
        }
        return median({repeat: value for repeat, value in found.items() if value is not None})


def median(by_repeat: dict[int, float]) -> float | None:
    return statistics.median(by_repeat.values()) if by_repeat else None


def ratios(numbers: dict[int, float], references: dict[int, float]) -> dict[int, float]:
    """Of the repeats that have both."""
    return {
        repeat: number / references[repeat]
        for repeat, number in numbers.items()
        if repeat in references
    }
