"""Nested cross validation: the whole search is repeated on the training part of each outer fold,
and what it chooses is scored on the part that it has not seen (Varma and Simon 2006,
doi:10.1186/1471-2105-7-91). Runs in the driver.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import pathlib
from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
import pandas as pd

from glimr_keras._utils import files
from glimr_keras._utils.checks import checked_count
from glimr_keras.errors import ProjectError
from glimr_keras.evaluation.compiled_metric import CompiledMetric
from glimr_keras.models import folds as splits
from glimr_keras.models.bags import Bags
from glimr_keras.models.data import FitArguments, labels
from glimr_keras.models.label_names import adapted
from glimr_keras.project.journal import HIDDEN

_DESCRIPTION = "nested.json"
_RESULT = "outer_result.json"
_VERSION = 1
_OF_SAMPLES = ("sample_weight",)
_OF_SEARCH = ("epochs", "callbacks", "validation_split")
"""Arguments of `fit` that the final training does not take: it trains on all data, for the epochs
that were chosen.
"""


@dataclasses.dataclass(frozen=True)
class OuterFold:
    """What came of one outer fold.

    Attributes:
        fold: Counted from 0.
        reported: The score of the best trial of its search.
        score: Of the final model on the samples that the search has not seen.
        epochs: The number of epochs of the final training.
        trial_id: The trial that was chosen, such as `"0007"`.
        values: Its hyperparameters, by name.
        samples: The number of samples that were not seen.
    """

    fold: int
    reported: float
    score: float
    epochs: int
    trial_id: str
    values: dict[str, Any]
    samples: int


@dataclasses.dataclass(frozen=True)
class NestedResult:
    """What came of a nested cross validation.

    Attributes:
        objective: The name of the metric.
        folds: One for each outer fold.
        assignment: The outer fold of each sample, shape (samples,), int.
    """

    objective: str
    folds: tuple[OuterFold, ...]
    assignment: np.ndarray = dataclasses.field(repr=False)

    @property
    def score(self) -> float:
        """Return the mean score of the outer folds."""
        return float(np.mean([each.score for each in self.folds]))

    @property
    def standard_error(self) -> float:
        """Return the standard error of the mean, as if outer folds were independent."""
        scores = [each.score for each in self.folds]
        return float(np.std(scores, ddof=1) / math.sqrt(len(scores)))

    @property
    def reported(self) -> float:
        """Return the mean of the scores that the searches reported."""
        return float(np.mean([each.reported for each in self.folds]))

    def to_frame(self) -> pd.DataFrame:
        """Return a table with a row for each outer fold.

        Returns:
            Columns `fold`, `reported`, `score`, `epochs`, `trial_id`, `samples`, and one for each
            hyperparameter.
        """
        rows = [
            {
                **{name: value for name, value in vars(each).items() if name != "values"},
                **each.values,
            }
            for each in self.folds
        ]
        return pd.DataFrame(rows)

    def __str__(self) -> str:
        lines = [
            f"{self.objective} on outer folds: {self.score:.4g}, standard error "
            f"{self.standard_error:.2g}; reported by the searches: {self.reported:.4g}"
        ]
        lines += [
            f"  fold {each.fold}: {each.score:.4g} on {each.samples} samples, reported "
            f"{each.reported:.4g}, trial {each.trial_id}, {each.epochs} epochs"
            for each in self.folds
        ]
        return "\n".join(lines)


def nested_cross_validation(
    make_tuner: Callable[..., Any],
    x: Any,
    y: Any = None,
    outer_folds: int = 5,
    *,
    groups: Any = None,
    stratify: Any = "auto",
    folds: Any = None,
    seeds: int = 1,
    directory: str | os.PathLike[str] = "nested",
    project_name: str = "untitled_project",
    seed: int = 0,
    **fit_kwargs: Any,
) -> NestedResult:
    """Repeat a whole search for each outer fold, and score what it chooses on samples that it has
    not seen.

    In each outer fold a tuner searches with the other samples, in a project of its own, and its
    best configuration is trained on all of them by `refit`. Called again with the same directory,
    it goes on where it was interrupted.

    Args:
        make_tuner: `make_tuner(directory=…, project_name=…)` returns a tuner with these arguments;
            most often one with `cv_folds`.
        x: Arrays, frames or tensors whose first axis counts the samples, in any nesting; or `Bags`.
        y: Labels likewise; `Bags` have them. Defaults to none beside `x`.
        outer_folds: The number of outer folds, at least 2. Defaults to 5.
        groups: The group of each sample, shape (samples,), such as its patient: none is on both
            sides of a split, outer or inner. Defaults to no groups.
        stratify: The class of each sample, shape (samples,), of which all folds have the same part.
            Defaults to `"auto"`: the labels where they are classes. `None` for no classes.
        folds: The outer fold of each sample, shape (samples,), integers from 0 to
            `outer_folds - 1`. Defaults to a random split.
        seeds: The number of final models of each outer fold, whose mean predicts. Defaults to 1.
        directory: Where the project is. Defaults to `"nested"`.
        project_name: Its name in there. Defaults to `"untitled_project"`.
        seed: Splits the samples in the same way again. Defaults to 0.
        **fit_kwargs: Arguments of `search`, such as `epochs` and `batch_size`. `sample_weight` is
            split like the data.

    Returns:
        The outer scores beside those that the searches reported; printing it shows them.

    Raises:
        ValueError: If the data cannot be split.
        ProjectError: If the directory has a nested cross validation of other samples or folds.

    Example:
        result = nested_cross_validation(
            lambda **where: RandomSearch(build, "val_accuracy", max_trials=20, cv_folds=5, **where),
            x,
            y,
            epochs=30,
        )
        print(result)
    """
    checked_count("outer_folds", outer_folds, 2)
    checked_count("seeds", seeds)
    weight = fit_kwargs.pop("sample_weight", None)
    given = FitArguments(
        (x,) if y is None else (x, y), {} if weight is None else {"sample_weight": weight}
    )
    split = splits.make(given, outer_folds, seed, groups, stratify, folds)
    if split.parts is None:
        raise ValueError(
            "Nested cross validation splits arrays, tensors and frames. Received: "
            f"x={type(x).__name__}"
        )
    place = pathlib.Path(directory) / project_name
    _begin(place, split.parts, labels(given))
    outer, objective = [], ""
    for fold in range(outer_folds):
        tuner = make_tuner(directory=str(place), project_name=f"outer_{fold}")
        _check_place(tuner, place / f"outer_{fold}")
        part = splits.split(given, split, fold)
        of_search = {
            name: value[split.parts != fold] if isinstance(value, np.ndarray) else value
            for name, value in (("groups", _array(groups)), ("stratify", _array(stratify)))
        }
        count = int((split.parts == fold).sum())
        outer.append(_outer(tuner, place, fold, part, count, of_search, seeds, fit_kwargs))
        objective = tuner.objective.name
    return NestedResult(objective, tuple(outer), split.parts)


def _array(given: Any) -> Any:
    return given if given is None or isinstance(given, str) else np.asarray(given)


def _begin(place: pathlib.Path, parts: np.ndarray, y: Any) -> None:
    """Write down which samples there are and how they are split, or check that they are the same.

    Raises:
        ProjectError: If they are not.
    """
    described = {
        "version": _VERSION,
        "samples": len(parts),
        "assignment": _digest([parts.astype(np.int64)]),
        "labels": _digest(map(_numpy, keras.tree.flatten(y))),
    }
    file = place / _DESCRIPTION
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        files.write_json(file, described)
        return
    found = _read(file)
    other = [name for name, value in described.items() if found.get(name) != value]
    if other:
        raise ProjectError(
            f"{place} has a nested cross validation with another {' and another '.join(other)}. "
            f"Give another `project_name`. Received: {described}. Found: {found}"
        )


def _digest(arrays: Iterable[np.ndarray]) -> str:
    hashed = hashlib.sha256()
    for array in arrays:
        hashed.update(repr((array.shape, array.dtype.str)).encode())
        hashed.update(repr(array.tolist()).encode() if array.dtype.hasobject else array.tobytes())
    return hashed.hexdigest()


def _check_place(tuner: Any, place: pathlib.Path) -> None:
    """Refuse a tuner that does not use the directory that it was given."""
    found = pathlib.Path(tuner.project_dir).absolute()
    if found != place.absolute():
        raise ValueError(
            "`make_tuner(directory=…, project_name=…)` must pass both on to the tuner, so that "
            f"each outer fold has a project of its own. Expected: {place}. Received: {found}"
        )


def _outer(
    tuner: Any,
    place: pathlib.Path,
    fold: int,
    part: FitArguments,
    count: int,
    of_search: dict[str, Any],
    seeds: int,
    fit_kwargs: dict[str, Any],
) -> OuterFold:
    """Search, train and score in one outer fold, as far as that was not done before."""
    file = place / f"outer_{fold}" / HIDDEN / _RESULT
    known = _read(file) if file.exists() else {}
    weight = {name: part.kwargs[name] for name in _OF_SAMPLES if name in part.kwargs}
    if not known or tuner.remaining_trials != 0:
        tuner.search(*part.args, **weight, **of_search, **fit_kwargs)
    trial = tuner.oracle.get_best_trials(1)[0]
    chosen = {"trial_id": trial.trial_id, "reported": trial.score, "seeds": seeds}
    if known.items() >= chosen.items():
        score, epochs = known["score"], known["epochs"]
    else:
        kwargs = {name: each for name, each in fit_kwargs.items() if name not in _OF_SEARCH}
        model = tuner.refit(*part.args, **weight, seeds=seeds, **kwargs)
        score, epochs = _scored(tuner, model, part, kwargs.get("batch_size")), trial.best_step + 1
        files.write_json(file, {**chosen, "score": score, "epochs": epochs}, is_forced=True)
    values = dict(trial.hyperparameters.values)
    return OuterFold(fold, trial.score, score, epochs, trial.trial_id, values, count)


def _scored(tuner: Any, model: keras.Model, part: FitArguments, batch_size: int | None) -> float:
    """Return the objective of a model on the samples of an outer fold."""
    member = getattr(model, "models", [model])[0]
    config = tuner.get_best_hyperparameters(1)[0]
    part = adapted(config, member, part)
    x, y, weight = keras.utils.unpack_x_y_sample_weight(part.kwargs["validation_data"])
    if isinstance(x, Bags):
        x, y, weight = x.replace(pad_to="largest"), x.y, x.sample_weight
    metric = CompiledMetric(member, tuner.objective, tuner.hypermodel, config)
    predicted = model.predict(x, batch_size=batch_size, verbose=0)
    return metric((_mapped(y), _mapped(weight)), predicted)


def _mapped(part: Any) -> Any:
    return None if part is None else keras.tree.map_structure(_numpy, part)


def _numpy(values: Any) -> np.ndarray:
    return keras.ops.convert_to_numpy(values) if keras.ops.is_tensor(values) else np.asarray(values)


def _read(file: pathlib.Path) -> dict[str, Any]:
    """Return what a file has.

    Raises:
        ProjectError: If it is damaged.
    """
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise ProjectError(f"{file} is damaged: {error}") from error
    return found if isinstance(found, dict) else {}
