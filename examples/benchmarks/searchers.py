"""The search algorithms that are compared, each told one result after the other."""

import contextlib
import importlib.util
import inspect
import json
import logging
import pathlib
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable

import numpy as np
from functions import Function

EXPLORED = 200


def known_space(function: Function):
    """The hyperparameters of a function and where each exists, as a search finds them."""
    import glimr_keras as gk
    from glimr_keras.space.search_space import SearchSpace

    generator, space, asked = np.random.default_rng(0), SearchSpace(), []
    for _ in range(EXPLORED):
        drawn = space.walk(lambda parameter: parameter.prob_to_value(generator.random()))
        config = gk.HyperParameters(drawn)
        function.ask(config)
        space.update(config.space)
        space.observe(config.asked)
        asked.append(config.asked)
    return SearchSpace(space.parameters, asked)


def end_own(oracle, trial, values: dict, metric: str, score: float) -> None:
    """Tells an oracle of this package the result of a trial."""
    from glimr_keras.trials.execution import Execution, TrialStatus

    trial.values, trial.status = values, TrialStatus.COMPLETED
    trial.executions[0] = Execution(TrialStatus.COMPLETED, {1: {metric: score}}, 1, score)
    oracle.end_trial(trial)


def end_theirs(oracle, trial, metric: str, score: float) -> None:
    """Tells an oracle of keras_tuner the result of a trial."""
    oracle.update_trial(trial.trial_id, {metric: score})
    trial.status = "COMPLETED"
    oracle.end_trial(trial)


def _own(make_oracle: Callable, function: Function, budget: int, seed: int):
    import glimr_keras as gk

    oracle = make_oracle(
        gk.Objective("cost", "min"), budget, seed=seed, space=known_space(function)
    )

    def propose():
        trial = oracle.next_trial()
        return trial, gk.HyperParameters(trial.suggested)

    def tell(proposed, cost):
        trial, config = proposed
        end_own(oracle, trial, config.asked, "cost", cost)

    return propose, tell


def glimr_keras(function: Function, budget: int, seed: int):
    from glimr_keras.oracles import BayesianOptimizationOracle

    return _own(BayesianOptimizationOracle, function, budget, seed)


def random(function: Function, budget: int, seed: int):
    from glimr_keras.oracles import RandomSearchOracle

    return _own(RandomSearchOracle, function, budget, seed)


def keras_tuner(function: Function, budget: int, seed: int):
    import keras_tuner

    hyperparameters = keras_tuner.HyperParameters()
    for parameter in known_space(function).parameters:  # all branches, as its own look finds them
        with contextlib.ExitStack() as scopes:
            for condition in parameter.conditions:
                scopes.enter_context(
                    hyperparameters.conditional_scope(condition.name, list(condition.values))
                )
            hyperparameters._retrieve(_theirs(parameter))
    oracle = keras_tuner.oracles.BayesianOptimizationOracle(
        keras_tuner.Objective("cost", "min"), budget, seed=seed, hyperparameters=hyperparameters
    )
    directory = tempfile.TemporaryDirectory()
    oracle._set_project_dir(directory.name, "project")
    oracle.verbose = 0

    def propose():
        trial = oracle.create_trial("tuner0")
        return trial, trial.hyperparameters

    def tell(proposed, cost):
        end_theirs(oracle, proposed[0], "cost", cost)
        directory.name  # noqa: B018  # lives as long as the search

    return propose, tell


def _theirs(parameter):
    """A hyperparameter of ours as one of keras_tuner's."""
    from glimr_keras.space import hp_types
    from keras_tuner.engine import hyperparameters as theirs

    kind = {
        hp_types.Float: theirs.Float,
        hp_types.Int: theirs.Int,
        hp_types.Choice: theirs.Choice,
        hp_types.Boolean: theirs.Boolean,
    }[type(parameter)]
    names = ("name", "values", "min_value", "max_value", "step", "sampling", "ordered")
    wanted = inspect.signature(kind).parameters
    config = {name: getattr(parameter, name) for name in names if name in wanted}
    if kind is theirs.Choice:
        config["values"] = list(config["values"])
    return kind(**config)


class Suggesting:
    """A configuration whose values a trial of Optuna suggests as they are asked for."""

    def __init__(self, trial):
        self._trial = trial

    def Float(self, name, low, high, sampling="linear"):
        return self._trial.suggest_float(name, low, high, log=sampling == "log")

    def Int(self, name, low, high, step=1, sampling="linear"):
        return self._trial.suggest_int(name, low, high, step=step, log=sampling == "log")

    def Choice(self, name, values):
        if all(isinstance(value, int | float) for value in values):  # they have an order
            return values[self._trial.suggest_int(name, 0, len(values) - 1)]
        return self._trial.suggest_categorical(name, values)

    def Boolean(self, name):
        return self._trial.suggest_categorical(name, [False, True])

    @contextlib.contextmanager
    def conditional_scope(self, name, values):
        yield


def _optuna(make_sampler: Callable, function: Function, budget: int, seed: int):
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    study = optuna.create_study(sampler=make_sampler(optuna.samplers, seed))

    def propose():
        trial = study.ask()
        return trial, Suggesting(trial)

    def tell(proposed, cost):
        study.tell(proposed[0], cost)

    return propose, tell


def optuna_gp(function: Function, budget: int, seed: int):
    import torch

    torch.set_num_threads(1)
    return _optuna(lambda samplers, seed: samplers.GPSampler(seed=seed), function, budget, seed)


def optuna_tpe(function: Function, budget: int, seed: int):
    return _optuna(
        lambda samplers, seed: samplers.TPESampler(seed=seed, multivariate=True, group=True),
        function,
        budget,
        seed,
    )


def smac(function: Function, budget: int, seed: int):
    from smac import HyperparameterOptimizationFacade, Scenario
    from smac.runhistory.dataclasses import TrialValue

    logging.getLogger("smac").setLevel(logging.ERROR)
    space, decoded = _config_space(function, seed)
    directory = tempfile.mkdtemp(prefix="smac-")
    scenario = Scenario(
        space,
        deterministic=function.noise == 0,
        n_trials=budget,
        seed=seed,
        output_directory=pathlib.Path(directory),
    )
    searcher = HyperparameterOptimizationFacade(
        scenario,
        lambda configuration, seed=0: 0.0,  # is not called
        intensifier=HyperparameterOptimizationFacade.get_intensifier(scenario, max_config_calls=1),
        overwrite=True,
        logging_level=logging.ERROR,
    )

    def propose():
        import glimr_keras as gk

        info = searcher.ask()
        return info, gk.HyperParameters(decoded(info.config))

    def tell(proposed, cost):
        searcher.tell(proposed[0], TrialValue(cost=cost))

    return propose, tell


def _config_space(function: Function, seed: int):
    """The space of a function in SMAC's terms, and the way back."""
    import ConfigSpace
    from glimr_keras.oracles.encodings import encoding_of

    known = known_space(function)
    space, encodings, made = ConfigSpace.ConfigurationSpace(seed=seed), {}, {}
    for parameter in known.parameters:
        encoding = encodings[parameter.name] = encoding_of(parameter)
        if encoding.kind == "category":
            items = range(int(encoding.high) + 1)
            made[parameter.name] = ConfigSpace.CategoricalHyperparameter(
                parameter.name, list(items)
            )
        else:
            kind = {
                "integer": ConfigSpace.UniformIntegerHyperparameter,
                "real": ConfigSpace.UniformFloatHyperparameter,
            }
            made[parameter.name] = kind[encoding.kind](
                parameter.name, encoding.low, encoding.high, log=encoding.log
            )
    space.add(*made.values())
    for parameter in known.parameters:
        conditions = [
            ConfigSpace.InCondition(
                made[parameter.name],
                made[condition.name],
                [encodings[condition.name].encode(value) for value in condition.values],
            )
            for condition in dict.fromkeys(known.conditions(parameter))
        ]
        if len(conditions) > 1:
            space.add(ConfigSpace.AndConjunction(*conditions))
        elif conditions:
            space.add(conditions[0])

    def decoded(configuration):
        return {name: encodings[name].decode(value) for name, value in dict(configuration).items()}

    return space, decoded


NEEDS = {
    "optuna_gp": ("optuna", "torch"),
    "optuna_tpe": ("optuna",),
    "smac": ("smac",),
    "keras_tuner": ("keras_tuner",),
}
"""The packages of each algorithm that is not here."""


def is_installed(packages: Iterable[str]) -> bool:
    """Whether an algorithm that needs these can be compared."""
    return all(importlib.util.find_spec(package) for package in packages)


SEARCHERS = {
    "glimr_keras": glimr_keras,
    "optuna_gp": optuna_gp,
    "optuna_tpe": optuna_tpe,
    "smac": smac,
    "keras_tuner": keras_tuner,
    "random": random,
}


def searched(name: str, function: Function, budget: int, seed: int) -> dict[str, list[float]]:
    """What a search finds: after each evaluation, the regret of the best one as the algorithm sees
    it, and the seconds that proposing it and being told of it took.
    """
    propose, tell = SEARCHERS[name](function, budget, seed)
    noise = np.random.default_rng([seed, 1])
    best_told, regret, regrets, times = float("inf"), float("inf"), [], []
    for _ in range(budget):
        started = time.perf_counter()
        proposed = propose()
        cost = function.ask(proposed[1])  # takes no time, but some choose values as they are asked
        seconds = time.perf_counter() - started
        told = cost + function.noise * noise.normal()
        started = time.perf_counter()
        tell(proposed, told)
        seconds += time.perf_counter() - started
        if told < best_told:
            best_told, regret = told, cost - function.minimum
        regrets.append(max(regret, 0.0))
        times.append(seconds)
    return {"regrets": regrets, "seconds": times}


def main() -> None:
    """Runs searches of one algorithm in a process of its own, and prints each as a line of JSON.

    python searchers.py NAME BUDGET SEEDS FUNCTION...
    """
    import sys

    from functions import FUNCTIONS

    name, budget, seeds, *numbers = sys.argv[1:]
    for number in map(int, numbers):
        for seed in range(int(seeds)):
            found = searched(name, FUNCTIONS[number], int(budget), seed)
            line = {"searcher": name, "function": FUNCTIONS[number].name, "seed": seed, **found}
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
