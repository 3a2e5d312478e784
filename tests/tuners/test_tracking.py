"""What a search is told of where it is tracked."""

import keras
import pytest
from ray.tune.logger import CSVLoggerCallback

import glimr_keras as gk
from glimr_keras.models.data import FitArguments
from glimr_keras.tuners.base_tuner import session_of
from glimr_keras.tuners.tracking import tracked
from tests import tiny_models


def test_where_a_loggers_files_are_is_said_of_a_project_at_a_uri(tmp_path, monkeypatch):
    pytest.importorskip("fsspec")
    monkeypatch.setenv("GLIMR_KERAS_CACHE", str(tmp_path / "cache"))
    tuner = gk.RandomSearch(
        tiny_models.build,
        "val_loss",
        1,
        directory="memory://runs",
        project_name="digits",
        callbacks=[CSVLoggerCallback(), keras.callbacks.EarlyStopping()],
    )
    context = session_of(tuner).context(FitArguments())
    said = "files of CSVLoggerCallback stay on this machine.*memory://runs/digits"
    with pytest.warns(UserWarning, match=said):
        assert tracked(context, tuner).trackers == {}


def test_nothing_is_said_of_a_project_in_a_directory(project):
    tuner = gk.RandomSearch(
        tiny_models.build, "val_loss", 1, callbacks=[CSVLoggerCallback()], **project
    )
    context = session_of(tuner).context(FitArguments(kwargs={"callbacks": "of a loop of its own"}))
    assert tracked(context, tuner) == context
