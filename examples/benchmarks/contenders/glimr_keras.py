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


class ListedOracle(gk.Oracle):
    """Tries the listed configurations in their order."""

    def __init__(self, configurations, objective):
        super().__init__(objective, max_trials=len(configurations), seed=1)
        self.configurations = configurations

    def populate_space(self, trial_id):
        index = int(trial_id)
        return Suggestion(dict(self.configurations[index]), (self.seed, index))


def run(workload, trials, concurrent=None, **given):
    """Search.

    Args:
        given: Further arguments of the tuner.
    """
    configurations = workload.configurations(trials)
    if workload.make_model is None:
        oracle = ListedOracle(configurations, gk.Objective(workload.objective, "max"))
        gk.Tuner(oracle, Trivial(workload.name), max_concurrent_trials=concurrent).search(verbose=0)
        return
    train, validation = workload.data() if workload.folds is None else (workload.whole_data(), None)
    events.emit("search")
    oracle = ListedOracle(configurations, workload.objective)
    tuner = gk.Tuner(
        oracle,
        Trained(workload.name),
        max_concurrent_trials=concurrent,
        cv_folds=workload.folds,
        **given,
    )
    tuner.search(
        *train, validation_data=validation, callbacks=[Recorder()], verbose=0, **workload.fit
    )
