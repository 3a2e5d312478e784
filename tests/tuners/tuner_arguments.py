"""Write the signatures of the tuners, and the `Args:` of their docstrings, from one table.

Run it after a change of the table, from the root of the repository:

    python -m tests.tuners.tuner_arguments

A test fails where the sources are not what this would write.
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
        default: As it is written in a signature; `None` where the argument is required.
        text: What the docstring says of it.
        is_common: Whether all tuners have it; others only where their row of `KINDS` names it.
    """

    name: str
    annotation: str
    default: str | None
    text: str
    is_common: bool = True

    def signature(self) -> str:
        """Return the argument as a signature has it."""
        default = "" if self.default is None else f" = {self.default}"
        return f"{self.name}: {self.annotation}{default},"

    def described(self) -> str:
        """Return the argument as a docstring has it."""
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
    "What is searched": (
        own(
            "oracle",
            "Oracle",
            None,
            "The search algorithm. Its own arguments say what is optimised, how many trials there "
            "are, and more.",
        ),
        Argument(
            "hypermodel",
            "Any",
            "None",
            "A `HyperModel`, or a function `build(config)` that returns a compiled Keras model. "
            "Defaults to none, which a subclass with a `run_trial` of its own may do with.",
        ),
        own(
            "objective",
            "Goal",
            "None",
            'The metric to optimise, such as `"val_accuracy"`, or an `Objective` with its '
            "direction; a list of several for a Pareto front. Defaults to the number that `fit` or "
            "`run` returns, which is minimised.",
        ),
        own(
            "num_initial_points",
            "int | None",
            "None",
            "Trials that fill the space evenly before the model of the results is used. Defaults "
            "to 5, and to 10 random ones for Optuna's samplers.",
        ),
        own(
            "sampler",
            "str | optuna.samplers.BaseSampler | None",
            "None",
            '`"gp"`, `"tpe"`, `"cmaes"`, `"nsga2"`, or a sampler of `optuna.samplers`. Defaults to '
            '`"gp"`, and for a list of objectives to `"tpe"`.',
        ),
        own(
            "alpha",
            "float | None",
            "None",
            "Has no meaning here; KerasTuner's Gaussian process has it. Defaults to none.",
        ),
        own(
            "beta",
            "float | None",
            "None",
            "Has no meaning here; KerasTuner's Gaussian process has it. Defaults to none.",
        ),
        own(
            "search_alg",
            "tune.search.Searcher | None",
            "None",
            "One of `ray.tune.search`, new and without a space of its own; its "
            "`points_to_evaluate` have the hyperparameters' own values. Defaults to random search.",
        ),
        Argument(
            "space",
            "Mapping[str, Any] | None",
            "None",
            "A declared search space: nested dicts with `ray.tune` domains. Defaults to what "
            "`HyperModel.space()` returns.",
        ),
        own(
            "hyperparameters",
            "HyperParameters | None",
            "None",
            "Hyperparameters that win over those of the same name that the model asks for. "
            "Defaults to none.",
        ),
        own(
            "tune_new_entries",
            "bool",
            "True",
            "Whether other hyperparameters that the model asks for are searched. If not, they have "
            "their defaults. Defaults to `True`.",
        ),
        own(
            "allow_new_entries",
            "bool",
            "True",
            "Whether the model may ask for other hyperparameters. If not, that is an error, before "
            "any trial. Defaults to `True`.",
        ),
        Argument(
            "initial_points",
            "Sequence[Mapping[str, Any]] | None",
            "None",
            "Configurations to try first: dicts of value by name, flat or nested. What they leave "
            "out is drawn. Defaults to none.",
        ),
        Argument(
            "warm_start",
            "Sequence[str | os.PathLike[str] | Results]",
            "()",
            "Finished projects (directories, or tuners), also of KerasTuner, whose results the "
            "search learns from. They count for no budget. Defaults to `()`.",
        ),
        own(
            "scoring",
            "Callable[..., float] | None",
            "None",
            "Called as `scoring(estimator, X, y, sample_weight=None)` with each part that was left "
            "out. Defaults to the estimator's own `score`.",
        ),
        own(
            "cv",
            "Any",
            "None",
            "A splitter of `sklearn.model_selection`. Defaults to `KFold(5, shuffle=True, "
            "random_state=1)`.",
        ),
        Argument(
            "cv_folds",
            "int | None",
            "None",
            "Folds of a cross validation, at least 2: each configuration is trained once for each, "
            "side by side as there is room, and its score is the mean. Arrays given to `search` "
            "are split; a `HyperModel` with `data` returns the data of fold `config.fold` of "
            "`config.num_folds`. Defaults to no cross validation.",
        ),
        Argument(
            "score_at",
            "ScoreAt | None",
            "None",
            'At which epoch a training is scored: `"best"`, at its own best one; `"common"`, all '
            "trainings of a configuration at the epoch with the best mean, of those that all of "
            'them have; `"last"`, at its last one. Choosing an epoch for each fold, on the data '
            "that it is validated on, makes scores too good. Weights are those of each training's "
            "own best epoch. A score that your own code returns stays as it is. Defaults to "
            '`"common"` with `cv_folds`, and else to `"best"`, as in KerasTuner.',
        ),
        Argument(
            "executions_per_trial",
            "int",
            "1",
            "How often each configuration is trained, at least 1; its score is the mean. Defaults "
            "to `1`.",
        ),
        own(
            "seed",
            "int | None",
            "None",
            "Makes the search draw the same configurations, and each trial the same weights and "
            "batches; at least 0. Defaults to one that the state of Python's `random` decides, so "
            "`keras.utils.set_random_seed` before it does too.",
        ),
    ),
    "How long": (
        own(
            "max_trials",
            "int | None",
            "10",
            "How many configurations the project may have in all, failed ones included, at least "
            "1; `None` for as many as there are. Defaults to `10`.",
        ),
        own(
            "max_epochs",
            "int",
            "100",
            "Epochs of the longest training, at least 1. Defaults to `100`.",
        ),
        own(
            "factor",
            "int",
            "3",
            "What the number of configurations is divided by, and their epochs are multiplied by, "
            "from round to round; at least 2. Defaults to `3`.",
        ),
        own(
            "hyperband_iterations",
            "int | None",
            "1",
            "How often the whole algorithm runs; 0 or `None` for no end. Defaults to `1`.",
        ),
        Argument(
            "max_trials_without_improvement",
            "int | None",
            "None",
            "So many trials in a row that are not better than the best before them end the search; "
            "at least 1. Defaults to any number.",
        ),
        Argument(
            "time_budget_s",
            "float | None",
            "None",
            "Seconds of wall-clock time that one call of `search` may take, above 0; then running "
            "trials are stopped. Defaults to no bound.",
        ),
        Argument(
            "trial_time_limit_s",
            "float | None",
            "None",
            "Seconds of wall-clock time that one training may take, above 0. It is ended after the "
            "batch in which they are over, and has the score of its best epoch; without any epoch "
            "its trial has failed. One that hangs loses its process. Defaults to no bound.",
        ),
        Argument(
            "scheduler",
            "tune.schedulers.TrialScheduler | None",
            "None",
            "One of `ray.tune.schedulers`, which stops trials early, such as `ASHAScheduler()`, or "
            "pauses them and changes their values, such as `PopulationBasedTraining(…)`. Defaults "
            "to none.",
        ),
        Argument(
            "stopper",
            "tune.Stopper | None",
            "None",
            "A `ray.tune.Stopper`, asked after each epoch of each trial. Defaults to none.",
        ),
    ),
    "Resources": (
        Argument(
            "resources_per_trial",
            "Mapping[str, float] | None",
            "None",
            "CPUs (also threads) and GPUs (fractions allowed) of one execution, and custom "
            'resources, by name: `{"cpu": 2, "gpu": 0.5}`. No `gpu` means none; over several, '
            "batches are spread, unless `build` has a strategy. Defaults to one GPU and an even "
            "part of the CPUs where there are GPUs, else to one CPU.",
        ),
        Argument(
            "trials_per_gpu",
            "TrialsPerGpu | None",
            "None",
            "How many executions share a GPU, from 1 to 100, or `'auto'` to measure the first "
            "ones. One that lacks memory is tried again alone. Another share is another run of "
            "Ray Tune, to callbacks too. Defaults to one.",
        ),
        Argument(
            "max_concurrent_trials",
            "int | None",
            "None",
            "At most so many executions at once, at least 1. Defaults to what the machine has room "
            "for.",
        ),
        Argument(
            "executor",
            "ExecutorChoice",
            '"auto"',
            '`"ray"`; `"inline"` for trials in this process, one at a time, where breakpoints '
            'work; `"auto"` for forks of this process, and Ray for the rest of a long search or '
            "where there is a GPU; but inline, which a line says, where trials are seen to keep "
            "state from one to the next, such as `self.n += 1` or a global list that grows; or an "
            "`Executor` of `glimr_keras.executors`, or of your own. Defaults "
            "to `'auto'`.",
        ),
        Argument(
            "address",
            "str | None",
            "None",
            "Address of a Ray cluster to join, as `ray.init` takes it, unless this process already "
            "has a Ray. Defaults to `RAY_ADDRESS`, or the Ray that runs on this machine, or a new "
            "one.",
        ),
        Argument(
            "max_worker_memory",
            "int | None",
            "None",
            "Bytes of memory that a worker process may have for itself (data in shared memory does "
            "not count), at least 1. One with more is replaced when its trial has ended, and no "
            "trial is lost. On Linux. Defaults to no bound.",
        ),
        Argument(
            "reuse_graphs",
            "bool",
            "True",
            "Whether workers spare what Keras would do again, with the same results: a model that "
            "equals an earlier one trains by the graphs that were traced for that, and arrays are "
            "read by pipelines that do not tune themselves. Defaults to `True`.",
        ),
        Argument(
            "max_model_size",
            "int | None",
            "None",
            "How many parameters a model may have, at least 1; a trial with more fails, before it "
            "trains. Defaults to no bound.",
        ),
        Argument(
            "distribution_strategy",
            "Any",
            "None",
            "A `tf.distribute.Strategy`, in whose scope models are built. Defaults to none.",
        ),
    ),
    "Training": (
        Argument(
            "optimizer",
            "Any",
            "None",
            "Optimizer in the place of the one that `build` compiled the model with. Defaults to "
            "the model's own.",
        ),
        Argument(
            "loss",
            "Any",
            "None",
            "Loss in the place of the one that `build` compiled the model with. Defaults to the "
            "model's own.",
        ),
        Argument(
            "metrics",
            "Any",
            "None",
            "Metrics in the place of those that `build` compiled the model with. Defaults to the "
            "model's own.",
        ),
        Argument(
            "callbacks",
            "Sequence[keras.callbacks.Callback | tune.Callback] | None",
            "None",
            "Keras callbacks, copied into every trial, and `ray.tune.Callback`s, which run here. "
            "Defaults to none.",
        ),
    ),
    "Robustness": (
        Argument(
            "max_failures",
            "int",
            "3",
            "How often a training is continued whose process was lost: killed, out of memory, or "
            "with its machine. Then its trial has failed. -1 for any number. Defaults to `3`.",
        ),
        own(
            "max_retries_per_trial",
            "int",
            "0",
            "How often a training that failed is begun again, except by `FailedTrialError`; at "
            "least 0. Defaults to `0`.",
        ),
        own(
            "max_consecutive_failed_trials",
            "int",
            "3",
            "So many failed trials in a row stop the search, at least 1. Defaults to `3`.",
        ),
        Argument(
            "state_interval_s",
            "float | None",
            "10.0",
            "At ends of epochs, so many seconds apart at least, the state of a training is kept "
            "until the training ends; one that is interrupted goes on from there. 0 for each "
            "epoch, `None` to begin anew. Defaults to `10.0`.",
        ),
        Argument(
            "retry_failed",
            "bool",
            "False",
            "Whether a search runs the project's failed trials again, under their ids. Defaults to "
            "`False`.",
        ),
    ),
    "Results": (
        Argument(
            "directory",
            "str | os.PathLike[str] | None",
            "None",
            'Where projects are: a path, or a URI such as `"s3://bucket/runs"` that `pyarrow.fs` '
            "or fsspec knows. A project at a URI is worked on as a local copy (in "
            "`GLIMR_KERAS_CACHE`, or else in the user's cache directory), which is sent there "
            "every few seconds, and at the end. Defaults to the working directory.",
        ),
        Argument(
            "project_name",
            "str | None",
            "None",
            "Name of the project's own directory in there. Defaults to `untitled_project`.",
        ),
        Argument(
            "overwrite",
            "bool",
            "False",
            "Whether to start over, and remove the project's earlier trials when the first search "
            "starts. Defaults to `False`.",
        ),
        Argument(
            "keep_top_k",
            "int | None",
            "None",
            "Of so many trials, the best, the weights are kept; at least 1. Defaults to all.",
        ),
        Argument(
            "keep_predictions",
            "bool",
            "False",
            "Whether predictions for validation samples are kept. Defaults to `False`.",
        ),
        own(
            "persistence",
            "Persistence",
            '"joblib"',
            'How the estimator of the last part is stored in the trial\'s directory: `"joblib"` '
            "(as `model.joblib`; like pickle, it may execute code when it is loaded), or "
            '`"skops"` (as `model.skops`; safe to load, needs the package skops). In a project at '
            "a URI, and by workers that do not share a file system with the driver, it is not "
            "stored. Defaults to `'joblib'`.",
        ),
        own(
            "trusted",
            "Sequence[str]",
            "()",
            'Names of types, such as `"sklearn.tree._tree.Tree"`, that skops may load though it '
            "does not know them as safe. Defaults to `()`.",
        ),
        Argument(
            "reporter",
            "tune.ProgressReporter | None",
            "None",
            "A `ray.tune.ProgressReporter`, which then shows the search instead of the live line. "
            "Defaults to the live line.",
        ),
        Argument(
            "tuner_id",
            "str | None",
            "None",
            "Name of the file with the tuner's own state. Defaults to `tuner0`.",
        ),
        Argument(
            "logger",
            "Any",
            "None",
            "Has no meaning any more, as in KerasTuner. Defaults to none.",
        ),
    ),
}
"""The arguments of all tuners, in the order in which docstrings have them."""

_SEARCH = (
    "seed hyperparameters tune_new_entries allow_new_entries max_retries_per_trial "
    "max_consecutive_failed_trials"
)
_ORACLE = own(
    "oracle",
    "Oracle",
    None,
    'The search algorithm, with the objective `Objective("score", "max")`, or one of the names of '
    "`metrics`.",
)
_ESTIMATOR = Argument(
    "hypermodel",
    "Any",
    None,
    "A `HyperModel`, or a function, whose `build(hp)` returns an estimator or a pipeline.",
)
_METRICS = Argument(
    "metrics",
    "Callable[..., float] | Sequence[Callable[..., float]] | None",
    "None",
    "One metric, or several, called as `metric(y_true, y_pred, sample_weight=None)`; recorded "
    "under their `__name__`. Defaults to none beside the score.",
)
_WHOLE_GRID = own(
    "max_trials",
    "int | None",
    "None",
    "How many configurations the project may have in all, failed ones included, at least 1. "
    "Defaults to the whole grid.",
)
_FURTHER = own(
    "max_trials",
    "int | None",
    "None",
    "Bounds the search further: how many configurations the project may have in all, at least 1. "
    "Defaults to what the algorithm asks for.",
)


@dataclasses.dataclass(frozen=True)
class Kind:
    """A tuner.

    Attributes:
        module: The name of its module.
        positional: The arguments that may be given by position, in KerasTuner's order.
        differing: Arguments that are not as the table has them.
    """

    module: str
    positional: str
    differing: tuple[Argument, ...] = ()

    def arguments(self) -> dict[str, list[Argument]]:
        """Return the arguments of this tuner by group, in the order of docstrings."""
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
        """Return the arguments as the docstring has them, with a heading above each group."""
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
    """Return the file of a tuner, its text, and its text as the table has it."""
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
    """Write all of them."""
    for name in KINDS:
        path, text, wanted = written(name)
        if text != wanted:
            path.write_text(wanted, "utf-8")
            print(f"Written: {path.name}")


if __name__ == "__main__":
    main()
