"""keras_tuner's random search with its defaults; only the oracle is told which configurations to
choose.
"""

import events
import keras_tuner as kt
from recorder import Recorder


class ListedOracle(kt.oracles.RandomSearchOracle):
    """Tries the listed configurations in their order."""

    def __init__(self, configurations, **kwargs):
        super().__init__(max_trials=len(configurations), seed=1, **kwargs)
        self.configurations = configurations

    def populate_space(self, trial_id):
        return {"status": "RUNNING", "values": dict(self.configurations[int(trial_id)])}


class Trivial(kt.Tuner):
    """A trial that is no more than a number."""

    def __init__(self, workload, **kwargs):
        self.workload = workload
        super().__init__(**kwargs)

    def run_trial(self, trial, *args, **kwargs):
        return {
            self.workload.objective: self.workload.score(self.workload.ask(trial.hyperparameters))
        }


def run(workload, trials):
    configurations = workload.configurations(trials)
    if workload.make_model is None:
        oracle = ListedOracle(configurations, objective=kt.Objective(workload.objective, "max"))
        Trivial(workload, oracle=oracle, project_name="search").search(verbose=0)
        return
    (x, y), validation = workload.data()
    events.emit("search")
    tuner = kt.Tuner(
        ListedOracle(configurations, objective=workload.objective),
        lambda hp: workload.build(workload.ask(hp)),
        project_name="search",
    )
    tuner.search(
        x, y, validation_data=validation, callbacks=[Recorder()], verbose=0, **workload.fit
    )
