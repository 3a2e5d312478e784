"""What Keras' objects have learnt, on its way to another process."""

import pathlib

import keras
import pytest

from glimr_keras._utils import scratch
from glimr_keras.transport import keras_states
from glimr_keras.transport.keras_states import State


def looked_up(words):
    layer = keras.layers.StringLookup()
    layer.adapt(words)
    return layer


def test_files_on_the_way_are_in_a_directory_that_is_removed_after_a_kill(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    seen = []
    assets_in = keras_states._assets_in

    def looking(directory):
        seen.append(pathlib.Path(directory).name)
        return assets_in(directory)

    monkeypatch.setattr(keras_states, "_assets_in", looking)
    pytest.importorskip("tensorflow")
    state = State.of(looked_up(["a", "b"]))
    state.give(looked_up(["c"]))
    assert len(seen) == 2 and all(name.startswith(scratch.PREFIX) for name in seen)
    assert not list(tmp_path.iterdir())
