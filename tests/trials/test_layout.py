"""Where a trial's files are."""

import pathlib

import pytest

from glimr_keras.trials import layout
from glimr_keras.trials.layout import execution_directory, project_directory, trial_directories


def test_every_execution_has_a_folder_of_its_own_in_its_trials():
    project = pathlib.Path("runs")
    assert execution_directory(project, "0003", 0) == project / "trial_0003"
    assert execution_directory(project, "0003", 2) == project / "trial_0003" / "execution_2"


@pytest.mark.parametrize(
    ("trial_id", "folder"),
    [
        ("0", "trial_0"),
        ("009999", "trial_009999"),
        ("9999", "trial_9999"),
        ("10000", "trials_10000/trial_10000"),
        ("010999", "trials_10000/trial_010999"),
        ("11000", "trials_11000/trial_11000"),
        ("99999", "trials_99000/trial_99999"),
        ("0123456789abcdef0123456789abcdef", "trial_0123456789abcdef0123456789abcdef"),
        ("best", "trial_best"),
        ("-20000", "trial_-20000"),
        ("٢٠٠٠٠", "trial_٢٠٠٠٠"),  # digits too, but not those of an id
        ("9" * 5000, "trial_" + "9" * 5000),  # which is no number to Python
    ],
)
def test_trials_from_10000_on_are_in_folders_of_1000(trial_id, folder):
    project = pathlib.Path("runs")
    assert execution_directory(project, trial_id, 0) == project / folder
    assert execution_directory(project, trial_id, 3) == project / folder / "execution_3"
    flat = project / f"trial_{trial_id}"
    assert execution_directory(project, trial_id, 0, is_flat=True) == flat
    for execution in (0, 3):
        place = execution_directory(project, trial_id, execution)
        assert project_directory(place, execution) == project
    assert project_directory(pathlib.Path("trials_10000", "trial_7"), 0).name == "trials_10000"


def test_no_directory_has_many_trials():
    folders = [layout.trial_folder(f"{number:06d}") for number in range(100_000)]
    assert len(set(folders)) == 100_000
    held = {}
    for folder in folders:
        held.setdefault(folder.rpartition("/")[0], []).append(folder)
    assert len(held.pop("")) == 10_000
    assert {len(trials) for trials in held.values()} == {1000}
    assert len(held) == 90
    assert all(map(layout.is_shard, held))


def test_all_trials_that_are_there_are_found_in_order(tmp_path):
    folders = [
        layout.trial_folder(name) for name in ("00000", "09999", "10000", "12345", "12346", "99999")
    ]
    for folder in (*folders, "trial_a"):
        (tmp_path / folder).mkdir(parents=True)
    for folder in (  # of the user's own, or copied to where no trial is looked for
        "trials_mine/trial_10001",
        "trials_10000/trial_00001",
        "trials_10000/trial_11001",
        "trials_10000/notes",
        "figures/trial_10002",
    ):
        (tmp_path / folder).mkdir(parents=True)
    found = [place.relative_to(tmp_path).as_posix() for place in trial_directories(tmp_path)]
    assert found == [*folders, "trial_a"]
