"""Oracles to try, a space to search, and how trials end; for all tests of oracles."""

from ray.tune.search.optuna import OptunaSearch

from glimr_keras.oracles import (
    BayesianOptimizationOracle,
    GridSearchOracle,
    HyperbandOracle,
    RandomSearchOracle,
    RaySearchOracle,
)
from glimr_keras.space.hp_types import Boolean, Choice, Condition, Fixed, Float, Int
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.space.reserved_names import Stage
from glimr_keras.trials.execution import Execution, TrialStatus
from glimr_keras.trials.objective import Objective

MIN, MAX = Objective("val_loss", "min"), Objective("val_accuracy", "max")
SPACE = [
    Int("units", 1, 64),
    Int("steps", 5, 50, step=10),
    Int("width", 1, 100, sampling="log"),
    Float("rate", 1e-4, 1e-1, sampling="log"),
    Float("dropout", 0, 1, step=0.1),
    Float("warmup", 1, 2, sampling="reverse_log"),
    Float("constant", 2, 2),
    Choice("act", ("relu", "gelu", "tanh")),
    Boolean("bias"),
    Fixed("version", 3),
    Choice("kind", ("sgd", "adam")),
    Float("momentum", 0, 1, conditions=(Condition("kind", ("sgd",)),)),
    Int("depth", 1, 2, conditions=(Condition("kind", ("sgd",)), Condition("bias", (True,)))),
]
LAYERS = [Int("layers", 1, 3), *(Choice(f"units_{number}", (16, 32, 64)) for number in range(3))]


def random_search(space=SPACE, max_trials=None, seed=0, objective=MIN, **options):
    return RandomSearchOracle(objective, max_trials, seed, space=space, **options)


def optuna(space=SPACE, max_trials=None, seed=0, objective=MIN, **options):
    return RaySearchOracle(
        OptunaSearch(seed=seed), objective, max_trials, seed=seed, space=space, **options
    )


def grid(space=SPACE, max_trials=None, seed=0, objective=MIN, **options):
    return GridSearchOracle(objective, max_trials, seed, space=space, **options)


def bayesian(space=SPACE, max_trials=None, seed=0, objective=MIN, **options):
    return BayesianOptimizationOracle(objective, max_trials, seed=seed, space=space, **options)


def hyperband(space=SPACE, max_trials=None, seed=0, objective=MIN, **options):
    return HyperbandOracle(objective, max_trials=max_trials, seed=seed, space=space, **options)


def end(oracle, trial, score=0.5):
    """Ends a trial with a score, or as failed without one."""
    trial.status = TrialStatus.FAILED if score is None else TrialStatus.COMPLETED
    trial.executions[0] = Execution(trial.status, score=score)
    oracle.end_trial(trial)
    return trial


def run(oracle, count):
    """Runs trials one after the other; the score depends on the configuration. What says the part
    of a training is left out.
    """
    trials = [
        end(oracle, trial, len(str(trial.suggested)) / 100)
        for trial in (oracle.next_trial() for _ in range(count))
    ]
    return [
        {name: value for name, value in trial.suggested.items() if name not in Stage.NAMES}
        for trial in trials
    ]


def continued_from(trials, oracle):
    """Tells an oracle of trials of an earlier session that have ended."""
    for trial in trials:
        oracle.restore_trial(trial)
        oracle.end_trial(trial)
    return oracle


def ask(trial):
    """What a model with a loop over its layers asks for."""
    layers = trial.suggested["layers"]
    trial.values = {
        "layers": layers,
        **{f"units_{i}": trial.suggested.get(f"units_{i}", 16) for i in range(layers)},
    }
    return trial


SCORE = Objective("score", "max")


def oracle_of(max_trials=3, kind=RandomSearchOracle, **options):
    """An oracle of one hyperparameter, as a script makes it that has a loop of its own."""
    hp = HyperParameters()
    hp.Int("x", 0, 100)
    return kind(SCORE, max_trials, hyperparameters=hp, seed=1, **options)


def run_by_hand(oracle, tuner_id="tuner0", score=None, status="COMPLETED"):
    """Runs a trial as a loop of one's own does."""
    trial = oracle.create_trial(tuner_id)
    if trial.status == "RUNNING":
        if status == "COMPLETED":
            oracle.update_trial(
                trial.trial_id, {"score": trial.hyperparameters["x"] if score is None else score}
            )
        trial.status = status
        oracle.end_trial(trial)
    return trial
