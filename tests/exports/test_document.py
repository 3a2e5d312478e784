"""A project as a JSON document."""

import json
import math

from glimr_keras.exports import document
from glimr_keras.space.hp_types import Choice
from tests.exports import contents
from tests.results import made


def written(content, tmp_path):
    document.write_json(content, str(tmp_path / "new" / "digits.json"))
    return json.loads((tmp_path / "new" / "digits.json").read_text())


def test_all_of_a_project_is_in_it(tmp_path):
    read = written(contents.early(), tmp_path)
    assert read["name"] == "digits"
    assert read["project_id"] == contents.OWNER
    assert read["objective"] == {"name": "val_loss", "direction": "min"}
    assert [each["config"]["name"] for each in read["space"]][:2] == ["units", "rate"]
    first, failed, running = read["trials"]
    assert first["values"] == {"units": 8, "rate": 0.001, "kind": "wide", "norm": False}
    assert first["started"] == "2023-11-14T22:13:20.000Z"
    assert first["executions"][0]["epochs"][1] == {
        "epoch": 2,
        "time": "2023-11-14T22:13:22.000Z",
        "metrics": {"loss": 0.125, "val_loss": 0.25},
    }
    assert failed["message"] == contents.TRACEBACK
    assert (running["status"], running["ended"]) == ("RUNNING", None)


def test_it_is_the_same_document_again(tmp_path):
    assert written(contents.early(), tmp_path) == written(contents.early(), tmp_path)


def test_numbers_that_json_does_not_have_are_texts(tmp_path):
    trial = made.trial(0, [[0.5, math.nan, -math.inf]])
    epochs = written(contents.content([trial]), tmp_path)["trials"][0]["executions"][0]["epochs"]
    assert [each["metrics"]["val_loss"] for each in epochs] == [0.5, "nan", "-inf"]


def test_options_that_json_does_not_have_are_texts(tmp_path):
    space = [Choice("clip", [0.5, math.inf])]
    trial = made.trial(0, [[0.5]], values={"clip": math.inf})
    read = written(contents.content([trial], space=space), tmp_path)
    assert read["space"][0]["config"]["values"] == [0.5, "inf"]
    assert read["trials"][0]["values"] == {"clip": "inf"}


def test_folds_are_told(tmp_path):
    read = written(contents.folded(), tmp_path)
    assert read["cv_folds"] == 2
    assert read["score_at"] == "best"
    assert [each["fold"] for each in read["trials"][0]["executions"]] == [0, 1]
