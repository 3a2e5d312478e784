"""What a script has set in modules of its own is there in its trials."""

import argparse
import sys
import textwrap
import threading
import time
import types
import warnings

import keras
import numpy as np
import pytest

import glimr_keras as gk
from glimr_keras.transport import module_state
from glimr_keras.transport.module_state import ModuleState
from glimr_keras.transport.serialization import pack, unpack
from tests import tiny_models

SETTINGS = """
    import dataclasses
    import enum
    import numpy as np

    UNITS = 8
    NAMES = ["a"]
    GROUPS = {"a": ("x", 1)}
    LATER = None
    TABLE = np.zeros(3)
    LARGE = None
    HIDDEN = None
    _made = None
    ALIAS = None
    HEADS = {}

    class Color(enum.Enum):
        RED = 1

    COLOR = None

    @dataclasses.dataclass
    class Options:
        rate: float = 0.1

    options = Options()

    class Base:
        width = 4

        class Inner:
            depth = 1

        def head(self):
            return "usual"

    def head():
        return "usual"
"""
MODELS = """
    import {settings} as settings
    from {settings} import NAMES, UNITS, options

    DOUBLE = settings.UNITS * 2
    HEADS = {{}}

    def register(function):
        HEADS[function.__name__] = function
        return function
"""


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """Two modules of a script, of names that are new; `again` imports them as a worker does."""
    monkeypatch.syspath_prepend(str(tmp_path))
    number = time.monotonic_ns()
    names = [f"settings_{number}", f"models_{number}"]
    for name, text in zip(names, (SETTINGS, MODELS), strict=True):
        (tmp_path / f"{name}.py").write_text(
            textwrap.dedent(text).format(settings=names[0])
            if text is MODELS
            else textwrap.dedent(text)
        )

    class Modules:
        def again(self):
            for name in names:
                sys.modules.pop(name, None)
            return self.now()

        def now(self):
            found = [__import__(name) for name in names[::-1]]
            return found[::-1]

    yield Modules()
    module_state._AFTER_IMPORT.expect({})
    sys.meta_path[:] = [each for each in sys.meta_path if each is not module_state._AFTER_IMPORT]
    for name in names:
        sys.modules.pop(name, None)


def changed(settings, models):
    settings.UNITS = 64
    settings.NAMES.append("b")
    settings.GROUPS["b"] = {"y"}
    settings.LATER = argparse.Namespace(units=3, more=types.SimpleNamespace(rate=0.5))
    settings.TABLE = np.arange(3.0)
    settings.options.rate = 0.25
    settings.COLOR = settings.Color.RED
    settings.Base.width = 16
    settings.Base.Inner.depth = 5
    settings.ALIAS = keras.layers.Dense
    settings.head.count = 7
    settings.NEW = "new"
    settings.HEADS["one"] = settings.head
    models.HEADS = {"dense": keras.layers.Dense}


def seen(settings, models):
    return {
        "units": settings.UNITS,
        "names": settings.NAMES,
        "shared": models.NAMES is settings.NAMES,
        "groups": settings.GROUPS,
        "later": settings.LATER,
        "table": settings.TABLE.tolist(),
        "rate": settings.options.rate,
        "same options": models.options is settings.options,
        "color": settings.COLOR is settings.Color.RED,
        "width": (settings.Base.width, settings.Base.Inner.depth),
        "alias": settings.ALIAS,
        "count": settings.head.count,
        "new": settings.NEW,
        "head": settings.HEADS["one"] is settings.head,
        "heads": models.HEADS,
        "as imported": (models.UNITS, models.DOUBLE),
    }


def test_modules_that_are_imported_later_get_what_the_script_has_set(modules):
    changed(*modules.again())
    expected = seen(*modules.now())
    assert expected["as imported"] == (8, 16)
    sent = ModuleState.current()
    for name in [module.__name__ for module in modules.now()]:
        del sys.modules[name]
    sent.take_over()
    assert seen(*modules.now()) == expected
    settings = modules.now()[0]
    assert settings.__loader__ is settings.__spec__.loader
    assert type(settings.__loader__).__name__ != "_Loader"


def test_each_trial_begins_with_what_the_script_has_set(modules):
    settings, models = modules.again()
    changed(settings, models)
    expected = seen(settings, models)
    sent = ModuleState.current()
    settings.UNITS, settings.OF_A_TRIAL, settings.LATER = 3, 1, None
    settings.NAMES.append("of a trial")
    settings.options.rate = settings.options.other = 9
    settings.Base.width, settings.head.count = 3, 8
    settings.TABLE[:] = 9
    models.HEADS = {}
    sent.take_over()
    assert {**seen(settings, models), "shared": True} == expected
    assert not hasattr(settings, "OF_A_TRIAL")
    assert not hasattr(settings.options, "other")


def test_another_machine_has_its_own_paths(modules, monkeypatch):
    settings, _ = modules.again()
    settings.HERE, settings.THERE, settings.UNITS = settings.__file__, "/of/the/script", 64
    sent = ModuleState.current()
    monkeypatch.setattr(settings, "__file__", "/elsewhere/settings.py")
    settings.HERE, settings.UNITS = "/elsewhere/settings.py", 8
    del settings.THERE
    sent.take_over()
    assert (settings.HERE, settings.THERE) == ("/elsewhere/settings.py", "/of/the/script")
    assert settings.UNITS == 64


def of_main():
    """A function, a method and a class of a main script."""
    factor = 3

    def head(self=None):
        return factor

    class Own:
        value = 5

    for each in (head, Own):
        each.__module__ = "__main__"
    return head, Own


def test_what_the_main_script_has_put_into_modules_goes_along(modules):
    settings, _ = modules.again()
    head, own = of_main()
    settings.head = settings.Base.head = head
    settings.HEADS["own"], settings.LATER = head, own()
    settings.NAMES.append(settings.NAMES)  # which has no end
    packed = pack(["what is searched"])
    settings, _ = modules.again()
    assert unpack(packed.content, packed.arrays) == ["what is searched"]
    assert (settings.head(), settings.Base().head(), settings.HEADS["own"]()) == (3, 3, 3)
    assert settings.LATER.value == 5


@pytest.mark.filterwarnings("always")
def test_what_cannot_be_sent_is_told_of(modules):
    settings, _ = modules.again()
    _, own = of_main()
    settings.LATER = own()
    settings.LATER.lock = threading.Lock()
    with pytest.warns(UserWarning, match=r"set as `settings_\d+.LATER` cannot be sent to workers"):
        pack(None)
    settings.LARGE, settings.HIDDEN, settings._made = np.zeros(10**6), threading.Lock(), print
    sent = ModuleState.current()
    with warnings.catch_warnings(record=True) as said:
        modules.again()
        sent.take_over()
    told = [str(each.message) for each in said]
    assert len(told) == 2
    for text in (
        r"LARGE` is numpy.ndarray of shape (1000000,) in the script, and NoneType in a worker",
        r"HIDDEN` is _thread.lock in the script, and NoneType in a worker",
    ):
        assert any(text in each for each in told), told


def test_many_modules_cost_milliseconds(monkeypatch):
    large = ["text"] * 10**6
    for number in range(200):
        name = f"of_a_project_{number}"
        module = types.ModuleType(name)
        module.__file__ = f"/project/{name}.py"
        vars(module).update({f"variable_{each}": [each] * 5 for each in range(30)})
        module.large = large
        monkeypatch.setitem(sys.modules, name, module)
    ModuleState.current()
    started = time.process_time()
    sent = ModuleState.current()
    assert time.process_time() - started < 0.5
    assert sum(map(len, sent.contents.values())) < 2**20


WIDTH = 2


class Looks(gk.HyperModel):
    """Tells of what is set in this module, and sets it for those who come later."""

    width = 2

    def build(self, config):
        global WIDTH
        config.Fixed("seen", repr([WIDTH, type(self).width, tiny_models.OF_A_TEST]))
        WIDTH, type(self).width, tiny_models.OF_A_TEST = 9, 9, "of a trial"
        return tiny_models.build(config)


@pytest.mark.filterwarnings("ignore:Trials run in processes of their own")
def test_trials_on_ray_have_what_the_script_has_set(local_ray, project, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "WIDTH", 64)
    monkeypatch.setattr(Looks, "width", 32)
    monkeypatch.setattr(tiny_models, "OF_A_TEST", "of the script", raising=False)
    tuner = gk.RayTuner(
        Looks(), "val_loss", 4, executor="ray", max_concurrent_trials=2, seed=0, **project
    )
    tuner.search(*tiny_models.TRAIN, validation_data=tiny_models.VALIDATION, epochs=1, verbose=0)
    assert list(tuner.results_dataframe()["seen"]) == ["[64, 32, 'of the script']"] * 4


def test_what_only_says_that_it_is_a_module_is_passed_over(monkeypatch):
    class Lib:  # as cffi makes them
        __slots__ = ()
        __class__ = types.ModuleType

    monkeypatch.setitem(sys.modules, "lib", Lib())
    assert isinstance(sys.modules["lib"], types.ModuleType)
    assert "lib" not in ModuleState.current().contents
