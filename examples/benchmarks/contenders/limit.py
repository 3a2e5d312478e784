"""The machine's limit: as many bare loops as cores, each pinned to its core with one thread, taking
the next training.

They wait for each other once Keras is imported and the data is there, so that start-up is no part
of the limit.
"""

import multiprocessing
import os
import pathlib
import time


def run(workload, trials):
    cores = sorted(os.sched_getaffinity(0))
    context = multiprocessing.get_context("spawn")
    loops = [
        context.Process(target=_loop, args=(workload, trials, core, len(cores))) for core in cores
    ]
    for loop in loops:
        loop.start()
    for loop in loops:
        loop.join()
    if any(loop.exitcode for loop in loops):
        raise SystemExit("A loop has failed.")


def _loop(workload, trials, core, loops):
    os.sched_setaffinity(0, {core})
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    from contenders.bare import train

    parts = workload.parts()
    _meet(loops)
    for values in workload.configurations(trials):
        for part, data in enumerate(parts):
            if _claim(f"trial-{values['index']}-{part}"):
                train(workload, values, data)


def _meet(loops):
    """Waits until every loop is here; files in the working directory, which is the run's own, say
    who is.
    """
    _claim(f"ready-{os.getpid()}")
    while len(list(pathlib.Path().glob("ready-*"))) < loops:
        time.sleep(0.01)


def _claim(name):
    """Whether this process is the first to ask for `name`."""
    try:
        pathlib.Path(name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
