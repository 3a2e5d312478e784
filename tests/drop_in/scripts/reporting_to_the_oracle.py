"""The old way: `run_trial` reports to the oracle itself, in several steps, saves its model, and
returns nothing.
"""

import os

import keras_tuner as kt


class Steps(kt.engine.base_tuner.BaseTuner):
    def run_trial(self, trial, steps):
        x = trial.hyperparameters.Float("x", 0.0, 1.0)
        for step in range(steps):
            self.oracle.update_trial(
                trial.trial_id, {"cost": x + abs(step - 2), "epoch": step}, step=step
            )
        self.save_model(trial.trial_id, x)

    def save_model(self, trial_id, model, step=0):
        with open(os.path.join(self.get_trial_dir(trial_id), "model.txt"), "w") as file:
            file.write(repr(model))

    def load_model(self, trial):
        with open(os.path.join(self.get_trial_dir(trial.trial_id), "model.txt")) as file:
            return float(file.read())


def main(directory, **tuner_options):
    tuner = Steps(
        oracle=kt.oracles.RandomSearchOracle(objective=kt.Objective("cost", "min"), max_trials=3),
        directory=directory,
        project_name="steps",
        **tuner_options,
    )
    tuner.search(5)
    trials = tuner.oracle.get_best_trials(3)
    best = trials[0]
    return {
        "statuses": [trial.status for trial in trials],
        "scores": [trial.score == trial.hyperparameters["x"] for trial in trials],
        "steps": [trial.best_step for trial in trials],
        "history": [observation.step for observation in best.metrics.get_history("cost")],
        "last": best.metrics.get_last_value("cost") == best.score + 2,
        "models": tuner.get_best_models(2) == [trial.score for trial in trials[:2]],
        "remaining": tuner.remaining_trials,
    }
