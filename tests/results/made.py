"""Projects that are made without a search, for tests of what is shown of them."""

from glimr_keras.project.journal import Journal, Project, serialized
from glimr_keras.space.hp_types import Boolean, Choice, Condition, Fixed, Float, Int
from glimr_keras.trials.execution import Execution, TrialStatus
from glimr_keras.trials.objective import Objective
from glimr_keras.trials.trial import Trial

SPACE = [
    Int("units", 8, 512, sampling="log"),
    Float("rate", 1e-5, 1e-1, sampling="log"),
    Choice("kind", ["plain", "wide"]),
    Boolean("norm"),
    Float("drop", 0.0, 0.5, step=0.1, conditions=(Condition("norm", (True,)),)),
    Fixed("depth", 2),
]
BEGAN = 1_700_000_000.0


def execution(scores, status=TrialStatus.COMPLETED, number=0, direction="min"):
    """An execution with these values of `val_loss`, each epoch of which took a second."""
    made = Execution(status, started=BEGAN + 100 * number, worker=f"host:{number}")
    for epoch, score in enumerate(scores, start=1):
        made.observe(
            epoch, {"loss": score / 2, "val_loss": score}, Objective("val_loss", direction)
        )
    if status != TrialStatus.RUNNING:
        made.duration = float(len(scores))
        made.ended = made.started + made.duration
    return made


def trial(number, scores, status=TrialStatus.COMPLETED, values=None, message=None):
    """A trial with one execution for each list of scores."""
    values = values or {"units": 8 + number, "rate": 1e-3, "kind": "wide", "norm": False}
    executions = {
        place: execution(each, status, number + place) for place, each in enumerate(scores)
    }
    return Trial.of(f"{number:02d}", values, executions=executions, status=status, message=message)


def project(trials, space=SPACE, objective=None, **described):
    """A project of these trials."""
    objective = objective or Objective("val_loss", "min")
    made = Project(
        objective,
        seed=0,
        executions_per_trial=1,
        space=serialized(space),
        trials={each.trial_id: each for each in trials},
        directions=dict(objective.name_to_direction),
        created=BEGAN,
        **described,
    )
    for each in trials:
        each.hyperparameters.define(made.parameters)
    return made


def written(made, directory):
    """The directory of a project, in which its journal is."""
    journal = Journal(directory)
    journal.create(made)
    for each in made.trials.values():
        journal.add_trial(each)
        for number, one in each.executions.items():
            journal.start_execution(each.trial_id, number, one.started)
            for epoch, metrics in one.history.items():
                journal.add_epoch(each.trial_id, number, epoch, metrics, one.worker)
            if one.status != TrialStatus.RUNNING:
                journal.end_execution(each.trial_id, number, one)
        if each.status != TrialStatus.RUNNING:
            journal.end_trial(each)
    journal.close()
    return directory
