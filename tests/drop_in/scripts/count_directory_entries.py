"""The number of trials taken from the number of directories of the project; and its path, put
together as text.
"""

import os

import keras_tuner as kt


class Tuner(kt.RandomSearch):
    def run_trial(self, trial, **kwargs):
        return trial.hyperparameters.Float("x", 0, 1)


def main(directory, **tuner_options):
    tuner = Tuner(max_trials=3, directory=directory, project_name="counted", **tuner_options)
    tuner.search()
    path = os.path.join(directory, "counted")
    return {
        "directories": sorted(
            name
            for name in os.listdir(path)
            if os.path.isdir(os.path.join(path, name)) and name[0] != "."
        ),
        "joined": os.path.isfile(tuner.project_dir + "/oracle.json"),
        "files": sorted(
            name for name in os.listdir(path) if os.path.isfile(os.path.join(path, name))
        ),
        "project": tuner.project_dir == path,
        "above": os.listdir(directory),
    }
