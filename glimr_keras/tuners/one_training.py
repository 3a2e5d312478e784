"""Single trainings in the script's own process: a dry run before a search, and the final training
after it. Runs in the driver.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras

from glimr_keras._utils.checks import checked_count, optional_count
from glimr_keras.models import data
from glimr_keras.models.data import FitArguments
from glimr_keras.models.ensemble import ensemble
from glimr_keras.models.hypermodel import overrides
from glimr_keras.oracles.suggestions import checked_point
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.space.search_space import SearchSpace
from glimr_keras.training.dry_run import DryRun, dry_run
from glimr_keras.training.refit import refit
from glimr_keras.tuners.arguments import sorted_callbacks
from glimr_keras.tuners.hooks import SearchingTuner, hypermodel_of
from glimr_keras.tuners.search import SearchSession


def try_configuration(
    tuner: SearchingTuner,
    session: SearchSession,
    config: Mapping[str, Any] | HyperParameters,
    arguments: FitArguments,
    how: Mapping[str, Any],
    batches: int | None,
) -> DryRun:
    """Build and train one configuration; see `BaseTuner.try_configuration`."""
    hypermodel, space = hypermodel_of(tuner), tuner._glimr.space
    kwargs = dict(arguments.kwargs)
    callbacks, _ = sorted_callbacks(kwargs.pop("callbacks", None))
    arguments = FitArguments(arguments.args, kwargs)
    optional_count("batches", batches)
    if overrides(hypermodel, "run"):
        raise ValueError(
            f"There is no model to try: {type(hypermodel).__name__} has its own "
            "`run(config)`. Call it, with a configuration of `glimr_keras.sample_space` or "
            "a `HyperParameters()`."
        )
    data.check_one_source(hypermodel, arguments)
    folds = session.folds(arguments, tuner.oracle.seed, **how)
    given = config.values if isinstance(config, HyperParameters) else space.values_of(config)
    values = checked_point(given, SearchSpace(space.parameters, is_whole=False))
    return dry_run(session.context(arguments, callbacks, folds=folds), values, batches)


def final_training(
    tuner: SearchingTuner,
    session: SearchSession,
    arguments: FitArguments,
    trial_id: str | None,
    epochs: int | None,
    seeds: int,
) -> keras.Model:
    """Train a configuration on all data; see `BaseTuner.refit`."""
    checked_count("seeds", seeds)
    optional_count("epochs", epochs)
    kwargs = dict(arguments.kwargs)
    callbacks, _ = sorted_callbacks(kwargs.pop("callbacks", None))
    verbose = kwargs.pop("verbose", 0)
    arguments = FitArguments(arguments.args, kwargs)
    context = dataclasses.replace(
        session.context(arguments), callbacks=callbacks, fit_verbose=verbose
    )
    if context.loop.builds_only or not context.loop.has_model:
        raise ValueError(
            "`refit` builds a model and gives it to `fit`, and here a `run` or `run_trial` of your "
            "own is the whole training. Call it with the best of `get_best_hyperparameters()`."
        )
    data.check_one_source(hypermodel_of(tuner), arguments)
    trial = tuner._glimr.trial(trial_id)
    count, seed = epochs or trial.best_step + 1, tuner.oracle.seed % 2**31
    models = [refit(context, trial, count, seed + number) for number in range(seeds)]
    return models[0] if seeds == 1 else ensemble(models)
