"""The executor with which a search begins where possible: forks of the script's process. They
inherit Keras and all other state, so the first trial starts at once. Runs in the driver.

If much work remains, Ray starts in the background and takes over the rest. Ray also runs the search
where no fork can compute.
"""

from __future__ import annotations

import atexit
import collections
import dataclasses
import functools
import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from glimr_keras._utils.native_threads import num_cpus
from glimr_keras.errors import ResourcesError
from glimr_keras.executors.base import Begin, Executor
from glimr_keras.executors.coordinator import Coordinator
from glimr_keras.executors.fork_safety import may_fork
from glimr_keras.executors.fork_team import Member, Team
from glimr_keras.executors.fork_template import Death
from glimr_keras.executors.fork_worker import (
    GO_ON,
    STOP,
    Broken,
    ForkedWorker,
    Look,
    Said,
    Stage,
    Train,
)
from glimr_keras.executors.losses import FIRST_STAGE, MAX_REFUSED, died_of, lost, stage_of
from glimr_keras.executors.phases import Plan
from glimr_keras.executors.worker import Beginning, Parcel, hanging
from glimr_keras.training.context import TrialContext
from glimr_keras.training.discovery import PROBED, Probe
from glimr_keras.training.messages import Report
from glimr_keras.transport.serialization import pack
from glimr_keras.transport.surroundings import Surroundings

if TYPE_CHECKING:  # Ray Tune is imported where it is needed
    from glimr_keras.executors.ray_executor import RayExecutor

_TICK_S = 1.0
_READY_S = 30.0
"""A fork that has computed nothing after this many seconds counts as hung."""
_UNWINDING_S = 10.0
"""The seconds in which a stopped trial must end by itself."""
_ALARM_S = 1.0
"""The seconds in which a trial's alarm must end it if it hangs."""
_WORTH_S = 300.0
"""Start Ray only if at least this many seconds of work remain."""
_WORTH_ROUNDS = 8
"""Start Ray only if this many trials remain for each process: Ray begins after the running trials
have ended.
"""


class ForkExecutor(Executor):
    """Run trials in forks of this process, in parallel, and the rest of a long search on Ray.

    Args:
        on_ray: Makes the executor that runs the rest.
        resources: The resources of one trial: `{"cpu": …}`. Defaults to `None`, which means one
            CPU.
        max_concurrent: An upper bound on the number of concurrent trials. Defaults to `None`, which
            means as many as the CPUs allow.
        time_budget_s: The time budget of the search in seconds; Ray is started only if enough of it
            remains. Defaults to `None`, which means no limit.
        shows: Whether to show the output of trials. Defaults to `False`.
    """

    def __init__(
        self,
        on_ray: Callable[[], RayExecutor],
        resources: Mapping[str, float] | None = None,
        max_concurrent: int | None = None,
        time_budget_s: float | None = None,
        shows: bool = False,
    ) -> None:
        self._make_ray, self._budget = on_ray, time_budget_s
        self._plan = Plan(_this_machine, resources, None, max_concurrent)
        self._shows = shows
        self._team: Team | None = None
        self._beginning: Beginning | None = None
        self._ray: RayExecutor | None = None
        self._may_fork = may_fork()
        self.start_label = None if self._may_fork else "Starting Ray"

    def prepare(self, context: TrialContext) -> None:
        """Fork the workers, or prepare Ray if this process cannot be forked."""
        self._team = self._forked(context)
        if self._team is None:
            self._prepare_ray(context)

    def execute(self, context: TrialContext, begin: Begin) -> None:
        """Build the model once in a fork, and run all executions of the coordinator.

        Raises:
            KeyboardInterrupt: If the user stopped the search.
            Exception: Any exception that `begin` raised.
        """
        if self._team is not None and self._beginning is not None:
            start = functools.partial(_RayStart, self._make_ray, context)
            search = _Search(self._team, start, self._beginning, self._budget)
            found = search.look()
            if found is not None:
                coordinator = begin(found)
                if coordinator is None or search.run(coordinator):
                    return
                self.close()
                self._ray = search.ray or self._prepare_ray(context)
                self._ray.take_over(context, coordinator, self._beginning)
                return
            self.close()
        (self._ray or self._prepare_ray(context)).execute(context, begin)

    def close(self) -> None:
        """End the forks and the processes that they have started."""
        if self._team is not None:
            self._team.close()
            self._team = None

    def _prepare_ray(self, context: TrialContext) -> RayExecutor:
        self._ray = self._ray or self._make_ray()
        self._ray.prepare(context)
        self.line = self._ray.line
        return self._ray

    def _forked(self, context: TrialContext) -> Team | None:
        """Return the workers; `None` if this process cannot be forked."""
        if not self._may_fork:
            return None
        try:
            first = self._plan.first()
        except ResourcesError:  # Ray knows best, and says so
            return None
        share = first.share
        packed = pack(dataclasses.replace(context, cpus=share.cpus, gpus=0.0))
        if not may_fork():  # what is packed had to compute
            return None
        surroundings = Surroundings.current()
        self._beginning = Beginning(surroundings, packed, share.cpus)
        parcel = Parcel(context.session.backend, share.cpus, surroundings, packed.content)
        try:
            team = Team(
                ForkedWorker(parcel, packed.arrays), self._plan.at_once(share)[0], self._shows
            )
        except OSError:
            return None
        self.line = self._plan.described(first)
        return team


class _RayStart(threading.Thread):
    """Start Ray while trials run. The thread lives as long as this process, because the system ends
    Ray's processes with the thread that started them.

    Attributes:
        executor: The executor, once it is ready.
        error: The exception if Ray could not be started.
    """

    def __init__(self, make: Callable[[], RayExecutor], context: TrialContext) -> None:
        super().__init__(name="glimr_keras starts Ray", daemon=True)
        self._make, self._context = make, context
        self._is_over = threading.Event()
        self.executor: RayExecutor | None = None
        self.error: BaseException | None = None
        # A script that ends meanwhile waits, since Ray can only be ended when it has begun
        atexit.register(self._is_over.wait)
        self.start()

    def run(self) -> None:
        try:
            executor = self._make()
            executor.prepare(self._context)
            self.executor = executor
        except BaseException as error:  # the search continues in forks
            self.error = error
        del self._context
        atexit.unregister(self._is_over.wait)
        self._is_over.set()
        if self.error is None:
            threading.Event().wait()


class _Search:
    """Run one search with forked workers.

    Args:
        team: The workers.
        start_ray: Starts Ray in the background.
        beginning: The data with which the search began.
        time_budget_s: As for `ForkExecutor`.

    Attributes:
        ray: The executor that runs the rest; `None` if Ray was not started.
    """

    def __init__(
        self,
        team: Team,
        start_ray: Callable[[], _RayStart],
        beginning: Beginning,
        time_budget_s: float | None,
    ) -> None:
        self._team, self._start_ray, self._budget = team, start_ray, time_budget_s
        # Else trials would see less on Ray than those before them
        self._may_leave = beginning.surroundings.modules.is_whole
        self.ray: RayExecutor | None = None
        self._starting: _RayStart | None = None
        self._repeater = beginning.repeater
        self._refused: collections.Counter[tuple[str, int]] = collections.Counter()
        self._begun = math.inf
        self._ended = 0

    def look(self) -> Probe | None:
        """Build the model once, and return the result; `None` if no fork is able to compute.

        Raises:
            Exception: Why the model could not be built.
        """
        stage, died = FIRST_STAGE, 0
        until = time.monotonic() + _READY_S
        while died < len(PROBED):
            if not self._team.are_busy:
                if self._team.idle:
                    self._team.give(self._team.idle[0], Look(died))
                    stage = FIRST_STAGE
                elif self._team.is_gone or not list(self._team) or time.monotonic() > until:
                    return None
            for member, said in self._team.hear(_TICK_S):
                if isinstance(said, Death):
                    died += member.task is not None
                    until = time.monotonic() + _READY_S
                    continue
                self._repeater.repeat(said.sayings)
                match said.what:
                    case Probe():
                        return self._over(member, said.what)
                    case Exception():
                        raise said.what
                    case Stage(name):
                        stage = name
        return died_of(stage)

    def run(self, coordinator: Coordinator) -> bool:
        """Run the executions of the coordinator.

        Returns:
            Whether all have run; otherwise Ray is to run the rest.
        """
        team = self._team
        self._begun = time.monotonic()
        while coordinator.error is None:
            if self.ray is None:
                self._give_out(coordinator)
            if coordinator.error is not None:
                break
            if not team.are_busy and team.idle and self.ray is None:
                return True  # the coordinator had no work for them
            if not team.are_busy and (self.ray or not list(team)):
                is_over = not self._is_something_left(coordinator)
                if not is_over and self.ray is None:
                    coordinator.say("No worker can be forked any more, so Ray runs what is left.")
                return is_over
            for member, said in team.hear(_TICK_S):
                self._take_in(coordinator, member, said)
            self._end_those_that_hang()
            self._consider_ray(coordinator)
        return True

    def _over(self, member: Member, found: Probe) -> Probe:
        """Return the result of a probe, once its worker is idle."""
        while member in list(self._team) and member.task is not None:
            for each, said in self._team.hear(_TICK_S):
                if isinstance(said, Said):
                    self._repeater.repeat(said.sayings)
                    if said.what == "over":
                        each.task = None
        return found

    def _give_out(self, coordinator: Coordinator) -> None:
        for member in self._team.idle:
            spec = coordinator.next_spec()
            if spec is None:
                return
            self._team.give(member, Train(spec))

    def _is_something_left(self, coordinator: Coordinator) -> bool:
        spec = coordinator.next_spec()
        if spec is not None:
            coordinator.give_back(spec)
        return spec is not None

    def _take_in(self, coordinator: Coordinator, member: Member, said: Said | Death) -> None:
        if isinstance(said, Death):
            self._lose(coordinator, member, said)
            return
        self._repeater.repeat(said.sayings)
        if not isinstance(member.task, Train):
            return
        spec = member.task.spec
        match said.what:
            case "begun":
                member.began = time.monotonic()
                coordinator.on_start(spec)
            case Report() as report:
                stops = coordinator.stops(spec, report)
                coordinator.on_report(spec, report)
                member.has_ended = member.has_ended or report.outcome is not None
                if stops:
                    member.stopped = time.monotonic()
                self._team.answer(member, STOP if stops else GO_ON)
            case Broken(reason):
                member.reason = reason
            case "over":
                if not member.has_ended:
                    coordinator.on_stopped(spec, _seconds(member))
                member.task = None
                member.forget_words()
                self._ended += 1

    def _lose(self, coordinator: Coordinator, member: Member, death: Death) -> None:
        """Handle the loss of a worker's process."""
        if not isinstance(member.task, Train):
            return
        spec = member.task.spec
        member.task = None
        if member.has_ended:  # it may have been given to another meanwhile
            return
        if member.began is None:
            self._refused[spec.key] += 1
            if self._refused[spec.key] <= MAX_REFUSED:
                coordinator.give_back(spec)
                return
        if member.stopped is not None:
            coordinator.on_stopped(spec, _seconds(member))
            return
        # One that the driver has ended may have died of itself at that moment
        ended_for = member.ended_for if death.is_killed else None
        parts = (member.reason, ended_for or str(death), member.last_words())
        reason = "\n".join(filter(None, parts))
        message = lost(stage_of(spec, coordinator), reason)
        coordinator.on_lost(spec, _seconds(member), message)

    def _end_those_that_hang(self) -> None:
        for member in self._team:
            if _hangs(member, time.monotonic()):
                self._team.end(member, "It was ended, since it did not end by itself.")

    def _consider_ray(self, coordinator: Coordinator) -> None:
        """Start Ray if that is worthwhile, and hand over to it once it is ready."""
        if self.ray is not None:
            return
        if self._starting is None:
            if self._is_long(coordinator):
                self._starting = self._start_ray()
            return
        self.ray = self._starting.executor
        if self.ray is not None:
            coordinator.say("Ray has started: it takes over when the trials that run have ended.")
        elif self._starting.error is not None:
            coordinator.say(
                "Ray could not be started, so all trials run in forks of this process: "
                f"{self._starting.error}"
            )
            self._starting.error = None

    def _is_long(self, coordinator: Coordinator) -> bool:
        """Return whether much work remains, judging by what this search has done so far."""
        size, left = len(list(self._team)), coordinator.num_left
        took = time.monotonic() - self._begun
        if not self._may_leave or self._ended < size or self._ended == 0:
            return False
        if left is not None and left < _WORTH_ROUNDS * size:
            return False
        # Where no number of trials is known, as long again as it has been
        seconds = took if left is None else left * took / self._ended
        return min(seconds, math.inf if self._budget is None else self._budget - took) > _WORTH_S


def _hangs(member: Member, now: float) -> bool:
    """Return whether a worker failed to become ready, or continues a trial that should have ended.
    A trial may have changed the alarm that would end it.
    """
    if not member.is_ready:
        return now - member.made > _READY_S
    if not isinstance(member.task, Train):
        return False
    if member.stopped is not None and now - member.stopped > _UNWINDING_S:
        return True
    limit = member.task.spec.time_limit
    return limit is not None and _seconds(member) > hanging(limit) + _ALARM_S


def _seconds(member: Member) -> float:
    return 0.0 if member.began is None else time.monotonic() - member.began


def _this_machine() -> list[dict[str, float]]:
    return [{"CPU": float(num_cpus())}]
