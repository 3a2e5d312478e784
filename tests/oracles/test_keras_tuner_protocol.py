"""Oracles in a loop of the user's own, without a tuner."""

import copy
import json
import math

import numpy as np
import pytest

import glimr_keras as gk
from glimr_keras.oracles import GridSearchOracle, RandomSearchOracle
from glimr_keras.trials.trial import Trial

SCORE = gk.Objective("score", "max")


def oracle_of(max_trials=3, kind=RandomSearchOracle, **options):
    hp = gk.HyperParameters()
    hp.Int("x", 0, 100)
    return kind(SCORE, max_trials, hyperparameters=hp, seed=1, **options)


def run(oracle, tuner_id="tuner0", score=None, status="COMPLETED"):
    trial = oracle.create_trial(tuner_id)
    if trial.status == "RUNNING":
        if status == "COMPLETED":
            oracle.update_trial(
                trial.trial_id, {"score": trial.hyperparameters["x"] if score is None else score}
            )
        trial.status = status
        oracle.end_trial(trial)
    return trial


def test_trials_are_created_told_and_ranked():
    oracle = oracle_of()
    for _ in range(3):
        assert run(oracle).status == "COMPLETED"
    assert run(oracle).status == "STOPPED"
    assert (oracle.start_order, oracle.end_order, oracle.ongoing_trials) == (
        ["0", "1", "2"],
        ["0", "1", "2"],
        {},
    )
    best = oracle.get_best_trials(3)
    assert [trial.score for trial in best] == sorted(
        (trial.hyperparameters["x"] for trial in best), reverse=True
    )
    assert oracle.remaining_trials() == 0


def test_a_trial_has_its_best_step():
    oracle = oracle_of()
    trial = oracle.create_trial("a")
    assert oracle.create_trial("a") is trial  # who runs one has to end it first
    for step, score in enumerate((1.0, 3.0, 2.0, math.nan)):
        oracle.update_trial(trial.trial_id, {"score": score, "other": -score}, step=step)
    with pytest.raises(
        ValueError, match=r"expected 'score', received \['scores'\]\. Did you mean 'scores'"
    ):
        oracle.update_trial(trial.trial_id, {"scores": 1.0})
    oracle.end_trial(
        Trial.from_state({**trial.get_state(), "status": "COMPLETED"})
    )  # as from another process
    assert (trial.status, trial.score, trial.best_step) == ("COMPLETED", 3.0, 1)


def test_an_invalid_trial_is_run_again_as_often_as_allowed():
    oracle = oracle_of(max_retries_per_trial=2)
    tried = [run(oracle, status="INVALID").trial_id for _ in range(4)]
    assert tried == ["0", "0", "0", "1"]
    assert (oracle.trials["0"].status, oracle.trials["1"].status) == ("FAILED", "INVALID")
    nan = run(oracle, score=math.nan)  # which is no score
    assert (nan.trial_id, nan.status) == ("1", "INVALID")


def test_failures_in_a_row_end_the_loop():
    oracle = oracle_of(max_trials=9, max_consecutive_failed_trials=2)
    run(oracle, status="FAILED")
    run(oracle)
    run(oracle, status="FAILED")
    with pytest.raises(
        RuntimeError, match="Number of consecutive failures exceeded the limit of 2"
    ):
        run(oracle, status="FAILED")


def test_one_that_waits_for_others_is_idle():
    hp = gk.HyperParameters()
    hp.Choice("x", [1, 2])

    class Waits(gk.Oracle):
        def populate_space(self, trial_id):
            if self.ongoing_trials:
                return {"status": "IDLE"}
            return (
                {"status": "RUNNING", "values": {"x": 2}}
                if len(self.trials) < 2
                else {"status": "STOPPED"}
            )

    oracle = Waits(SCORE, 9, hyperparameters=hp)
    first = oracle.create_trial("a")
    assert first.hyperparameters.values == {"x": 2}
    assert oracle.create_trial("b").status == "IDLE"
    first.status = "FAILED"
    oracle.end_trial(first)
    assert oracle.create_trial("b").status == "RUNNING"


def test_a_grid_is_over_when_all_was_tried():
    hp = gk.HyperParameters()
    hp.Choice("x", [3, 1, 2])
    oracle = GridSearchOracle(SCORE, hyperparameters=hp)
    seen = []
    while (trial := run(oracle)).status != "STOPPED":
        seen.append(trial.score)
    assert sorted(seen) == [1, 2, 3]


def test_what_is_written_is_read_again(tmp_path):
    oracle = oracle_of()
    oracle._set_project_dir(tmp_path, "project")
    done, failed = run(oracle), run(oracle, status="FAILED")
    going_on = oracle.create_trial("a")
    state = json.loads((tmp_path / "project" / "oracle.json").read_text())
    assert (state["start_order"], state["end_order"], state["ongoing_trials"]) == (
        ["0", "1", "2"],
        ["0", "1"],
        {"a": "2"},
    )
    stored = json.loads((tmp_path / "project" / "trial_0" / "trial.json").read_text())
    assert (stored["score"], stored["status"]) == (done.score, "COMPLETED")
    again = oracle_of()
    again._set_project_dir(tmp_path, "project")
    again.reload()
    assert [trial.get_state() for trial in again.trials.values()] == [
        trial.get_state() for trial in (done, failed, going_on)
    ]
    assert again.create_trial("a").trial_id == "2"
    oracle.save(tmp_path / "own.json")
    assert json.loads((tmp_path / "own.json").read_text()) == state
    with pytest.raises(RuntimeError, match="no project's directory"):
        oracle_of().reload()


def test_new_entries_are_searched_refused_or_left_alone():
    found = gk.HyperParameters()
    found.Int("y", 1, 9)
    searched, refuses = oracle_of(), oracle_of(allow_new_entries=False)
    searched.update_space(found)
    assert {parameter.name for parameter in searched.get_space().space} == {"x", "y"}
    with pytest.raises(RuntimeError, match="`allow_new_entries` is `False`, but found new entries"):
        refuses.update_space(found)
    leaves = oracle_of(tune_new_entries=False)
    leaves.update_space(found)
    assert {parameter.name for parameter in leaves.get_space().space} == {"x"}
    with pytest.raises(
        ValueError, match="If you set `tune_new_entries=False`, you must pass the search space"
    ):
        RandomSearchOracle(SCORE, 3, tune_new_entries=False)


# What was tried, under KerasTuner's names


def values_of(oracle, number):
    return oracle.trials[str(number)].values


def test_what_a_subclass_counts_as_tried_is_not_proposed():
    hp = gk.HyperParameters()
    hp.Choice("x", [1, 2, 3])
    oracle = RandomSearchOracle(SCORE, 9, hyperparameters=hp)
    oracle._tried_so_far.add(oracle._compute_values_hash({"x": 2}))
    assert [run(oracle).status for _ in range(3)] == ["COMPLETED", "COMPLETED", "STOPPED"]
    assert {values_of(oracle, number)["x"] for number in range(2)} == {1, 3}
    oracle._tried_so_far.discard(oracle._id_to_hash["0"])
    assert run(oracle).hyperparameters.values == values_of(
        oracle, 0
    )  # which counts as untried again
    oracle.begin(oracle.objective, oracle.seed, oracle.space)
    assert [oracle.is_tried({"x": x}) for x in (1, 2, 3)] == [False, True, False]


def test_what_a_trial_was_given_may_be_tried_with_others_of_what_it_met_besides():
    oracle = oracle_of()
    trial = oracle.create_trial("a")
    given = dict(trial.values)
    assert oracle._duplicate(given)
    oracle.update_trial(trial.trial_id, {"score": 1.0})
    trial.hyperparameters.Int("late", 1, 9)
    trial.status = "COMPLETED"
    oracle.end_trial(trial)
    assert oracle._duplicate(trial.values)
    assert oracle._duplicate({**trial.values, "more": 1})
    assert not oracle._duplicate(given)  # with another value of what came late it is another
    assert not oracle._duplicate({**given, "late": trial.values["late"] % 9 + 1})
    assert oracle._id_to_hash == {"0": oracle._compute_values_hash(trial.values)}


def test_a_copy_of_an_oracle_that_begins_anew_leaves_the_original_alone():
    oracle = oracle_of()
    tried = run(oracle).values
    again = copy.copy(oracle)
    again.begin(oracle.objective, oracle.seed, oracle.space)
    assert [each.is_tried(tried) for each in (oracle, again)] == [True, False]


def test_hashes_know_no_order_and_no_numpy():
    oracle = oracle_of()
    known = oracle._compute_values_hash({"x": 1, "y": 0.5, "tuner/epochs": 3})
    assert known == oracle._compute_values_hash({"y": np.float64(0.5), "x": np.int64(1)})
    assert known != oracle._compute_values_hash({"x": True, "y": 0.5})


def test_a_subclass_says_what_makes_values_the_same():
    class Rounds(RandomSearchOracle):
        def _compute_values_hash(self, values):
            return super()._compute_values_hash(
                {name: value // 50 for name, value in values.items()}
            )

    oracle = oracle_of(9, Rounds)
    while run(oracle).status != "STOPPED":
        pass
    assert sorted(trial.values["x"] // 50 for trial in oracle.trials.values()) == [0, 1, 2]


def test_a_subclass_that_repeats_itself_may():
    class Repeats(RandomSearchOracle):
        def _duplicate(self, values):
            return False

    hp = gk.HyperParameters()
    hp.Fixed("x", 1)
    oracle = Repeats(SCORE, 3, hyperparameters=hp)
    assert [run(oracle).status for _ in range(4)] == [
        "COMPLETED",
        "COMPLETED",
        "COMPLETED",
        "STOPPED",
    ]


def test_what_was_tried_is_read_again(tmp_path):
    oracle = oracle_of()
    oracle._set_project_dir(tmp_path, "project")
    oracle._tried_so_far.add(oracle._compute_values_hash({"x": 200}))
    run(oracle)
    again = oracle_of()
    again._set_project_dir(tmp_path, "project")
    again.reload()
    assert again._tried_so_far == oracle._tried_so_far
    assert again._id_to_hash == oracle._id_to_hash
    assert again._duplicate({"x": 200})
    assert again.get_state() == oracle.get_state()


def test_when_trials_began_is_written_down():
    oracle = oracle_of(max_retries_per_trial=1)
    first, again, second = run(oracle, status="INVALID"), run(oracle), run(oracle)
    assert [trial.trial_id for trial in (first, again, second)] == ["0", "0", "1"]
    shown = oracle.get_state()["display"]
    assert shown["trial_number"] == {"0": 1, "1": 2}
    assert shown["search_start"] < shown["trial_start"]["0"] < shown["trial_start"]["1"]


def test_a_create_trial_and_an_end_trial_of_ones_own_find_what_the_librarys_have():
    class Copies(gk.Oracle):
        def create_trial(self, tuner_id):
            hp = self.get_space()
            hp.values = self._random_values()
            trial = Trial(hp, str(len(self.trials)), "RUNNING")
            self._record_values(trial)
            self.trials[trial.trial_id] = self.ongoing_trials[tuner_id] = trial
            self.start_order.append(trial.trial_id)
            self._save_trial(trial)
            self._display.on_trial_begin(trial)
            return trial

        def end_trial(self, trial):
            self._run_times[trial.trial_id] += 1
            if not self._retry(trial):
                self.end_order.append(trial.trial_id)
                self._check_consecutive_failures()
            self._display.on_trial_end(trial)
            self.ongoing_trials.clear()

    oracle = oracle_of(9, Copies, max_consecutive_failed_trials=2)
    with pytest.raises(ValueError, match="Objective value missing"):
        oracle._check_objective_found({"other": 1.0})
    first = run(oracle, status="INVALID")
    assert first.status == "FAILED"
    assert oracle._duplicate(first.values)
    with pytest.raises(RuntimeError, match="exceeded the limit of 2"):
        run(oracle, status="INVALID")
