"""`Search`: glimr's class, a thin wrapper of `RayTuner`. Runs in the driver."""

from __future__ import annotations

import copy
import datetime
import io
import os
import pathlib
import pickle
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import glimr_keras
from glimr_keras._utils import files
from glimr_keras._utils.late_imports import WhenUsed, if_imported
from glimr_keras._utils.signatures import arguments_of, check_taken, needed_by
from glimr_keras.errors import ModelError, ProjectError, did_you_mean
from glimr_keras.glimr.former_names import FormerAttribute, warn_of_former_domains
from glimr_keras.models.hypermodel import HyperModel
from glimr_keras.models.tasks import SECTION, name_of
from glimr_keras.project.journal import HIDDEN
from glimr_keras.space.declared_space import DeclaredSpace
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.training.dry_run import DryRun
from glimr_keras.trials.objective import Objective
from glimr_keras.tuners.ray_tuner import RayTuner

if TYPE_CHECKING:
    from ray import tune

    from glimr_keras.glimr.result_grid import ProjectResultGrid
else:
    tune = WhenUsed("ray.tune")

_FILE = "search.pickle"
_FOLD_ARGUMENTS = ("cv_index", "cv_folds")


class Search:
    """Tune a model described by a space, a builder and a loader, with glimr's interface.

    Args:
        space: A nested dict of fixed values and `ray.tune` domains, with the sections `tasks`,
            `optimization` and `data`; see `keras_losses`, `keras_metrics` and `optimization_space`.
            It is never modified.
        builder: Function `builder(config)` that receives one configuration as nested dicts and
            returns `(model, losses, loss_weights, metrics)`.
        loader: Function `loader(**config["data"])` that returns `(train, validation)`. Each is
            valid as `x` of Keras' `fit`, or a tuple `(x, y)`, with labels in a dict by task.
        metric: The metric to optimise on the validation data, `"task_metric"` or `"task_loss"`.
            Defaults to `None`: the first metric of the first task.
        mode: `"max"` or `"min"`. Defaults to `"max"`.
        cv_folds: Number of folds for cross validation. Each configuration is trained once per fold,
            and `loader` also receives `cv_index`, the fold counted from 0, and `cv_folds`. Defaults
            to `None`: no cross validation.
        stopper: A `ray.tune.Stopper`. Defaults to `None`: `TrialPlateauStopper(metric)`.
        loader_kwargs: Additional arguments of the loader, which are not searched. Defaults to
            `None`.
        fit_kwargs: Arguments of Keras' `fit`. Defaults to `None`.
        seed: Random seed for the configurations that the search draws and the weights of each
            training. Defaults to `None`, as for `RayTuner`.

    Attributes:
        space, builder, loader, metric, mode, cv_folds, stopper, loader_kwargs, fit_kwargs, seed: As
            above.
        checkpoint_config, reporter, resources: The values that the setters set. They can also be
            set directly.
        failure_config: Its `max_failures` is the number of times a training is resumed after its
            process was lost.
        sync_config: Ray's sync configuration, for scripts that set it.
        tuner: The `RayTuner` of the last experiment, with its `get_best_models`,
            `results_dataframe` and so on.

    Raises:
        ValueError: If the space has no tasks, `mode` is invalid, or the loader does not accept the
            arguments it would receive, or needs more.

    Example:
        search = Search(space, builder, loader, metric="digit_accuracy")
        results = search.experiment("runs", "digits", num_samples=50)
        results.get_best_result().config
    """

    def __init__(
        self,
        space: Mapping[str, Any],
        builder: Callable[[dict[str, Any]], Any],
        loader: Callable[..., Any],
        metric: str | None = None,
        mode: str = "max",
        cv_folds: int | None = None,
        stopper: tune.Stopper | None = None,
        loader_kwargs: Mapping[str, Any] | None = None,
        fit_kwargs: Mapping[str, Any] | None = None,
        seed: int | None = None,
    ) -> None:
        from ray.tune.stopper import TrialPlateauStopper

        if mode not in ("min", "max"):
            raise ValueError(f"`mode` must be 'min' or 'max'. Received: mode={mode!r}")
        if (
            not isinstance(space, Mapping)
            or not isinstance(space.get(SECTION), Mapping)
            or not space[SECTION]
        ):
            raise ValueError(
                "`space` must have 'tasks', a dict with a dict for each task. Received: "
                f"{list(space)}"
            )
        for name, function in (("builder", builder), ("loader", loader)):
            if not callable(function):
                raise TypeError(f"`{name}` must be a function. Received: {name}={function!r}")
        warn_of_former_domains(space)
        if stopper is not None and not isinstance(stopper, tune.Stopper):
            raise ValueError(f"`stopper` must be a ray.tune.Stopper. Received: stopper={stopper!r}")
        self.space, self.builder, self.loader = space, builder, loader
        self.metric = metric if metric is not None else _first_metric(space)
        self.mode, self.cv_folds, self.seed = mode, cv_folds, seed
        self.loader_kwargs, self.fit_kwargs = dict(loader_kwargs or {}), dict(fit_kwargs or {})
        self._check_loader()
        self.stopper = (
            stopper if stopper is not None else TrialPlateauStopper(metric=self.metric, mode=None)
        )
        self.reporter: tune.ProgressReporter | None = None
        self.failure_config, self.sync_config = (
            tune.FailureConfig(max_failures=5),
            tune.SyncConfig(),
        )
        self.tuner: _ExperimentTuner | None = None
        self.set_checkpoints()
        self.set_resources()

    trainable = FormerAttribute("`try_configuration(config)` builds and trains one configuration.")
    set_scaling = FormerAttribute("Use `set_resources({'CPU': 1, 'GPU': 0})`.")
    scaling_config = FormerAttribute("Use `resources = {'CPU': 1, 'GPU': 0}`.")

    def set_checkpoints(
        self,
        metric: str | None = None,
        mode: str | None = None,
        num_to_keep: int = 1,
        **kwargs: Any,
    ) -> None:
        """Set which weights are kept: those of each training's best epoch by the objective.

        Args:
            metric, mode: Metric and direction. Others than those of the search are ignored with a
                warning. Defaults to `None`: those of the search.
            num_to_keep: Number of epochs whose weights are kept. Values other than 1 are ignored
                with a warning. Defaults to `1`.
            **kwargs: Other arguments of `ray.tune.CheckpointConfig`.
        """
        metric, mode = metric or self.metric, mode or self.mode
        if (metric, mode) != (self.metric, self.mode) or num_to_keep != 1:
            warnings.warn(
                "The weights of one epoch are kept of each training, the best by "
                f"{self.metric!r} ({self.mode}). Received: metric={metric!r}, mode={mode!r}, "
                f"num_to_keep={num_to_keep!r}",
                stacklevel=2,
            )
        self.checkpoint_config = tune.CheckpointConfig(
            num_to_keep=1,
            checkpoint_score_attribute=self.metric,
            checkpoint_score_order=self.mode,
            **kwargs,
        )

    def set_reporter(
        self,
        metrics: Sequence[str] | None = None,
        parameters: Mapping[str, str] | Sequence[str] | None = None,
        jupyter: bool = False,
        sort_by_metric: bool = True,
        max_report_frequency: int = 30,
        **kwargs: Any,
    ) -> None:
        """Show Ray's table while an experiment runs, instead of the live line.

        Args:
            metrics: Metrics to show as columns. Defaults to `None`: the metrics and the loss of
                every task.
            parameters: Hyperparameters to show as columns: full names, or a dict from full name to
                column name. Defaults to `None`: method and learning rate of the optimization.
            jupyter: Whether to update the table in place in a notebook, rather than print it again.
                Defaults to `False`.
            sort_by_metric: Whether to sort trials by the objective. Defaults to `True`.
            max_report_frequency: Minimum time between two tables, in seconds. Defaults to `30`.
            **kwargs: Other arguments of `ray.tune.CLIReporter` or
                `ray.tune.JupyterNotebookReporter`.
        """
        if metrics is None:
            tasks = self.space[SECTION].items()
            metrics = [
                f"{task}_{name}"
                for task, section in tasks
                if section is not None
                for name in [*_metric_names(section), "loss"]
            ]
        if parameters is None:
            parameters = {
                "optimization/method": "method",
                "optimization/learning_rate": "learning rate",
            }
        kind = tune.JupyterNotebookReporter if jupyter else tune.CLIReporter
        self.reporter = kind(
            metric_columns=list(metrics),
            parameter_columns=dict(parameters)
            if isinstance(parameters, Mapping)
            else list(parameters),
            metric=self.metric,
            mode=self.mode,
            sort_by_metric=sort_by_metric,
            max_report_frequency=max_report_frequency,
            **{
                "print_intermediate_tables": True,
                **kwargs,
            },  # otherwise it depends on earlier searches
        )

    def set_resources(self, resources: Mapping[str, float] | None = None) -> None:
        """Set the resources of one training.

        Args:
            resources: Amounts by name, such as `{"CPU": 2, "GPU": 0.5}`. Defaults to `None`: one
                GPU and an equal share of the CPUs if there are GPUs, otherwise one CPU.
        """
        self.resources = None if resources is None else dict(resources)

    def experiment(
        self,
        local_dir: str | os.PathLike[str],
        name: str | None = None,
        num_samples: int = 100,
        max_concurrent_trials: int = 8,
        scheduler: tune.schedulers.TrialScheduler | None = None,
        search_alg: tune.search.Searcher | None = None,
        **kwargs: Any,
    ) -> ProjectResultGrid:
        """Run trials until the experiment has `num_samples` configurations.

        An existing experiment is continued.

        Args:
            local_dir: Parent directory of experiments.
            name: Name of the experiment's own directory in `local_dir`. Defaults to `None`: the
                date and time.
            num_samples: Number of configurations. Defaults to `100`.
            max_concurrent_trials: Maximum number of trainings at once. Defaults to `8`.
            scheduler: A scheduler from `ray.tune.schedulers`. Defaults to `None`:
                `AsyncHyperBandScheduler`, which stops bad trainings after 10 epochs at the
                earliest.
            search_alg: A searcher from `ray.tune.search`. Defaults to `None`: random search.
            **kwargs: Other arguments of `RayTuner`, such as `initial_points` or `time_budget_s`.

        Returns:
            A `ray.tune.ResultGrid` with one result per training. Metrics are named `task_metric`
            and `task_loss`.

        Raises:
            ValueError, TypeError: As for `RayTuner` and its `search`.
        """
        from glimr_keras.glimr.result_grid import ProjectResultGrid

        name = name if name is not None else f"{datetime.datetime.now():%Y_%m_%d_%H_%M_%S}"
        settings: dict[str, Any] = {
            "num_samples": num_samples,
            "max_concurrent_trials": max_concurrent_trials,
            "scheduler": copy.deepcopy(scheduler),
            "search_alg": copy.deepcopy(search_alg),
            **kwargs,
        }
        self.tuner = self._tuner(local_dir, name, **settings)
        self.tuner.remembered = self._remembered(settings)
        self.tuner.search(**self.fit_kwargs)
        return ProjectResultGrid(self.tuner._glimr.place, self.tuner._glimr.space)

    def try_configuration(
        self, config: Mapping[str, Any] | None = None, batches: int | None = None
    ) -> DryRun:
        """Build one configuration and train it for an epoch in this process, to find mistakes.

        Args:
            config: A configuration, for example from `sample_space`. Missing values take their
                defaults. Defaults to `None`: the default configuration.
            batches: Train on only this many batches. Defaults to `None`: a whole epoch.

        Returns:
            The same object as `RayTuner.try_configuration`.
        """
        tuner = self._tuner(
            ".", None, num_samples=1, max_concurrent_trials=1, scheduler=None, search_alg=None
        )
        return tuner.try_configuration(config, batches=batches, **self.fit_kwargs)

    @classmethod
    def restore(
        cls, local_dir: str | os.PathLike[str], name: str | None = None
    ) -> ProjectResultGrid:
        """Continue an interrupted experiment with its original settings.

        The space, builder and loader are read from a pickle in the experiment's directory, which
        can execute code: restore only experiments that you trust. To continue one without the
        pickle, call `experiment` with its directory and name.

        Args:
            local_dir: Parent directory of experiments; without `name`, the experiment's own
                directory.
            name: Name of the experiment's own directory in `local_dir`. Defaults to `None`.

        Returns:
            The same results as `experiment`.

        Raises:
            ProjectError: If there is no experiment.
        """
        directory = pathlib.Path(local_dir) if name is None else pathlib.Path(local_dir) / name
        file = directory.absolute() / HIDDEN / _FILE
        if not file.exists():
            raise ProjectError(
                f"There is no experiment of Search to restore in {directory.absolute()}."
            )
        search, settings = _Unpickler(io.BytesIO(file.read_bytes())).load()
        results: ProjectResultGrid = search.experiment(
            directory.absolute().parent, directory.absolute().name, **settings
        )
        return results

    def _tuner(
        self,
        local_dir: str | os.PathLike[str],
        name: str | None,
        num_samples: int,
        max_concurrent_trials: int,
        scheduler: tune.schedulers.TrialScheduler | None,
        search_alg: tune.search.Searcher | None,
        **kwargs: Any,
    ) -> _ExperimentTuner:
        return _ExperimentTuner(
            _Built(self.builder, self.loader, self.loader_kwargs),
            Objective(self.metric, self.mode),
            max_trials=num_samples,
            cv_folds=self.cv_folds,
            directory=local_dir,
            project_name=name,
            max_concurrent_trials=max_concurrent_trials,
            resources_per_trial=self.resources,
            scheduler=scheduler if scheduler is not None else self._default_scheduler(),
            search_alg=search_alg,
            space=self.space,
            stopper=self.stopper,
            reporter=self.reporter,
            seed=self.seed,
            **{"max_failures": self.failure_config.max_failures, **kwargs},
        )

    def _default_scheduler(self) -> tune.schedulers.TrialScheduler:
        longest = max(1, self._most_epochs())
        return tune.schedulers.AsyncHyperBandScheduler(
            "training_iteration", max_t=longest, grace_period=min(10, longest)
        )

    def _most_epochs(self) -> int:
        """Return the maximum number of epochs of a configuration, for the scheduler."""
        epochs = self.fit_kwargs.get(
            "epochs", (self.space.get("optimization") or {}).get("epochs", 100)
        )
        if isinstance(epochs, if_imported("ray.tune.search.sample", "Domain")):
            whole = DeclaredSpace({"epochs": epochs}).parameters
            epochs = max(parameter.prob_to_value(1 - 1e-12) for parameter in whole)
        return int(epochs)

    def _remembered(self, settings: dict[str, Any]) -> bytes:
        """Return what `restore` needs."""
        from ray import cloudpickle

        remembered = copy.copy(self)
        remembered.tuner = None
        return cloudpickle.dumps((remembered, settings))

    def _check_loader(self) -> None:
        taken = arguments_of(self.loader)
        section = self.space.get("data") or {}
        check_taken([*section, *self.loader_kwargs], taken, "the loader")
        missing = [name for name in _FOLD_ARGUMENTS if taken is not None and name not in taken]
        if self.cv_folds is not None and missing:
            raise ValueError(
                "With `cv_folds`, the loader must take "
                f"{' and '.join(map(repr, _FOLD_ARGUMENTS))}: the number of the fold, from 0, "
                f"and how many there are. Received: loader={self.loader!r} without "
                f"{', '.join(map(repr, missing))}"
            )
        self._check_given(section)

    def _check_given(self, section: Mapping[str, Any]) -> None:
        """Raise an error if the loader needs an argument that nothing provides."""
        folds = () if self.cv_folds is None else _FOLD_ARGUMENTS
        given = {*section, *self.loader_kwargs, *folds}
        missing = [name for name in needed_by(self.loader) if name not in given]
        if not missing:
            return
        hints = "".join(did_you_mean(name, given) for name in missing)
        if set(missing) & set(_FOLD_ARGUMENTS):
            hints += " Give `cv_folds=`, with which the loader gets them."
        raise ValueError(
            f"The loader needs {', '.join(map(repr, missing))}, which nothing gives it.{hints} Its "
            f"arguments come from `space['data']`, which has {_listed(section)}, and "
            f"`loader_kwargs`, which has {_listed(self.loader_kwargs)}; with `cv_folds`, it also "
            f"gets {' and '.join(map(repr, _FOLD_ARGUMENTS))}. Received: loader={self.loader!r}"
        )


class _Unpickler(pickle.Unpickler):
    """Read what cloudpickle wrote, even if a public name has moved to another module since."""

    def find_class(self, module: str, name: str) -> Any:
        """Return an object by module and name; a public name is found wherever it is now."""
        try:
            return super().find_class(module, name)
        except (ModuleNotFoundError, AttributeError):
            ours = module.partition(".")[0] == glimr_keras.__name__
            if not ours or name not in glimr_keras.__all__:
                raise
            return getattr(glimr_keras, name)


class _ExperimentTuner(RayTuner):
    """A tuner that stores in its project what only `Search.restore` reads."""

    remembered: bytes

    def on_search_begin(self) -> None:
        files.write_whole(self._glimr.place / HIDDEN / _FILE, self.remembered)


class _Built(HyperModel):
    """A builder and a loader as a `HyperModel`."""

    logs_validation_only = True

    def __init__(
        self,
        builder: Callable[[dict[str, Any]], Any],
        loader: Callable[..., Any],
        kwargs: dict[str, Any],
    ) -> None:
        self.builder, self.loader, self.kwargs = builder, loader, kwargs

    def build(self, config: HyperParameters) -> Any:
        """Return the builder's return value."""
        built = self.builder(dict(config.declared))
        if not isinstance(built, tuple):
            raise ModelError(
                "The builder must return (model, losses, loss_weights, metrics). Received: "
                f"{built!r}"
            )
        return built

    def data(self, config: HyperParameters) -> tuple[Any, Any]:
        """Return the loader's return value."""
        folds = (
            {}
            if config.num_folds is None
            else dict(zip(_FOLD_ARGUMENTS, (config.fold, config.num_folds), strict=True))
        )
        train, validation = self.loader(**self.kwargs, **config.declared.get("data", {}), **folds)
        return train, validation


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, sorted(names))) or "nothing"


def _metric_names(task: Any) -> list[str]:
    """Return the names of a task's metrics, as far as the space has them."""
    described = task.get("metrics", []) if isinstance(task, Mapping) else []
    metrics = described if isinstance(described, (list, tuple)) else [described]
    return [name for name in map(name_of, metrics) if isinstance(name, str)]


def _first_metric(space: Mapping[str, Any]) -> str:
    of_tasks = ((task, section) for task, section in space[SECTION].items() if section is not None)
    task, section = next(of_tasks, ("", None))
    names = _metric_names(section)
    if not names:
        raise ValueError(
            f"`metric` must be given, since the first metric of task {task!r} has no name in the "
            f"space. Received: metric=None, space['tasks'][{task!r}]={section!r}"
        )
    return f"{task}_{names[0]}"
