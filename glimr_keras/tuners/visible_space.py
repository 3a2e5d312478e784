"""Discovery of hyperparameters for an oracle, without a search. Runs in the driver."""

from __future__ import annotations

from glimr_keras.executors.inline import looked_at
from glimr_keras.models.compile_overrides import CompileOverrides
from glimr_keras.models.data import FitArguments
from glimr_keras.space.hp_types import HyperParameter
from glimr_keras.training.context import TrialContext
from glimr_keras.training.discovery import built_space
from glimr_keras.training.trial_loop import loop_of
from glimr_keras.tuners.hooks import Overridden, SearchingTuner, hypermodel_of
from glimr_keras.tuners.trial_code import look_at


def visible_space(tuner: SearchingTuner, own: Overridden) -> list[HyperParameter]:
    """Return the hyperparameters that building some models in this process finds.

    A copy of the hypermodel builds the models, and state that its code keeps is restored.

    Args:
        tuner: The user's tuner.
        own: The hooks that the tuner overrides.
    """
    context = TrialContext(
        hypermodel_of(tuner),
        tuner._glimr.space,
        tuner.oracle.wanted,
        FitArguments(),
        compile_overrides=CompileOverrides.of(tuner),
        loop=loop_of(hypermodel_of(tuner)),
    )
    code = look_at(tuner, own)
    return looked_at(context, () if code is None else code.kept, built_space)
