"""What the tests export: a project as it is while its search runs, and as it is later."""

import pathlib

from glimr_keras.exports.content import Content
from glimr_keras.trials.execution import TrialStatus
from tests.results import made

OWNER = "0123456789abcdef0123456789abcdef"
RUNNING, FAILED, COMPLETED = TrialStatus.RUNNING, TrialStatus.FAILED, TrialStatus.COMPLETED
TRACEBACK = """Traceback (most recent call last):
  File "train.py", line 3, in build
    raise ValueError
ValueError: <too large> & more"""


def timed(trial):
    """The trial, whose epochs ended a second after each other."""
    for execution in trial.executions.values():
        for epoch in execution.history:
            execution.epoch_times[epoch] = execution.started + epoch
    return trial


def content(trials, name="digits", directory=pathlib.Path("digits"), **described):
    """These trials of a project."""
    project = made.project(list(map(timed, trials)), project_id=OWNER, **described)
    return Content(project, name, directory)


def early():
    """One trial is completed, one has failed, and one runs."""
    failed = made.trial(1, [[0.9]], FAILED, message=TRACEBACK)
    failed.executions[0].message = TRACEBACK
    return content([made.trial(0, [[0.5, 0.25, 0.375]]), failed, made.trial(2, [[0.75]], RUNNING)])


def late():
    """The last one went on to its end, and another one began."""
    before = list(early().project.trials.values())
    others = [made.trial(2, [[0.75, 0.5]]), made.trial(3, [[0.6]], RUNNING)]
    return content([*before[:2], *others])


def folded():
    """Two folds of a trial, and one of another, which runs."""
    trials = [made.trial(0, [[0.5, 0.25], [0.75, 0.5]]), made.trial(1, [[0.5]], RUNNING)]
    return content(trials, cv_folds=2)


def begun_again():
    """The first trial was trained anew, with other results."""
    others = list(early().project.trials.values())[1:]
    again = made.trial(0, [[0.4, 0.3]])
    again.executions[0].attempt = 1
    return content([again, *others])
