"""The rows of the table: each figure of glimr_keras beside a reference and its target."""

import dataclasses
from typing import Any

from plan import CORES, SCRIPTS, SMALL
from results import OURS, Results, median, ratios


@dataclasses.dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        value: Of glimr_keras; `None` if it was not measured.
        reference_name: Whose number `reference` is.
        ratio: Of the two, as the median of the repeats' own ratios.
        at_least, at_most: The target.
        is_of_ratio: Whether the target is one of the ratio, and not of the value.
        remark: Added to the target.
    """

    figure: str
    value: float | None
    reference_name: str = ""
    reference: float | None = None
    ratio: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    is_of_ratio: bool = False
    remark: str = ""

    @property
    def target(self) -> str:
        bounds = (("≥", self.at_least), ("≤", self.at_most))
        return " ".join(
            [*(f"{sign} {bound:g}" for sign, bound in bounds if bound is not None), self.remark]
        ).strip()

    @property
    def met(self) -> bool | None:
        """`None` where there is no target, or no number."""
        number = self.ratio if self.is_of_ratio else self.value
        if number is None:
            return None
        if self.at_least is not None:
            return number >= self.at_least
        return None if self.at_most is None else number <= self.at_most

    def as_dict(self) -> dict[str, Any]:
        names = ("figure", "value", "reference_name", "reference", "ratio", "target", "met")
        return {name: getattr(self, name) for name in names}


def rows(results: Results) -> list[Row]:
    """Every row that has a number; of those without a target, the ones that can be compared."""
    found = [
        part(results)
        for part in (
            _throughput,
            _overhead,
            _trivial,
            _data,
            _worker_memory,
            _driver_memory,
            _start,
            _reuse,
        )
    ]
    return [row for part in found for row in part if _is_worth_a_line(row)]


def _is_worth_a_line(row: Row) -> bool:
    measured = [number for number in (row.value, row.reference) if number is not None]
    return len(measured) >= (1 if row.target else 2)


def _throughput(results: Results) -> list[Row]:
    name = "trials_per_minute"

    def against(group: str, other: str, at_least: float | None = None, remark: str = "") -> Row:
        return Row(
            f"({group}) trials per minute",
            results.median(name, group),
            other,
            results.median(name, group, other),
            results.ratio(name, group, other),
            at_least,
            is_of_ratio=True,
            remark=remark,
        )

    def possible(group: str) -> str:
        ratio = results.ratio(name, group, "keras_tuner", ours="limit")
        return "" if ratio is None else f"(limit {ratio:.2f})"

    return [
        *(against(group, "limit", 0.95) for group in "abc"),
        against("a", "keras_tuner", 1.9, possible("a")),
        *(against(group, "keras_tuner", 1, possible(group)) for group in "bc"),
        against("a", "ray_tune", 4),
        *(against(group, "ray_tune") for group in "bc"),
        *(against(group, "bare") for group in "abc"),
    ]


def _overhead(results: Results) -> list[Row]:
    return [
        Row(
            "(a) own overhead per warm trial, ms",
            results.overhead(),
            "limit",
            results.overhead("limit"),
            at_most=50,
        ),
        Row(
            "(a) fit's end to next build, ms",
            results.median("gap_ms", "a"),
            "limit",
            results.median("gap_ms", "a", "limit"),
        ),
    ]


def _trivial(results: Results) -> list[Row]:
    """A worker's time is wall time x workers: what it loses with each trial, whoever causes it."""

    def worker_ms(mark: int, contender: str, workers: int) -> float | None:
        wall = results.median(f"ms_per_trial_at_{mark}", "d", contender)
        return None if wall is None else wall * workers

    found = []
    for mark in results.marks.trivial:
        figure, ours = f"(d) a worker's ms for trial {mark:,}", worker_ms(mark, OURS, CORES)
        found.append(
            Row(figure, ours, "keras_tuner", worker_ms(mark, "keras_tuner", 1), at_most=50)
        )
        if other := worker_ms(mark, "ray_tune_reuse", CORES):
            found.append(Row(figure, ours, "ray_tune_reuse", other))
    first, *_, last = results.marks.trivial
    early, late = (results.by_repeat(f"ms_per_trial_at_{mark}", "d") for mark in (first, last))
    growth = median(ratios(late, early))
    return [
        *found,
        Row(
            f"(d) wall ms for trial {last:,}",
            median(late),
            f"trial {first:,}",
            median(early),
            growth,
            at_most=1.3,
            is_of_ratio=True,
        ),
    ]


def _data(results: Results) -> list[Row]:
    big = f"e{results.big}"

    def beyond(contender: str, copies: int, running: int) -> float | None:
        """By how much the peak grew with the data, in copies of it, beyond the `copies` allowed,
        per running trial.
        """
        few, many = (
            results.median("peak_pss_mb", "e", contender, workload)
            for workload in (f"e{SMALL}", big)
        )
        if few is None or many is None:
            return None
        return ((many - few) / (results.big - SMALL) - copies) / running

    def seconds(contender: str) -> float | None:
        return results.median("search_to_first_epoch_s", "e", contender, big)

    ours, figure = beyond(OURS, 2, CORES), "(e) copies beyond one, per trial"
    return [
        Row(figure, ours, "bare", beyond("bare", 1, 1), at_most=0.1),
        Row(figure, ours, "keras_tuner", beyond("keras_tuner", 1, 1)),
        Row(figure, ours, "ray_tune", beyond("ray_tune", 2, CORES)),
        *(
            Row("(e) s from search() to first epoch", seconds(OURS), other, seconds(other))
            for other in ("keras_tuner", "ray_tune")
        ),
    ]


def _worker_memory(results: Results) -> list[Row]:
    def megabytes(mark: int, contender: str = OURS) -> float | None:
        return results.median(f"worker_mb_at_{mark}", "memory", contender)

    def growth(contender: str) -> float | None:
        before, after = megabytes(middle, contender), megabytes(last, contender)
        return None if before is None or after is None else 100 * (after / before - 1)

    _, middle, last = results.marks.worker
    return [
        *(
            Row(
                f"(a) MB of a worker after {mark} trials",
                megabytes(mark),
                "bare",
                megabytes(mark, "bare"),
            )
            for mark in results.marks.worker
        ),
        Row(
            f"(a) its growth from {middle} to {last} trials, %",
            growth(OURS),
            "bare",
            growth("bare"),
            at_most=10,
        ),
    ]


def _driver_memory(results: Results) -> list[Row]:
    name, figure = "driver_mb_per_100_trials", "(d) driver, MB per 100 trials"
    ours = results.median(name, "d")
    return [
        Row(figure, ours, "keras_tuner", results.median(name, "d", "keras_tuner"), at_most=1),
        Row(figure, ours, "ray_tune_reuse", results.median(name, "d", "ray_tune_reuse")),
    ]


def _start(results: Results) -> list[Row]:
    first = "(start) s to the first epoch"

    def row(figure: str, name: str, workload: str, other: str, at_most: float | None) -> Row:
        return Row(
            figure,
            results.median(name, "start", OURS, workload),
            other,
            results.median(name, "start", other, workload),
            results.ratio(name, "start", other, workload=workload),
            at_most=at_most,
            is_of_ratio=True,
        )

    return [
        row(first, "first_epoch_s", "start4", "keras_tuner", 1.3),
        *(
            row(first, "first_epoch_s", "start4", other, None)
            for other in ("bare", "ray_start", "ray_tune")
        ),
        *(
            row(f"(start) s of a script of {trials} trials", "wall_s", f"start{trials}", *against)
            for trials, at_most in zip(SCRIPTS, (1.05, 1.0, 0.7), strict=True)
            for against in (("keras_tuner", at_most), ("bare", None))
        ),
        row("(start) s of a script of 4 trials", "wall_s", "start4", "ray_tune", None),
    ]


def _reuse(results: Results) -> list[Row]:
    name, anew = "trials_per_minute", "glimr_keras_anew"
    parts = (
        ("5 folds of (a)", "a-folds", 1.6),
        ("learning rates of (a)", "a-rates", 2.0),
        ("learning rates of (c)", "c-rates", 1.6),
        ("(a) without repeats", "a-distinct", 0.98),
    )
    return [
        Row(
            f"(reuse) {what}, per minute",
            results.median(name, "reuse", OURS, workload),
            shown,
            results.median(name, "reuse", other, workload),
            results.ratio(name, "reuse", other, workload=workload),
            target,
            is_of_ratio=True,
        )
        for what, workload, at_least in parts
        for other, shown, target in (
            (anew, "reuse_graphs=False", at_least),
            ("limit", "limit", None),
        )
    ]
