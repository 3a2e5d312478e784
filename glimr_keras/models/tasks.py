"""Tasks in a search space, with losses, weights and metrics: glimr's `tasks` section.

Keras; runs in the worker.

A task is one prediction of a model. Its name is the name of the model's output and of the label.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras

from glimr_keras._utils.signatures import arguments_of, check_taken
from glimr_keras.errors import ModelError, did_you_mean
from glimr_keras.models.optimizers import keras_optimizer

SECTION = "tasks"
_OPTIMIZATION = "optimization"
_NAMED_BY_KERAS = ("accuracy", "acc", "crossentropy", "ce")
"""Metrics that Keras chooses by the shapes of labels and outputs, and names itself."""


def keras_losses(config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, float]]:
    """Return the losses and loss weights of a configuration's tasks, for `model.compile`.

    Args:
        config: A configuration with `config["tasks"][task]["loss"]` and `["loss_weight"]` for each
            task. A loss is a class, an instance, a function `(y_true, y_pred, **kwargs)`, the name
            of a loss of Keras or a registered one, or a dict `{"name": name, "loss": any of these,
            "kwargs": {…}}`. Without `"loss"`, the name identifies it. A task that is `None` names
            an output without a loss.

    Returns:
        Losses and weights by task; `None` and 0 for an output without a loss.

    Raises:
        ValueError: If a task has no loss or weight, if there is no such loss, or if it does not
            take its kwargs.
        TypeError: If an entry is not a loss.
    """
    losses: dict[str, Any] = {}
    weights: dict[str, float] = {}
    for name, task in _tasks(config).items():
        if task is None:
            losses[name], weights[name] = None, 0.0
            continue
        losses[name] = _loss(f"the loss of task {name!r}", _of(task, name, "loss"))
        weights[name] = _weight(name, _of(task, name, "loss_weight"))
    return losses, weights


def keras_metrics(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metrics of a configuration's tasks, for `model.compile`.

    Args:
        config: A configuration with `config["tasks"][task]["metrics"]` for each task, one or a
            list. A metric is a class, an instance, or the name of a metric of Keras or a registered
            one. It may also be a function `(y_true, y_pred, **kwargs)`, whose mean is taken, or a
            dict `{"name": name, "metric": any of these, "kwargs": {…}}`. Without `"metric"`, the
            name identifies it.

    Returns:
        A list of metrics by task. Those with a `"name"` are named so.

    Raises:
        ValueError: If a task has no metric or two with the same name. Also if there is no such
            metric, or it does not take its kwargs.
        TypeError: If an entry is not a metric.
    """
    metrics = {}
    for name, task in _tasks(config).items():
        if task is None:
            continue
        described = _of(task, name, "metrics")
        described = list(described) if isinstance(described, (list, tuple)) else [described]
        if not described:
            raise ValueError(
                f"Task {name!r} needs at least one metric. Received: metrics={described!r}"
            )
        metrics[name] = [_metric(f"a metric of task {name!r}", each) for each in described]
        names = [each if isinstance(each, str) else each.name for each in metrics[name]]
        if len(set(names)) < len(names):
            raise ValueError(
                f"The metrics of task {name!r} must have different names. Received: {names}"
            )
    return metrics


def compile_tasks(
    model: Any,
    config: Mapping[str, Any],
    losses: Any = None,
    loss_weights: Any = None,
    metrics: Any = None,
) -> None:
    """Compile a model for the tasks and the optimizer of a configuration.

    The optimizer is the one that the `optimization` section describes.

    Args:
        model: A model with one output for each task, with the task's name (or in a dict with it as
            the key); a single output may have any name. An output that is not a task has the loss
            `None` under its name.
        config: The configuration.
        losses, loss_weights, metrics: By task. Defaults to `None`, which means those in
            `config["tasks"]`.

    Raises:
        ModelError: If the names of tasks and outputs differ.
    """
    if losses is None:
        losses, loss_weights = keras_losses(config)
    if metrics is None and SECTION in config:
        metrics = keras_metrics(config)
    bare = names_of_none(losses)
    for what, given in (("losses", losses), ("loss weights", loss_weights), ("metrics", metrics)):
        if isinstance(given, Mapping):
            _check_outputs(model, given, what, bare)
    if bare and isinstance(loss_weights, Mapping):
        loss_weights = {**dict.fromkeys(bare, 0.0), **loss_weights}
    if not bare and takes_bare_labels(model):
        losses, loss_weights, metrics = (_only(given) for given in (losses, loss_weights, metrics))
        loss_weights = None if loss_weights is None else [loss_weights]
    model.compile(
        keras_optimizer(config[_OPTIMIZATION]), losses, loss_weights=loss_weights, metrics=metrics
    )


def can_compile(config: Mapping[str, Any]) -> bool:
    """Return whether a configuration describes how to compile a model."""
    return SECTION in config and _OPTIMIZATION in config


def epochs_of(config: Mapping[str, Any]) -> int | None:
    """Return the epochs in the `optimization` section, or `None`."""
    section = config.get(_OPTIMIZATION, None)
    return section.get("epochs") if isinstance(section, Mapping) else None


def task_names(config: Mapping[str, Any]) -> list[str]:
    """Return the names of a configuration's tasks; empty without such a section."""
    section = config.get(SECTION, None)
    if not isinstance(section, Mapping):
        return []
    return [name for name, task in section.items() if task is not None]


def check_labels(tasks: Iterable[str], labels: Any, bare: Iterable[str] = ()) -> None:
    """Reject labels whose names differ from the tasks' names.

    Args:
        tasks: The names of the tasks.
        labels: The labels; only those in a dict have names.
        bare: Names of outputs that are not tasks, and may be among the labels. Defaults to `()`.

    Raises:
        ModelError: If they are in a dict with other keys.
    """
    names = set(tasks)
    if names and isinstance(labels, Mapping) and set(labels) - set(bare) != names:
        raise ModelError(
            f"The labels do not match the tasks. Without labels: {_listed(names - set(labels))}; "
            f"labels without a task: {_listed(set(labels) - names - set(bare))}. The data has the "
            f"labels {_listed(labels)}, the space the tasks {_listed(names)}."
        )


def takes_bare_labels(model: Any) -> bool:
    """Return whether Keras takes a single label without its name.

    It does if the model has one output or does not declare its outputs, like a `Sequential` or
    subclassed model. With the name, Keras may reject it.
    """
    names = _output_names(model)
    return (names is None or len(names) == 1) and not outputs_without_task(model)


def outputs_without_task(model: Any) -> list[str]:
    """Return the names of outputs that a model is compiled without a loss for.

    They have `None` in a dict of losses.
    """
    return names_of_none(_compiled_losses(model))


def outputs_with_loss(model: Any) -> list[str]:
    """Return the names of the other outputs, if losses are in a dict."""
    losses = _compiled_losses(model) or {}
    return [name for name, loss in losses.items() if loss is not None]


def _compiled_losses(model: Any) -> Mapping[str, Any] | None:
    compiled = getattr(getattr(model, "_compile_config", None), "config", None) or {}
    losses = compiled.get("loss")
    return losses if isinstance(losses, Mapping) else None


def names_of_none(losses: Any) -> list[str]:
    """Return the names of the losses in a dict that are `None`."""
    if not isinstance(losses, Mapping):
        return []
    return [name for name, loss in losses.items() if loss is None]


class TaskLogs(keras.callbacks.Callback):
    """Add names with the task's name to Keras' logs of a model with one output.

    Keras itself does so for several outputs. `accuracy` is also `task_accuracy`, and `val_loss`
    also `val_task_loss`. It comes before callbacks that read the logs.

    Args:
        tasks: The names of all tasks.
        of_validation: Whether names without `val_` mean values on validation data, as in glimr;
            values in training are then called `train_…`. Defaults to `False`.
    """

    def __init__(self, tasks: Iterable[str], of_validation: bool = False) -> None:
        super().__init__()
        self._tasks, self._of_validation = list(tasks), of_validation

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if logs is not None:
            logs.update(self.named(logs))

    def named(self, logs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the logs with the added names."""
        named = dict(logs)
        if len(self._tasks) == 1:
            task = self._tasks[0]
            for name, value in logs.items():
                validation, bare = ("val_", name[4:]) if name.startswith("val_") else ("", name)
                if not bare.startswith(f"{task}_"):
                    named[f"{validation}{task}_{bare}"] = value
        if self._of_validation:
            for name, value in list(named.items()):
                if f"val_{name}" in named:
                    named[f"train_{name}"], named[name] = value, named[f"val_{name}"]
        return named


def _tasks(config: Mapping[str, Any]) -> Mapping[str, Any]:
    tasks = config.get(SECTION, None)
    if not isinstance(tasks, Mapping) or not tasks:
        raise ValueError(
            "A configuration needs 'tasks', a dict with a dict for each task. Received: "
            f"tasks={tasks!r}"
        )
    return tasks


def _of(task: Any, name: str, key: str) -> Any:
    if not isinstance(task, Mapping) or key not in task:
        received = sorted(task) if isinstance(task, Mapping) else task
        raise ValueError(
            f"Task {name!r} needs {key!r}: give {{'loss': …, 'loss_weight': 1.0, 'metrics': …}}. "
            f"Received: {received}"
        )
    return task[key]


def _weight(task: str, weight: Any) -> float:
    if isinstance(weight, (list, tuple)) and len(weight) == 1:
        weight = weight[0]
    if isinstance(weight, bool) or not isinstance(weight, (int, float)):
        raise TypeError(f"The loss weight of task {task!r} must be a number. Received: {weight!r}")
    return float(weight)


def _loss(whose: str, described: Any) -> Any:
    name, loss, kwargs = _parts(whose, "loss", described)
    kind = _resolved(whose, loss, keras.losses)
    if isinstance(kind, keras.losses.Loss):
        _check_no_kwargs(whose, kwargs)
        return kind
    if inspect.isclass(kind):
        return _made(whose, kind, kwargs, keras.losses.Loss)
    return _with_kwargs(whose, kind, kwargs, name)


def _metric(whose: str, described: Any) -> Any:
    name, metric, kwargs = _parts(whose, "metric", described)
    if metric in _NAMED_BY_KERAS:
        if name not in (None, metric):
            raise ValueError(
                f"{_begin(whose)}: Keras chooses what {metric!r} is and names it itself, so it "
                f"cannot be called {name!r}. Give the class, such as "
                "keras.metrics.CategoricalAccuracy."
            )
        return metric
    name = name_of(described)
    kind = _resolved(whose, metric, keras.metrics)
    if isinstance(
        kind, keras.metrics.Metric
    ):  # a separate one for each model, since it holds state
        _check_no_kwargs(whose, kwargs)
        return type(kind).from_config(kind.get_config() | ({} if name is None else {"name": name}))
    if inspect.isclass(kind):
        return _made(
            whose, kind, kwargs if name is None else {**kwargs, "name": name}, keras.metrics.Metric
        )
    function = _with_kwargs(whose, kind, kwargs, name)
    return keras.metrics.MeanMetricWrapper(function, name=name or function.__name__)


def name_of(described: Any) -> str | None:
    """Return the name of a metric as far as its description contains it.

    This is the given name, or Keras' name of a function.
    """
    if isinstance(described, Mapping):
        return described.get("name")
    return (
        described
        if isinstance(described, str)
        and not inspect.isclass(getattr(keras.metrics, described, None))
        else None
    )


def _parts(whose: str, key: str, described: Any) -> tuple[str | None, Any, dict[str, Any]]:
    """Return the name, the loss or metric, and its keyword arguments."""
    if not isinstance(described, Mapping):
        return None, described, {}
    unknown = set(described) - {"name", key, "kwargs"}
    if unknown or not {"name", key} & set(described):
        raise ValueError(
            f"{_begin(whose)} must be a dict with 'name', {key!r} and 'kwargs'. Received: "
            f"{sorted(described)}"
        )
    return (
        described.get("name"),
        described.get(key, described.get("name")),
        dict(described.get("kwargs") or {}),
    )


def _resolved(whose: str, described: Any, module: Any) -> Any:
    """Return a class, an instance or a function."""
    if not isinstance(described, str):
        if callable(described):
            return described
        kind = module.__name__.rpartition(".")[2]
        raise TypeError(
            f"{_begin(whose)} must be a class, an instance, a function or a name of "
            f"`keras.{kind}`. Received: {described!r}"
        )
    found = getattr(module, described, None) or keras.saving.get_registered_object(described)
    if found is None:
        try:
            found = module.get(described)  # also knows abbreviations and names in snake case
        except (ValueError, TypeError):
            known = [name for name in dir(module) if callable(getattr(module, name))]
            hint = did_you_mean(described, known)
            raise ValueError(
                f"{_begin(whose)}: Keras has nothing called {described!r}, and nothing of this "
                f"name is registered.{hint}"
            ) from None
        found = found if inspect.isroutine(found) else type(found)
    return found


def _made(whose: str, kind: type, kwargs: dict[str, Any], base: type) -> Any:
    if not issubclass(kind, base):
        raise TypeError(
            f"{_begin(whose)} must be a subclass of {base.__name__}. Received: {kind!r}"
        )
    check_taken(kwargs, arguments_of(kind), f"{whose}, {kind.__name__}")
    return kind(**kwargs)


def _with_kwargs(
    whose: str, function: Callable[..., Any], kwargs: dict[str, Any], name: str | None
) -> Callable[..., Any]:
    """Return the function with its keyword arguments bound, under its own name or `name`."""
    own = getattr(function, "__name__", type(function).__name__)
    check_taken(kwargs, arguments_of(function), f"{whose}, {own}")
    if not kwargs and hasattr(function, "__name__"):
        return function

    def with_kwargs(y_true: Any, y_pred: Any) -> Any:
        return function(y_true, y_pred, **kwargs)

    with_kwargs.__name__ = name or own
    return with_kwargs


def _check_no_kwargs(whose: str, kwargs: dict[str, Any]) -> None:
    if kwargs:
        raise ValueError(
            f"{_begin(whose)} is an instance already; give its class for kwargs. Received: "
            f"kwargs={kwargs}"
        )


def _check_outputs(model: Any, given: Mapping[str, Any], what: str, bare: Iterable[str]) -> None:
    names = _output_names(model)
    if names is None or (len(names) == 1 and len(given) == 1):
        return
    known = {*given, *bare}
    if known != set(names):
        without = sorted(set(names) - known)
        hint = (
            f" An output that is no task, such as attention weights, has `None` among the tasks "
            f"or losses: {{{without[0]!r}: None}}."
            if without
            else ""
        )
        raise ModelError(
            f"The {what} do not match the model's outputs. Outputs without a task: "
            f"{_listed(without)}; tasks without an output: "
            f"{_listed(known - set(names))}. The model has the outputs {_listed(names)}, "
            f"the tasks are {_listed(known - set(bare))}: name the layers that make the outputs "
            f"like the tasks, or return the outputs in a dict.{hint}"
        )


def _output_names(model: Any) -> list[str] | None:
    """Return the names of a functional model's outputs; `None` for other models."""
    names = getattr(model, "output_names", None)
    if names is None:
        return None
    return list(model.output if isinstance(model.output, dict) else names)


def _only(given: Any) -> Any:
    return next(iter(given.values())) if isinstance(given, Mapping) and len(given) == 1 else given


def _begin(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, sorted(names))) or "none"
