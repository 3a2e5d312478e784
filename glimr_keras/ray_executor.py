"""The Ray executor: starts Ray if need be, and shows the coordinator to Ray Tune as its searcher. Runs in the driver.

Nothing else in the driver talks to Ray's cluster.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import ray
from ray import cloudpickle, tune
from ray.tune.schedulers import HyperBandScheduler, MedianStoppingRule, PopulationBasedTraining, TrialScheduler
from ray.tune.search import Searcher

from glimr_keras.coordinator import Coordinator
from glimr_keras.data import FitArguments
from glimr_keras.errors import FatalError, ResourcesError, ShippingError
from glimr_keras.objective import Objective
from glimr_keras.session import prepare_process
from glimr_keras.trials import Run
from glimr_keras.worker import Job, Probe, Report, probe, run_trial

_REPORT = "glimr_keras"
_RUN = "glimr_keras"

_QUIET_AND_FAST = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the journal is the record
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths mean in a trial what they mean in the user's script
    "TUNE_GLOBAL_CHECKPOINT_S": "600",  # likewise: Ray's own snapshots are never read
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a failed trial has no objective
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}


class RayExecutor:
    """Runs trials in Ray workers, side by side as resources allow.

    Args:
        resources: Of one trial: `{"cpu": …, "gpu": …}`, and custom resources of the cluster by name.
        max_concurrent: An upper bound on trials that run at once; `None` for what the resources allow.
        scheduler: A Ray scheduler that may stop trials early.
        callbacks: Ray Tune callbacks of the user.
        address: Of a cluster to join; `None` for the environment's `RAY_ADDRESS`, or a local Ray.
        chatty: Show what Ray and the workers print.
    """

    def __init__(
        self,
        resources: Mapping[str, float],
        max_concurrent: int | None = None,
        scheduler: TrialScheduler | None = None,
        callbacks: Sequence[tune.Callback] = (),
        address: str | None = None,
        chatty: bool = False,
    ) -> None:
        self._resources = dict(resources)
        self._max_concurrent = max_concurrent
        self._scheduler = scheduler
        self._callbacks = list(callbacks)
        self._chatty = chatty
        _ensure_ray(address, chatty)
        self._capacity = _capacity(self._resources)
        self._placed: tuple[FitArguments, ray.ObjectRef] | None = None

    def probe(self, job: Job, sampling_key: tuple[int, ...] | None) -> Probe:
        """Builds one configuration in a worker process without GPUs, so the driver's are left alone."""
        task = ray.remote(_probe).options(num_cpus=min(1, job.cpus), num_gpus=0, max_retries=0)
        try:
            found: Probe = ray.get(task.remote(self._pack(job), sampling_key))
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except ray.exceptions.WorkerCrashedError:
            return Probe(
                error="The worker process died while it ran `data` and `build` (out of memory, or a crash in a library)."
            )
        return found

    def execute(self, job: Job, coordinator: Coordinator) -> None:
        """Runs until the coordinator has nothing left to start.

        Raises:
            KeyboardInterrupt: If the user stopped the search.
        """
        bridge = _Bridge(coordinator)
        trainable = tune.with_parameters(_train, shipment=self._pack(job))
        storage = tempfile.mkdtemp(prefix="glimr_keras-ray-")
        try:
            with self._environment(ahead=1 if coordinator.oracle.learns else self._capacity):
                tune.Tuner(
                    tune.with_resources(trainable, self._resources),
                    tune_config=self._tune_config(job.objective, bridge),
                    run_config=tune.RunConfig(
                        name="search",
                        storage_path=storage,
                        callbacks=[_Listener(bridge), *self._callbacks],
                        stop=_Stop(bridge),
                        verbose=3 if self._chatty else 0,
                        progress_reporter=None if self._chatty else _Silent(),
                    ),
                ).fit()
        finally:
            shutil.rmtree(storage, ignore_errors=True)
        if coordinator.error is None and (bridge.runs or not coordinator.finished):
            raise KeyboardInterrupt

    def _pack(self, job: Job) -> _Shipment:
        """Puts the data into Ray's shared memory, once; every trial maps its arrays from there."""
        if self._placed is None or self._placed[0] is not job.arguments:
            self._placed = (job.arguments, ray.put(job.arguments))
        without_data = dataclasses.replace(job, arguments=FitArguments())
        packed = cloudpickle.dumps(without_data)
        return _Shipment(job.session.backend, job.cpus, tuple(filter(None, sys.path)), packed, (self._placed[1],))

    def _tune_config(self, objective: Objective, bridge: _Bridge) -> tune.TuneConfig:
        has_metric = self._scheduler is not None and self._scheduler.metric is not None
        return tune.TuneConfig(
            metric=None if has_metric else objective.name,
            mode=None if has_metric else objective.direction,
            search_alg=_BridgeSearcher(bridge),
            scheduler=self._scheduler,
            num_samples=-1,
            max_concurrent_trials=self._max_concurrent,
            reuse_actors=True,
            trial_name_creator=_short_name,
            trial_dirname_creator=_short_name,
        )

    @contextlib.contextmanager
    def _environment(self, ahead: int) -> Iterator[None]:
        """Ray's settings for the time of a search, and its loggers quiet.

        Args:
            ahead: How many trials may wait for a worker: each is asked of the oracle before there is room for it, but
                workers start side by side.
        """
        logger = logging.getLogger("ray.tune")
        level = logger.level
        settings = {"TUNE_MAX_PENDING_TRIALS_PG": str(ahead), **_QUIET_AND_FAST}
        if self._chatty:
            del settings["RAY_AIR_NEW_OUTPUT"]
        else:
            logger.setLevel(logging.CRITICAL)
        try:
            with _settings({name: value for name, value in settings.items() if name not in os.environ}):
                yield
        finally:
            logger.setLevel(level)


def check_scheduler(scheduler: TrialScheduler | None) -> None:
    """Refuses schedulers that pause trials and go on from their checkpoints.

    Raises:
        TypeError: If it is no Ray scheduler.
        ValueError: If it is one that pauses trials.
    """
    if scheduler is None:
        return
    if not isinstance(scheduler, TrialScheduler):
        raise TypeError(f"`scheduler` must be one of `ray.tune.schedulers`. Received: scheduler={scheduler!r}")
    if isinstance(scheduler, (HyperBandScheduler, MedianStoppingRule, PopulationBasedTraining)):
        raise ValueError(
            "`scheduler` must be one that only stops trials, such as ASHAScheduler. "
            f"Received: {type(scheduler).__name__}, which pauses trials and continues them from checkpoints; not supported yet."
        )


@dataclasses.dataclass
class _Bridge:
    """Which Ray trial is which run; the one place where Ray's ids and ours meet."""

    coordinator: Coordinator
    runs: dict[str, Run] = dataclasses.field(default_factory=dict)
    started: dict[str, float] = dataclasses.field(default_factory=dict)

    def next_run(self, ray_id: str) -> Run | None:
        run = self.coordinator.next_run()
        if run is not None:
            self.runs[ray_id] = run
        return run

    def start(self, ray_id: str) -> None:
        self.started[ray_id] = time.monotonic()
        self.coordinator.on_start(self.runs[ray_id])

    def report(self, ray_id: str, report: Report) -> None:
        self.coordinator.on_report(self.runs[ray_id], report)

    def end(self, ray_id: str) -> None:
        """The Ray trial is over; if the worker said no outcome, a scheduler stopped it."""
        run = self.runs.pop(ray_id, None)
        if run is not None:
            self.coordinator.on_stopped(run, self._seconds(ray_id))

    def lose(self, ray_id: str, message: str) -> None:
        run = self.runs.pop(ray_id, None)
        if run is not None:
            self.coordinator.on_lost(run, self._seconds(ray_id), message)

    def _seconds(self, ray_id: str) -> float:
        now = time.monotonic()
        return now - self.started.pop(ray_id, now)

    def __reduce__(self) -> tuple[type, tuple[None]]:
        return _Bridge, (None,)  # Ray pickles searchers and callbacks into its snapshots, which are never read


class _BridgeSearcher(Searcher):
    """Shows the coordinator to Ray Tune as a searcher."""

    def __init__(self, bridge: _Bridge) -> None:
        super().__init__()
        self._bridge = bridge

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        run = self._bridge.next_run(trial_id)
        if run is not None:
            return {_RUN: dataclasses.asdict(run)}
        return Searcher.FINISHED if self._bridge.coordinator.finished else None

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The listener, which hears of every end, tells the coordinator."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the journal is the record."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the journal is the record."""


class _Listener(tune.Callback):
    """Passes on what happens to Ray's trials."""

    def __init__(self, bridge: _Bridge) -> None:
        self._bridge = bridge

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._bridge.start(trial.trial_id)

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any) -> None:
        self._bridge.report(trial.trial_id, result.pop(_REPORT))  # Ray would keep it as long as the search lasts

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._bridge.end(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._bridge.lose(trial.trial_id, f"The worker was lost:\n{trial.get_error() or 'it died without a message.'}")


class _Silent(tune.ProgressReporter):
    """Reports nothing, also in a notebook, where Ray would clear the cell's output."""

    def should_report(self, trials: list[Any], done: bool = False) -> bool:
        return False

    def report(self, trials: list[Any], done: bool, *sys_info: dict[str, Any]) -> None:
        """Nothing: progress is shown by the coordinator's observer."""


class _Stop(tune.Stopper):
    """Ends the search when the coordinator has an error."""

    def __init__(self, bridge: _Bridge) -> None:
        self._bridge = bridge

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._bridge.coordinator is not None and self._bridge.coordinator.error is not None


@dataclasses.dataclass(frozen=True)
class _Shipment:
    """A job on its way to a worker, which prepares its process before it unpacks anything of the user's.

    Attributes:
        path: Where the driver finds modules.
        job: Pickled, without its data.
        arguments: A reference to the data in Ray's shared memory, in a tuple so that Ray does not resolve it.
    """

    backend: str
    cpus: float
    path: tuple[str, ...]
    job: bytes
    arguments: tuple[ray.ObjectRef]

    def unpack(self) -> Job:
        """The job with its data; a fresh copy each time.

        Raises:
            ShippingError: If it needs something that the worker does not have.
        """
        prepare_process(self.backend, self.cpus)
        # A stopped trial needs a moment to unwind; Ray replaces workers, Keras and all, that take longer than this
        os.environ.setdefault("TUNE_FUNCTION_THREAD_TIMEOUT_S", "10")
        sys.path.extend(path for path in self.path if path not in sys.path)
        try:
            job: Job = cloudpickle.loads(self.job)
            return dataclasses.replace(job, arguments=ray.get(self.arguments[0]))
        except Exception as error:
            raise ShippingError(
                f"What was sent to a worker cannot be loaded there: {type(error).__name__}: {error}. Is every module that "
                "the HyperModel, the callbacks and the data need installed on all machines?"
            ) from error


def _probe(shipment: _Shipment, sampling_key: tuple[int, ...] | None) -> Probe:
    return probe(shipment.unpack(), sampling_key)


def _train(config: dict[str, Any], shipment: _Shipment) -> None:
    """What Ray Tune calls in a worker, once a trial."""
    run_trial(shipment.unpack(), Run(**config[_RUN]), _report)


def _report(report: Report) -> None:
    outcome = report.outcome
    if outcome is not None and outcome.fatal is not None and not _survives(outcome.fatal):
        outcome = dataclasses.replace(outcome, fatal=FatalError(outcome.message))
        report = dataclasses.replace(report, outcome=outcome)
    tune.report({**report.metrics, _REPORT: report})


def _survives(error: Exception) -> bool:
    """Whether an error of the user's can be sent to the driver, which an `__init__` of its own may prevent."""
    try:
        cloudpickle.loads(cloudpickle.dumps(error))
    except Exception:
        return False
    return True


@contextlib.contextmanager
def _settings(settings: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for the time of a block."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _short_name(trial: Any) -> str:
    return str(trial.trial_id)


def _ensure_ray(address: str | None, chatty: bool) -> None:
    """Joins the Ray that is running or named, or starts one on this machine; Ray itself shuts that down at exit."""
    if ray.is_initialized():
        return
    address = address or os.environ.get("RAY_ADDRESS")
    quiet: dict[str, Any] = {} if chatty else {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is not None:
        ray.init(address=address, **quiet)
        return
    # Workers find modules where this process does, also on paths that a notebook added
    with _settings({"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}):
        ray.init(include_dashboard=False, **quiet)


def _capacity(resources: Mapping[str, float]) -> int:
    """How many trials the cluster has room for at once.

    Raises:
        ResourcesError: If there is no machine with room for one, for which Ray would wait without an end.
    """
    wanted = {{"cpu": "CPU", "gpu": "GPU"}.get(name, name): amount for name, amount in resources.items() if amount > 0}
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    capacity = sum(min(int(node.get(name, 0) / amount) for name, amount in wanted.items()) for node in nodes)
    if capacity > 0:
        return capacity
    names = sorted({"CPU", "GPU", *wanted})
    there = "; ".join(", ".join(f"{name}: {node.get(name, 0):g}" for name in names) for node in nodes)
    raise ResourcesError(
        "A trial asks for more than any machine has, and would wait forever. "
        f"Received: resources_per_trial={dict(resources)}. "
        f"There {'is one machine' if len(nodes) == 1 else f'are {len(nodes)} machines'} with {there}."
    )
