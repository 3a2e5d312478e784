"""What a script has around it is there in its trials, as it is when `search()` is called."""

import dataclasses
import json
import locale
import logging
import os
import pathlib
import socket
import sys
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import glimr_keras as gk
from glimr_keras.transport import surroundings
from glimr_keras.transport.surroundings import Surroundings, merged
from tests import tiny_models

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.*")


def around():
    """What a process, and a thread, has around it."""
    return {
        "argv": list(sys.argv),
        "directory": os.getcwd(),  # noqa: PTH109
        "variable": os.environ.get("OF_THE_SCRIPT"),
        "modules": next(entry for entry in sys.path if (pathlib.Path(entry) / "here").exists()),
        "level": logging.getLogger("of.the.script").level,
        "limit": sys.getrecursionlimit(),
        "timeout": socket.getdefaulttimeout(),
        "locale": locale.setlocale(locale.LC_NUMERIC),
        "numbers": np.geterr()["under"],
        "filter": next(
            action
            for action, text, *_ in warnings.filters
            if getattr(text, "pattern", text) == "of the script"
        ),
        "epsilon": keras.config.epsilon(),
        "eager": tf.config.functions_run_eagerly(),
        "interactive": keras.config.is_interactive_logging_enabled(),
    }


class Looks(gk.HyperModel):
    """Tells what is around `build`, and around `fit`, and changes it for those who come later."""

    def build(self, config):
        config.Fixed("around_build", json.dumps(around()))
        return tiny_models.build(config)

    def fit(self, config, model, *args, **kwargs):
        config.Fixed("around_fit", json.dumps(around()))
        history = model.fit(*args, **kwargs)
        assert history.history["loss"]
        sys.argv.append("changed")
        os.chdir("/")
        os.environ["OF_THE_SCRIPT"] = "changed"
        keras.config.set_epsilon(0.5)
        return history


def of_the_script(monkeypatch, place, number):
    """Surroundings that no process has by itself."""
    place.mkdir()
    (place / "here").touch()
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "argv", ["train.py", "--number", str(number)])
    monkeypatch.setenv("OF_THE_SCRIPT", f"value {number}")
    monkeypatch.syspath_prepend(str(place))
    logging.getLogger("of.the.script").setLevel(10 + number)
    sys.setrecursionlimit(2000 + number)
    socket.setdefaulttimeout(100.0 + number)
    np.seterr(under="warn" if number == 1 else "print")
    warnings.filterwarnings("always" if number == 1 else "default", message="of the script")
    keras.config.set_epsilon(number / 1000)
    tf.config.run_functions_eagerly(number == 1)


@pytest.fixture
def left_as_it_was():
    before = Surroundings.current()
    yield
    socket.setdefaulttimeout(None)
    logging.getLogger("of.the.script").setLevel(0)
    before.take_over()


@pytest.mark.filterwarnings("ignore:Even though the .tf.config")  # of what runs eagerly
@pytest.mark.parametrize("executor", ["ray", "inline"])
def test_trials_have_what_the_script_has_when_it_calls_search(
    request, tmp_path, monkeypatch, left_as_it_was, executor
):
    if executor == "ray":
        request.getfixturevalue("local_ray")
    for number in (1, 2):  # of the second search, too
        of_the_script(monkeypatch, tmp_path / str(number), number)
        expected = around()
        tuner = gk.RayTuner(
            Looks(),
            "val_loss",
            max_trials=4 if executor == "ray" else 1,
            max_concurrent_trials=2,
            executor=executor,
            seed=0,
            directory=tmp_path / f"{number}-project",
        )
        tuner.search(
            *tiny_models.TRAIN,
            validation_data=tiny_models.VALIDATION,
            epochs=1,
            verbose=0,
            callbacks=[keras.callbacks.TensorBoard("logs")],
        )
        table = tuner.results_dataframe()
        messages = [trial.message for trial in tuner._glimr.read().trials.values()]
        assert set(table["status"]) == {"COMPLETED"}, messages
        for name in ("around_build", "around_fit"):
            for seen in table[name]:
                assert json.loads(seen) == expected
        logs = tmp_path / str(number) / "logs"
        assert {path.name for path in logs.iterdir()} == set(table["trial_id"])


@pytest.fixture
def script_module(tmp_path, monkeypatch):
    """Writes a module of a script, which is removed from this process afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(name, text):
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)
        return __import__(name)

    yield write
    for path in tmp_path.glob("*.py"):
        sys.modules.pop(path.stem, None)


PARSES = """
import argparse
from tests import tiny_models
parser = argparse.ArgumentParser()
parser.add_argument("--units", type=int, required=True)
options = parser.parse_args()

def build(config):
    config.Fixed("given", options.units)
    return tiny_models.build(config)
"""


def test_a_module_that_parses_the_command_line_finds_it_in_workers(
    local_ray, project, script_module, monkeypatch
):
    monkeypatch.setattr(sys, "argv", ["train.py", "--units", "3"])
    build = script_module("parses", PARSES).build
    tuner = gk.RayTuner(build, "val_loss", 2, max_concurrent_trials=2, **project)
    tuner.search(*tiny_models.TRAIN, validation_data=tiny_models.VALIDATION, epochs=1, verbose=0)
    assert list(tuner.results_dataframe()["given"]) == [3, 3]


def test_a_module_that_ends_the_process_is_said_to_do_so(
    local_ray, project, script_module, monkeypatch
):
    build = script_module(
        "ends",
        f"""
import os
if os.getpid() != {os.getpid()}:
    raise SystemExit("not here")

def build(config):
    return None
""",
    ).build
    tuner = gk.RayTuner(build, "val_loss", 2, max_concurrent_trials=2, **project)
    with pytest.raises(
        gk.errors.ShippingError, match=r"ended the process when it was imported(.|\n)*not here"
    ):
        tuner.search(*tiny_models.TRAIN, validation_data=tiny_models.VALIDATION, verbose=0)


class Exits(gk.HyperModel):
    """Ends its process in `build` with 3 units, in `fit` with 4, or in each `build`."""

    def __init__(self, always=False):
        self.always = always

    def build(self, config):
        units = config.Choice("units", [2, 3, 4])
        if self.always or units == 3:
            sys.exit("no more to build")
        return tiny_models.compiled(
            keras.Sequential([keras.Input((6,)), keras.layers.Dense(units, activation="softmax")])
        )

    def fit(self, config, model, *args, **kwargs):
        history = model.fit(*args, **kwargs)
        if config["units"] == 4 and history.history["loss"]:
            sys.exit("no more to fit")
        return history


@pytest.mark.parametrize("executor", ["ray", "inline"])
def test_a_trial_that_ends_its_process_fails_with_that_reason(request, project, executor, capsys):
    if executor == "ray":
        request.getfixturevalue("local_ray")
    tuner = gk.GridSearch(
        Exits(), "val_loss", max_concurrent_trials=2, executor=executor, **project
    )
    tuner.search(*tiny_models.TRAIN, validation_data=tiny_models.VALIDATION, epochs=1)
    table = tuner.results_dataframe()
    statuses = dict(zip(table["units"], table["status"], strict=True))
    assert statuses == {2: "COMPLETED", 3: "FAILED", 4: "FAILED"}
    printed = capsys.readouterr().out
    for text in ("SystemExit: no more to build", "SystemExit: no more to fit", "ended its process"):
        assert text in printed


def test_a_build_that_always_ends_the_process_is_refused_before_any_trial(local_ray, project):
    tuner = gk.RayTuner(Exits(always=True), "val_loss", 2, max_concurrent_trials=2, **project)
    with pytest.raises(
        gk.errors.ModelError, match="SystemExit: no more to build\nHere the code ended"
    ):
        tuner.search(*tiny_models.TRAIN, validation_data=tiny_models.VALIDATION, verbose=0)


@pytest.mark.filterwarnings("always")
def test_a_directory_that_a_machine_does_not_have_is_said_once(local_ray, project, monkeypatch):
    monkeypatch.setattr(surroundings, "_working_directory", lambda: "/no/such/place")
    tuner = gk.RayTuner(tiny_models.build, "val_loss", 2, max_concurrent_trials=2, **project)
    with warnings.catch_warnings(record=True) as said:
        tuner.search(
            *tiny_models.TRAIN, validation_data=tiny_models.VALIDATION, epochs=1, verbose=0
        )
    told = [str(each.message) for each in said if "/no/such/place" in str(each.message)]
    assert len(told) == 1
    assert f"does not exist on {socket.gethostname()}" in told[0]
    assert list(tuner.results_dataframe()["status"]) == ["COMPLETED"] * 2


# Without Ray


@pytest.mark.parametrize(
    ("here", "wanted", "expected"),
    [
        (["own", "lib", "site"], ["script", "lib", "site"], ["own", "script", "lib", "site"]),
        (["lib", "site", "own"], ["lib", "site", "last"], ["lib", "site", "last", "own"]),
        (["other"], ["script"], ["other", "script"]),
        (["lib", "site"], ["site", "lib"], ["site", "lib"]),
    ],
)
def test_paths_are_in_the_order_of_the_script(here, wanted, expected):
    assert merged(here, wanted) == expected


@pytest.fixture
def environment(monkeypatch):
    """Variables as this process was started with; they are restored."""
    monkeypatch.setattr(
        surroundings, "_environment_at_start", lambda: {"KEPT": "1", "CHANGED": "1", "GONE": "1"}
    )
    for name, value in {"KEPT": "1", "CHANGED": "2", "RAY_OWN": "driver"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("GONE", raising=False)
    surroundings._own.cache_clear()
    yield monkeypatch
    surroundings._own.cache_clear()


@pytest.mark.parametrize(("is_same", "kept"), [(True, "1"), (False, "there")])
def test_another_machine_keeps_its_own_variables_but_those_that_the_script_changed(
    environment, left_as_it_was, is_same, kept
):
    sent = Surroundings.current()
    assert {"CHANGED", "GONE"} <= sent.changed
    if not is_same:
        sent = dataclasses.replace(sent, machine="another")
    for name in ("KEPT", "CHANGED", "GONE", "RAY_OWN"):
        environment.setenv(name, "there")
    environment.setenv("ONLY_THERE", "there")
    sent.take_over()
    found = {name: os.environ.get(name) for name in ("KEPT", "CHANGED", "GONE", "ONLY_THERE")}
    assert found == {"KEPT": kept, "CHANGED": "2", "GONE": None, "ONLY_THERE": "there"}
    assert os.environ["RAY_OWN"] == "there"


def test_what_a_trial_adds_is_not_there_in_the_next(environment, left_as_it_was):
    """Nor are a level of a logger, or a setting that the script does not have."""
    environment.setenv("OF_THE_PROCESS", "1")
    sent = Surroundings.current()
    environment.setenv("TUNE_EPOCHS", "3")
    chosen = Surroundings.current()
    environment.delenv("TUNE_EPOCHS")
    sent.take_over()
    os.environ["SIZE"] = "8"
    del os.environ["OF_THE_PROCESS"]
    sys.path.append("/of/a/trial")
    logging.getLogger("of.a.trial").setLevel(7)
    socket.setdefaulttimeout(3.0)
    sent.take_over()
    assert "SIZE" not in os.environ
    assert os.environ["OF_THE_PROCESS"] == "1"
    assert "/of/a/trial" not in sys.path
    assert logging.getLogger("of.a.trial").level == 0
    assert socket.getdefaulttimeout() is None
    chosen.take_over()
    assert os.environ["TUNE_EPOCHS"] == "3"


def test_what_a_module_adds_when_it_is_imported_stays(environment, left_as_it_was, script_module):
    registry = script_module("registry", "HEADS = {}\nNAMES = []\nCOUNT = 0")
    sent = Surroundings.current()
    sent.take_over()
    script_module(
        "adds",
        """
import logging, os, sys
import registry
registry.HEADS["adds"], registry.MORE = print, 1
os.environ["OF_AN_IMPORT"], os.environ["KEPT"] = "1", "of an import"
sys.path.append("/of/an/import")
logging.getLogger("of.an.import").setLevel(7)
""",
    )
    os.environ["OF_A_TRIAL"] = "1"
    registry.COUNT += 1
    registry.NAMES.append("of a trial")
    try:
        sent.take_over()
        assert os.environ["OF_AN_IMPORT"] == os.environ["KEPT"] == "1"
        assert "OF_A_TRIAL" not in os.environ
        assert "/of/an/import" in sys.path
        assert registry.HEADS.keys() == {"adds"}
        assert registry.MORE == 1
        assert (registry.NAMES, registry.COUNT) == ([], 0)
        assert logging.getLogger("of.an.import").level == 7
    finally:
        del os.environ["OF_AN_IMPORT"]
        sys.path.remove("/of/an/import")
        logging.getLogger("of.an.import").setLevel(0)


@pytest.mark.skipif(not pathlib.Path("/proc/self/environ").exists(), reason="only Linux says")
def test_what_this_process_was_started_with_is_known():
    assert surroundings._environment_at_start()["PATH"]


def test_a_setting_that_is_not_there_is_said_and_the_others_are_taken(left_as_it_was):
    sent = Surroundings.current()
    settings = {**sent.settings, "locale": surroundings.cloudpickle.dumps("xx_NOWHERE")}
    with pytest.warns(UserWarning, match=r"cannot be taken over on .*: locale \(Error: "):
        dataclasses.replace(sent, settings=settings).take_over()
