import json
import random

from glimr_keras.project import records
from glimr_keras.project.usual_records import USUAL, is_ended_execution, is_ended_trial
from tests import hostile
from tests.project.test_hostile_projects import lines_of


def test_what_is_usual_is_what_the_tables_allow(tmp_path, monkeypatch):
    chance, lines = random.Random(1), [json.loads(line) for line in lines_of(tmp_path)]
    found = [hostile.changed_json(chance.choice(lines), chance) for _ in range(20_000)]
    usual = [
        record
        for record in [*lines, *found]
        if isinstance(record, dict)
        and isinstance(record.get("record"), str)
        and record["record"] in USUAL
        and USUAL[record["record"]](record)
    ]
    assert {record["record"] for record in usual} == USUAL.keys()
    assert len(usual) > 1000
    monkeypatch.setattr(records, "USUAL", {})
    for record in usual:
        records.parsed(json.dumps(record).encode() + b"\n")


def test_what_is_usual_in_a_digest_is_what_the_tables_allow():
    chance, found = random.Random(1), {"trial": 0, "execution": 0}
    trial = ["07", 3, "COMPLETED", None, None, None, [1, 7, 0]]
    times = 1.7e9, 1.7e9 + 5.5
    execution = ["COMPLETED", 3, 0.5, 5.25, None, 0, 1, False, None, True, *times, "host:1"]
    executions = [*execution, None, None], [*execution, 2, 0.75]  # scored where its weights are
    assert is_ended_trial(trial)
    assert all(map(is_ended_execution, executions))
    for _ in range(20_000):
        about = hostile.changed_json(trial, chance)
        single = hostile.changed_json(chance.choice(executions), chance)
        if isinstance(about, list) and is_ended_trial(about):
            records.check_state("trial", *about[:6], {}, {}, about[6])
            found["trial"] += 1
        if isinstance(single, list) and is_ended_execution(single):
            records.check_state("execution", *single)
            found["execution"] += 1
    assert min(found.values()) > 300, found
