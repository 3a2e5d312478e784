"""Oracles that were written with the library's own open beside them: they reach for its bookkeeping
of what was tried.
"""

import json
import os

import keras_tuner as kt
import numpy as np
from keras_tuner.engine import hyperparameters as hp_module
from keras_tuner.engine import trial as trial_module


def space():
    hp = kt.HyperParameters()
    hp.Choice("a", [1, 2, 3])
    with hp.conditional_scope("a", [2, 3]):
        hp.Boolean("b")
    hp.Fixed("c", 7)
    return hp


class Drawing(kt.Oracle):
    """Draws by hand, keeping its own count of collisions."""

    def draw(self):
        hps = hp_module.HyperParameters()
        for hp in self.hyperparameters.space:
            hps.merge([hp])
            if hps.is_active(hp):
                hps.values[hp.name] = hp.random_sample(self._seed_state)
                self._seed_state += 1
        return hps.values

    def populate_space(self, trial_id):
        for _ in range(10 * self._max_collisions):
            values = self.draw()
            values_hash = self._compute_values_hash(values)
            if values_hash not in self._tried_so_far:
                self._tried_so_far.add(values_hash)
                return {"status": trial_module.TrialStatus.RUNNING, "values": values}
        return {"status": trial_module.TrialStatus.STOPPED, "values": None}


class Neighbour(kt.Oracle):
    """Goes on from the best so far, as vectors of probabilities, away from what runs; at first at
    random.
    """

    def __init__(self, *args, num_initial_points=2, **kwargs):
        super().__init__(*args, **kwargs)
        self.num_initial_points = num_initial_points
        self._max_collisions = 500
        self._random_state = np.random.RandomState(self.seed)

    def vectors(self):
        running = set(self.ongoing_trials.values())
        for trial in self.trials.values():
            hps = trial.hyperparameters
            active = [hp for hp in self.get_space().space if not isinstance(hp, hp_module.Fixed)]
            values = [
                hps.values[hp.name] if hps.is_active(hp) and hp.name in hps.values else hp.default
                for hp in active
            ]
            vector = [hp.value_to_prob(value) for hp, value in zip(active, values, strict=True)]
            if trial in running:
                yield vector, 0.0
            elif trial.status == "COMPLETED":
                yield vector, -trial.score if self.objective.direction == "max" else trial.score

    def populate_space(self, trial_id):
        done = [trial for trial in self.trials.values() if trial.status == "COMPLETED"]
        values = self._random_values()
        if values is None:
            return {"status": "STOPPED", "values": None}
        if len(done) >= self.num_initial_points:
            vector, _ = min(self.vectors(), key=lambda each: each[1])
            near = np.clip(self._random_state.normal(vector, 0.3), 0.0, 0.999)
            hps = hp_module.HyperParameters()
            for hp in self.hyperparameters.space:
                hps.merge([hp])
                prob = near[["a", "b"].index(hp.name)] if hp.name != "c" else 0
                if hps.is_active(hp):
                    hps.values[hp.name] = hp.prob_to_value(prob)
            values = values if self._duplicate(hps.values) else hps.values
        return {"status": "RUNNING", "values": values}


class Excluding(kt.oracles.RandomSearchOracle):
    """Counts a configuration as tried before the search."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._max_collisions = 500
        self._tried_so_far.add(self._compute_values_hash({"b": True, "c": 7, "a": 2}))


class Refusing(kt.oracles.RandomSearchOracle):
    def _duplicate(self, values):
        return super()._duplicate(values) or values["a"] == 3


class Choosing(kt.oracles.RandomSearchOracle):
    def _random_values(self):
        return None if len(self.trials) >= 2 else {"a": 1 + len(self.trials), "b": True, "c": 7}


class BlackBox(kt.Tuner):
    def run_trial(self, trial, *args, **kwargs):
        hp = trial.hyperparameters
        return {"score": hp.get("a") + (hp.get("b") if hp.is_active("b") else 0) - hp.get("c")}


def tried(oracle):
    """What an oracle says of what it has tried."""
    oracle.save()
    with open(os.path.join(oracle._project_dir, "oracle.json")) as file:
        state = json.load(file)
    hashes = {
        trial_id: oracle._compute_values_hash(t.hyperparameters.values)
        for trial_id, t in oracle.trials.items()
    }
    shown = oracle._display.get_state()
    return {
        "values": sorted(
            sorted(trial.hyperparameters.values.items()) for trial in oracle.trials.values()
        ),
        "hashes": dict(oracle._id_to_hash) == hashes and len(set(hashes.values())) == len(hashes),
        "besides": len(set(oracle._tried_so_far) - set(hashes.values())),
        "known": all(
            oracle._duplicate(trial.hyperparameters.values) for trial in oracle.trials.values()
        ),
        "unknown": [oracle._id_to_hash[name] for name in ("none",)],
        "written": set(state["tried_so_far"]) == oracle._tried_so_far
        and state["id_to_hash"].items() >= hashes.items(),
        "state": sorted(state),
        "display": [
            sorted(state["display"]),
            sorted(shown["trial_number"].values()),
            sorted(shown["trial_start"]),
        ],
        "attributes": [
            oracle.directory,
            oracle.project_name,
            oracle.multi_worker,
            oracle.should_report,
        ],
        "file": oracle._get_oracle_fname() == os.path.join(oracle._project_dir, "oracle.json"),
    }


def main(directory, **tuner_options):
    findings = {}
    for kind in (Drawing, Neighbour, Excluding, Refusing, Choosing):
        oracle = kind(
            objective=kt.Objective("score", "max"), max_trials=20, hyperparameters=space(), seed=3
        )
        tuner = BlackBox(oracle, directory=directory, project_name=kind.__name__, **tuner_options)
        tuner.search()
        findings[kind.__name__] = tried(oracle)
    shown = [oracle.verbose]
    for verbose in (0, "auto"):
        oracle.verbose = verbose
        shown += [oracle.verbose, oracle._display.verbose]
    tuner.search(verbose=0)
    findings["verbose"] = [*shown, oracle.verbose]
    alone = Drawing(
        objective=kt.Objective("score", "max"), max_trials=20, hyperparameters=space(), seed=3
    )
    alone._set_project_dir(directory, "alone")
    alone._display.verbose = 0
    while (trial := alone.create_trial("tuner0")).status == "RUNNING":
        trial.hyperparameters.Int(f"late_{trial.trial_id}", 1, 3)
        alone.update_trial(trial.trial_id, {"score": trial.hyperparameters["a"]})
        trial.status = "COMPLETED"
        alone.end_trial(trial)
        if len(alone.trials) == 3:
            break
    again = Drawing(
        objective=kt.Objective("score", "max"), max_trials=20, hyperparameters=space(), seed=3
    )
    again._set_project_dir(directory, "alone")
    again.reload()
    findings["alone"] = [
        len(alone.trials),
        len(again.trials),
        again._id_to_hash == alone._id_to_hash,
    ]
    findings["reloaded"] = all(
        again._duplicate(trial.hyperparameters.values) for trial in alone.trials.values()
    )
    again._tried_so_far.clear()
    findings["forgotten"] = any(
        again._duplicate(trial.hyperparameters.values) for trial in alone.trials.values()
    )
    return findings
