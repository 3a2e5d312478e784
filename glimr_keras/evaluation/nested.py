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
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import pandas as pd

from glimr_keras._utils import files
from glimr_keras._utils.checks import checked_count
from glimr_keras.errors import ProjectError
from glimr_keras.evaluation.compiled_metric import CompiledMetric
from glimr_keras.evaluation.scorers import Metric
from glimr_keras.models import folds as splits
from glimr_keras.models import samples
from glimr_keras.models.bags import Bags
from glimr_keras.models.data import FitArguments, labels
from glimr_keras.models.ensemble import Ensemble
from glimr_keras.models.label_names import adapted
from glimr_keras.project.journal import HIDDEN

_DESCRIPTION = "nested.json"
_RESULT = "outer_result.json"
_VERSION = 1
_MOST_DIGESTED = 1_000_000
"""Values of an array."""
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
    metric: Metric | None = None,
    seeds: int = 1,
    refit_kwargs: Mapping[str, Any] | None = None,
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
        metric: `metric(labels, predictions)` scores the final models. Defaults to the objective, as
            the model is compiled for it.
        seeds: The number of final models of each outer fold, whose mean predicts. Defaults to 1.
        refit_kwargs: Arguments of the final training alone, such as `callbacks`. Defaults to none.
        directory: Where the project is, a local path. Defaults to `"nested"`.
        project_name: Its name in there. Defaults to `"untitled_project"`.
        seed: Splits the samples in the same way again. Defaults to 0.
        **fit_kwargs: Arguments of `search`, such as `epochs` and `batch_size`. `sample_weight` is
            split like the data. The final training has them too, but for `epochs`, `callbacks` and
            `validation_split`: it trains on all data, for the epochs that were chosen.

    Returns:
        The outer scores beside those that the searches reported; printing it shows them.

    Raises:
        ValueError: If the data cannot be split, `directory` is a URI, the objective is not of
            validation data, or there are groups and the tuner has no `cv_folds`.
        ProjectError: If the directory has a nested cross validation of other samples, folds or
            arguments, or no trial of a search has a score.

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
    if "://" in str(directory):
        raise ValueError(
            f"`directory` must be a local path. Received: directory={str(directory)!r}"
        )
    if "callbacks" in fit_kwargs and "callbacks" not in (refit_kwargs or {}):
        warnings.warn(
            "`callbacks` take part in the searches and not in the final trainings. Give those that "
            "these need as `refit_kwargs={'callbacks': […]}`, or `{'callbacks': []}` for none.",
            stacklevel=2,
        )
    place = pathlib.Path(directory) / project_name
    outer, objective = [], ""
    for fold in range(outer_folds):
        tuner = make_tuner(directory=str(place), project_name=f"outer_{fold}")
        _check_tuner(tuner, place / f"outer_{fold}", groups, metric)
        if fold == 0:
            _begin(place, split.parts, given, fit_kwargs)
        chosen = split.parts != fold
        how = {"groups": _array(groups), "stratify": _array(stratify)}
        of_search = {
            name: value[chosen] if isinstance(value, np.ndarray) else value
            for name, value in how.items()
            if tuner._glimr.settings.cv_folds is not None
        }
        outer_fold = _Outer(tuner, place, fold, splits.split(given, split, fold), seeds, metric)
        count = int(len(chosen) - chosen.sum())
        outer.append(outer_fold.run(count, of_search, fit_kwargs, dict(refit_kwargs or {})))
        objective = tuner.objective.name
    return NestedResult(objective, tuple(outer), split.parts)


def _array(given: Any) -> Any:
    return given if given is None or isinstance(given, str) else np.asarray(given)


def _begin(
    place: pathlib.Path, parts: np.ndarray, given: FitArguments, fit_kwargs: Mapping[str, Any]
) -> None:
    """Write down what there is to be split and how, or check that it is the same.

    Raises:
        ProjectError: If it is not.
    """
    described = {
        "version": _VERSION,
        "samples": len(parts),
        "assignment": _digest([parts.astype(np.int64)]),
        "inputs": _digest(_inputs(given.x)),
        "labels": _digest(map(_numpy, keras.tree.flatten(labels(given)))),
        "weights": _digest(map(_numpy, keras.tree.flatten(given.kwargs.get("sample_weight")))),
        "arguments": {
            name: _plain(value) for name, value in fit_kwargs.items() if name != "verbose"
        },
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
            f"{place} has a nested cross validation with other {' and '.join(other)}. Give another "
            f"`project_name`. Received: {described}. Found: {found}"
        )


def _inputs(x: Any) -> Iterator[np.ndarray]:
    """Yield arrays by which inputs are known again: some of the values of large ones."""
    leaves = [x.sizes, *x.bags] if isinstance(x, Bags) else samples.leaves(x)
    for leaf in leaves:
        array = _numpy(leaf)
        yield np.array(array.shape)
        yield array.reshape(-1)[:: 1 + array.size // _MOST_DIGESTED]


def _plain(value: Any) -> Any:
    """Return an argument as JSON has it, of anything else its kind."""
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    is_plain = value is None or isinstance(value, bool | int | float | str)
    return value if is_plain else type(value).__name__


def _digest(arrays: Iterable[np.ndarray]) -> str:
    hashed = hashlib.sha256()
    for array in arrays:
        hashed.update(repr((array.shape, array.dtype.str)).encode())
        hashed.update(repr(array.tolist()).encode() if array.dtype.hasobject else array.tobytes())
    return hashed.hexdigest()


def _check_tuner(tuner: Any, place: pathlib.Path, groups: Any, metric: Metric | None) -> None:
    """Refuse a tuner that is not where it was to be, or whose searches cannot be scored."""
    found = pathlib.Path(tuner.project_dir).absolute()
    if found != place.absolute():
        raise ValueError(
            "`make_tuner(directory=…, project_name=…)` must pass both on to the tuner, so that "
            f"each outer fold has a project of its own. Expected: {place}. Received: {found}"
        )
    if groups is not None and tuner._glimr.settings.cv_folds is None:
        raise ValueError(
            "With `groups`, `make_tuner` must return a tuner with `cv_folds`, or a group would be "
            "both trained on and validated on. Received: cv_folds=None"
        )
    names = [part.name for part in tuner.objective.parts]
    of_validation = getattr(tuner.hypermodel, "logs_validation_only", False)
    if metric is None and not of_validation and not all(name.startswith("val_") for name in names):
        raise ValueError(
            "Nested cross validation needs an objective of validation data, such as "
            f"'val_accuracy', or `metric=`. Received: objective={names}"
        )


@dataclasses.dataclass(frozen=True)
class _Outer:
    """An outer fold that is searched, trained and scored.

    Attributes:
        tuner: Searches, in a project of its own.
        place: Of the nested cross validation.
        fold: Counted from 0.
        part: The data to search with, and as validation data what is not to be seen.
        seeds: The number of final models.
        metric: Scores them, in the place of the objective.
    """

    tuner: Any
    place: pathlib.Path
    fold: int
    part: FitArguments
    seeds: int
    metric: Metric | None

    def run(
        self,
        count: int,
        of_search: Mapping[str, Any],
        fit_kwargs: Mapping[str, Any],
        refit_kwargs: Mapping[str, Any],
    ) -> OuterFold:
        """Search, train and score, as far as that was not done before.

        Args:
            count: The number of samples that are not to be seen.
            of_search: How the search splits its data.
            fit_kwargs: Arguments of both.
            refit_kwargs: Those of the final training alone.
        """
        tuner, part = self.tuner, self.part
        file = self.place / f"outer_{self.fold}" / HIDDEN / _RESULT
        known = _read(file) if file.exists() else {}
        weight = {name: part.kwargs[name] for name in _OF_SAMPLES if name in part.kwargs}
        if not known or tuner.remaining_trials != 0:
            tuner.search(*part.args, **weight, **of_search, **fit_kwargs)
        trial = self._best()
        chosen = {"trial_id": trial.trial_id, "reported": trial.score, "seeds": self.seeds}
        epochs = trial.best_step + 1
        if known.items() >= chosen.items():
            score = known["score"]
        else:
            kwargs = {name: each for name, each in fit_kwargs.items() if name not in _OF_SEARCH}
            given = {**weight, **kwargs, **refit_kwargs}
            model = tuner.refit(*part.args, seeds=self.seeds, **given)
            score = self._scored(model, kwargs.get("batch_size"))
            files.write_json(file, {**chosen, "score": score}, is_forced=True)
        values = dict(trial.hyperparameters.values)
        reported = float(trial.score)
        return OuterFold(self.fold, reported, score, epochs, trial.trial_id, values, count)

    def _best(self) -> Any:
        """Return the best trial of the search.

        Raises:
            ProjectError: If none has a score.
        """
        trials = self.tuner.oracle.trials.values()
        if not any(trial.is_scored for trial in trials):
            failures = [trial.message for trial in trials if trial.message]
            raise ProjectError(
                f"In outer fold {self.fold}, no trial of the search has a score. Received: "
                f"{len(trials)} trials. The last failure: {[None, *failures][-1]}"
            )
        return self.tuner.oracle.get_best_trials(1)[0]

    def _scored(self, model: keras.Model, batch_size: int | None) -> float:
        """Return the score of a model on the samples that were not seen."""
        tuner = self.tuner
        member = model.models[0] if isinstance(model, Ensemble) else model
        config = tuner.get_best_hyperparameters(1)[0]
        part = adapted(config, member, self.part)
        x, y, weight = keras.utils.unpack_x_y_sample_weight(part.kwargs["validation_data"])
        if isinstance(x, Bags):
            x, y, weight = x.replace(pad_to="largest"), x.y, x.sample_weight
        predicted = model.predict(x, batch_size=batch_size, verbose=0)
        if self.metric is not None:
            return float(self.metric(_mapped(y), predicted))
        metric = CompiledMetric(member, tuner.objective, tuner.hypermodel, config)
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
