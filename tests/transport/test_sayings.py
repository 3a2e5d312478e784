"""Warnings of workers: shown in the driver as what they were, each once."""

import collections
import logging
import pickle
import sys
import threading
import warnings

import keras
import pytest
from absl import logging as absl_logging

import glimr_keras as gk
from glimr_keras.transport.sayings import Collector, Repeater, Saying
from tests import tiny_models

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.*")


class OwnWarning(UserWarning):
    """Of the user's own."""


class Warns(gk.HyperModel):
    """Warns wherever it can."""

    def __init__(self, category):
        self.category = category

    def data(self, config):
        warnings.warn("said by data", RuntimeWarning, stacklevel=1)
        return tiny_models.TRAIN, tiny_models.VALIDATION

    def build(self, config):
        warnings.warn("said by build", self.category, stacklevel=1)
        warnings.warn("not to be heard", self.category, stacklevel=1)
        units = config.Int("units", 2, 5)
        config.Float("units", 0, 1)
        absl_logging.warning("logged by %s", "absl")
        logging.getLogger("of.the.script").warning("logged by the script")
        logging.getLogger("of.the.script").info("not to be heard")
        return tiny_models.compiled(
            keras.Sequential([keras.Input((6,)), keras.layers.Dense(units, activation="softmax")])
        )

    def fit(self, config, model, *args, **kwargs):
        history = model.fit(*args, **kwargs)
        if config["units"] == 3 and history.history:
            warnings.warn("this is an error", OwnWarning, stacklevel=1)
        warnings.warn("said by fit", DeprecationWarning, stacklevel=1)
        return history


def test_what_trials_warn_of_is_said_here_once_each(local_ray, project, caplog, capsys):
    class LocalWarning(UserWarning):
        pass

    tuner = gk.GridSearch(Warns(LocalWarning), "val_loss", max_concurrent_trials=2, **project)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", message="not to be heard")
        warnings.filterwarnings("error", category=OwnWarning)
        tuner.search(epochs=1)
    ours = [each for each in said if pathlib_name(each.filename) == "test_sayings.py"]
    texts = collections.Counter(str(each.message).splitlines()[0] for each in ours)
    assert texts == {
        "said by data": 1,
        "said by build": 1,
        "said by fit": 1,
        "Hyperparameter 'units' is defined twice, differently:": 1,
    }
    categories = {str(each.message): each.category for each in ours}
    assert categories["said by data"] is RuntimeWarning
    assert categories["said by build"] is LocalWarning
    logged = collections.Counter(record.getMessage() for record in caplog.records)
    assert logged["logged by absl"] == logged["logged by the script"] == 1
    assert logged["not to be heard"] == 0
    table = tuner.results_dataframe()
    assert set(table[table["status"] == "FAILED"]["units"]) == {3}
    assert "OwnWarning: this is an error" in capsys.readouterr().out


def pathlib_name(filename):
    return filename.rpartition("/")[2]


class Fails(gk.HyperModel):
    """Is given more labels than samples in some configurations."""

    def data(self, config):
        x, y = tiny_models.TRAIN
        return (x[: config.Choice("samples", [64, 20, 21])], y), tiny_models.VALIDATION

    def build(self, config):
        return tiny_models.compiled(
            keras.Sequential([keras.Input((6,)), keras.layers.Dense(2, activation="softmax")])
        )


def test_each_failed_trial_is_named_with_the_whole_reason(local_ray, project, capsys):
    tuner = gk.GridSearch(Fails(), "val_loss", max_concurrent_trials=2, **project)
    tuner.search(epochs=1)
    table = tuner.results_dataframe()
    failed = set(table[table["status"] == "FAILED"]["trial_id"])
    assert len(failed) == 2
    printed = capsys.readouterr().out
    for trial_id in failed:
        assert f"Trial {trial_id} FAILED" in printed
    for text in ("ValueError: ", "cardinality is ambiguous", "sizes: 20", "sizes: 21", "sizes: 64"):
        assert text in printed


# Without Ray


@pytest.fixture
def collector(monkeypatch):
    """Takes in what this process warns of."""
    for owner, name in (
        (logging.Logger, "callHandlers"),
        (logging, "lastResort"),
        (logging.root.manager, "emittedNoHandlerWarning"),
    ):
        monkeypatch.setattr(owner, name, getattr(owner, name))
    collector = Collector()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        collector.install()
        yield collector


def test_one_process_sends_each_once(collector):
    for number in (1, 1, 2):
        warnings.warn(f"number {number}", OwnWarning, stacklevel=1)
    assert [saying.text for saying in collector.hand_out()] == ["number 1", "number 2"]
    warnings.warn("number 1", OwnWarning, stacklevel=1)
    assert [saying.line for saying in collector.hand_out()] != []  # on another line
    assert collector.hand_out() == ()


def test_one_that_cannot_be_pickled_is_what_it_was(collector):
    class Unsendable(UserWarning):
        def __reduce__(self):
            raise TypeError("no")

    warnings.warn(Unsendable("held by a lock"), stacklevel=1)
    (saying,) = pickle.loads(pickle.dumps(collector.hand_out()))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        Repeater().repeat([saying, saying])
    assert [(each.category, str(each.message)) for each in said] == [(Unsendable, "held by a lock")]


def test_a_category_that_is_not_here_is_said_by_its_name():
    saying = Saying(
        "a text", "file.py", 1, "Elsewhere", ("no.such.module", "Elsewhere"), ("a text",)
    )
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        Repeater().repeat([saying])
    assert [str(each.message) for each in said] == ["Elsewhere: a text"]


class Odd(UserWarning):
    """Of the user's own, with arguments that are no text."""

    limit = 3

    def __init__(self, number, lock=None):
        super().__init__(number, lock)

    def __str__(self):
        return f"more than {self.limit}: {self.args[0]}"


@pytest.mark.parametrize("lock", [None, threading.Lock()])
def test_a_category_of_the_script_is_the_scripts_own(collector, monkeypatch, lock):
    monkeypatch.setattr(sys.modules["__main__"], "Odd", Odd, raising=False)
    monkeypatch.setattr(Odd, "__module__", "__main__")
    before = dict(vars(Odd))
    warnings.warn(Odd(5, lock), stacklevel=1)
    sent = pickle.loads(pickle.dumps(collector.hand_out()))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        Repeater().repeat(sent)
    assert [(each.category, str(each.message)) for each in said] == [(Odd, "more than 3: 5")]
    assert dict(vars(Odd)) == before


def test_a_script_configures_its_logging_as_in_a_process_of_its_own(
    collector, monkeypatch, tmp_path
):
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    collector.install()
    logging.basicConfig(filename=tmp_path / "log", level=logging.INFO)
    logging.getLogger("of.the.script").info("of the script")
    logging.getLogger("of.the.script").warning("a warning")
    root.handlers[0].close()
    assert (tmp_path / "log").read_text().splitlines() == [
        "INFO:of.the.script:of the script",
        "WARNING:of.the.script:a warning",
    ]
    assert [saying.text for saying in collector.hand_out()] == ["a warning"]


def test_ray_is_not_repeated(collector):
    logging.getLogger("ray.tune").warning("of Ray")
    assert collector.hand_out() == ()
