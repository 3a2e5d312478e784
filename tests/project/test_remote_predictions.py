"""Predictions of a project at a URI."""

import numpy as np
import pytest

import glimr_keras as gk
from glimr_keras.project import predictions, remote_mirror
from glimr_keras.project.predictions import FILE
from glimr_keras.training.kept_predictions import PredictionKeeper
from tests.project.plain_searches import searched


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The URI of a directory, and what moves to a machine with nothing on it."""

    def move(name):
        monkeypatch.setenv("GLIMR_KERAS_CACHE", str(tmp_path / name))

    move("first")
    return f"file://{tmp_path}/there", move


def same(one, other):
    return one.epochs == other.epochs and all(
        np.array_equal(one.at(epoch), other.at(epoch)) for epoch in one.epochs
    )


def test_they_are_there_and_read_from_another_machine(place):
    uri, move = place
    tuner = searched(uri, 2, epochs=2, keep_predictions=True, keep_top_k=1)
    here = [tuner._glimr.predictions(str(number), 0) for number in range(2)]
    assert [found.epochs for found in here] == [(1, 2)] * 2
    move("second")
    opened = gk.RayTuner.open(f"{uri}/p")
    opened.results_dataframe()
    assert all(map(same, here, [opened._glimr.predictions(str(each), 0) for each in range(2)]))
    assert opened._glimr.predictions("7", 0) is None
    searched(uri, 3, epochs=2, keep_predictions=True)
    move("first")
    reader = tuner._glimr
    reader.read()
    assert reader.predictions("2", 0).epochs == (1, 2)
    assert same(reader.predictions("0", 0), here[0])


def test_those_of_an_interrupted_training_are_brought_with_its_state(place, monkeypatch):
    uri, move = place
    keep, asked = PredictionKeeper.keep, []

    def until_the_third(keeper, epoch):
        asked.append(epoch)
        if asked == [1, 2, 3]:
            raise KeyboardInterrupt
        keep(keeper, epoch)

    monkeypatch.setattr(PredictionKeeper, "keep", until_the_third)
    with pytest.raises(KeyboardInterrupt):
        searched(uri, 1, epochs=4, keep_predictions=True, state_interval_s=0)
    move("second")
    tuner = searched(uri, 1, epochs=4, keep_predictions=True, state_interval_s=0)
    assert asked == [1, 2, 3, 3, 4]
    assert tuner._glimr.predictions("0", 0).epochs == (1, 2, 3, 4)


def test_those_that_are_newer_here_stay_and_what_is_overwritten_goes(place):
    uri, move = place
    tuner = searched(uri, 1, epochs=2, keep_predictions=True)
    mirror = tuner._glimr.mirror
    directory = mirror.directory / "trial_0"
    writer = predictions.PredictionsWriter(directory, 0, after=1)
    found = predictions.read(directory)
    validation = predictions.Validation(found.labels, samples=found.samples)
    for epoch in (2, 3):
        writer.add(epoch, validation, np.ones((32, 2)))
    assert tuner._glimr.predictions("0", 0).epochs == (1, 2, 3)
    searched(uri, 1, overwrite=True)
    assert tuner._glimr.predictions("0", 0) is None
    move("third")
    names = list(remote_mirror.Mirror(f"{uri}/p")._remote.names())
    assert names and not any(name.endswith(FILE) for name in names)
