"""The importance of hyperparameters, and the choice of those that a figure shows. Uses Optuna; runs
anywhere.
"""

from __future__ import annotations

import copy
import dataclasses
import html
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from glimr_keras.errors import did_you_mean
from glimr_keras.project.journal import Project
from glimr_keras.results.sources import Source
from glimr_keras.results.study import to_study
from glimr_keras.trials.execution import TrialStatus
from glimr_keras.trials.objective import Goal, Objective
from glimr_keras.visualization import backends, style
from glimr_keras.visualization.dimensions import Dimension, all_dimensions, is_of
from glimr_keras.visualization.picture import Axis, Bars, Panel, Picture
from glimr_keras.visualization.scores import Scores, nothing, scores_of

if TYPE_CHECKING:
    import optuna
    from optuna.importance import BaseImportanceEvaluator

    from glimr_keras.visualization.backends import Drawing


def plot_param_importances(
    source: Source | Project,
    params: Sequence[str] | None = None,
    *,
    evaluator: BaseImportanceEvaluator | None = None,
    objective: Goal = None,
    backend: str = "matplotlib",
) -> Drawing:
    """Plot the importance of each hyperparameter for the score; the importances sum to 1.

    By default, Optuna's PED-ANOVA determines what distinguishes the best tenth of the trials
    (Watanabe et al., "PED-ANOVA", IJCAI 2023). It takes a second for thousands of trials. With few
    trials it is rough. Trials that a scheduler stopped count as worse than completed ones. To see
    which values are good, use `plot_slice`.

    From Optuna 5 on, PED-ANOVA supports hyperparameters that only some trials have. Other
    evaluators leave these out, unless `params` names them. Then only trials that have all of
    `params` count.

    Args:
        source: A tuner or the results that `open` returns, a project's directory or URI, or a
            table.
        params: The names of hyperparameters. Defaults to `None`, which means all that were varied.
        evaluator: An evaluator of `optuna.importance`. For example, `FanovaImportanceEvaluator()`
            explains the variance over all trials, but needs scikit-learn and takes longer. Defaults
            to `None`, which means PED-ANOVA.
        objective: The metric to use instead of the optimised objective, with its values at the
            epoch of the score. Defaults to `None`, which means the optimised objective.
        backend: `"matplotlib"` or `"plotly"`. Defaults to `"matplotlib"`.

    Returns:
        Matplotlib axes or a Plotly figure.

    Raises:
        ProjectError: If there is nothing to plot yet.
        ValueError: If there is no such hyperparameter or backend.
    """
    backends.check_backend(backend)
    scores = scores_of(source, objective)
    check_param_importances(scores)
    wanted = [each.name for each in chosen(scores, params)]
    is_all = params is not None or _knows_conditions(evaluator)
    names = wanted if is_all else _in_all_trials(scores, wanted)
    if not names:
        raise nothing(scores, "no hyperparameter is there in all trials, which this way needs")
    found = param_importances(scores, names, evaluator)
    count = int(_used(scores, names, evaluator).sum())
    left_out = [name for name in wanted if name not in names]
    return backends.drawn(_importances(scores, found, count, left_out), backend)


def check_param_importances(scores: Scores) -> None:
    """Check that the trials differ in their score and in a hyperparameter."""
    scores.needs_ended()
    if np.ptp(scores.values[scores.ended]) == 0:
        raise nothing(scores, "all trials have the same score, so nothing matters")
    varied(scores)


def param_importances(
    scores: Scores,
    names: Sequence[str] | None = None,
    evaluator: BaseImportanceEvaluator | None = None,
) -> dict[str, float]:
    """Return the importance of each hyperparameter, highest first; they sum to 1.

    Args:
        scores: The scores, of which at least two differ.
        names: The names of hyperparameters. An evaluator without support for conditions uses only
            the trials that have all of them. Defaults to `None`, which means all; for such an
            evaluator, those that all trials have.
        evaluator: The evaluator. Defaults to `None`, which means PED-ANOVA.

    Raises:
        ProjectError: If no trial has all of them.
    """
    from optuna import importance

    if names is None:
        names = list(all_dimensions(scores))
        names = names if _knows_conditions(evaluator) else _in_all_trials(scores, names)
    if not _used(scores, names, evaluator).any():
        raise nothing(scores, f"no trial has all of {', '.join(names)}, which this way needs")
    study, way = _study(scores), evaluator or importance.PedAnovaImportanceEvaluator()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about few trials; the figure shows their number
        found = importance.get_param_importances(study, evaluator=way, params=list(names))
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _knows_conditions(evaluator: BaseImportanceEvaluator | None) -> bool:
    """Return whether an evaluator also uses trials that lack some of the hyperparameters.

    PED-ANOVA does, from Optuna 5 on.
    """
    import optuna

    is_ped_anova = isinstance(
        evaluator, (type(None), optuna.importance.PedAnovaImportanceEvaluator)
    )
    return is_ped_anova and int(optuna.__version__.partition(".")[0]) >= 5


def _used(
    scores: Scores, names: Sequence[str], evaluator: BaseImportanceEvaluator | None
) -> np.ndarray:
    """Return which trials are used to judge hyperparameters. Shape (trials,), booleans."""
    if _knows_conditions(evaluator):
        return scores.ended
    known = all_dimensions(scores)
    return np.logical_and.reduce([scores.ended, *(known[name].is_there for name in names)])


def _in_all_trials(scores: Scores, names: Sequence[str]) -> list[str]:
    """Return the hyperparameters that all trials with a score have."""
    known = all_dimensions(scores)
    return [name for name in names if known[name].is_there[scores.ended].all()]


def _study(scores: Scores) -> optuna.Study:
    """Return a study of the plotted score, also if several objectives are combined in it.

    Stopped trials count with their score, but as no better than any completed trial.
    """
    one = Objective(scores.metric, "min" if scores.is_min else "max")
    worst = max(map(one.sort_key, scores.values[scores.completed]), default=-np.inf)
    trials = dict(scores.project.trials)
    for place in np.flatnonzero(scores.stopped):
        trial = copy.copy(scores.trials[place])
        cost = max(one.sort_key(trial.score), worst)
        trial.status, trial.score = TrialStatus.COMPLETED, float(cost if scores.is_min else -cost)
        trials[trial.trial_id] = trial
    return to_study(dataclasses.replace(scores.project, objective=one, trials=trials))


def varied(scores: Scores, at_least: int = 1) -> dict[str, Dimension]:
    """Return the hyperparameters with several values among the trials with a score, by name.

    Raises:
        ProjectError: If there are fewer than `at_least`.
    """
    known = all_dimensions(scores)
    found = {
        name: each
        for name, each in known.items()
        if len(np.unique(each.positions[each.is_there])) > 1
    }
    if len(found) < at_least:
        fewer = "no hyperparameter" if not found else f"only {', '.join(found)}"
        raise nothing(scores, f"{fewer} had several values in trials with a score")
    return found


def chosen(
    scores: Scores, params: Sequence[str] | None, most: int | None = None, at_least: int = 1
) -> list[Dimension]:
    """Return the hyperparameters that a figure shows.

    Args:
        scores: The scores of a project.
        params: The names. Defaults to `None`, which means all that were varied, in order of
            declaration.
        most: The maximum number of varied hyperparameters. If there are more, only the most
            important ones are returned, most important first. Defaults to `None`, which means no
            maximum.
        at_least: The number of hyperparameters that the figure needs. Defaults to `1`.

    Raises:
        ValueError: If one of `params` is unknown, or there are too few.
        ProjectError: If too few were varied.
    """
    if params is None:
        return _most_important(scores, varied(scores, at_least), most)
    known = all_dimensions(scores)
    names = [label for name in _names(params) for label in _labels(name, known)]
    if len(set(names)) < at_least:
        raise ValueError(
            f"`params` must name at least {at_least} hyperparameters. Received: params={params!r}"
        )
    return [known[name] for name in dict.fromkeys(names)]


def _most_important(
    scores: Scores, found: dict[str, Dimension], most: int | None
) -> list[Dimension]:
    if most is None or len(found) <= most:
        return list(found.values())
    order = list(found)
    if np.ptp(scores.values[scores.ended]) > 0:
        order = [name for name in param_importances(scores) if name in found]
        order += [name for name in found if name not in order]
    return [found[name] for name in order[:most]]


def _names(params: Any) -> list[str]:
    if isinstance(params, str):
        return [params]
    return list(params)


def _labels(name: str, known: dict[str, Dimension]) -> list[str]:
    found = [label for label in known if is_of(label, name)]
    if not found:
        names = [*known, *(label.partition(" (")[0] for label in known)]
        raise ValueError(
            f"`params` must name hyperparameters of trials with a score. Received: {name!r}."
            f"{did_you_mean(str(name), names)} There are: {', '.join(known) or 'none'}"
        )
    return found


def _importances(
    scores: Scores, found: dict[str, float], trials: int, left_out: Sequence[str]
) -> Picture:
    names, values = style.shortened_all(found, 32), list(found.values())
    count = len(found)
    bars = Bars(
        range(count),
        np.zeros(count),
        values,
        texts=[_part(value) for value in values],
        about=[html.escape(f"{name}: {value:.3f}") for name, value in found.items()],
    )
    metric = style.shortened(scores.metric, 40)
    label = f"importance for {metric} in {trials} trials (sum 1)"
    if left_out:
        label += f"\nwithout {style.shortened(', '.join(left_out), 60)}, which some trials lack"
    x = Axis(label, (0, max(values) * 1.12))
    ticks = list(enumerate(names))
    y = Axis("", (-0.6, count - 0.4), ticks, is_reversed=True, has_grid=False)
    title = scores.title("Hyperparameter importances")
    return Picture(title, [[Panel(x, y, [bars])]], height=max(3.0, 1.4 + 0.3 * count))


def _part(value: float) -> str:
    return "< 0.01" if value < 0.01 else f"{value:.2f}"
