"""An oracle of one's own, and a loop of one's own over an oracle."""

import math
import traceback

import pytest

import glimr_keras as gk
from glimr_keras.oracles import GridSearchOracle, Nothing, Oracle, Suggestion
from glimr_keras.oracles.base import kind_of
from glimr_keras.trials.trial import Trial
from tests.oracles.helpers import MIN, SCORE, end, oracle_of, run_by_hand


def test_an_oracle_of_ones_own_needs_one_method():
    class Counting(Oracle):
        def populate_space(self, trial_id):
            return Nothing.YET if trial_id == "0001" else Suggestion({"n": int(trial_id)}, (1,))

    oracle = Counting(MIN)
    first = oracle.next_trial()
    assert (first.suggested, first.sampling_key) == ({"n": 0}, (1,))
    assert oracle.next_trial() is Nothing.YET
    assert list(oracle.trials) == ["0000"]
    with pytest.raises(NotImplementedError):
        Oracle(MIN).next_trial()


def test_trials_are_created_told_and_ranked():
    oracle = oracle_of()
    for _ in range(3):
        assert run_by_hand(oracle).status == "COMPLETED"
    assert run_by_hand(oracle).status == "STOPPED"
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
    tried = [run_by_hand(oracle, status="INVALID").trial_id for _ in range(4)]
    assert tried == ["0", "0", "0", "1"]
    assert (oracle.trials["0"].status, oracle.trials["1"].status) == ("FAILED", "INVALID")
    nan = run_by_hand(oracle, score=math.nan)  # which is no score
    assert (nan.trial_id, nan.status) == ("1", "INVALID")


def test_failures_in_a_row_end_the_loop():
    oracle = oracle_of(max_trials=9, max_consecutive_failed_trials=2)
    run_by_hand(oracle, status="FAILED")
    run_by_hand(oracle)
    run_by_hand(oracle, status="FAILED")
    with pytest.raises(
        RuntimeError, match="Number of consecutive failures exceeded the limit of 2"
    ):
        run_by_hand(oracle, status="FAILED")


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
    while (trial := run_by_hand(oracle)).status != "STOPPED":
        seen.append(trial.score)
    assert sorted(seen) == [1, 2, 3]


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
    first = run_by_hand(oracle, status="INVALID")
    assert first.status == "FAILED"
    assert oracle._duplicate(first.values)
    with pytest.raises(RuntimeError, match="exceeded the limit of 2"):
        run_by_hand(oracle, status="INVALID")


class LastScore(gk.Oracle):
    """Goes on from the score of the last trial."""

    def populate_space(self, trial_id):
        last = self.trials[self.start_order[-1]].score if self.start_order else 0.0
        return {"status": "RUNNING", "values": {"x": int(last + 1)}}


def test_an_oracle_that_needs_the_last_score_says_how_to_have_it():
    oracle = oracle_of(9, LastScore)
    first = oracle.ask()
    with pytest.raises(TypeError) as found:
        oracle.ask()
    text = "".join(traceback.format_exception(found.value))
    assert "pass `max_concurrent_trials=1` to the tuner" in text
    end(oracle, first, 4.0)
    assert oracle.ask().suggested == {"x": 5}


def test_an_error_that_has_nothing_to_do_with_it_has_no_such_advice():
    class Failing(gk.Oracle):
        def populate_space(self, trial_id):
            raise KeyError("units")

    with pytest.raises(KeyError) as found:
        oracle_of(9, Failing).ask()
    assert "max_concurrent_trials" not in "".join(traceback.format_exception(found.value))


def test_hyperparameters_that_a_script_gives_an_oracle_are_searched():
    oracle = gk.oracles.BayesianOptimizationOracle(MIN, 20, num_initial_points=2)
    hp = gk.HyperParameters()
    hp.Choice("a", [1, 2])
    oracle.hyperparameters = hp
    assert list(oracle.populate_space("0")["values"]) == ["a"]
    hp.Int("b", 3, 10)
    assert list(oracle.populate_space("1")["values"]) == ["a", "b"]
    oracle.hyperparameters.Boolean("c")
    assert sorted(oracle.create_trial("a").hyperparameters.values) == ["a", "b", "c"]


def test_values_that_are_written_into_a_trial_count_as_tried():
    oracle = oracle_of(9)
    trial = oracle.create_trial("a")
    given = dict(trial.hyperparameters.values)
    trial.hyperparameters.values["more"] = 2
    oracle.update_trial(trial.trial_id, {"score": 3.0})
    oracle.end_trial(trial)
    assert oracle._duplicate({**given, "more": 2})
    assert not oracle._duplicate(given)
    assert not oracle.is_running


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (gk.oracles.RandomSearchOracle, "RandomSearchOracle"),
        (type("Mine", (gk.oracles.HyperbandOracle,), {}), "HyperbandOracle"),
        (LastScore, "Oracle"),
    ],
)
def test_an_oracle_knows_of_which_kind_it_is(kind, name):
    oracle = kind("val_loss")
    assert (kind_of(oracle), oracle.has_own_state) == (name, name == "HyperbandOracle")
