"""Reserved names of values that no `build` requests. Pure Python; runs anywhere."""

from __future__ import annotations


class Stage:
    """Names of the values that describe a stage of a longer training, as in KerasTuner's Hyperband.

    Only some oracles set them.
    """

    EPOCHS = "tuner/epochs"
    """The epoch at which the training stops."""
    INITIAL_EPOCH = "tuner/initial_epoch"
    """The number of these epochs that were trained before."""
    PARENT = "tuner/trial_id"
    """The trial that trained them."""
    BRACKET = "tuner/bracket"
    ROUND = "tuner/round"
    ITERATION = "tuner/iteration"
    NAMES = (EPOCHS, INITIAL_EPOCH, BRACKET, ROUND, ITERATION, PARENT)
    """All of them, in KerasTuner's order."""
