"""What models ask for is known without a search, and building them for that consumes nothing."""

import keras

import glimr_keras as gk

SETS, BUILDS = [1, 2, 3, 4], 0


class Consuming(gk.HyperModel):
    n = 0

    def build(self, config):
        global BUILDS  # noqa: PLW0603  # which is what this is about
        BUILDS += 1
        self.n += 1
        model = keras.Sequential([keras.layers.Dense(SETS.pop(0))])
        config.Choice("rate", [0.1, 0.2])
        model.compile("adam", "mse")
        return model


def test_a_loop_of_the_users_own_finds_what_the_script_has(project):
    hypermodel = Consuming()
    tuner = gk.RandomSearch(hypermodel, "loss", max_trials=3, **project)
    assert [each.name for each in tuner.oracle.get_space().space] == ["rate"]
    trial = tuner.oracle.create_trial("tuner0")
    assert (len(SETS), BUILDS, hypermodel.n) == (4, 0, 0)
    tuner.hypermodel.build(trial.hyperparameters)
    assert (len(SETS), BUILDS, hypermodel.n) == (3, 1, 1)
