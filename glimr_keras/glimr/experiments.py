"""The table of an experiment, with glimr's arguments and their defaults. Runs anywhere."""

from __future__ import annotations

import os

import pandas as pd

from glimr_keras.results import tables


def experiment_table(exp_dir: str | os.PathLike[str], checkpointed: bool = True) -> pd.DataFrame:
    """Return one row for each training of an experiment: the epoch whose weights were saved.

    Args:
        exp_dir: The experiment's directory: `name` in `local_dir` of `Search.experiment`.
        checkpointed: Whether to leave out all other epochs. Defaults to `True`.

    Returns:
        The same table as `glimr_keras.experiment_table`.

    Raises:
        ProjectError: If there is no experiment.
    """
    return tables.experiment_table(exp_dir, checkpointed)
