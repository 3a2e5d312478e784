"""The final training: one configuration on all data, for a number of epochs that was chosen before.
Runs in the driver.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import keras
import numpy as np

from glimr_keras.models.configuration import configuration
from glimr_keras.training.context import (
    TrialContext,
    fit_kwargs,
    taken_by,
    task_logs,
    with_data,
    with_model,
)
from glimr_keras.trials.trial import Trial


def refit(context: TrialContext, trial: Trial, epochs: int, seed: int) -> keras.Model:
    """Build and train the model of a trial anew.

    Args:
        context: With the data, arguments and callbacks of this training. It has no folds.
        trial: Whose configuration is trained.
        epochs: For how long, at least 1.
        seed: Of weights, order of the data, and dropout.

    Returns:
        The trained, compiled model.

    Raises:
        Exception: Whatever the user's code raises.
    """
    config = configuration(
        context.space, trial.values, trial.sampling_key, hypermodel=context.hypermodel
    )
    with _seeded(seed):
        model, arguments = with_model(context, config, with_data(context, config))
        kwargs = {
            **fit_kwargs(context, config, arguments),
            "epochs": epochs,
            "verbose": context.fit_verbose,
            "callbacks": [*task_logs(context, config), *context.callbacks],
        }
        if context.loop.is_keras_fit:
            kwargs = taken_by(model, kwargs, arguments.kwargs)
        context.hypermodel.fit(config, model, *arguments.args, **kwargs)
    return model


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed Keras, and for the time of the block Python and NumPy."""
    python, numpy = random.getstate(), np.random.get_state()
    keras.utils.set_random_seed(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
