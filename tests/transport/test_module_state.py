"""What a script has set in modules of its own is there in its trials."""

import argparse
import collections
import pathlib
import pickle
import pkgutil
import random
import runpy
import sys
import textwrap
import threading
import time
import types
import warnings

import keras
import numpy as np
import pytest
from ray import cloudpickle

import glimr_keras as gk
from glimr_keras.transport.imports import IMPORTS
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

    def find(name, heads=HEADS):
        return heads[name]

    @dataclasses.dataclass(slots=True)
    class Slots:
        units: int = 8
        names: list = dataclasses.field(default_factory=list)

    class Stateful:
        def __init__(self):
            self.units = 8

        def __getstate__(self):
            return self.units

        def __setstate__(self, units):
            if units < 0:
                raise RuntimeError("odd")
            self.units = units

    slots, stateful = Slots(), Stateful()
    SMALL, BIG = Options(0.1), Options(0.9)
    PRESETS = {"small": {"units": 1}, "big": {"units": 9}}
    CURRENT, PRESET = SMALL, PRESETS["small"]
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
    IMPORTS.expect({})
    sys.meta_path[:] = [each for each in sys.meta_path if each is not IMPORTS]
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
    sent.take_over()
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
    file = pathlib.Path(settings.__file__)
    settings.HERE, settings.THERE, settings.UNITS = str(file), "/of/the/script", 64
    settings.PLACES = ["data", "/of/the/script"]
    settings.PATHS = {"root": str(file.parent), "data": file.parent / "data", "units": 64}
    settings.LATER = str(file.parent / "later")
    sent = ModuleState.current()
    monkeypatch.setattr(settings, "__file__", f"/elsewhere/{file.name}")
    settings.HERE, settings.UNITS = f"/elsewhere/{file.name}", 8
    settings.PATHS = {"root": "/elsewhere"}
    settings.PLACES = ["data", "/elsewhere"]
    del settings.THERE
    settings.LATER = None
    sent.take_over()
    later = settings.LATER  # which is in a folder that both machines have
    assert later == str(file.parent / "later")
    found = settings.HERE, settings.THERE
    assert found == (f"/elsewhere/{file.name}", "/of/the/script")
    assert settings.UNITS == 64
    found = settings.PATHS
    data = pathlib.Path("/elsewhere/data")
    assert found == {"root": "/elsewhere", "data": data, "units": 64}
    found = settings.PLACES
    assert found == ["data", "/elsewhere"]


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
        "LARGE` is numpy.ndarray of shape (1000000,) in the script, and missing or None",
        "HIDDEN` is _thread.lock in the script, and missing or None in a worker",
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
    assert len(pickle.dumps(sent)) < 2**21


class Odd:
    """Raises when it is looked at, as an object that stands for another one does."""

    @property
    def __class__(self):
        raise RuntimeError("out of context")

    def __getattr__(self, name):
        raise RuntimeError("out of context")


class OddList(list):
    """Does so too."""

    def __len__(self):
        raise RuntimeError("out of context")


@pytest.mark.filterwarnings("always")
def test_a_variable_that_cannot_be_looked_at_or_made_again_does_no_harm(modules):
    settings, _ = modules.again()
    settings.COUNTS, settings.ODD = collections.defaultdict(lambda: 0), Odd()
    settings.LISTED, settings.stateful.units = OddList(), -1
    settings.UNITS = 64
    packed = pack(["what is searched"])
    sent = pickle.loads(pickle.dumps(ModuleState.current()))
    with warnings.catch_warnings(record=True) as said:
        sent.take_over()
        settings, _ = modules.again()
    assert unpack(packed.content, packed.arrays) == ["what is searched"]
    assert (settings.UNITS, settings.stateful.units) == (64, 8)
    told = "\n".join(str(each.message) for each in said)
    assert "stateful` cannot be taken over in trials, which go on without it (RuntimeError" in told
    for name in ("COUNTS` is collections.defaultdict in the script", "ODD` is "):
        assert name in told


@pytest.mark.filterwarnings("error")
def test_what_a_process_has_filled_stays_from_trial_to_trial(modules):
    settings, _ = modules.again()
    settings._cache, settings._data = {}, None
    sent = ModuleState.current()
    sent.take_over()
    settings._cache["large"] = settings._data = large = np.zeros(10**6)
    settings.LARGE = np.zeros(10**6)  # which another process may have in another size
    settings.HEADS["odd"] = lambda: None
    sent.take_over()
    assert settings._data is large
    assert settings._cache["large"] is large
    assert list(settings.HEADS) == ["odd"]
    settings._cache.clear()
    settings._cache["small"] = 1
    sent.take_over()
    assert settings._cache == {}
    settings.LARGE = np.zeros(10**5)
    sent = ModuleState.current()
    settings.LARGE = "something that is there"
    sent.take_over()


def test_usual_configurations_are_sent_and_stay_the_same_objects(modules):
    settings, _ = modules.again()
    slots, stateful = settings.slots, settings.stateful
    slots.units, stateful.units = 64, 65
    slots.names.append("a")
    sent = ModuleState.current()
    slots.units, stateful.units = 1, 2
    slots.names.clear()
    sent.take_over()
    assert (settings.slots, settings.stateful) == (slots, stateful)
    assert (slots.units, slots.names, stateful.units) == (64, ["a"], 65)


@pytest.mark.parametrize(
    "text",
    [
        "import pydantic\nclass Own(pydantic.BaseModel):\n    units: int = 8",
        "import attr\n@attr.s\nclass Own:\n    units = attr.ib(8)",
        "import attr\n@attr.define\nclass Own:\n    units: int = 8",
        "import attr\n@attr.frozen\nclass Own:\n    units: int = 8",
    ],
)
def test_configurations_of_libraries_are_sent(tmp_path, monkeypatch, modules, text):
    pytest.importorskip(text.split()[1])
    name = f"configuration_{time.monotonic_ns()}"
    (tmp_path / f"{name}.py").write_text(f"{text}\nOWN = Own()\n")
    monkeypatch.setitem(sys.modules, name, module := __import__(name))
    module.OWN = module.Own(units=64)
    sent = ModuleState.current()
    module.OWN = module.Own(units=3)
    sent.take_over()
    assert module.OWN.units == 64


def test_a_name_for_another_object_is_told_from_a_changed_object(modules):
    settings, _ = modules.again()
    settings.CURRENT, settings.PRESET = settings.BIG, settings.PRESETS["big"]
    sent = ModuleState.current()
    settings, _ = modules.again()
    sent.take_over()
    rates = [each.rate for each in (settings.CURRENT, settings.SMALL, settings.BIG)]
    assert rates == [0.9, 0.1, 0.9]
    assert settings.PRESET == {"units": 9}
    assert settings.PRESETS == {"small": {"units": 1}, "big": {"units": 9}}


def test_what_libraries_use_themselves_is_not_copied(modules):
    settings, _ = modules.again()
    settings.choice, settings.uniform = random.choice, np.random.rand
    settings.generator, settings.reads = np.random.mtrand._rand, open
    before = vars(settings).copy()
    sent = ModuleState.current()
    random.random()
    np.random.rand()
    sent.take_over()
    assert all(vars(settings)[name] is value for name, value in before.items() if value is not None)
    random.seed(1)
    first = settings.choice(range(10**6))
    random.seed(1)
    assert settings.choice(range(10**6)) == first


@pytest.mark.filterwarnings("always")
def test_what_is_of_main_goes_into_the_containers_that_are_there(modules):
    settings, _ = modules.again()
    head, _ = of_main()
    settings.HEADS["own"] = settings.Base.head = head
    packed = pack(None)
    settings, _ = modules.again()
    del settings.Base
    with warnings.catch_warnings(record=True) as said:
        unpack(packed.content, packed.arrays)
    assert settings.find("own")() == 3
    assert any("Base.head` cannot be taken over" in str(each.message) for each in said)


def test_a_module_that_is_waited_for_is_found_as_any_other(tmp_path, modules):
    name = modules.again()[0].__name__
    sent = ModuleState.current()
    del sys.modules[name]
    sent.take_over()
    (tmp_path / "data.txt").write_text("data")
    assert runpy.run_module(name)["UNITS"] == 8
    assert pkgutil.get_data(name, "data.txt") == b"data"


def test_a_package_that_is_sent_by_value_is_so_with_all_in_it(tmp_path, monkeypatch, modules):
    name = f"package_{time.monotonic_ns()}"
    (tmp_path / name).mkdir()
    for file, text in {"__init__": "UNITS = 1", "inner": "def head(): return 4"}.items():
        (tmp_path / name / f"{file}.py").write_text(text)
    inner = __import__(f"{name}.inner").inner
    settings, _ = modules.again()
    settings.HEADS["inner"] = inner.head
    package = sys.modules[name]
    cloudpickle.register_pickle_by_value(package)
    try:
        assert not {name, inner.__name__} & ModuleState.current().contents.keys()
        packed = pack(None)
    finally:
        cloudpickle.unregister_pickle_by_value(package)
    for each in (name, inner.__name__):
        monkeypatch.delitem(sys.modules, each)
    (tmp_path / name / "inner.py").unlink()
    settings, _ = modules.again()
    unpack(packed.content, packed.arrays)
    assert settings.HEADS["inner"]() == 4


WIDTH = 2
_CACHE = {}


class Looks(gk.HyperModel):
    """Tells of what is set in this module, and sets it for those who come later."""

    width = 2

    def build(self, config):
        global WIDTH
        config.Fixed("fills", "large" not in _CACHE)
        _CACHE.setdefault("large", np.zeros(10**6))
        config.Fixed("seen", repr([WIDTH, type(self).width, tiny_models.OF_A_TEST]))
        WIDTH, type(self).width, tiny_models.OF_A_TEST = 9, 9, "of a trial"
        return tiny_models.build(config)


@pytest.mark.filterwarnings("ignore:Trials run in processes of their own")
@pytest.mark.filterwarnings("ignore:A trial changed")
def test_trials_on_ray_have_what_the_script_has_set(local_ray, project, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "WIDTH", 64)
    monkeypatch.setattr(Looks, "width", 32)
    monkeypatch.setattr(tiny_models, "OF_A_TEST", "of the script", raising=False)
    tuner = gk.RayTuner(
        Looks(), "val_loss", 4, executor="ray", max_concurrent_trials=2, seed=0, **project
    )
    tuner.search(*tiny_models.TRAIN, validation_data=tiny_models.VALIDATION, epochs=1, verbose=0)
    assert list(tuner.results_dataframe()["seen"]) == ["[64, 32, 'of the script']"] * 4
    assert list(tuner.results_dataframe()["fills"]).count(True) <= 2  # once a process


def test_what_only_says_that_it_is_a_module_is_passed_over(monkeypatch):
    class Lib:  # as cffi makes them
        __slots__ = ()
        __class__ = types.ModuleType

    monkeypatch.setitem(sys.modules, "lib", Lib())
    assert isinstance(sys.modules["lib"], types.ModuleType)
    assert "lib" not in ModuleState.current().contents
