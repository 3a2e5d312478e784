"""Keras' registry on its way to a worker."""

import io
import pathlib
import pickle
import subprocess
import sys
import threading

import keras
import pytest

from glimr_keras.transport.custom_objects import Registry
from glimr_keras.transport.serialization import pack

SCRIPT = """
import pickle, sys
import keras
from glimr_keras.transport.serialization import pack

@keras.saving.register_keras_serializable("script")
class Registered(keras.layers.Layer):
    pass

@keras.saving.register_keras_serializable("script", "another_name")
def function(x):
    return x * FACTOR

FACTOR = 3.0
keras.saving.get_custom_objects()["only_found"] = lambda x: x - FACTOR
keras.saving.get_custom_objects()["cannot_be_sent"] = (i for i in ())
import at_hand
with keras.saving.custom_object_scope({"of_the_scope": function}):
    sys.stdout.buffer.write(pack("value").content)
"""

AT_HAND = """
import keras

@keras.saving.register_keras_serializable("module")
class Imported(keras.layers.Layer):
    pass
"""

RECEIVE = """
import sys
import keras
from glimr_keras.transport.serialization import unpack

content = sys.stdin.buffer.read()
for _ in range(3):
    assert unpack(content, ()) == "value"
found = keras.saving.get_custom_objects()
kind, function = found["script>Registered"], found["script>another_name"]
print(sorted(name for name in found if not name.startswith("glimr_keras>")))
print(keras.saving.get_registered_name(kind), keras.saving.get_registered_name(function))
print(function(2.0), found["only_found"](2.0), found["of_the_scope"] is function)
print(found["module>Imported"].__module__)
from keras.src.saving import object_registration
print([*object_registration.GLOBAL_CUSTOM_NAMES.values()].count("script>another_name"))
"""


def run(code, directory, given=b""):
    path = [str(pathlib.Path(__file__).parents[2]), str(directory)]
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}\n{code}"],
        input=given,
        stdout=subprocess.PIPE,
        check=True,
        timeout=120,
    ).stdout


def test_what_a_script_registers_is_registered_where_it_is_unpacked(tmp_path):
    (tmp_path / "at_hand.py").write_text(AT_HAND)
    lines = run(RECEIVE, tmp_path, run(SCRIPT, tmp_path)).decode().splitlines()
    names = "module>Imported of_the_scope only_found script>Registered script>another_name"
    assert lines[0] == str(names.split())
    assert lines[1:] == [
        "script>Registered script>another_name",
        "6.0 -1.0 True",
        "at_hand",
        "1",  # those of earlier trials are forgotten
    ]


def test_a_module_that_a_worker_does_not_have_is_missed_where_it_is_needed_only():
    place = ("no_such_module", "Layer")
    Registry({}, {"gone>Layer": place}, frozenset({"gone>Layer"})).install()
    assert "gone>Layer" not in keras.saving.get_custom_objects()


def test_what_cannot_be_sent_is_left_out(monkeypatch):
    registry = keras.saving.get_custom_objects()
    monkeypatch.setitem(registry, "lock", threading.Lock())
    monkeypatch.setitem(registry, "symbolic", keras.Input((1,)))
    monkeypatch.setitem(registry, "number", 1)
    content = io.BytesIO(pack(None).content)
    assert pickle.load(content) == []  # of large buffers
    found = pickle.load(content).objects  # beside what other tests have registered
    assert found.keys() & {"lock", "symbolic", "number"} == {"number"}


@pytest.mark.parametrize("value", [pathlib.Path, keras.layers.Dense])
def test_what_can_be_imported_is_named(monkeypatch, value):
    monkeypatch.setitem(keras.saving.get_custom_objects(), "name", value)
    found = Registry.current(lambda value: True)
    assert found.places["name"] == (value.__module__, value.__qualname__)
    assert "name" not in found.objects
