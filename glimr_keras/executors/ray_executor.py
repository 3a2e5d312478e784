"""The Ray executor, which starts Ray if needed, sends the search context to its workers, and runs
Ray Tune. Runs in the driver.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import logging
import math
import os
import pathlib
import shutil
import signal
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import ray
from ray import tune
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.schedulers import TrialScheduler

from glimr_keras._utils import scratch
from glimr_keras.executors.base import Begin, Executor
from glimr_keras.executors.coordinator import Coordinator
from glimr_keras.executors.phases import Alone, Phase, Plan
from glimr_keras.executors.ray_adapters import (
    BridgeSearcher,
    FilteredReporter,
    FinishedTrialCleaner,
    SearchStopper,
    TrialListener,
)
from glimr_keras.executors.ray_bridge import Bridge
from glimr_keras.executors.ray_callbacks import UserCallbacks
from glimr_keras.executors.ray_entry import Entry
from glimr_keras.executors.ray_scheduler import FilteredScheduler, pauses
from glimr_keras.executors.ray_start import ensure_ray, environment
from glimr_keras.executors.ray_worker import Worker, WorkerPayload
from glimr_keras.executors.resources import Share
from glimr_keras.executors.worker import Beginning, Parcel
from glimr_keras.training import gpus
from glimr_keras.training.context import TrialContext
from glimr_keras.training.discovery import Probe
from glimr_keras.transport.ray_object_store import SharedArrayStore
from glimr_keras.transport.sayings import Repeater
from glimr_keras.transport.serialization import SerializedObject, pack
from glimr_keras.transport.surroundings import Surroundings

_STORE = SharedArrayStore()

_QUIET_AND_FAST = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the journal is the record
    # relative paths mean in a trial what they mean in the user's script
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_GLOBAL_CHECKPOINT_S": "600",  # Ray's snapshots are never read
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a failed trial has no objective
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}


class RayExecutor(Executor):
    """Run trials in Ray workers, in parallel as resources allow.

    Args:
        resources: The resources of one trial: `{"cpu": …, "gpu": …}`, and custom resources of the
            cluster by name. Defaults to `None`, which means one GPU if there are any, and an even
            share of the CPUs.
        max_concurrent: An upper bound on the number of concurrent trials. Defaults to `None`, which
            means as many as the resources allow.
        max_memory: The private memory of a worker, in bytes, above which it is replaced after its
            trial has ended. Defaults to `None`, which means no limit.
        scheduler: A Ray scheduler, which may stop trials early, or pause them and change their
            values. Defaults to `None`, which means none.
        callbacks: The user's Ray Tune callbacks. Defaults to `()`.
        storage: A directory that all machines share, which keeps the states from which paused
            trials resume. Defaults to `None`.
        address: The address of a cluster to join. Defaults to `None`, which means the environment
            variable `RAY_ADDRESS`, or a local Ray.
        chatty: Whether to show the output of Ray and the workers. Defaults to `False`.
        reporter: A Ray progress reporter. Defaults to `None`, which means none.
        trials_per_gpu: The number of trials that share a GPU, or `"auto"` to measure with the first
            trials how many fit. Defaults to `None`, which means one.
    """

    start_label = "Starting Ray"

    def __init__(
        self,
        resources: Mapping[str, float] | None = None,
        max_concurrent: int | None = None,
        max_memory: int | None = None,
        scheduler: TrialScheduler | None = None,
        callbacks: Sequence[tune.Callback] = (),
        storage: pathlib.Path | None = None,
        address: str | None = None,
        chatty: bool = False,
        reporter: tune.ProgressReporter | None = None,
        trials_per_gpu: int | Literal["auto"] | None = None,
    ) -> None:
        self._reporter = reporter
        self._plan = Plan(_machines, resources, trials_per_gpu, max_concurrent)
        self._max_memory = max_memory
        self._scheduler = scheduler
        self._callbacks = list(callbacks)
        self._storage = storage if pauses(scheduler) else None  # otherwise nothing of value is kept
        self._address, self._chatty = address, chatty
        self._first = Phase(Share({"cpu": 1.0, "gpu": 0.0}, 0))

    def prepare(self, context: TrialContext) -> None:
        """Join or start Ray, and determine the resources of each trial."""
        ensure_ray(self._address, self._chatty)
        self._first = self._plan.first()
        self.line = self._plan.described(self._first)

    def execute(self, context: TrialContext, begin: Begin) -> None:
        """Prepare the workers, build the model once in one of them, and run all executions of the
        coordinator.

        Args:
            context: The context of the search.
            begin: Called after the model has been built; returns the coordinator, or `None` if
                nothing is to be run.

        Raises:
            KeyboardInterrupt: If the user stopped the search.
            Exception: Any exception that `begin` raised.
        """
        self._execute(context, begin)

    def take_over(
        self, context: TrialContext, coordinator: Coordinator, beginning: Beginning
    ) -> None:
        """Run the rest of a search that began in another executor.

        Args:
            context: The context of the search.
            coordinator: The coordinator of the search; none of its executions may still be running.
            beginning: The data with which the search began.

        Raises:
            KeyboardInterrupt: If the user stopped the search.
        """
        self._execute(context, lambda found: coordinator, coordinator, beginning)

    def _execute(
        self,
        context: TrialContext,
        begin: Begin,
        coordinator: Coordinator | None = None,
        beginning: Beginning | None = None,
    ) -> None:
        gpus_each = self._first.share.gpus
        if gpus_each >= 2 and context.session.backend == "torch":
            warnings.warn(
                "Keras on torch trains a model on one GPU. Received: resources_per_trial with "
                f"'gpu': {gpus_each:g}, of which the others stay empty.",
                stacklevel=2,
            )
        callbacks = UserCallbacks(self._callbacks)
        with callbacks.experiment():
            self._run_phases(context, begin, callbacks, coordinator, beginning)

    def _run_phases(
        self,
        context: TrialContext,
        begin: Begin,
        callbacks: UserCallbacks,
        coordinator: Coordinator | None,
        beginning: Beginning | None,
    ) -> None:
        """Run the phases of the search one after the other."""
        phase: Phase | None = self._first
        surroundings = beginning.surroundings if beginning else Surroundings.current()
        repeater = beginning.repeater if beginning else Repeater()
        # Each run of Ray Tune needs its own scheduler
        unused = copy.deepcopy(self._scheduler) if self._plan.may_go_on(self._first) else None
        while phase is not None:
            scheduler = self._scheduler if coordinator is None else copy.deepcopy(unused)
            scheduler = None if isinstance(phase, Alone) else scheduler
            bridge = self._bridge(phase, begin, coordinator, pauses(scheduler), repeater)
            callbacks.follow(bridge)
            packed = beginning.packed if beginning and beginning.cpus == phase.share.cpus else None
            payload = self._payload(context, phase.share, surroundings, packed)
            with _own_interrupts():
                self._run(phase, bridge, scheduler, callbacks, payload, context.session.backend)
            if bridge.error is not None:
                raise bridge.error
            if bridge.interrupted:
                raise KeyboardInterrupt
            coordinator = bridge.coordinator
            phase = None if coordinator is None else self._plan.after(phase, coordinator)

    def _bridge(
        self,
        phase: Phase,
        begin: Begin,
        coordinator: Coordinator | None,
        may_pause: bool,
        repeater: Repeater,
    ) -> Bridge:
        shares_gpus = 0 < phase.share.gpus < 1

        def begun(found: Probe) -> Coordinator | None:
            made = begin(found)
            if made is not None:
                made.shares_gpus = shares_gpus
            return made

        if coordinator is not None:
            coordinator.shares_gpus = shares_gpus
        return Bridge(
            begun,
            *self._plan.at_once(phase.share),
            may_pause,
            shows=self._reporter is not None,
            is_cluster=_Cluster(),
            phase=phase,
            coordinator=coordinator,
            repeater=repeater,
        )

    def _run(
        self,
        phase: Phase,
        bridge: Bridge,
        scheduler: TrialScheduler | None,
        callbacks: UserCallbacks,
        payload: ray.ObjectRef,
        backend: str,
    ) -> None:
        """Run one phase of the search, with its own processes."""
        share = phase.share
        order = {
            "backend": backend,
            "variables": gpus.variables(backend, min(share.gpus or 1, 1)),
            "has_gpu": share.gpus > 0,
            "worker": Worker.__module__,
            "payload": [payload],
        }
        trainable = tune.with_parameters(Entry, order=order)
        if self._storage is not None:
            self._storage.mkdir(parents=True, exist_ok=True)
        scratch.tidy(_OURS, self._storage)
        storage = scratch.make(_OURS, self._storage)
        try:
            with self._environment(self._plan.at_once(share)[0]):
                tune.Tuner(
                    tune.with_resources(trainable, dict(share.resources)),
                    tune_config=tune.TuneConfig(
                        search_alg=BridgeSearcher(bridge),
                        scheduler=FilteredScheduler(scheduler, bridge),
                        num_samples=-1,
                        reuse_actors=True,
                        trial_name_creator=_short_name,
                        trial_dirname_creator=_short_name,
                    ),
                    run_config=tune.RunConfig(
                        name="search",
                        storage_path=storage,
                        callbacks=[
                            TrialListener(bridge),
                            *([] if self._chatty else [_SilentProgress()]),
                            *([callbacks] if self._callbacks else []),
                            *([] if self._reporter is not None else [FinishedTrialCleaner()]),
                        ],
                        stop=SearchStopper(bridge),
                        checkpoint_config=tune.CheckpointConfig(
                            num_to_keep=4
                        ),  # others may continue from an earlier one
                        verbose=3 if self._chatty else int(self._reporter is not None),
                        progress_reporter=self._shown(bridge),
                    ),
                ).fit()
        finally:
            shutil.rmtree(storage, ignore_errors=True)

    def _shown(self, bridge: Bridge) -> tune.ProgressReporter | None:
        if self._reporter is not None:
            return FilteredReporter(self._reporter, bridge)
        return None if self._chatty else _Silent()

    def _payload(
        self,
        context: TrialContext,
        share: Share,
        surroundings: Surroundings,
        packed: SerializedObject | None,
    ) -> ray.ObjectRef:
        """Put large arrays into Ray's shared memory once; every trial maps them from there."""
        overrides = context.compile_overrides
        # A `fit` of Keras', and one of the user's that calls it; other loops have to know of it
        spreads = share.gpus >= 2 and context.loop.has_model
        context = dataclasses.replace(
            context,
            cpus=share.cpus,
            gpus=share.gpus,
            compile_overrides=overrides.over_all_gpus() if spreads else overrides,
        )
        serialized_object = packed or pack(context)
        arrays = _STORE.put(serialized_object.arrays)
        return ray.put(
            WorkerPayload(
                Parcel(
                    context.session.backend,
                    share.cpus,
                    surroundings,
                    serialized_object.content,
                    min(share.gpus or 1.0, 1.0),
                ),
                arrays,
                self._max_memory,
            )
        )

    @contextlib.contextmanager
    def _environment(self, workers: int) -> Iterator[None]:
        """Apply Ray's settings during a search, and silence its loggers."""
        logger = logging.getLogger("ray.tune")
        level = logger.level
        # Trials may wait for workers, so that all workers start side by side, and one for a machine
        # that joins
        settings = {"TUNE_MAX_PENDING_TRIALS_PG": str(workers + 1), **_QUIET_AND_FAST}
        if self._chatty:
            del settings["RAY_AIR_NEW_OUTPUT"]
        else:
            logger.setLevel(logging.CRITICAL)
        try:
            with environment(
                {name: value for name, value in settings.items() if name not in os.environ}
            ):
                yield
        finally:
            logger.setLevel(level)


_OURS = ".glimr_keras-ray-"


@contextlib.contextmanager
def _own_interrupts() -> Iterator[None]:
    """Remove the Ctrl-C handler that Ray Tune leaves behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if before is not None:  # of one that was not set from Python, which knows it not
            signal.signal(signal.SIGINT, before)


class _Silent(tune.ProgressReporter):
    """Report nothing, also in a notebook, where Ray would clear the cell's output."""

    def should_report(self, trials: list[Any], done: bool = False) -> bool:
        return False

    def report(self, trials: list[Any], done: bool, *sys_info: dict[str, Any]) -> None:
        """Do nothing: the coordinator's observer shows the progress."""


class _SilentProgress(TrialProgressCallback):
    """Replace the callback that Ray adds, which prints a line for each trial that a scheduler
    stopped from outside.
    """

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Do nothing."""

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Do nothing."""

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Do nothing."""


def _short_name(trial: Any) -> str:
    return str(trial.trial_id)


class _Cluster:
    """Return whether there are several machines. Ray is queried every few seconds only, since each
    trial needs the answer.
    """

    _SECONDS = 2.0

    def __init__(self) -> None:
        self._answer, self._asked = False, -math.inf

    def __call__(self) -> bool:
        if time.monotonic() - self._asked > self._SECONDS:
            self._answer, self._asked = len(_machines()) > 1, time.monotonic()
        return self._answer


def _machines() -> list[dict[str, float]]:
    """Return the resources of each machine of the cluster."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]
