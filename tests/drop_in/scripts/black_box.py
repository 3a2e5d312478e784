"""A tuner without a model, for tuning anything: `run_trial` returns a number, a dict or a list;
with and without objective.
"""

import keras_tuner


def parabola(x, y):
    return x * x + (y - 1) * (y - 1)


class NumberTuner(keras_tuner.RandomSearch):
    def run_trial(self, trial, *args, **kwargs):
        hp = trial.hyperparameters
        return parabola(hp.Float("x", -1.0, 1.0), hp.Int("y", 0, 2))


class DictTuner(keras_tuner.BayesianOptimization):
    def run_trial(self, trial, offset, **kwargs):
        hp = trial.hyperparameters
        x = hp.Float("x", min_value=-1.0, max_value=1.0)
        return {"gain": offset - x * x, "other": x}


class ListTuner(keras_tuner.RandomSearch):
    def run_trial(self, trial, repeats=2):
        x = trial.hyperparameters.Choice("x", [1, 2, 3])
        return [float(x + i) for i in range(repeats)]


def main(directory, **tuner_options):
    number = NumberTuner(
        max_trials=4, directory=directory, project_name="number", overwrite=True, **tuner_options
    )
    number.search()
    dictionary = DictTuner(
        objective=keras_tuner.Objective("gain", "max"),
        max_trials=4,
        directory=directory,
        project_name="dict",
        overwrite=True,
        **tuner_options,
    )
    dictionary.search(5.0)
    several = ListTuner(
        objective=keras_tuner.Objective("cost", "min"),
        max_trials=2,
        directory=directory,
        project_name="list",
        **tuner_options,
    )
    several.search(repeats=3)
    findings = {
        "without hypermodel": number.hypermodel is None,
        "objective": number.oracle.objective.name,
    }
    for name, tuner in (("number", number), ("dict", dictionary), ("list", several)):
        trials = tuner.oracle.get_best_trials(4)
        scores = [trial.score for trial in trials]
        findings[name] = {
            "statuses": [trial.status for trial in trials],
            "names": sorted(p.name for p in tuner.oracle.get_space().space),
            "metrics": {n: tracked.direction for n, tracked in trials[0].metrics.metrics.items()},
            "sorted": scores == sorted(scores, reverse=name == "dict"),
            "objective": str(tuner.oracle.objective),
        }
    best = number.get_best_hyperparameters()[0]
    findings["score"] = number.oracle.get_best_trials()[0].score == parabola(
        best.get("x"), best.get("y")
    )
    gains = [
        trial.score - (5.0 - trial.hyperparameters.get("x") ** 2)
        for trial in dictionary.oracle.trials.values()
    ]
    findings["gains"] = max(map(abs, gains)) < 1e-12
    findings["means"] = all(
        trial.score == trial.hyperparameters.get("x") + 1.0
        for trial in several.oracle.trials.values()
    )
    return findings
