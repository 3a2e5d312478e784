"""The table of an experiment, with glimr's arguments and their defaults. Runs anywhere."""

from __future__ import annotations

import os

import pandas as pd

from glimr_keras.results import tables


def experiment_table(exp_dir: str | os.PathLike[str], checkpointed: bool = True) -> pd.DataFrame:
    """One row for each training of an experiment, the epoch whose weights are there.

    Args:
        exp_dir: The experiment's directory, `local_dir` and `name` of `Search.experiment`.
        checkpointed: Whether other epochs are left out.

    Returns:
        As `glimr_keras.experiment_table`.

    Raises:
        ProjectError: If there is no experiment.
    """
    return tables.experiment_table(exp_dir, checkpointed)
