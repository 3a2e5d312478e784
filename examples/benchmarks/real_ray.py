"""Searches with real Ray workers on this machine, whose trials are no more than a number: what
trials cost the driver there, and what many workers do.
"""

import os
import pathlib
import threading
import time

import psutil
from forked_workers import forked_workers

TRIALS, WORKERS = 5_000, 200
Figure = tuple[str, int, float, str]


class Watch:
    """Looks at the driver and its processes while a search runs."""

    def __init__(self, pids: pathlib.Path) -> None:
        self._pids, self._driver = pids, psutil.Process()
        self.began = time.perf_counter()
        self.all_there, self.most = 0.0, 0
        self.marks: list[tuple[float, float, int, int]] = []
        self.own = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def ended(self) -> None:
        """A trial has ended."""
        now, times = time.perf_counter(), self._driver.cpu_times()
        rss = self._driver.memory_info().rss
        self.marks.append((now, times.user + times.system, rss, self._driver.num_fds()))

    def close(self) -> None:
        self._done.set()
        self._thread.join()
        self._count()

    def _look(self) -> None:
        while not self._done.wait(1.0):
            self._count()
            self.own = max(self.own, self._of_workers())

    def _count(self) -> None:
        there = len(list(self._pids.iterdir()))
        if there > self.most:
            self.most, self.all_there = there, time.perf_counter() - self.began

    def _of_workers(self) -> int:
        found = []
        for file in self._pids.iterdir():
            try:
                found.append(psutil.Process(int(file.name)).memory_full_info().uss)
            except psutil.NoSuchProcess:
                continue
        return sum(found) // max(len(found), 1)


def searched(directory: pathlib.Path, trials: int, seconds: float = 0.0, **given) -> Watch:
    """Searches, and returns what was seen.

    Args:
        seconds: For how long a trial sleeps.
        given: Further arguments of the tuner.
    """
    import glimr_keras as gk

    pids = directory / "pids"
    pids.mkdir(parents=True)

    class Number(gk.HyperModel):
        def run(self, config):
            (pids / str(os.getpid())).touch()
            time.sleep(seconds)
            return config.Float("x", 0.0, 1.0)

    class Watched(gk.RandomSearch):
        def on_trial_end(self, trial):
            super().on_trial_end(trial)
            watch.ended()

    tuner = Watched(
        Number(),
        gk.Objective("x", "min"),
        trials,
        directory=directory,
        project_name="p",
        executor="ray",
        seed=0,
        **given,
    )
    watch = Watch(pids)
    tuner.search(verbose=0)
    watch.close()
    assert {trial.status for trial in tuner.oracle.trials.values()} == {"COMPLETED"}
    return watch


def trivial(trials: int, directory: pathlib.Path) -> list[Figure]:
    """Trials on as many workers as there are CPUs."""
    return figures("ray", searched(directory, trials), trials)


def many_workers(workers: int, directory: pathlib.Path) -> list[Figure]:
    """Ten trials of some seconds for each of so many workers, 40 a second in all."""
    trials, seconds = 10 * workers, max(workers / 40, 1.0)
    with forked_workers():
        import ray

        ray.init(include_dashboard=False, log_to_driver=False)
        try:
            share = {"cpu": int(100 * ray.cluster_resources()["CPU"] / workers) / 100}
            watch = searched(
                directory,
                trials,
                seconds,
                resources_per_trial=share,
                max_concurrent_trials=workers,
            )
        finally:
            ray.shutdown()
    return [
        ("workers: asked for", trials, workers, ""),
        ("workers: that had a trial", trials, watch.most, ""),
        ("workers: until the last one of these had one", trials, watch.all_there, "s"),
        *figures("workers", watch, trials),
    ]


def figures(name: str, watch: Watch, trials: int) -> list[Figure]:
    """From the end of a tenth of the trials, when all is warm, to that of the last."""
    first = watch.marks[trials // 10]
    (began, cpu, rss, handles), (end, cpu_end, rss_end, handles_end) = first, watch.marks[-1]
    count = len(watch.marks) - trials // 10 - 1
    return [
        (f"{name}: to the first trial's end", trials, watch.marks[0][0] - watch.began, "s"),
        (f"{name}: trials", trials, count / (end - began), "a second"),
        (f"{name}: CPU of a trial, driver", trials, 1000 * (cpu_end - cpu) / count, "ms"),
        (f"{name}: memory of a trial, driver", trials, (rss_end - rss) / 1024 / count, "KB"),
        (f"{name}: memory of the driver", trials, rss_end / 1e6, "MB"),
        (f"{name}: memory of a worker's own", trials, watch.own / 1e6, "MB"),
        (f"{name}: file handles of the driver", trials, handles_end, ""),
        (f"{name}: file handles that it gained", trials, handles_end - handles, ""),
    ]
