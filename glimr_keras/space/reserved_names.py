"""Names of values that no `build` asks for. Pure Python; runs anywhere."""

from __future__ import annotations


class Stage:
    """Which part of a training a trial is: names of values that only some oracles give, as
    KerasTuner's Hyperband has them.
    """

    EPOCHS = "tuner/epochs"
    """Up to how many epochs it trains."""
    INITIAL_EPOCH = "tuner/initial_epoch"
    """How many of them were trained before."""
    PARENT = "tuner/trial_id"
    """By which trial."""
    BRACKET = "tuner/bracket"
    ROUND = "tuner/round"
    ITERATION = "tuner/iteration"
    NAMES = (EPOCHS, INITIAL_EPOCH, BRACKET, ROUND, ITERATION, PARENT)
    """In KerasTuner's order."""
