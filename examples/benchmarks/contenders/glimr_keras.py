"""glimr_keras with its defaults; only the oracle is told which configurations to choose."""

import events
import glimr_keras as gk
import workloads
from glimr_keras.oracles.base import Suggestion
from recorder import Recorder


class Trained(gk.HyperModel):
    """The workload's model, asked for define-by-run."""

    def __init__(self, name):
        self.workload = workloads.workload(name)

    def build(self, config):
        return self.workload.build(self.workload.ask(config))


class Trivial(gk.HyperModel):
    """A trial that is no more than a number."""

    def __init__(self, name):
        self.workload = workloads.workload(name)

    def run(self, config):
        return self.workload.score(self.workload.ask(config))


class Listed(gk.RayTuner):
    """Tries the listed configurations in their order."""

    def __init__(self, *args, configurations, **kwargs):
        super().__init__(*args, max_trials=len(configurations), **kwargs)
        self.configurations = configurations

    def make_oracle(self, objective, seed, space):
        return ListedOracle(self.configurations, objective, self.max_trials, seed, space)


class ListedOracle(gk.Oracle):
    def __init__(self, configurations, *args):
        super().__init__(*args)
        self.configurations = configurations

    def populate_space(self, trial_id):
        index = int(trial_id)
        return Suggestion(dict(self.configurations[index]), (self.seed, index))


def run(workload, trials, concurrent=None):
    common = {"configurations": workload.configurations(trials), "max_concurrent_trials": concurrent, "seed": 1}
    if workload.make_model is None:
        tuner = Listed(Trivial(workload.name), gk.Objective(workload.objective, "max"), **common)
        tuner.search(verbose=0)
        return
    (x, y), validation = workload.data()
    events.emit("search")
    tuner = Listed(Trained(workload.name), workload.objective, **common)
    tuner.search(x, y, validation_data=validation, callbacks=[Recorder()], verbose=0, **workload.fit)
