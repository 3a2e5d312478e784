"""Projects that the commands look at."""

import json
import pathlib

import pytest

from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.trials.execution import TrialStatus
from tests.results import made

TRACEBACK = (
    'Traceback (most recent call last):\n  File "train.py", line 3, in build\n'
    "ValueError: <b>too large</b>\x1b[31m & more"
)


def trials():
    """Two that are completed, one that was stopped, one that has failed, and one that runs."""
    stopped = made.trial(2, [[0.75]], TrialStatus.STOPPED)
    failed = made.trial(3, [[0.9]], TrialStatus.FAILED, message=TRACEBACK)
    running = made.trial(4, [[0.8, 0.7]], TrialStatus.RUNNING)
    return [
        *(made.trial(0, [[0.5, 0.25, 0.375]]), made.trial(1, [[0.625, 0.5]])),
        *(stopped, failed, running),
    ]


@pytest.fixture
def digits(tmp_path):
    """The directory of a project whose search runs."""
    return made.written(made.project(trials(), oracle="RandomSearchOracle"), tmp_path / "digits")


@pytest.fixture
def of_keras_tuner(tmp_path):
    """The directory of a project as KerasTuner writes it."""
    project = made.project([made.trial(0, [[0.5, 0.25]]), made.trial(1, [[0.625, 0.5]])])
    for trial in project.trials.values():
        place = tmp_path / "theirs" / f"trial_{trial.trial_id}"
        place.mkdir(parents=True)
        trial.save(place / "trial.json")
    space = HyperParameters(space=project.parameters).get_config()
    oracle = {"hyperparameters": space, "start_order": [*project.trials]}
    (tmp_path / "theirs" / "oracle.json").write_text(json.dumps(oracle))
    return tmp_path / "theirs"


@pytest.fixture(autouse=True)
def columns(monkeypatch):
    """A terminal of 100 columns, without colours."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")


def contents_of(directory):
    """All files below a directory, by path, and when they were changed."""
    files = (path for path in pathlib.Path(directory).rglob("*") if path.is_file())
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}
