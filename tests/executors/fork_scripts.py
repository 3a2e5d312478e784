"""What the tests of forked workers run, each in a process of its own that nothing has computed in:
`python -m tests.executors.fork_scripts SCENARIO DIRECTORY`. It writes what it found as JSON.
"""

import atexit
import importlib
import json
import logging
import multiprocessing
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings

import numpy as np
import psutil
from ray.tune.stopper import MaximumIterationStopper
from sklearn.cluster import KMeans

import glimr_keras as gk
from glimr_keras.executors import fork_executor, fork_process, fork_safety
from glimr_keras.executors.ray_executor import RayExecutor
from tests import tiny_models

HERE = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else None
if HERE is not None:
    with (HERE / "imported").open("a") as file:
        file.write(f"{__name__}\n")
DATA = {"validation_data": tiny_models.VALIDATION, "verbose": 0}
POINTS = [{"units": units} for units in (2, 3, 4, 5, 6, 7, 8, 9)]


class Model(gk.HyperModel):
    """Does what it was told to in some trials, and trains the others."""

    def __init__(self, does=None, units=()):
        super().__init__()
        self.does, self.units = does, units

    def build(self, config):
        return tiny_models.build(config)

    def fit(self, config, model, *args, **kwargs):
        if config["units"] in self.units and tiny_models.is_trial(kwargs["callbacks"]):
            self.does(HERE / f"did-{config['units']}")
        return model.fit(*args, **kwargs)


def tuner_of(name, max_trials=4, model=None, kind=gk.RayTuner, **more):
    if kind is gk.RayTuner:
        more = {"initial_points": POINTS[:max_trials], **more}
    return kind(
        model or Model(),
        "val_loss",
        max_trials=max_trials,
        seed=3,
        directory=HERE,
        project_name=name,
        **more,
    )


def searched(tuner, epochs=2, data=tiny_models.TRAIN, **more):
    """What came of a search, and what it left."""
    tuner.search(*data, epochs=epochs, **{**DATA, **more})
    return table_of(tuner)


def table_of(tuner):
    table = tuner.results_dataframe().sort_values("units")
    statuses = table["status"].tolist()
    return {
        "units": table["units"].tolist(),
        "status": statuses,
        "score": [None if np.isnan(score) else score.hex() for score in table["score"]],
        "worker": table["worker"].tolist(),
        "message": [trial.message for trial in tuner.oracle.trials.values()],
        "ray": gk_ray_is_there(),
        "left": children(),
    }


def gk_ray_is_there():
    return "ray" in sys.modules and sys.modules["ray"].is_initialized()


def children():
    """The pids of the processes that this one has."""
    return [child.pid for child in psutil.Process().children(recursive=True)]


def same():
    """The same search in forks, continued there, and on Ray; and the script is as it was."""
    random.seed(1)
    np.random.seed(1)
    state = random.getstate(), np.random.get_state()[1].tolist()
    handled = []
    signal.signal(signal.SIGTERM, lambda *args: handled.append(args))
    written = (HERE / "written").open("w")
    written.write("once\n")
    found = {"forks": searched(tuner_of("forks", 3))}
    found["continued"] = searched(tuner_of("forks", 4))
    found["is_same"] = (random.getstate(), np.random.get_state()[1].tolist()) == state
    found["begun"] = not fork_safety.may_fork()
    os.kill(os.getpid(), signal.SIGTERM)
    found["handled"] = len(handled)
    for where in ("auto", "ray"):
        for kind in (gk.BayesianOptimization, gk.Hyperband):
            more = {"max_epochs": 3} if kind is gk.Hyperband else {"max_trials": 4}
            tuner = kind(
                Model(),
                "val_loss",
                seed=3,
                directory=HERE,
                project_name=f"{kind.__name__}-{where}",
                executor=where,
                max_concurrent_trials=1,  # what is proposed depends on what has ended
                **more,
            )
            found[f"{kind.__name__}-{where}"] = searched(tuner)
    found["ray"] = searched(tuner_of("ray", executor="ray"))
    written.close()
    found["written"] = (HERE / "written").read_text("utf-8")
    return found


def large():
    """Large arrays are in memory that is shared and that trials cannot write to."""
    x = np.concatenate([tiny_models.X] * 4000)
    y = np.concatenate([tiny_models.Y] * 4000)
    seen = HERE / "seen"

    class Sees(gk.HyperModel):
        def build(self, config):
            return tiny_models.traced(tiny_models.build(config))

        def fit(self, config, model, x, y, **kwargs):
            with seen.open("a") as file:
                address = x.__array_interface__["data"][0]
                file.write(f"{type(x).__name__} {x.flags.writeable} {address % 4096}\n")
            return model.fit(x[:64], y[:64], **kwargs)

    found = {"forks": searched(tuner_of("large", 2, Sees()), data=(x, y))}
    found["seen"] = sorted(set(seen.read_text("utf-8").splitlines()))
    return found


def once(place):
    """Whether something happens for the first time."""
    if place.exists():
        return False
    place.touch()
    return True


def dies(place):
    if once(place):
        os.kill(os.getpid(), signal.SIGKILL)


def dies_with_child(place):
    """Leaves a process that has what it had."""
    if once(place):
        if os.fork() == 0:
            time.sleep(600)
        os._exit(3)


def dies_in_message(place):
    """Ends amid what it says."""
    if once(place):
        for file in pathlib.Path("/proc/self/fd").iterdir():
            try:
                end = socket.socket(fileno=os.dup(int(file.name)))
                if end.family == socket.AF_UNIX and end.type == socket.SOCK_STREAM:
                    end.send(b"\0\0\1\0half")
            except OSError:
                pass
        os._exit(4)


HELPER = """
import logging, numpy
numpy.arange(1000, dtype="int32").tofile("numbers.bin")
NUMBERS = open("numbers.bin", "rb")
log = logging.getLogger("helper").warning

def number(place):
    NUMBERS.seek(4 * place)
    return int.from_bytes(NUMBERS.read(4), "little")
"""


class Worldly(Model):
    """Uses what a process has, and is wrong if another one has it too."""

    def fit(self, config, model, *args, **kwargs):
        if not tiny_models.is_trial(kwargs["callbacks"]):
            return super().fit(config, model, *args, **kwargs)
        helper = importlib.import_module("fork_helper")
        wrong = sum(helper.number(place) != place for place in range(1000) for _ in range(5))
        helper.log("a trial logs")
        multiprocessing.get_context("spawn").Pool(1).apply(os.getpid)
        atexit.register((HERE / f"exit-{os.getpid()}").touch)
        returned = model.fit(*args, **kwargs)
        return {"val_loss": returned.history["val_loss"][-1], "wrong": float(wrong)}


def world():
    """What the script has open, logs to and has at its end is none of its trials'."""
    os.chdir(HERE)
    (HERE / "fork_helper.py").write_text(HELPER, "utf-8")
    sys.path.insert(0, str(HERE))
    importlib.import_module("fork_helper")
    logging.basicConfig(filename=HERE / "script.log")
    atexit.register((HERE / f"end-of-{os.getpid()}").touch)
    found = {"forks": searched(tuner_of("world", 4, Worldly()), epochs=1)}
    table = gk.RayTuner.open(HERE / "world").results_dataframe()
    found["wrong"] = [name for name in table if "wrong" in name and table[name].any()]
    found["exits"] = len(list(HERE.glob("exit-*")))
    found["ends"] = len(list(HERE.glob("end-of-*")))
    found["logged"] = (HERE / "script.log").read_text("utf-8").count("a trial logs")
    found["imported"] = (HERE / "imported").read_text("utf-8").split()
    return found


def threads():
    """OpenMP's threads, of which a fork has none, and trials that use them too."""
    points = np.random.default_rng(0).normal(size=(20000, 6))
    KMeans(4, n_init=1, random_state=0).fit(points)

    class Clusters(Model):
        def build(self, config):
            KMeans(4, n_init=1, random_state=0).fit(points)
            return tiny_models.build(config)

    tuner = tuner_of("threads", 2, Clusters(), resources_per_trial={"cpu": 2})
    found = {"forks": searched(tuner, epochs=1)}
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()):
            found["connected"] = fork_safety.may_fork()
        found["not connected"] = fork_safety.may_fork()
    return found


def again():
    """A training that fails once is tried once more, by another worker; and what the driver forks
    meanwhile keeps nothing.
    """

    def fails(place):
        time.sleep(1)
        if once(place):
            raise ValueError("as it was told to")

    class Forks(gk.RayTuner):
        def on_trial_end(self, trial):
            super().on_trial_end(trial)
            multiprocessing.get_context("fork").Process(target=time.sleep, args=(20,)).start()

    tuner = Forks(
        Model(fails, (3,)),
        "val_loss",
        max_trials=2,
        max_retries_per_trial=1,
        seed=3,
        directory=HERE,
        project_name="again",
        initial_points=POINTS[:2],
    )
    tuner.search(*tiny_models.TRAIN, epochs=2, **DATA)
    for child in multiprocessing.active_children():
        child.kill()
        child.join()
    return {"forks": table_of(tuner)}


def lost():
    """Processes that die in a trial."""
    found = {}
    for does in (dies, dies_with_child, dies_in_message):
        for place in HERE.glob("did-*"):
            place.unlink()
        found[does.__name__] = searched(tuner_of(does.__name__, 4, Model(does, (3,))))

    def always(place):
        print("its last words", flush=True)
        os._exit(5)

    found["always"] = searched(tuner_of("always", 4, Model(always, (3,)), max_failures=1))
    return found


def ended():
    """Trainings that are ended: they hang, or are stopped."""
    found = {}

    def hangs(place):
        signal.signal(signal.SIGALRM, signal.SIG_IGN)  # by which it would be ended
        time.sleep(600)

    tuner = tuner_of("hangs", 4, Model(hangs, (3,)), trial_time_limit_s=5)
    found["hangs"] = searched(tuner)

    tuner = tuner_of("stopped", 4, stopper=MaximumIterationStopper(2))
    found["stopped"] = searched(tuner, epochs=50)
    found["epochs"] = [max(trial.executions[0].history) for trial in tuner.oracle.trials.values()]
    tuner = tuner_of("budget", 1000, time_budget_s=1)
    tuner.search(*tiny_models.TRAIN, epochs=1, **DATA)
    found["budget"] = table_of(tuner)
    return found


def looks():
    """Looks that fail, of which processes die, or in which a fork does not come to compute."""
    found = {}

    def fails(config):
        raise OSError("as it was told to")

    try:
        searched(gk.RayTuner(fails, "val_loss", 2, directory=HERE, project_name="fails"))
    except gk.errors.ModelError as error:
        found["fails"] = str(error)

    class Dies(gk.HyperModel):
        def build(self, config):
            if config.Int("units", 2, 16) == 2:  # the default
                os._exit(6)
            return tiny_models.build(config)

    found["dies"] = searched(tuner_of("dies", 2, Dies(), initial_points=POINTS[1:3]))

    class AlwaysDies(gk.HyperModel):
        def build(self, config):
            os._exit(6)

    try:
        searched(tuner_of("always", 2, AlwaysDies(), initial_points=None))
    except gk.errors.ModelError as error:
        found["always"] = str(error)
    fork_executor._READY_S = 1.0
    serve = fork_executor.ForkedWorker.serve
    fork_executor.ForkedWorker.serve = lambda self, connection: time.sleep(600)
    found["hangs"] = searched(tuner_of("hangs", 2))
    fork_executor.ForkedWorker.serve = serve
    return found


def no_fork():
    """Where this process cannot be forked, or the system makes no process, trials run on Ray."""
    may_fork = {"at first": fork_safety.may_fork()}
    ends = threading.Event()
    thread = threading.Thread(target=ends.wait)
    thread.start()
    may_fork["with a thread"] = fork_safety.may_fork()
    ends.set()
    thread.join()
    may_fork["without it"] = fork_safety.may_fork()

    def fails():
        raise OSError("no process")

    fork_process.fork = fails
    found = {"no process": searched(tuner_of("no-process", 2)), "may_fork": may_fork}
    tiny_models.keras.ops.ones((2, 2))
    may_fork["computed"] = fork_safety.may_fork()
    return found


def slow(place):
    time.sleep(3)


def hand_over():
    """Ray takes over what is left of a long search; where it cannot be started, the search goes
    on.
    """
    fork_executor._WORTH_S = 0.0
    fork_executor._WORTH_ROUNDS = 0
    found = {}
    prepare = RayExecutor.prepare

    def fails(self, context):
        raise RuntimeError("no room for Ray")

    RayExecutor.prepare = fails
    found["fails"] = searched(tuner_of("fails", 8), epochs=3)
    RayExecutor.prepare = prepare

    found["rest"] = searched(tuner_of("rest", 8, Model(slow, range(20))))
    found["second"] = searched(tuner_of("second", 3))
    return found


def limited():
    """Where a limit is reached before Ray is there, it does not take over."""
    fork_executor._WORTH_S = 0.0
    fork_executor._WORTH_ROUNDS = 0
    tuner = tuner_of("limited", 60, Model(slow, range(20)), time_budget_s=5)
    return {"limited": searched(tuner)}


def interrupted():
    """Ctrl-C, also in the moment after a fork, leaves nothing; the search can go on."""
    seen = HERE / "handled"

    def handler(number, frame):
        with seen.open("a") as file:
            file.write(f"{os.getpid()}\n")
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, handler)
    forked = fork_process.fork

    def interrupts():
        parent = os.getpid()
        pid = forked()
        if pid == 0 and os.getppid() == parent:
            os.kill(os.getpid(), signal.SIGINT)  # as a terminal does
        elif pid != 0:
            os.kill(os.getpid(), signal.SIGINT)
        return pid

    found = {"left": []}
    fork_process.fork = interrupts
    try:
        searched(tuner_of("interrupted"))
    except KeyboardInterrupt:
        found["left"].append(children())
    fork_process.fork = forked

    def interrupts_driver(place):
        if once(place):
            os.kill(int((HERE / "driver").read_text("utf-8")), signal.SIGINT)
            time.sleep(600)

    (HERE / "driver").write_text(str(os.getpid()), "utf-8")
    try:
        searched(tuner_of("interrupted", 4, Model(interrupts_driver, (4,))))
    except KeyboardInterrupt:
        found["left"].append(children())
    found["handled"] = seen.read_text("utf-8").split()
    found["driver"] = str(os.getpid())
    found["goes_on"] = searched(tuner_of("interrupted"))
    return found


def killed():
    """A script that is killed while a trial runs, whose process has written its pid."""

    def waits(place):
        subprocess.Popen(["sleep", "600"])
        place.write_text(str(os.getpid()), "utf-8")
        time.sleep(600)

    searched(tuner_of("killed", 4, Model(waits, (3, 4))))


if __name__ == "__main__":
    warnings.filterwarnings("error", category=UserWarning)
    result = globals()[sys.argv[1]]()
    (HERE / "found.json").write_text(json.dumps(result), "utf-8")
