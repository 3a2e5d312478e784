"""Tables of a project, read back by pandas."""

import dataclasses

import pandas as pd
import pytest

import glimr_keras as gk
from glimr_keras.exports import tables
from glimr_keras.exports.content import Content
from glimr_keras.project.journal import Journal
from glimr_keras.results.sources import project_of
from glimr_keras.trials.objective import Objective
from tests.exports import contents
from tests.results import made


@pytest.fixture
def content(tmp_path):
    directory = made.written(contents.late().project, tmp_path / "digits")
    return Content(Journal(directory).read(), "digits", directory)


def test_csv_files_have_what_the_tables_have(content, tmp_path):
    said = tables.write_csv(content, str(tmp_path / "out"))
    assert said == (
        f"Wrote {tmp_path}/out/trials.csv (4 rows) and {tmp_path}/out/epochs.csv (7 rows)."
    )
    trials = pd.read_csv(tmp_path / "out" / "trials.csv", dtype={"trial_id": str})
    assert list(trials["trial_id"][:2]) == ["00", "02"]
    assert list(trials["score"][:2]) == [0.25, 0.5]
    assert list(trials["units"][:2]) == [8, 10]
    expected = gk.RayTuner.open(content.directory).results_dataframe()
    assert list(trials.columns) == list(expected.columns)
    assert (pd.to_datetime(trials["started"]) == expected["started"]).all()
    epochs = pd.read_csv(tmp_path / "out" / "epochs.csv")
    assert list(epochs["val_loss"]) == [0.5, 0.25, 0.375, 0.9, 0.75, 0.5, 0.6]


def test_one_file_has_one_table(content, tmp_path):
    tables.write_csv(content, str(tmp_path / "trials.csv"))
    assert len(pd.read_csv(tmp_path / "trials.csv")) == 4
    of_epochs = dataclasses.replace(content, epochs=True)
    said = tables.write_csv(of_epochs, str(tmp_path / "new" / "epochs.csv"))
    assert said == f"Wrote {tmp_path}/new/epochs.csv (7 rows)."
    assert len(pd.read_csv(tmp_path / "new" / "epochs.csv")) == 7


def test_parquet_files_keep_types_and_what_they_are_about(content, tmp_path):
    tables.write_parquet(content, str(tmp_path))
    trials = pd.read_parquet(tmp_path / "trials.parquet")
    expected = gk.RayTuner.open(content.directory).results_dataframe()
    pd.testing.assert_frame_equal(trials, expected, check_dtype=False)
    assert trials["units"].dtype == expected["units"].dtype
    assert trials["started"].dtype == expected["started"].dtype
    assert trials.attrs["glimr_keras"]["objective"] == {"name": "val_loss", "direction": "min"}
    epochs = pd.read_parquet(tmp_path / "epochs.parquet")
    expected = gk.experiment_table(content.directory)
    pd.testing.assert_frame_equal(epochs, expected, check_dtype=False)


def test_values_of_several_types_are_texts_in_parquet(tmp_path):
    values = ({"mixed": 1}, {"mixed": "a"}, {"mixed": [1, 2]}, {})
    trials = [
        made.trial(place, [[0.5]], values=each or {"x": 1}) for place, each in enumerate(values)
    ]
    directory = made.written(contents.content(trials).project, tmp_path / "digits")
    content = Content(Journal(directory).read(), "digits", directory)
    tables.write_parquet(content, str(tmp_path / "trials.parquet"))
    read = pd.read_parquet(tmp_path / "trials.parquet").set_index("trial_id")["mixed"]
    assert list(read[["00", "01", "02"]]) == ["1", "a", "[1, 2]"]
    assert pd.isna(read["03"])


def test_another_objective_is_that_of_both_tables(content, tmp_path):
    other = project_of(content.directory, Objective("loss", "min"))
    tables.write_parquet(dataclasses.replace(content, project=other, name="mine"), str(tmp_path))
    for name in ("trials", "epochs"):
        about = pd.read_parquet(tmp_path / f"{name}.parquet").attrs["glimr_keras"]
        assert about["objective"] == {"name": "loss", "direction": "min"}
        assert about["name"] == "mine"
