"""The Ray executor: starts Ray if need be, sends what is searched to its workers, and runs Ray
Tune. Runs in the driver.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import pathlib
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import ray
from ray import tune
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler

from glimr_keras._utils import scratch
from glimr_keras.errors import ResourcesError
from glimr_keras.executors.base import Begin, Executor
from glimr_keras.executors.ray_adapters import (
    BridgeSearcher,
    FilteredCallback,
    FilteredReporter,
    FinishedTrialCleaner,
    SearchStopper,
    TrialListener,
)
from glimr_keras.executors.ray_bridge import Bridge
from glimr_keras.executors.ray_scheduler import FilteredScheduler
from glimr_keras.executors.ray_start import ensure_ray, environment
from glimr_keras.executors.ray_worker import Worker, WorkerPayload
from glimr_keras.training.context import TrialContext
from glimr_keras.transport.ray_object_store import SharedArrayStore
from glimr_keras.transport.serialization import pack
from glimr_keras.transport.surroundings import Surroundings

_STORE = SharedArrayStore()

_QUIET_AND_FAST = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the journal is the record
    # relative paths mean in a trial what they mean in the user's script
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_GLOBAL_CHECKPOINT_S": "600",  # likewise: Ray's own snapshots are never read
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a failed trial has no objective
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}


class RayExecutor(Executor):
    """Runs trials in Ray workers, side by side as resources allow.

    Args:
        resources: Of one trial: `{"cpu": …, "gpu": …}`, and custom resources of the cluster by
            name.
        max_concurrent: An upper bound on trials that run at once; `None` for what the resources
            allow.
        max_memory: Bytes of a worker's own memory, after which it is replaced when its trial has
            ended; `None` for no bound.
        scheduler: A Ray scheduler, which may stop trials early, or pause them and change their
            values.
        callbacks: Ray Tune callbacks of the user.
        storage: A directory that all machines share, where what a paused trial continues from is
            kept meanwhile.
        address: Of a cluster to join; `None` for the environment's `RAY_ADDRESS`, or a local Ray.
        chatty: Show what Ray and the workers print.
        reporter: A progress reporter of Ray's.
    """

    start_label = "Starting Ray"

    def __init__(
        self,
        resources: Mapping[str, float],
        max_concurrent: int | None = None,
        max_memory: int | None = None,
        scheduler: TrialScheduler | None = None,
        callbacks: Sequence[tune.Callback] = (),
        storage: pathlib.Path | None = None,
        address: str | None = None,
        chatty: bool = False,
        reporter: tune.ProgressReporter | None = None,
    ) -> None:
        self._reporter = reporter
        self._resources = dict(resources)
        self._max_memory = max_memory
        self._scheduler = scheduler
        self._callbacks = list(callbacks)
        self._storage = storage if _pauses(scheduler) else None  # else nothing that matters is kept
        self._address, self._chatty = address, chatty
        self._max_concurrent = self._max_running = max_concurrent
        self._workers = 0

    def prepare(self) -> None:
        """Join or start a Ray, and count how many trials it has room for."""
        ensure_ray(self._address, self._chatty)
        capacity = _capacity(self._resources)
        self._workers = min(capacity, self._max_concurrent or capacity)
        # With room for no more, one is chosen ahead; but who asks for one at a time means it
        is_bound = self._workers < capacity or self._max_concurrent == 1
        self._max_running = self._workers if is_bound else None

    def execute(self, context: TrialContext, begin: Begin) -> None:
        """Readies the workers, builds the model once in one of them, and runs what the coordinator
        then gives out to its end.

        Args:
            context: What is searched.
            begin: Called when the model has been built; makes the coordinator, or returns `None`
                where nothing is to be run.

        Raises:
            KeyboardInterrupt: If the user stopped the search.
            Exception: What `begin` raised.
        """
        bridge = Bridge(
            begin,
            self._workers,
            self._max_running,
            _pauses(self._scheduler),
            shows=self._reporter is not None,
            is_cluster=_Cluster(),
        )
        trainable = tune.with_parameters(Worker, payload=self._payload(context))
        if self._storage is not None:
            self._storage.mkdir(parents=True, exist_ok=True)
        scratch.tidy(_OURS, self._storage)
        storage = scratch.make(_OURS, self._storage)
        try:
            with self._environment():
                tune.Tuner(
                    tune.with_resources(trainable, self._resources),
                    tune_config=tune.TuneConfig(
                        search_alg=BridgeSearcher(bridge),
                        scheduler=FilteredScheduler(self._scheduler, bridge),
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
                            *(FilteredCallback(callback, bridge) for callback in self._callbacks),
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
        if bridge.error is not None:
            raise bridge.error
        if bridge.interrupted:
            raise KeyboardInterrupt

    def _shown(self, bridge: Bridge) -> tune.ProgressReporter | None:
        if self._reporter is not None:
            return FilteredReporter(self._reporter, bridge)
        return None if self._chatty else _Silent()

    def _payload(self, context: TrialContext) -> WorkerPayload:
        """Puts large arrays into Ray's shared memory, once; every trial maps them from there."""
        serialized_object = pack(context)
        arrays = _STORE.put(serialized_object.arrays)
        return WorkerPayload(
            context.session.backend,
            context.cpus,
            Surroundings.current(),
            serialized_object.content,
            arrays,
            self._max_memory,
        )

    @contextlib.contextmanager
    def _environment(self) -> Iterator[None]:
        """Ray's settings for the time of a search, and its loggers quiet."""
        logger = logging.getLogger("ray.tune")
        level = logger.level
        # Trials may wait for workers, so that all workers start side by side, and one for a machine
        # that joins
        settings = {"TUNE_MAX_PENDING_TRIALS_PG": str(self._workers + 1), **_QUIET_AND_FAST}
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


class _Silent(tune.ProgressReporter):
    """Reports nothing, also in a notebook, where Ray would clear the cell's output."""

    def should_report(self, trials: list[Any], done: bool = False) -> bool:
        return False

    def report(self, trials: list[Any], done: bool, *sys_info: dict[str, Any]) -> None:
        """Nothing: progress is shown by the coordinator's observer."""


class _SilentProgress(TrialProgressCallback):
    """In the place of the callback that Ray adds, which prints a line for a trial that a scheduler
    ended from outside.
    """

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Nothing."""

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Nothing."""

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Nothing."""


def _pauses(scheduler: TrialScheduler | None) -> bool:
    """Whether a scheduler may pause trials: all but those that are known only to stop them."""
    return scheduler is not None and type(scheduler) not in (FIFOScheduler, AsyncHyperBandScheduler)


def _short_name(trial: Any) -> str:
    return str(trial.trial_id)


class _Cluster:
    """Says whether there are several machines. Ray is asked every few seconds only, since this is
    wanted for each trial.
    """

    _SECONDS = 2.0

    def __init__(self) -> None:
        self._answer, self._asked = False, -math.inf

    def __call__(self) -> bool:
        if time.monotonic() - self._asked > self._SECONDS:
            self._answer, self._asked = len(_machines()) > 1, time.monotonic()
        return self._answer


def _machines() -> list[dict[str, float]]:
    """The resources of each machine of the cluster."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _capacity(resources: Mapping[str, float]) -> int:
    """How many trials the cluster has room for at once.

    Raises:
        ResourcesError: If there is no machine with room for one, for which Ray would wait without
            an end.
    """
    wanted = {
        {"cpu": "CPU", "gpu": "GPU"}.get(name, name): amount
        for name, amount in resources.items()
        if amount > 0
    }
    nodes = _machines()
    capacity = sum(
        min(int(node.get(name, 0) / amount) for name, amount in wanted.items()) for node in nodes
    )
    if capacity > 0:
        return capacity
    names = sorted({"CPU", "GPU", *wanted})
    there = "; ".join(
        ", ".join(f"{name}: {node.get(name, 0):g}" for name in names) for node in nodes
    )
    raise ResourcesError(
        "A trial asks for more than any machine has, and would wait forever. Received: "
        f"resources_per_trial={dict(resources)}. There "
        f"{'is one machine' if len(nodes) == 1 else f'are {len(nodes)} machines'} with {there}."
    )
