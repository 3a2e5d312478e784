"""When trials began."""

from tests.oracles.helpers import oracle_of, run_by_hand


def test_when_trials_began_is_written_down():
    oracle = oracle_of(max_retries_per_trial=1)
    first, again, second = (
        run_by_hand(oracle, status="INVALID"),
        run_by_hand(oracle),
        run_by_hand(oracle),
    )
    assert [trial.trial_id for trial in (first, again, second)] == ["0", "0", "1"]
    shown = oracle.get_state()["display"]
    assert shown["trial_number"] == {"0": 1, "1": 2}
    assert shown["search_start"] < shown["trial_start"]["0"] < shown["trial_start"]["1"]
