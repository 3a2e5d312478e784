"""Where a trial's files are."""

import pathlib

from glimr_keras.trials.layout import execution_directory


def test_every_execution_has_a_folder_of_its_own_in_its_trials():
    project = pathlib.Path("runs")
    assert execution_directory(project, "0003", 0) == project / "trial_0003"
    assert execution_directory(project, "0003", 2) == project / "trial_0003" / "execution_2"
