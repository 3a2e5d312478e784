"""Named tuners: `RayTuner` with one slot filled, under the names that KerasTuner gave them. Runs in the driver."""

from __future__ import annotations

from typing import Any

from glimr_keras.objective import Objective
from glimr_keras.tuner import RayTuner


class RandomSearch(RayTuner):
    """Random search: every value is drawn independently from its range.

    Choose it for a first look at a space, for short budgets, or when many trials run at once: it never waits for a result.

    Args:
        hypermodel: As for `RayTuner`.
        objective: As for `RayTuner`.
        max_trials: As for `RayTuner`.
        seed: As for `RayTuner`.
        max_consecutive_failed_trials: As for `RayTuner`.
        **kwargs: The other arguments of `RayTuner`, except `search_alg`.
    """

    def __init__(
        self,
        hypermodel: Any = None,
        objective: str | Objective | None = None,
        max_trials: int = 10,
        seed: int | None = None,
        max_consecutive_failed_trials: int = 3,
        **kwargs: Any,
    ) -> None:
        if kwargs.get("search_alg") is not None:
            raise ValueError("RandomSearch has its own way to choose; pass `search_alg` to RayTuner instead.")
        super().__init__(
            hypermodel,
            objective,
            max_trials,
            seed=seed,
            max_consecutive_failed_trials=max_consecutive_failed_trials,
            **kwargs,
        )
