"""Which contender runs on which workload, how many trials, and how often."""

import concurrent.futures
import dataclasses
import os
import sys
from collections.abc import Iterator

import harness
from harness import Run

CORES = len(os.sched_getaffinity(0))


@dataclasses.dataclass(frozen=True)
class Piece:
    """One contender's part in a group.

    Attributes:
        quick: Trials with `--quick`; 0 to leave it out there.
        once: Run in the first repeat only.
    """

    contender: str
    workload: str
    trials: int
    quick: int
    once: bool = False
    options: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Marks:
    """Numbers of trials at which something is looked at."""

    trivial: tuple[int, ...] = (200, 1_000, 5_000)
    worker: tuple[int, ...] = (5, 50, 200)


QUICK_MARKS = Marks((10, 20, 60), (1, 2, 4))
BIG, QUICK_BIG, SMALL = 1_000, 100, 10  # MB of the arrays of (e)
SCRIPTS = (4, 10, 30)  # trials of the scripts of (start)

NOTES = {
    "a": (
        "(a) bare and keras_tuner ran the first 30 configurations, and ray_tune the first 16: it "
        "starts a process for each, so its rate is that of the later ones, process starts "
        "included."
    ),
    "b": "(b), (c) bare ran once, and ray_tune, with the first 8 configurations.",
    "d": (
        "(d) the contenders other than glimr_keras ran once: keras_tuner and ray_tune_reuse (Ray "
        "Tune with reuse_actors=True) 1,000 trials, ray_tune 60, since it starts a process for "
        "each. One run gives the figures at all its numbers of trials."
    ),
    "e": (
        "(e) ran once. PSS of all processes is sampled every 0.1 s. In copies of the data: what "
        "the peak grew by, from 10 MB to 1 GB of data; beyond the user's own copy (and the one "
        "that is shared with the workers), per running trial. The bare loop's figure is what "
        "Keras itself takes for its trials."
    ),
    "start": (
        "(start) data of the shape of digits, made without scikit-learn. The first epoch is that "
        "of a script of four trials; a whole script is its process from start to exit."
    ),
    "reuse": (
        "(reuse) glimr_keras with its defaults, among them reuse_graphs=True, beside "
        "reuse_graphs=False (glimr_keras_anew) and the pinned bare loops; from the start of the "
        "first training to the end of the last."
    ),
    "memory": (
        "(memory) ran once, glimr_keras with one worker beside the bare loop, since no time is "
        "measured."
    ),
}


def pieces(group: str, quick: bool) -> list[Piece]:
    """What a group consists of."""
    big = f"e{QUICK_BIG if quick else BIG}"
    return {
        "a": [
            Piece("bare", "a", 30, 2),
            Piece("limit", "a", 100, 2),
            Piece("keras_tuner", "a", 30, 0),
            Piece("ray_tune", "a", 16, 0),
            Piece("glimr_keras", "a", 100, 4),
        ],
        "b": _trained("b", 16),
        "c": _trained("c", 8),
        "d": [
            Piece("glimr_keras", "d", 5_000, 60),
            Piece("keras_tuner", "d", 1_000, 20, once=True),
            Piece("ray_tune_reuse", "d", 1_000, 10, once=True),
            Piece("ray_tune", "d", 60, 0, once=True),
        ],
        "e": [
            Piece(contender, workload, 8, 0 if contender == "bare" else 2, once=True)
            for contender in ("glimr_keras", "bare", "keras_tuner", "ray_tune")
            for workload in (f"e{SMALL}", big)
        ],
        "start": [
            *(
                Piece(contender, f"start{trials}", trials, quick)
                for trials, quick in zip(SCRIPTS, (2, 3, 0), strict=True)
                for contender in ("bare", "keras_tuner", "glimr_keras")
            ),
            *(Piece(contender, "start4", 4, 2) for contender in ("ray_start", "ray_tune")),
        ],
        "reuse": [
            Piece(contender, workload, trials, 2)
            for workload, trials in (
                ("a-folds", 16),
                ("a-rates", 80),
                ("c-rates", 30),
                ("a-distinct", 80),
            )
            for contender in ("limit", "glimr_keras_anew", "glimr_keras")
        ],
        "memory": [
            Piece("bare", "a", 210, 5, once=True),
            Piece("glimr_keras", "a", 210, 5, once=True, options=("--concurrent", "1")),
        ],
    }[group]


GROUPS = ("a", "b", "c", "d", "e", "start", "reuse", "memory")


def _trained(workload: str, trials: int) -> list[Piece]:
    return [
        Piece("bare", workload, trials, 0, once=True),
        Piece("limit", workload, trials, 2),
        Piece("keras_tuner", workload, trials, 2),
        Piece("ray_tune", workload, 8, 0, once=True),
        Piece("glimr_keras", workload, trials, 2),
    ]


def run_group(group: str, repeats: int, quick: bool) -> Iterator[Run]:
    """Runs a group; every other repeat in reversed order."""
    for repeat in range(repeats):
        now = [
            piece
            for piece in pieces(group, quick)
            if (piece.quick or not quick) and (repeat == 0 or not piece.once)
        ]
        if repeat % 2:
            now.reverse()
        if group == "memory":
            yield from _side_by_side(now, group, repeat, quick)
        else:
            yield from (_execute(piece, group, repeat, quick) for piece in now)


def _side_by_side(now: list[Piece], group: str, repeat: int, quick: bool) -> list[Run]:
    with concurrent.futures.ThreadPoolExecutor(CORES) as pool:
        try:
            return list(pool.map(lambda piece: _execute(piece, group, repeat, quick), now))
        except BaseException:  # Ctrl-C comes here, and not to the threads
            harness.interrupted.set()
            raise


def _execute(piece: Piece, group: str, repeat: int, quick: bool) -> Run:
    run = Run(
        group, piece.contender, piece.workload, piece.quick if quick else piece.trials, repeat
    )
    harness.execute(run, *piece.options, measure_tree=group == "e")
    state = "failed" if run.error else f"{run.wall:.0f} s"
    print(
        f"{group:7} {run.workload:6} {run.contender:15} {run.trials:5} trials, repeat "
        f"{repeat + 1}: {state}",
        file=sys.stderr,
    )
    return run
