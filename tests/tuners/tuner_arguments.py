"""Write the signatures of the tuners, and the `Args:` of their docstrings, from one table.

Run it from the root of the repository after you change the table:

    python -m tests.tuners.tuner_arguments

A test fails if the sources differ from the output of this script.
"""

import dataclasses
import pathlib
import re
import textwrap

TUNERS = pathlib.Path(__file__).parents[2] / "glimr_keras" / "tuners"
WIDTH = 100


@dataclasses.dataclass(frozen=True)
class Argument:
    """An argument of a tuner.

    Attributes:
        default: The default as written in a signature; `None` if the argument is required.
        text: The description in the docstring.
        is_common: Whether all tuners have it. Otherwise only those whose row of `KINDS` names it.
    """

    name: str
    annotation: str
    default: str | None
    text: str
    is_common: bool = True

    def signature(self) -> str:
        """Return the argument as written in a signature."""
        default = "" if self.default is None else f" = {self.default}"
        return f"{self.name}: {self.annotation}{default},"

    def described(self) -> str:
        """Return the argument as written in a docstring."""
        return "\n".join(
            textwrap.wrap(
                f"{self.name}: {self.text}",
                WIDTH,
                initial_indent=" " * 8,
                subsequent_indent=" " * 12,
                break_long_words=False,
                break_on_hyphens=False,
            )
        )


def own(name: str, annotation: str, default: str | None, text: str) -> Argument:
    """Return an argument that only some tuners have."""
    return Argument(name, annotation, default, text, is_common=False)


GROUPS = {
    "Search": (
        own(
            "oracle",
            "Oracle",
            None,
            "The search algorithm. Its own arguments set the objective, the number of trials and "
            "more.",
        ),
        Argument(
            "hypermodel",
            "Any",
            "None",
            "A `HyperModel`, or a function `build(config)` that returns a compiled Keras model. "
            "Defaults to `None`, which is for subclasses that override `run_trial`.",
        ),
        own(
            "objective",
            "Goal",
            "None",
            'The metric to optimise, such as `"val_accuracy"`, or an `Objective` with its '
            "direction. A list of several objectives searches for a Pareto front. Defaults to "
            "`None`: minimise the number that `fit` or `run` returns.",
        ),
        own(
            "num_initial_points",
            "int | None",
            "None",
            "Number of trials that fill the space evenly before the surrogate model is used. "
            "Defaults to `None`, which means 5; for Optuna's samplers, 10 random trials.",
        ),
        own(
            "sampler",
            "str | optuna.samplers.BaseSampler | None",
            "None",
            '`"gp"`, `"tpe"`, `"cmaes"`, `"nsga2"`, or a sampler from `optuna.samplers`. '
            'Defaults to `None`: `"gp"` for one objective, `"tpe"` for a list of objectives.',
        ),
        own(
            "alpha",
            "float | None",
            "None",
            "Ignored; it belongs to KerasTuner's Gaussian process. Defaults to `None`.",
        ),
        own(
            "beta",
            "float | None",
            "None",
            "Ignored; it belongs to KerasTuner's Gaussian process. Defaults to `None`.",
        ),
        own(
            "search_alg",
            "tune.search.Searcher | None",
            "None",
            "A new searcher from `ray.tune.search`, without a search space of its own. Its "
            "`points_to_evaluate` hold the hyperparameters' actual values. Defaults to `None`, "
            "which means random search.",
        ),
        Argument(
            "space",
            "Mapping[str, Any] | None",
            "None",
            "A declared search space: nested dicts with `ray.tune` domains. Defaults to `None`: "
            "the return value of `HyperModel.space()`.",
        ),
        own(
            "hyperparameters",
            "HyperParameters | None",
            "None",
            "Hyperparameters that override those of the same name that the model requests. "
            "Defaults to `None`: override nothing.",
        ),
        own(
            "tune_new_entries",
            "bool",
            "True",
            "Whether to search other hyperparameters that the model requests. If `False`, they "
            "keep their default values. Defaults to `True`.",
        ),
        own(
            "allow_new_entries",
            "bool",
            "True",
            "Whether the model may request other hyperparameters. If `False`, a request raises "
            "an error before any trial. Defaults to `True`.",
        ),
        Argument(
            "initial_points",
            "Sequence[Mapping[str, Any]] | None",
            "None",
            "Configurations to try first: dicts of values by name, flat or nested. Missing "
            "values are sampled. Defaults to `None`: no initial configurations.",
        ),
        Argument(
            "warm_start",
            "Sequence[str | os.PathLike[str] | Results]",
            "()",
            "Finished projects whose results the search learns from: directories or tuners, "
            "including projects of KerasTuner. Their trials do not count towards any budget. "
            "Defaults to `()`.",
        ),
        own(
            "scoring",
            "Callable[..., float] | None",
            "None",
            "A function called as `scoring(estimator, X, y, sample_weight=None)` with each "
            "held-out fold. Defaults to `None`: the estimator's own `score`.",
        ),
        own(
            "cv",
            "Any",
            "None",
            "A splitter from `sklearn.model_selection`. Defaults to `None`, which means "
            "`KFold(5, shuffle=True, random_state=1)`.",
        ),
        Argument(
            "cv_folds",
            "int | None",
            "None",
            "Number of folds for cross validation, at least 2. Each configuration is trained "
            "once per fold, in parallel where resources allow, and its score is the mean. Arrays "
            "passed to `search` are split; a `HyperModel` with `data` returns the data of fold "
            "`config.fold` of `config.num_folds`. Defaults to `None`: no cross validation.",
        ),
        Argument(
            "score_at",
            "ScoreAt | None",
            "None",
            'The epoch at which a training is scored. `"best"`: its own best epoch. `"common"`: '
            "one epoch for all trainings of a configuration, the one with the best mean among "
            'the epochs that all of them reached. `"last"`: its last epoch. Choosing the epoch '
            "separately for each fold, on the fold's validation data, makes scores too "
            "optimistic. The saved weights are always those of each training's own best epoch. A "
            'score that your own code returns is used unchanged. Defaults to `None`: `"common"` '
            'with `cv_folds`, otherwise `"best"`, as in KerasTuner.',
        ),
        Argument(
            "executions_per_trial",
            "int",
            "1",
            "Number of times each configuration is trained, at least 1. Its score is the mean. "
            "Defaults to `1`.",
        ),
        own(
            "seed",
            "int | None",
            "None",
            "Random seed, at least 0. It fixes the configurations that the search draws, and the "
            "weights and batches of each trial. Defaults to `None`: a seed derived from the "
            "state of Python's `random`, so calling `keras.utils.set_random_seed` first fixes it "
            "as well.",
        ),
    ),
    "Budget and stopping": (
        own(
            "max_trials",
            "int | None",
            "10",
            "Maximum number of configurations in the project, including failed ones; at least 1. "
            "`None` means as many as there are. Defaults to `10`.",
        ),
        own(
            "max_epochs",
            "int",
            "100",
            "Number of epochs of the longest training, at least 1. Defaults to `100`.",
        ),
        own(
            "factor",
            "int",
            "3",
            "Factor between rounds, at least 2. Each round divides the number of configurations "
            "by it and multiplies their epochs by it. Defaults to `3`.",
        ),
        own(
            "hyperband_iterations",
            "int | None",
            "1",
            "Number of times the whole algorithm runs; 0 or `None` means no limit. Defaults to "
            "`1`.",
        ),
        Argument(
            "max_trials_without_improvement",
            "int | None",
            "None",
            "Stop after this many consecutive trials without improvement, at least 1. Defaults "
            "to `None`: do not stop for lack of improvement.",
        ),
        Argument(
            "time_budget_s",
            "float | None",
            "None",
            "Wall-clock time limit of one call of `search`, in seconds, above 0. When it is "
            "reached, running trials are stopped. Defaults to `None`: no limit.",
        ),
        Argument(
            "trial_time_limit_s",
            "float | None",
            "None",
            "Wall-clock time limit of one training, in seconds, above 0. The training ends after "
            "the batch that reaches the limit and is scored at its best epoch. Without a "
            "completed epoch, its trial fails. If it hangs, its process is killed. Defaults to "
            "`None`: no limit.",
        ),
        Argument(
            "scheduler",
            "tune.schedulers.TrialScheduler | None",
            "None",
            "A scheduler from `ray.tune.schedulers` that stops trials early, such as "
            "`ASHAScheduler()`, or pauses them and changes their hyperparameters, such as "
            "`PopulationBasedTraining(…)`. Defaults to `None`: no scheduler.",
        ),
        Argument(
            "stopper",
            "tune.Stopper | None",
            "None",
            "A `ray.tune.Stopper`, called after each epoch of each trial. Defaults to `None`: no "
            "stopper.",
        ),
    ),
    "Resources": (
        Argument(
            "resources_per_trial",
            "Mapping[str, float] | None",
            "None",
            "CPUs (also the number of threads), GPUs (fractions allowed) and custom resources of "
            'one execution, by name: `{"cpu": 2, "gpu": 0.5}`. Without `gpu`, it gets no GPU. '
            "Over several GPUs, batches are distributed, unless `build` uses its own strategy. "
            "Defaults to `None`: one GPU and an equal share of the CPUs if there are GPUs, "
            "otherwise one CPU.",
        ),
        Argument(
            "trials_per_gpu",
            "TrialsPerGpu | None",
            "None",
            "Number of executions that share a GPU, from 1 to 100, or `'auto'` to determine it "
            "from measurements of the first ones. An execution that runs out of memory is "
            "retried alone. Each change of the share starts another run of Ray Tune, which "
            "callbacks see too. Defaults to `None`, which means one.",
        ),
        Argument(
            "max_concurrent_trials",
            "int | None",
            "None",
            "Maximum number of executions at once, at least 1. Defaults to `None`: as many as "
            "the machine has room for.",
        ),
        Argument(
            "executor",
            "ExecutorChoice",
            '"auto"',
            'Where trials run. `"ray"`: on Ray. `"inline"`: in this process, one at a time, so '
            'that breakpoints work. `"auto"`: in forks of this process, or on Ray if there is a '
            'GPU and for the rest of a long search. `"auto"` runs trials inline, and prints a '
            "line that says so, if their code keeps state from one to the next. Examples are "
            "`self.n += 1` and a growing global list. An `Executor` from `glimr_keras.executors` "
            "or a user-defined one also works. Defaults to `'auto'`.",
        ),
        Argument(
            "address",
            "str | None",
            "None",
            "Address of a Ray cluster to join, as for `ray.init`; ignored if this process is "
            "already connected to Ray. Defaults to `None`: `RAY_ADDRESS`, or the Ray that runs "
            "on this machine, or a new one.",
        ),
        Argument(
            "max_worker_memory",
            "int | None",
            "None",
            "Maximum private memory of a worker process, in bytes, at least 1; data in shared "
            "memory does not count. A worker above the limit is replaced after its trial has "
            "ended, so no trial is lost. Linux only. Defaults to `None`: no limit.",
        ),
        Argument(
            "reuse_graphs",
            "bool",
            "True",
            "Whether workers skip repeated work of Keras, with the same results. A model that "
            "equals an earlier one reuses its traced graphs, and arrays are read by input "
            "pipelines without autotuning. Defaults to `True`.",
        ),
        Argument(
            "max_model_size",
            "int | None",
            "None",
            "Maximum number of parameters of a model, at least 1. A trial with a larger model "
            "fails before training. Defaults to `None`: no limit.",
        ),
        Argument(
            "distribution_strategy",
            "Any",
            "None",
            "A `tf.distribute.Strategy` in whose scope models are built. Defaults to `None`: no "
            "strategy.",
        ),
    ),
    "Training": (
        Argument(
            "optimizer",
            "Any",
            "None",
            "Optimizer that replaces the one `build` compiled the model with. Defaults to "
            "`None`: the model's own.",
        ),
        Argument(
            "loss",
            "Any",
            "None",
            "Loss that replaces the one `build` compiled the model with. Defaults to `None`: the "
            "model's own.",
        ),
        Argument(
            "metrics",
            "Any",
            "None",
            "Metrics that replace the ones `build` compiled the model with. Defaults to `None`: "
            "the model's own.",
        ),
        Argument(
            "callbacks",
            "Sequence[keras.callbacks.Callback | tune.Callback] | None",
            "None",
            "Keras callbacks, which are copied into every trial, and `ray.tune.Callback`s, which "
            "run in this process. Defaults to `None`: no callbacks.",
        ),
    ),
    "Robustness": (
        Argument(
            "max_failures",
            "int",
            "3",
            "Number of times a training is resumed after its process was lost: killed, out of "
            "memory, or with its machine. After that, its trial fails. -1 means no limit. "
            "Defaults to `3`.",
        ),
        own(
            "max_retries_per_trial",
            "int",
            "0",
            "Number of times a failed training is restarted, at least 0. One that raised "
            "`FailedTrialError` is not restarted. Defaults to `0`.",
        ),
        own(
            "max_consecutive_failed_trials",
            "int",
            "3",
            "Stop the search after this many consecutive failed trials, at least 1. Defaults to "
            "`3`.",
        ),
        Argument(
            "state_interval_s",
            "float | None",
            "10.0",
            "Minimum time between two saved states of a training, in seconds. States are saved "
            "at the end of an epoch and kept until the training ends; an interrupted training "
            "resumes from the last one. 0 saves one after each epoch. With `None`, interrupted "
            "trainings restart from scratch. Defaults to `10.0`.",
        ),
        Argument(
            "retry_failed",
            "bool",
            "False",
            "Whether a search runs the project's failed trials again, under their ids. Defaults "
            "to `False`.",
        ),
    ),
    "Results": (
        Argument(
            "directory",
            "str | os.PathLike[str] | None",
            "None",
            'Parent directory of projects: a path, or a URI such as `"s3://bucket/runs"` that '
            "`pyarrow.fs` or fsspec supports. A project at a URI has a local working copy, which "
            "is uploaded every few seconds and at the end. It is in `GLIMR_KERAS_CACHE`, or else "
            "in the user's cache directory. Defaults to `None`: the working directory.",
        ),
        Argument(
            "project_name",
            "str | None",
            "None",
            "Name of the project's own directory in `directory`. Defaults to `None`, which means "
            "`untitled_project`.",
        ),
        Argument(
            "overwrite",
            "bool",
            "False",
            "Whether to start over and remove the project's earlier trials when the first search "
            "starts. Defaults to `False`.",
        ),
        Argument(
            "keep_top_k",
            "int | None",
            "None",
            "Keep the weights of this many best trials, at least 1. Defaults to `None`: keep the "
            "weights of all trials.",
        ),
        Argument(
            "keep_predictions",
            "bool",
            "False",
            "Whether to keep the predictions for validation samples. Defaults to `False`.",
        ),
        own(
            "persistence",
            "Persistence",
            '"joblib"',
            "Format in which the last fold's estimator is stored in the trial's directory. "
            '`"joblib"`: as `model.joblib`; like pickle, it may execute code when it is loaded. '
            '`"skops"`: as `model.skops`; safe to load, requires the package skops. The '
            "estimator is not stored in a project at a URI, or by workers that share no file "
            "system with the driver. Defaults to `'joblib'`.",
        ),
        own(
            "trusted",
            "Sequence[str]",
            "()",
            'Names of types, such as `"sklearn.tree._tree.Tree"`, that skops may load although '
            "it does not know them as safe. Defaults to `()`.",
        ),
        Argument(
            "reporter",
            "tune.ProgressReporter | None",
            "None",
            "A `ray.tune.ProgressReporter` that shows the search instead of the live line. "
            "Defaults to `None`: the live line.",
        ),
        Argument(
            "tuner_id",
            "str | None",
            "None",
            "Name of the file with the tuner's own state. Defaults to `None`, which means "
            "`tuner0`.",
        ),
        Argument(
            "logger",
            "Any",
            "None",
            "Ignored, as in current KerasTuner. Defaults to `None`.",
        ),
    ),
}
"""The arguments of all tuners, in the order of the docstrings."""

_SEARCH = (
    "seed hyperparameters tune_new_entries allow_new_entries max_retries_per_trial "
    "max_consecutive_failed_trials"
)
_ORACLE = own(
    "oracle",
    "Oracle",
    None,
    'The search algorithm, with the objective `Objective("score", "max")` or the name of one of '
    "the `metrics`.",
)
_ESTIMATOR = Argument(
    "hypermodel",
    "Any",
    None,
    "A `HyperModel` whose `build(hp)` returns an estimator or a pipeline, or a function that does.",
)
_METRICS = Argument(
    "metrics",
    "Callable[..., float] | Sequence[Callable[..., float]] | None",
    "None",
    "A metric or a list of metrics, called as `metric(y_true, y_pred, sample_weight=None)` and "
    "recorded under their `__name__`. Defaults to `None`: only the score.",
)
_WHOLE_GRID = own(
    "max_trials",
    "int | None",
    "None",
    "Maximum number of configurations in the project, including failed ones; at least 1. "
    "Defaults to `None`, which means the whole grid.",
)
_FURTHER = own(
    "max_trials",
    "int | None",
    "None",
    "A further limit: the maximum number of configurations in the project, at least 1. Defaults "
    "to `None`: as many as the algorithm requests.",
)


@dataclasses.dataclass(frozen=True)
class Kind:
    """A tuner.

    Attributes:
        module: The name of its module.
        positional: The arguments that may be passed by position, in KerasTuner's order.
        differing: Arguments that differ from the table.
    """

    module: str
    positional: str
    differing: tuple[Argument, ...] = ()

    def arguments(self) -> dict[str, list[Argument]]:
        """Return the arguments of this tuner by group, in the order of the docstrings."""
        differing = {each.name: each for each in self.differing}
        return {
            group: [
                differing.get(each.name, each)
                for each in arguments
                if each.is_common or each.name in self.positional.split()
            ]
            for group, arguments in GROUPS.items()
        }

    def signature(self) -> str:
        """Return the parameters of the constructor."""
        known = {each.name: each for group in self.arguments().values() for each in group}
        positional = [known.pop(name) for name in self.positional.split()]
        lines = [
            "self,",
            *(each.signature() for each in positional),
            "*,",
            *(each.signature() for each in known.values()),
            "**unrecognized: NoReturn,",
        ]
        return "".join(f"        {line}\n" for line in lines)

    def described(self) -> str:
        """Return the arguments as written in the docstring, with a heading above each group."""
        return "\n\n".join(
            "\n".join([f"        # {group}", *(each.described() for each in arguments)])
            for group, arguments in self.arguments().items()
        )


KINDS = {
    "BaseTuner": Kind("base_tuner", "oracle hypermodel directory project_name overwrite"),
    "Tuner": Kind(
        "tuner",
        "oracle hypermodel max_model_size optimizer loss metrics distribution_strategy directory "
        "project_name logger tuner_id overwrite executions_per_trial",
    ),
    "RayTuner": Kind("ray_tuner", f"hypermodel objective max_trials {_SEARCH} search_alg"),
    "RandomSearch": Kind("random_search", f"hypermodel objective max_trials {_SEARCH}"),
    "GridSearch": Kind("grid_search", f"hypermodel objective max_trials {_SEARCH}", (_WHOLE_GRID,)),
    "BayesianOptimization": Kind(
        "bayesian_optimization",
        f"hypermodel objective max_trials num_initial_points alpha beta {_SEARCH} sampler",
    ),
    "Hyperband": Kind(
        "hyperband",
        f"hypermodel objective max_epochs factor hyperband_iterations {_SEARCH} max_trials",
        (_FURTHER,),
    ),
    "SklearnTuner": Kind(
        "sklearn_tuner",
        "oracle hypermodel scoring metrics cv persistence trusted",
        (_ORACLE, _ESTIMATOR, _METRICS),
    ),
}
"""The public tuners."""


def written(name: str) -> tuple[pathlib.Path, str, str]:
    """Return the file of a tuner, its current text, and its text according to the table."""
    kind = KINDS[name]
    path = TUNERS / f"{kind.module}.py"
    text = path.read_text("utf-8")
    before, start, rest = text.partition(f"\nclass {name}(")
    rest = re.sub(
        r'\n    Args:\n.*?(?=\n\n    \w|\n    """)',
        lambda _: f"\n    Args:\n{kind.described()}",
        rest,
        count=1,
        flags=re.DOTALL,
    )
    rest = re.sub(
        r"    def __init__\(\n.*?(?=    \) -> None:\n)",
        lambda _: f"    def __init__(\n{kind.signature()}",
        rest,
        count=1,
        flags=re.DOTALL,
    )
    return path, text, before + start + rest


def main() -> None:
    """Update all tuners."""
    for name in KINDS:
        path, text, wanted = written(name)
        if text != wanted:
            path.write_text(wanted, "utf-8")
            print(f"Written: {path.name}")


if __name__ == "__main__":
    main()
