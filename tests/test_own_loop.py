"""Oracles in a loop of the user's own, without a tuner."""

import json
import math

import pytest

import glimr_keras as gk
from glimr_keras.oracles import GridSearchOracle, RandomSearchOracle
from glimr_keras.trials import Trial

SCORE = gk.Objective("score", "max")


def oracle_of(max_trials=3, kind=RandomSearchOracle, **options):
    hp = gk.HyperParameters()
    hp.Int("x", 0, 100)
    return kind(SCORE, max_trials, hyperparameters=hp, seed=1, **options)


def run(oracle, tuner_id="tuner0", score=None, status="COMPLETED"):
    trial = oracle.create_trial(tuner_id)
    if trial.status == "RUNNING":
        if status == "COMPLETED":
            oracle.update_trial(trial.trial_id, {"score": trial.hyperparameters["x"] if score is None else score})
        trial.status = status
        oracle.end_trial(trial)
    return trial


def test_trials_are_created_told_and_ranked():
    oracle = oracle_of()
    for _ in range(3):
        assert run(oracle).status == "COMPLETED"
    assert run(oracle).status == "STOPPED"
    assert (oracle.start_order, oracle.end_order, oracle.ongoing_trials) == (["0", "1", "2"], ["0", "1", "2"], {})
    best = oracle.get_best_trials(3)
    assert [trial.score for trial in best] == sorted((trial.hyperparameters["x"] for trial in best), reverse=True)
    assert oracle.remaining_trials() == 0


def test_a_trial_has_its_best_step():
    oracle = oracle_of()
    trial = oracle.create_trial("a")
    assert oracle.create_trial("a") is trial  # who runs one has to end it first
    for step, score in enumerate((1.0, 3.0, 2.0, math.nan)):
        oracle.update_trial(trial.trial_id, {"score": score, "other": -score}, step=step)
    with pytest.raises(ValueError, match=r"expected 'score', received \['scores'\]\. Did you mean 'scores'"):
        oracle.update_trial(trial.trial_id, {"scores": 1.0})
    oracle.end_trial(Trial.from_state({**trial.get_state(), "status": "COMPLETED"}))  # as from another process
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
    with pytest.raises(RuntimeError, match="Number of consecutive failures exceeded the limit of 2"):
        run(oracle, status="FAILED")


def test_one_that_waits_for_others_is_idle():
    hp = gk.HyperParameters()
    hp.Choice("x", [1, 2])

    class Waits(gk.Oracle):
        def populate_space(self, trial_id):
            if self.ongoing_trials:
                return {"status": "IDLE"}
            return {"status": "RUNNING", "values": {"x": 2}} if len(self.trials) < 2 else {"status": "STOPPED"}

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
    assert (state["start_order"], state["end_order"], state["ongoing_trials"]) == (["0", "1", "2"], ["0", "1"], {"a": "2"})
    stored = json.loads((tmp_path / "project" / "trial_0" / "trial.json").read_text())
    assert (stored["score"], stored["status"]) == (done.score, "COMPLETED")
    again = oracle_of()
    again._set_project_dir(tmp_path, "project")
    again.reload()
    assert [trial.get_state() for trial in again.trials.values()] == [trial.get_state() for trial in (done, failed, going_on)]
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
    with pytest.raises(ValueError, match="If you set `tune_new_entries=False`, you must pass the search space"):
        RandomSearchOracle(SCORE, 3, tune_new_entries=False)
