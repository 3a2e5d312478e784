"""Projects made by hand: of any size, with all that can become of a trial."""

import dataclasses
import math

import numpy as np

from glimr_keras.project.journal import Project, serialized
from glimr_keras.space.hp_types import Boolean, Choice, Condition, Fixed, Float, Int
from glimr_keras.space.reserved_names import Stage
from glimr_keras.trials.execution import Execution
from glimr_keras.trials.objective import MultiObjective, Objective
from glimr_keras.trials.trial import Trial

SPACE = [
    Float("optimization/learning_rate", 1e-5, 1e-1, sampling="log"),
    Int("units", 8, 512, sampling="log"),
    Choice("batch_size", [16, 32, 64, 128]),
    Float("dropout", 0.0, 0.6),
    Choice("architecture/activation", ["relu", "gelu", "swish", "tanh"]),
    Boolean("augment"),
    Choice("optimization/optimizer", ["adam", "sgd"]),
    Float(
        "optimization/sgd_momentum_with_a_very_long_name",
        0.0,
        0.99,
        conditions=(Condition("optimization/optimizer", ("sgd",)),),
    ),
    Fixed("seed", 7),
]
"""Eight that are searched, of every kind, one of them conditional."""
ACCURACY = Objective("val_accuracy", "max")
START = 1_700_000_000.0


def values_of(rng, space=SPACE):
    values = {}
    for parameter in space:
        if parameter.exists(values):
            values[parameter.name] = parameter.prob_to_value(float(rng.random()))
    return values


def quality(values):
    """How good a configuration is, from 0 to 1."""
    rate = math.log10(values.get("optimization/learning_rate", 1e-3))
    units = math.log2(values.get("units", 64))
    return (
        0.9
        - 0.05 * (rate + 3) ** 2
        + 0.02 * (units - 6)
        - 0.2 * abs(values.get("dropout", 0.2) - 0.2)
        - 0.03 * (values.get("architecture/activation") == "tanh")
    )


def history(best, epochs, rng, first=1, size=1.0):
    return {
        epoch: {
            "val_accuracy": best * (1 - math.exp(-epoch / 2)) + float(rng.normal(0, 0.005)),
            "size": size,
            "val_loss": 2.3 * math.exp(-best * epoch / 3) + 1 - best + float(rng.normal(0, 0.01)),
        }
        for epoch in range(first, epochs + 1)
    }


def execution(rng, best, epochs, objective, status="COMPLETED", started=None, first=1, size=1.0):
    made = Execution(status=status, worker=f"host:{100 + int(rng.integers(2))}")
    for epoch, logs in history(best, epochs, rng, first, size).items():
        made.observe(epoch, logs, objective)
    made.duration = 2.0 * (epochs - first + 1) * float(rng.uniform(0.5, 1.5))
    if started is not None:
        made.started = started
        made.ended = None if status == "RUNNING" else started + made.duration
    return made


def project(
    trials=40,
    space=SPACE,
    objective=ACCURACY,
    epochs=8,
    executions=1,
    cv_folds=None,
    statuses=(("COMPLETED", 0.75), ("STOPPED", 0.17), ("FAILED", 0.06), ("RUNNING", 0.02)),
    constant=None,
    seed=0,
    has_times=True,
):
    """A project with trials of each status."""
    rng = np.random.default_rng(seed)
    found = {}
    clock = START
    count = executions * (cv_folds or 1)
    for number in range(trials):
        values = values_of(rng, space)
        status = str(rng.choice([s for s, _ in statuses], p=[p for _, p in statuses]))
        best = quality(values) + float(rng.normal(0, 0.02)) if constant is None else constant
        of = {}
        for place in range(count if status != "FAILED" else max(1, count - 1)):
            length = epochs if status == "COMPLETED" else int(rng.integers(1, max(2, epochs)))
            shift = float(rng.normal(0, 0.02)) if count > 1 and constant is None else 0.0
            started = clock if has_times else None
            of[place] = execution(
                rng, best + shift, length, objective, status, started, size=values.get("units", 1)
            )
            if constant is not None:
                of[place] = dataclasses.replace(of[place], score=constant)
            clock += (of[place].duration or 0) * 0.55
        trial = Trial.of(f"{number:04d}", values, (0, number), space, of, status=status)
        trial.message = "ValueError: no" if status == "FAILED" else None
        found[trial.trial_id] = trial
    return Project(
        objective,
        0,
        executions,
        serialized(space),
        trials=found,
        cv_folds=cv_folds,
        directions={"val_accuracy": "max", "val_loss": "min", "size": "min"},
    )


def two_objectives(trials=40, **kwargs):
    """A project whose objectives are an accuracy and a size."""
    parts = [Objective("val_accuracy", "max"), Objective("size", "min")]
    return project(trials, objective=MultiObjective(parts, pareto=True), **kwargs)


def hyperband(seed=0, factor=3, brackets=((9, 1), (5, 3), (3, 9)), iterations=1, max_epochs=9):
    """A project of `Hyperband`: each bracket begins with so many trials of so many epochs."""
    rng = np.random.default_rng(seed)
    found = {}

    def add(values, stage, best):
        place, epochs = len(found), stage[Stage.EPOCHS]
        first, begun = stage[Stage.INITIAL_EPOCH] + 1, START + 10 * place
        of = {0: execution(rng, best, epochs, ACCURACY, started=begun, first=first)}
        made = {**values, **stage}
        trial = Trial.of(f"{place:04d}", made, (0, place), SPACE, of, status="COMPLETED")
        found[trial.trial_id] = trial
        return trial

    for iteration in range(iterations):
        for place, (size, first) in enumerate(brackets):
            members = [(values, quality(values), {}) for values in map(values_of, [rng] * size)]
            epochs, seen, rung = first, 0, 0
            while members and epochs <= max_epochs:
                stage = {
                    Stage.EPOCHS: epochs,
                    Stage.INITIAL_EPOCH: seen,
                    Stage.BRACKET: len(brackets) - 1 - place,
                    Stage.ROUND: rung,
                    Stage.ITERATION: iteration,
                }
                ended = [(add(v, stage | parent, best), v, best) for v, best, parent in members]
                ended.sort(key=lambda each: -each[0].score)
                kept = ended[: max(1, len(ended) // factor)]
                members = [(v, best, {Stage.PARENT: trial.trial_id}) for trial, v, best in kept]
                epochs, seen, rung = epochs * factor, epochs, rung + 1
    return Project(ACCURACY, 0, 1, serialized(SPACE), trials=found, oracle="hyperband")


def many_parameters(trials=60, count=30):
    """A project with so many hyperparameters."""
    space = [
        Float(f"block_{n // 6}/layer_{n}/a_rate_that_is_tuned", 1e-4, 1.0, sampling="log")
        if n % 2
        else Choice(f"block_{n // 6}/layer_{n}/kind_of_activation", ["relu", "gelu", "selu"])
        for n in range(count)
    ]
    return project(trials, space)
