import json
import random

from glimr_keras.project import records
from glimr_keras.project.usual_records import USUAL
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
