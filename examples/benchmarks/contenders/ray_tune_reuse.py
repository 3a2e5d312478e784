"""Plain Ray Tune with one setting changed: a worker process is kept for the next trial."""

from contenders import ray_tune


def run(workload, trials):
    ray_tune.run(workload, trials, reuse_actors=True)
