"""How many epochs the algorithms that stop trainings early need, on stored learning curves.

Nothing is trained: a configuration of the grid that `networks.py` trained is shown its curve, epoch
by epoch. So all that is compared is which configurations are chosen, and for how long each trains.
"""

import itertools
import math
import pathlib
import statistics
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator

import functions
import numpy as np
from searchers import Suggesting, end_own, end_theirs, is_installed, known_space

EPOCHS, FACTOR = 27, 3
MOST = 20_000
"""A search that does not find its target in so many epochs is ended."""
SHARE = 0.01
"""The target is a validation loss that so many of the configurations reach."""


def _by_oracle(propose: Callable, config_of: Callable, end: Callable):
    """A Hyperband of this package or of KerasTuner, whose trials go on from others."""
    while (trial := propose()) is not None:
        config = config_of(trial)
        curve = functions.trained(config)
        first, last = (int(config.values[f"tuner/{name}"]) for name in ("initial_epoch", "epochs"))
        yield from curve[first:last]
        end(trial, min(curve[:last]))


def glimr_keras(seed: int, target: float) -> Iterator[float]:
    import glimr_keras as gk
    from glimr_keras.oracles import HyperbandOracle, Nothing

    oracle = HyperbandOracle(
        gk.Objective("loss", "min"),
        max_epochs=EPOCHS,
        factor=FACTOR,
        hyperband_iterations=None,
        seed=seed,
        space=known_space(functions.Function("networks", functions.networks)),
    )

    def propose():
        trial = oracle.next_trial()
        return None if isinstance(trial, Nothing) else trial

    def end(trial, loss):
        end_own(oracle, trial, dict(trial.suggested), "loss", loss)

    return _by_oracle(propose, lambda trial: gk.HyperParameters(trial.suggested), end)


def keras_tuner(seed: int, target: float) -> Iterator[float]:
    import keras_tuner

    hyperparameters = keras_tuner.HyperParameters()
    functions.trained(hyperparameters)
    oracle = keras_tuner.oracles.HyperbandOracle(
        keras_tuner.Objective("loss", "min"),
        max_epochs=EPOCHS,
        factor=FACTOR,
        hyperband_iterations=100,
        seed=seed,
        hyperparameters=hyperparameters,
    )
    with tempfile.TemporaryDirectory() as directory:
        oracle._set_project_dir(directory, "project")
        oracle.verbose = 0

        def propose():
            trial = oracle.create_trial("tuner0")
            return trial if trial.status == "RUNNING" else None

        def end(trial, loss):
            end_theirs(oracle, trial, "loss", loss)

        yield from _by_oracle(propose, lambda trial: trial.hyperparameters, end)


def optuna_hyperband(seed: int, target: float) -> Iterator[float]:
    """A tree of Parzen estimators with Optuna's own Hyperband."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=seed, multivariate=True),
        pruner=optuna.pruners.HyperbandPruner(1, EPOCHS, FACTOR),
        study_name=f"curves {seed}",  # decides on the brackets of trials
    )
    states = optuna.trial.TrialState
    while True:
        trial = study.ask()
        best, state = math.inf, states.COMPLETE
        for epoch, loss in enumerate(functions.trained(Suggesting(trial)), 1):
            yield loss
            best = min(best, loss)
            trial.report(loss, epoch)
            if trial.should_prune():
                state = states.PRUNED
                break
        study.tell(trial, best if state == states.COMPLETE else None, state)


def ray_asha(seed: int, target: float) -> list[float]:
    """Random search that is stopped early."""
    from ray.tune.schedulers import ASHAScheduler

    scheduler = ASHAScheduler(max_t=EPOCHS, grace_period=1, reduction_factor=FACTOR)
    return _ray(seed, target, scheduler, None)


def ray_bohb(seed: int, target: float) -> list[float]:
    from ray.tune.schedulers import HyperBandForBOHB
    from ray.tune.search.bohb import TuneBOHB

    scheduler = HyperBandForBOHB(max_t=EPOCHS, reduction_factor=FACTOR)
    return _ray(seed, target, scheduler, TuneBOHB(seed=seed))


def _ray(seed: int, target: float, scheduler, searcher, trials: int = 1000) -> list:
    """Trials of Ray Tune, one at a time, in one process."""
    import ray
    from ray import tune

    options, known = functions.curves()
    if not ray.is_initialized():
        ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    with tempfile.TemporaryDirectory() as directory:
        log = pathlib.Path(directory, "losses")

        class Replay(tune.Trainable):
            def setup(self, config, known):
                self.known = known
                self.reset_config(config)

            def reset_config(self, config):
                self.curve = self.known[tuple(config[name] for name in options)]
                self.epoch = 0
                return True

            def step(self):
                loss = self.curve[self.epoch]
                self.epoch += 1
                with log.open("a") as file:
                    file.write(f"{loss}\n")
                return {"loss": loss, "done": self.epoch == EPOCHS}

            def save_checkpoint(self, checkpoint_dir):
                pathlib.Path(checkpoint_dir, "epoch").write_text(str(self.epoch))

            def load_checkpoint(self, checkpoint_dir):
                self.epoch = int(pathlib.Path(checkpoint_dir, "epoch").read_text())

        class Found(tune.Stopper):
            is_found = False

            def __call__(self, trial_id, result):
                self.is_found |= result["loss"] <= target
                return self.is_found

            def stop_all(self):
                return self.is_found

        np.random.seed(seed)  # which Ray's random search draws from
        tune.Tuner(
            tune.with_resources(tune.with_parameters(Replay, known=known), {"cpu": 1}),
            param_space={name: tune.choice(values) for name, values in options.items()},
            tune_config=tune.TuneConfig(
                metric="loss",
                mode="min",
                num_samples=trials,
                max_concurrent_trials=1,
                reuse_actors=True,
                scheduler=scheduler,
                search_alg=searcher,
            ),
            run_config=tune.RunConfig(storage_path=directory, verbose=0, stop=Found()),
        ).fit()
        return [float(line) for line in log.read_text().splitlines()]


NAMES = {
    "glimr_keras": glimr_keras,
    "optuna_hyperband": optuna_hyperband,
    "ray_asha": ray_asha,
    "ray_bohb": ray_bohb,
    "keras_tuner": keras_tuner,
}
NEEDS = {"optuna_hyperband": ("optuna",), "ray_bohb": ("hpbandster", "ConfigSpace")}
NEEDS |= {"keras_tuner": ("keras_tuner",)}


def target_loss() -> float:
    """The validation loss that `SHARE` of the configurations reach."""
    return float(np.quantile([min(curve) for curve in functions.curves()[1].values()], SHARE))


def epochs_to(target: float, losses: Iterable[float]) -> float:
    """How many epochs are trained until one ends with a loss of `target` or less."""
    counted = enumerate(itertools.islice(losses, MOST), 1)
    return next((epochs for epochs, loss in counted if loss <= target), math.inf)


def compared(seeds: int, names: Iterable[str]) -> dict[str, list[float]]:
    """Epochs to the target, by algorithm, of each seed."""
    loss, found = target_loss(), {}
    for name in names:
        if is_installed(NEEDS.get(name, ())):
            found[name] = [epochs_to(loss, NAMES[name](seed, loss)) for seed in range(seeds)]
            print(f"epochs, {name}: median {statistics.median(found[name])}", flush=True)
    return found
