"""Make the configuration that `data`, `build` and `fit` receive. Runs in driver and worker."""

from __future__ import annotations

from typing import Any

from glimr_keras.models.hypermodel import HyperModel
from glimr_keras.space.declared_space import DeclaredSpace
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.space.reserved_names import Stage


def configuration(
    space: DeclaredSpace,
    values: dict[str, Any],
    sampling_key: tuple[int, ...] | None,
    fold: int | None = None,
    num_folds: int | None = None,
    hypermodel: HyperModel | None = None,
) -> HyperParameters:
    """Return the object that a trial's `data`, `build` and `fit` receive.

    It is the declared space filled in, with define-by-run beyond it.

    Args:
        space: The declared space, which may be empty.
        values: Value by full name. Missing declared parameters are sampled, or take their default
            without `sampling_key`.
        sampling_key: The seed of sampled values; `None` for defaults.
        fold, num_folds: As in `HyperParameters`. Defaults to `None`.
        hypermodel: A hypermodel that declares its own hyperparameters. Defaults to `None`.
    """
    values = space.completed(values, sampling_key)
    existing = [parameter.name for parameter in space.parameters if parameter.exists(values)]
    tree = space.fill(values, sampling_key)
    derived = space.derived_values(tree, values, sampling_key)
    values |= derived
    config = HyperParameters(
        values,
        space=space.parameters,
        tree=tree,
        sampling_key=sampling_key,
        given=space.given,
        new_entries=space.new_entries,
        fold=fold,
        num_folds=num_folds,
    )
    config.mark_declared_as_asked(
        [*existing, *derived, *(name for name in Stage.NAMES if name in values)]
    )
    if hypermodel is not None:
        hypermodel.declare_hyperparameters(config)
    return config
