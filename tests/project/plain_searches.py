"""Inline searches of a tiny model, in a project that is named `p`."""

import glimr_keras as gk
from tests import tiny_models


class Plain(gk.HyperModel):
    def build(self, config):
        return tiny_models.build(config)


def tuner_of(directory, trials, **options):
    return gk.RandomSearch(
        Plain(),
        "val_loss",
        trials,
        seed=0,
        directory=directory,
        project_name="p",
        executor="inline",
        **options,
    )


def searched(directory, trials, epochs=1, **options):
    """The tuner, when it has searched."""
    tuner = tuner_of(directory, trials, **options)
    data = {"validation_data": tiny_models.VALIDATION}
    tuner.search(*tiny_models.TRAIN, epochs=epochs, verbose=0, **data)
    return tuner
