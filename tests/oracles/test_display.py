"""When trials began."""

import datetime
import json
import time
import types

from glimr_keras.oracles.display import Display
from glimr_keras.trials.trial import Trial
from tests.oracles.helpers import oracle_of, run_by_hand


def test_when_trials_began_is_written_down():
    oracle = oracle_of(max_retries_per_trial=1)
    first, again, second = (
        run_by_hand(oracle, status="INVALID"),
        run_by_hand(oracle),
        run_by_hand(oracle),
    )
    assert [trial.trial_id for trial in (first, again, second)] == ["0", "0", "1"]
    display, shown = oracle._display, oracle.get_state()["display"]
    assert shown["trial_number"] == {"0": 1, "1": 2}
    assert shown["search_start"] < shown["trial_start"]["0"] < shown["trial_start"]["1"]
    assert display.trial_start["0"].isoformat() == shown["trial_start"]["0"]
    assert display.trial_number == shown["trial_number"]


def test_who_goes_on_with_a_display_knows_the_begins_before():
    few = types.SimpleNamespace(trials=dict.fromkeys(("0", "1", "2")))
    display, again = Display(few), Display(few)
    before = datetime.datetime.now()
    for trial_id in ("0", "1"):
        display.on_trial_begin(Trial(trial_id=trial_id))
    state = json.loads(json.dumps(display.get_state()))
    again.on_trial_begin(Trial(trial_id="2"))
    again.set_state(state)
    assert again.get_state() == state
    time.sleep(0.001)
    for trial_id in ("1", "2", "unknown"):
        again.on_trial_begin(Trial(trial_id=trial_id))
    then = again.trial_start
    assert then["0"] == display.trial_start["0"]
    assert before <= display.trial_start["1"] <= then["1"] <= then["2"] <= datetime.datetime.now()
    assert then["1"] > display.trial_start["1"]
    assert again.trial_number == {"0": 3, "1": 3, "2": 3, "unknown": 3}
    assert list(again.get_state()["trial_start"]) == ["0", "1", "2"]
    assert again.search_start == display.search_start
