"""What was tried is not tried again; also under KerasTuner's names."""

import copy

import numpy as np

import glimr_keras as gk
from glimr_keras.oracles import RandomSearchOracle
from tests.oracles.helpers import SCORE, oracle_of, run_by_hand


def values_of(oracle, number):
    return oracle.trials[str(number)].values


def test_what_a_subclass_counts_as_tried_is_not_proposed():
    hp = gk.HyperParameters()
    hp.Choice("x", [1, 2, 3])
    oracle = RandomSearchOracle(SCORE, 9, hyperparameters=hp)
    oracle._tried_so_far.add(oracle._compute_values_hash({"x": 2}))
    assert [run_by_hand(oracle).status for _ in range(3)] == ["COMPLETED", "COMPLETED", "STOPPED"]
    assert {values_of(oracle, number)["x"] for number in range(2)} == {1, 3}
    oracle._tried_so_far.discard(oracle._id_to_hash["0"])
    assert run_by_hand(oracle).hyperparameters.values == values_of(
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
    tried = run_by_hand(oracle).values
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
    while run_by_hand(oracle).status != "STOPPED":
        pass
    assert sorted(trial.values["x"] // 50 for trial in oracle.trials.values()) == [0, 1, 2]


def test_a_subclass_that_repeats_itself_may():
    class Repeats(RandomSearchOracle):
        def _duplicate(self, values):
            return False

    hp = gk.HyperParameters()
    hp.Fixed("x", 1)
    oracle = Repeats(SCORE, 3, hyperparameters=hp)
    assert [run_by_hand(oracle).status for _ in range(4)] == [
        "COMPLETED",
        "COMPLETED",
        "COMPLETED",
        "STOPPED",
    ]
