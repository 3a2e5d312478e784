"""The bare loop: `build` and `fit` for each configuration, in one process, with TensorFlow's
default threads.
"""

import events
from recorder import Recorder


def run(workload, trials):
    parts = workload.parts()
    events.emit("search")
    for values in workload.configurations(trials):
        for data in parts:
            train(workload, values, data)


def train(workload, values, data):
    """One training without a tuner."""
    train, validation = data
    model = workload.build(values)
    model.fit(*train, validation_data=validation, callbacks=[Recorder()], verbose=0, **workload.fit)
