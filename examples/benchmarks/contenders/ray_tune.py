"""Plain Ray Tune with its defaults, as its documentation shows it for Keras: a function, its
callback, one CPU a trial.

Keras is imported here as that documentation does, except for the trivial trials, which need none of
it.
"""

import pathlib

import events
from ray import tune


def run(workload, trials, reuse_actors=False):
    function, parameters = (
        (_score, {"workload": workload}) if workload.make_model is None else _training(workload)
    )
    tuner = tune.Tuner(
        tune.with_parameters(
            function, configurations=workload.configurations(trials), **parameters
        ),
        param_space={"index": tune.grid_search(list(range(trials)))},
        tune_config=tune.TuneConfig(
            metric=workload.objective,
            mode="min" if workload.objective == "val_loss" else "max",
            reuse_actors=reuse_actors,
        ),
        run_config=tune.RunConfig(storage_path=str(pathlib.Path("results").absolute())),
    )
    tuner.fit()


def _score(config, workload, configurations):
    tune.report({workload.objective: workload.score(configurations[config["index"]])})


def _training(workload):
    """The function that trains, and its data, which Ray keeps in its object store."""
    from recorder import Recorder  # imports Keras

    data = workload.data()
    events.emit("search")

    def train(config, data, configurations):
        from ray.tune.integration.keras import TuneReportCheckpointCallback

        (x, y), validation = data
        model = workload.build(configurations[config["index"]])
        callbacks = [TuneReportCheckpointCallback(), Recorder()]
        model.fit(x, y, validation_data=validation, callbacks=callbacks, verbose=0, **workload.fit)

    return train, {"data": data}
