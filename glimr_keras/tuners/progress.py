"""The progress display of a search, in a terminal, a file or a notebook. Runs in the driver."""

from __future__ import annotations

import contextlib
import datetime
import textwrap
import time
from collections.abc import Iterator, Sequence
from typing import Any

from glimr_keras._utils.text import four_digits, plain, short
from glimr_keras.errors import reason_of
from glimr_keras.results.overview import shown_place
from glimr_keras.trials.execution import TrialStatus
from glimr_keras.trials.objective import Objective
from glimr_keras.trials.ranking import ranked
from glimr_keras.trials.trial import Trial
from glimr_keras.tuners.console import LossyConsole
from glimr_keras.tuners.hooks import SearchingTuner
from glimr_keras.tuners.progress_lines import Display, LogLines, TerminalLine
from glimr_keras.tuners.progress_notebook import NotebookPanel, in_notebook
from glimr_keras.tuners.search_state import Plan, SearchState, TimeLeft

_SHOWN_OF_BEST = 5


class Progress:
    """Show trials done, running and failed, the best score, and the time elapsed and left.

    A terminal shows one live line, a notebook a panel that is updated in place, and a file an
    occasional line.

    Args:
        verbose: 0 shows nothing, 1 the progress, 2 and 3 also a line for each finished trial.
        objective: The objective, as far as it is known when `search` is called.
        plan: The planned number of trials.
        cv_folds: Number of folds. Defaults to `None`: no cross validation.
    """

    def __init__(
        self, verbose: int, objective: Objective, plan: Plan, cv_folds: int | None = None
    ) -> None:
        self._verbose, self._objective, self._plan = verbose, objective, plan
        self._cv_folds = cv_folds
        self._console = LossyConsole(quiet=verbose == 0, highlight=False, emoji=False)
        self._display: Display | None = None
        self._doing: str | None = None
        self._note: str | None = None
        self._best: tuple[Trial, ...] = ()
        self._ended: list[Trial] = []
        self._failed = self._running = 0
        self._reasons: dict[str, Trial] = {}
        self._began = self._first_began = time.monotonic()
        self._ends_at: float | None = None
        self._must_end_at: float | None = None
        self._over_since: float | None = None
        self._time_left: TimeLeft | None = None

    def on_start(self, project: str) -> None:
        """Write to a file that `search` was called.

        Args:
            project: The project's directory.
        """
        if not self._is_terminal and not in_notebook():
            total, now = self._plan.num_trials_planned, datetime.datetime.now()
            trials = "" if total is None else f" of {total} trials"
            self.say(
                f"Search{trials} in {project} began at {now:%Y-%m-%d %H:%M:%S}, objective "
                f"{', '.join(part.name for part in self._objective.parts)}"
            )

    def preparing(self, what: str | None) -> contextlib.AbstractContextManager[Any]:
        """Show the current step before the first trial, and remove it afterwards; not in a file."""
        if what is None or self._verbose == 0:
            return contextlib.nullcontext()
        if in_notebook():
            return self._doing_in_notebook(what[:1].lower() + what[1:])
        return self._console.status(f"{what} …") if self._is_terminal else contextlib.nullcontext()

    @contextlib.contextmanager
    def _doing_in_notebook(self, what: str) -> Iterator[None]:
        self._doing = what
        self._update()
        try:
            yield
        except BaseException:
            self.on_search_end()
            raise

    def on_ready(self, line: str | None) -> None:
        """Note that everything executions need is ready.

        Args:
            line: A remark, such as how many trials run at once. A notebook's panel includes it.
        """
        if in_notebook():
            self._note = line
        else:
            self.say(line)

    def on_search_begin(
        self,
        objective: Objective,
        trials: Sequence[Trial],
        executions: int = 1,
        time_budget_s: float | None = None,
    ) -> None:
        """Note that trials can start.

        Args:
            objective: The objective with its direction.
            trials: Trials that ended in earlier sessions.
            executions: Number of times each configuration is trained. Defaults to `1`.
            time_budget_s: Remaining time in seconds. Defaults to `None`: no limit.
        """
        self._objective, self._doing = objective, "starting workers"
        self._count(*trials)
        self._first_began = time.monotonic()
        if time_budget_s is not None:
            self._must_end_at = self._first_began + time_budget_s
        self._time_left = TimeLeft(self._plan, trials, executions)
        self._update()

    def say(self, what: str | None) -> None:
        """Show a line, if there is one."""
        if what is not None:
            with self._unless_it_fails():
                self._console.print(plain(what), markup=False, soft_wrap=True)

    def on_running(self, running: int) -> None:
        """Show how many executions run now."""
        self._running, self._doing = running, None
        self._foresee()
        self._update()

    def on_trial_end(self, trial: Trial) -> None:
        """Count an ended trial. Show a failed one, with the full reason the first time."""
        self._count(trial)
        if self._time_left is not None:
            self._time_left.add(trial)
        has_failed = trial.status == TrialStatus.FAILED
        if self._verbose >= 2 or has_failed:
            first = self._reasons.setdefault(_reason(trial), trial) if has_failed else trial
            self.say(describe_trial(trial, self._objective, None if first is trial else first))
        self._foresee()
        self._update()

    def on_search_end(self, remark: str | None = None) -> None:
        """Finish the display and leave it visible, followed by the remark if there is one.

        If nothing has been shown, only the remark is.
        """
        self._running, self._doing, self._over_since = 0, None, time.monotonic()
        if self._display is not None:
            with self._unless_it_fails():
                self._display.end(self._state())
            self._display = None
        self.say(remark)

    @property
    def _is_terminal(self) -> bool:
        """Return whether lines can be rewritten; `FORCE_COLOR` does not make a file a terminal."""
        console = self._console
        isatty = getattr(console.file, "isatty", None)
        can = console.is_terminal and not console.is_dumb_terminal
        return can and isatty is not None and isatty()

    def _update(self) -> None:
        if self._verbose == 0:
            return
        state = self._state()
        with self._unless_it_fails():
            if self._display is not None:
                self._display.show(state)
            elif in_notebook():
                self._display = NotebookPanel(state)
            else:
                kind = TerminalLine if self._is_terminal else LogLines
                self._display = kind(self._console, state)

    @contextlib.contextmanager
    def _unless_it_fails(self) -> Iterator[None]:
        """Turn the display off if showing something fails, so that the search continues.

        Examples are a full disk and a broken pipe.
        """
        try:
            yield
        except (OSError, SystemExit):  # Rich raises SystemExit for a broken pipe
            self._verbose, self._console.quiet = 0, True

    def _state(self) -> SearchState:
        return SearchState(
            self._objective,
            self._began,
            self._doing,
            len(self._ended),
            self._plan.num_trials_planned,
            self._running,
            self._failed,
            self._best,
            self._ended,
            self._ends_at,
            self._cv_folds,
            self._over_since,
            self._note,
        )

    def _count(self, *trials: Trial) -> None:
        self._ended += trials
        self._failed += sum(trial.status == TrialStatus.FAILED for trial in trials)
        scored = [trial for trial in trials if trial.is_scored]
        if scored:
            best = ranked([*self._best, *scored], self._objective)
            self._best = tuple(best[:_SHOWN_OF_BEST])

    def _foresee(self) -> None:
        """Estimate when the search ends."""
        if self._time_left is None:
            return
        now = time.monotonic()
        seconds = self._time_left.seconds(now - self._first_began, self._running)
        ends = (self._must_end_at, None if seconds is None else now + seconds)
        self._ends_at = min((end for end in ends if end is not None), default=None)


def progress_of(tuner: SearchingTuner, verbose: int) -> Progress:
    """Return the progress display of a search that a tuner starts now.

    Args:
        tuner: The user's tuner.
        verbose: As for `BaseTuner.search`. A user-defined reporter replaces the display.
    """
    settings, oracle = tuner._glimr.settings, tuner.oracle
    shown = verbose if settings.reporter is None else 0
    progress = Progress(shown, oracle.objective, oracle, settings.cv_folds)
    progress.on_start(shown_place(tuner._glimr))
    return progress


def describe_trial(trial: Trial, objective: Objective, alike: Trial | None = None) -> str:
    """Return one line on a finished trial; for a failed trial also the full reason.

    Args:
        trial: The trial.
        objective: The objective of the search.
        alike: An earlier trial that failed for the same reason, which is then shortened to one
            line. Defaults to `None`.
    """
    values = " ".join(f"{name}={short(value)}" for name, value in trial.values.items())
    took = "" if trial.duration is None else f" [{trial.duration:.1f} s]"
    if trial.status == TrialStatus.FAILED:
        reason = _reason(trial)
        first, *others = reason.splitlines()
        if alike is not None:
            first, others = f"{first}{' …' if others else ''}", []
        as_before = "" if alike is None else f" like trial {alike.trial_id}"
        if not others:
            return f"Trial {trial.trial_id} FAILED{as_before}: {first}  {values}{took}"
        return f"Trial {trial.trial_id} FAILED  {values}{took}:\n{textwrap.indent(reason, '  ')}"
    number = trial.best_execution(objective)
    epoch = None if number is None else trial.executions[number].best_epoch
    score = "no score" if trial.score is None else f"{objective.name}={four_digits(trial.score)}"
    score += "" if trial.score is None or epoch is None else f" at epoch {epoch}"
    stopped = " (stopped early)" if trial.status == TrialStatus.STOPPED else ""
    return f"Trial {trial.trial_id}{stopped}: {score}  {values}{took}"


def _reason(trial: Trial) -> str:
    """Return why a trial failed: the error with its full message."""
    return plain(reason_of(trial.message or "")) or "unknown reason"
